"""Where a call goes: the called number finds the call router, its rules (or somebody else's) decide.

The same `Decider` as for routing requests: the same ladder of fallbacks, error budget, memory and
log. Only the answer is not spoken on a wire: the action itself comes back, and the PBX carries it out.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import msgspec
import structlog
from msgspec.structs import replace

from pbx.machine.events import Decided, Planned
from pbx.machine.plans import DialPlan, EndPlan, LoginPlan, Plan
from pbx.machine.state import CallState
from router.deadline import Deadline, in_s, left_s
from router.decisions.decide import Decider
from router.decisions.dialogue import NOTHING_KNOWN, Memory, fingerprint
from router.decisions.outcome import Asked, Names, Outcome
from router.decisions.views import View
from router.site.directory import Directory
from router.site.resources import AgentConfig
from router.store.call_store import CallStore
from router.store.facts import queue_facts
from router.telephony.numbers import own_number
from router.telephony.setting_out import Planner
from rules.actions import DEFAULT_RULE, Action, Callback, End, ReserveAgent, Route
from rules.facts import CallFacts, LiveFacts
from rules.numbers import normalise

CARRIED_OUT: Final = (ReserveAgent, Callback)
"""Actions that a Decider leaves to the PBX: the call stands in line, the caller is asked."""

TELL_S: Final = 0.25
"""Decisions are logged so much later: one by one it would wake the process several times for each call."""
MOST_UNTOLD: Final = 1_000

USER_BUSY: Final = 17
"""Q.850."""

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Action] = msgspec.json.Decoder(Action).decode
_log = structlog.get_logger(__name__)


class PbxDialect:
    """`router.decisions.outcome.Dialect` of the PBX: it can be told everything."""

    address = "endpoint"

    def express(self, action: Action, names: Names, agent: AgentConfig | None) -> bytes:  # noqa: ARG002
        return _encode(action)


class Views(Protocol):
    """`router.decisions.views.Views`."""

    def find(self, router_id: str, now_s: float) -> View | None: ...


class Afterwards(Protocol):
    """`router.http.decisions.afterwards.Afterwards`."""

    def put(self, asked: Asked, outcome: Outcome, duration_s: float, *, is_late: bool) -> None: ...


TakeAgents = Callable[[CallState, DialPlan], Awaitable[DialPlan]]


class StoreWithoutMemory(CallStore):
    """What a decision needs of the store. What a call was asked and has keyed stands in its state."""

    async def look_up(
        self, asked: Asked, queues: Collection[str], deadline: Deadline
    ) -> tuple[Memory, LiveFacts]:
        """Live facts only; nothing is asked where none are wanted."""
        if not queues:
            return NOTHING_KNOWN, {}
        link = self._links.link_for(asked.router.tenant)
        return NOTHING_KNOWN, await queue_facts(link, asked.router.tenant, queues, deadline)


class RuleDeciding:
    """The port `Deciding`. Decides within the router's budget; never raises."""

    def __init__(
        self,
        *,
        directory: Callable[[], Directory],
        views: Views,
        decider: Decider,
        afterwards: Afterwards,
        planner: Planner,
        take_agents: TakeAgents,
        tenant: str,
        default_router: str | None,
        country: str | None,
        login_number: str | None = None,
        logout_number: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`decider` has to leave `CARRIED_OUT` to us. `take_agents` leaves of a plan those who are free."""
        self._directory = directory
        self._views = views
        self._decider = decider
        self._afterwards = afterwards
        self._planner = planner
        self._take_agents = take_agents
        self._tenant = tenant
        self._default_router = default_router
        self._country = country
        self._clock = clock
        self._features = {
            spelling: LoginPlan(on=on)
            for number, on in ((logout_number, False), (login_number, True))
            for spelling in self._spellings(number)
        }
        self._dialect = PbxDialect()
        self._untold: list[Callable[[], None]] = []
        self._numbers: dict[str, str] = {}
        self._seen: Directory | None = None

    async def decide(self, state: CallState) -> Decided | Planned:
        """Ask the call's router. Without one, or should all else fail, the call ends politely.

        A number for logging in or out has no router and no rules.
        """
        for spelling in self._spellings(state.called_number):
            if spelling in self._features:
                return Planned(self._features[spelling])
        try:
            return await self._decide(state)
        except Exception:  # noqa: BLE001 - the boundary: a caller gets an answer, whatever we did
            _log.error("decision_failed", exc_info=True)
            return self._last_resort(state)

    async def plan(self, state: CallState, action: Action) -> Plan:
        """What the action means here; never raises. An agent who has a call is not rung for another."""
        try:
            plan = self._planner.plan(state, action)
            if not isinstance(plan, DialPlan):
                return plan
            taken = await self._take_agents(state, plan)
            if taken.offers:
                return taken
            if plan.otherwise is None:
                return EndPlan(cause=USER_BUSY)
            return self._planner.plan_simply(state, plan.otherwise)
        except Exception:  # noqa: BLE001 - as above
            _log.error("planning_failed", exc_info=True)
            return EndPlan(cause=41)

    def router_of(self, called_number: str | None) -> str | None:
        """The id of the router that a called number belongs to; of several, the first by id."""
        directory = self._directory()
        if directory is not self._seen:
            self._seen = directory
            self._numbers = {
                own_number(number): entry.config.id
                for entry in sorted(
                    directory.routers_of(self._tenant),
                    key=lambda each: each.config.id,
                    reverse=True,
                )
                for number in entry.config.phone_numbers
            }
        number = normalise(called_number, self._country)
        return self._numbers.get(number or "") or self._default_router

    def _spellings(self, number: str | None) -> set[str]:
        return {one for one in (number, normalise(number, self._country)) if one}

    async def _decide(self, state: CallState) -> Decided:
        began, now_s = asyncio.get_running_loop().time(), self._clock()
        router_id = self.router_of(state.called_number)
        view = None if router_id is None else self._views.find(router_id, now_s)
        if view is None or view.router.tenant != self._tenant:
            _log.warning("no_router_for_call")
            return Decided(rule="", action=End())
        asked = self._asked(state, view, now_s)
        deadline = in_s(view.router.budget_s)
        outcome = await self._decider.decide(asked, deadline)
        outcome = replace(outcome, is_remembered=True)  # by the call's state
        duration_s = asyncio.get_running_loop().time() - began
        self._tell_later(asked, outcome, duration_s, is_late=left_s(deadline) < 0)
        return Decided(
            rule=outcome.rule or DEFAULT_RULE,
            action=_decode(outcome.body),
            decision=outcome.rule or outcome.level.value,
        )

    def _tell_later(
        self, asked: Asked, outcome: Outcome, duration_s: float, *, is_late: bool
    ) -> None:
        """Have it logged, with others of the same moment. What counts against the router is told at once."""
        put = functools.partial(self._afterwards.put, asked, outcome, duration_s, is_late=is_late)
        self._untold.append(put)
        if is_late or outcome.error is not None or len(self._untold) >= MOST_UNTOLD:
            self.tell()
        elif len(self._untold) == 1:
            asyncio.get_running_loop().call_later(TELL_S, self.tell)

    def tell(self) -> None:
        """Have logged what was decided until now."""
        untold, self._untold = self._untold, []
        for put in untold:
            try:
                put()
            except Exception:  # noqa: BLE001 - the boundary: what went wrong with one concerns no other
                _log.error("decision_not_logged", exc_info=True)

    def _asked(self, state: CallState, view: View, now_s: float) -> Asked:
        call = CallFacts(
            call_id=state.id,
            caller=normalise(state.caller_number, self._country) or state.caller_number,
            called=normalise(state.called_number, self._country) or state.called_number,
            router=view.router.id,
            digits=state.digits,
        )
        silent: frozenset[str] = frozenset()
        return Asked(
            router=view.router,
            call=call,
            silent=silent,
            fingerprint=fingerprint(call.digits, silent),
            dialect=self._dialect,
            names=view.names,
            now_s=now_s,
        )

    def _last_resort(self, state: CallState) -> Decided:
        router_id = self.router_of(state.called_number)
        entry = None if router_id is None else self._directory().router(router_id)
        action = End() if entry is None else Route(target=entry.config.default_target)
        return Decided(rule=DEFAULT_RULE, action=action)
