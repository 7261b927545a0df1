"""Waiting calls in Redis: one line per queue, matching in one atomic operation either way.

Who keeps a call alive (a session on the PBX, a callback) asks `offer_or_wait`, and asks again when
the offer failed, when `relax` named the call, or when told to: the place in the line stays. A freed
agent asks `next_for_agent`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from router.acd.line import AGING_MS, MAX_PRIORITY
from router.acd.wait import estimated_wait_s
from router.deadline import Deadline
from router.errors import InvalidInputError
from router.store import keys
from router.store.agents import Agents, Reserved, reserved_of
from router.store.facts import seconds_of
from router.store.link import Reply
from router.store.operations import (
    HasLinks,
    Operations,
    UnregisteredError,
    dated,
    int_of,
    list_of,
    text_of,
    texts_of,
)
from router.store.scripts import Script
from rules.actions import Enqueue, Strategy
from rules.requirements import Requirement

MAX_STEPS: Final = 20
MAX_HELD: Final = 10_000
"""Callers held by a phone system that are counted per queue."""
LONGEST_KEPT_MS: Final = 24 * 3_600_000


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """The call has left the line for these agents."""

    reserved: Reserved


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """The call stands in line at `position` (1 is next).

    `wake` are ready agents who belong to calls before this one: call `next_for_agent` for each.
    """

    position: int
    arrival_ms: int
    wake: tuple[str, ...] = ()


class NextCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a freed agent takes: reserved for it, as by `Agents.reserve` with the call as request."""

    call: str
    token: str
    lease_until_ms: int


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call stands, itself counted. `estimated_wait_s` is raw: neither rounded nor capped."""

    position: int
    waiting: int
    waited_s: float
    agents_on_duty: int
    estimated_wait_s: float | None


class Line(Operations):
    """All lines of all tenants."""

    def __init__(
        self,
        links: HasLinks,
        scripts: Mapping[str, Script] | None = None,
        *,
        draw: Callable[[], float] = random.random,
        aging_ms: int = AGING_MS,
    ) -> None:
        """`aging_ms` of waiting weigh as much as one point of priority."""
        super().__init__(links, scripts)
        self._agents = Agents(links, scripts, draw=draw)
        self._draw = draw
        self._aging_ms = aging_ms

    async def offer_or_wait(
        self,
        tenant: str,
        call: str,
        wish: Enqueue,
        *,
        strategy: Strategy,
        lease_ms: int,
        token: str,
        deadline: Deadline,
        caller: str | None = None,
        sticky_s: int | None = None,
        count: int = 1,
        wrap_up_ms: int = 0,
        max_waiting: int = 1000,
        goes_first: bool = False,
        rings: bool = False,
    ) -> Offered | Waits:
        """Give the call an agent if one is free for it, else a place in line.

        `rings`: the phones of those offered now are rung at once, as by `Agents.ring`.

        Asked again it keeps its place, or gets the offer it has. A caller who dropped out and whose
        place is kept gets it back. `goes_first`: a call that has no place gets the first one, whatever
        the line; its wait begins anew.

        `LineFullError` for a new call beyond `max_waiting`. A place kept for a caller who dropped out
        takes no room from others; whoever comes back for one finds a tenth more (at least one), so that
        it is worth something in a full line, and the line stays bounded. Nor do calls count that nobody
        has looked after for a minute (their PBX is gone): they leave a line that is full, and stand
        where they stood once somebody asks for them again.
        """
        about = (token, lease_ms, strategy.value, count, self._draw(), (sticky_s or 0) * 1000)
        args = ("2" if goes_first else "1", *about, wrap_up_ms, "1" if rings else "", caller or "")
        return await self._stand(tenant, call, wish, args, max_waiting, deadline)

    async def enqueue(
        self,
        tenant: str,
        call: str,
        wish: Enqueue,
        *,
        deadline: Deadline,
        caller: str | None = None,
        max_waiting: int = 1000,
    ) -> Offered | Waits:
        """Only stand in line: for who does not want an agent at once (a callback). Idempotent."""
        args = ("0", "", 1, Strategy.LONGEST_IDLE.value, 1, 0, 0, 0, "", caller or "")
        return await self._stand(tenant, call, wish, args, max_waiting, deadline)

    async def next_for_agent(
        self,
        tenant: str,
        agent: str,
        *,
        token: str,
        lease_ms: int,
        deadline: Deadline,
        wrap_up_ms: int = 0,
    ) -> NextCall | None:
        """Reserve the agent for the call that stands first; None: nobody waits, or not free."""
        args = (keys.prefix(tenant), agent, token, lease_ms, wrap_up_ms)
        reply = await self._run(tenant, "line_next", [keys.agent(tenant, agent)], args, deadline)
        if reply is None:
            return None
        call, until, token_then = list_of(reply)
        return NextCall(call=text_of(call), token=text_of(token_then), lease_until_ms=int_of(until))

    async def leave(
        self, tenant: str, call: str, deadline: Deadline, *, keep_place_ms: int = 0
    ) -> bool:
        """Leave the line for good; False: it was not there.

        With `keep_place_ms` (at most a day) the same caller who calls again so soon gets the place.
        """
        key_names = [keys.waiting_call(tenant, call), keys.tried(tenant, call)]
        args = (keys.prefix(tenant), call, min(keep_place_ms, LONGEST_KEPT_MS))
        return await self._run(tenant, "line_leave", key_names, args, deadline) == 1

    async def position(
        self, tenant: str, queue: str, call: str, deadline: Deadline
    ) -> Position | None:
        """Where the call stands in that queue's line, or stood when an agent was found; None: not there."""
        name = keys.queue_id(queue)
        key_names = [
            keys.waiting_call(tenant, call),
            keys.line(tenant, name),
            keys.ready(tenant, name),
            keys.queue_live(tenant, name),
        ]
        reply = await self._run(tenant, "line_position", key_names, (call, name), deadline)
        return None if reply is None else _position(list_of(reply))

    async def relax(self, tenant: str, deadline: Deadline, *, at_most: int = 100) -> list[str]:
        """Let calls ask for less whose time has come; they should ask `offer_or_wait` again."""
        args = (keys.prefix(tenant), at_most)
        reply = await self._run(tenant, "line_relax", [keys.relax_due(tenant)], args, deadline)
        return texts_of(reply)

    # what a phone system with hold queues of its own reports

    async def observe_held(
        self,
        tenant: str,
        queue: str,
        call: str,
        *,
        since_ms: int | None,
        longest_hold_ms: int,
        deadline: Deadline,
    ) -> bool:
        """The phone system holds this caller since then (None: now). False: not any more, by a later report.

        Counts as waiting until reported otherwise, at most `longest_hold_ms`.
        """
        name = keys.queue_id(queue)
        key_names = [
            keys.held(tenant, name),
            keys.held_call(tenant, call),
            keys.queue_live(tenant, name),
            keys.unheld(tenant, call),
        ]
        args = (name, call, dated(since_ms), longest_hold_ms, MAX_HELD)
        return await self._run(tenant, "line_held", key_names, args, deadline) == 1

    async def observe_unheld(
        self, tenant: str, call: str, deadline: Deadline, *, at_ms: int | None = None
    ) -> bool:
        """The phone system holds this caller no more: connected or gone. False: it did not.

        Reports of holding it since before `at_ms` (default: now) are late and will be ignored.
        """
        key_names = [keys.held_call(tenant, call), keys.unheld(tenant, call)]
        args = (keys.prefix(tenant), call, dated(at_ms))
        return await self._run(tenant, "line_unheld", key_names, args, deadline) == 1

    # private

    async def _stand(  # noqa: PLR0917 - private, in the order of ARGV
        self,
        tenant: str,
        call: str,
        wish: Enqueue,
        about: tuple[str | int | float, ...],
        max_waiting: int,
        deadline: Deadline,
    ) -> Offered | Waits:
        steps = _steps(wish)
        queue, caller = keys.queue_id(wish.queue), str(about[-1])
        key_names = [
            keys.waiting_call(tenant, call),
            keys.line(tenant, queue),
            keys.arrivals(tenant, queue),
            keys.relax_due(tenant),
            keys.requirements_used(tenant),
            keys.tried(tenant, call),
            keys.request(tenant, call),
        ]
        if caller:
            key_names += [keys.kept_place(tenant, queue, caller), keys.talked(tenant, caller)]
        flat = [
            part for after_ms, wanted in steps for part in (after_ms, keys.requirement_id(wanted))
        ]
        args = (
            *(keys.prefix(tenant), queue, call, wish.priority, self._aging_ms, max_waiting),
            *about,
            *flat,
        )
        try:
            reply = await self._run(tenant, "line_offer_or_wait", key_names, args, deadline)
        except UnregisteredError:
            for _, wanted in steps:
                await self._agents.register(tenant, wanted, deadline)
            reply = await self._run(tenant, "line_offer_or_wait", key_names, args, deadline)
        return _standing(list_of(reply))


