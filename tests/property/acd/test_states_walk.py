"""A random walk of one agent through all operations stays on the table of states."""

import random
from collections.abc import Mapping

import pytest

from router.acd.agents import (
    REST,
    TRANSITIONS,
    AgentEvent,
    AgentRecord,
    AgentState,
    effective_state,
    next_state,
    ready_at_ms,
    resting_state,
)
from router.store import keys
from router.store.agents_seen import CallSeen, PhoneSeen, StatusSeen
from router.store.scripts import Script
from tests.integration.redis.acd_world import LONG_MS, QUEUE, World, broken, soon

E = AgentEvent
STEPS = 80
TOWARDS_CALLS = {
    E.GO_ON_DUTY,
    E.CLEAR_DND,
    E.ENABLE,
    E.FIND_PHONE,
    E.RESERVE,
    E.RING,
    E.CONNECT,
    E.HANG_UP,
}
WITH_TOKEN = {E.RING, E.CONNECT, E.RELEASE, E.MISS, E.HANG_UP}


class Walk:
    """One agent, and what the platform's clock says; every step is one event of the table."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.at_ms = 0
        self.steps = 0
        self._call: str | None = None

    def record(self) -> AgentRecord:
        (record,) = self.world.records()
        return record

    async def apply(self, event: AgentEvent, token: str) -> None:
        agents, tenant = self.world.agents, self.world.tenant
        self.at_ms += 1
        match event:
            case E.GO_ON_DUTY | E.GO_OFF_DUTY:
                on = event is E.GO_ON_DUTY
                await agents.set_duty(tenant, "ada", on=on, deadline=soon())
            case E.SET_DND | E.CLEAR_DND:
                on = event is E.SET_DND
                await agents.set_do_not_disturb(tenant, "ada", on=on, deadline=soon())
            case E.DISABLE | E.ENABLE:
                on = event is E.ENABLE
                await agents.set_enabled(tenant, "ada", on=on, deadline=soon())
            case E.LOSE_PHONE | E.FIND_PHONE:
                seen = PhoneSeen.LOST if event is E.LOSE_PHONE else PhoneSeen.FREE
                await agents.observe_phone(tenant, "ada", seen=seen, pbx="pbx", deadline=soon())
            case E.RING:
                await agents.ring(tenant, "ada", token, ring_ms=LONG_MS, deadline=soon())
            case E.CONNECT:
                await agents.confirm(tenant, "ada", token, deadline=soon())
            case E.RELEASE:
                await agents.release(tenant, "ada", token, keep_place=True, deadline=soon())
            case E.MISS:
                await agents.unanswered(tenant, "ada", token, limit=10**6, deadline=soon())
            case E.HANG_UP:
                await agents.call_ended(tenant, "ada", token, wrap_up_ms=LONG_MS, deadline=soon())
            case E.END_WRAP_UP:
                await agents.end_wrap_up(tenant, "ada", soon())
            case E.SEE_RINGING | E.SEE_CONNECTED:
                seen = CallSeen.RINGING if event is E.SEE_RINGING else CallSeen.CONNECTED
                calls = [self._call or f"call {self.steps}"]
                at_ms = self.world.now_ms() + self.at_ms
                await agents.observe_call(
                    tenant, "ada", seen=seen, calls=calls, at_ms=at_ms, deadline=soon()
                )
            case E.SEE_BUSY | E.SEE_WRAP_UP | E.SEE_FREE:
                status = {
                    E.SEE_BUSY: StatusSeen.BUSY,
                    E.SEE_WRAP_UP: StatusSeen.WRAPUP,
                    E.SEE_FREE: StatusSeen.AVAILABLE,
                }[event]
                at_ms = self.world.now_ms() + self.at_ms
                await agents.observe_status(
                    tenant, "ada", status=status, at_ms=at_ms, deadline=soon()
                )
            case _:
                raise AssertionError(event)

    def _any_event(self, state: AgentState) -> AgentEvent:
        """Often one that leads towards a call: else hardly anybody would ever be on one."""
        kind = self.dice.random()
        towards = sorted(set(TRANSITIONS[state]) & TOWARDS_CALLS)
        if kind < 0.5 and towards:
            return self.dice.choice(towards)
        return self.dice.choice(sorted(TRANSITIONS[state]) if kind < 0.8 else list(AgentEvent))

    def step(self) -> None:
        self.steps += 1
        before = self.record()
        state = effective_state(before, self.world.now_ms()).state
        self._call = before.call if state in {"reserved", "ringing", "on_call"} else None
        event = self._any_event(state)
        if event is E.RESERVE:
            self.world.reserve(f"r{self.steps}")
        else:
            self.world.run(self.apply(event, before.token or "nobody's"))
        after = self.record()
        now = self.world.now_ms()
        expected = next_state(state, event)
        if event in WITH_TOKEN and before.token is None:
            expected = None  # the platform's call, not ours to end
        if event is E.HANG_UP and state is not AgentState.ON_CALL:
            expected = None  # `call_ended` is for calls; only the platform hangs up a ringing phone
        if event.startswith("see_") and before.on_duty != after.on_duty:
            # A status report is news of the duty too.
            state = resting_state(after, now) if state is resting_state(before, now) else state
            expected = next_state(state, event)
        wanted = resting_state(after, now) if expected is REST else (expected or state)
        assert effective_state(after, now).state is wanted, (state, event)
        assert self.world.ready_at("ada") == ready_at_ms(after), (state, event)


def the_walk_stays_on_the_table(world: World, scripts: Mapping[str, Script]) -> None:
    for seed in range(10):
        world.begin(scripts)
        world.put("ada")
        walk = Walk(world, random.Random(seed))
        for _ in range(STEPS):
            walk.step()


def test_a_random_walk_stays_on_the_table(world: World):
    the_walk_stays_on_the_table(world, {})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("agent_observe_call", ("\ndisabled see_connected on_call\n", "\n")),
        ("agent_ended", ("\non_call hang_up wrap_up\n", "\n")),
        ("agent_ring", ("\nreserved ring ringing\n", "\navailable ring ringing\n")),
        ("agent_duty", ("  place_and_rank(ARGV[2], ARGV[3], a, now)\n", "")),
        ("agent_phone", ("  place_and_rank(prefix, id, a, now)\n", "")),
        ("agent_reserve", ("\navailable reserve reserved\n", "\navailable reserve rest\n")),
    ],
)  # fmt: skip
def test_leaving_the_table_is_found_out(world: World, name: str, change: tuple[str, str]):
    scripts = broken(name, change=change)
    with pytest.raises(AssertionError):
        the_walk_stays_on_the_table(world, scripts)


STANDINGS: dict[str, dict[str, str | int]] = {
    "off duty": {},
    "do not disturb": {"dnd": 1},
    "not from this queue": {"dnd_queues": f"\n{QUEUE}\n"},
    "disabled": {"disabled": 1},
    "phone lost": {"phone_lost": 1},
    "on a call": {"activity": "on_call", "until": 9_999_999_999_999},
}


def a_record_wins_over_a_wrong_set(world: World, scripts: Mapping[str, Script]) -> None:
    for standing, fields in STANDINGS.items():
        world.begin(scripts)
        world.put("ada", on_duty="off duty" not in standing)
        if standing != "off duty":
            world.plant("ada", **fields)
        world.client.zadd(keys.ready(world.tenant, QUEUE), {"ada": 1})
        assert world.reserve("r") is None, standing
        ready_at = world.ready_at("ada")
        assert ready_at is None or ready_at > world.now_ms(), standing


def test_a_record_wins_over_a_wrong_set_and_puts_it_right(world: World):
    a_record_wins_over_a_wrong_set(world, {})


@pytest.mark.parametrize(
    "change",
    [
        (
            "if next_state(state_of(a, now), 'reserve') ~= 'reserved' or not at ",
            "at = at or now if false ",
        ),
        ("or is_disturbed(a, about.queue) then", "then"),
        ("if v[1] and v[2] and not (", "if v[1] and not ("),
        ("(v[3] or v[4] or v[5] or v[9])", "(v[4] or v[5] or v[9])"),
        ("(v[3] or v[4] or v[5] or v[9])", "(v[3] or v[5] or v[9])"),
        ("(v[3] or v[4] or v[5] or v[9])", "(v[3] or v[4] or v[9])"),
        ("(v[3] or v[4] or v[5] or v[9])", "(v[3] or v[4] or v[5])"),
        ("and tonumber(at) <= now then", "then"),
    ],
)
def test_a_pick_that_trusts_sets_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_reserve", change=change)
    with pytest.raises(AssertionError):
        a_record_wins_over_a_wrong_set(world, scripts)
