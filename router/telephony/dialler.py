"""Makes the promised callbacks come true: each stands in the line under its own id until an agent is free.

How it works. Callbacks that are due are claimed by one PBX for a while. A claimed one stands in line
where its caller stood. When an agent is reserved for it, an attempt is counted in the store, and only
then a call, with an id of its own, begins: to the agent, then the customer (or to the customer, who then waits in that place).
How the call ended settles the callback: over, or to be tried again later. An attempt whose outcome
nobody knows (this process died) is never made again: it counts, and the next one comes when it is due.
One that the trunk did not take has dialled nobody: it does not count, and callbacks wait until calls get out again.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from pbx.machine.dialing import TRUNK_UNREACHABLE
from pbx.machine.state import CallState, Kind
from router.deadline import in_s
from router.errors import CrosspointError
from router.settings import CallbackSettings
from router.site.hours import is_open, open_s
from router.site.resources import QueueConfig
from router.store.agents import Agents, Reserved, new_token
from router.store.callbacks import ID_PREFIX, Callback, Callbacks, Status
from router.store.line import Line, Offered
from router.store.links import Links
from router.store.operations import LineFullError
from router.store.pbx_line import MOST_LOOKED_AFTER, PbxLine
from router.telephony.attempts import Attempts
from router.telephony.holding import Holding
from router.telephony.queueing import BUSY_PAUSE_MS, RING_MARGIN_S
from router.telephony.setting_out import Planner, Trunk
from router.telephony.way_out import WayOut
from rules.actions import Enqueue, Strategy
from rules.calendars import Calendar

LOOK_S: Final = 1.0
STORE_S: Final = 2.0
CLAIM_MS: Final = 15_000
CALL_CLAIM_MS: Final = 60_000
RENEW_S: Final = 10.0
CLOSED_AGAIN_MS: Final = 60_000
SOON_MS: Final = 1_000
SETTLE_S: Final = 30.0
AGAIN_S: Final = 0.5
_CUSTOMER: Final = "customer_"
_NOBODY_DIALLED: Final = ("offer_", "agent_left_early", "reservation_lost")

Begin = Callable[[CallState], object | None]
"""`Controller.begin`: None when there are too many calls."""

_log = structlog.get_logger(__name__)


class Dialler:
    """`run` is a task of the controller's process."""

    def __init__(
        self,
        *,
        links: Links,
        callbacks: Callbacks,
        agents: Agents,
        line: Line,
        pbx_line: PbxLine,
        holding: Holding,
        planner: Planner,
        trunk: Trunk,
        settings: CallbackSettings,
        tenant: str,
        owner: str,
        begin: Begin,
        goes_on: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`owner` is the PBX: whoever runs it next goes on with what it has claimed. `goes_on` tells
        whether a call does."""
        self._links = links
        self._callbacks = callbacks
        self._agents = agents
        self._line = line
        self._pbx_line = pbx_line
        self._holding = holding
        self._planner = planner
        self._trunk = trunk
        self._settings = settings
        self._attempts = Attempts(planner, trunk, ring_s=settings.ring_seconds, clock=clock)
        self._tenant = tenant
        self._owner = owner
        self._begin = begin
        self._goes_on = goes_on
        self._is_adopted = asyncio.Event()
        self._clock = clock
        self._way_out = WayOut(clock)
        self._in_line: set[str] = set()
        self._live: dict[str, str] = {}  # callback -> its call
        self._renewed_s = 0.0
        self._poked: set[str] = set()
        self._is_poked = asyncio.Event()
        self._settling: set[asyncio.Task[None]] = set()

    # --- from outside -------------------------------------------------------------------------------

    def adopt(self, states: Iterable[CallState]) -> None:
        """Callbacks whose calls go on, taken over from the controller before."""
        for state in states:
            if state.callback is not None:
                self._live[state.callback] = state.id
        self._is_adopted.set()

    def poke(self, call: str) -> None:
        """An agent was reserved for what stands in line under this id; others' ids do no harm."""
        if call.startswith(ID_PREFIX) and len(self._poked) < MOST_LOOKED_AFTER:
            self._poked.add(call)
            self._is_poked.set()

    def closed(self, state: CallState, words: tuple[str, ...]) -> None:
        """A call is over; `words` were noted during it."""
        has_rung_out = any(word.startswith(_CUSTOMER) for word in words)
        if state.kind is not Kind.INBOUND and (state.is_up or has_rung_out):
            self._way_out.works()
        callback = state.callback
        if callback is not None and self._live.get(callback) == state.id:
            task = asyncio.get_running_loop().create_task(self._settle(callback, state, words))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def run(self) -> None:
        """Work until cancelled, once it is known which calls go on."""
        await self._is_adopted.wait()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._is_poked.wait()
            self._is_poked.clear()
            try:
                await self.look()
            except CrosspointError as error:
                _log.info("callbacks_wait", reason=error.code)
                await asyncio.sleep(AGAIN_S)

    async def look(self) -> None:
        """See to everything that is due, poked, or in line."""
        await self._renew()
        poked, self._poked = self._poked, set()
        ids = dict.fromkeys(poked)
        now_ms = self._links.link_for(self._tenant).redis_deadline_ms(in_s(0))
        due = await self._callbacks.due(
            self._tenant, now_ms, in_s(STORE_S), limit=MOST_LOOKED_AFTER
        )
        ids |= dict.fromkeys(due)
        waiting = list(self._in_line)[:MOST_LOOKED_AFTER]
        if waiting:
            seen = await self._pbx_line.look(self._tenant, waiting, in_s(STORE_S))
            ids |= dict.fromkeys(seen.ask)
            for agent in seen.agents:
                self._holding.match(agent)
        for callback_id in ids:
            if callback_id not in self._live:
                await self._see_to(callback_id)

    # --- one callback -------------------------------------------------------------------------------

    async def _see_to(self, callback_id: str) -> None:
        callback = await self._callbacks.claim(
            self._tenant,
            callback_id,
            owner=self._owner,
            lease_ms=CLAIM_MS,
            deadline=in_s(STORE_S),
        )
        if callback is None:
            await self._not_ours(callback_id)
            return
        if callback.status is Status.DIALLING:
            await self._not_reached(callback, "unknown")
            return
        entry = self._planner.queue(callback.about.queue)
        if entry is None or self._trunk.way_to(callback.about.number) is None:
            await self._over(callback, Status.FAILED, "not_possible")
        elif callback.attempts >= self._settings.tries:
            await self._over(
                callback, Status.FAILED, "no_tries_left"
            )  # the settings allow fewer now
        elif not is_open(entry.calendar, self._clock()):
            await self._again(callback, "closed", CLOSED_AGAIN_MS, is_uncounted=True)
        elif self._has_waited_too_long(callback, entry.calendar):
            reason = TRUNK_UNREACHABLE if self._way_out.is_failing else "waited_too_long"
            await self._over(callback, Status.FAILED, reason)
        elif wait_s := self._way_out.wait_s():
            await self._until_it_is_back(callback, wait_s)
        else:
            await self._stand_in_line(callback, entry.config)

    async def _not_ours(self, callback_id: str) -> None:
        """Somebody else's, or over: what is over (cancelled, say) stands in no line."""
        self._in_line.discard(callback_id)
        try:
            found = await self._callbacks.get(self._tenant, callback_id, in_s(STORE_S))
            if found is None or found.status not in {Status.WAITING, Status.DIALLING}:
                await self._leave_line(callback_id)
        except CrosspointError:
            self.poke(callback_id)  # the store names it no more
            raise

    def _has_waited_too_long(self, callback: Callback, calendar: Calendar | None) -> bool:
        """Only hours in which somebody could have called count."""
        since_s, now_s = callback.created_ms / 1000, self._clock()
        longest_s = self._settings.longest_wait_seconds
        return now_s - since_s > longest_s and open_s(calendar, since_s, now_s) > longest_s

    async def _stand_in_line(self, callback: Callback, queue: QueueConfig) -> None:
        about = callback.about
        if about.id not in self._in_line:
            await self._pbx_line.keep_place(
                self._tenant, queue.id, about.number, callback.arrival_ms, in_s(STORE_S)
            )
        is_all = queue.strategy is Strategy.SIMULTANEOUS
        try:
            standing = await self._line.offer_or_wait(
                self._tenant,
                about.id,
                Enqueue(
                    queue=queue.id, priority=about.priority, skills=about.skills, relax=about.relax
                ),
                strategy=Strategy.LONGEST_IDLE if is_all else queue.strategy,
                lease_ms=self._lease_ms,
                token=new_token(),
                deadline=in_s(STORE_S),
                caller=about.number,
                wrap_up_ms=queue.wrap_up_seconds * 1000,
            )
        except LineFullError:
            await self._again(callback, "full", CLAIM_MS, is_uncounted=True)
            return
        self._in_line.add(about.id)
        if isinstance(standing, Offered):
            await self._begin_call(callback, queue, standing.reserved)
            return
        for agent in standing.wake:
            self._holding.match(agent)

    async def _begin_call(self, callback: Callback, queue: QueueConfig, reserved: Reserved) -> None:
        """Count the attempt, then call. Whatever is not certain is not dialled."""
        agent, about = reserved.agents[0], callback.about
        endpoint = self._attempts.endpoint_of(agent)
        if endpoint is None:
            await self._pass_over(agent, reserved.token, queue)
            return
        deadline = in_s(STORE_S)
        if not await self._agents.ring(
            self._tenant, agent, reserved.token, ring_ms=self._lease_ms, deadline=deadline
        ):
            return  # the lease is over: the next look asks again, in the same place
        await self._claim_for_call(about.id)
        call = uuid.uuid4().hex
        may_dial = await self._callbacks.attempt(
            self._tenant,
            about.id,
            call,
            owner=self._owner,
            most=self._settings.tries,
            deadline=in_s(STORE_S),
        )
        if not may_dial:
            await self._leave_line(about.id)
            return
        if about.agent_first:
            state = self._attempts.agent_first(call, callback, queue.id, reserved, endpoint)
        else:
            await self._leave_line(about.id, keep_for=about.number)
            state = self._attempts.customer_first(call, callback, queue.id)
        self._in_line.discard(about.id)
        self._live[about.id] = call
        if self._begin(state) is None:
            del self._live[about.id]
            await self._again(callback, "too_many_calls", SOON_MS, is_uncounted=True)

    async def _pass_over(self, agent: str, token: str, queue: QueueConfig) -> None:
        """Who has no phone is left alone for a moment, as when a caller meets them; the callback
        keeps its place for the next one."""
        _log.warning("agent_without_phone", queue=queue.id)
        await self._agents.unanswered(
            self._tenant,
            agent,
            token,
            deadline=in_s(STORE_S),
            limit=1,
            pause_ms=BUSY_PAUSE_MS,
        )

    @property
    def _lease_ms(self) -> int:
        """How long an agent is kept whose phone rings for a callback."""
        return (self._settings.ring_seconds + RING_MARGIN_S) * 1000

    # --- how it ended -------------------------------------------------------------------------------

    async def _settle(self, callback_id: str, state: CallState, words: tuple[str, ...]) -> None:
        """Tell the store how the call ended; what cannot be told counts as an attempt."""
        until = in_s(SETTLE_S)
        while True:
            try:
                await self._settle_now(callback_id, state, words)
                break
            except CrosspointError as error:
                if in_s(AGAIN_S) >= until:
                    _log.warning("callback_not_settled", reason=error.code)
                    break
                await asyncio.sleep(AGAIN_S)
        self._live.pop(callback_id, None)

    async def _settle_now(self, callback_id: str, state: CallState, words: tuple[str, ...]) -> None:
        callback = await self._claim_for_call(callback_id)
        if callback is None:
            return
        if TRUNK_UNREACHABLE in words:
            await self._not_out(callback)
            return
        if state.is_up:
            reason = "talked" if "talking" in words else "reached"
            await self._over(callback, Status.DONE, reason)
            return
        reached_out = [word for word in words if word.startswith(_CUSTOMER)]
        if not reached_out and any(word.startswith(_NOBODY_DIALLED) for word in words):
            await self._again(callback, "agent_not_there", SOON_MS, is_uncounted=True)
            return
        reason = reached_out[-1].removeprefix(_CUSTOMER) if reached_out else "unknown"
        await self._not_reached(callback, reason)

    async def _not_reached(self, callback: Callback, reason: str) -> None:
        if callback.attempts >= self._settings.tries:
            await self._over(callback, Status.FAILED, reason)
        else:
            await self._again(callback, reason, self._settings.retry_seconds * 1000)

    async def _not_out(self, callback: Callback) -> None:
        """The trunk did not take the call: nobody has dialled the customer, unless it takes those of others."""
        if self._way_out.refuses_only(callback.about.id):
            await self._not_reached(callback, TRUNK_UNREACHABLE)
            return
        self._way_out.fails()
        await self._until_it_is_back(callback, self._way_out.wait_s())

    async def _until_it_is_back(self, callback: Callback, wait_s: float) -> None:
        """Nobody can be dialled now: that is no try."""
        due_in_ms = int(wait_s * 1000)
        await self._again(callback, TRUNK_UNREACHABLE, due_in_ms, is_uncounted=True)

    async def _again(
        self, callback: Callback, reason: str, due_in_ms: int, *, is_uncounted: bool = False
    ) -> None:
        if callback.about.id not in self._live or due_in_ms > SOON_MS:
            await self._leave_line(callback.about.id)
        await self._callbacks.settle(
            self._tenant,
            callback.about,
            Status.WAITING,
            owner=self._owner,
            deadline=in_s(STORE_S),
            reason=reason,
            due_in_ms=due_in_ms,
            is_uncounted=is_uncounted,
        )

    async def _over(self, callback: Callback, status: Status, reason: str) -> None:
        await self._leave_line(callback.about.id)
        await self._callbacks.settle(
            self._tenant,
            callback.about,
            status,
            owner=self._owner,
            deadline=in_s(STORE_S),
            reason=reason,
        )
        _log.info("callback_over", callback=callback.about.id, status=status, reason=reason)

    async def _leave_line(self, callback_id: str, *, keep_for: str = "") -> None:
        """Out of the line; agents reserved for it are free again."""
        self._in_line.discard(callback_id)
        keep_ms = (self._settings.ring_seconds + 60) * 1000 if keep_for else 0
        await self._pbx_line.abandon(
            self._tenant, callback_id, in_s(STORE_S), keep_place_ms=keep_ms, keep_for=keep_for
        )

    async def _renew(self) -> None:
        """Calls that go on keep their callbacks ours."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._renewed_s < RENEW_S:
            return
        self._renewed_s = now_s
        for callback_id, call in list(self._live.items()):
            if self._goes_on(call) or self._settling:
                await self._claim_for_call(callback_id)
            else:
                # Its session broke: the claim lapses, and the attempt counts as one of unknown outcome.
                self._live.pop(callback_id, None)

    async def _claim_for_call(self, callback_id: str) -> Callback | None:
        return await self._callbacks.claim(
            self._tenant,
            callback_id,
            owner=self._owner,
            lease_ms=CALL_CLAIM_MS,
            deadline=in_s(STORE_S),
        )
