"""A routing request's body in, status and answer out: everything between the socket and the decision."""

import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from router.deadline import Deadline
from router.decisions import dialogue, fallback
from router.decisions.decide import Begun, Decider, Straight
from router.decisions.needed import Reserving
from router.decisions.outcome import Asked, Level, Outcome, Why
from router.decisions.views import View
from router.platforms.dialpad.dialect import DialpadDialect
from router.platforms.dialpad.incoming import read_incoming
from router.platforms.dialpad.signature import BadSignatureError
from router.platforms.dialpad.wire import RoutingRequest, UnreadableError
from rules.facts import CallFacts

LONGEST_BODY: Final = 64 * 1024


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What goes out. `level` None: no decision was made."""

    status: int
    body: bytes
    level: Level | None = None
    timing: str = ""


class Afterwards(Protocol):
    """What is done once the answer is out."""

    def put(self, asked: Asked, outcome: Outcome, duration_s: float, *, is_late: bool) -> None:
        """Take over a decision that was answered; never waits, never fails."""

    def refused(self, router_id: str) -> None:
        """Count a request that was not signed as its router demands."""


Find = Callable[[str, float], View | None]

NOT_FOUND: Final = Reply(404, b'{"error":{"code":"not_found","message":"No such call router."}}')
TOO_LARGE: Final = Reply(413, b'{"error":{"code":"too_large","message":"At most 64 KiB."}}')
NOT_ALLOWED: Final = Reply(405, b'{"error":{"code":"method_not_allowed","message":"POST only."}}')
TOO_SLOW: Final = Reply(408, b'{"error":{"code":"too_slow","message":"The body did not come."}}')
BROKEN_OFF: Final = Reply(400, b'{"error":{"code":"invalid","message":"The body broke off."}}')
UNAUTHENTICATED: Final = Reply(
    401, b'{"error":{"code":"unauthenticated","message":"Not signed as this router demands."}}'
)

_DIALECT: Final = DialpadDialect()
_NOTHING: Final = RoutingRequest(CallFacts(call_id=""))


class Answering:
    """Answers routing requests of the platform. `reserve_s` of each budget is for writing."""

    def __init__(
        self,
        find: Find,
        decider: Decider,
        afterwards: Afterwards,
        reserve_s: float,
    ) -> None:
        self._find = find
        self._decider = decider
        self._afterwards = afterwards
        self._reserve_s = reserve_s

    def find(self, router_id: str) -> View | None:
        """The router that a path names."""
        return self._find(router_id, time.time())

    async def answer(self, view: View, body: bytes, arrived: float) -> Reply:
        """Answer one request; `arrived` is of the monotonic clock, as the event loop's is."""
        reply = self.begin(view, body, arrived)
        return reply if isinstance(reply, Reply) else await self.finish(reply)

    def begin(self, view: View, body: bytes, arrived: float) -> "Reply | Half":
        """The reply, if it needs nobody else, without ever having waited; else what to `finish`."""
        began_s = time.monotonic()
        router, now_s = view.router, time.time()
        is_read = True
        try:
            request = read_incoming(body, router, now_s)
        except BadSignatureError:
            self._afterwards.refused(router.id)
            return UNAUTHENTICATED
        except UnreadableError:
            request, is_read = _NOTHING, False
        call, silent = request.call, request.silent
        # By position: by name it takes twice as long.
        asked = Asked(
            router,
            call,
            silent,
            dialogue.fingerprint(call.digits, silent) if call.digits or silent else "",
            _DIALECT,
            view.names,
            now_s,
        )
        read_s = time.monotonic()
        deadline = self._deadline(asked, arrived)
        begun: Outcome | Begun
        if is_read:
            begun = self._decider.begin(asked, deadline)
        else:
            begun = fallback.router_default(asked, Level.DEFAULT, Why.UNREADABLE.value)
        half = Half(asked, begun, deadline, arrived, began_s, read_s)
        return self._done(half, begun) if isinstance(begun, Outcome) else half

    def at_hand(self, half: "Half") -> Reply | None:
        """The reply, if what `half.awaited` has brought is all it takes; None: `finish`."""
        if not isinstance(half.begun, Straight):
            return None
        outcome = self._decider.at_hand(half.asked, half.begun)
        return None if outcome is None else self._done(half, outcome)

    async def finish(self, half: "Half") -> Reply:
        """The reply to a request that has to ask somebody."""
        asked, begun = half.asked, half.begun
        if isinstance(begun, Begun):
            begun = await self._decider.finish(asked, begun, half.deadline)
        return self._done(half, begun)

    async def decide(self, asked: Asked, arrived: float) -> Outcome:
        """Decide within the router's budget and hand the outcome to what comes afterwards."""
        outcome = await self._decider.decide(asked, self._deadline(asked, arrived))
        self._put(asked, outcome, time.monotonic() - arrived)
        return outcome

    def _deadline(self, asked: Asked, arrived: float) -> Deadline:
        return Deadline(arrived + asked.router.budget_s - self._reserve_s)

    def _done(self, half: "Half", outcome: Outcome) -> Reply:
        now_s, read_s = time.monotonic(), half.read_s
        self._put(half.asked, outcome, now_s - half.arrived)
        timing = f"read;dur={_in_ms(read_s - half.began_s)},decide;dur={_in_ms(now_s - read_s)}"
        return Reply(200, outcome.body, outcome.level, timing)

    def _put(self, asked: Asked, outcome: Outcome, took_s: float) -> None:
        self._afterwards.put(asked, outcome, took_s, is_late=took_s > asked.router.budget_s)


def _in_ms(seconds: float) -> str:
    """A duration as it is told: milliseconds to three places."""
    return _DURATIONS[us] if 0 <= (us := int(seconds * 1e6)) < _WRITTEN else f"{seconds * 1e3:.3f}"


_WRITTEN: Final = 10_000
_DURATIONS: Final = tuple(f"{us / 1e3:.3f}" for us in range(_WRITTEN))
"""By microseconds: writing a fraction costs ten times as much as looking it up."""


class Half(msgspec.Struct, frozen=True):
    """A request that was read and begun. Times are of the monotonic clock."""

    asked: Asked
    begun: Outcome | Begun
    deadline: Deadline
    arrived: float
    began_s: float
    read_s: float

    @property
    def awaited(self) -> Reserving | None:
        """What the store was asked for already, after whose answer the reply may be `at_hand`."""
        return self.begun.reserving if isinstance(self.begun, Straight) else None
