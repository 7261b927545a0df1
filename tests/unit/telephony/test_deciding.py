"""Which router and which rule a call on the PBX gets, whatever is broken."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest
from msgspec.structs import replace

from pbx.machine.events import Decided, Planned
from pbx.machine.plans import DialPlan, LegId, LoginPlan, VoicemailPlan
from pbx.machine.state import CallState, Kind
from router.deadline import Deadline, in_s
from router.decisions.decide import Decider
from router.decisions.dialogue import NOTHING_KNOWN, MadeBy, Memory
from router.decisions.error_budget import ErrorBudget
from router.decisions.needed import ForeignError, Reserving
from router.decisions.outcome import Asked, ErrorCode, Level, Outcome
from router.decisions.views import Views
from router.errors import StoreDownError
from router.site.directory import Directory, TenantResources, build
from router.site.resources import AgentConfig, QueueConfig, RouterConfig
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.memory import CallMemory
from router.telephony import deciding
from router.telephony.deciding import CARRIED_OUT, RuleDeciding, StoreWithoutMemory
from router.telephony.numbers import Dialable
from router.telephony.setting_out import Planner, Trunk
from rules.actions import (
    Action,
    Ask,
    Callback,
    End,
    Enqueue,
    Forward,
    Menu,
    ReserveAgent,
    Route,
    Target,
    TargetType,
)
from rules.facts import LiveFacts, QueueFacts
from rules.loader import parse_document
from rules.ruleset import Ruleset, compile_ruleset

RULES = b"""
version: 1
country: US
targets: {desk: {type: department, id: "1"}}
rules:
  - name: vip
    when: {caller: "+12125550001"}
    then: {agent: {queue: support, sticky: 14d, otherwise: {queue: support}}}
  - name: promised
    when: {caller: "+12125550002"}
    then: {callback: {queue: support, otherwise: {queue: support}}}
  - name: crowded
    when: {queue: {support: {waiting: ">5"}}}
    then: {end: {message: "Too many."}}
  - name: language
    when: {digits: {language: absent}}
    then: {ask: {name: language, prompt: "?", otherwise: {route: desk}}}
  - name: english
    when: {digits: {language: "1"}}
    then: {menu: {name: m, prompt: "?", choices: {"1": {queue: support}}, otherwise: {route: desk}}}
