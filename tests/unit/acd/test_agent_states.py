"""The table of agents' states: one test per cell, the rules around it, and the copy in Lua."""

from importlib import resources

import msgspec
import pytest

from router.acd.agents import (
    ACTIVITIES,
    REST,
    TRANSITIONS,
    AgentEvent,
    AgentRecord,
    AgentState,
    Membership,
    can_serve,
    effective_state,
    is_ready,
    next_state,
    ready_at_ms,
    resting_state,
)
from rules.requirements import Requirement

# One row per state, one column per event; "-" is refused.
GRID = """
event          off_duty  available do_not_disturb disabled  unreachable reserved  ringing   on_call   wrap_up
go_on_duty     rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
go_off_duty    rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
set_dnd        rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
clear_dnd      rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
disable        rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
enable         rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
lose_phone     rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
find_phone     rest      rest      rest           rest      rest        reserved  ringing   on_call   wrap_up
reserve        -         reserved  -              -         -           -         -         -         -
ring           -         -         -              -         -           ringing   ringing   -         -
connect        -         -         -              -         -           on_call   on_call   on_call   -
release        -         -         -              -         -           rest      rest      -         -
miss           -         -         -              -         -           rest      rest      -         -
hang_up        -         -         -              -         -           rest      rest      wrap_up   -
end_wrap_up    -         -         -              -         -           -         -         -         rest
see_ringing    ringing   ringing   ringing        ringing   ringing     ringing   ringing   -         ringing
see_connected  on_call   on_call   on_call        on_call   on_call     on_call   on_call   on_call   on_call
see_busy       on_call   on_call   on_call        on_call   on_call     -         -         on_call   on_call
see_wrap_up    wrap_up   wrap_up   wrap_up        wrap_up   wrap_up     -         -         wrap_up   wrap_up
see_free       rest      rest      rest           rest      rest        -         -         rest      rest
"""


def cells() -> list[tuple[str, str, str]]:
    head, *rows = [line.split() for line in GRID.strip().splitlines()]
    return [
        (state, row[0], result)
        for row in rows
        for state, result in zip(head[1:], row[1:], strict=True)
    ]


@pytest.mark.parametrize(("state", "event", "result"), cells())
def test_an_event_leads_where_the_table_says(state: str, event: str, result: str):
    expected = None if result == "-" else result
    assert next_state(AgentState(state), AgentEvent(event)) == expected


def test_the_grid_names_every_cell():
    assert {(state, event) for state, event, _ in cells()} == {
        (state.value, event.value) for state in AgentState for event in AgentEvent
    }


def test_the_lua_has_the_same_table():
    lua = (resources.files("router.store") / "lua" / "_agent.lua").read_text()
    table = lua.split("local TRANSITIONS = [[\n\n")[1].split("]]")[0]
    rows = {tuple(line.split()) for line in table.strip().splitlines()}
    assert rows == {
        (state.value, event.value, result.value)
        for state, results in TRANSITIONS.items()
        for event, result in results.items()
    }


ADA = AgentRecord(
    id="ada", on_duty=True, idle_since_ms=1_000, queues={"q": Membership()}, skills={"spanish": 60}
)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, AgentState.AVAILABLE),
        ({"on_duty": False}, AgentState.OFF_DUTY),
        ({"do_not_disturb": True}, AgentState.DO_NOT_DISTURB),
        ({"disabled": True}, AgentState.DISABLED),
        ({"disabled": True, "disabled_until_ms": 5_001}, AgentState.DISABLED),
        ({"disabled": True, "disabled_until_ms": 5_000}, AgentState.AVAILABLE),
        ({"on_duty": False, "do_not_disturb": True, "disabled": True}, AgentState.OFF_DUTY),
        ({"do_not_disturb": True, "disabled": True}, AgentState.DISABLED),
    ],
)
def test_flags_say_where_an_agent_rests(change: dict[str, object], state: AgentState):
    assert resting_state(msgspec.structs.replace(ADA, **change), 5_000) is state


@pytest.mark.parametrize("activity", sorted(ACTIVITIES))
def test_an_activity_lasts_until_its_end_and_not_a_moment_longer(activity: AgentState):
    record = msgspec.structs.replace(
        ADA, activity=activity, activity_since_ms=2_000, until_ms=5_000
    )
    assert effective_state(record, 4_999).state is activity
    assert effective_state(record, 4_999).since_ms == 2_000
    assert effective_state(record, 5_000).state is AgentState.AVAILABLE
    assert effective_state(record, 5_000).since_ms == 5_000


def test_an_agent_who_went_off_duty_during_a_call_is_off_duty_after_it():
    record = msgspec.structs.replace(
        ADA, on_duty=False, activity=AgentState.ON_CALL, until_ms=5_000
    )
    assert effective_state(record, 4_999).state is AgentState.ON_CALL
    assert effective_state(record, 5_000).state is AgentState.OFF_DUTY


@pytest.mark.parametrize(
    ("change", "ready_at"),
    [
        ({}, 1_000),
        ({"activity": AgentState.RESERVED, "until_ms": 9_000}, 9_000),
        ({"disabled": True, "disabled_until_ms": 7_000}, 7_000),
        ({"disabled": True}, None),
        ({"on_duty": False}, None),
        ({"do_not_disturb": True}, None),
    ],
)
def test_an_agent_is_ready_when_everything_timed_has_ended(
    change: dict[str, object], ready_at: int | None
):
    assert ready_at_ms(msgspec.structs.replace(ADA, **change)) == ready_at


def test_only_members_with_the_skills_who_want_calls_of_the_queue_can_serve():
    disturbed = msgspec.structs.replace(ADA, queues={"q": Membership(do_not_disturb=True)})
    assert can_serve(ADA, Requirement.of("q", {"spanish": 60}))
    assert not can_serve(ADA, Requirement.of("q", {"spanish": 61}))
    assert not can_serve(ADA, Requirement.of("q", {"french": 0}))
    assert not can_serve(ADA, Requirement("other"))
    assert not can_serve(disturbed, Requirement("q"))
    assert is_ready(ADA, Requirement("q"), 1_000)
    assert not is_ready(ADA, Requirement("q"), 999)


def test_rest_is_no_state():
    assert REST.value not in set(AgentState)
