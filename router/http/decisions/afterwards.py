"""What is left to do once an answer is out: log, memory, errors, metrics, reservations nobody uses.

How it works. `put` only appends to a list. In the loop's next turn, when the answers of this one have
gone out and what they were made of is still in the processor's caches, each is reduced to what the
store is to be told, in a bounded line (the oldest goes, and is counted). What has gathered is taken
every few milliseconds, in small batches, and told the store, each with its own deadline. While the store
is away the line waits for it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from router.deadline import Deadline, in_s, left_s
from router.decisions.error_budget import ErrorBudget
from router.decisions.log import written
from router.decisions.outcome import Asked, ErrorCode, Outcome, Taken, Why
from router.errors import CrosspointError, OutcomeUnknownError
from router.metrics import AfterAnswer, ForeignAsk, Observer, Reservation
from router.store import decisions, errors, memory
from router.store.link import Link

MOST_WAITING: Final = 10_000
BATCH: Final = 32
"""Decisions told in one go; more would keep the store from the routing requests that come meanwhile."""

AT_ONCE: Final = 16
"""Batches on their way: one answer of the store takes several turns of a busy loop."""

EVERY_S: Final = 0.002
STORE_S: Final = 1.0
ERRORS_EVERY_S: Final = 0.25

_FOREIGN: Final = {
    ErrorCode.TIMEOUT: ForeignAsk.TIMEOUT,
    ErrorCode.CONNECT: ForeignAsk.CONNECT,
    ErrorCode.STATUS: ForeignAsk.STATUS,
    ErrorCode.UNREADABLE: ForeignAsk.UNREADABLE,
}
_RESERVED: Final = Why.RESERVED.value
_NO_AGENT: Final = Why.NO_AGENT.value
_log = structlog.get_logger(__name__)


class Done(msgspec.Struct, frozen=True):
    """One answered decision."""

    asked: Asked
    outcome: Outcome
    duration_s: float


class Written(decisions.Line, frozen=True, gc=True):
    """What the store is to be told of one decision: the log's entry, and more where there is any.

    `unsettled` is the outcome, if something of it is to be cleared up.
    """

    tenant: str
    item: memory.Remember | None = None
    unsettled: Outcome | None = None


class ClearsUp(Protocol):
    """`router.store.call_store.CallStore`'s second half."""

    async def cancel(self, tenant: str, request_id: str, deadline: Deadline) -> None: ...
    async def give_back(self, tenant: str, taken: Taken, deadline: Deadline) -> None: ...
    async def withdraw(self, tenant: str, request_id: str, deadline: Deadline) -> None: ...


class HasLinks(Protocol):
    def link_for(self, tenant: str) -> Link: ...


