"""Fair to agents, fair to callers: idle order, the round, and aging."""

import random
from collections.abc import Callable, Mapping

import pytest

from router.acd.agents import can_serve, ready_at_ms
from router.store import keys
from router.store.line import Waits
from router.store.scripts import Script
from rules.actions import Enqueue, Strategy
from rules.requirements import Requirement
from tests.integration.redis.acd_world import LONG_MS, QUEUE, World, broken, soon

SEEDS = range(4)
SKILLED = Requirement.of(QUEUE, {"spanish": 50})
AGING_MS = 1_000


def for_all_seeds(
    check: Callable[[World, Mapping[str, Script], int], None],
    world: World,
    scripts: Mapping[str, Script],
) -> None:
    for seed in SEEDS:
        check(world, scripts, seed)


def nobody_idle_longer_is_passed_over(
    world: World, scripts: Mapping[str, Script], seed: int
) -> None:
    world.begin(scripts)
    dice = random.Random(seed)
    for number in range(9):
        world.put(f"a{number}", skills={"spanish": dice.choice([0, 50, 90])})
        world.plant(f"a{number}", idle_since=world.now_ms() - dice.randrange(10_000))
    for number in range(40):
        requirement = dice.choice([Requirement(QUEUE), SKILLED])
        records = {record.id: record for record in world.records()}
        now = world.now_ms()
        idle = {
            record.id: at
            for record in records.values()
            if (at := ready_at_ms(record)) is not None
            and at <= now
            and can_serve(record, requirement)
        }
        reserved = world.reserve(f"r{number}", requirement=requirement)
        assert (reserved is None) == (not idle)
        if reserved is None:
            break
        (agent,) = reserved.agents
        assert idle[agent] == min(idle.values())
        if dice.random() < 0.8:
            keep_place = dice.random() < 0.3
            world.release(agent, reserved.token, keep_place=keep_place)
            assert not keep_place or world.ready_at(agent) == idle[agent]


@pytest.mark.parametrize("seed", SEEDS)
def test_longest_idle_never_passes_over_who_is_idle_longer(world: World, seed: int):
    nobody_idle_longer_is_passed_over(world, {}, seed)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("call('ZRANGE', ready, 0, n +", "call('ZRANGE', ready, 1, n +"), id="second"),
        pytest.param(
            ("'ZRANGE', KEYS[1], 0, (", "'ZRANGE', KEYS[1], 1, 1 + ("), id="usually second"
        ),
        pytest.param(("'idle_since', at,", "'idle_since', now,"), id="places forgotten"),
    ],
)
def test_passing_over_who_is_idle_longer_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_reserve", change=change)
    with pytest.raises(AssertionError):
        for_all_seeds(nobody_idle_longer_is_passed_over, world, scripts)


def the_round_is_even(world: World, scripts: Mapping[str, Script], seed: int) -> None:
    world.begin(scripts)
    dice = random.Random(seed)
    names = [f"a{number}" for number in range(dice.randint(2, 7))]
    for name in names:
        world.put(name)
    offers = dict.fromkeys(names, 0)
    for number in range(40):
        reserved = world.reserve(f"r{number}", strategy=Strategy.ROUND_ROBIN)
        assert reserved is not None
        (agent,) = reserved.agents
        offers[agent] += 1
        assert max(offers.values()) - min(offers.values()) <= 1
        world.release(agent, reserved.token, keep_place=dice.random() < 0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_round_robin_offers_differ_by_at_most_one(world: World, seed: int):
    the_round_is_even(world, {}, seed)


@pytest.mark.parametrize(
    "change",
    [
        ("call('ZADD', turns, about.turn or last_turn(turns), id) --@turn", ""),
        ("by.kind == 'turn' and rank\n", "by.kind == 'turn' and -rank\n"),
    ],
)
def test_an_uneven_round_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_reserve", change=change)
    with pytest.raises(AssertionError):
        for_all_seeds(the_round_is_even, world, scripts)


def overtaking_is_bounded(world: World, scripts: Mapping[str, Script], seed: int) -> None:
    """Calls with arrivals of our choosing (places kept for their callers) are served to the end."""
    world.begin(scripts)
    dice = random.Random(seed)
    world.put("ada")
    now = world.now_ms()
    came: dict[str, tuple[int, int]] = {}
    line, tenant = world.line, world.tenant
    line._aging_ms = AGING_MS
    for number in range(14):
        call, arrival = f"c{number}", now - dice.randrange(200_000)
        priority = dice.choice([0, 10, 50, 100])
        caller = f"+1212555{number:04}"
        world.client.set(keys.kept_place(tenant, QUEUE, caller), arrival, ex=60)
        wish = Enqueue(queue=QUEUE, priority=priority)
        stands = world.run(line.enqueue(tenant, call, wish, caller=caller, deadline=soon()))
        assert isinstance(stands, Waits)
        assert stands.arrival_ms == arrival
        came[call] = (arrival, priority)
    waiting = dict(came)
    while waiting:
        taken = world.run(
            line.next_for_agent(tenant, "ada", token="t", lease_ms=LONG_MS, deadline=soon())
        )
        assert taken is not None
        arrival, _ = waiting.pop(taken.call)
        for other_arrival, priority in waiting.values():
            assert arrival - other_arrival <= (100 - priority) * AGING_MS
        assert all(
            arrival <= other_arrival
            for call, (other_arrival, priority) in waiting.items()
            if priority == came[taken.call][1]
        )
        assert world.release("ada", "t")


@pytest.mark.parametrize("seed", SEEDS)
def test_aging_bounds_how_far_a_call_can_be_overtaken(world: World, seed: int):
    overtaking_is_bounded(world, {}, seed)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("arrival - ARGV[5] * ARGV[6]", "arrival - ARGV[5] * 1e8"), id="no aging"),
        pytest.param(("arrival - ARGV[5] * ARGV[6]", "-arrival"), id="last come first served"),
    ],
)
def test_unbounded_overtaking_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("line_offer_or_wait", change=change)
    with pytest.raises(AssertionError):
        for_all_seeds(overtaking_is_bounded, world, scripts)
