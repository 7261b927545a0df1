"""A last resort for what should be over by its deadline anyway: one timer for all who wait.

`asyncio.timeout_at` makes a timer, an object and two coroutines for each use, which together cost more
than asking the store does. Here a use is an entry in a set, and the one timer looks at the earliest
deadline; in ordinary times it finds nobody.
"""

import asyncio
from types import TracebackType
from typing import Final, Protocol

from router.deadline import Deadline

_TICK_S: Final = 0.001
"""Timers of uvloop may be that early; looking again sooner would find the same."""
_NEVER: Final = Deadline(float("inf"))


class Belt(Protocol):
    """Somebody who waits, until `deadline`; `cut` ends the waiting. It is cut once at most."""

    @property
    def deadline(self) -> Deadline: ...
    def cut(self) -> None: ...


class Seatbelts:
    """Ends, with TimeoutError, blocks of code that are not over at their deadline; for one loop."""

    def __init__(self) -> None:
        self._worn: set[Belt] = set()
        self._looks_at = _NEVER
        self._loop: asyncio.AbstractEventLoop | None = None

    def until(self, deadline: Deadline) -> "_Belt":
        """`with belts.until(deadline):` around awaits, as `async with asyncio.timeout_at(deadline):`."""
        if self._loop is None:  # asked once: each time is a system call
            self._loop = asyncio.get_running_loop()
        return _Belt(self, self._loop, deadline)

    def put_on(self, belt: Belt) -> None:
        """For who waits without being a block of code: to be taken off again."""
        self._worn.add(belt)
        if belt.deadline < self._looks_at:
            self._look_at(belt.deadline)

    def take_off(self, belt: Belt) -> None:
        self._worn.discard(belt)

    def _look_at(self, when: Deadline) -> None:
        # A timer that was set for later stays: it looks once in vain.
        self._looks_at = when
        asyncio.get_running_loop().call_at(when, self._look, when)

    def _look(self, when: Deadline) -> None:
        if when != self._looks_at:
            return  # there was an earlier one, which has set the next
        now = asyncio.get_running_loop().time()
        overdue = [belt for belt in self._worn if belt.deadline <= now]
        for belt in overdue:
            self._worn.discard(belt)
            belt.cut()
        self._looks_at = _NEVER
        if self._worn:
            earliest = min(belt.deadline for belt in self._worn)
            self._look_at(Deadline(max(earliest, now + _TICK_S)))


class _Belt:
    """One block of code of one task."""

    __slots__ = ("_belts", "_cancelling", "_is_cut", "_loop", "_task", "deadline")

    def __init__(
        self, belts: Seatbelts, loop: asyncio.AbstractEventLoop, deadline: Deadline
    ) -> None:
        self._belts = belts
        self._loop = loop
        self._is_cut = False
        self.deadline = deadline

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline can only be kept inside a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._belts.put_on(self)

    def cut(self) -> None:
        self._is_cut = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._belts.take_off(self)
        # Somebody else may have cancelled the task as well: then it stays cancelled.
        if (
            self._is_cut
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error
