"""Work that must happen one after the other: the commands of one channel, the store calls of one call."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from pbx.errors import PbxError
from pbx.machine.plans import LegId

log = structlog.get_logger(__name__)

MOST_WAITING = 100
"""Work beyond this many is refused: a channel that does not move must not pile up memory."""

Work = Callable[[], Awaitable[object]]


class Lane:
    """Runs what it is given in order, in one task that whoever owns the lane keeps."""

    def __init__(self, name: str, on_full: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self._on_full = on_full
        self._work: asyncio.Queue[Work] = asyncio.Queue(MOST_WAITING)

    def add(self, work: Work) -> bool:
        """Put work in line; False when the lane is full."""
        if self._work.full():
            log.error("lane_full", lane=self.name)
            self._on_full()
            return False
        self._work.put_nowait(work)
        return True

    async def run(self) -> None:
        """Work until cancelled. What fails is reported and does not stop the lane."""
        while True:
            work = await self._work.get()
            await _guarded(work, self.name)


class Lanes:
    """All lanes of one call, made when first needed: one per channel, one for the store.

    `on_full` is told when work had to be refused: the call cannot go on as if it had been done.
    """

    def __init__(self, on_full: Callable[[], object] = lambda: None) -> None:
        self._on_full = on_full
        self._lanes: dict[str, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def caller(self) -> Lane:
        """The commands of the caller's channel."""
        return self._lane("caller")

    @property
    def store(self) -> Lane:
        """Questions to and news for the outside."""
        return self._lane("store")

    @property
    def stop(self) -> Lane:
        """Stopping what plays must not wait behind what plays."""
        return self._lane("stop")

    def leg(self, leg: LegId) -> Lane:
        """The commands of another leg's channel."""
        return self._lane(f"leg:{leg}")

    async def store_is_empty(self, limit_s: float) -> bool:
        """Wait until the store has heard everything, at most so long; whether it has."""
        done = asyncio.Event()

        async def last() -> None:
            done.set()

        self.store.add(last)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await done.wait()
        return done.is_set()

    async def close(self) -> None:
        """Stop all of them; nothing of them is left running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            # Named without the leg: an id belongs to a call, not into every line of a log.
            lane = self._lanes[name] = Lane(name.partition(":")[0], self._on_full)
            self._tasks.add(asyncio.create_task(lane.run()))
        return lane


async def _guarded(work: Work, lane: str) -> None:
    try:
        await work()
    except PbxError as error:
        log.info("lane_work_failed", lane=lane, code=error.code)
    except Exception as error:  # noqa: BLE001 - a boundary: one failed step must not end the call
        log.error("lane_work_broke", lane=lane, error=type(error).__name__)  # noqa: TRY400 - stacks hold values
