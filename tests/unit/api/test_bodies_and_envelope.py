"""Decoding bodies and query strings: every mistake is named."""

from datetime import UTC, datetime

import msgspec
import pytest

from router.errors import InvalidInputError
from router.http.bodies import BadJsonError, check_fields, decode_as, decode_object
from router.http.envelope import Page, failure, moment, page_of, success, timestamp, whole_number
from router.http.v1.agents import Skills
from router.site.forms import from_document
from router.site.resources import AgentConfig, QueueConfig, RouterConfig


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 8)"),
        (b"[1]", "JSON object"),
        (b"{" * 3, "line 1, column 2"),
        (b'{"a":' * 20_000, "too deeply"),
        (b"NaN", "not JSON"),
        (b'{"budget_ms": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_place(text: bytes, says: str):
    with pytest.raises(BadJsonError) as caught:
        decode_object(text)
    assert says in str(caught.value)


def test_the_place_of_bad_json_never_quotes_the_body():
    with pytest.raises(BadJsonError) as caught:
        decode_object(b'{"secret": "hunter2hunter2" oops')
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "field", "nearest"),
    [
        ({"nmae": 1}, "nmae", "name"),
        ({"hold_queue": {"max_hold_cuont": 3}}, "hold_queue.max_hold_cuont", "max_hold_count"),
        ({"calendar": {"hours": {}, "holidays": {"speical": {}}}}, "calendar.holidays.speical", "special"),
        ({"zzzzzz": 1}, "zzzzzz", None),
    ],
)  # fmt: skip
def test_an_unknown_field_is_named_with_the_nearest_known_one(
    document: dict[str, object], field: str, nearest: str | None
):
    with pytest.raises(InvalidInputError) as caught:
        check_fields(document, QueueConfig)
    assert caught.value.field == field
    assert (f"Did you mean {nearest!r}" in str(caught.value)) == (nearest is not None)


@pytest.mark.parametrize(
    ("type_", "document", "field", "words"),
    [
        (QueueConfig, {"strategy": "longest"}, "strategy", "one of longest_idle, round_robin"),
        (QueueConfig, {"hold_queue": {"queue_callback_dtmf": "x"}},
         "hold_queue.queue_callback_dtmf", "one of #, *, 0, 1"),
        (RouterConfig, {"rules": "a", "default_target": {"type": "x", "id": "1"}},
         "default_target.type", "one of user, department"),
        (AgentConfig, {"queues": {"a": {}, "sales": {"role": "x"}}},
         "queues.sales.role", "one of operator, supervisor"),
    ],
)  # fmt: skip
def test_a_word_that_is_not_allowed_is_refused_with_those_that_are(
    type_: type[RouterConfig | QueueConfig | AgentConfig],
    document: dict[str, object],
    field: str,
    words: str,
):
    with pytest.raises(InvalidInputError) as caught:
        from_document({"id": "a", "name": "A", **document}, type_)
    assert caught.value.field == field
    assert words in str(caught.value)


def test_fields_of_a_struct_that_forbids_nothing_are_checked_too():
    with pytest.raises(InvalidInputError) as caught:
        check_fields({"default_target": {"type": "user", "idd": "1"}}, RouterConfig)
    assert caught.value.field == "default_target.idd"


def test_known_fields_and_free_keys_pass():
    check_fields({"name": "x", "calendar": {"hours": {"mon-fri": []}}}, QueueConfig)


@pytest.mark.parametrize(
    ("document", "field"),
    [({"skills": {"a": 101}}, "skills"), ({}, "skills"), ({"skills": 3}, "skills")],
)
def test_a_wrong_value_is_named(document: dict[str, object], field: str):
    with pytest.raises(InvalidInputError) as caught:
        decode_as(document, Skills)
    assert (caught.value.field or "").startswith(field)


@pytest.mark.parametrize("text", ["0", "501", "-1", "x", "1.5", "\uff19", "", "9" * 30])
def test_a_limit_out_of_range_is_refused(text: str):
    with pytest.raises(InvalidInputError) as caught:
        whole_number({"limit": text}, "limit", 50, 1, 500)
    assert caught.value.field == "limit"


def test_an_absent_limit_is_the_default():
    assert whole_number({}, "limit", 50, 1, 500) == 50


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T13:00:00 01:00"],
)
def test_timestamps_with_a_zone_are_read_as_utc(text: str):
    assert moment({"from": text}, "from") == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-01-31T12:00:00", "1700000000"])
def test_timestamps_without_a_zone_are_refused(text: str):
    with pytest.raises(InvalidInputError):
        moment({"from": text}, "from")


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z",
     "2200-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"],
)  # fmt: skip
def test_timestamps_that_nobody_can_reckon_with_are_refused(text: str):
    with pytest.raises(InvalidInputError, match="from 1970 to 2199"):
        moment({"from": text}, "from")


def test_timestamps_go_out_as_rfc_3339_in_utc():
    assert msgspec.json.encode(timestamp(1_700_000_000_500)) == b'"2023-11-14T22:13:20.500000Z"'


def test_a_page_carries_its_numbers():
    answer = success(page_of(list(range(10)), limit=3, offset=8))
    assert msgspec.json.decode(answer.body) == {
        "status": "success", "data": [8, 9], "total": 10, "limit": 3, "offset": 8
    }  # fmt: skip


def test_an_empty_page_still_says_so():
    answer = success(Page(items=[], total=0, limit=50, offset=0))
    assert msgspec.json.decode(answer.body) == {
        "status": "success", "data": [], "total": 0, "limit": 50, "offset": 0
    }  # fmt: skip


def test_an_error_carries_code_field_and_request_id():
    answer = failure(400, "No.", code="invalid", field="x", request_id="abcdefgh")
    assert msgspec.json.decode(answer.body) == {
        "status": "error",
        "message": "No.",
        "data": {"code": "invalid", "field": "x", "request_id": "abcdefgh"},
    }
