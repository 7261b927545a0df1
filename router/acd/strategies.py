"""How one of several ready agents is chosen: the specification that the Lua has to equal.

`round_robin` asks whoever was offered a call of the queue longest ago; somebody who comes on duty
joins at the end of the round. Ties go to the longest idle, then to the lower id; between agents of
equal rank idle times in the same hundredth of a second are a tie too (the store keeps rank and idle
time in one number).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import assert_never

import msgspec

from router.acd.agents import AgentRecord, is_ready, ready_at_ms
from rules.actions import Strategy
from rules.requirements import Requirement


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A ready agent as a strategy sees it; `turn` is the place in the queue's round."""

    id: str
    idle_since_ms: int
    skill_level: int
    order: int
    turn: int


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `draw` is in [0, 1) and only used by `random`; `count` by `simultaneous`.

    `excluded` are asked only when nobody else is ready; `sticky` goes first if ready and not excluded.
    """

    requirement: Requirement
    strategy: Strategy
    count: int = 1
    draw: float = 0.0
    excluded: frozenset[str] = frozenset()
    sticky: str | None = None


def candidates_for(
    agents: Iterable[AgentRecord],
    requirement: Requirement,
    turns: Mapping[str, int],
    now_ms: int,
) -> list[Candidate]:
    """The agents that may be offered such a call now, longest idle first."""
    found = [
        Candidate(
            id=agent.id,
            idle_since_ms=ready_at_ms(agent) or 0,
            skill_level=agent.queues[requirement.queue].skill_level,
            order=agent.queues[requirement.queue].order,
            turn=turns.get(agent.id, 0),
        )
        for agent in agents
        if is_ready(agent, requirement, now_ms)
    ]
    return sorted(found, key=_by_idle)


def choose(candidates: Sequence[Candidate], wish: Wish) -> list[Candidate]:
    """Who is offered the call: one, several for `simultaneous`, nobody when nobody is ready."""
    eligible = _without(candidates, wish.excluded) or sorted(candidates, key=_by_idle)
    for candidate in eligible:
        if candidate.id == wish.sticky and candidate.id not in wish.excluded:
            return [candidate]
    match wish.strategy:
        case Strategy.LONGEST_IDLE:
            chosen = eligible[:1]
        case Strategy.SIMULTANEOUS:
            chosen = eligible[: wish.count]
        case Strategy.RANDOM:
            chosen = eligible[int(wish.draw * len(eligible)) :][:1]
        case Strategy.MOST_SKILLED:
            chosen = _best(eligible, lambda c: -c.skill_level)
        case Strategy.FIXED_ORDER:
            chosen = _best(eligible, lambda c: c.order)
        case Strategy.ROUND_ROBIN:
            chosen = _best(eligible, lambda c: c.turn)
        case _:
            assert_never(wish.strategy)
    return chosen


def _without(candidates: Iterable[Candidate], excluded: Collection[str]) -> list[Candidate]:
    return sorted((c for c in candidates if c.id not in excluded), key=_by_idle)


def _best(eligible: Sequence[Candidate], rank: Callable[[Candidate], int]) -> list[Candidate]:
    def key(candidate: Candidate) -> tuple[int, int, bytes]:
        return (rank(candidate), candidate.idle_since_ms // 10, candidate.id.encode())

    return sorted(eligible, key=key)[:1]


def _by_idle(candidate: Candidate) -> tuple[int, bytes]:
    # Bytes, as Redis compares the members of a sorted set.
    return (candidate.idle_since_ms, candidate.id.encode())
