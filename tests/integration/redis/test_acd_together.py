"""Reservations that begin in the same turn of the loop are one command, and are answered one by one."""

import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest

from router.deadline import Deadline
from router.errors import (
    CrosspointError,
    OutcomeUnknownError,
    RememberedError,
    StoreDownError,
    StoreRefusedError,
)
from router.store import keys
from router.store.agents import Reserved, reserved_of
from router.store.memory import Remembering
from router.store.reserving import Asker, Reserving
from router.store.together import MOST_TOGETHER
from rules.requirements import Requirement
from tests.integration.redis.acd_world import World, acd_world, agent_of, soon

FIRST = Remembering(b"main:user_id", b'{"agent":"', b'","level":"full"}')
BUSY = """
local function now() local t = redis.call('TIME') return t[1] * 1e3 + t[2] / 1e3 end
local till = now() + 300
repeat until now() >= till
"""
NAMES = ("ada", "bob", "cleo", "dana")


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        for number, name in enumerate(NAMES):
            world.put(name)
            world.plant(name, idle_since=1_000 + number)
        world.reserve("so that the script is known", requirement=Requirement("nobody's"))
        yield world


def askers(*requests: str) -> list[Asker]:
    return [Asker(request, f"call-{request}", f"token-{request}") for request in requests]


