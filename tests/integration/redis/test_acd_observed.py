"""What a phone system reports: copies, disorder and missing reports do no harm."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from router.store import keys
from router.store.agents_seen import CallSeen, Observed, StatusSeen
from tests.integration.redis.acd_world import World, acd_world, broken, soon

S = CallSeen
CALLER = "+12125550142"
T0 = 1_770_000_000_000
STORY = [(S.RINGING, 10), (S.CONNECTED, 20), (S.HANGUP, 30)]


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def see(world: World, seen: CallSeen, at: int, *calls: str, **more: Any) -> Observed | None:
    return world.run(
        world.agents.observe_call(
            world.tenant,
            "ada",
            seen=seen,
            calls=calls or ("9200", "9100"),
            at_ms=T0 + at,
            deadline=soon(),
            **more,
        )
    )


def status(world: World, seen: StatusSeen, at: int, **more: Any) -> Observed | None:
    return world.run(
        world.agents.observe_status(
            world.tenant, "ada", status=seen, at_ms=T0 + at, deadline=soon(), **more
        )
    )


def test_a_call_of_the_platforms_own_engages_the_agent_and_ends_in_wrap_up(world: World):
    world.put("ada")
    assert see(world, S.RINGING, 10) == Observed(applied=True, state="ringing")
    assert see(world, S.CONNECTED, 20) == Observed(applied=True, state="on_call")
    assert see(world, S.HANGUP, 30, wrap_up_ms=60_000) == Observed(applied=True, state="wrap_up")


def test_a_connected_call_confirms_its_reservation_without_the_token(world: World):
    world.put("ada")
    reserved = world.reserve("r", call="9100", caller=CALLER, lease_ms=500, wrap_up_ms=60_000)
    assert reserved is not None
    assert see(world, S.CONNECTED, 20) == Observed(applied=True, state="on_call")
    assert world.confirm("ada", reserved.token)
    assert world.client.get(keys.talked(world.tenant, CALLER)).endswith(b" ada")
    assert see(world, S.HANGUP, 30) == Observed(applied=True, state="wrap_up")


def test_another_call_of_the_agent_voids_the_reservation(world: World):
    world.put("ada")
    reserved = world.reserve("r", call="9100")
    assert reserved is not None
    assert see(world, S.CONNECTED, 20, "7777") == Observed(applied=True, state="on_call")
    assert not world.confirm("ada", reserved.token)
    assert not world.client.exists(keys.request(world.tenant, "r"))


def every_disorder_ends_well(world: World, scripts: Any) -> None:
    for order in itertools.permutations(STORY):
        for repeated in (False, True):
            world.begin(scripts)
            world.put("ada")
            for seen, at in order:
                see(world, seen, at)
                if repeated:
                    again = see(world, seen, at)
                    assert again is not None
                    assert not again.applied
            assert world.state("ada") == "available", order


def test_reports_in_any_order_and_twice_leave_nobody_on_a_call_that_is_over(world: World):
    every_disorder_ends_well(world, {})


@pytest.mark.parametrize(
    "change",
    [
        ("if at <= a.seen_ms or at <= over_ms then", "if false then"),
        ("local next = is_same and next_state(state, 'hang_up') --@same-call", "local next = nil"),
    ],
)
def test_believing_every_report_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_observe_call", change=change)
    with pytest.raises(AssertionError):
        every_disorder_ends_well(world, scripts)


def test_a_late_hang_up_of_an_earlier_call_does_not_end_this_one(world: World):
    world.put("ada")
    see(world, S.CONNECTED, 20, "first")
    see(world, S.CONNECTED, 40, "second")
    assert see(world, S.HANGUP, 30, "first") == Observed(applied=False, state="on_call")
    assert see(world, S.HANGUP, 50, "second") == Observed(applied=True, state="available")


def test_a_second_call_that_rings_does_not_end_the_first(world: World):
    world.put("ada")
    see(world, S.CONNECTED, 20, "first")
    assert see(world, S.RINGING, 30, "second") == Observed(applied=False, state="on_call")
    assert see(world, S.HANGUP, 25, "first") == Observed(applied=True, state="available")


def test_a_missing_hang_up_holds_the_agent_only_so_long(world: World):
    world.put("ada")
    see(world, S.CONNECTED, 20, longest_call_ms=20)
    assert world.state("ada") == "on_call"
    world.wait_until_ms(world.now_ms() + 21)
    assert world.state("ada") == "available"
    assert world.reserve("r") is not None


def test_a_missed_call_counts_as_unanswered(world: World):
    world.put("ada")
    world.reserve("r", call="9100")
    see(world, S.RINGING, 10)
    assert see(world, S.MISSED, 20, limit=1) == Observed(applied=True, state="disabled")
    assert world.client.sismember(keys.tried(world.tenant, "9100"), "ada")


def test_a_caller_who_gives_up_costs_the_agent_no_place(world: World):
    world.put("ada")
    world.plant("ada", idle_since=1_000)
    world.reserve("r", call="9100")
    see(world, S.RINGING, 10)
    assert see(world, S.HANGUP, 20) == Observed(applied=True, state="available")
    assert world.ready_at("ada") == 1_000


def test_another_call_that_connects_and_ends_leaves_the_agent_free(world: World):
    world.put("ada")
    world.reserve("r", call="9100")
    see(world, S.CONNECTED, 10, "7777")
    see(world, S.HANGUP, 20, "7777")
    assert world.reserve("r2") is not None


def test_a_call_observed_on_its_way_ends_where_the_agent_rests(world: World):
    world.put("ada", on_duty=False)
    see(world, S.CONNECTED, 20)
    assert world.state("ada") == "on_call"
    assert see(world, S.HANGUP, 30) == Observed(applied=True, state="off_duty")


def test_status_reports_change_duty_and_do_not_disturb(world: World):
    world.put("ada", on_duty=False)
    assert status(world, StatusSeen.AVAILABLE, 10) == Observed(applied=True, state="available")
    quiet = status(world, StatusSeen.AVAILABLE, 20, do_not_disturb=True)
    assert quiet == Observed(applied=True, state="do_not_disturb")
    off = status(world, StatusSeen.UNAVAILABLE, 30, reason="lunch", do_not_disturb=False)
    assert off == Observed(applied=True, state="off_duty")
    assert world.records()[0].reason == "lunch"


def test_an_older_or_repeated_status_changes_nothing(world: World):
    world.put("ada", on_duty=False)
    status(world, StatusSeen.AVAILABLE, 20)
    late = status(world, StatusSeen.UNAVAILABLE, 10)
    assert late == Observed(applied=False, state="available")
    same = status(world, StatusSeen.UNAVAILABLE, 20)
    assert same == Observed(applied=False, state="available")


def test_a_status_ends_a_call_whose_hang_up_was_lost_but_no_reservation(world: World):
    world.put("ada")
    see(world, S.CONNECTED, 20)
    assert status(world, StatusSeen.AVAILABLE, 15) == Observed(applied=True, state="on_call")
    assert status(world, StatusSeen.AVAILABLE, 30) == Observed(applied=True, state="available")
    world.reserve("r")
    assert status(world, StatusSeen.AVAILABLE, 40) == Observed(applied=True, state="reserved")
    assert status(world, StatusSeen.OCCUPIED, 50) == Observed(applied=True, state="reserved")


def test_busy_and_wrap_up_reports_keep_calls_away(world: World):
    world.put("ada")
    assert status(world, StatusSeen.BUSY, 10) == Observed(applied=True, state="on_call")
    assert world.reserve("r1") is None
    assert status(world, StatusSeen.WRAPUP, 20) == Observed(applied=True, state="wrap_up")
    assert world.reserve("r2") is None
    assert status(world, StatusSeen.AVAILABLE, 30) == Observed(applied=True, state="available")


DECADES_MS = 10**14 - 1 - T0


def a_report_dated_in_the_future_blinds_nobody(world: World, scripts: Any) -> None:
    world.begin(scripts)
    world.put("ada")
    assert see(world, S.RINGING, DECADES_MS, "9001") == Observed(applied=True, state="ringing")
    assert see(world, S.HANGUP, DECADES_MS, "9001") == Observed(applied=True, state="available")
    soon_ms = world.now_ms() + 100 - T0  # after those, by a clock that is right
    assert see(world, S.RINGING, soon_ms, "9009") == Observed(applied=True, state="ringing")
    assert see(world, S.CONNECTED, soon_ms + 1, "9009") == Observed(applied=True, state="on_call")
    assert see(world, S.CONNECTED, DECADES_MS, "9001") == Observed(applied=False, state="on_call")
    assert world.reserve("r") is None


def test_a_call_event_dated_in_the_future_blinds_nobody(world: World):
    a_report_dated_in_the_future_blinds_nobody(world, {})


@pytest.mark.parametrize(
    "change",
    [
        ("at, a.seen_ms = reported_ms(told, a.seen_ms, now)", "at = told"),
        ("if at ~= told and over_ms > 0 then", "if false then"),
    ],
)
def test_believing_a_date_in_the_future_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_observe_call", change=change)
    with pytest.raises(AssertionError):
        a_report_dated_in_the_future_blinds_nobody(world, scripts)


def test_a_clock_that_is_fast_orders_its_reports_by_their_coming(world: World):
    world.put("ada")
    hour = world.now_ms() + 3_600_000 - T0
    for _ in range(3):
        assert see(world, S.RINGING, hour, "9001") == Observed(applied=True, state="ringing")
        assert see(world, S.CONNECTED, hour, "9001") == Observed(applied=True, state="on_call")
        assert status(world, StatusSeen.WRAPUP, hour) == Observed(applied=True, state="wrap_up")
        assert status(world, StatusSeen.AVAILABLE, hour) == Observed(
            applied=True, state="available"
        )


def test_what_was_kept_before_the_clock_was_set_back_makes_nothing_late(world: World):
    world.put("ada", on_duty=False)
    world.plant("ada", seen_ms=10**14 - 1, status_ms=10**14 - 1, duty_set_ms=10**14 - 1)
    assert status(world, StatusSeen.AVAILABLE, 10) == Observed(applied=True, state="available")
    assert see(world, S.CONNECTED, 20) == Observed(applied=True, state="on_call")


def test_a_status_dated_in_the_future_makes_no_later_one_late(world: World):
    world.put("ada")
    status(world, StatusSeen.UNAVAILABLE, DECADES_MS)
    soon_ms = world.now_ms() + 100 - T0
    assert status(world, StatusSeen.AVAILABLE, soon_ms) == Observed(applied=True, state="available")


def set_duty(world: World, *, on: bool, reason: str | None = None) -> None:
    world.run(world.agents.set_duty(world.tenant, "ada", on=on, reason=reason, deadline=soon()))


def what_was_set_by_hand_outlives_older_reports(
    world: World, scripts: Any, *, before_ms: int = 600_000
) -> None:
    world.begin(scripts)
    world.put("ada")
    set_duty(world, on=False, reason="lunch")
    set_at = int(world.client.hget(keys.agent(world.tenant, "ada"), "duty_set_ms")) - T0
    late = status(world, StatusSeen.AVAILABLE, set_at - before_ms)
    assert late == Observed(applied=False, state="off_duty")
    assert world.records()[0].reason == "lunch"
    assert world.reserve("r") is None
    since = status(world, StatusSeen.AVAILABLE, set_at + 1)
    assert since == Observed(applied=True, state="available")


@pytest.mark.parametrize("before_ms", [600_000, 0])
def test_a_status_from_before_duty_was_set_by_hand_does_not_undo_it(world: World, before_ms: int):
    what_was_set_by_hand_outlives_older_reports(world, {}, before_ms=before_ms)


@pytest.mark.parametrize(
    "change", [("not is_of_now and", "false and"), ("if is_of_now then", "do")]
)
def test_undoing_what_was_set_by_hand_is_found_out(world: World, change: tuple[str, str]):
    scripts = broken("agent_observe_status", change=change)
    with pytest.raises(AssertionError):
        what_was_set_by_hand_outlives_older_reports(world, scripts)


def test_a_status_from_before_coming_on_duty_still_tells_that_the_agent_is_busy(world: World):
    world.put("ada", on_duty=False)
    set_duty(world, on=True)
    assert status(world, StatusSeen.UNAVAILABLE, 10) == Observed(applied=False, state="available")
    assert status(world, StatusSeen.BUSY, 20) == Observed(applied=True, state="on_call")
    assert status(world, StatusSeen.AVAILABLE, 30) == Observed(applied=True, state="available")


def test_reports_about_nobody_we_know_are_ignored(world: World):
    assert see(world, S.CONNECTED, 20) is None
    assert status(world, StatusSeen.BUSY, 20) is None