def _steps(wish: Enqueue) -> list[tuple[int, Requirement]]:
    """(after ms, requirement), ascending, the first at once."""
    if not 0 <= wish.priority <= MAX_PRIORITY:
        raise InvalidInputError("priority: 0 to 100", field="priority")
    if len(wish.relax) > MAX_STEPS:
        raise InvalidInputError(f"relax: at most {MAX_STEPS} steps", field="relax")
    later = sorted(wish.relax, key=lambda step: step.after_s)
    return [
        (0, Requirement.of(wish.queue, wish.skills)),
        *((step.after_s * 1000, Requirement.of(wish.queue, step.skills)) for step in later),
    ]


def _standing(reply: Sequence[Reply]) -> Offered | Waits:
    kind, *rest = reply
    if kind == b"OFFER":
        return Offered(reserved=reserved_of(rest))
    position, arrival, *wake = rest
    return Waits(
        position=int_of(position),
        arrival_ms=int_of(arrival),
        wake=tuple(text_of(agent) for agent in wake),
    )


def _position(reply: Sequence[Reply]) -> Position:
    position, waiting, waited_ms, agents, handling = reply
    return Position(
        position=int_of(position),
        waiting=int_of(waiting),
        waited_s=int_of(waited_ms) / 1000,
        agents_on_duty=int_of(agents),
        estimated_wait_s=estimated_wait_s(
            position=int_of(position), agents=int_of(agents), handling_s=seconds_of(handling)
        ),
    )
