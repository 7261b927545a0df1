"""The Lua chooses whom the Python specification chooses, whatever the agents and the wish."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from router.acd.agents import Membership
from router.acd.strategies import Wish, candidates_for, choose
from router.store.scripts import Script
from rules.actions import Strategy
from rules.requirements import Requirement
from tests.integration.redis.acd_world import ANYBODY, LONG_MS, QUEUE, World, broken

CALLER = "+12125550142"
FAR_MS = 3_600_000


@dataclass
class Someone:
    """A random agent; `idle` is in ms before now, so small that ties are frequent."""

    level: int
    order: int
    skills: dict[str, int]
    idle: int
    flags: dict[str, int] = field(default_factory=dict)
    member: bool = True


@dataclass
class Asked:
    requirement: Requirement
    strategy: Strategy
    count: int
    draw: float
    excluded: frozenset[int]
    sticky: int | None
    after: str


FLAGS = st.sampled_from(
    [{}, {}, {}, {}, {"duty": 0}, {"dnd": 1}, {"disabled": 1}, {"busy": 1}, {"lapsed": 1},
     {"pause": 1}, {"paused": 1}, {"disturbed": 1}, {"phone_lost": 1}]
)  # fmt: skip
SOMEONE = st.builds(
    Someone,
    level=st.sampled_from([0, 50, 99, 100]),
    order=st.sampled_from([0, 1, 2, 100_000]),
    skills=st.dictionaries(st.sampled_from(["a", "b c", "x|y>z"]), st.sampled_from([0, 40, 80])),
    idle=st.sampled_from([0, 1, 5, 9, 10, 11, 500, 90_000]),
    flags=FLAGS,
    member=st.sampled_from([True] * 7 + [False]),
)
REQUIREMENT = st.one_of(
    st.just(ANYBODY),
    st.just(ANYBODY),
    st.builds(
        lambda skills: Requirement.of(QUEUE, skills),
        st.dictionaries(st.sampled_from(["a", "b c", "x|y>z"]), st.sampled_from([0, 40, 80])),
    ),
)
ASKED = st.builds(
    Asked,
    requirement=REQUIREMENT,
    strategy=st.sampled_from(list(Strategy)),
    count=st.integers(1, 4),
    draw=st.floats(0, 1, exclude_max=True),
    excluded=st.frozensets(st.integers(0, 9), max_size=5),
    sticky=st.none() | st.integers(0, 9),
    after=st.sampled_from(["keep", "release", "restore"]),
)


def plant(world: World, people: list[Someone]) -> None:
    now = world.now_ms() // 10 * 10
    for number, one in enumerate(people):
        queues = {QUEUE: Membership(skill_level=one.level, order=one.order)} if one.member else {}
        world.put(f"a{number}", queues=queues, skills=one.skills)
        fields: dict[str, int | str] = {"idle_since": now - one.idle}
        kind = next(iter(one.flags), "")
        if kind in {"duty", "dnd", "disabled", "phone_lost"}:
            fields |= one.flags
        elif kind in {"busy", "lapsed"}:
            until = now + FAR_MS if kind == "busy" else now - one.idle // 2
            fields |= {"activity": "reserved", "since": now - one.idle, "until": until}
        elif kind in {"pause", "paused"}:
            until = now + FAR_MS if kind == "pause" else now - one.idle // 2
            fields |= {"disabled": 1, "disabled_until": until}
        elif kind == "disturbed":
            fields["dnd_queues"] = f"\n{QUEUE}\n"
        world.plant(f"a{number}", **fields)


def expected(world: World, asked: Asked) -> list[str]:
    wish = Wish(
        requirement=asked.requirement,
        strategy=asked.strategy,
        count=asked.count,
        draw=asked.draw,
        excluded=frozenset(f"a{number}" for number in asked.excluded),
        sticky=None if asked.sticky is None else f"a{asked.sticky}",
    )
    found = candidates_for(world.records(), asked.requirement, world.turns(), world.now_ms())
    return [one.id for one in choose(found, wish)]


def the_lua_equals_the_specification(
    world: World, scripts: Mapping[str, Script], *, examples: int, shrink: bool = True
) -> None:
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=phases)
    @given(st.lists(SOMEONE, max_size=10), st.lists(ASKED, min_size=1, max_size=8))
    def property_holds(people: list[Someone], wishes: list[Asked]) -> None:
        world.begin(scripts)
        plant(world, people)
        for number, asked in enumerate(wishes):
            world.draw = asked.draw
            if asked.sticky is not None:
                key = f"cp:{{{world.tenant}}}:talked:{CALLER}"
                world.client.set(key, f"{world.now_ms()} a{asked.sticky}")
            wanted = expected(world, asked)
            reserved = world.reserve(
                f"r{number}",
                requirement=asked.requirement,
                strategy=asked.strategy,
                count=asked.count,
                exclude=[f"a{one}" for one in sorted(asked.excluded)],
                caller=None if asked.sticky is None else CALLER,
                sticky_s=60,
                lease_ms=LONG_MS,
            )
            assert list(reserved.agents if reserved else ()) == wanted
            if reserved and asked.after != "keep":
                for agent in reserved.agents:
                    keep_place = asked.after == "restore"
                    assert world.release(agent, reserved.token, keep_place=keep_place)

    property_holds()


def test_the_lua_equals_the_python_specification(world: World):
    the_lua_equals_the_specification(world, {}, examples=120)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("100 - level", "0 + level"), id="least skilled first"),
        pytest.param(("rank * IDLE_SPAN + ", "rank * IDLE_SPAN + 0 * "), id="ties by id only"),
        pytest.param(("if rank <= index then", "if rank < 0 then"), id="draws excluded ones"),
        pytest.param(("if #found == 0 and wish", "if false and wish"), id="never the excluded"),
        pytest.param(("not excluded[wish.sticky]", "true"), id="sticky though excluded"),
        pytest.param(("if wish.sticky and", "if false and"), id="no sticky"),
        pytest.param(("if at < now then --@again", "if false then"), id="old places not indexed"),
        pytest.param(("if not at or at > now then", "if not at then"), id="busy ones indexed"),
    ],
)
def test_a_strategy_that_is_not_the_specification_is_found_out(
    world: World, change: tuple[str, str]
):
    names = ("agent_reserve", "agent_put", "agent_release")
    with pytest.raises(AssertionError):
        the_lua_equals_the_specification(
            world, broken(*names, change=change), examples=300, shrink=False
        )
