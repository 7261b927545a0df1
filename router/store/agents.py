"""Agents in Redis: one Lua operation per method, each one round trip.

A reservation is a lease with a token: `reserve` checks and takes at once, the lease ends by itself,
and whatever is done with it later needs the token. All times are on Redis' own clock.

Every method takes the deadline of who is asking; it is checked again on Redis' clock, so that a
server that was stalled reserves nobody for a caller who has long been answered (`ExpiredError`).
"""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

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
from router.deadline import Deadline, in_s
from router.errors import NotFoundError
from router.store import keys
from router.store.agent_records import record_of
from router.store.agents_seen import (
    LONGEST_CALL_MS,
    LONGEST_WRAP_UP_MS,
    UNANSWERED_LIMIT,
    AgentsSeen,
)
from router.store.link import Link, Reply
from router.store.memory import Remembering
from router.store.operations import (
    MAX_REQUIREMENTS,
    HasLinks,
    int_of,
    list_of,
    text_of,
)
from router.store.reserving import (
    Asker,
    Reserving,
    Wanted,
    Wish,
    check,
    rest_of,
    want,
)
from router.store.scripts import Script
from router.store.together import Together
from rules.actions import Strategy
from rules.requirements import Requirement

_T = TypeVar("_T")

UNUSED_MS: Final = 24 * 3_600_000
"""Requirements that nobody used for so long are forgotten."""


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """Who was reserved; several only for `simultaneous`. `token` is needed for all that follows.

    A request asked again gets what it got before, and the token of then.
    """

    agents: tuple[str, ...]
    token: str
    lease_until_ms: int


