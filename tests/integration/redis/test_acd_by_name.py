"""Agents taken by name in a real Redis: one reservation at a time, given back as if nothing had been."""

from collections.abc import Iterator, Mapping

import pytest

from router.store.agents import new_token
from router.store.pbx_line import PbxLine, Took
from router.store.scripts import Script
from tests.integration.redis.acd_world import LONG_MS, World, acd_world, broken, soon


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def take_agent(
    world: World,
    agent: str,
    *,
    token: str = "t1",
    call: str = "call-1",
    lease_ms: int = LONG_MS,
    ends_wrap_up: bool = False,
    scripts: Mapping[str, Script] | None = None,
) -> Took:
    work = PbxLine(world.links, scripts).take_agent(
        world.tenant,
        agent,
        call,
        token=token,
        lease_ms=lease_ms,
        ends_wrap_up=ends_wrap_up,
        deadline=soon(),
    )
    return world.run(work)


def taken_is_offered_nothing(world: World, scripts: Mapping[str, Script] | None = None) -> None:
    world.put("ada")
    assert take_agent(world, "ada", scripts=scripts) is Took.TAKEN
    assert take_agent(world, "ada", scripts=scripts) is Took.TAKEN  # the answer may have got lost
    assert take_agent(world, "ada", token="t2", call="call-2", scripts=scripts) is Took.BUSY
    assert world.reserve("r1") is None


def test_an_agent_taken_by_name_is_offered_nothing_else(world: World):
    taken_is_offered_nothing(world)


def test_a_broken_taking_is_noticed(world: World):
    scripts = broken("agent_take", change=("return 'BUSY' --@busy", ""))
    with pytest.raises(AssertionError):
        taken_is_offered_nothing(world, scripts)


def test_an_agent_who_is_offered_a_call_is_busy(world: World):
    world.put("ada")
    assert world.reserve("r1") is not None
    assert take_agent(world, "ada") is Took.BUSY
    assert take_agent(world, "ada", call="r1") is Took.BUSY  # not even for that call


def test_within_its_call_a_reservation_passes_to_another_token(world: World):
    world.put("ada")
    assert take_agent(world, "ada", token="ahead") is Took.TAKEN
    assert take_agent(world, "ada", token="leg") is Took.TAKEN
    agents = world.agents
    assert not world.run(agents.confirm(world.tenant, "ada", "ahead", deadline=soon()))
    assert world.run(agents.confirm(world.tenant, "ada", "leg", deadline=soon()))


def test_who_is_off_duty_is_taken_too_and_off_duty_afterwards(world: World):
    world.put("ada", on_duty=False)
    assert take_agent(world, "ada") is Took.TAKEN
    assert take_agent(world, "ada", token="t2", call="call-2") is Took.BUSY
    world.run(world.agents.release(world.tenant, "ada", "t1", keep_place=True, deadline=soon()))
    assert world.state("ada") == "off_duty"
    assert take_agent(world, "nobody") is Took.UNKNOWN


def test_an_unanswered_call_by_name_counts_for_nothing(world: World):
    world.put("ada")
    for number in range(3):
        take_agent(world, "ada", token=f"t{number}")
        work = world.agents.unanswered(world.tenant, "ada", f"t{number}", deadline=soon(), limit=1)
        missed = world.run(work)
        assert missed is not None
        assert (missed.count, missed.state) == (0, "available")


def test_a_call_by_name_counted_as_an_offer_is_noticed(world: World):
    source = ("if a.request == a.token then", "if false then")
    scripts = broken("agent_unanswered", change=source)
    world.put("ada")
    take_agent(world, "ada")
    agents = type(world.agents)(world.links, scripts)
    world.run(agents.unanswered(world.tenant, "ada", "t1", deadline=soon(), limit=1))
    assert world.state("ada") == "disabled"


@pytest.mark.parametrize("ends_wrap_up", [True, False])
def test_only_a_call_of_the_agents_own_ends_the_wrap_up(world: World, ends_wrap_up: bool):
    world.put("ada")
    reserved = world.reserve("r1", wrap_up_ms=LONG_MS)
    assert reserved is not None
    agents = world.agents
    world.run(agents.confirm(world.tenant, "ada", reserved.token, deadline=soon()))
    world.run(agents.call_ended(world.tenant, "ada", reserved.token, deadline=soon()))
    assert world.state("ada") == "wrap_up"
    assert take_agent(world, "ada", ends_wrap_up=ends_wrap_up) is Took.TAKEN
    world.run(agents.release(world.tenant, "ada", "t1", keep_place=True, deadline=soon()))
    assert (world.reserve("r2") is not None) == ends_wrap_up


def test_a_taken_agent_is_confirmed_and_free_again_after_the_call(world: World):
    world.put("ada")
    token = new_token()
    assert take_agent(world, "ada", token=token) is Took.TAKEN
    agents = world.agents
    assert world.run(agents.confirm(world.tenant, "ada", token, deadline=soon()))
    assert take_agent(world, "ada", token="other", call="other") is Took.BUSY
    work = agents.call_ended(world.tenant, "ada", token, deadline=soon())
    assert world.run(work)
    assert take_agent(world, "ada", token="other", call="other") is Took.TAKEN
    # Such calls belong to no queue, and leave no figures behind.
    queues = world.client.keys(f"*{world.tenant}*queue_live*")
    assert queues == []


def test_a_lease_by_name_ends_by_itself(world: World):
    world.put("ada")
    assert take_agent(world, "ada", lease_ms=30) is Took.TAKEN
    world.wait_until_ms(world.now_ms() + 40)
    assert world.reserve("r1") is not None
