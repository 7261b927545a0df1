"""The port `Records`: what happens to calls, written down as it happens.

How it works. `note` and `close` never wait. The journal takes what was noted along when it writes where
the call stands (`write`), so the record knows whatever a controller that takes over finds. What is noted
beside that goes to the store a moment later, in batches. While the store is away events are kept,
bounded, and those that do not fit are counted and reported.

Whoever writes takes the events out first, and puts them back when the store did not take them: so two
may write of one call at a time.
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
from router.call_record import QUEUED, Direction, End, Happened, Head
from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.store.call_records import CallRecords, Stands
from rules.wording import mask_digits

EVERY_S: Final = 0.05
"""What was noted while the call stayed where it was is written after so long; a process that is killed
before loses it. The end of a call does not wait."""
AGAIN_S: Final = 0.25
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

    @property
    def is_written(self) -> bool:
        return not self.events and self.end is None


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
        self._is_late = False
        self._open: dict[str, _Open] = {}
        self._to_write: dict[str, _Open] = {}
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.on_closed: OnClosed = lambda _state, _words: None

    def note(self, state: CallState, note: Note) -> None:
        self._put(state, note)

    def close(self, state: CallState, *, cause: int) -> None:
        call = self._of(state)
        call.end = End(
            at_ms=self._now_ms(),
            cause=cause,
            rule=state.rule,
            digits={name: mask_digits(keyed) for name, keyed in state.digits.items()},
        )
        self._to_write[state.id] = call
        self._changed.set()
        self.on_closed(state, call.words)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self.flush():
                await asyncio.sleep(AGAIN_S)
                self._changed.set()

    async def flush(self) -> bool:
        """Write what there is; False: the store did not take all of it."""
        if self._dropped:
            _log.error("call_events_dropped", count=self._dropped)
            self._dropped = 0
        changed = list(self._to_write.values())
        for start in range(0, len(changed), _AT_ONCE):
            some = changed[start : start + _AT_ONCE]
            if (
                len(some) == 1
            ):  # nearly always: it goes out with what is said in this turn of the loop
                reasons = [await self._flush_one(some[0])]
            else:
                reasons = await asyncio.gather(*map(self._flush_one, some))
            failed = set(filter(None, reasons))
            if failed:
                self._late(sorted(failed))
                return False
        if self._is_late:
            self._is_late = False
            _log.info("call_records_caught_up")
        return True

    def _late(self, reasons: list[str]) -> None:
        """Said once, not with every try."""
        if not self._is_late:
            self._is_late = True
            _log.warning("call_records_late", reasons=reasons)

    async def write(self, call_id: str, stands: Stands, deadline: Deadline) -> bool:
        """Write what is left of a call at once with where it stands. CrosspointError: it is still left.

        False: nothing is left, so nothing was written, not even where it stands.
        """
        call = self._open.get(call_id)
        if call is not None and not call.is_written:
            await self._write(call, stands, deadline)
            return True
        if stands.state is None:
            self._open.pop(call_id, None)
        return False

    async def _flush_one(self, call: _Open) -> str | None:
        """Why the store did not take it; None: it did."""
        try:
            await self._write(call, None, in_s(STORE_S))
        except CrosspointError as error:
            return error.code
        return None

    async def _write(self, call: _Open, stands: Stands | None, deadline: Deadline) -> None:
        while True:
            events, call.events = call.events[:_PER_CALL], call.events[_PER_CALL:]
            is_last = not call.events
            end, call.end = (call.end, None) if is_last else (None, call.end)
            if is_last:
                self._taken(call)
            try:
                await self._store.append(
                    self._tenant,
                    call.head,
                    events,
                    end=end,
                    keep_ms=self._keep_ms,
                    deadline=deadline,
                    stands=stands if is_last else None,
                )
            except BaseException:  # cancelled as well: somebody else writes it then
                call.events = sorted((*events, *call.events), key=_in_order)
                call.end = call.end or end
                self._to_write[call.head.id] = call
                self._soon()
                raise
            self._unwritten -= len(events)
            if is_last:
                break
        is_over = end is not None or (stands is not None and stands.state is None)
        if is_over and call.is_written and self._open.get(call.head.id) is call:
            del self._open[call.head.id]

    def _put(self, state: CallState, note: Note) -> None:
        call = self._of(state)
        call.words = (*call.words[-_PER_CALL:], note.what)
        self._soon()
        if self._unwritten >= MOST_WAITING:
            self._dropped += 1
            return
        self._count += 1
        self._unwritten += 1
        self._to_write[state.id] = call
        call.events.append(
            Happened(
                seq=f"{self._writer}{self._count:08x}",
                at_ms=self._now_ms(),
                what=note.what,
                leg=note.leg,
                agent=note.agent,
                queue=note.detail if note.what == QUEUED else None,
                detail="" if note.what == QUEUED else note.detail,
            )
        )

    def _soon(self) -> None:
        """Have what there is written after a moment, unless the journal takes it along."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._changed.set()

    def _taken(self, call: _Open) -> None:
        """Nothing is left of it to write."""
        self._to_write.pop(call.head.id, None)
        if not self._to_write and not self._dropped and self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
            callback=state.callback,
        )


def _in_order(event: Happened) -> str:
    return event.seq
