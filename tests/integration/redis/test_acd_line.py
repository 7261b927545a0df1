"""Waiting calls on a real Redis: places, offers, relaxing, callers who come back, foreign queues."""

from collections.abc import Iterator
from typing import Any

import pytest

from router.acd.agents import AgentState
from router.store import keys
from router.store.facts import queue_facts
from router.store.line import NextCall, Offered, Waits
from router.store.operations import LineFullError
from rules.actions import Enqueue, Relax, Strategy
from rules.facts import QueueFacts
from tests.integration.redis.acd_world import LONG_MS, QUEUE, World, acd_world, broken, soon

WISH = Enqueue(queue=QUEUE)
SKILLED = Enqueue(queue=QUEUE, skills={"spanish": 50})
CALLER = "+12125550142"


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def ask(world: World, call: str, wish: Enqueue = WISH, **more: Any) -> Offered | Waits:
    async def run() -> Offered | Waits:
        return await world.line.offer_or_wait(
            world.tenant,
            call,
            wish,
            strategy=Strategy.LONGEST_IDLE,
            lease_ms=LONG_MS,
            token=f"token of {call}",
            deadline=soon(),
            **more,
        )

    return world.run(run())


def next_for(world: World, agent: str) -> NextCall | None:
    async def run() -> NextCall | None:
        return await world.line.next_for_agent(
            world.tenant, agent, token="t", lease_ms=LONG_MS, deadline=soon()
        )

    return world.run(run())


def facts(world: World) -> QueueFacts:
    async def run() -> QueueFacts:
        link = world.links.link_for(world.tenant)
        return (await queue_facts(link, world.tenant, [QUEUE], soon()))[QUEUE]

    return world.run(run())


def position(world: World, call: str) -> int | None:
    found = world.run(world.line.position(world.tenant, QUEUE, call, soon()))
    return found and found.position


@pytest.mark.parametrize("rings", [True, False])
def test_a_phone_that_is_rung_at_once_need_not_be_told_of(world: World, *, rings: bool):
    world.put("ada")
    offered = ask(world, "c1", rings=rings)
    assert isinstance(offered, Offered)
    view = world.run(world.agents.get(world.tenant, "ada", soon()))
    assert view is not None
    assert view.effective.state is (AgentState.RINGING if rings else AgentState.RESERVED)
    token = offered.reserved.token
    if rings:
        assert world.run(
            world.agents.ring(world.tenant, "ada", token, ring_ms=LONG_MS, deadline=soon())
        ), "whoever asks again is told the same"
    missed = world.agents.unanswered(
        world.tenant, "ada", token, deadline=soon(), limit=3, pause_ms=1000
    )
    assert world.run(missed)
    assert isinstance(ask(world, "c2", rings=rings), Offered)


def test_a_call_gets_the_free_agent_and_leaves_no_place_behind_once_they_talk(world: World):
    world.put("ada")
    offered = ask(world, "c1")
    assert isinstance(offered, Offered)
    assert offered.reserved.agents == ("ada",)
    assert ask(world, "c1") == offered
    assert facts(world).waiting == 0
    assert world.run(
        world.agents.confirm(world.tenant, "ada", offered.reserved.token, deadline=soon())
    )
    assert position(world, "c1") is None


def test_a_call_that_is_offered_stands_where_an_offer_that_fails_leads_it_back(world: World):
    world.put("ada", on_duty=False)
    for call in ("c1", "c2", "c3"):
        ask(world, call)
    world.put("ada")
    world.run(world.agents.set_duty(world.tenant, "ada", on=True, deadline=soon()))
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "c1"
    assert [position(world, call) for call in ("c1", "c2", "c3")] == [1, 1, 2]
    found = world.run(world.line.position(world.tenant, QUEUE, "c1", soon()))
    assert found is not None
    assert (found.position, found.waiting) == (1, 3)
    assert world.run(world.line.position(world.tenant, "other", "c1", soon())) is None