default: {route: desk}
"""
DESK = Target(type=TargetType.DEPARTMENT, id="1", name="desk")
HOME = Target(type=TargetType.USER, id="9")


class Rulesets:
    def __init__(self) -> None:
        ruleset = compile_ruleset(parse_document("main", "main.yaml", RULES, lambda _: b""))
        self.known: dict[str, Ruleset] = {"main": ruleset}

    def get(self, name: str) -> Ruleset | None:
        return self.known.get(name)


class Store:
    def __init__(self) -> None:
        self.is_down = False
        self.waiting = 0

    def is_open(self, tenant: str) -> bool:
        return not self.is_down

    async def look_up(
        self, asked: Asked, queues: Collection[str], deadline: Deadline
    ) -> tuple[Memory, LiveFacts]:
        if self.is_down:
            raise StoreDownError
        return NOTHING_KNOWN, {name: QueueFacts(waiting=self.waiting) for name in queues}

    def reserve(
        self,
        asked: Asked,
        wanted: ReserveAgent,
        request_id: str,
        deadline: Deadline,
        /,
        *,
        first: MadeBy | None,
    ) -> Reserving:
        raise AssertionError("the PBX reserves for itself")


class Foreign:
    def __init__(self) -> None:
        self.answer: Action | ForeignError = Forward(number="+12125550177")
        self.asked: list[Asked] = []

    async def ask(self, asked: Asked, deadline: Deadline) -> Action:
        self.asked.append(asked)
        if isinstance(self.answer, ForeignError):
            raise self.answer
        return self.answer


class Log:
    """`Afterwards`."""

    def __init__(self) -> None:
        self.told: list[tuple[Asked, Outcome]] = []
        self.tell: Callable[[], None] = lambda: None

    @property
    def entries(self) -> list[tuple[Asked, Outcome]]:
        self.tell()
        return self.told

    def put(self, asked: Asked, outcome: Outcome, duration_s: float, *, is_late: bool) -> None:
        self.told.append((asked, outcome))


class World:
    def __init__(self, default_router: str | None = "spare") -> None:
        resources = TenantResources(
            routers={
                "main": _router("main", ("+12125550100",), rules="main"),
                "abroad": _router("abroad", ("+12125550101",), routing_url="https://r.example/x"),
                "britain": _router("britain", ("+4402079460018",), rules="main"),
                "spare": _router("spare", (), rules="missing"),
                "ab": _router("ab", ("+12125550109",)),
                "aa": _router("aa", ("+12125550109",)),
                "ac": _router("ac", ("+12125550109",)),
            },
            queues={"support": QueueConfig(id="support", name="Support")},
            agents={"ada": AgentConfig(id="ada", name="Ada", endpoint="PJSIP/6001")},
        )
        self.busy: set[str | None] = set()
        self.directory: Directory = build({"acme": resources}, lambda _: "")
        self.rulesets, self.store = Rulesets(), Store()
        self.foreign, self.log = Foreign(), Log()
        trunk = Trunk(endpoint=None, dialable=Dialable("US"))
        self.deciding = RuleDeciding(
            directory=lambda: self.directory,
            views=Views(lambda: self.directory, ErrorBudget("x-")),
            decider=Decider(
                rulesets=self.rulesets,
                store=self.store,
                memory=CallMemory(),
                foreign=self.foreign,
                left_to_caller=CARRIED_OUT,
            ),
            afterwards=self.log,
            planner=Planner(lambda: self.directory, "acme", trunk),
            take_agents=self.take_agents,
            tenant="acme",
            default_router=default_router,
            country="US",
            login_number="*61",
            logout_number="+12125550162",
        )

        self.log.tell = self.deciding.tell

    async def take_agents(self, state: CallState, plan: DialPlan) -> DialPlan:
        free = tuple(offer for offer in plan.offers if offer.agent not in self.busy)
        return replace(plan, offers=free)

    async def action(self, **changes: object) -> Action:
        decided = await self.deciding.decide(call(**changes))
        assert isinstance(decided, Decided)
        return decided.action


def _router(name: str, numbers: tuple[str, ...], **who: str) -> RouterConfig:
    return RouterConfig(id=name, name=name, default_target=HOME, phone_numbers=numbers, **who)


def call(**changes: object) -> CallState:
    given = {"caller_number": "+12125550142", "called_number": "+12125550100"} | changes
    return CallState(id="c1", kind=Kind.INBOUND, channel=LegId("1.1"), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("called", "router"),
    [
        ("+12125550100", "main"),
        ("2125550100", "main"),
        ("12125550101", "abroad"),
        ("+442079460018", "britain"),
        ("+4402079460018", "britain"),
        ("+44 (0)20 7946 0018", "britain"),
        ("100", "spare"),
        (None, "spare"),
        ("+12125550109", "aa"),  # of several the first, in every process
    ],
)
def test_the_called_number_in_any_spelling_finds_the_router(called: str | None, router: str):
    assert World().deciding.router_of(called) == router


async def test_the_store_need_not_remember_what_stands_in_the_state_of_the_call():
    world = World()
    assert isinstance(await world.action(caller_number="+12125550009"), Ask)
    assert [outcome.is_remembered for _, outcome in world.log.entries] == [True]


async def test_the_store_is_asked_only_for_what_the_rules_want_to_know():
    async with Links(parse_store_url("redis://127.0.0.1:1")) as links:
        store = StoreWithoutMemory(links, Agents(links), lease_ms=1000)
        world = World()
        await world.action()
        asked, _ = world.log.entries[0]
        assert await store.look_up(asked, (), in_s(1)) == (NOTHING_KNOWN, {})
        with pytest.raises(StoreDownError):
            await store.look_up(asked, ("support",), in_s(1))


async def test_decisions_of_one_moment_are_logged_together_and_errors_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(deciding, "TELL_S", 0.02)
    world = World()
    for _ in range(3):
        await world.action()
    assert world.log.told == []
    async with asyncio.timeout(5):
        while not world.log.told:
            await asyncio.sleep(0.001)
    assert len(world.log.told) == 3
    world.foreign.answer = ForeignError(ErrorCode.STATUS)
    await world.action()
    await world.action(called_number="+12125550101")
    assert len(world.log.told) == 5
    await asyncio.sleep(0.03)
    assert len(world.log.told) == 5
    monkeypatch.setattr(deciding, "MOST_UNTOLD", 2)
    await world.action()
    await world.action()
    assert len(world.log.told) == 7


async def test_agents_and_callbacks_are_left_to_the_pbx():
    world = World()
    reserved = await world.action(caller_number="(212) 555-0001")
    assert isinstance(reserved, ReserveAgent)
    assert (reserved.sticky_s, reserved.otherwise) == (14 * 86_400, Enqueue(queue="support"))
    assert isinstance(await world.action(caller_number="+12125550002"), Callback)


async def test_live_facts_and_digits_decide_and_every_decision_is_logged():
    world = World()
    assert isinstance(await world.action(), Ask)
    world.store.waiting = 6
    assert await world.action() == End(message="Too many.")
    world.store.waiting = 0
    assert isinstance(await world.action(digits={"language": "1"}), Menu)
    assert await world.action(digits={"language": "2"}) == Route(target=DESK)
    assert [outcome.rule for _, outcome in world.log.entries] == [
        "language",
        "crowded",
        "english",
        "default",
    ]
    assert {asked.call.call_id for asked, _ in world.log.entries} == {"c1"}


async def test_without_a_store_the_rules_that_need_none_decide():
    world = World()
    world.store.is_down = True
    assert isinstance(await world.action(caller_number="+12125550002"), Callback)
    assert isinstance(await world.action(digits={"language": "1"}), Menu)


async def test_a_foreign_router_is_asked_and_its_failure_counts_and_leads_home():
    world = World()
    abroad = {"called_number": "+12125550101"}
    assert await world.action(**abroad) == Forward(number="+12125550177")
    world.foreign.answer = ForeignError(ErrorCode.STATUS)
    assert await world.action(**abroad) == Route(target=HOME)
    assert world.log.entries[-1][1].error is ErrorCode.STATUS


async def test_without_rules_the_routers_default_and_without_a_router_the_end():
    assert await World().action(called_number="100") == Route(target=HOME)
    assert World().log.entries == []
    assert await World(default_router=None).action(called_number="100") == End()
    assert await World(default_router="gone").action(called_number="100") == End()


@pytest.mark.parametrize(
    ("called", "on"), [("*61", True), ("+12125550162", False), ("2125550162", False)]
)
async def test_a_number_for_logging_in_or_out_has_no_rules(called: str, *, on: bool):
    world = World()
    state = call(called_number=called)
    assert await world.deciding.decide(state) == Planned(LoginPlan(on=on))
    assert world.log.entries == []


async def test_an_agent_who_has_a_call_is_not_rung_for_another():
    world = World()
    to_ada = Route(target=Target(type=TargetType.USER, id="ada"))
    plan = await world.deciding.plan(call(), to_ada)
    assert isinstance(plan, DialPlan)
    assert [offer.agent for offer in plan.offers] == ["ada"]
    world.busy = {"ada"}
    assert await world.deciding.plan(call(), to_ada) == VoicemailPlan(mailbox="user-ada")


async def test_our_own_mistakes_lead_to_the_routers_default():
    world = World()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    world.deciding._decider.decide = broken  # type: ignore[method-assign]
    assert await world.action() == Route(target=HOME)
    world.deciding._planner.plan = broken  # type: ignore[method-assign,assignment]
    plan = await world.deciding.plan(call(), End())
    assert plan.cause == 41  # type: ignore[union-attr]


async def test_a_decision_that_cannot_be_logged_is_carried_out_and_takes_no_other_along():
    world = World()
    put = world.log.put

    def broken(asked: Asked, *rest: Any, **more: Any) -> None:
        if asked.call.call_id == "c1":
            raise RuntimeError
        put(asked, *rest, **more)

    world.log.put = broken  # type: ignore[method-assign]
    assert isinstance(await world.action(caller_number="+12125550009"), Ask)
    await world.deciding.decide(replace(call(), id="c2"))
    assert [asked.call.call_id for asked, _ in world.log.entries] == ["c2"]


async def test_a_disabled_router_answers_its_default_target():
    world = World()
    tenant = world.directory.tenants["acme"].resources
    off = replace(tenant, disabled=frozenset({"main"}))
    world.directory = build({"acme": off}, lambda _: "")
    assert await world.action() == Route(target=HOME)
    assert world.log.entries[0][1].level is Level.DISABLED
