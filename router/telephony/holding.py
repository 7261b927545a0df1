"""The calls of this PBX that wait: who they are, and who tells them that an agent may be free.

How it works. Agents who become free by an operation are announced by the store; whoever keeps callers
on hold then asks the store for the call that stands first (`Line.next_for_agent`), and the store
announces that call to the PBX that has it. Agents who become free by time (wrap-up over, a lease or a
pause lapsed) announce nothing: a look at the own waiting calls tells when the next one does, and once
a second, whatever happens, there is a look anyway, since announcements can be lost.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import msgspec
import structlog

from router.deadline import in_s
from router.errors import CrosspointError
from router.store import keys
from router.store.agents import new_token
from router.store.announcements import Announcements
from router.store.line import Line
from router.store.pbx_line import MOST_LOOKED_AFTER, PbxLine

LOOK_S: Final = 1.0
"""The safety net: so often every waiting call is looked after."""

SOONEST_S: Final = 0.005
STORE_S: Final = 1.0
LEASE_MS: Final = 20_000
"""How long an agent is kept for a call whose PBX has not answered yet; it asks for what it needs."""
MOST_WAKES: Final = 10_000

_log = structlog.get_logger(__name__)


class Waiting(msgspec.Struct, kw_only=True):
    """One waiting call: `is_placed` False while the store has not been reached, since `since_s`.

    `is_offered`: it has an agent whose phone rings, and looks for nobody.
    """

    queue: str
    is_placed: bool
    since_s: float
    is_offered: bool = False


class Holding:
    """`run` is a task of the process; `wakes` is what the controller listens to."""

    def __init__(
        self,
        *,
        line: Line,
        pbx_line: PbxLine,
        announcements: Announcements,
        tenant: str,
        is_closed: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_closed` tells whether a queue sends away even those who wait."""
        self._line = line
        self._pbx_line = pbx_line
        self._announcements = announcements
        self._tenant = tenant
        self._is_closed = is_closed
        self._clock = clock
        self._waiting: dict[str, Waiting] = {}
        self._to_leave: dict[str, int] = {}
        self._wakes: asyncio.Queue[str] = asyncio.Queue(MOST_WAKES)
        self._look_soon = asyncio.Event()
        self.on_foreign_wake: Callable[[str], None] = lambda _: None
        self._matching: set[str] = set()
        self._matches: set[asyncio.Task[None]] = set()

    # --- who waits ----------------------------------------------------------------------------------

    def begin(self, call: str, queue: str, *, is_placed: bool, is_offered: bool = False) -> Waiting:
        """A call waits, or goes on to."""
        self._to_leave.pop(call, None)
        known = self._waiting.get(call)
        if known is None or known.queue != queue:
            known = Waiting(queue=queue, is_placed=is_placed, since_s=self._clock())
            self._waiting[call] = known
        elif known.is_placed != is_placed:
            known.is_placed, known.since_s = is_placed, self._clock()
        known.is_offered = is_offered
        if not is_offered:
            self._look_soon.set()
        return known

    def find(self, call: str) -> Waiting | None:
        return self._waiting.get(call)

    def waited_s(self, waiting: Waiting) -> float:
        """How long it has waited, as far as this controller knows."""
        return self._clock() - waiting.since_s

    def end(self, call: str) -> None:
        """A call waits no more."""
        self._waiting.pop(call, None)

    def leave_later(self, call: str, keep_place_ms: int) -> None:
        """The store could not be told that a call left: it is told when it is back, or it would have
        agents reserved for a caller who is gone."""
        self._waiting.pop(call, None)
        self._to_leave[call] = keep_place_ms

    def __len__(self) -> int:
        return len(self._waiting)

    # --- telling them -------------------------------------------------------------------------------

    async def wakes(self) -> AsyncIterator[str]:
        """Ids of calls that should ask again."""
        while True:
            yield await self._wakes.get()

    def wake(self, call: str) -> None:
        """This call should ask again; beyond a bound it is found at the next look."""
        if call not in self._waiting:
            self.on_foreign_wake(call)
        elif not self._wakes.full():
            self._wakes.put_nowait(call)

    async def run(self) -> None:
        """Listen and look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._look_on())

    async def _listen(self) -> None:
        freed, offered = keys.freed(self._tenant), keys.offered(self._tenant)
        async for channel, message in self._announcements.listen((freed, offered)):
            if channel == offered:
                self.wake(message)
            elif not all(waiting.is_offered for waiting in self._waiting.values()):
                self.match(message)

    def match(self, agent: str) -> None:
        """Find the freed agent a call; not twice at a time for the same one."""
        if agent in self._matching or len(self._matching) >= MOST_LOOKED_AFTER:
            return
        self._matching.add(agent)
        task = asyncio.get_running_loop().create_task(self._match_now(agent))
        self._matches.add(task)
        task.add_done_callback(self._matches.discard)

    async def _match_now(self, agent: str) -> None:
        try:
            await self._line.next_for_agent(
                self._tenant, agent, token=new_token(), lease_ms=LEASE_MS, deadline=in_s(STORE_S)
            )
        except CrosspointError as error:
            _log.info("match_failed", reason=error.code)  # the next look finds both
        finally:
            self._matching.discard(agent)

    async def _look_on(self) -> None:
        again_s = LOOK_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(SOONEST_S, min(again_s, LOOK_S))):
                    await self._look_soon.wait()
            self._look_soon.clear()
            again_s = await self._look()
            await asyncio.sleep(SOONEST_S)

    async def _look(self) -> float:
        """Look after everybody once; when to look again."""
        await self._tell_who_left()
        for call in self._sent_away():
            self.wake(call)
        again_s = LOOK_S
        placed = [call for call, waiting in self._waiting.items() if waiting.is_placed]
        for start in range(0, len(placed), MOST_LOOKED_AFTER):
            some = placed[start : start + MOST_LOOKED_AFTER]
            try:
                seen = await self._pbx_line.look(self._tenant, some, in_s(STORE_S))
            except CrosspointError:
                break
            for call in seen.ask:
                self.wake(call)
            for agent in seen.agents:
                self.match(agent)
            if seen.again_in_s is not None:
                again_s = min(again_s, seen.again_in_s)
        return again_s

    def _sent_away(self) -> Iterable[str]:
        """Those whose queue has closed, and those whom the store did not take yet."""
        closed = {
            queue: self._is_closed(queue) for queue in {w.queue for w in self._waiting.values()}
        }
        return [
            call
            for call, waiting in self._waiting.items()
            if closed[waiting.queue]
            or (not waiting.is_placed and self._clock() - waiting.since_s > SOONEST_S)
        ]

    async def _tell_who_left(self) -> None:
        for call, keep_place_ms in list(self._to_leave.items()):
            try:
                await self._pbx_line.abandon(
                    self._tenant, call, in_s(STORE_S), keep_place_ms=keep_place_ms
                )
            except CrosspointError:
                return
            self._to_leave.pop(call, None)
