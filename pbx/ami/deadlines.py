"""Ends what nothing else has ended in time: one timer for all that is under way.

Nearly everything is answered within milliseconds, so a timer of each one's own would be made to be cancelled.
"""

import asyncio
from collections.abc import Callable

from pbx.ami.agi_commands import Endable, end

_NEVER = float("inf")


class Deadlines:
    """Futures and when each has to end. As many as the caller has under way: it drops each when it is over."""

    def __init__(self) -> None:
        self._due: dict[Endable, tuple[float, Callable[[], Exception]]] = {}
        self._rings_at = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def put(self, future: Endable, deadline: float, error: Callable[[], Exception]) -> None:
        """End the future with an error, made then, at the deadline, a point of the loop's clock."""
        self._due[future] = (deadline, error)
        if deadline < self._rings_at:
            self._ring_at(deadline)

    def drop(self, future: Endable) -> None:
        """It is over, one way or the other."""
        self._due.pop(future, None)

    def close(self) -> None:
        """No timer is left running."""
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = _NEVER

    def _ring_at(self, when: float) -> None:
        self.close()
        self._rings_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        now, self._rings_at = self._rings_at, _NEVER
        for future, (deadline, error) in list(self._due.items()):
            if deadline <= now:
                self.drop(future)
                end(future, error())
        if self._due:
            self._ring_at(min(deadline for deadline, _ in self._due.values()))
