"""How long a caller will probably wait."""

HANDLING_WEIGHT = 0.1
"""Weight of the newest call in the moving average of handling time: about the last twenty count."""


def averaged_handling_s(
    average_s: float | None, newest_s: float, weight: float = HANDLING_WEIGHT
) -> float:
    """The moving average after one more call; the first call is the average."""
    return newest_s if average_s is None else average_s + weight * (newest_s - average_s)


def estimated_wait_s(*, position: int, agents: int, handling_s: float | None) -> float | None:
    """Seconds until the caller at `position` (1 is next) is served; None is unknown.

    With `agents` people each taking `handling_s` per call, one of them is free every
    handling_s / agents. Nobody there, or no call handled yet: nothing honest can be said.
    """
    if agents <= 0 or handling_s is None:
        return None
    return max(position, 0) * handling_s / agents
