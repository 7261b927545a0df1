"""Calls and agents are matched as the Python specification says, from both sides."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from router.acd.agents import AgentRecord, is_ready
from router.acd.line import AGING_MS, WaitingCall, call_for, in_order
from router.store import keys
from router.store.line import Offered, Waits
from router.store.scripts import Script
from rules.actions import Enqueue, Relax, Strategy
from rules.requirements import Requirement
from tests.integration.redis.acd_world import LONG_MS, QUEUE, World, broken, soon

SKILLS = ["a", "b"]
LEVELS = st.dictionaries(st.sampled_from(SKILLS), st.sampled_from([10, 90]), max_size=2)


@dataclass
class Caller:
    waited_s: int
    priority: int
    skills: dict[str, int]
    relax_s: int | None
    tried_by: frozenset[int]


CALLER = st.builds(
    Caller,
    waited_s=st.sampled_from([0, 1, 60, 61, 600]),
    priority=st.sampled_from([0, 1, 10, 100]),
    skills=LEVELS,
    relax_s=st.none() | st.sampled_from([30, 120]),
    tried_by=st.frozensets(st.integers(0, 3), max_size=2),
)


def wish_of(caller: Caller) -> Enqueue:
    relax = () if caller.relax_s is None else (Relax(after_s=caller.relax_s, skills={}),)
    return Enqueue(queue=QUEUE, priority=caller.priority, skills=caller.skills, relax=relax)


def stand(world: World, name: str, caller: Caller, *, take: bool) -> tuple[WaitingCall, object]:
    """Have the call wait since then and let it ask; what the store said."""
    line, tenant, wish = world.line, world.tenant, wish_of(caller)
    number = "+1" + name.encode().hex()
    arrival = world.now_ms() - caller.waited_s * 1000
    world.client.set(keys.kept_place(tenant, QUEUE, number), arrival, ex=60)
    for agent in caller.tried_by:
        world.client.sadd(keys.tried(tenant, name), f"a{agent}")
    call = WaitingCall(
        id=name,
        requirement=Requirement.of(QUEUE, caller.skills),
        arrival_ms=arrival,
        priority=caller.priority,
        relax=wish.relax,
        tried=frozenset(f"a{agent}" for agent in caller.tried_by),
    )

    async def ask() -> object:
        if not take:
            return await line.enqueue(tenant, name, wish, caller=number, deadline=soon())
        return await line.offer_or_wait(
            tenant,
            name,
            wish,
            strategy=Strategy.LONGEST_IDLE,
            lease_ms=LONG_MS,
            token=name,
            caller=number,
            deadline=soon(),
        )

    return call, world.run(ask())


def matching_follows_the_specification(
    world: World, scripts: Mapping[str, Script], *, examples: int
) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(st.lists(LEVELS, min_size=1, max_size=4), st.lists(CALLER, min_size=1, max_size=7))
    def freed_agents_take_whom_they_should(
        people: list[dict[str, int]], callers: list[Caller]
    ) -> None:
        world.begin(scripts)
        for number, skills in enumerate(people):
            world.put(f"a{number}", skills=skills)
        calls = {}
        for number, caller in enumerate(callers):
            name = f"c{number}"
            calls[name], stands = stand(world, name, caller, take=False)
            assert isinstance(stands, Waits)
            ids = [call.id for call in in_order(calls.values(), AGING_MS)]
            assert stands.position == ids.index(name) + 1
        for record in world.records():
            wanted = call_for(record, list(calls.values()), world.now_ms(), AGING_MS)
            taken = world.run(
                world.line.next_for_agent(
                    world.tenant, record.id, token="t", lease_ms=LONG_MS, deadline=soon()
                )
            )
            assert (taken and taken.call) == (wanted and wanted.id)
            if taken:
                del calls[taken.call]

    freed_agents_take_whom_they_should()


def calls_leave_agents_to_those_before_them(
    world: World, scripts: Mapping[str, Script], *, examples: int
) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(
        st.lists(LEVELS, min_size=1, max_size=4), st.lists(CALLER, min_size=1, max_size=5), CALLER
    )
    def holds(people: list[dict[str, int]], callers: list[Caller], newest: Caller) -> None:
        world.begin(scripts)
        for number, skills in enumerate(people):
            world.put(f"a{number}", skills=skills)
        before = {}
        for number, caller in enumerate(callers):
            before[f"c{number}"], _ = stand(world, f"c{number}", caller, take=False)
        agents = {record.id: record for record in world.records()}
        call, answer = stand(world, "new", newest, take=True)
        now = world.now_ms()
        if isinstance(answer, Offered):
            (agent,) = answer.reserved.agents
            assert someone_else_serves_those_before(agent, call, before, agents, now)
        else:
            assert isinstance(answer, Waits)
            for agent in answer.wake:
                first = call_for(agents[agent], list(before.values()), now, AGING_MS)
                assert first is not None

    holds()


def someone_else_serves_those_before(
    taken: str,
    call: WaitingCall,
    before: Mapping[str, WaitingCall],
    agents: Mapping[str, AgentRecord],
    now: int,
) -> bool:
    """Whether every call that this agent would have taken first finds another ready agent."""
    waiting = [one for one in before.values() if taken not in one.tried or taken in call.tried]
    rivals = 0
    while True:
        first = call_for(agents[taken], [call, *waiting], now, AGING_MS)
        if first is None or first.id == call.id:
            break
        waiting.remove(first)
        rivals += 1
    ready = [one for one in agents.values() if is_ready(one, Requirement(QUEUE), now)]
    return rivals < len(ready)


def test_freed_agents_take_the_calls_the_specification_names(world: World):
    matching_follows_the_specification(world, {}, examples=100)


def test_a_call_takes_no_agent_whom_calls_before_it_need(world: World):
    calls_leave_agents_to_those_before_them(world, {}, examples=100)


@pytest.mark.parametrize(
    ("names", "change"),
    [
        pytest.param(["line_next"], ("at > best_at or", "at < best_at or"), id="worst line first"),
        pytest.param(["line_next"], (", id) == 0 then", ", id) >= 0 then"), id="tried forgotten"),
        pytest.param(
            ["line_offer_or_wait"], ("arrival - ARGV[5] * ARGV[6]", "arrival"), id="no priority"
        ),
    ],
)
def test_a_wrong_match_is_found_out(world: World, names: list[str], change: tuple[str, str]):
    scripts = broken(*names, change=change)
    with pytest.raises(AssertionError):
        matching_follows_the_specification(world, scripts, examples=300)


def test_overtaking_at_the_counter_is_found_out(world: World):
    change = ("if first and first ~= id then --@fair", "if false then")
    scripts = broken("line_offer_or_wait", change=change)
    with pytest.raises(AssertionError):
        calls_leave_agents_to_those_before_them(world, scripts, examples=300)
