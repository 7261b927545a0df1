"""Calls of a PBX that is gone: agents are not kept for them, and whoever comes back has the old place."""

from collections.abc import Iterator

import pytest

from router.store import keys
from router.store.line import NextCall, Offered, Waits
from router.store.operations import LineFullError
from router.store.pbx_line import PbxLine
from rules.actions import Enqueue, Strategy
from tests.integration.redis.acd_world import LONG_MS, QUEUE, World, acd_world, broken, soon

SILENT_MS = 60_000
IS_SILENT = "if not v[1] or now - v[1] <= SILENT_MS then return waiting, at end --@silent"


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def ask(
    world: World, call: str, *, max_waiting: int = 1000, caller: str | None = None
) -> Offered | Waits:
    return world.run(
        world.line.offer_or_wait(
            world.tenant,
            call,
            Enqueue(queue=QUEUE),
            strategy=Strategy.LONGEST_IDLE,
            lease_ms=LONG_MS,
            token=f"token of {call}",
            deadline=soon(),
            max_waiting=max_waiting,
            caller=caller,
        )
    )


def next_for(world: World, agent: str) -> str | None:
    found: NextCall | None = world.run(
        world.line.next_for_agent(world.tenant, agent, token="t", lease_ms=LONG_MS, deadline=soon())
    )
    return found and found.call


def look(world: World, *calls: str) -> tuple[str, ...]:
    return world.run(PbxLine(world.links).look(world.tenant, calls, soon())).ask


def nobody_looked_after(world: World, *calls: str) -> None:
    """For a second longer than is allowed."""
    for call in calls:
        key = keys.waiting_call(world.tenant, call)
        world.client.hset(key, "seen", world.now_ms() - SILENT_MS - 1000)


def comes_on_duty(world: World, agent: str) -> None:
    world.run(world.agents.set_duty(world.tenant, agent, on=True, deadline=soon()))


def test_an_agent_is_not_kept_for_a_call_of_a_pbx_that_is_gone(world: World):
    world.put("ada", on_duty=False)
    ask(world, "1 dead")
    ask(world, "2 alive")
    nobody_looked_after(world, "1 dead")
    comes_on_duty(world, "ada")
    assert next_for(world, "ada") == "2 alive"


def test_a_broken_variant_keeps_the_agent_for_a_dead_call(world: World):
    world.begin(broken("line_next", change=(IS_SILENT, "if true then return waiting, at end")))
    world.put("ada", on_duty=False)
    ask(world, "1 dead")
    ask(world, "2 alive")
    nobody_looked_after(world, "1 dead")
    comes_on_duty(world, "ada")
    assert next_for(world, "ada") == "1 dead"


def test_a_call_that_is_looked_after_stays_first(world: World):
    world.put("ada", on_duty=False)
    ask(world, "first")
    ask(world, "second")
    nobody_looked_after(world, "first")
    assert look(world, "first") == ()
    comes_on_duty(world, "ada")
    assert next_for(world, "ada") == "first"


def test_who_comes_back_for_a_call_finds_the_old_place(world: World):
    world.put("ada", on_duty=False)
    world.put("ben", on_duty=False)
    for call in ("first", "second", "third"):
        ask(world, call)
    nobody_looked_after(world, "first")
    comes_on_duty(world, "ada")
    assert next_for(world, "ada") == "second"
    assert look(world, "first") == ("first",)  # has lost its place and asks again
    again = ask(world, "first")
    assert isinstance(again, Waits)
    assert again.position == 1
    comes_on_duty(world, "ben")
    assert next_for(world, "ben") == "first"


def test_a_new_call_does_not_wait_behind_dead_ones_however_many(world: World):
    dead = [f"1 dead{number}" for number in range(200)]
    world.put("ada", on_duty=False)
    for call in dead:
        ask(world, call)
    nobody_looked_after(world, *dead)
    ask(world, "2 alive")
    comes_on_duty(world, "ada")
    answers = [ask(world, "2 alive") for _ in range(4)]
    assert isinstance(answers[-1], Offered)
    assert answers[-1].reserved.agents == ("ada",)


# --- a full line


def full_of_dead(world: World) -> int:
    """A line of three, two of them calls that nobody looks after; how many wait after a fourth came."""
    for call in ("1 dead", "2 dead", "3 alive"):
        ask(world, call, max_waiting=3)
    nobody_looked_after(world, "1 dead", "2 dead")
    ask(world, "4 new", max_waiting=3)
    return int(world.client.zcard(keys.line(world.tenant, QUEUE)))


def test_calls_that_nobody_looks_after_do_not_make_a_line_full(world: World):
    assert full_of_dead(world) == 2
    again = ask(world, "1 dead", max_waiting=1)  # its PBX has come back
    assert isinstance(again, Waits)
    assert again.position == 1


def test_a_line_that_counts_dead_calls_is_noticed(world: World):
    change = ("leave_line(prefix, waiting, queue, v[2]) end --@make-room", "end")
    world.begin(broken("line_offer_or_wait", change=change))
    with pytest.raises(LineFullError):
        full_of_dead(world)


def test_a_full_line_is_searched_once_a_second(world: World):
    for call in ("1", "2"):
        ask(world, call, max_waiting=2)
    with pytest.raises(LineFullError):
        ask(world, "3", max_waiting=2)
    nobody_looked_after(world, "1")
    with pytest.raises(LineFullError):
        ask(world, "3", max_waiting=2)
    world.wait_until_ms(world.now_ms() + 1010)
    assert isinstance(ask(world, "3", max_waiting=2), Waits)


def drop_out(world: World, call: str) -> None:
    world.run(world.line.leave(world.tenant, call, soon(), keep_place_ms=LONG_MS))


def test_who_comes_back_for_a_kept_place_gets_it_in_a_full_line_but_not_however_many(world: World):
    for number in (1, 2):
        ask(world, f"{number}", max_waiting=2, caller=f"+4930{number}")
    for number in (1, 2):
        drop_out(world, f"{number}")
    for call in ("3", "4"):
        assert isinstance(ask(world, call, max_waiting=2), Waits)  # the kept places take no room
    back = ask(world, "1 again", max_waiting=2, caller="+49301")
    assert isinstance(back, Waits)
    assert back.position == 1
    with pytest.raises(LineFullError):
        ask(world, "2 again", max_waiting=2, caller="+49302")
    with pytest.raises(LineFullError):
        ask(world, "5", max_waiting=2)
    drop_out(world, "3")
    second = ask(world, "2 again", max_waiting=2, caller="+49302")  # the place was not used up
    assert isinstance(second, Waits)
    assert second.position == 2
