"""Agents who are rung by name, not out of a queue: kept for the call while they are rung and talk.

How it works. Whoever is to be consulted, added, unparked to, transferred to, asked to listen in, or to
begin a call is taken by a lease before the phone rings. The lease's token is the id of the leg, so that
whoever takes the call over has it too. From then on the states of the calls say who is rung, talks, or has
left, and the store is told: `follow` is shown every state. What a controller that died could not tell any
more ends with the lease; for an agent who had answered, that is `look`'s to find.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import msgspec
import structlog

from pbx.machine.plans import DialPlan, LegId, Offer
from pbx.machine.state import CallState, Leg, Phase
from router.acd.agents import AgentState
from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.store.agents import Agents
from router.store.agents_managed import AgentView
from router.store.call_records import CallRecords
from router.store.pbx_line import PbxLine, Took

STORE_S: Final = 1.0
LEASE_MARGIN_MS: Final = 10_000
"""A lease outlasts the ringing by so much: the time for an answer to become a confirmation."""

LET_GO_S: Final = 0.25
"""Who has left is let go by the call itself (it knows how); whom it does not name, after so long."""

LOOK_S: Final = 60.0
FIRST_LOOK_S: Final = 15.0
SURE_S: Final = 12.0
"""Longer than the store is told that somebody has left: who is stuck then as well really is."""
_PAGE: Final = 200
_MOST_PAGES: Final = 100

_log = structlog.get_logger(__name__)


class _Followed(msgspec.Struct):
    """A leg of an agent as last seen; `is_ours`: no queue has reserved the agent for it."""

    leg: Leg
    is_ours: bool


class Talking(Protocol):
    """`router.telephony.queueing.StoreQueueing`: which call has which agent."""

    def has(self, agent: str, call: str) -> bool: ...

    def talks(self, state: CallState, agent: str, token: str) -> None: ...

    async def wrap_up(self, agent: str) -> None: ...

    async def release(self, agent: str, token: str) -> None: ...


class ByName:
    """Of one PBX of one tenant. `run` is a task of the process."""

    def __init__(
        self,
        *,
        agents: Agents,
        pbx_line: PbxLine,
        talking: Talking,
        records: CallRecords,
        find: Callable[[str], CallState | None],
        tenant: str,
        pbx: str,
    ) -> None:
        """`find` gives a call that goes on here."""
        self._agents = agents
        self._pbx_line = pbx_line
        self._talking = talking
        self._records = records
        self._find = find
        self._tenant = tenant
        self._pbx = pbx
        self._calls: dict[str, dict[LegId, _Followed]] = {}
        self._to_come: dict[str, tuple[str, LegId]] = {}
        self._telling: set[asyncio.Task[None]] = set()

    # --- before the phone rings ---------------------------------------------------------------------

    async def take(
        self,
        agent: str,
        call: str,
        leg: LegId,
        *,
        ring_s: int,
        deadline: Deadline,
        ends_wrap_up: bool = False,
    ) -> Took:
        """Keep the agent for a leg that is to ring for `ring_s`; not who has a call or is offered one."""
        return await self._pbx_line.take_agent(
            self._tenant,
            agent,
            call,
            token=leg,
            lease_ms=ring_s * 1000 + LEASE_MARGIN_MS,
            deadline=deadline,
            ends_wrap_up=ends_wrap_up,
        )

    async def take_ahead(
        self, agent: str, call: str, leg: LegId, *, ring_s: int, deadline: Deadline
    ) -> Took:
        """As `take`, for a leg that the call's next plan puts another one in place of."""
        took = await self.take(agent, call, leg, ring_s=ring_s, deadline=deadline)
        if took is Took.TAKEN:
            self._to_come[call] = (agent, leg)
        return took

    async def give_back(self, agent: str, call: str, leg: LegId) -> None:
        """It came to nothing: the phone was not rung."""
        if self._to_come.get(call) == (agent, leg):
            del self._to_come[call]
        await self._talking.release(agent, leg)

    async def take_for(self, state: CallState, plan: DialPlan) -> DialPlan:
        """The plan with only those agents rung who are free for it. Without the store, with all."""
        offers = [
            offer
            for offer in plan.offers
            if offer.agent is None or await self._is_free(state, offer, plan.ring_s)
        ]
        return msgspec.structs.replace(plan, offers=tuple(offers))

    async def _is_free(self, state: CallState, offer: Offer, ring_s: int) -> bool:
        agent = offer.agent or ""
        ahead = self._to_come.get(state.id)
        if ahead is not None and ahead[0] == agent:
            del self._to_come[state.id]  # passes to this leg
        try:
            took = await self.take(
                agent, state.id, offer.leg, ring_s=ring_s, deadline=in_s(STORE_S)
            )
        except CrosspointError as error:
            _log.warning("agent_not_taken", reason=error.code)
            return True
        return took is not Took.BUSY

    # --- while they are rung and talk -----------------------------------------------------------------

    def follow(self, state: CallState) -> None:
        """A call has moved, or was taken over: who answered is busy, who left is free again."""
        if state.phase is Phase.ENDED:
            self.ended(state.id)
            return
        legs = {leg.id: leg for leg in state.legs() if _is_by_name(state, leg)}
        known = self._calls.get(state.id)
        if known is None:
            if not legs:
                return
            known = self._calls[state.id] = {}
        for leg_id in known.keys() - legs.keys():
            self._left(state.id, known.pop(leg_id))
        for leg_id, leg in legs.items():
            before = known.get(leg_id)
            if before is None:
                before = _Followed(leg, not self._talking.has(leg.agent or "", state.id))
                known[leg_id] = before
                has_answered = leg.is_up
            else:
                has_answered = leg.is_up and not before.leg.is_up
                before.leg = leg
            if has_answered and before.is_ours and not state.token:
                self._talking.talks(state, leg.agent or "", leg_id)
        if not known:
            del self._calls[state.id]

    def ended(self, call: str) -> None:
        """A call is over: it has nobody any more."""
        for followed in self._calls.pop(call, {}).values():
            self._left(call, followed)
        ahead = self._to_come.pop(call, None)
        if ahead is not None:
            self._tell(self._talking.release(*ahead))

    def _left(self, call: str, followed: _Followed) -> None:
        if followed.is_ours:
            self._tell(self._let_go(call, followed.leg))

    async def _let_go(self, call: str, leg: Leg) -> None:
        agent = leg.agent or ""
        if leg.is_up:
            await asyncio.sleep(LET_GO_S)
            if self._talking.has(agent, call):
                await self._talking.wrap_up(agent)
        # Not answered, or gone again before the store had heard of the answer.
        await self._talking.release(agent, leg.id)

    def _tell(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    # --- what nobody has told the store -----------------------------------------------------------------

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        await asyncio.sleep(FIRST_LOOK_S)
        while True:
            try:
                await self.look()
            except CrosspointError as error:
                _log.info("agents_not_looked_at", reason=error.code)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> int:
        """Let go whom the store believes on a call of this PBX that they are not on; how many."""
        suspects = [(agent, call) async for agent, call in self._suspects()]
        if suspects:
            await asyncio.sleep(SURE_S)
        return sum([await self._unstick(agent, call) for agent, call in suspects])

    async def _suspects(self) -> AsyncIterator[tuple[str, str]]:
        for page in range(_MOST_PAGES):
            views, total = await self._agents.list(
                self._tenant, in_s(STORE_S), limit=_PAGE, offset=page * _PAGE
            )
            for view in views:
                call = self._lost_call(view)
                if call is not None and await self._is_ours(call):
                    yield view.record.id, call
            if (page + 1) * _PAGE >= total:
                break

    def _lost_call(self, view: AgentView) -> str | None:
        """The call that the agent is on as the store has it, and has no leg of."""
        call = view.record.call
        if view.effective.state is not AgentState.ON_CALL or call is None:
            return None
        state = self._find(call)
        is_there = state is not None and any(leg.agent == view.record.id for leg in state.legs())
        return None if is_there else call

    async def _is_ours(self, call: str) -> bool:
        record = await self._records.get(self._tenant, call, in_s(STORE_S))
        return record is not None and record.pbx == self._pbx

    async def _unstick(self, agent: str, call: str) -> bool:
        view = await self._agents.get(self._tenant, agent, in_s(STORE_S))
        if view is None or self._lost_call(view) != call:
            return False
        left = await self._pbx_line.agent_left(
            self._tenant, agent, call, wrap_up_ms=0, deadline=in_s(STORE_S)
        )
        if left:
            _log.warning("agent_was_stuck")
        return left


def _is_by_name(state: CallState, leg: Leg) -> bool:
    """Whether the leg is not (or no longer) one of a reservation out of the line."""
    return leg.agent is not None and state.token in {"", leg.id}
