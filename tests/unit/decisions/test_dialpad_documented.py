"""A documented request is read in one go, and means the same as read field by field."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decisions.log import Entry, read, written
from router.decisions.outcome import Asked, Level, Outcome, RouterView
from router.platforms.dialpad.dialect import DialpadDialect
from router.platforms.dialpad.documented import Documented, facts_of, read_documented
from router.platforms.dialpad.wire import RoutingRequest, read_json, read_request
from rules.actions import Target, TargetType

PARTY = {
    "id": "6001002003004005",
    "type": "department",
    "name": "Reception",
    "email": "",
    "phone": "+12125550100",
    "office_id": 6001002003000000,
}
DOCUMENTED = {
    "call_id": 4611686018427000,
    "date_started": 1770000000123,
    "external_number": "+12125550142",
    "internal_number": "+12125550100",
    "contact": {"id": "1", "name": "A", "phone": "+12125550142", "email": "a@b.c", "type": "x"},
    "master_call_id": None,
    "entry_point_call_id": 12,
    "target": PARTY,
    "entry_point_target": {},
    "state": "ringing",
    "direction": "+12125550142",
    "labels": ["vip", {"a": [1]}],
    "exp": 1,
}
texts = st.text(max_size=12) | st.sampled_from(["+12125550142", "x@y", "x" * 257, "department"])
values = texts | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False)
parties = st.dictionaries(st.sampled_from([*PARTY, "more"]), values, max_size=7)
bodies = st.dictionaries(
    st.sampled_from(
        [*DOCUMENTED, "hints", "from_number", "proxy_target", "operator_call_id", "else"]
    ),
    values | parties | st.lists(values, max_size=2),
)


def both_ways(body: bytes) -> tuple[RoutingRequest, RoutingRequest] | None:
    """In one go, and field by field; None where the first leaves it to the second."""
    request = read_documented(body)
    if request is None:
        return None
    return facts_of(request, body, "r"), read_request(read_json(body), "r")


def logged(request: RoutingRequest, *, with_full_numbers: bool) -> Entry:
    """What the log holds of it, read back."""
    asked = Asked(
        router=RouterView(id="r", tenant="t", default_target=Target(type=TargetType.USER, id="1")),
        call=request.call,
        silent=request.silent,
        fingerprint="",
        dialect=DialpadDialect(),
        names=None,  # type: ignore[arg-type]  # not asked
        now_s=1.0,
    )
    outcome = Outcome(body=b"{}", level=Level.FULL)
    return read(written(asked, outcome, 1, with_full_numbers=with_full_numbers))


def test_a_documented_request_is_read_in_one_go() -> None:
    assert read_documented(json.dumps(DOCUMENTED).encode()) is not None


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_request_with_one_field_less_is_still_documented(name: str) -> None:
    body = {key: value for key, value in DOCUMENTED.items() if key != name}
    assert both_ways(json.dumps(body).encode()) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"hints": {"pin": "1"}},
        {"else": 1},
        {"call_id": 1.5},
        {"target": {"deep": {}}},
        {"exp": "1"},
    ],
    ids=json.dumps,
)
def test_whatever_else_comes_is_left_to_the_other_reader(more: dict[str, object]) -> None:
    assert read_documented(json.dumps({**DOCUMENTED, **more}).encode()) is None


@given(changes=bodies)
def test_both_ways_of_reading_say_the_same(changes: dict[str, object]) -> None:
    for body in (changes, {**DOCUMENTED, **changes}):
        both = both_ways(json.dumps(body).encode())
        if both is not None:
            assert both[0] == both[1]
            assert dict(both[0].call.attributes) == dict(both[1].call.attributes)


@given(changes=bodies, with_full_numbers=st.booleans())
def test_both_ways_leave_the_same_in_the_log(
    changes: dict[str, object], *, with_full_numbers: bool
) -> None:
    for body in (changes, {**DOCUMENTED, **changes}):
        both = both_ways(json.dumps(body).encode())
        if both is not None:
            one, other = (logged(each, with_full_numbers=with_full_numbers) for each in both)
            assert one == other


def test_the_log_hides_what_a_documented_request_tells_of_people() -> None:
    request = facts_of(
        msgspec.json.decode(json.dumps(DOCUMENTED).encode(), type=Documented),
        json.dumps(DOCUMENTED).encode(),
        "r",
    )
    shown = logged(request, with_full_numbers=False).call.attributes
    assert shown["target.type"] == "department"
    assert shown["target.id"] == "6001002003004005"
    assert {shown["target.name"], shown["target.phone"], shown["contact.phone"]} == {
        "…",
        "+1212…00",
        "+1212…42",
    }
    assert shown["direction"] == "+1212…42"