class Unanswered(msgspec.Struct, frozen=True, kw_only=True):
    """How many offers in a row the agent has left unanswered, and where the agent is now."""

    count: int
    state: AgentState


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as people see it: the record, and the state at the moment it was read (`now_ms`)."""

    record: AgentRecord
    effective: EffectiveState
    now_ms: int


class Agents(AgentsSeen):
    """All agents of all tenants. `draw` gives numbers in [0, 1) for the strategy `random`."""

    def __init__(
        self,
        links: HasLinks,
        scripts: Mapping[str, Script] | None = None,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(links, scripts)
        self._draw = draw
        self._together: Together | None = None

    # reservations

    async def reserve(
        self,
        tenant: str,
        *,
        request_id: str,
        requirement: Requirement,
        strategy: Strategy,
        lease_ms: int,
        deadline: Deadline,
        caller: str | None = None,
        sticky_s: int | None = None,
        count: int = 1,
        exclude: Sequence[str] = (),
        call: str | None = None,
        wrap_up_ms: int = 0,
        token: str | None = None,
        remember: Remembering | None = None,
    ) -> Reserved | None:
        """Reserve whom the strategy chooses; None: nobody is ready. Idempotent per `request_id`.

        `call` (default: the request) is what the platform's events and the agents who did not answer
        are remembered by. `count` is for `simultaneous`. `exclude`: at most 100, asked only when
        nobody else is ready. `wrap_up_ms` begins by itself after the call. Bring a `token` of
        `new_token()` to be able to `cancel` when the outcome stays unknown; a reservation whose
        answer comes too late is cancelled by itself. A requirement that is not registered yet is
        registered on the way, if the deadline allows. `remember`: only if nothing is remembered of
        the call (RememberedError), and then remember this of it.
        """
        wish = Wish(
            tenant=tenant,
            requirement=requirement,
            strategy=strategy,
            lease_ms=lease_ms,
            count=count,
            sticky_s=sticky_s or 0,
            wrap_up_ms=wrap_up_ms,
            exclude=tuple(exclude),
        )
        asker = Asker(
            request_id=request_id,
            call=request_id if call is None else call,
            token=token or new_token(),
            caller=caller,
            remember=remember,
        )
        return await self.begin(self.want(wish), asker, deadline, reserved_of).taken()

    def want(self, wish: Wish) -> Wanted:
        """Prepare a wish that many calls have, for `begin`."""
        return want(self._script("agent_reserve"), wish)

    def begin(
        self,
        wanted: Wanted,
        asker: Asker,
        deadline: Deadline,
        read: Callable[[Sequence[Reply]], _T],
    ) -> Reserving[_T]:
        """As `reserve`, for a wish that was prepared, and without waiting; `read`: see Reserving."""
        wish = wanted.wish
        link = self._links.link_for(wish.tenant)
        draw = self._draw() if wanted.draws else 0
        rest = rest_of(asker, link.redis_deadline_ms(deadline), draw)
        reserving = Reserving(
            link, wanted, asker, rest, deadline, self._give_back, self.register, read
        )
        if not wanted.joins:
            reserving.send()
        elif self._together is None or not self._together.takes(reserving):
            self._together = Together(reserving)
            self._together.send()
        return reserving

    async def cancel(self, tenant: str, *, request_id: str, token: str, deadline: Deadline) -> int:
        """Take back whatever `reserve` did under this token, known or not; how many are free again."""
        args = (keys.prefix(tenant), token)
        key_names = [keys.request(tenant, request_id)]
        return int_of(await self._run(tenant, "agent_cancel", key_names, args, deadline))

    async def ring(
        self, tenant: str, agent: str, token: str, *, ring_ms: int, deadline: Deadline
    ) -> bool:
        """The agent's phone rings, for at most `ring_ms` from now. False: the lease is over."""
        return await self._with_token(tenant, "agent_ring", agent, token, (ring_ms,), deadline)

    async def confirm(
        self,
        tenant: str,
        agent: str,
        token: str,
        *,
        deadline: Deadline,
        longest_call_ms: int = LONGEST_CALL_MS,
        call: str = "",
    ) -> bool:
        """The agent has answered. False: too late; somebody else of the group was first, or the
        lease is over and the agent may be somebody else's by now.

        `call` is the agent's from then on, if it is not what the agent was reserved for (a callback).
        """
        args = (longest_call_ms, call)
        return await self._with_token(tenant, "agent_confirm", agent, token, args, deadline)

    async def release(
        self, tenant: str, agent: str, token: str, *, keep_place: bool, deadline: Deadline
    ) -> bool:
        """Give the agent back, with the old idle time or idle from now. False: not ours any more."""
        args = ("1" if keep_place else "0",)
        return await self._with_token(tenant, "agent_release", agent, token, args, deadline)

    async def unanswered(
        self,
        tenant: str,
        agent: str,
        token: str,
        *,
        deadline: Deadline,
        limit: int = UNANSWERED_LIMIT,
        pause_ms: int | None = None,
    ) -> Unanswered | None:
        """The agent did not answer. After `limit` in a row disabled, for `pause_ms` or until enabled.

        The call is not offered to this agent again before the others were asked. None: the token is
        not (or no longer) the agent's.
        """
        args = (keys.prefix(tenant), agent, token, limit, pause_ms or 0)
        key_names = [keys.agent(tenant, agent)]
        reply = await self._run(tenant, "agent_unanswered", key_names, args, deadline)
        if reply is None:
            return None
        count, state = list_of(reply)
        return Unanswered(count=int_of(count), state=AgentState(text_of(state)))

    async def call_ended(
        self,
        tenant: str,
        agent: str,
        token: str,
        *,
        deadline: Deadline,
        wrap_up_ms: int | None = None,
        longest_wrap_up_ms: int = LONGEST_WRAP_UP_MS,
    ) -> bool:
        """The confirmed call is over: wrap-up as the reservation said, or as given here."""
        args = ("" if wrap_up_ms is None else wrap_up_ms, longest_wrap_up_ms)
        return await self._with_token(tenant, "agent_ended", agent, token, args, deadline)

    async def end_wrap_up(self, tenant: str, agent: str, deadline: Deadline) -> bool:
        """Free before the wrap-up's end. False: not in wrap-up."""
        key_names, args = [keys.agent(tenant, agent)], (keys.prefix(tenant), agent)
        return await self._run(tenant, "agent_wrapped_up", key_names, args, deadline) == 1

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
        cursor = "0"
        while True:
            args = (keys.prefix(tenant), wanted, cursor, MAX_REQUIREMENTS)
            reply = await self._run(tenant, "requirement_register", key_names, args, deadline)
            cursor = text_of(reply)
            if cursor == "0":
                return

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

    async def _with_token(  # noqa: PLR0917 - private, in the order of ARGV
        self,
        tenant: str,
        name: str,
        agent: str,
        token: str,
        more: tuple[str | int, ...],
        deadline: Deadline,
    ) -> bool:
        args = (keys.prefix(tenant), agent, token, *more)
        return await self._run(tenant, name, [keys.agent(tenant, agent)], args, deadline) == 1

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
        cursor = "0"
        while True:
            args = (keys.prefix(tenant), requirement, cursor, unused_ms)
            reply = await self._run(tenant, "requirement_remove", key_names, args, deadline)
            cursor = text_of(reply)
            if cursor == "0":
                return

    def _give_back(self, link: Link, wish: Wish, asker: Asker, reply: Reply) -> None:
        """Give a late reservation back without waiting; if that fails too, the lease ends it."""
        if not isinstance(reply, list):
            return
        # By source, not digest: rare enough, and there is nobody to repeat it.
        script = self._script("agent_cancel")
        tenant, deadline = wish.tenant, in_s(wish.lease_ms / 1000)
        link.call(
            *("EVAL", script.source, 1, keys.request(tenant, asker.request_id)),
            *(link.redis_deadline_ms(deadline), keys.prefix(tenant), asker.token),
            deadline=deadline,
        )


def new_token() -> str:
    """A token nobody else has."""
    return secrets.token_hex(8)


def reserved_of(reply: Sequence[Reply]) -> Reserved:
    """Read `{lease end, token, agent...}`."""
    until, token, *agents = reply
    return Reserved(
        agents=tuple(text_of(agent) for agent in agents),
        token=text_of(token),
        lease_until_ms=int_of(until),
    )


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
