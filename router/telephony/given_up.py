"""Ends the calls of a PBX that nobody runs any more: its id has left the settings, or its machine is gone for good.

Whoever does it is in charge of that PBX meanwhile, by its lease: a controller that comes back in this very moment
waits, and finds no call that it would have to take over.
"""

import asyncio
import contextlib
import secrets
from typing import Final

import msgspec
import structlog

from pbx.controller import BROKEN
from pbx.machine.commands import Note
from pbx.machine.state import CallState
from router.call_record import LOST_AFTER_MS
from router.deadline import in_s
from router.errors import ConflictError, CrosspointError
from router.store.agents import Agents
from router.store.call_records import CallRecords, Stands
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.store.pbx_commands import PbxCommands
from router.store.pbx_line import PbxLine
from router.telephony.records import StoreRecords

SILENT_MS: Final = LOST_AFTER_MS
"""A PBX of which no controller was seen for so long is given up."""
LOOK_S: Final = 600.0
STORE_S: Final = 2.0
LEASE_MS: Final = 30_000

_decode = msgspec.json.Decoder(CallState).decode
_log = structlog.get_logger(__name__)


class GivenUp:
    """PBXs of one tenant. `run` is a task of the controller of another one."""

    def __init__(
        self, links: Links, agents: Agents, tenant: str, *, keep_days: int, own: str = ""
    ) -> None:
        """`own` is the PBX of whoever looks: it is never given up."""
        self._own = own
        self._links = links
        self._agents = agents
        self._tenant = tenant
        self._keep_days = keep_days
        self._commands = PbxCommands(links)
        self._live = LiveCalls(links)
        self._pbx_line = PbxLine(links)

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except CrosspointError as error:
                _log.info("pbxs_not_looked_at", reason=error.code)

    async def look(self) -> int:
        """End the calls of PBXs that have been silent for long; how many."""
        now_ms = self._links.link_for(self._tenant).redis_deadline_ms(in_s(0))
        known = await self._commands.pbxs(self._tenant, in_s(STORE_S))
        ended = 0
        for pbx, seen_ms in known.items():
            if pbx != self._own and now_ms - seen_ms > SILENT_MS:
                with contextlib.suppress(ConflictError):  # somebody has come back
                    ended += await self.end_calls_of(pbx)
        return ended

    async def end_calls_of(self, pbx: str) -> int:
        """End what is written down of its calls, and forget it; how many there were.

        Each ends on record when a controller was last seen. ConflictError: one is there.
        """
        if pbx in await self._commands.pbxs_at_work(self._tenant, in_s(STORE_S)):
            raise ConflictError(f"a controller runs the PBX {pbx}")
        token, ended = secrets.token_hex(16), 0
        await self._hold(pbx, token, LEASE_MS)
        try:
            seen_ms = (await self._commands.pbxs(self._tenant, in_s(STORE_S))).get(pbx)
            if seen_ms is None:
                return 0
            records = self._records(pbx, seen_ms)
            live = await self._live.load(self._tenant, pbx, in_s(STORE_S))
            for call, written in live.items():
                await self._hold(pbx, token, LEASE_MS)
                await self._end(records, pbx, call, written)
                ended += 1
            await self._commands.forget(self._tenant, pbx, in_s(STORE_S))
        finally:
            await self._hold(pbx, token, 0)
        _log.warning("pbx_given_up", pbx=pbx, calls=ended)
        return ended

    async def _hold(self, pbx: str, token: str, lease_ms: int) -> None:
        """Be in charge of it, or no more (0). ConflictError: somebody else is."""
        if not await self._live.lead(
            self._tenant, pbx, token=token, lease_ms=lease_ms, deadline=in_s(STORE_S)
        ):
            raise ConflictError(f"a controller runs the PBX {pbx}")

    def _records(self, pbx: str, seen_ms: int) -> StoreRecords:
        return StoreRecords(
            CallRecords(self._links),
            self._tenant,
            pbx,
            keep_days=self._keep_days,
            now_ms=lambda: seen_ms,
        )

    async def _end(self, records: StoreRecords, pbx: str, call: str, written: bytes) -> None:
        """Its record last: whoever does it again, after a crash, finds what is left to be done."""
        try:
            state = _decode(written)
        except msgspec.MsgspecError:  # of another version: its record shows no end
            await self._live.save(self._tenant, pbx, {call: None}, in_s(STORE_S))
            return
        for leg in state.legs():
            if leg.agent is not None:
                await self._let_go(leg.agent, call, state.token or leg.id)
        await self._pbx_line.abandon(self._tenant, call, in_s(STORE_S))
        records.note(state, Note(what="pbx_given_up"))
        records.close(state, cause=BROKEN)
        await records.write(call, Stands(None), in_s(STORE_S))

    async def _let_go(self, agent: str, call: str, token: str) -> None:
        """Free again, whether the agent was on the call or was only offered it."""
        is_left = await self._pbx_line.agent_left(
            self._tenant, agent, call, wrap_up_ms=0, deadline=in_s(STORE_S)
        )
        if not is_left:
            await self._agents.release(
                self._tenant, agent, token, keep_place=True, deadline=in_s(STORE_S)
            )
