"""What the log shows of a request: nothing a person is known by, unless the settings allow it."""

import msgspec
import pytest

from router.decisions.log import Entry, masked, read, written
from router.decisions.outcome import Asked, Level, Outcome, RouterView
from router.platforms.dialpad.dialect import DialpadDialect
from router.platforms.dialpad.wire import read_request
from rules.actions import Target, TargetType
from rules.facts import CallFacts, Contact, Scalar
from rules.loader import parse_document
from rules.ruleset import Ruleset, compile_ruleset
from rules.wording import HIDDEN

TELLING = {
    "caller_id": "+12125550199",
    "customer_phone": 12125550142,
    "email_id": "jane@x.org",
    "tax_id": "123-45-6789",
    "contact": {"phone": 12125550142, "id": "+12125550142"},
    "user": "Jane Roe",
    "born": 19800101,
    "pin": 4821,
    "weight": 70.5,
    "operator_call_id": "jane@x.org",
    "target": {"id": "+12125550142", "office_id": "Jane Roe", "type": "jane@x.org", "more": "Jane"},
}
PRIVATE = ("1255", "5550", "2125", "jane", "Jane", "123-", "6789", "1980", "4821", "70.5")
HARMLESS: dict[str, object] = {
    "date_started": 1770000000123,
    "exp": 1770000000,
    "master_call_id": 4611686018427000,
    "operator_call_id": "9200-a_b",
    "state": "ringing",
    "direction": "inbound",
    "is_transferred": False,
    "nothing": None,
    "target": {"id": "6001002003004005", "type": "department", "office_id": 6001},
}


def logged(body: dict[str, object], **outcome: object) -> Entry:
    request = read_request(body, "main")
    asked = Asked(
        router=RouterView(
            id="main", tenant="t", default_target=Target(type=TargetType.USER, id="1")
        ),
        call=request.call,
        silent=request.silent,
        fingerprint="",
        dialect=DialpadDialect(),
        names=None,  # type: ignore[arg-type]  # not asked
        now_s=1.0,
    )
    made = msgspec.structs.replace(Outcome(body=b"{}", level=Level.FULL), **outcome)
    return read(written(asked, made, 1, with_full_numbers=False))


def ruleset(when: str) -> Ruleset:
    text = f"""
version: 1
rules: [{{name: first, when: {when}, then: {{end: {{}}}}}}]
default: {{end: {{}}}}
"""

    def no_csv(name: str) -> bytes:
        raise FileNotFoundError(name)

    return compile_ruleset(parse_document("a", "a.yaml", text.encode(), no_csv))


def test_whatever_a_field_is_called_what_it_tells_of_people_is_hidden():
    call = logged({"call_id": 1, **TELLING}).call
    text = msgspec.json.encode(call).decode()
    assert [private for private in PRIVATE if private in text] == []
    assert call.attributes["caller_id"] == "+1212…99"
    assert call.attributes["customer_phone"] == HIDDEN
    assert call.contact == Contact(id="+1212…42")


def test_what_a_rule_asks_for_is_shown_unless_it_looks_like_a_number_or_an_address():
    rules = ruleset(
        "{any: [{attributes: {tier: gold}}, {not: {attributes: {level: '3', tax_id: a}}},"
        " {attributes: {account: a, user_name: a, email_id: a}}]}"
    )
    body: dict[str, object] = {
        "tier": "silver", "level": 4, "tax_id": "123-45-6789", "account": 19800101,
        "user_name": "Jane", "email_id": "jane@x.org",
    }  # fmt: skip
    assert rules.asked_attributes == body.keys()
    shown = logged(body, asks_for=rules.asked_attributes).call.attributes
    hidden = dict.fromkeys(("tax_id", "account", "user_name", "email_id"), HIDDEN)
    assert shown == {"tier": "silver", "level": 4, **hidden}


def test_the_fields_that_are_documented_and_tell_nothing_are_shown():
    attributes = read_request(HARMLESS, "main").call.attributes
    assert logged(HARMLESS).call.attributes == attributes
    assert len(attributes) == len(HARMLESS) + 2  # three of the target


@pytest.mark.parametrize(
    ("contact_id", "shown"),
    [
        ("551200", "551200"),
        ("shared-pool_7", "shared-pool_7"),
        ("local12125550142", HIDDEN),
        ("jane@x.org", HIDDEN),
        ("Jane Roe", HIDDEN),
        ("", ""),
        (None, None),
    ],
)
def test_the_id_of_a_contact_is_shown_if_it_is_one(contact_id: str | None, shown: str | None):
    call = CallFacts(call_id="1", caller="+12125550142", contact=Contact(id=contact_id))
    contact = masked(call).contact
    assert contact is not None
    assert contact.id == shown


@pytest.mark.parametrize("value", ["gold", "silver", 5, True, 12125550142, None])
@pytest.mark.parametrize("is_asked", [True, False])
def test_an_explanation_comes_to_the_logged_rule_whatever_was_hidden(
    value: Scalar, *, is_asked: bool
):
    rules = ruleset("{attributes: {tier: [gold, '5', 'true']}}")
    call = CallFacts(call_id="1", attributes={"tier": value})
    really = rules.evaluate(call, 1.0).rule
    entry = masked(call, None, rules.asked_attributes if is_asked else ())
    assert rules.explain_masked(entry, 1.0, None, really).decision.rule == really
