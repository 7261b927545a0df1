"""Whatever times a phone system has given, the next report of what happens now is believed."""

import random

import pytest

from router.store.agents_seen import CallSeen, Observed, StatusSeen
from tests.integration.redis.acd_world import World, broken, soon

ROUNDS = 25
REPORTS = 12
CALLS = 3
AGO_MS = (0, 1, 20_000, 86_400_000, 10**12)
AHEAD_MS = (6_000, 60_000, 86_400_000, 10**13)


def call(world: World, seen: CallSeen, at_ms: int, *calls: str) -> Observed | None:
    return world.run(
        world.agents.observe_call(
            world.tenant, "ada", seen=seen, calls=calls, at_ms=at_ms, deadline=soon()
        )
    )


def status(world: World, seen: StatusSeen, at_ms: int) -> Observed | None:
    return world.run(
        world.agents.observe_status(world.tenant, "ada", status=seen, at_ms=at_ms, deadline=soon())
    )


def anything(world: World, dice: random.Random) -> None:
    """A report with a time that is past or absurd; sometimes somebody sets the duty by hand."""
    ago_or_ahead = dice.choice([*(-ms for ms in AGO_MS), *AHEAD_MS])
    at_ms = world.now_ms() + ago_or_ahead
    kind = dice.random()
    if kind < 0.5:
        call(world, dice.choice(list(CallSeen)), at_ms, f"call {dice.randrange(CALLS)}")
    elif kind < 0.9:
        status(world, dice.choice(list(StatusSeen)), at_ms)
    else:
        on = dice.random() < 0.5
        world.run(world.agents.set_duty(world.tenant, "ada", on=on, deadline=soon()))


def what_happens_now_is_believed(world: World, scripts: dict[str, object]) -> None:
    for seed in range(ROUNDS):
        world.begin(scripts)  # type: ignore[arg-type]  # broken() says what they are
        world.put("ada")
        dice = random.Random(seed)
        for _ in range(REPORTS):
            anything(world, dice)
        now_ms = world.now_ms() + 2 * REPORTS  # reports without a time count as they come
        for number in range(CALLS):  # what rings ends by its own hang-up only
            call(world, CallSeen.HANGUP, now_ms - 1, f"call {number}")
        assert status(world, StatusSeen.AVAILABLE, now_ms) == Observed(
            applied=True, state="available"
        ), seed
        ringing = call(world, CallSeen.RINGING, now_ms + 1, "new")
        assert ringing == Observed(applied=True, state="ringing"), seed
        connected = call(world, CallSeen.CONNECTED, now_ms + 2, "new")
        assert connected == Observed(applied=True, state="on_call"), seed
        assert world.reserve("r") is None, seed
        assert call(world, CallSeen.HANGUP, now_ms + 3, "new") == Observed(
            applied=True, state="available"
        ), seed
        off = status(world, StatusSeen.UNAVAILABLE, now_ms + 4)
        assert off == Observed(applied=True, state="off_duty"), seed


def test_what_happens_now_is_believed_whatever_was_told_before(world: World):
    what_happens_now_is_believed(world, {})


@pytest.mark.parametrize("name", ["agent_observe_call", "agent_observe_status"])
def test_keeping_a_time_from_the_future_is_found_out(world: World, name: str):
    scripts = broken(name, change=("local AHEAD_MS = 5000", "local AHEAD_MS = 1e15"))
    with pytest.raises(AssertionError):
        what_happens_now_is_believed(world, dict(scripts))
