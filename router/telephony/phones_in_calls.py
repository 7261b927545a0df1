"""Which phones the calls of this PBX have, and for whom: two agents may share one.

A phone's state changes several times a call, and with each change it is asked whose it is: that must not
cost more the more calls go on.
"""

from collections import Counter
from collections.abc import Set as AbstractSet

from pbx.machine.state import CallState, Phase

Held = tuple[str, str | None]
"""An endpoint, and the agent it is rung for; None: a number that was dialled."""

_NONE: frozenset[Held] = frozenset()


class PhonesInCalls:
    """`follow` is shown every state of every call."""

    def __init__(self) -> None:
        self._of: dict[str, AbstractSet[Held]] = {}
        self._calls: Counter[Held] = Counter()

    def follow(self, state: CallState) -> None:
        """A call has moved, or was taken over."""
        if state.phase is Phase.ENDED:
            self.ended(state.id)
            return
        before = self._of.get(state.id, _NONE)
        legs = state.legs()
        now = frozenset([(leg.endpoint, leg.agent) for leg in legs]) if legs else _NONE
        if now != before:
            self._change(before, now)
            self._of[state.id] = now

    def ended(self, call: str) -> None:
        """A call is over: it has no phone any more."""
        self._change(self._of.pop(call, _NONE), _NONE)

    def has(self, endpoint: str | None, agent: str) -> bool:
        """Whether a call has this phone for that agent."""
        return (endpoint, agent) in self._calls

    def _change(self, before: AbstractSet[Held], now: AbstractSet[Held]) -> None:
        for held in now - before:
            self._calls[held] += 1
        for held in before - now:
            self._calls[held] -= 1
            if not self._calls[held]:
                del self._calls[held]
