"""Whether the trunk takes calls: after one that it did not take, callbacks wait, longer with each.

A trunk that is down fails every call at once. Callbacks that went on as if nothing was would ring one agent after
the other for nothing. Where others get out meanwhile it is not the trunk but the number: some providers answer so of
one that they cannot reach.
"""

import random
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 30.0
LONGEST_S: Final = 600.0
SPREAD_S: Final = 30.0
"""Callbacks that have waited are not all due in one moment: the first of them shows whether the others can go."""
MOST_REMEMBERED: Final = 1_000


class WayOut:
    """Of one PBX. What is known is lost with the process, and then found out again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch."""
        self._clock = clock
        self._failures = 0
        self._until_s = 0.0
        self._worked = 0
        self._when_refused: dict[str, int] = {}

    @property
    def is_failing(self) -> bool:
        """Whether the last call that was tried did not get out."""
        return self._failures > 0

    def works(self) -> None:
        """A call got as far as the number that it was for."""
        self._worked += 1
        self._failures = 0
        self._until_s = 0.0

    def fails(self) -> None:
        """A call did not get out. Of several that were tried at once only the first counts."""
        if self._clock() < self._until_s:
            return
        self._failures += 1
        pause_s = min(FIRST_S * 2 ** (self._failures - 1), LONGEST_S)
        self._until_s = self._clock() + pause_s

    def refuses_only(self, callback: str) -> bool:
        """Whether calls of others have got out since this one did not. Said of one that did not again."""
        before = self._when_refused.pop(callback, self._worked)
        if len(self._when_refused) >= MOST_REMEMBERED:
            del self._when_refused[next(iter(self._when_refused))]
        self._when_refused[callback] = self._worked
        return before != self._worked

    def wait_s(self) -> float:
        """How long a callback has to wait before it is tried; 0.0: it may be."""
        left_s = self._until_s - self._clock()
        return left_s + random.uniform(0, SPREAD_S) if left_s > 0 else 0.0  # noqa: S311 - no secret
