"""One connection to Redis: commands go out in order, replies are matched by position.

How it works. A call packs its command, appends (future, deadline, hook) to one line and is written
with everything else of this turn of the loop: implicit pipelining. Replies resolve the line from its
head. A call that expires or is cancelled stays in the line as a tombstone that swallows its reply,
so no reply can ever reach the wrong caller; nothing is cancelled on the wire.

One timer serves all deadlines. When the head of the line misses its deadline and nothing was heard
for a moment, the wire is *stalled*: new calls are refused at once, and the line itself is the probe,
since any byte ends the stall. A stall that lasts is ended by dropping the connection.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, cast

import hiredis

from router.deadline import Deadline
from router.errors import (
    CrosspointError,
    OutcomeUnknownError,
    RefusalKind,
    StoreDownError,
)
from router.store.refusals import refused

Reply: TypeAlias = "bytes | int | list[Reply] | None"
Word: TypeAlias = bytes | str | int | float
OnLate: TypeAlias = Callable[[Reply], None]

MAX_IN_FLIGHT: Final = 4096
MAX_UNSENT_BYTES: Final = 4 * 2**20
MAX_REPLY_BYTES: Final = 64 * 2**20
KEEP_STALLED_S: Final = 2.5  # a server that wakes up within this time goes on where it stopped

_WRITE_BUFFER_BYTES = 2**20
_SILENCE_S = 0.010  # one caller with hardly any time left must not close the link for all
_TICK_S = 0.001
_LATE_TIMER_S = 0.005
_NEVER = float("inf")
_NOTHING = object()


class Receiver(Protocol):
    """Who gets the reply to a command, or the error: a future, or somebody who needs none."""

    def done(self) -> bool:
        """Whether it was told already, or has gone."""

    def set_result(self, reply: Reply, /) -> None: ...
    def set_exception(self, error: CrosspointError, /) -> None: ...


class Growing(Protocol):
    """A command that may still grow until it is written, at the end of this turn of the loop."""

    def written(self) -> bytes:
        """The command as it goes out; asked once."""


class Wire(asyncio.Protocol):
    """A connection that was made once and is dropped once; `RedisLink` makes the next one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_open = False
        self.refusal: RefusalKind | None = None
        self.expired = 0
        self.late = 0
        self.attention = asyncio.Event()
        """Set when the owner has to look: the wire is lost, or refused in a way that concerns it."""
        self.is_lost = False
        self.why_closed = "the connection was lost"
        self._loop = loop
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._line: deque[tuple[Receiver, float, OnLate | None]] = deque()
        self._unsent: list[bytes | Growing] = []
        self._unsent_bytes = 0
        self._partial_bytes = 0
        self._heard_at = loop.time()
        self._stalled_at: float | None = None
        self._sweep_at = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._is_reading_first = False
        self._is_paused = False
        self._is_leaving = False
        self._transport: asyncio.Transport | None = None

    @property
    def in_flight(self) -> int:
        """Commands that have no reply yet, tombstones included."""
        return len(self._line)

    def call(
        self, words: tuple[Word, ...], deadline: Deadline, on_late: OnLate | None = None
    ) -> asyncio.Future[Reply]:
        """Send one command; see `Link.call`."""
        return self.send(packed(words), deadline, on_late)

    def send(
        self, command: bytes, deadline: Deadline, on_late: OnLate | None = None
    ) -> asyncio.Future[Reply]:
        """Send one command that is packed; see `Link.call`."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        self.send_for(future, command, deadline, on_late, len(command))
        return future

    def send_for(
        self,
        receiver: Receiver,
        command: bytes | Growing,
        deadline: Deadline,
        on_late: OnLate | None,
        size: int,
    ) -> None:
        """Send one command for somebody; see `Link.send_for`."""
        now = self._loop.time()
        if not self.is_open:
            fail(receiver, StoreDownError(self._why_refused()))
        elif deadline <= now:
            fail(receiver, StoreDownError("the deadline had passed; nothing was sent"))
        elif len(self._line) >= MAX_IN_FLIGHT or self._unsent_bytes + size > MAX_UNSENT_BYTES:
            fail(receiver, StoreDownError("too much is waiting for the store already"))
        else:
            if not self._line:
                self._heard_at = now  # the wait begins
            self._line.append((receiver, deadline, on_late))
            if not self._unsent:
                self._loop.call_soon(self.flush)
            self._unsent.append(command)
            self._unsent_bytes += size
            if deadline < self._sweep_at:
                self._sweep_no_later_than(deadline)

    def flush(self) -> None:
        """Write what has gathered; at the end of each turn of the loop that happens by itself."""
        if self._is_paused or not self._unsent or self._transport is None:
            return
        unsent, self._unsent = self._unsent, []
        self._unsent_bytes = 0
        parts = [each if isinstance(each, bytes) else each.written() for each in unsent]
        self._transport.write(b"".join(parts))

    def leave(self) -> None:
        """Take no more calls and close as soon as the last reply is in."""
        self._is_leaving = True
        self.is_open = False
        if not self._line and self._transport is not None:
            self._transport.close()

    def abort(self, why: str) -> None:
        """Drop the connection now; what is in flight ends as outcome unknown."""
        self.why_closed = why
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if self._stalled_at is not None:
            self._stalled_at = None
            self.is_open = not self._is_leaving
        self._partial_bytes += len(data)
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._partial_bytes = 0
                self._resolve_head(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort("what answers there does not speak the protocol of Redis")
            return
        if self._partial_bytes > MAX_REPLY_BYTES:
            self.abort("a reply was too big")
        elif self._is_leaving and not self._line and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.flush()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_open = False
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        sent = len(self._line) - len(self._unsent)
        for position, (receiver, _, _) in enumerate(self._line):
            error: CrosspointError = (
                OutcomeUnknownError("the connection was lost before the answer")
                if position < sent
                else StoreDownError("the connection was lost; nothing was sent")
            )
            fail(receiver, error)
        self._line.clear()
        self._unsent.clear()
        self.attention.set()

    # private

    def _resolve_head(self, reply: Reply) -> None:
        receiver, _, on_late = self._line.popleft()
        if isinstance(reply, hiredis.ReplyError):
            error = refused(str(reply))
            if error.kind in _CONCERNS_THE_LINK:
                self.refusal = error.kind
                self.attention.set()
            fail(receiver, error)
        elif not receiver.done():
            receiver.set_result(reply)
        else:
            self.late += 1
            if on_late is not None:
                self._loop.call_soon(on_late, reply)

    def _sweep_no_later_than(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._sweep_at = when
        self._timer = self._loop.call_at(when, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        if now - self._sweep_at > _LATE_TIMER_S and not self._is_reading_first:
            # The loop was blocked. Answers may lie in the socket: let them be read first.
            self._is_reading_first = True
            self._timer = self._loop.call_later(_TICK_S, self._sweep)
            return
        self._is_reading_first = False
        self._sweep_at = _NEVER
        next_at = min(self._expire(now), self._watch_head(now))
        if next_at < _NEVER and not self.is_lost:
            self._sweep_no_later_than(max(next_at, now + _TICK_S))

    def _expire(self, now: float) -> float:
        """Fail the calls whose deadline has passed; the next deadline."""
        earliest = _NEVER
        for receiver, deadline, _ in self._line:
            if receiver.done():
                continue
            if deadline <= now:
                self.expired += 1
                fail(receiver, OutcomeUnknownError())
            elif deadline < earliest:
                earliest = deadline
        return earliest

    def _watch_head(self, now: float) -> float:
        """Open the circuit when the head is overdue, drop a long stall; when to look again."""
        if not self._line:
            return _NEVER
        overdue_at = max(self._line[0][1], self._heard_at + _SILENCE_S)
        if now < overdue_at:
            return overdue_at
        if self._stalled_at is None:
            self._stalled_at = now
            self.is_open = False
        drop_at = self._stalled_at + KEEP_STALLED_S
        if now >= drop_at:
            self.abort("the store did not answer")
        return drop_at

    def _why_refused(self) -> str:
        if self._stalled_at is not None:
            return "the store does not answer; nothing was sent"
        return f"{self.why_closed}; nothing was sent"


_CONCERNS_THE_LINK = frozenset(
    {
        RefusalKind.READ_ONLY,
        RefusalKind.LOADING,
        RefusalKind.MOVED,
        RefusalKind.CLUSTER_DOWN,
    }
)


def packed(words: tuple[Word, ...]) -> bytes:
    """A command as the protocol writes it down."""
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # typed too narrowly
    return command


def failed(loop: asyncio.AbstractEventLoop, error: CrosspointError) -> asyncio.Future[Reply]:
    """A future that has failed already."""
    future: asyncio.Future[Reply] = loop.create_future()
    fail(future, error)
    return future


def fail(receiver: Receiver, error: CrosspointError) -> None:
    """Fail a call unless its caller has gone; who drops the future does not get a log line."""
    if not receiver.done():
        receiver.set_exception(error)
        if isinstance(receiver, asyncio.Future):
            receiver.exception()
