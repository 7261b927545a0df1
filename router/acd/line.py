"""Waiting calls: who is served next, and what a call asks for the longer it waits.

A point of priority is worth `aging_ms` of waiting. Since every call ages at the same pace, the
order of two calls never changes: one number per call, computed once, is the whole of aging. A call
is therefore never overtaken by one that came more than `(100 - its priority) * aging_ms` later.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from router.acd.agents import AgentRecord, can_serve
from rules.actions import Relax
from rules.requirements import Requirement

AGING_MS = 6_000
"""Waiting time that one point of priority is worth: the highest priority is ten minutes' start."""
MAX_PRIORITY = 100


class WaitingCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call in a line. `tried` are agents who did not answer this call."""

    id: str
    requirement: Requirement
    arrival_ms: int
    priority: int = 0
    relax: tuple[Relax, ...] = ()
    tried: frozenset[str] = frozenset()


def effective_arrival_ms(arrival_ms: int, priority: int, aging_ms: int = AGING_MS) -> int:
    """The moment a call of no priority would have to have come to stand at the same place."""
    return arrival_ms - priority * aging_ms


def requirement_at(call: WaitingCall, now_ms: int) -> Requirement:
    """What the call asks for by now: the last step whose time has come replaces the skills."""
    waited_ms = now_ms - call.arrival_ms
    due = [step for step in call.relax if step.after_s * 1000 <= waited_ms]
    if not due:
        return call.requirement
    last = max(due, key=lambda step: step.after_s)
    return Requirement.of(call.requirement.queue, last.skills)


def in_order(calls: Iterable[WaitingCall], aging_ms: int = AGING_MS) -> list[WaitingCall]:
    """First to be served first."""
    return sorted(
        calls,
        key=lambda c: (effective_arrival_ms(c.arrival_ms, c.priority, aging_ms), c.id.encode()),
    )


def position_of(call_id: str, calls: Iterable[WaitingCall], aging_ms: int = AGING_MS) -> int | None:
    """Place in the queue's line, 1 is next; None when the call does not wait there."""
    ids = [call.id for call in in_order(calls, aging_ms)]
    return ids.index(call_id) + 1 if call_id in ids else None


def call_for(
    agent: AgentRecord, calls: Collection[WaitingCall], now_ms: int, aging_ms: int = AGING_MS
) -> WaitingCall | None:
    """The call a freed agent takes: first in order of those the agent can serve.

    Calls this agent has already left unanswered come last, whatever their order.
    """
    served = [c for c in calls if can_serve(agent, requirement_at(c, now_ms))]
    fresh = [call for call in served if agent.id not in call.tried]
    return next(iter(in_order(fresh or served, aging_ms)), None)


def must_wait_behind(
    call: WaitingCall,
    agent: AgentRecord,
    others: Sequence[WaitingCall],
    now_ms: int,
    aging_ms: int = AGING_MS,
) -> bool:
    """Whether an agent found for `call` belongs to a call that stands before it."""
    first = call_for(agent, [call, *others], now_ms, aging_ms)
    return first is not None and first.id != call.id
