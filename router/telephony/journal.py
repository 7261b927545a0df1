"""The port `Journal`: live calls written down, the latest state of each.

What was noted of a call for its record goes to the store in the same write, all or nothing. A write that the store does not take is kept (one per call) and written as soon as the store is back, so
a call never waits longer than `SAVE_S` for it and memory is bounded by the number of calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog

from pbx.machine.state import CallState
from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.store.call_records import Stands
from router.store.live_calls import LiveCalls
from router.telephony.records import StoreRecords

SAVE_S: Final = 0.25
AGAIN_S: Final = 0.25
LOAD_S: Final = 5.0
_BATCH: Final = 200

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CallState).decode
_log = structlog.get_logger(__name__)


class LiveJournal:
    """`run` is a task of the process: it writes what is late."""

    def __init__(
        self,
        store: LiveCalls,
        records: StoreRecords,
        tenant: str,
        pbx: str,
        *,
        on_loaded: Callable[[Sequence[CallState]], None] = lambda _: None,
    ) -> None:
        """`on_loaded` hears of the calls of the controller before, ahead of anything they do."""
        self._store = store
        self._records = records
        self._tenant = tenant
        self._pbx = pbx
        self._on_loaded = on_loaded
        self._late: dict[str, bytes | None] = {}
        self._is_late = asyncio.Event()

    async def save(self, state: CallState) -> None:
        await self._write(state.id, _encode(state))

    async def forget(self, call_id: str) -> None:
        await self._write(call_id, None)

    async def owner(self) -> str:
        """Waits for the store, as `load` does."""
        return await self._patiently(self._store.owner)

    async def load(self) -> Sequence[CallState]:
        """Waits for the store: whoever begins without knowing the live calls would end them."""
        found = await self._patiently(self._store.load)
        states: list[CallState] = []
        for call, written in found.items():
            try:
                states.append(_decode(written))
            except msgspec.MsgspecError:
                # Of another version: its channels are hung up as nobody's, its record shows no end.
                _log.error("live_call_unreadable")
                self._late[call] = None
                self._is_late.set()
        self._on_loaded(states)
        return states

    async def _patiently(self, read: Callable[[str, str, Deadline], Awaitable[T]]) -> T:
        while True:
            try:
                return await read(self._tenant, self._pbx, in_s(LOAD_S))
            except CrosspointError as error:
                _log.warning("live_calls_not_read", reason=error.code)
                await asyncio.sleep(AGAIN_S)

    async def run(self) -> None:
        """Write what is late, until cancelled."""
        while True:
            await self._is_late.wait()
            if not await self.flush():
                await asyncio.sleep(AGAIN_S)

    async def flush(self) -> bool:
        """Write one batch of what is late; False: the store did not take it."""
        batch = list(self._late.items())[:_BATCH]
        if not batch:
            self._is_late.clear()
            return True
        return all(await asyncio.gather(*(self._catch_up(*late) for late in batch)))

    async def _catch_up(self, call: str, written: bytes | None) -> bool:
        try:
            await self._put(call, written, in_s(LOAD_S))
        except CrosspointError:
            return False
        if call in self._late and self._late[call] is written:  # nothing newer came meanwhile
            del self._late[call]
        return True

    def __len__(self) -> int:
        """Calls whose latest state is not in the store yet."""
        return len(self._late)

    async def _write(self, call: str, written: bytes | None) -> None:
        if call in self._late:  # in order: what is late goes first, so the latest takes its place
            self._late[call] = written
            return
        try:
            await self._put(call, written, in_s(SAVE_S))
        except CrosspointError:
            self._late[call] = written
            self._is_late.set()

    async def _put(self, call: str, written: bytes | None, deadline: Deadline) -> None:
        if not await self._records.write(call, Stands(written), deadline):
            await self._store.save(self._tenant, self._pbx, {call: written}, deadline)
