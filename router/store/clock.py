"""Redis' clock seen from the event loop's clock, so that a deadline can be handed to a script.

The reply to TIME was read at some moment between sending and receiving, so each sample bounds the
offset from both sides. A deadline is translated with the lower bound: what a script is told is the
true instant or up to one round trip before it, never after it.
"""

from collections import deque

from router.deadline import Deadline

_SAMPLES = 8
_DRIFT = 200e-6  # seconds per second two clocks may part between samples


class RedisClock:
    """The bounded offset between Redis' clock and the loop's, from a window of samples."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self._offset_s: float | None = None

    def sample(self, *, sent_s: float, received_s: float, server_s: float) -> None:
        """Take one reply to TIME: loop time when sent and received, Redis' time in seconds."""
        highest = server_s - sent_s
        kept = [s for s in self._samples if self._lowest(s, received_s) <= highest]
        if len(kept) < len(self._samples):  # Redis' clock was set back: older samples are void
            self._samples.clear()
        self._samples.append((received_s, server_s - received_s))
        self._offset_s = max(self._lowest(s, received_s) for s in self._samples)

    def ms_at(self, deadline: Deadline) -> int:
        """That instant on Redis' clock in ms since the epoch, or a little before it; 0 if unknown."""
        if self._offset_s is None:
            return 0
        return int((deadline + self._offset_s) * 1000)

    @staticmethod
    def _lowest(sample: tuple[float, float], now_s: float) -> float:
        taken_s, offset_s = sample
        return offset_s - (now_s - taken_s) * _DRIFT