def scripts_run(world: World) -> int:
    return int(world.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def test_they_are_one_script_and_each_gets_who_is_idle_longest_of_those_left(world: World):
    before = scripts_run(world)
    told = world.reserve_together(askers("r0", "r1", "r2", "r3", "r4"))
    assert scripts_run(world) == before + 1
    assert [agent_of(each) for each in told] == ["ada", "bob", "cleo", "dana", None]
    turns = world.turns()
    assert sorted(turns, key=lambda name: turns[name]) == list(NAMES)
    assert [world.state(name) for name in NAMES] == ["reserved"] * 4
    assert world.release("bob", "token-r1")


def test_a_large_crowd_is_several_scripts(world: World):
    before = scripts_run(world)
    told = world.reserve_together(askers(*map(str, range(2 * MOST_TOGETHER + 1))))
    assert scripts_run(world) == before + 3
    assert [agent_of(each) for each in told[:5]] == [*NAMES, None]


def test_the_store_begins_with_the_first_ones_while_others_are_still_coming(world: World):
    async def ask() -> None:
        wanted, requests = world.wanted(), [f"r{number}" for number in range(MOST_TOGETHER)]
        begun = [
            world.agents.begin(wanted, each, soon(), reserved_of) for each in askers(*requests)
        ]
        end = time.monotonic() + 5  # the loop gets no turn meanwhile
        while not world.client.exists(keys.request(world.tenant, "r0")):
            assert time.monotonic() < end, "nothing was written yet"
        await asyncio.gather(*(each.taken() for each in begun))

    world.run(ask())


def test_the_same_request_twice_gets_the_same_agent(world: World):
    told = world.reserve_together(askers("r0", "r1", "r0"))
    assert [agent_of(each) for each in told] == ["ada", "bob", "ada"]
    again = world.reserve_together(askers("r1", "r5"))
    assert [agent_of(each) for each in again] == ["bob", "cleo"]


def test_only_who_is_remembered_is_sent_away_and_the_others_are_remembered_from_now_on(
    world: World,
):
    known = keys.call_memory(world.tenant, "main:user_id", "known")
    told_known = keys.call_answer(world.tenant, "main:user_id", "answered")
    new = keys.call_answer(world.tenant, "main:user_id", "new")
    world.client.hset(known, "a:", "{}")
    world.client.set(told_known, "{}")
    told = world.reserve_together(
        [
            Asker("r0", "known", "t0", None, FIRST),
            Asker("r3", "answered", "t3", None, FIRST),
            Asker("r1", "new", "t1", None, FIRST),
            Asker("r2", "newer", "t2"),
        ]
    )
    assert [isinstance(each, RememberedError) for each in told] == [True, True, False, False]
    assert [agent_of(each) for each in told[2:]] == ["ada", "bob"]
    assert world.client.get(new) == b'{"agent":"ada","level":"full"}'
    assert 0 < world.client.pttl(new) <= 900_000


def test_who_did_not_answer_a_call_before_is_passed_over_for_that_call_only(world: World):
    world.client.sadd(keys.tried(world.tenant, "call-r0"), "ada")
    told = world.reserve_together(askers("r0", "r1"))
    assert {agent_of(each) for each in told} == {"ada", "bob"}
    assert agent_of(told[1]) == "ada"


def test_a_wrong_place_in_the_line_of_the_idle_is_put_right_and_nobody_is_lost(world: World):
    world.client.hset(keys.agent(world.tenant, "ada"), "dnd", 1)
    told = world.reserve_together(askers("r0", "r1", "r2", "r3"))
    assert sorted(str(agent_of(each)) for each in told) == ["None", "bob", "cleo", "dana"]
    assert world.ready_at("ada") is None


def test_a_requirement_that_is_not_registered_yet_is_registered_on_the_way(world: World):
    wanted = Requirement.of("support", {"german": 1})
    world.put("eve", skills={"german": 80})
    told = world.reserve_together(askers("r0", "r1"), requirement=wanted)
    assert sorted(str(agent_of(each)) for each in told) == ["None", "eve"]


def test_a_store_that_has_forgotten_the_script_learns_it_again(world: World):
    world.client.script_flush()
    told = world.reserve_together(askers("r0", "r1", "r2"))
    assert sorted(str(agent_of(each)) for each in told) == ["ada", "bob", "cleo"]


def test_a_deadline_that_has_passed_on_the_store_s_clock_reserves_nobody_for_that_one(world: World):
    """The first one's counts on the wire; in the script each has its own."""

    async def ask() -> Sequence[Reserved | BaseException | None]:
        wanted = world.wanted()
        link = world.links.link_for(world.tenant)
        late, good = askers("late", "good")
        begun = [world.agents.begin(wanted, late, soon(), reserved_of)]
        begun[0].rest = begun[0].rest.replace(
            b"%d" % link.redis_deadline_ms(begun[0].deadline), b"1000000000000"
        )
        begun.append(world.agents.begin(wanted, good, soon(), reserved_of))
        return await asyncio.gather(*(each.taken() for each in begun), return_exceptions=True)

    expired, taken = world.run(ask())
    assert isinstance(expired, CrosspointError)
    assert agent_of(taken) == "ada"


def test_who_has_gone_before_the_answer_gives_the_agent_back_and_the_others_keep_theirs(
    world: World,
):
    async def ask() -> list[Reserved | None]:
        wanted = world.wanted()
        begun = [
            world.agents.begin(wanted, each, soon(), reserved_of) for each in askers("r0", "r1")
        ]
        tasks = [asyncio.create_task(each.taken()) for each in begun]
        await asyncio.sleep(0)
        tasks[0].cancel()
        kept = await tasks[1]
        await asyncio.gather(tasks[0], return_exceptions=True)
        assert tasks[0].cancelled()
        return [kept]

    (kept,) = world.run(ask())
    assert agent_of(kept) == "bob"
    world.wait_for(lambda: world.state("ada") == "available")
    assert world.state("bob") == "reserved"


def test_when_the_store_stalls_all_fail_in_time_and_what_it_did_late_is_given_back(world: World):
    async def ask() -> Sequence[Reserved | BaseException | None]:
        link = world.links.link_for(world.tenant)
        slow = link.call("EVAL", BUSY, 0, deadline=soon())
        await asyncio.sleep(0.05)
        wanted = world.wanted()
        deadline = Deadline(asyncio.get_running_loop().time() + 0.05)
        begun = [
            world.agents.begin(wanted, each, deadline, reserved_of) for each in askers("r0", "r1")
        ]
        # Reserved all the same: for the store there is time left.
        for each in begun:
            each.rest = each.rest.replace(
                b"%d" % link.redis_deadline_ms(deadline), b"%d" % (link.redis_deadline_ms(soon()))
            )
        told = await asyncio.gather(*(each.taken() for each in begun), return_exceptions=True)
        assert not slow.done()
        await slow
        return told

    told = world.run(ask())
    assert [type(each) for each in told] == [OutcomeUnknownError] * 2
    world.wait_for(lambda: not world.client.exists(keys.request(world.tenant, "r0")))
    world.wait_for(lambda: [world.state(name) for name in NAMES] == ["available"] * 4)


def test_without_a_connection_each_is_told_so_at_once(world: World):
    async def ask() -> Sequence[Reserved | BaseException | None]:
        await world.links.close()
        wanted = world.wanted()
        begun: list[Reserving[Reserved]] = [
            world.agents.begin(wanted, each, soon(), reserved_of) for each in askers("r0", "r1")
        ]
        calls: list[object] = []
        for each in begun:
            each.then(calls.append)
        await asyncio.sleep(0)
        assert calls == begun
        return await asyncio.gather(*(each.taken() for each in begun), return_exceptions=True)

    assert [type(each) for each in world.run(ask())] == [StoreDownError] * 2


def test_a_reply_that_makes_no_sense_is_an_error_for_each(world: World):
    async def ask() -> Sequence[Reserved | BaseException | None]:
        wanted = world.wanted()
        begun = [
            world.agents.begin(wanted, each, soon(), reserved_of) for each in askers("r0", "r1")
        ]
        together = world.agents._together
        assert together is not None
        together.set_result([[b"1", b"token", b"ada"], None, None])
        return await asyncio.gather(*(each.taken() for each in begun), return_exceptions=True)

    assert [type(each) for each in world.run(ask())] == [StoreRefusedError] * 2
    world.wait_for(lambda: [world.state(name) for name in NAMES] == ["available"] * 4)


def test_going_on_that_fails_is_reported_and_harms_nobody_else(world: World):
    async def ask() -> tuple[Reserved | None, list[object]]:
        reported: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        wanted = world.wanted()
        one, two = (
            world.agents.begin(wanted, each, soon(), reserved_of) for each in askers("r0", "r1")
        )
        one.then(lambda _: {}["missing"])
        taken = await two.taken()
        loop.set_exception_handler(None)
        return taken, reported

    taken, reported = world.run(ask())
    assert agent_of(taken) == "bob"
    assert [type(each) for each in reported] == [KeyError]
