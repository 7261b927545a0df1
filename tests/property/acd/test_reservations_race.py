"""Racing clients never hold one agent twice, and what a dead client held comes back by itself."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from router.store.agents import Reserved, new_token, reserved_of
from router.store.reserving import Asker, Wanted
from router.store.scripts import Script
from rules.actions import Strategy
from tests.integration.redis.acd_world import ANYBODY, World, broken, soon

CLIENTS = 64
AGENTS = 24
ROUNDS = 12
LEASE_MS = 25
GROUP = 3


@dataclass
class Held:
    """What a client believes; `ending` from the moment it begins to give the agent back."""

    token: str
    until_ms: int
    confirmed: bool = False
    ending: bool = False


class Watch:
    """Knows every reservation and sees when two live ones meet."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.doubles: list[str] = []
        self.granted = self.late = 0

    def grant(self, reserved: Reserved) -> None:
        start = reserved.lease_until_ms - LEASE_MS
        for agent in reserved.agents:
            before = self.held.get(agent)
            if before and not before.ending and (before.confirmed or before.until_ms > start):
                self.doubles.append(f"{agent}: reserved while reserved")
            self.held[agent] = Held(reserved.token, reserved.lease_until_ms)
            self.granted += 1

    def confirm(self, agent: str, token: str) -> None:
        held = self.held[agent]
        if held.token != token:
            self.doubles.append(f"{agent}: confirmed though reserved by another")
        else:
            held.confirmed = True


async def one_client(
    world: World, wanted: Wanted, watch: Watch, number: int, dice: random.Random
) -> None:
    agents = world.agents
    for turn in range(ROUNDS):
        strategy, request = dice.choice(list(Strategy)), f"{number}-{turn}"
        if strategy is Strategy.LONGEST_IDLE:  # with whoever asks in the same turn of the loop
            asker = Asker(request, request, new_token())
            reserved = await agents.begin(wanted, asker, soon(), reserved_of).taken()
        else:
            reserved = await agents.reserve(
                world.tenant,
                request_id=request,
                requirement=ANYBODY,
                strategy=strategy,
                lease_ms=LEASE_MS,
                count=GROUP,
                deadline=soon(),
            )
        if reserved is None:
            await asyncio.sleep(dice.random() * LEASE_MS / 1000)
            continue
        watch.grant(reserved)
        fate = dice.random()
        if fate < 0.3:
            continue  # the client dies here; nobody tells the store
        await asyncio.sleep(dice.random() * 2 * LEASE_MS / 1000)
        agent = reserved.agents[0]
        others = [watch.held[one] for one in reserved.agents[1:]]
        ours = [held for held in others if held.token == reserved.token]
        if fate < 0.5:
            held = watch.held[agent]
            if held.token == reserved.token:
                held.ending = True
            await agents.release(
                world.tenant, agent, reserved.token, keep_place=fate < 0.4, deadline=soon()
            )
            continue
        for held in ours:
            held.ending = True  # confirming one frees the others
        if not await agents.confirm(world.tenant, agent, reserved.token, deadline=soon()):
            watch.late += 1
            continue
        watch.confirm(agent, reserved.token)
        await asyncio.sleep(dice.random() * LEASE_MS / 1000)
        if watch.held[agent].token == reserved.token:
            watch.held[agent].ending = True
        await agents.call_ended(
            world.tenant, agent, reserved.token, wrap_up_ms=dice.choice([0, 3]), deadline=soon()
        )


def nobody_is_reserved_twice(world: World, scripts: Mapping[str, Script], seed: int) -> Watch:
    world.begin(scripts)
    for number in range(AGENTS):
        world.put(f"a{number}")
    watch, wanted = Watch(), world.wanted(lease_ms=LEASE_MS)

    async def race() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                dice = random.Random(f"{seed}-{number}")
                group.create_task(one_client(world, wanted, watch, number, dice))

    world.run(race())
    assert watch.doubles == []
    return watch


@pytest.mark.parametrize("seed", range(3))
def test_racing_clients_never_hold_one_agent_twice(world: World, seed: int):
    watch = nobody_is_reserved_twice(world, {}, seed)
    assert watch.granted > CLIENTS
    assert watch.late > 0


@pytest.mark.parametrize(
    ("names", "change"),
    [
        pytest.param(
            ["agent_reserve"],
            ("activity, now, now + lease", "activity, now, now + 1"),
            id="leases too short",
        ),
        pytest.param(
            ["agent_reserve"],
            ("string.format('%.0f', now + lease)", "string.format('%.0f', now + 1)"),
            id="usual leases too short",
        ),
        pytest.param(
            ["agent_confirm"],
            ("a.token ~= ARGV[4] then return 0 end --@token-check", "false then return 0 end"),
            id="tokens not compared",
        ),
        pytest.param(
            ["agent_confirm"],
            ("engage(prefix, id, a, 'on_call', now, now + longest_ms", "engage(prefix, id, a, 'on_call', now, now + 1"),
            id="calls do not hold the agent",
        ),
    ],
)  # fmt: skip
def test_a_store_that_gives_an_agent_twice_is_found_out(
    world: World, names: list[str], change: tuple[str, str]
):
    scripts = broken(*names, change=change)

    def race_several_times() -> None:
        for seed in range(5):
            nobody_is_reserved_twice(world, scripts, seed)

    with pytest.raises(AssertionError):
        race_several_times()


def a_dead_clients_agent_comes_back(world: World, scripts: Mapping[str, Script]) -> None:
    world.begin(scripts)
    world.put("ada")
    dead = world.reserve("of the dead", lease_ms=40)
    assert dead is not None
    asked_before = None
    while asked_before is None and world.now_ms() < dead.lease_until_ms:
        asked_before = world.reserve("early", lease_ms=40)
    assert asked_before is None or asked_before.lease_until_ms - 40 >= dead.lease_until_ms
    world.wait_until_ms(dead.lease_until_ms)
    again = asked_before or world.reserve("later", lease_ms=40)
    assert again is not None
    assert again.agents == ("ada",)
    assert not world.confirm("ada", dead.token)


def test_a_client_killed_before_it_confirms_gives_the_agent_back_within_the_lease(world: World):
    a_dead_clients_agent_comes_back(world, {})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("agent_reserve", ("activity, now, now + lease", "activity, now, now + 9 * lease")),
        ("agent_reserve", ("activity, now, now + lease", "activity, now, now + lease - 30")),
        ("agent_reserve", ("'until', until_text", "'until', now + 9 * lease")),
        ("agent_confirm", ("a.token ~= ARGV[4] then return 0 end --@token-check", "false then return 0 end")),
    ],
)  # fmt: skip
def test_a_lease_that_does_not_end_on_time_is_found_out(
    world: World, name: str, change: tuple[str, str]
):
    with pytest.raises(AssertionError):
        a_dead_clients_agent_comes_back(world, broken(name, change=change))
