"""Work that must happen one after the other: the commands of one channel, the store calls of one call."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from pbx.errors import PbxError
from pbx.machine.plans import LegId

log = structlog.get_logger(__name__)

MOST_WAITING = 100
"""Work beyond this many is refused: a channel that does not move must not pile up memory."""

Work = Callable[[], Awaitable[object]]
Step = Callable[[], None]


class Lane:
    """Does what it is given in order, in a task of its own while there is anything to wait for.

    What fails is reported and holds up nothing of what comes after it.
    """

    def __init__(self, name: str, on_full: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self._on_full = on_full
        self._waiting: deque[Work | Step] = deque()
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False
        """Nothing more is begun."""

    def add(self, work: Work) -> bool:
        """Put work in line; False when the lane is full, or closed."""
        return self._put(work)

    def do(self, step: Step) -> bool:
        """As `add`, for what is done in no time: at once, unless something goes before it."""
        if self._task is not None or self.is_closed:
            return self._put(step)
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a boundary, see `_report`
            _report(error, self.name)
        return True

    async def is_empty(self, limit_s: float) -> bool:
        """Wait until all is done, at most so long; whether it is."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait({self._task}, timeout=limit_s)
        return bool(done)

    async def close(self) -> None:
        """Stop; nothing of it is left running."""
        self.is_closed = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _put(self, work: Work | Step) -> bool:
        if self.is_closed:
            return False
        if len(self._waiting) >= MOST_WAITING:
            log.error("lane_full", lane=self.name)
            self._on_full()
            return False
        self._waiting.append(work)
        if self._task is None:
            self._task = asyncio.create_task(self._work_off())
        return True

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                work = self._waiting.popleft()
                try:
                    under_way = work()
                    if under_way is not None:
                        await under_way
                except Exception as error:  # noqa: BLE001 - a boundary, see `_report`
                    _report(error, self.name)
        finally:
            self._task = None


class Lanes:
    """All lanes of one call, made when first needed: one per channel, one for the store, one for files.

    `on_full` is told when work had to be refused: the call cannot go on as if it had been done.
    """

    def __init__(self, on_full: Callable[[], object] = lambda: None) -> None:
        self._on_full = on_full
        self._lanes: dict[str, Lane] = {}
        self._is_closed = False

    @property
    def caller(self) -> Lane:
        """The commands of the caller's channel."""
        return self._lane("caller")

    @property
    def store(self) -> Lane:
        """Questions to and news for the outside."""
        return self._lane("store")

    @property
    def files(self) -> Lane:
        """What becomes of recordings: a slow disk must not hold up what the call is to do next."""
        return self._lane("files")

    @property
    def stop(self) -> Lane:
        """Stopping what plays must not wait behind what plays."""
        return self._lane("stop")

    def leg(self, leg: LegId) -> Lane:
        """The commands of another leg's channel."""
        return self._lane(f"leg:{leg}")

    async def close(self) -> None:
        """Stop all of them; nothing of them is left running."""
        for lane in self._lanes.values():
            await lane.close()
        self._lanes.clear()
        self._is_closed = True

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            # Named without the leg: an id belongs to a call, not into every line of a log.
            lane = Lane(name.partition(":")[0], self._on_full)
            lane.is_closed = self._is_closed
            self._lanes[name] = lane
        return lane


def _report(error: Exception, lane: str) -> None:
    """One failed step must not end the call."""
    if isinstance(error, PbxError):
        log.info("lane_work_failed", lane=lane, code=error.code)
    else:
        log.error("lane_work_broke", lane=lane, error=type(error).__name__)
