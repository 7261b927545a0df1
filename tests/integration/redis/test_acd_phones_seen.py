"""What a PBX sees of an agent's phone: lost, busy with somebody else's call, free."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from router.errors import NotFoundError
from router.store.agents_seen import CallSeen, PhoneSeen
from router.store.scripts import Script
from tests.integration.redis.acd_world import LONG_MS, World, acd_world, broken, soon

LOST, BUSY, FREE = PhoneSeen


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def see(world: World, seen: PhoneSeen, pbx: str = "one") -> str:
    return world.run(
        world.agents.observe_phone(world.tenant, "ada", seen=seen, pbx=pbx, deadline=soon())
    )


def test_who_has_lost_the_phone_is_offered_nothing_until_it_is_found(world: World):
    world.put("ada")
    assert see(world, LOST) == "unreachable"
    assert see(world, LOST) == "unreachable"
    assert world.reserve("r1") is None
    assert see(world, FREE) == "available"
    assert world.reserve("r2") is not None


def test_whose_phone_is_in_use_is_on_a_call_until_it_is_free(world: World):
    world.put("ada")
    assert see(world, BUSY) == "on_call"
    assert see(world, BUSY) == "on_call"
    assert world.reserve("r1") is None
    assert see(world, FREE) == "available"
    assert world.reserve("r2") is not None


def test_who_is_off_duty_stays_so_whatever_the_phone_does(world: World):
    world.put("ada", on_duty=False)
    assert [see(world, seen) for seen in (LOST, BUSY, FREE)] == ["off_duty", "on_call", "off_duty"]


def test_a_phone_that_is_lost_in_somebody_elses_call_ends_it(world: World):
    world.put("ada")
    see(world, BUSY)
    assert see(world, LOST) == "unreachable"
    assert see(world, FREE) == "available"


def a_call_of_ours_outlives_what_is_seen(world: World, scripts: Mapping[str, Script]) -> None:
    world.begin(scripts)
    world.put("ada")
    reserved = world.reserve("r", call="9100", lease_ms=LONG_MS)
    assert reserved is not None
    assert [see(world, seen) for seen in PhoneSeen] == ["reserved"] * 3
    assert world.confirm("ada", reserved.token)
    assert [see(world, seen) for seen in PhoneSeen] == ["on_call"] * 3


def test_a_call_of_ours_outlives_whatever_is_seen(world: World):
    a_call_of_ours_outlives_what_is_seen(world, {})


def a_platforms_call_outlives_a_free_phone(world: World, scripts: Mapping[str, Script]) -> None:
    world.begin(scripts)
    world.put("ada")
    for seen, at in ((CallSeen.RINGING, 1), (CallSeen.CONNECTED, 2)):
        world.run(
            world.agents.observe_call(
                world.tenant, "ada", seen=seen, calls=["c"], at_ms=at, deadline=soon()
            )
        )
    assert see(world, BUSY) == "on_call"
    assert see(world, FREE) == "on_call"
    see(world, LOST)
    assert see(world, FREE) == "on_call"


def test_a_platforms_call_outlives_a_free_phone(world: World):
    a_platforms_call_outlives_a_free_phone(world, {})


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (("and a.call == seen_call then", "then"), a_platforms_call_outlives_a_free_phone),
        (("elseif state ~= 'on_call' and next_state(state, 'see_busy') then", "else"),
         a_call_of_ours_outlives_what_is_seen),
    ],
)  # fmt: skip
def test_a_report_that_ends_other_calls_is_found_out(
    world: World, change: tuple[str, str], check: Any
):
    with pytest.raises(AssertionError):
        check(world, broken("agent_phone", change=change))


def test_only_the_pbx_that_saw_the_call_sees_its_end(world: World):
    world.put("ada")
    assert see(world, BUSY, "one") == "on_call"
    assert see(world, FREE, "two") == "on_call"
    assert see(world, FREE, "one") == "available"


def test_a_phone_found_by_hand_counts_as_found(world: World):
    world.put("ada")
    see(world, LOST)
    enabled = world.run(world.agents.set_enabled(world.tenant, "ada", on=True, deadline=soon()))
    assert enabled == "available"


def test_an_agent_who_does_not_exist_has_no_phone(world: World):
    with pytest.raises(NotFoundError):
        see(world, LOST)
    assert not world.client.keys(f"cp:{{{world.tenant}}}:agent:*")
