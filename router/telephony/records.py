"""The port `Records`: what happens to calls, written down in batches as it happens.

`note` and `close` never wait. Events go to the store a moment later, in order; while the store is
away they are kept, bounded, and those that do not fit are counted and reported.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from pbx.machine.commands import Note
from pbx.machine.state import CallState, Kind
from router.call_record import QUEUED, TALKING, Direction, End, Happened, Head
from router.deadline import in_s
from router.errors import CrosspointError
from router.store.call_records import CallRecords
from rules.wording import mask_digits

EVERY_S: Final = 0.05
"""What a process that is killed has not written down yet is lost: at most this long of it."""
STORE_S: Final = 2.0
MOST_WAITING: Final = 100_000
"""Events kept while the store is away, of all calls together."""
_AT_ONCE: Final = 50
_PER_CALL: Final = 100

OnClosed = Callable[[CallState, tuple[str, ...]], None]
_log = structlog.get_logger(__name__)


class _Open(msgspec.Struct, kw_only=True):
    """What is not written yet of one call, and which words were noted by this controller."""

    head: Head
    events: list[Happened] = []
    end: End | None = None
    words: tuple[str, ...] = ()


class StoreRecords:
    """`run` is a task of the process; `flush` writes what is left at its end."""

    def __init__(
        self,
        store: CallRecords,
        tenant: str,
        pbx: str,
        *,
        keep_days: int = 90,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._pbx = pbx
        self._keep_ms = keep_days * 24 * 3_600_000
        self._now_ms = now_ms
        self._writer = secrets.token_hex(4)
        self._count = 0
        self._unwritten = 0
        self._dropped = 0
        self._open: dict[str, _Open] = {}
        self._writing = asyncio.Lock()
        self.on_closed: OnClosed = lambda _state, _words: None
        self.on_talking: Callable[[CallState], None] = lambda _: None

    def note(self, state: CallState, note: Note) -> None:
        self._put(state, note)
        if note.what == TALKING:
            self.on_talking(state)

    def close(self, state: CallState, *, cause: int) -> None:
        call = self._of(state)
        call.end = End(
            at_ms=self._now_ms(),
            cause=cause,
            rule=state.rule,
            digits={name: mask_digits(keyed) for name, keyed in state.digits.items()},
        )
        self.on_closed(state, call.words)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> bool:
        """Write what there is; False: the store did not take all of it."""
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        if self._dropped:
            _log.error("call_events_dropped", count=self._dropped)
            self._dropped = 0
        changed = [one for one in self._open.values() if one.events or one.end is not None]
        for start in range(0, len(changed), _AT_ONCE):
            some = changed[start : start + _AT_ONCE]
            if not all(await asyncio.gather(*(self._write(one) for one in some))):
                return False
        return True

    async def _write(self, call: _Open) -> bool:
        while call.events or call.end is not None:
            events = call.events[:_PER_CALL]
            end = call.end if len(events) == len(call.events) else None
            try:
                await self._store.append(
                    self._tenant,
                    call.head,
                    events,
                    end=end,
                    keep_ms=self._keep_ms,
                    deadline=in_s(STORE_S),
                )
            except CrosspointError as error:
                _log.info("call_record_late", reason=error.code)
                return False
            del call.events[: len(events)]
            self._unwritten -= len(events)
            if end is not None:
                call.end = None
                if not call.events:
                    self._open.pop(call.head.id, None)
                    return True
        return True

    def _put(self, state: CallState, note: Note) -> None:
        call = self._of(state)
        call.words = (*call.words[-_PER_CALL:], note.what)
        if self._unwritten >= MOST_WAITING:
            self._dropped += 1
            return
        self._count += 1
        self._unwritten += 1
        call.events.append(
            Happened(
                seq=f"{self._writer}{self._count}",
                at_ms=self._now_ms(),
                what=note.what,
                leg=note.leg,
                agent=note.agent,
                queue=note.detail if note.what == QUEUED else None,
                detail="" if note.what == QUEUED else note.detail,
            )
        )

    def _of(self, state: CallState) -> _Open:
        call = self._open.get(state.id)
        if call is None:
            call = self._open[state.id] = _Open(head=self._head(state))
        return call

    def _head(self, state: CallState) -> Head:
        is_inbound = state.kind is Kind.INBOUND
        return Head(
            id=state.id,
            kind=state.kind.value,
            pbx=self._pbx,
            direction=Direction.INBOUND if is_inbound else Direction.OUTBOUND,
            began_ms=state.arrived_ms,
            caller=state.caller_number if is_inbound else state.shown_number,
            called=state.called_number if is_inbound else state.caller_number,
        )
