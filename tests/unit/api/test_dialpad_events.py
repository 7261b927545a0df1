"""Dialpad's events, read from bodies in the shape of the field tables."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.platforms.dialpad.events import (
    AgentCallEvent,
    AgentStatusEvent,
    Meaningless,
    QueueCallEvent,
    Why,
    read_bool,
    read_event,
    read_id,
    read_ms,
)
from router.store.agents_seen import CallSeen, StatusSeen
from tests.unit.api.dialpad_bodies import agent_leg, agent_status, queue_leg

AT = 1_770_000_009_050


def test_a_ringing_leg_to_an_agent_is_read_with_all_its_ids():
    event = read_event(agent_leg("ringing", call_id=9200, entry_point_call_id=9100))
    assert event == AgentCallEvent(
        user_id="3001",
        seen=CallSeen.RINGING,
        calls=("9200", "9100"),
        at_ms=AT,
        caller="+12125550142",
        call_center_id="8001",
    )


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("calling", CallSeen.RINGING),
        ("preanswer", CallSeen.RINGING),
        ("connected", CallSeen.CONNECTED),
        ("hangup", CallSeen.HANGUP),
        ("voicemail", CallSeen.HANGUP),
        ("blocked", CallSeen.HANGUP),
        ("missed", CallSeen.MISSED),
    ],
)
def test_states_that_move_an_agent(state: str, seen: CallSeen):
    event = read_event(agent_leg(state))
    assert isinstance(event, AgentCallEvent)
    assert event.seen is seen


@pytest.mark.parametrize(
    "state",
    ["hold", "parked", "merged", "recording", "admin_recording", "csat", "postcall", "barge",
     "recap_summary", "call_moments", "voicemail_uploaded", "transcription", "not_yet_invented"],
)  # fmt: skip
def test_states_that_move_nobody_are_ignored(state: str):
    assert read_event(agent_leg(state)) == Meaningless(Why.STATE_OF_NO_INTEREST)


@pytest.mark.parametrize("kind", ["call_center", "callcenter"])
def test_a_queued_call_is_held_by_its_call_center_however_that_is_spelled(kind: str):
    event = read_event(queue_leg("queued", kind=kind))
    assert event == QueueCallEvent(
        call_center_id="8001",
        calls=("9100", "9000", "9200"),
        is_held=True,
        since_ms=1_770_000_009_000,
    )


@pytest.mark.parametrize("state", ["hangup", "missed", "voicemail"])
def test_a_call_that_ends_in_the_queue_is_no_longer_held(state: str):
    event = read_event(queue_leg(state))
    assert isinstance(event, QueueCallEvent)
    assert not event.is_held


def test_a_menu_that_answers_is_no_human():
    body = queue_leg("connected", operator_call_id=None)
    assert read_event(body) == Meaningless(Why.NO_HUMAN_ANSWERED)
    body = queue_leg("connected", date_connected=1_770_000_010_000)
    assert read_event(body) == QueueCallEvent(
        call_center_id="8001",
        calls=("9100", "9000", "9200"),
        is_held=False,
        since_ms=1_770_000_009_000,
    )


def test_ids_as_numbers_and_as_text_are_the_same():
    number, text = agent_leg("ringing"), agent_leg("ringing")
    text |= {"call_id": "9200", "entry_point_call_id": "9100"}
    text["target"] = {**text["target"], "id": "3001"}
    assert read_event(number) == read_event(text)


def test_large_ids_keep_every_digit():
    event = read_event(json.loads(json.dumps(agent_leg("ringing", call_id=6001002003004005006))))
    assert isinstance(event, AgentCallEvent)
    assert event.calls[0] == "6001002003004005006"


def test_a_missing_timestamp_is_made_good_by_the_next_best_one():
    body = agent_leg("connected", event_timestamp=None, date_connected=1_770_000_010_000)
    event = read_event(body)
    assert isinstance(event, AgentCallEvent)
    assert event.at_ms == 1_770_000_010_000
    bare = {"state": "ringing", "call_id": 1, "target": {"id": 3001, "type": "user"}}
    assert read_event(bare) == AgentCallEvent(
        user_id="3001", seen=CallSeen.RINGING, calls=("1",), at_ms=None
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, Why.UNKNOWN_SHAPE),
        ({"state": "ringing"}, Why.NO_IDS),
        ({"state": "ringing", "call_id": 0}, Why.NO_IDS),
        ({"state": "ringing", "call_id": 1}, Why.TARGET_OF_NO_INTEREST),
        ({"state": "ringing", "call_id": 1, "target": []}, Why.TARGET_OF_NO_INTEREST),
        ({"state": ["ringing"], "call_id": 1}, Why.STATE_OF_NO_INTEREST),
        ({"on_duty_status": "available"}, Why.NO_IDS),
        ({"on_duty_status": "on the moon", "target": {"id": 1}}, Why.STATE_OF_NO_INTEREST),
        (
            {"on_duty_status": "busy", "target": {"id": 1, "type": "room"}},
            Why.TARGET_OF_NO_INTEREST,
        ),
    ],
)
def test_what_cannot_be_used_is_ignored_with_a_reason(body: dict[str, object], why: Why):
    assert read_event(body) == Meaningless(why)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("available", StatusSeen.AVAILABLE),
        ("unavailable", StatusSeen.UNAVAILABLE),
        ("occupied", StatusSeen.OCCUPIED),
        ("occupied-end", StatusSeen.AVAILABLE),
        ("wrapup", StatusSeen.WRAPUP),
        ("wrapup-end", StatusSeen.AVAILABLE),
        ("busy", StatusSeen.BUSY),
        ("BUSY ", StatusSeen.BUSY),
    ],
)
def test_every_duty_status_is_understood(text: str, status: StatusSeen):
    event = read_event(agent_status(text))
    assert isinstance(event, AgentStatusEvent)
    assert event.status is status


@pytest.mark.parametrize(
    ("availability", "on_duty", "expected"),
    [
        ("available", "available", False),
        ("unavailable", "available", True),
        (False, "available", True),
        ("TRUE", "available", False),
        ("FALSE", "available", True),
        ("unavailable", "occupied", None),
        ("unavailable", "wrapup", None),
        (None, "available", None),
        ("perhaps", "available", None),
    ],
)
def test_do_not_disturb_is_known_only_of_who_is_free_otherwise(
    availability: object, on_duty: str, expected: object
):
    event = read_event(agent_status(on_duty, availability_status=availability))
    assert isinstance(event, AgentStatusEvent)
    assert event.do_not_disturb is expected


def test_the_caller_is_taken_from_the_contact_when_the_number_is_missing():
    for field in ("phone", "phone_number"):
        body = agent_leg("ringing", external_number=None, contact={field: "+12125550199"})
        event = read_event(body)
        assert isinstance(event, AgentCallEvent)
        assert event.caller == "+12125550199"


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, 10**21, "", " ", "é", "x" * 65, [], {}, "a\nb"]
)
def test_what_is_no_id_is_absent(value: object):
    assert read_id(value) is None


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (AT, AT),
        (str(AT), AT),
        (AT + 0.5, AT),
        (1_770_000_009, None),
        (True, None),
        ("soon", None),
        (float("inf"), None),
        (float("nan"), None),
        (-AT, None),
    ],
)
def test_times_are_milliseconds_or_absent(value: object, ms: int | None):
    assert read_ms(value) == ms


@pytest.mark.parametrize(("value", "expected"), [("FALSE", False), ("true", True), (1, None)])
def test_booleans_may_be_text(value: object, expected: object):
    assert read_bool(value) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from([*agent_leg("ringing"), *agent_status("busy")])


# Making up the first bodies takes seconds where many processes share the machine.
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(FIELDS, JSON, max_size=8), st.booleans())
def test_reading_never_fails_whatever_the_fields_hold(body: dict[str, object], is_call: bool):
    base = agent_leg("connected") if is_call else agent_status("available")
    assert read_event({**base, **body}) is not None


def test_no_field_name_of_the_platform_stands_in_the_http_layer():
    root = Path(__file__).parents[3]
    text = "".join(path.read_text() for path in (root / "router/http/events").glob("*.py"))
    for name in ("on_duty_status", "external_number", "event_timestamp", "operator_call_id"):
        assert name not in text
