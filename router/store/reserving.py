"""What `agent_reserve` is told, written down for the wire: once what many calls share, then the rest.

A routed call reserves within its budget, and writing the command cost more than sending it. Nor is a
task made to wait for the answer: `Reserving` is sent when it is made, and read when its reply is there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from router.acd.agents import MAX_EXCLUDED
from router.deadline import Deadline
from router.errors import InvalidInputError
from router.store import keys
from router.store.link import Link, OnLate, Reply
from router.store.memory import LIFETIME_S, Remembering
from router.store.operations import list_of, raise_refusal
from router.store.scripts import Prepared, Script, opening_of, prepare, run_prepared
from rules.actions import Strategy
from rules.requirements import Requirement

LONGEST_LEASE_MS: Final = 600_000
MAX_GROUP: Final = 20
"""Agents that may ring at once."""

_RANK_OF: Final = {
    Strategy.MOST_SKILLED: "level",
    Strategy.FIXED_ORDER: "order",
    Strategy.ROUND_ROBIN: "turn",
}
_VARYING: Final = 9
"""Words of a reservation that differ from call to call."""

_VARYING_FORMAT: Final = b"$%d\r\n%b\r\n" * _VARYING
_FORGETTING: Final = Remembering(b"", b"", b"")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to reserve, and how: the same for many calls. Times in ms; `sticky_s` 0 is none.

    `count` is for `simultaneous`. `exclude`: asked only when nobody else is ready.
    """

    tenant: str
    requirement: Requirement
    strategy: Strategy
    lease_ms: int
    count: int = 1
    sticky_s: int = 0
    wrap_up_ms: int = 0
    exclude: tuple[str, ...] = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that was checked and written down."""

    wish: Wish
    head: Prepared
    opening: bytes
    """The whole command, but for the words that differ from call to call and `tail`."""

    tail: bytes
    words: int


class Asker(NamedTuple):
    """Which call wants somebody; see `Agents.reserve`."""

    request_id: str
    call: str
    token: str
    caller: str | None = None
    remember: Remembering | None = None


_T = TypeVar("_T")


class Reserving(Generic[_T]):
    """One reservation, sent to the store as it is made: see `Agents.begin`."""

    __slots__ = (
        "_deadline",
        "_give_back",
        "_link",
        "_read",
        "_register",
        "_rest",
        "_wanted",
        "reply",
    )

    def __init__(  # noqa: PLR0917 - one maker; by name it takes twice as long
        self,
        link: Link,
        wanted: Wanted,
        rest: bytes,
        deadline: Deadline,
        give_back: OnLate,
        register: Callable[[str, Requirement, Deadline], Awaitable[None]],
        read: Callable[[Sequence[Reply]], _T],
    ) -> None:
        """`read` makes of `{lease end, token, agent...}` what is wanted of it."""
        self._link = link
        self._wanted = wanted
        self._rest = rest
        self._deadline = deadline
        self._give_back = give_back
        self._register = register
        self._read = read
        self.reply: asyncio.Future[Reply] = link.send(wanted.opening + rest, deadline, give_back)
        """Done when the store has answered or the deadline has passed."""

    def at_hand(self) -> _T | None:
        """Who was reserved, if that is known and nothing else is to be done; otherwise ask `taken`."""
        reply = self.reply
        if not reply.done() or reply.cancelled() or reply.exception() is not None:
            return None
        told = reply.result()
        return self._read(told) if isinstance(told, list) else None

    async def taken(self) -> _T | None:
        """Who was reserved; None: nobody is ready. Raises a CrosspointError by the deadline."""
        reply = await self._run(self.reply)
        if isinstance(reply, bytes):
            if reply != b"UNREGISTERED":
                raise_refusal(reply)
            wish = self._wanted.wish
            await self._register(wish.tenant, wish.requirement, self._deadline)
            reply = await self._run(None)
            if isinstance(reply, bytes):
                raise_refusal(reply)
        return None if reply is None else self._read(list_of(reply))

    async def _run(self, sent: asyncio.Future[Reply] | None) -> Reply:
        head, words = self._wanted.head, self._wanted.words
        return await run_prepared(
            self._link, head, words, self._rest, self._deadline, self._give_back, sent
        )


def want(script: Script, wish: Wish) -> Wanted:
    """Check a wish (InvalidInputError) and write it down."""
    check(1 <= wish.lease_ms <= LONGEST_LEASE_MS, "lease_ms", "1 to 600000 ms")
    check(1 <= wish.count <= MAX_GROUP, "count", f"1 to {MAX_GROUP}")
    check(len(wish.exclude) <= MAX_EXCLUDED, "exclude", f"at most {MAX_EXCLUDED} agents")
    tenant, requirement = wish.tenant, wish.requirement
    queue, wanted = keys.queue_id(requirement.queue), keys.requirement_id(requirement)
    kind = _RANK_OF.get(wish.strategy)
    ranks = (keys.rank(tenant, kind, queue), *keys.ranked(tenant, kind, wanted)) if kind else ()
    count = wish.count if wish.strategy is Strategy.SIMULTANEOUS else 1
    head = prepare(
        script,
        (keys.ready(tenant, wanted), keys.requirements_used(tenant), *ranks),
        (
            *(keys.prefix(tenant), wanted, queue, wish.strategy.value, wish.lease_ms, count),
            *(wish.sticky_s * 1000, wish.wrap_up_ms, int(LIFETIME_S * 1000)),
        ),
    )
    excluded = [agent.encode() for agent in wish.exclude]
    tail = b"".join([b"$%d\r\n%b\r\n" % (len(agent), agent) for agent in excluded])
    words = _VARYING + len(excluded)
    return Wanted(wish=wish, head=head, opening=opening_of(head, words), tail=tail, words=words)


def rest_of(wanted: Wanted, asker: Asker, deadline_ms: int, draw: float) -> bytes:
    """What differs from call to call; `draw` in [0, 1) is for the strategy `random`."""
    limit, by_chance = b"%d" % deadline_ms, b"%r" % draw
    request, call, token = asker.request_id.encode(), asker.call.encode(), asker.token.encode()
    caller = asker.caller.encode() if asker.caller else b""
    scope, before, after = asker.remember or _FORGETTING
    varying = _VARYING_FORMAT % (
        *(len(limit), limit, len(by_chance), by_chance, len(request), request, len(call), call),
        *(len(token), token, len(caller), caller, len(scope), scope),
        *(len(before), before, len(after), after),
    )
    return varying + wanted.tail if wanted.tail else varying


def check(is_right: bool, field: str, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise InvalidInputError for `field` unless it is right."""
    if not is_right:
        raise InvalidInputError(f"{field}: {allowed}", field=field)
