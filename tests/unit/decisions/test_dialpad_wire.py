"""Dialpad's requests and answers, in every variant we have seen or guess."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.decisions.attributes import MOST_ATTRIBUTES
from router.platforms.dialpad.keyed import LONGEST_NAME
from router.platforms.dialpad.wire import (
    UnreadableError,
    bare_token,
    read_answer,
    read_json,
    read_request,
    write_answer,
    write_request,
)
from rules.actions import Ask, End, Forward, Route, Target, TargetType
from rules.facts import CallFacts, Contact
from rules.parse_actions import NAME
from rules.parse_conditions import ANY_TEXT, KEY

FULL = {
    "call_id": 4611686018427000,
    "date_started": 1770000000123,
    "external_number": "+12125550142",
    "internal_number": "+12125550100",
    "contact": {"id": 551200, "name": "A", "email": "", "type": "local", "phone": "+12125550142"},
    "master_call_id": None,
    "target": {"type": "department", "id": 77, "deep": {"x": {"y": {"z": 1}}}},
    "labels": ["a", "b"],
    "hints": {"account_pin": "4821"},
}


def test_a_request_becomes_facts() -> None:
    request = read_request(FULL, "main")
    assert request.call == CallFacts(
        call_id="4611686018427000",
        caller="+12125550142",
        called="+12125550100",
        router="main",
        contact=Contact(id="551200", type="local", name="A", email=""),
        digits={"account_pin": "4821"},
        attributes={
            "date_started": 1770000000123,
            "contact.phone": "+12125550142",
            "master_call_id": None,
            "target.type": "department",
            "target.id": 77,
        },
    )
    assert request.silent == frozenset()


@pytest.mark.parametrize("call_id", [4611686018427001, "4611686018427001", 2**63 - 1, "abc-7"])
def test_an_id_is_text_whether_it_came_as_number_or_text(call_id: object) -> None:
    assert read_request({"call_id": call_id}, "r").call.call_id == str(call_id)


@pytest.mark.parametrize("caller", [None, "", "anonymous", "Anonymous", "Restricted", " unknown "])
def test_a_caller_without_a_number_is_anonymous(caller: object) -> None:
    assert read_request({"external_number": caller}, "r").call.caller is None


def test_the_other_spelling_of_the_numbers_is_read_when_the_usual_one_is_absent() -> None:
    call = read_request({"from_number": "+1", "to_number": "+2"}, "r").call
    assert (call.caller, call.called) == ("+1", "+2")
    assert read_request({"from_number": "+1", "external_number": "+3"}, "r").call.caller == "+3"


@pytest.mark.parametrize(
    "body",
    [
        {"hints": {"pin": "4821"}},
        {"hints": {"pin": 4821}},
        {"hints": {"pin": 4821.0}},
        {"hints": {"pin": ["4", "8", "2", "1"]}},
        {"hints": {"pin": [4, 8, 2, 1]}},
        {"hints": {"pin": ["77", "4821"]}},
        {"hints": {"pin": {"value": "4821"}}},
        {"hints": {"pin": {"digits": 4821}}},
        {"hints": {"pin": "48 21"}},
        {"hints": [{"hint_name": "pin", "value": "4821"}]},
        {"hints": [{"name": "pin", "digits": "4821"}]},
        {"hints": {"hint_name": "pin", "digits": "4821"}},
        {"answers": {"pin": "4821"}},
        {"digits": {"pin": "4821"}},
        {"hint_name": "pin", "digits": "4821"},
        {"hint_name": "pin", "value": 4821},
    ],
    ids=json.dumps,
)
def test_digits_are_found_in_every_shape(body: dict[str, object]) -> None:
    request = read_request(body, "r")
    assert request.call.digits == {"pin": "4821"}
    assert request.silent == frozenset()


@pytest.mark.parametrize(
    "value", ["", None, [], {}, "timeout", "none", False, True, -1, 1.5, [[]], "4" * 65, {"x": 1}]
)
def test_what_is_empty_or_no_keys_is_silence(value: object) -> None:
    request = read_request({"hints": {"pin": value}}, "r")
    assert request.call.digits == {}
    assert request.silent == {"pin"}


def test_the_answer_to_a_question_of_the_longest_name_in_a_rules_file_is_read() -> None:
    assert NAME.most == LONGEST_NAME
    call = CallFacts(call_id="1", digits={"n" * NAME.most: "2"})
    assert read_request(read_json(write_request(call)), "main").call.digits == call.digits


def test_what_a_rules_file_may_ask_of_a_request_is_not_too_long_to_be_kept() -> None:
    longest, text = "k" * KEY.most, "v" * ANY_TEXT.most
    sent = {"call_id": 1, longest: text, "contact": {"name": text}}
    call = read_request(sent, "main").call
    assert (call.attributes[longest], call.contact and call.contact.name) == (text, text)
    call = read_request({"call_id": 1, longest + "k": "v", "short": text + "v"}, "main").call
    assert not call.attributes


def test_a_key_of_star_or_hash_counts_and_leading_zeros_stay() -> None:
    assert read_request({"hints": {"a": "*", "b": "007#"}}, "r").call.digits == {
        "a": "*",
        "b": "007#",
    }


def test_attributes_are_bounded_in_number_size_and_depth() -> None:
    body: dict[str, object] = {f"k{i}": i for i in range(1000)}
    assert len(read_request(body, "r").call.attributes) == MOST_ATTRIBUTES
    long = {"a" * 65: 1, "b": "x" * 257, "c": "x" * 256, "d": 2**70, "e": {"f": {"g": {"h": 1}}}}
    assert set(read_request(long, "r").call.attributes) == {"c", "e.f.g.h"}


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b"a.b.c", b"a.b.c"),
        (b'"a.b.c"', b"a.b.c"),
        (b' "a.b.c"\r\n', b"a.b.c"),
        (b"a.b.c\n", b"a.b.c"),
        (b'{"call_id":1}', None),
        (b"", None),
        (b'""', None),
        (b'"', b'"'),
    ],
)
def test_a_bare_or_quoted_token_is_told_from_an_object(body: bytes, token: bytes | None) -> None:
    assert bare_token(body) == token


ANSWERS = [
    (
        Route(target=Target(type=TargetType.DEPARTMENT, id="6001002003004005", name="reception")),
        {"action": "route", "target_type": "department", "target_id": "6001002003004005"},
    ),
    (Forward(number="+12125550177"), {"action": "forward", "forward_to": "+12125550177"}),
    (
        Ask(name="no", prompt="Please key in.", digits=4, locale="en_US", otherwise=End()),
        {
            "action": "ask",
            "message": ["Please key in."],
            "hint_name": "no",
            "num_digits": 4,
            "locale": "en-us",
        },
    ),
    (End(message="Bye", locale="en-gb"), {"action": "end", "message": ["Bye"], "locale": "en-gb"}),
    (End(), {"action": "end"}),
]


@pytest.mark.parametrize(("answer", "wire"), ANSWERS, ids=lambda x: type(x).__name__)
def test_an_answer_is_written_as_documented_and_read_back(
    answer: Route | Forward | Ask | End, wire: dict[str, object]
) -> None:
    body = write_answer(answer)
    assert json.loads(body) == wire
    assert json.loads(write_answer(read_answer(body))) == wire


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b'{"action":"menu"}',
        b'{"action":["route"]}',
        b'{"action":"route"}',
        b'{"action":"route","target_type":"phone","target_id":"1"}',
        b'{"action":"route","target_type":["user"],"target_id":"1"}',
        b'{"action":"route","target_type":"user","target_id":1.5}',
        b'{"action":"route","target_type":"user","target_id":null}',
        b'{"action":"forward","forward_to":"12125550177"}',
        b'{"action":"forward","forward_to":"+1212555017x"}',
        b'{"action":"ask","hint_name":"a"}',
        b'{"action":"ask","hint_name":"","message":["x"]}',
        b'{"action":"ask","hint_name":"a","message":[1]}',
        b'{"action":"ask","hint_name":"a","message":["x"],"num_digits":true}',
        b'{"action":"ask","hint_name":"a","message":["x"],"num_digits":0}',
        b'{"action":"ask","hint_name":"a","message":["x"],"num_digits":999}',
        b'{"action":"end","message":{"text":"x"}}',
        b"[" * 100_000,
    ],
)
def test_somebody_elses_odd_answer_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_answer(body)


def test_a_request_that_we_write_is_read_back() -> None:
    call = CallFacts(
        call_id="17",
        caller="+12125550142",
        called="+12125550100",
        router="r",
        contact=Contact(id="1", type="local"),
        digits={"pin": "4821"},
        attributes={"x": 1},
    )
    assert read_request(read_json(write_request(call)), "r").call == call


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "call_id",
                "external_number",
                "contact",
                "hints",
                "hint_name",
                "digits",
                "answers",
                "x",
            ]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["name", "value", "hint_name", "digits", "q"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_no_object_makes_reading_fail(body: dict[str, object]) -> None:
    request = read_request(body, "r")
    json.dumps(request.call.attributes, allow_nan=False)
    write_request(request.call)
