"""What waits for one call to be looked at: bounded, and no key ever pushes out what matters.

A caller can press keys faster than a call moves, so keys have a small share of their own and are
dropped first. That a leg is gone, and that the connection was recovered, is always taken: each leg
goes once, each connect recovers once.
"""

import asyncio
from collections import deque

from ivr.steps import Key
from pbx.machine.events import Control, Event, LegGone, Recovered
from pbx.machine.plans import LegId

MOST_EVENTS = 256
MOST_KEYS = 64
"""Of them keys. Nobody types that far ahead; a stuck key does."""


class Posted:
    """A control that is not begun at or after `begin_by`, a point of the loop's clock: nobody is to
    be put on hold long after whoever asked for it was told that nothing came of it."""

    def __init__(self, control: Control, begin_by: float) -> None:
        self.control = control
        self.begin_by = begin_by
        self.has_begun = False

    def begin(self) -> bool:
        """Whether there is still time for it; then it has begun."""
        self.has_begun = asyncio.get_running_loop().time() < self.begin_by
        return self.has_begun


class Inbox:
    """Events of one call, in order."""

    def __init__(self) -> None:
        self._events: deque[Event | Posted] = deque()
        self._arrived: asyncio.Future[None] | None = None  # while somebody waits
        self._keys = 0

    def __len__(self) -> int:
        return len(self._events)

    def tells_of_the_end_of(self, leg: LegId) -> bool:
        """Whether it waits here that this leg is gone."""
        return any(isinstance(event, LegGone) and event.leg == leg for event in self._events)

    def put(self, event: Event | Posted) -> bool:
        """Take an event; False: there is no room for it, it is dropped."""
        if isinstance(event, Key):
            if self._keys >= MOST_KEYS:
                return False
            self._keys += 1
        elif len(self) >= MOST_EVENTS and not isinstance(event, LegGone | Recovered):
            return False
        self._events.append(event)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
        return True

    async def take(self) -> Event | Posted:
        """The oldest event; waits for one. Taken from by one task."""
        while not self._events:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        event = self._events.popleft()
        if isinstance(event, Key):
            self._keys -= 1
        return event
