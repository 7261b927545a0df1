"""The port `Queueing`: agents and the line, over the store. Never raises.

A store that is away is waited for: a new caller is on hold as if placed (and hears music) while every
look asks again, and only when the patience is over is sent where the queue sends those it cannot take.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Final

import structlog

from ivr.steps import Standing
from pbx.machine.commands import Note
from pbx.machine.events import Gone, Matched, NotPlaced, NotPlacedBecause, Placed
from pbx.machine.plans import LegId, Offer, QueuePlan
from pbx.machine.state import CallState
from pbx.ports import Records
from router.call_record import QUEUED
from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.site.resources import QueueConfig
from router.store.agents import Agents, Reserved, new_token
from router.store.agents_seen import CallSeen
from router.store.facts import queue_facts
from router.store.line import Line, Offered
from router.store.links import Links
from router.store.operations import LineFullError
from router.store.pbx_line import PbxLine
from router.store.reserving import MAX_GROUP
from router.telephony.holding import Holding
from router.telephony.setting_out import Planner
from rules.actions import Enqueue, Strategy
from rules.requirements import Requirement

STORE_S: Final = 1.0
"""One question to the store."""
TELL_S: Final = 10.0
"""How long the call waits until the store has heard what an agent did; then it is told beside the call."""
TELL_LATER_S: Final = 3600.0
"""For so long; after that leases and longest calls have to do."""
MOST_UNTOLD: Final = 1_000
AGAIN_S: Final = 0.25
RING_MARGIN_S: Final = 10
"""A lease outlasts the ringing by so much: the time for an answer to become a confirmation."""
BUSY_PAUSE_MS: Final = 5_000
"""A phone that is busy or cannot be reached is left alone for a moment, or it would be rung in a loop."""
NEW_MS: Final = 3_000
"""A call that has waited for less has just arrived, and may be turned away."""

_NAMESPACE: Final = uuid.UUID("6d8f4a2c-3c0f-4a55-9d0e-2f1c5b7e9a10")
_OFF_THE_HOOK: Final = frozenset({Gone.BUSY, Gone.UNREACHABLE, Gone.LOST})
_log = structlog.get_logger(__name__)

Tell = Callable[[Deadline], Awaitable[object]]


def leg_of(token: str, agent: str) -> LegId:
    """The channel id of an offer: the same whoever asks, so that no phone is rung twice for one."""
    return LegId(str(uuid.uuid5(_NAMESPACE, f"{token} {agent}")))


class StoreQueueing:
    """All waiting calls of one PBX of one tenant."""

    def __init__(
        self,
        *,
        links: Links,
        agents: Agents,
        line: Line,
        pbx_line: PbxLine,
        holding: Holding,
        planner: Planner,
        records: Records,
        tenant: str,
        number: Callable[[str | None], str | None],
        keep_place_s: int = 120,
        patience_s: float = 30.0,
        unanswered_limit: int = 3,
        unanswered_pause_s: int = 60,
        longest_call_s: int = 14_400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`number` gives a caller's E.164 number, None for who has none."""
        self._links = links
        self._agents = agents
        self._line = line
        self._pbx_line = pbx_line
        self._holding = holding
        self._planner = planner
        self._records = records
        self._tenant = tenant
        self._number = number
        self._keep_place_ms = keep_place_s * 1000
        self._patience_s = patience_s
        self._unanswered_limit = unanswered_limit
        self._unanswered_pause_ms = unanswered_pause_s * 1000
        self._longest_call_ms = longest_call_s * 1000
        self._clock = clock
        self._talking: dict[str, tuple[str, str]] = {}
        self._refused: dict[str, set[str]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._untold: set[asyncio.Task[bool]] = set()

    def adopt(self, states: Iterable[CallState]) -> None:
        """Calls taken over from the controller before: they waited and talked already."""
        for state in states:
            if state.in_line and state.queue is not None:
                self._holding.begin(state.id, state.queue.queue, is_placed=True)
            agent = state.talks_to
            if agent is not None and agent.agent is not None and not state.token:
                queue = state.queue.queue if state.queue is not None else ""
                self._talking[agent.agent] = (state.id, queue)

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    # --- the line -----------------------------------------------------------------------------------

    async def stand_in_line(
        self, state: CallState, plan: QueuePlan
    ) -> Matched | Placed | NotPlaced:
        """An agent, a place, or neither."""
        entry = self._planner.queue(plan.queue)
        config = entry.config if entry is not None else None
        # Who had an agent already is no newcomer, though the line has forgotten the call since.
        is_known = state.goes_first or self._holding.find(state.id) is not None
        is_gone = self._planner.sends_away if is_known else self._planner.is_closed
        if is_gone(plan.queue, self._clock()):
            return await self._turn_away(state, NotPlacedBecause.CLOSED)
        try:
            if plan.only_now:
                return await self._take_now(state, plan, config)
            return await self._stand(state, plan, config)
        except LineFullError:
            self._holding.end(state.id)
            self._refused.pop(state.id, None)
            return NotPlaced(NotPlacedBecause.FULL)
        except CrosspointError as error:
            return await self._wait_for_store(state, plan, error)

    async def _stand(
        self, state: CallState, plan: QueuePlan, config: QueueConfig | None
    ) -> Matched | Placed | NotPlaced:
        deadline, token = in_s(STORE_S), new_token()
        caller = self._number(state.caller_number)
        standing = await self._line.offer_or_wait(
            self._tenant,
            state.id,
            Enqueue(queue=plan.queue, priority=plan.priority, skills=plan.skills, relax=plan.relax),
            strategy=plan.strategy,
            lease_ms=_lease_ms(plan),
            token=token,
            deadline=deadline,
            caller=caller,
            sticky_s=plan.sticky_s,
            count=MAX_GROUP if plan.strategy is Strategy.SIMULTANEOUS else 1,
            wrap_up_ms=0 if config is None else config.wrap_up_seconds * 1000,
            max_waiting=1000 if config is None else config.hold_queue.max_hold_count,
            goes_first=state.goes_first,
            rings=True,
        )
        known = self._holding.find(state.id)
        is_new = known is None or not known.is_placed or known.queue != plan.queue
        is_offered = isinstance(standing, Offered)
        self._holding.begin(state.id, plan.queue, is_placed=True, is_offered=is_offered)
        if is_new:
            self._records.note(state, Note(what=QUEUED, detail=plan.queue))
        if isinstance(standing, Offered):
            is_new = standing.reserved.token == token
            return await self._offer(state, plan, standing.reserved, deadline, is_new=is_new)
        for agent in standing.wake:
            self._holding.match(agent)
        waited_ms = self._store_ms() - standing.arrival_ms
        if waited_ms < NEW_MS and not await self._is_attended(plan, config, deadline):
            return await self._turn_away(state, NotPlacedBecause.NOBODY_ON_DUTY)
        return Placed(left_s=max(0.0, plan.hold.longest_wait_s - waited_ms / 1000))

    async def _take_now(
        self, state: CallState, plan: QueuePlan, config: QueueConfig | None
    ) -> Matched | Placed | NotPlaced:
        """The action `agent`: who is free at this moment, and nobody twice."""
        deadline = in_s(STORE_S)
        refused = self._refused.get(state.id, set())
        reserved = await self._agents.reserve(
            self._tenant,
            request_id=state.id,
            requirement=Requirement.of(plan.queue, plan.skills),
            strategy=plan.strategy,
            lease_ms=_lease_ms(plan),
            deadline=deadline,
            caller=self._number(state.caller_number),
            sticky_s=plan.sticky_s,
            count=MAX_GROUP if plan.strategy is Strategy.SIMULTANEOUS else 1,
            wrap_up_ms=0 if config is None else config.wrap_up_seconds * 1000,
        )
        if reserved is None or refused.issuperset(reserved.agents):
            return await self._turn_away(state, NotPlacedBecause.NOBODY_FREE)
        return await self._offer(state, plan, reserved, deadline)

    async def _offer(
        self,
        state: CallState,
        plan: QueuePlan,
        reserved: Reserved,
        deadline: Deadline,
        *,
        is_new: bool = False,
    ) -> Matched | Placed | NotPlaced:
        """The phones of those reserved. Who has none, or whose lease is over, is not rung.

        A lease that `is_new` is not over, and the store has been told that they ring.
        """
        offers: list[Offer] = []
        for agent in reserved.agents:
            known = self._planner.agent(agent)
            endpoint = known.endpoint if known is not None else None
            if endpoint is None:
                _log.warning("agent_without_phone", queue=plan.queue)
                await self.unanswered(state, agent, reserved.token, Gone.UNREACHABLE)
                continue
            if is_new or await self._agents.ring(
                self._tenant, agent, reserved.token, ring_ms=_lease_ms(plan), deadline=deadline
            ):
                offer = Offer(endpoint=endpoint, leg=leg_of(reserved.token, agent), agent=agent)
                offers.append(offer)
        if offers:
            waiting = self._holding.find(state.id)
            waited_s = 0.0 if waiting is None else self._holding.waited_s(waiting)
            return Matched(offers=tuple(offers), token=reserved.token, waited_s=waited_s)
        if plan.only_now:
            return await self._turn_away(state, NotPlacedBecause.NOBODY_FREE)
        self._holding.begin(state.id, plan.queue, is_placed=True)
        return Placed(left_s=plan.hold.left_s)  # and the next look asks again

    async def _turn_away(self, state: CallState, because: NotPlacedBecause) -> NotPlaced:
        await self.leave_line(state, keep=False)
        return NotPlaced(because)

    async def _wait_for_store(
        self, state: CallState, plan: QueuePlan, error: CrosspointError
    ) -> Placed | NotPlaced:
        known = self._holding.find(state.id)
        if known is not None and known.is_placed:
            known.is_offered = False
            return Placed(left_s=plan.hold.left_s)  # the place is in the store, wherever that is
        if plan.only_now:
            self._refused.pop(state.id, None)
            self._holding.leave_later(state.id, 0)
            return NotPlaced(NotPlacedBecause.STORE_DOWN)
        waiting = self._holding.begin(state.id, plan.queue, is_placed=False)
        if self._holding.waited_s(waiting) < self._patience_s:
            return Placed(left_s=plan.hold.longest_wait_s)
        _log.warning("queue_without_store", reason=error.code)
        self._holding.leave_later(state.id, 0)
        return NotPlaced(NotPlacedBecause.STORE_DOWN)

    async def leave_line(self, state: CallState, *, keep: bool) -> None:
        keep_ms = self._keep_place_ms if keep else 0
        self._holding.end(state.id)
        self._refused.pop(state.id, None)
        try:
            await self._pbx_line.abandon(
                self._tenant, state.id, in_s(STORE_S), keep_place_ms=keep_ms
            )
        except CrosspointError:
            self._holding.leave_later(state.id, keep_ms)

    async def standing(self, state: CallState) -> Standing | None:
        queue = state.queue
        if queue is None:
            return None
        try:
            found = await self._line.position(self._tenant, queue.queue, state.id, in_s(STORE_S))
        except CrosspointError:
            return None
        if found is None:
            return None
        return Standing(
            position=found.position, waiting=found.waiting, wait_s=found.estimated_wait_s
        )

    def wakes(self) -> AsyncIterator[str]:
        return self._holding.wakes()

    # --- agents -------------------------------------------------------------------------------------

    async def confirm(self, state: CallState, agent: str, token: str) -> bool | None:
        deadline = in_s(3 * STORE_S)
        while True:
            try:
                is_ours = await self._agents.confirm(
                    self._tenant,
                    agent,
                    token,
                    deadline=Deadline(min(deadline, in_s(STORE_S))),
                    longest_call_ms=self._longest_call_ms,
                    call=state.id,
                )
            except CrosspointError:
                if in_s(AGAIN_S) < deadline:
                    await asyncio.sleep(AGAIN_S)
                    continue
                self._took(state, agent)
                self._observe_later(state, agent)
                return None
            if is_ours:
                self._took(state, agent)
            return is_ours

    def _took(self, state: CallState, agent: str) -> None:
        self._holding.end(state.id)
        self._refused.pop(state.id, None)
        queue = state.queue.queue if state.queue is not None else ""
        self._talking[agent] = (state.id, queue)

    def has(self, agent: str, call: str) -> bool:
        """Whether this call has the agent."""
        return self._talking.get(agent, ("", ""))[0] == call

    def talks(self, state: CallState, agent: str, token: str) -> None:
        """An agent talks who was rung by name: busy, with the reservation or, should it be over, without."""
        if not self.has(agent, state.id):
            self._talking[agent] = (state.id, "")
            self._observe_later(state, agent, token)

    def _observe_later(self, state: CallState, agent: str, token: str = "") -> None:
        """Have the store know that the agent is on this call, as soon as it can be told."""
        self._beside(self._observe(state, agent, token))

    def _beside(self, work: Coroutine[None, None, None]) -> None:
        """Do it beside the call."""
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _observe(self, state: CallState, agent: str, token: str) -> None:
        _, queue = self._talking.get(agent, ("", ""))
        at_ms = int(self._clock() * 1000)
        while self.has(agent, state.id):
            try:
                if token and await self._agents.confirm(
                    self._tenant,
                    agent,
                    token,
                    deadline=in_s(STORE_S),
                    longest_call_ms=self._longest_call_ms,
                    call=state.id,
                ):
                    return
                await self._agents.observe_call(
                    self._tenant,
                    agent,
                    seen=CallSeen.CONNECTED,
                    calls=[state.id],
                    at_ms=at_ms,
                    deadline=in_s(STORE_S),
                    caller=self._number(state.caller_number),
                    queue=queue or None,
                    longest_call_ms=self._longest_call_ms,
                )
            except CrosspointError:
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def unanswered(self, state: CallState, agent: str, token: str, why: Gone) -> None:
        is_off = why in _OFF_THE_HOOK
        if state.in_line and state.queue is not None and state.queue.only_now:
            # Only such a call asks whom it was refused by. Forgotten when it leaves.
            self._refused.setdefault(state.id, set()).add(agent)
        await self._tell(
            lambda deadline: self._agents.unanswered(
                self._tenant,
                agent,
                token,
                deadline=deadline,
                limit=1 if is_off else self._unanswered_limit,
                pause_ms=BUSY_PAUSE_MS if is_off else self._unanswered_pause_ms,
            )
        )

    async def release(self, agent: str, token: str) -> None:
        await self._tell(
            lambda deadline: self._agents.release(
                self._tenant, agent, token, keep_place=True, deadline=deadline
            )
        )

    async def wrap_up(self, agent: str, *, has_vanished: bool = False) -> None:
        call, queue_id = self._talking.pop(agent, ("", ""))
        if not call:
            return  # never talked with the caller
        entry = self._planner.queue(queue_id)
        wrap_up_ms = 0 if entry is None else entry.config.wrap_up_seconds * 1000
        await self._tell(
            lambda deadline: self._pbx_line.agent_left(
                self._tenant,
                agent,
                call,
                wrap_up_ms=wrap_up_ms,
                deadline=deadline,
                pause_ms=self._unanswered_pause_ms if has_vanished else None,
            )
        )

    # --- small --------------------------------------------------------------------------------------

    async def _is_attended(
        self, plan: QueuePlan, config: QueueConfig | None, deadline: Deadline
    ) -> bool:
        """Whether somebody is on duty, or the queue takes callers all the same."""
        if config is not None and config.hold_queue.unattended_queue:
            return True
        link = self._links.link_for(self._tenant)
        facts = await queue_facts(link, self._tenant, [plan.queue], deadline)
        return (facts[plan.queue].agents_on_duty or 0) > 0

    def _store_ms(self) -> int:
        """Now, on the store's clock."""
        return self._links.link_for(self._tenant).redis_deadline_ms(in_s(0))

    async def _tell(self, work: Tell) -> None:
        """Tell the store until it has heard it, within bounds. What is told may be told twice, and late:
        it names the call or the token that it is about."""
        # One who waits is enough to know that the store is away: a call that has several to tell of would
        # else be kept for so long that its own end is told no more.
        if await self._tells(work, in_s(STORE_S if self._untold else TELL_S)):
            return
        if len(self._untold) >= MOST_UNTOLD:
            _log.error("agent_never_told", most=MOST_UNTOLD)
            return
        task = asyncio.get_running_loop().create_task(self._tells(work, in_s(TELL_LATER_S)))
        self._untold.add(task)
        task.add_done_callback(self._untold.discard)

    async def _tells(self, work: Tell, until: Deadline) -> bool:
        while True:
            try:
                await work(Deadline(min(until, in_s(STORE_S))))
            except CrosspointError as error:
                if in_s(AGAIN_S) >= until:
                    _log.warning("agent_not_told", reason=error.code)
                    return False
                await asyncio.sleep(AGAIN_S)
            else:
                return True


def _lease_ms(plan: QueuePlan) -> int:
    return (plan.ring_s + RING_MARGIN_S) * 1000
