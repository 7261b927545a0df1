"""The PBX as seen from another process (API, command line): live calls, records, callbacks, control."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from pbx.machine.state import CallState
from router.deadline import Deadline
from router.settings import KEEP_RECORDS_DAYS, PbxSettings
from router.site.directory import Directory
from router.store.call_labels import CallLabels
from router.store.call_records import CallRecords
from router.store.callbacks import Callbacks
from router.store.line import Line
from router.store.live_calls import LiveCalls
from router.store.operations import HasLinks
from router.store.pbx_commands import PbxCommands
from router.telephony.call_control import CallControl
from router.telephony.numbers import Dialable
from router.telephony.promises import CallbackDesk
from router.telephony.setting_out import Planner, Trunk

_decode = msgspec.json.Decoder(CallState).decode


class LiveCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that goes on, as last written down by the PBX that has it."""

    pbx: str
    state: CallState

    def has(self, agent: str) -> bool:
        """Whether the agent talks in it (not: is being rung for it)."""
        legs = (self.state.agent, self.state.third, *self.state.members)
        return any(leg is not None and leg.agent == agent for leg in legs)


class Telephony:
    """Everything that can be known and asked of a tenant's PBXs from afar. `links` are the process'."""

    def __init__(
        self,
        links: HasLinks,
        directory: Callable[[], Directory],
        *,
        settings: PbxSettings | None,
        recordings_dir: Path,
        shows_numbers: bool = False,
        control: CallControl | None = None,
    ) -> None:
        """`settings` of the PBX say which numbers may be called back; without them none may.

        `shows_numbers`: everybody sees whole phone numbers, not only admins.
        """
        self.commands = PbxCommands(links)
        self.control = control or CallControl(self.commands)
        self.records = CallRecords(links)
        self.line = Line(links)
        self.recordings_dir = recordings_dir
        self.shows_numbers = shows_numbers
        self.keep_records_days = (
            KEEP_RECORDS_DAYS if settings is None else settings.keep_records_days
        )
        self.callbacks = Callbacks(links, keep_days=self.keep_records_days)
        self.labels = CallLabels(links, keep_days=self.keep_records_days)
        self._live = LiveCalls(links)
        self._directory = directory
        self._settings = settings

    async def calls(self, tenant: str, deadline: Deadline) -> list[LiveCall]:
        """All live calls, in the order they arrived. Those of another version are left out."""
        found: list[LiveCall] = []
        for pbx in await self.commands.pbxs(tenant, deadline):
            for text in (await self._live.load(tenant, pbx, deadline)).values():
                call = _live_call(pbx, text)
                if call is not None:
                    found.append(call)
        return sorted(found, key=lambda call: (call.state.arrived_ms, call.state.id))

    async def call(self, tenant: str, call_id: str, deadline: Deadline) -> LiveCall | None:
        """One live call; None: there is none (any more)."""
        for pbx in await self.commands.pbxs(tenant, deadline):
            text = await self._live.get(tenant, pbx, call_id, deadline)
            if text is not None:
                return _live_call(pbx, text)
        return None

    def desk(self, tenant: str) -> CallbackDesk | None:
        """Who promises callbacks for the tenant; None: no PBX is set up for it here."""
        settings = self._settings
        if settings is None or settings.tenant != tenant:
            return None
        dialable = Dialable(settings.country, settings.dial_countries)
        trunk = Trunk(
            endpoint=settings.trunk_endpoint, dialable=dialable, caller_id=settings.caller_id
        )
        return CallbackDesk(
            self.callbacks,
            Planner(self._directory, tenant, trunk),
            dialable,
            tenant,
            agent_first=settings.callbacks.agent_first,
        )


def _live_call(pbx: str, text: bytes) -> LiveCall | None:
    try:
        return LiveCall(pbx=pbx, state=_decode(text))
    except msgspec.MsgspecError:
        return None
