"""What people and site files make of agents in Redis: duty, queues, skills; and the list of them.

One Lua operation per method, but for what needs several bounded steps.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from router.acd.agents import (
    MAX_ORDER,
    MAX_QUEUES,
    AgentRecord,
    AgentState,
    EffectiveState,
    Membership,
    effective_state,
)
from router.deadline import Deadline
from router.errors import NotFoundError
from router.store import keys
from router.store.agent_records import record_of
from router.store.agents_seen import AgentsSeen
from router.store.link import Reply
from router.store.operations import MAX_REQUIREMENTS, int_of, list_of, text_of
from router.store.reserving import check
from rules.requirements import Requirement

UNUSED_MS: Final = 24 * 3_600_000
"""Requirements that nobody used for so long are forgotten."""


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as people see it: the record, and the state at the moment it was read (`now_ms`)."""

    record: AgentRecord
    effective: EffectiveState
    now_ms: int


class AgentsManaged(AgentsSeen):
    """Settings of the agents of all tenants."""

    # what agents and supervisors set

    async def set_duty(
        self, tenant: str, agent: str, *, on: bool, deadline: Deadline, reason: str | None = None
    ) -> AgentState:
        """Go on or off duty, with a reason. Coming on duty also enables. `NotFoundError`."""
        args = ("1" if on else "0", reason or "")
        return await self._set(tenant, "agent_duty", agent, args, deadline)

    async def set_do_not_disturb(
        self, tenant: str, agent: str, *, on: bool, deadline: Deadline, queue: str | None = None
    ) -> AgentState:
        """Do not disturb: overall, or with calls of one queue. `NotFoundError`."""
        args = ("1" if on else "0", "" if queue is None else keys.queue_id(queue))
        return await self._set(tenant, "agent_dnd", agent, args, deadline)

    async def set_enabled(
        self, tenant: str, agent: str, *, on: bool, deadline: Deadline
    ) -> AgentState:
        """Enable an agent who left too many offers unanswered, or disable one. `NotFoundError`."""
        return await self._set(tenant, "agent_enable", agent, ("1" if on else "0",), deadline)

    # configuration

    async def put(
        self,
        tenant: str,
        agent: str,
        *,
        queues: Mapping[str, Membership],
        skills: Mapping[str, int],
        deadline: Deadline,
        on_duty: bool = False,
    ) -> bool:
        """Create or reconfigure an agent; True: created. `on_duty` counts for a new agent only.

        Runtime state stays as it is (`do_not_disturb` of a membership too: use the method). At most
        100 queues; `TooManyRequirementsError` when new queues would exceed the tenant's limit.
        """
        check(len(queues) <= MAX_QUEUES, "queues", f"at most {MAX_QUEUES} queues")
        flat: list[str | int] = []
        for queue, membership in sorted(queues.items()):
            check(0 <= membership.skill_level <= 100, "skill_level", "0 to 100")
            check(0 <= membership.order <= MAX_ORDER, "order", f"0 to {MAX_ORDER}")
            flat += [membership.skill_level, membership.order, keys.queue_id(queue)]
        for skill, level in sorted(skills.items()):
            check(0 <= level <= 100, "skills", "levels 0 to 100")
            flat += [level, keys.queue_id(skill)]
        key_names = [
            keys.agent(tenant, agent),
            keys.agent_ids(tenant),
            keys.requirements(tenant),
            keys.requirements_used(tenant),
        ]
        start = "1" if on_duty else "0"
        args = (keys.prefix(tenant), agent, start, MAX_REQUIREMENTS, len(queues), *flat)
        return await self._run(tenant, "agent_put", key_names, args, deadline) == 1

    async def remove(self, tenant: str, agent: str, deadline: Deadline) -> bool:
        """Remove an agent; False: there was none. Reservations of the agent are void."""
        key_names = [keys.agent(tenant, agent), keys.agent_ids(tenant)]
        args = (keys.prefix(tenant), agent)
        return await self._run(tenant, "agent_remove", key_names, args, deadline) == 1

    async def register(self, tenant: str, requirement: Requirement, deadline: Deadline) -> None:
        """Make a requirement known; to be done when a ruleset that uses it is loaded. Idempotent.

        Takes several bounded steps for a large queue. `TooManyRequirementsError`.
        """
        wanted, queue = keys.requirement_id(requirement), keys.queue_id(requirement.queue)
        key_names = [
            keys.requirements(tenant),
            keys.requirements_used(tenant),
            keys.members(tenant, queue),
        ]
        limit = MAX_REQUIREMENTS
        await self._in_steps(tenant, "requirement_register", key_names, wanted, limit, deadline)

    async def forget_unused(
        self, tenant: str, deadline: Deadline, unused_ms: int = UNUSED_MS
    ) -> int:
        """Housekeeping: remove requirements nobody used for a day; how many are left.

        Run it every hour or so; interrupted anywhere it is taken up by the next run.
        """
        link = self._links.link_for(tenant)
        known = list_of(await link.call("HKEYS", keys.requirements(tenant), deadline=deadline))
        for entry in known:
            await self._forget(tenant, text_of(entry), deadline, unused_ms)
        return int_of(await link.call("HLEN", keys.requirements(tenant), deadline=deadline))

    # reading

    async def get(self, tenant: str, agent: str, deadline: Deadline) -> AgentView | None:
        """One agent with the state of this moment; None: no such agent."""
        args = (keys.prefix(tenant), 0, 1, agent)
        reply = await self._run(tenant, "agent_list", [keys.agent_ids(tenant)], args, deadline)
        return next(iter(_views(reply)), None)

    async def list(
        self, tenant: str, deadline: Deadline, *, limit: int = 50, offset: int = 0
    ) -> tuple[Sequence[AgentView], int]:
        """Agents in order of id, at most 500 at once, and how many there are in all."""
        args = (keys.prefix(tenant), offset, limit)
        reply = await self._run(tenant, "agent_list", [keys.agent_ids(tenant)], args, deadline)
        return _views(reply), int_of(list_of(reply)[1])

    # private

    async def _set(
        self, tenant: str, name: str, agent: str, more: tuple[str, ...], deadline: Deadline
    ) -> AgentState:
        args = (keys.prefix(tenant), agent, *more)
        reply = await self._run(tenant, name, [keys.agent(tenant, agent)], args, deadline)
        if reply is None:
            raise NotFoundError("there is no such agent")
        return AgentState(text_of(reply))

    async def _forget(
        self, tenant: str, requirement: str, deadline: Deadline, unused_ms: int
    ) -> None:
        key_names = [
            keys.requirements(tenant),
            keys.requirements_used(tenant),
            keys.members(tenant, requirement.partition("|")[0]),
            keys.ready(tenant, requirement),
            keys.waiting(tenant, requirement),
        ]
        name = "requirement_remove"
        await self._in_steps(tenant, name, key_names, requirement, unused_ms, deadline)

    async def _in_steps(  # noqa: PLR0917 - private, in the order of ARGV
        self,
        tenant: str,
        name: str,
        key_names: Sequence[str],
        requirement: str,
        limit: int,
        deadline: Deadline,
    ) -> None:
        """Run an operation that does a bounded part each time and says where to go on; "0" is the end."""
        cursor = "0"
        while True:
            args = (keys.prefix(tenant), requirement, cursor, limit)
            cursor = text_of(await self._run(tenant, name, key_names, args, deadline))
            if cursor == "0":
                return


def _views(reply: Reply) -> Sequence[AgentView]:
    now, _, *entries = list_of(reply)
    now_ms = int_of(now)
    views = []
    for entry in entries:
        agent, fields = list_of(entry)
        record = record_of(text_of(agent), list_of(fields))
        if record is not None:
            state = effective_state(record, now_ms)
            views.append(AgentView(record=record, effective=state, now_ms=now_ms))
    return views