def test_a_call_without_an_agent_waits_and_a_freed_agent_takes_the_first(world: World):
    world.put("ada", on_duty=False)
    assert ask(world, "c1") == Waits(position=1, arrival_ms=ask(world, "c1").arrival_ms)
    assert ask(world, "c2").position == 2
    assert facts(world).waiting == 2
    assert next_for(world, "ada") is None
    world.run(world.agents.set_duty(world.tenant, "ada", on=True, deadline=soon()))
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "c1"
    assert next_for(world, "ada") is None
    assert position(world, "c2") == 1


def test_an_offer_that_fails_puts_the_call_back_in_its_place(world: World):
    world.put("ada", on_duty=False)
    first = ask(world, "c1")
    ask(world, "c2")
    world.run(world.agents.set_duty(world.tenant, "ada", on=True, deadline=soon()))
    taken = next_for(world, "ada")
    assert taken is not None
    world.run(world.agents.unanswered(world.tenant, "ada", taken.token, limit=1, deadline=soon()))
    again = ask(world, "c1")
    assert isinstance(again, Waits)
    assert (again.position, again.arrival_ms) == (1, first.arrival_ms)


def test_a_new_call_does_not_take_the_agent_of_one_that_waits(world: World):
    world.put("ada", on_duty=False)
    ask(world, "c1")
    world.run(world.agents.set_duty(world.tenant, "ada", on=True, deadline=soon()))
    late = ask(world, "c2")
    assert isinstance(late, Waits)
    assert late.wake == ("ada",)
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "c1"


def test_a_second_free_agent_serves_the_newer_call(world: World):
    for name in ("ada", "bob"):
        world.put(name, on_duty=False)
    ask(world, "c1")
    for name in ("ada", "bob"):
        world.run(world.agents.set_duty(world.tenant, name, on=True, deadline=soon()))
    assert isinstance(ask(world, "c2"), Offered)
    assert position(world, "c1") == 1


def test_a_confirmed_call_is_forgotten_by_the_line(world: World):
    world.put("ada")
    offered = ask(world, "c1")
    assert isinstance(offered, Offered)
    assert world.confirm("ada", offered.reserved.token)
    assert not world.client.exists(keys.waiting_call(world.tenant, "c1"))


def test_the_line_has_an_end(world: World):
    ask(world, "c1", max_waiting=1)
    with pytest.raises(LineFullError):
        ask(world, "c2", max_waiting=1)
    assert ask(world, "c1", max_waiting=1).position == 1


def test_a_call_that_had_an_agent_already_goes_first_even_into_a_full_line(world: World):
    for name in ("c1", "c2"):
        ask(world, name, Enqueue(queue=QUEUE, priority=90))
    served = ask(world, "c3", goes_first=True, max_waiting=2)
    assert isinstance(served, Waits)
    assert [position(world, name) for name in ("c3", "c1", "c2")] == [1, 2, 3]
    assert ask(world, "c3", goes_first=True) == served
    world.put("ada")
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "c3"


def test_a_caller_who_comes_back_in_time_gets_the_old_place(world: World):
    first = ask(world, "c1", caller=CALLER)
    world.wait_until_ms(first.arrival_ms + 1)
    ask(world, "c2")
    leave = world.line.leave(world.tenant, "c1", soon(), keep_place_ms=60_000)
    assert world.run(leave)
    assert position(world, "c2") == 1
    back = ask(world, "c3", caller=CALLER)
    assert isinstance(back, Waits)
    assert (back.position, back.arrival_ms) == (1, first.arrival_ms)


def test_leaving_for_good_leaves_nothing(world: World):
    ask(world, "c1", caller=CALLER)
    assert world.run(world.line.leave(world.tenant, "c1", soon()))
    assert not world.run(world.line.leave(world.tenant, "c1", soon()))
    left = {
        key.decode().split(":", 2)[2] for key in world.client.scan_iter(f"cp:{{{world.tenant}}}:*")
    }
    assert left == {"requirements", "requirements_used"}


