"""What may be written down a moment later goes out with whatever is written next, of any call: a write and an
answer of its own would wake the process once more."""

import asyncio
from collections.abc import Callable
from typing import Final

SOON_S: Final = 0.04
"""Nothing waits for longer. Whoever takes over does again what was done meanwhile."""


class Soon:
    """Writes of several calls, one of each."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def put(self, call_id: str, write: Callable[[], None]) -> None:
        """Have it begun soon; one that waits for this call already stands for it."""
        self._waiting.setdefault(call_id, write)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SOON_S, self._due)

    def drop(self, call_id: str) -> None:
        """It is written otherwise, or no more."""
        self._waiting.pop(call_id, None)
        if not self._waiting:
            self._stop()

    def begin(self) -> None:
        """Something is about to be written: what waits goes out with it."""
        waiting, self._waiting = self._waiting, {}
        self._stop()
        for write in waiting.values():
            write()

    def _due(self) -> None:
        self._timer = None
        self.begin()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
