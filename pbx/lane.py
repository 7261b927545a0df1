"""Work that must happen one after the other: the commands of one channel, the store calls of one call."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from pbx.errors import PbxError

log = structlog.get_logger(__name__)

MOST_WAITING = 100
"""Work beyond this many is refused: a channel that does not move must not pile up memory."""

Work = Callable[[], Awaitable[object]]


class Lane:
    """Runs what it is given in order, in one task that whoever owns the lane keeps."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._work: asyncio.Queue[Work] = asyncio.Queue(MOST_WAITING)
        self._running: asyncio.Task[None] | None = None

    def add(self, work: Work) -> bool:
        """Put work in line; False when the lane is full."""
        if self._work.full():
            log.error("lane_full", lane=self.name)
            return False
        self._work.put_nowait(work)
        return True

    def clear(self) -> None:
        """Forget what has not begun, and cancel what runs."""
        while not self._work.empty():
            self._work.get_nowait()
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> None:
        """Work until cancelled. What fails is reported and does not stop the lane."""
        try:
            while True:
                work = await self._work.get()
                self._running = asyncio.ensure_future(_guarded(work, self.name))
                # Cancelling the work must not cancel the lane; cancelling the lane cancels the work.
                await asyncio.wait([self._running])
                self._running = None
        finally:
            if self._running is not None:
                self._running.cancel()


async def _guarded(work: Work, lane: str) -> None:
    try:
        await work()
    except PbxError as error:
        log.info("lane_work_failed", lane=lane, code=error.code)
    except Exception as error:  # noqa: BLE001 - a boundary: one failed step must not end the call
        log.error("lane_work_broke", lane=lane, error=type(error).__name__)  # noqa: TRY400 - stacks hold values