def a_call_asks_for_less_in_time(world: World, scripts: Any) -> None:
    world.begin(scripts)
    world.put("ada")
    due = world.now_ms() + 40
    world.client.set(keys.kept_place(world.tenant, QUEUE, CALLER), due - 30_000)
    wish = Enqueue(queue=QUEUE, skills={"spanish": 50}, relax=(Relax(after_s=30, skills={}),))
    waits = ask(world, "c1", wish, caller=CALLER)
    assert isinstance(waits, Waits)
    assert next_for(world, "ada") is None
    world.wait_until_ms(due)
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "c1"


def test_a_call_asks_for_less_when_its_time_has_come(world: World):
    a_call_asks_for_less_in_time(world, {})


def test_never_asking_for_less_is_found_out(world: World):
    scripts = broken("line_next", change=("relax_due_calls(prefix, 16, now)", ""))
    with pytest.raises(AssertionError):
        a_call_asks_for_less_in_time(world, scripts)


def test_relaxing_names_the_calls_that_should_ask_again(world: World):
    world.client.set(keys.kept_place(world.tenant, QUEUE, CALLER), world.now_ms() - 29_990)
    wish = Enqueue(queue=QUEUE, skills={"s": 1}, relax=(Relax(after_s=30, skills={}),))
    ask(world, "c1", wish, caller=CALLER)
    world.put("ada")
    world.wait_until_ms(world.now_ms() + 11)
    assert world.run(world.line.relax(world.tenant, soon())) == ["c1"]
    assert world.run(world.line.relax(world.tenant, soon())) == []
    assert isinstance(ask(world, "c1", wish), Offered)


def test_a_requirement_that_calls_wait_for_is_not_forgotten(world: World):
    world.put("ada", skills={"spanish": 60}, on_duty=False)
    ask(world, "c1", SKILLED)
    world.run(world.agents.forget_unused(world.tenant, soon(), unused_ms=0))
    world.run(world.agents.set_duty(world.tenant, "ada", on=True, deadline=soon()))
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "c1"


def held(world: World, call: str, since_ms: int, longest_ms: int = 900_000) -> bool:
    return world.run(
        world.line.observe_held(
            world.tenant,
            QUEUE,
            call,
            since_ms=since_ms,
            longest_hold_ms=longest_ms,
            deadline=soon(),
        )
    )


def test_callers_held_by_the_phone_system_count_as_waiting(world: World):
    assert held(world, "9100", world.now_ms() - 5_000)
    assert held(world, "9100", world.now_ms())
    now = facts(world)
    assert now.waiting == 1
    assert now.longest_wait_s is not None
    assert 5.0 <= now.longest_wait_s < 10.0
    assert world.run(world.line.observe_unheld(world.tenant, "9100", soon()))
    assert facts(world).waiting == 0


def test_a_late_report_does_not_hold_a_call_again(world: World):
    assert not world.run(world.line.observe_unheld(world.tenant, "9100", soon()))
    assert not held(world, "9100", world.now_ms() - 5_000)
    assert facts(world).waiting == 0


def test_a_call_that_is_held_a_second_time_counts_again(world: World):
    now = world.now_ms()
    assert held(world, "9100", now - 9_000)
    world.run(world.line.observe_unheld(world.tenant, "9100", soon(), at_ms=now - 5_000))
    assert held(world, "9100", now - 1_000)
    assert facts(world).waiting == 1


def test_a_held_call_whose_end_is_never_reported_stops_counting(world: World):
    assert held(world, "9100", world.now_ms(), longest_ms=20)
    assert facts(world).waiting == 1
    world.wait_until_ms(world.now_ms() + 25)
    assert facts(world).waiting == 0


def test_only_standing_in_line_takes_nobody(world: World):
    world.put("ada")

    async def stand() -> Offered | Waits:
        return await world.line.enqueue(world.tenant, "callback", WISH, deadline=soon())

    assert isinstance(world.run(stand()), Waits)
    assert facts(world).agents_idle == 1
    taken = next_for(world, "ada")
    assert taken is not None
    assert taken.call == "callback"
