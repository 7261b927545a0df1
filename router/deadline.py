"""A deadline is an absolute point of the event loop's clock, in seconds. It is passed down; slices only shorten."""

import asyncio
from typing import NewType

Deadline = NewType("Deadline", float)


def in_s(seconds: float) -> Deadline:
    """The deadline that many seconds from now."""
    return Deadline(asyncio.get_running_loop().time() + seconds)


def left_s(deadline: Deadline) -> float:
    """Seconds left; negative when it has passed."""
    return deadline - asyncio.get_running_loop().time()


def sooner(deadline: Deadline, seconds: float) -> Deadline:
    """A slice of a deadline: at most that many seconds from now, never later than `deadline`."""
    return Deadline(min(deadline, asyncio.get_running_loop().time() + seconds))
