"""Callbacks that a routing request asks for: promised in the store, made by the tenant's PBX later."""

import re
from typing import Final

from ivr.prompts import Sound
from pbx.speech_texts import TEXTS
from router.deadline import Deadline
from router.decisions.outcome import Asked
from router.errors import ConflictError, InvalidInputError, NotFoundError
from router.settings import PbxSettings
from router.store.call_store import callback_id
from router.store.callbacks import DuplicateCallbackError
from router.telephony.remote import Telephony
from rules.actions import Callback, End

_LOCALES: Final = {"en": "en-us", "de": "de-de", "es": "es-es"}
"""The locale a text is spoken in where the settings name a language only."""


class RoutedCallbacks:
    """`router.decisions.needed.CallsBack` where a PBX with a trunk is set up."""

    def __init__(self, telephony: Telephony, settings: PbxSettings) -> None:
        self._telephony = telephony
        self._tenant = settings.tenant
        self._has_trunk = settings.trunk_endpoint is not None
        self._said = confirmation(settings.language)

    def is_possible(self, tenant: str) -> bool:
        """Whether the PBX is this tenant's and can dial."""
        return self._has_trunk and tenant == self._tenant

    async def promise(
        self, asked: Asked, wanted: Callback, request_id: str, deadline: Deadline
    ) -> End | None:
        """Promise it last in line; None: no such queue, closed, full, or a number not to be dialled."""
        tenant, call = asked.router.tenant, asked.call
        desk = self._telephony.desk(tenant)
        if desk is None or not self.is_possible(tenant) or call.caller is None:
            return None
        try:
            await desk.create(
                wanted.queue,
                call.caller,
                deadline,
                callback_id=callback_id(request_id),
                call=call.call_id or None,
                called=call.called,
            )
        except DuplicateCallbackError:
            pass  # this caller will be called back already: that is what was asked for
        except (NotFoundError, InvalidInputError, ConflictError):
            return None
        return self._said


def confirmation(language: str) -> End:
    """What a caller is told who will be called back, in the language of the PBX if we speak it."""
    base = re.split("[-_]", language)[0].lower()
    if base not in _LOCALES:
        language = base = "en"
    locale = _LOCALES[base] if language.lower() == base else language
    return End(message=TEXTS[base][Sound.CALLBACK_ACCEPTED], locale=locale)
