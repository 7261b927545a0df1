"""Carry out what an event means: agents move, reservations are confirmed or ended, callers wait."""

from enum import StrEnum
from typing import Final, assert_never

import msgspec

from router.deadline import Deadline
from router.platforms.dialpad.events import (
    AgentCallEvent,
    AgentStatusEvent,
    Event,
    Meaningless,
    QueueCallEvent,
)
from router.site.directory import Directory
from router.store.agents import Agents
from router.store.agents_seen import CallSeen, Observed
from router.store.legs import Legs
from router.store.line import Line

_BEGINS: Final = frozenset({CallSeen.RINGING, CallSeen.CONNECTED})


class Did(StrEnum):
    """What an event did."""

    APPLIED = "applied"
    OLD = "old"
    """A copy, a late event, or one that does not fit what is known."""
    IGNORED = "ignored"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_QUEUE = "unknown_queue"
    HELD = "held"
    LEFT = "left"


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to an event. `state` is the agent's afterwards, `why` the reason when ignored."""

    did: Did
    agent: str | None = None
    queue: str | None = None
    state: str | None = None
    why: str | None = None


class EventApplier:
    """Applies the events of one platform's users and call centers to the agents and queues of a tenant."""

    def __init__(self, agents: Agents, line: Line, legs: Legs) -> None:
        self._agents = agents
        self._line = line
        self._legs = legs

    async def apply(
        self, directory: Directory, tenant: str, event: Event, *, deadline: Deadline
    ) -> Done:
        """Apply one event; one without a time happens now. Errors are those of the store."""
        match event:
            case AgentCallEvent():
                return await self._agent_call(directory, tenant, event, deadline)
            case QueueCallEvent():
                return await self._queue_call(directory, tenant, event, deadline)
            case AgentStatusEvent():
                return await self._status(directory, tenant, event, deadline)
            case Meaningless():
                return Done(did=Did.IGNORED, why=event.why.value)
            case _:
                assert_never(event)

    async def _agent_call(
        self,
        directory: Directory,
        tenant: str,
        event: AgentCallEvent,
        deadline: Deadline,
    ) -> Done:
        agent = directory.agent_by_user_id(tenant, event.user_id)
        if agent is None:
            return Done(did=Did.UNKNOWN_AGENT)
        queue = (
            directory.queue_by_call_center_id(tenant, event.call_center_id)
            if event.call_center_id is not None
            else None
        )
        calls = await self._legs.unite(
            tenant,
            event.calls,
            agent=agent.id,
            at_ms=event.at_ms,
            begins=event.seen in _BEGINS,
            deadline=deadline,
        )
        seen = await self._agents.observe_call(
            tenant,
            agent.id,
            seen=event.seen,
            calls=calls,
            at_ms=event.at_ms,
            deadline=deadline,
            caller=event.caller,
            queue=queue.config.id if queue else None,
            wrap_up_ms=queue.config.wrap_up_seconds * 1000 if queue else 0,
        )
        return _done(agent.id, seen)

    async def _queue_call(
        self,
        directory: Directory,
        tenant: str,
        event: QueueCallEvent,
        deadline: Deadline,
    ) -> Done:
        queue = directory.queue_by_call_center_id(tenant, event.call_center_id)
        if queue is None:
            return Done(did=Did.UNKNOWN_QUEUE)
        if len(event.calls) > 1:
            await self._legs.unite(
                tenant, event.calls, at_ms=event.since_ms, begins=event.is_held, deadline=deadline
            )
        call, queue_id = event.calls[0], queue.config.id
        if not event.is_held:
            left = await self._line.observe_unheld(tenant, call, deadline)
            return Done(did=Did.LEFT if left else Did.OLD, queue=queue_id)
        held = await self._line.observe_held(
            tenant,
            queue_id,
            call,
            since_ms=event.since_ms,
            longest_hold_ms=queue.config.hold_queue.max_hold_seconds * 1000,
            deadline=deadline,
        )
        return Done(did=Did.HELD if held else Did.OLD, queue=queue_id)

    async def _status(
        self,
        directory: Directory,
        tenant: str,
        event: AgentStatusEvent,
        deadline: Deadline,
    ) -> Done:
        agent = directory.agent_by_user_id(tenant, event.user_id)
        if agent is None:
            return Done(did=Did.UNKNOWN_AGENT)
        seen = await self._agents.observe_status(
            tenant,
            agent.id,
            status=event.status,
            at_ms=event.at_ms,
            deadline=deadline,
            do_not_disturb=event.do_not_disturb,
            reason=event.reason,
        )
        return _done(agent.id, seen)


def _done(agent: str, seen: Observed | None) -> Done:
    if seen is None:
        return Done(did=Did.UNKNOWN_AGENT)
    did = Did.APPLIED if seen.applied else Did.OLD
    return Done(did=did, agent=agent, state=seen.state.value)
