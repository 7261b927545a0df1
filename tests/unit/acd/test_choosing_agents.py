"""Strategies, waiting calls and estimates as plain functions."""

import pytest

from router.acd.agents import AgentRecord, Membership
from router.acd.line import (
    WaitingCall,
    call_for,
    effective_arrival_ms,
    in_order,
    must_wait_behind,
    position_of,
    requirement_at,
)
from router.acd.strategies import Candidate, Wish, candidates_for, choose
from router.acd.wait import averaged_handling_s, estimated_wait_s
from router.store.keys import name_of, queue_id, requirement_id
from rules.actions import Relax, Strategy
from rules.requirements import Requirement

Q = Requirement("q")


def candidate(name: str, idle: int, level: int = 100, order: int = 0, turn: int = 0) -> Candidate:
    return Candidate(id=name, idle_since_ms=idle, skill_level=level, order=order, turn=turn)


ADA = candidate("ada", 300, level=50, order=2, turn=1)
BOB = candidate("bob", 100, level=90, order=3, turn=3)
CY = candidate("cy", 200, level=90, order=1, turn=2)
ALL = [ADA, BOB, CY]


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [
        (Strategy.LONGEST_IDLE, ["bob"]),
        (Strategy.ROUND_ROBIN, ["ada"]),
        (Strategy.MOST_SKILLED, ["bob"]),
        (Strategy.FIXED_ORDER, ["cy"]),
        (Strategy.RANDOM, ["cy"]),
        (Strategy.SIMULTANEOUS, ["bob", "cy"]),
    ],
)
def test_each_strategy_has_its_own_idea_of_the_best(strategy: Strategy, chosen: list[str]):
    wish = Wish(requirement=Q, strategy=strategy, count=2, draw=0.5)
    assert [one.id for one in choose(ALL, wish)] == chosen


@pytest.mark.parametrize("strategy", list(Strategy))
def test_nobody_is_chosen_when_nobody_is_ready(strategy: Strategy):
    assert choose([], Wish(requirement=Q, strategy=strategy)) == []


@pytest.mark.parametrize("strategy", [s for s in Strategy if s is not Strategy.RANDOM])
def test_equal_agents_are_told_apart_by_idle_time_then_id(strategy: Strategy):
    wish = Wish(requirement=Q, strategy=strategy)
    assert choose([candidate("b", 10), candidate("a", 20)], wish)[0].id == "b"
    assert choose([candidate("b", 10), candidate("a", 10)], wish)[0].id == "a"


def test_the_excluded_are_asked_only_when_nobody_else_is_ready():
    wish = Wish(
        requirement=Q, strategy=Strategy.LONGEST_IDLE, excluded=frozenset({"bob"}), sticky="bob"
    )
    assert choose(ALL, wish)[0].id == "cy"
    assert choose([BOB], wish)[0].id == "bob"


def test_who_talked_with_the_caller_goes_first_if_ready():
    wish = Wish(requirement=Q, strategy=Strategy.LONGEST_IDLE, sticky="ada")
    assert choose(ALL, wish)[0].id == "ada"
    assert choose([BOB, CY], wish)[0].id == "bob"


def test_candidates_come_longest_idle_first():
    agents = [
        AgentRecord(id=name, on_duty=True, idle_since_ms=idle, queues={"q": Membership()})
        for name, idle in (("a", 30), ("b", 10), ("c", 10), ("d", 99))
    ]
    assert [c.id for c in candidates_for(agents, Q, {}, now_ms=50)] == ["b", "c", "a"]


def waiting(name: str, arrival: int, priority: int = 0, **more: object) -> WaitingCall:
    return WaitingCall(id=name, requirement=Q, arrival_ms=arrival, priority=priority, **more)


def test_a_point_of_priority_is_worth_its_aging():
    assert effective_arrival_ms(1_000, 3, aging_ms=100) == 700
    order = in_order([waiting("a", 500), waiting("b", 700, 3), waiting("c", 900, 3)], aging_ms=100)
    assert [call.id for call in order] == ["b", "a", "c"]
    assert position_of("a", order, aging_ms=100) == 2
    assert position_of("z", order) is None


@pytest.mark.parametrize(("waited_s", "least"), [(0, 80), (29, 80), (30, 40), (60, None)])
def test_a_call_asks_for_less_as_it_waits(waited_s: int, least: int | None):
    call = WaitingCall(
        id="c",
        requirement=Requirement.of("q", {"spanish": 80}),
        arrival_ms=0,
        relax=(Relax(after_s=60, skills={}), Relax(after_s=30, skills={"spanish": 40})),
    )
    assert dict(requirement_at(call, waited_s * 1000).skills).get("spanish") == least


def test_a_freed_agent_takes_the_first_call_it_can_serve_and_untried_ones_first():
    agent = AgentRecord(id="ada", on_duty=True, queues={"q": Membership()}, skills={})
    skilled = WaitingCall(id="x", requirement=Requirement.of("q", {"s": 1}), arrival_ms=0)
    tried = waiting("t", 1, tried=frozenset({"ada"}))
    plain = waiting("p", 2)
    assert call_for(agent, [skilled, tried, plain], 10) == plain
    assert call_for(agent, [skilled, tried], 10) == tried
    assert call_for(agent, [skilled], 10) is None
    assert must_wait_behind(waiting("late", 3), agent, [skilled, plain], 10)
    assert not must_wait_behind(plain, agent, [skilled, waiting("late", 3)], 10)


def test_the_estimated_wait_grows_with_the_position_and_falls_with_agents():
    assert estimated_wait_s(position=3, agents=2, handling_s=100.0) == 150.0
    assert estimated_wait_s(position=1, agents=0, handling_s=100.0) is None
    assert estimated_wait_s(position=1, agents=2, handling_s=None) is None


def test_the_first_call_is_the_average_and_later_ones_move_it_a_little():
    assert averaged_handling_s(None, 60.0) == 60.0
    assert averaged_handling_s(60.0, 160.0) == pytest.approx(70.0)


@pytest.mark.parametrize("name", ["support", "a b", "50%", "a|b>c", "line\nbreak", "größe"])
def test_names_come_back_out_of_their_ids(name: str):
    assert name_of(queue_id(name)) == name


def test_different_requirements_have_different_ids():
    tricky = [
        Requirement("a|b>1"),
        Requirement.of("a", {"b": 1}),
        Requirement.of("a", {"b>1": 1}),
        Requirement.of("a", {"b": 1, "c": 2}),
        Requirement.of("a|b>1", {"c": 2}),
    ]
    assert len({requirement_id(one) for one in tricky}) == len(tricky)
