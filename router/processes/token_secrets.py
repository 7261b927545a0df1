"""The secrets that tokens of the API are signed with: read at the start, and renewed under way.

One that is not to be had refuses tokens rather than the start.
"""

import asyncio
from typing import Final

import structlog

from router.settings import TokenSettings
from router.site.secret_refs import SecretRef
from router.site.secrets import RENEW_EVERY_S, Held, SecretSource, hold
from router.tokens import Tokens

_FIELDS: Final = ("secret", "previous_secret")
_log = structlog.get_logger(__name__)


class TokenSecrets:
    """Keeps `tokens` true; `run` is a task of the process."""

    def __init__(self, settings: TokenSettings, source: SecretSource) -> None:
        self._references: dict[str, SecretRef] = {}
        for field in _FIELDS:
            reference: SecretRef | None = getattr(settings, field)
            if reference is not None:
                self._references[field] = reference
        self._source = source
        self._held: dict[str, Held | None] = {}
        self._problems: dict[str, str] = {}
        self.tokens = Tokens(
            jwks_file=settings.jwks_file, issuer=settings.issuer, audience=settings.audience
        )
        self._take(self._read())

    @property
    def problem(self) -> str | None:
        """What /readyz tells."""
        if not self.tokens.can_verify:
            return "tokens missing"
        return "tokens unreadable" if self._problems else None

    async def run(self) -> None:
        """Renew them until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            self._take(await asyncio.to_thread(self._read))

    def _read(self) -> dict[str, tuple[Held | None, str | None]]:
        return {
            field: hold(reference, self._source, self._held.get(field))
            for field, reference in self._references.items()
        }

    def _take(self, read: dict[str, tuple[Held | None, str | None]]) -> None:
        problems = {field: problem for field, (_, problem) in read.items() if problem is not None}
        for field, problem in problems.items():
            was_held, is_held = self._held.get(field) is not None, read[field][0] is not None
            if problem != self._problems.get(field) or was_held != is_held:
                level = _log.warning if is_held else _log.error
                level("token_secret_missing", field=field, is_in_use=is_held, reason=problem)
        for field in self._problems.keys() - problems.keys():
            _log.info("token_secret_found", field=field)
        self._problems = problems
        self._held = {field: held for field, (held, _) in read.items()}
        self.tokens.renew([held.text for held in self._held.values() if held is not None])
