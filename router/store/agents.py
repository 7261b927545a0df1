"""Agents in Redis and their reservations: one Lua operation per method, each one round trip.

A reservation is a lease with a token: `reserve` checks and takes at once, the lease ends by itself,
and whatever is done with it later needs the token. All times are on Redis' own clock.

Every method takes the deadline of who is asking; it is checked again on Redis' clock, so that a
server that was stalled reserves nobody for a caller who has long been answered (`ExpiredError`).
"""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from router.acd.agents import AgentState
from router.deadline import Deadline, in_s
from router.store import keys
from router.store.agents_managed import AgentsManaged
from router.store.agents_seen import LONGEST_CALL_MS, LONGEST_WRAP_UP_MS, UNANSWERED_LIMIT
from router.store.link import Link, Reply
from router.store.memory import Remembering
from router.store.operations import HasLinks, int_of, list_of, text_of
from router.store.reserving import Asker, Reserving, Wanted, Wish, rest_of, want
from router.store.scripts import Script
from router.store.together import Together
from rules.actions import Strategy
from rules.requirements import Requirement

_T = TypeVar("_T")


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


class Agents(AgentsManaged):
    """All agents of all tenants; here their reservations.

    `draw` gives numbers in [0, 1) for the strategy `random`.
    """

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
