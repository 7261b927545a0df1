"""What `agent_reserve` is told, written down for the wire: once what many calls share, then the rest.

A routed call reserves within its budget, and writing the command cost more than sending it. Nor does a
task or a future wait for the answer: `Reserving` is told it by the link itself.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from router.acd.agents import MAX_EXCLUDED
from router.deadline import Deadline
from router.errors import CrosspointError, InvalidInputError, RefusalKind, StoreRefusedError
from router.store import keys
from router.store.link import Link, Reply
from router.store.memory import LIFETIME_S, Remembering
from router.store.operations import list_of, raise_refusal
from router.store.scripts import Prepared, Script, opening_of, prepare, run_prepared
from router.store.wire import packed
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
WORDS_EACH: Final = 9
"""Words of a reservation that differ from call to call."""

ASK_ALONE: Final = 0
"""The reply to one of several, when it has to be asked for by itself."""

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
    """A wish that was checked and written down, but for the words that differ from call to call."""

    wish: Wish
    head: Prepared
    joins: bool
    """Whether several of it may be asked for in one command."""
    draws: bool
    """Whether it hangs on chance."""


class Asker(msgspec.Struct, frozen=True, gc=False):
    """Which call wants somebody; see `Agents.reserve`."""

    request_id: str
    call: str
    token: str
    caller: str | None = None
    remember: Remembering | None = None


_T = TypeVar("_T")
_GiveBack = Callable[[Link, Wish, Asker, Reply], None]
_Register = Callable[[str, Requirement, Deadline], Awaitable[None]]


class Reserving(msgspec.Struct, Generic[_T], eq=False):
    """One reservation under way: see `Agents.begin`. It is what the link tells the reply to.

    `read` makes of `{lease end, token, agent...}` what is wanted of it; `rest` is `rest_of`.
    """

    link: Link
    wanted: Wanted
    asker: Asker
    rest: bytes
    deadline: Deadline
    _give_back: _GiveBack
    _register: _Register
    _read: Callable[[Sequence[Reply]], _T]
    _is_told: bool = False
    _reply: Reply = None
    _error: CrosspointError | None = None
    _then: Callable[[object], None] | None = None

    def send(self) -> None:
        """Ask the store for this one by itself."""
        command = opening_of(self.wanted.head, WORDS_EACH) + self.rest
        self.link.send_for(self, command, self.deadline, self.late, len(command))

    def then(self, do: Callable[[object], None]) -> None:
        """Have `do` called once, when the store has answered or the deadline has passed.

        It is called in the midst of the link's work, and must not send anything.
        """
        if self._is_told:
            asyncio.get_running_loop().call_soon(do, self)
        else:
            self._then = do

    def at_hand(self) -> _T | None:
        """Who was reserved, if that is known and nothing else is to be done; otherwise ask `taken`."""
        reply = self._reply
        return self._read(reply) if isinstance(reply, list) else None

    async def taken(self) -> _T | None:
        """Who was reserved; None: nobody is ready. Raises a CrosspointError by the deadline."""
        reply = await self._told()
        if isinstance(reply, bytes):
            if reply != b"UNREGISTERED":
                raise_refusal(reply)
            wish = self.wanted.wish
            await self._register(wish.tenant, wish.requirement, self.deadline)
            reply = await self._ask_alone()
            if isinstance(reply, bytes):
                raise_refusal(reply)
        return None if reply is None else self._read(list_of(reply))

    def late(self, reply: Reply) -> None:
        """Nobody waits for this reply any more."""
        self._give_back(self.link, self.wanted.wish, self.asker, reply)

    # as a receiver of the link

    def done(self) -> bool:
        """Whether it was told already, or nobody wants to know any more."""
        return self._is_told

    def set_result(self, reply: Reply, /) -> None:
        """The store has answered."""
        self._is_told = True
        self._reply = reply
        self._go_on()

    def set_exception(self, error: CrosspointError, /) -> None:
        """The store has not answered, or with an error."""
        self._is_told = True
        self._error = error
        self._go_on()

    # private

    def _go_on(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            try:
                then(self)
            except Exception as ours:  # noqa: BLE001 - the boundary: other replies are waiting
                context = {"message": "going on after a reservation failed", "exception": ours}
                asyncio.get_running_loop().call_exception_handler(context)

    async def _told(self) -> Reply:
        if not self._is_told:
            await self._wait()
        error = self._error
        if error is None:
            return await self._ask_alone() if self._reply == ASK_ALONE else self._reply
        if isinstance(error, StoreRefusedError) and error.kind is RefusalKind.NO_SCRIPT:
            return await self._ask_alone()
        raise error

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._then = lambda _: None if waiter.done() else waiter.set_result(None)
        try:
            await waiter
        except asyncio.CancelledError:
            if self._is_told:
                self.late(self._reply)
            self._is_told = True
            raise

    async def _ask_alone(self) -> Reply:
        return await run_prepared(
            self.link, self.wanted.head, WORDS_EACH, self.rest, self.deadline, self.late
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
    exclude = wish.exclude
    head = prepare(
        script,
        (keys.ready(tenant, wanted), keys.requirements_used(tenant), *ranks),
        (
            *(keys.prefix(tenant), wanted, queue, wish.strategy.value, wish.lease_ms, count),
            *(wish.sticky_s * 1000, wish.wrap_up_ms, int(LIFETIME_S * 1000)),
            len(exclude),
            *exclude,
        ),
    )
    joins = wish.strategy is Strategy.LONGEST_IDLE and not wish.sticky_s and not exclude
    return Wanted(wish=wish, head=head, joins=joins, draws=wish.strategy is Strategy.RANDOM)


def rest_of(asker: Asker, deadline_ms: int, draw: float) -> bytes:
    """What differs from call to call; `draw` in [0, 1) is for the strategy `random`."""
    until, request, call = b"%d" % deadline_ms, asker.request_id.encode(), asker.call.encode()
    token, caller = asker.token.encode(), (asker.caller or "").encode()
    remember = asker.remember or _FORGETTING
    before = remember.before
    # As `packed` writes words down; in one go it takes half as long.
    return _REST % (
        len(until),
        until,
        _as_word(draw) if draw else _NO_DRAW,
        len(request),
        request,
        len(call),
        call,
        len(token),
        token,
        len(caller),
        caller,
        _shared_word(remember.scope),
        len(before),
        before,
        _shared_word(remember.after),
    )


def _as_word(word: bytes | float) -> bytes:
    return packed((word,))[len(b"*1\r\n") :]


_shared_word: Final = functools.lru_cache(maxsize=1024)(_as_word)
"""For words of many commands."""
_NO_DRAW: Final = _as_word(0)
_WORD: Final = b"$%d\r\n%b\r\n"
_REST: Final = _WORD + b"%b" + 4 * _WORD + b"%b" + _WORD + b"%b"


def check(is_right: bool, field: str, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise InvalidInputError for `field` unless it is right."""
    if not is_right:
        raise InvalidInputError(f"{field}: {allowed}", field=field)
