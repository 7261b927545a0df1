"""Asked for together, requests get what they would get one after the other, and leave the same behind."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from router.errors import CrosspointError
from router.store import keys
from router.store.agents import Reserved
from router.store.memory import Remembering
from router.store.reserving import Asker
from router.store.scripts import Script
from tests.integration.redis.acd_world import World, broken
from tests.property.acd.test_lua_equals_python import SOMEONE, Someone, plant

REMEMBER = Remembering(b"main:user_id", b"<", b">")


@dataclass
class Request:
    """`same_as` an earlier one, by its place; `tried`: whom the call was offered to before."""

    same_as: int | None
    remembers: bool
    is_known: bool
    tried: int | None

    @property
    def is_not_new(self) -> bool:
        return self.tried is not None or (self.is_known and self.remembers)


REQUEST = st.builds(
    Request,
    same_as=st.none() | st.none() | st.none() | st.integers(0, 9),
    remembers=st.booleans(),
    is_known=st.sampled_from([False, False, False, True]),
    tried=st.none() | st.none() | st.integers(0, 9),
)


def askers_of(requests: list[Request]) -> list[Asker]:
    askers: list[Asker] = []
    for number, request in enumerate(requests):
        if request.same_as is not None and request.same_as < number:
            askers.append(askers[request.same_as])
        else:
            remember = REMEMBER if request.remembers else None
            askers.append(Asker(f"r{number}", f"c{number}", f"t{number}", "+12125550142", remember))
    return askers


def seed(world: World, requests: list[Request]) -> None:
    for number, request in enumerate(requests):
        if request.is_known:
            key = keys.call_memory(world.tenant, "main:user_id", f"c{number}")
            world.client.hset(key, "a:", "earlier")
        if request.tried is not None:
            world.client.sadd(keys.tried(world.tenant, f"c{number}"), f"a{request.tried}")


def told_of(told: object) -> object:
    if isinstance(told, Reserved):
        return (told.agents, told.token)
    return type(told) if isinstance(told, CrosspointError) else told


def left_behind(world: World) -> object:
    """Who has which call, the order of turns, what is remembered."""
    turns = world.turns()
    last = sorted((name for name in turns if turns[name] > 1e12), key=lambda name: turns[name])
    prefix = keys.prefix(world.tenant)
    memory = {
        key.decode().removeprefix(prefix): world.client.get(key)
        for key in world.client.scan_iter(f"{prefix}call_answer:*")
    }
    records = {
        record.id: (record.activity, record.token, record.call) for record in world.records()
    }
    return records, last, memory


def together_is_as_one_by_one(
    world: World, scripts: Mapping[str, Script], *, examples: int, shrink: bool = True
) -> None:
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=phases)
    @given(st.lists(SOMEONE, max_size=10), st.lists(REQUEST, min_size=2, max_size=10))
    def property_holds(people: list[Someone], requests: list[Request]) -> None:
        # What has to be asked for alone is served after the others, for who came first at one moment
        # nobody can say: a call that is not new, an agent in whose record a pause stands that is over.
        people = [one for one in people if "paused" not in one.flags]
        alone = {n for n, one in enumerate(requests) if one.is_not_new}
        order = [n for n in range(len(requests)) if n not in alone] + sorted(alone)
        requests = [requests[n] for n in order]
        askers = askers_of(requests)
        world.begin({})
        plant(world, people)
        seed(world, requests)
        one_by_one = [world.reserve_together([each])[0] for each in askers]
        expected = ([told_of(each) for each in one_by_one], left_behind(world))
        world.begin(scripts)
        plant(world, people)
        seed(world, requests)
        together = world.reserve_together(askers)
        assert ([told_of(each) for each in together], left_behind(world)) == expected

    property_holds()


def test_together_is_as_one_by_one(world: World):
    together_is_as_one_by_one(world, {}, examples=150)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("now_us + #turns", "now_us - #turns"), id="turns the wrong way round"),
        pytest.param(("call('SET', answer, ARGV[i + 7]", "call('SET', answer, ARGV[7]"),
                     id="remembered wrongly"),
        pytest.param(("call('SET', request, token", "call('SET', KEYS[2] .. i, token"),
                     id="requests forgotten"),
    ],
)  # fmt: skip
def test_what_differs_from_one_by_one_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_reserve", change=change)
    with pytest.raises(AssertionError):
        together_is_as_one_by_one(world, scripts, examples=150, shrink=False)