class Afterwards:
    """One per process; `run` is a task of it, `close` tells the store what is left."""

    def __init__(
        self,
        *,
        links: HasLinks,
        clears_up: ClearsUp,
        calls: memory.CallMemory,
        budget: ErrorBudget,
        observer: Observer,
        clock: Callable[[], float],
        kept: int,
        with_full_numbers: bool,
    ) -> None:
        """`clock` tells seconds since the epoch; `kept` is the size of a tenant's log."""
        self._links = links
        self._clears_up = clears_up
        self._calls = calls
        self._budget = budget
        self._observer = observer
        self._clock = clock
        self._kept = kept
        self._with_full_numbers = with_full_numbers
        self._fresh: list[Done] = []
        self._waiting: deque[Written] = deque()
        self._tenants: dict[str, str] = {}
        self._refused_for: dict[AfterAnswer, str] = {}
        self._errors_at = 0.0
        self._news = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    def put(self, asked: Asked, outcome: Outcome, duration_s: float, *, is_late: bool) -> None:
        """Take over a decision that was answered; never waits, never fails."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._write_up)
            self._news.set()
        self._fresh.append(Done(asked, outcome, duration_s))
        self._observer.decided(outcome.level, duration_s, asked.router.rules, outcome.rule)
        self._calls.keep(asked, outcome)
        error = outcome.error or (ErrorCode.TIMEOUT if is_late else None)
        if error is not None:
            self._count_error(asked, outcome, error)

    def refused(self, router_id: str) -> None:
        """Count a request that was not signed as its router demands."""
        self._observer.refused(router_id)

    def __len__(self) -> int:
        return len(self._fresh) + len(self._waiting)

    async def run(self) -> None:
        """Work until cancelled: some batches may be on their way at the same time."""
        while True:
            await self._news.wait()  # nobody wakes up before there is something to tell
            await asyncio.sleep(EVERY_S)
            self._write_up()
            for _ in range(1 + len(self._waiting) // BATCH):
                await self._room.acquire()
                batch = self._take()
                task = asyncio.create_task(self._tell_batch(batch, in_s(STORE_S)))
                self._under_way.add(task)
                task.add_done_callback(self._over)
                if not batch:
                    break
            if not len(self) and not self._budget.pending():
                self._news.clear()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._room.release()
        if not task.cancelled() and (ours := task.exception()):
            _log.error("telling_failed", exc_info=ours)

    async def close(self, deadline: Deadline) -> None:
        """Once nothing runs any more: tell the store what is left, as far as the time allows."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=max(0.0, left_s(deadline)))
        self._errors_at = 0.0
        self._write_up()
        while self._waiting and left_s(deadline) > 0:
            before = len(self._waiting)
            await self.flush(deadline)
            if len(self._waiting) >= before:
                break
        await self._tell_errors(deadline)

    async def flush(self, deadline: Deadline) -> int:
        """Handle one batch, and errors that the store has not been told yet; how many were handled."""
        self._write_up()
        batch = self._take()
        await self._tell_batch(batch, deadline)
        return len(batch)

    def _take(self) -> Sequence[Written]:
        """The oldest that the store can be told now; those for a store that is away stay in line."""
        oldest = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        tenants = {each.tenant for each in oldest}
        away = {each for each in tenants if not self._links.link_for(each).is_open}
        if not away:
            return oldest
        self._waiting.extendleft(each for each in reversed(oldest) if each.tenant in away)
        return [each for each in oldest if each.tenant not in away]

    async def _tell_batch(self, batch: Sequence[Written], deadline: Deadline) -> None:
        tenants = {each.tenant for each in batch}
        for tenant in tenants:
            mine = [each for each in batch if each.tenant == tenant] if len(tenants) > 1 else batch
            await self._tell(self._links.link_for(tenant), tenant, mine, deadline)
        now = asyncio.get_running_loop().time()
        if now >= self._errors_at:
            self._errors_at = now + ERRORS_EVERY_S
            await self._tell_errors(deadline)  # by one of those that tell: the time was set before

    def _write_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        for done in fresh:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._observer.dropped(AfterAnswer.DECISION_LOG)
            self._observe(done.asked, done.outcome)
            self._waiting.append(self._written(done))

    def _written(self, done: Done) -> Written:
        asked, outcome, duration_s = done.asked, done.outcome, done.duration_s
        text = written(
            asked, outcome, int(duration_s * 1e6), with_full_numbers=self._with_full_numbers
        )
        is_telling = is_worth_telling(asked, outcome)
        is_unsettled = outcome.unsure or outcome.unsure_callback or outcome.give_back
        return Written(
            asked.now_s,
            text,
            asked.router.tenant,
            memory.to_remember(asked, outcome) if is_telling else None,
            outcome if is_unsettled else None,
        )

    async def _tell(
        self, link: Link, tenant: str, batch: Sequence[Written], deadline: Deadline
    ) -> None:
        with self._or_drop(AfterAnswer.DECISION_LOG, len(batch)):
            await decisions.append_decisions(
                link, tenant, batch, kept=self._kept, deadline=deadline
            )
        wanted = [each.item for each in batch if each.item is not None]
        if wanted:
            with self._or_drop(AfterAnswer.MEMORY, len(wanted)):
                await memory.remember(link, tenant, wanted, deadline)
        for each in batch:
            if each.unsettled is not None:
                with self._or_drop(AfterAnswer.RELEASE, 1):
                    await self._clear_up(tenant, each.unsettled, deadline)

    async def _clear_up(self, tenant: str, outcome: Outcome, deadline: Deadline) -> None:
        if outcome.unsure is not None:
            await self._clears_up.cancel(tenant, outcome.unsure, deadline)
        if outcome.unsure_callback is not None:
            await self._clears_up.withdraw(tenant, outcome.unsure_callback, deadline)
        for taken in outcome.give_back:
            await self._clears_up.give_back(tenant, taken, deadline)

    async def _tell_errors(self, deadline: Deadline) -> None:
        for router_id, pending in self._budget.pending().items():
            tenant = self._tenants.get(router_id)
            if tenant is None or not (link := self._links.link_for(tenant)).is_open:
                continue
            now_s = self._clock()
            with contextlib.suppress(CrosspointError):  # they stay pending
                health = await errors.record_errors(
                    link, tenant, router_id, pending, deadline, now_ms=int(now_s * 1000)
                )
                self._budget.handed_over(router_id, pending, health, self._clock())
        for router_id in self._tenants.keys() - self._budget.pending().keys():
            del self._tenants[router_id]

    def _count_error(self, asked: Asked, outcome: Outcome, error: ErrorCode) -> None:
        router = asked.router
        self._tenants[router.id] = router.tenant
        self._observer.router_error(error)
        if outcome.cause is not None:
            _log.error(
                "decision_failed", router=router.id, exc_info=outcome.cause, rules=router.rules
            )
        if self._budget.record(router.id, error, asked.now_s):
            _log.error("router_disabled", router=router.id, error=error.value)

    def _observe(self, asked: Asked, outcome: Outcome) -> None:
        if outcome.shared is not None and outcome.agent is not None:
            self._observer.reservation(Reservation.RESERVED)  # and nothing else has happened
            return
        if asked.router.routing_url is not None and not outcome.is_repeat:
            asked_how = None if outcome.error is None else _FOREIGN.get(outcome.error)
            self._observer.foreign_ask(asked_how or ForeignAsk.ANSWERED)
        for reason in outcome.reasons:
            step = reason.partition(":")[0]
            if step == _RESERVED:
                self._observer.reservation(Reservation.RESERVED)
            elif step == _NO_AGENT:
                self._observer.reservation(_nobody(outcome))
        for _ in outcome.give_back:
            self._observer.reservation(Reservation.GIVEN_BACK)

    @contextlib.contextmanager
    def _or_drop(self, what: AfterAnswer, count: int) -> Iterator[None]:
        """Count what the store could not be told: it is not tried again, it may have happened."""
        try:
            yield
        except OutcomeUnknownError:
            self._observer.dropped(what, count)
        except CrosspointError as error:
            self._observer.dropped(what, count)
            if self._refused_for.get(what) != error.code:  # else it is so many times a second
                self._refused_for[what] = error.code
                _log.warning("not_told_to_store", what=what.value, reason=error.code)
        else:
            self._refused_for.pop(what, None)


def _nobody(outcome: Outcome) -> Reservation:
    """Why an agent was wanted and none was answered."""
    if outcome.unsure is not None:
        return Reservation.UNKNOWN
    is_down = Why.STORE_DOWN.value in outcome.reasons
    return Reservation.STORE_DOWN if is_down else Reservation.NOBODY_FREE


def is_worth_telling(asked: Asked, outcome: Outcome) -> bool:
    """Whether other processes need to remember this answer.

    What the rules alone decide without a question they decide again, from the same file in every
    process; telling the store would cost more than the decision.
    """
    if outcome.is_remembered:
        return False
    return (
        outcome.agent is not None
        or outcome.asked is not None
        or outcome.callback is not None
        or bool(asked.fingerprint)
        # The store may remember an agent for the call who was not the answer.
        or outcome.unsure is not None
        or bool(outcome.give_back)
    )
