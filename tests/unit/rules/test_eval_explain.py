"""Explanations: for every rule before the deciding one what was wanted and what was found."""

from rules.calendars import CalendarState
from rules.conditions import AnyOf, ContactIs, Not, QueueFact
from rules.explain import Outcome, Reason
from rules.facts import CallFacts, Contact
from rules.ruleset import compile_ruleset
from tests.rule_builders import (
    ALWAYS,
    MARK,
    NOON_S,
    calendar_is,
    caller,
    digits,
    document,
    every,
    office,
    queue,
    router,
)

CALL = CallFacts(
    call_id="1",
    caller="+12125550142",
    router="main",
    contact=Contact(email="ada@example.com"),
    digits={"pin": "4711", "main": "2"},
)


def reason_for(condition: object, *, unmasked: bool = False) -> Reason:
    rules = compile_ruleset(
        document(condition, calendars={"office": office()})  # type: ignore[arg-type]
    )
    (skipped,) = rules.explain(CALL, NOON_S, unmasked=unmasked).skipped
    return skipped.reason


def test_the_first_part_that_failed_is_told():
    found = reason_for(every(router("main"), calendar_is("office", CalendarState.CLOSED), ALWAYS))
    assert (found.condition, found.wanted, found.found) == ("calendar.office", "closed", "open")
    assert found.outcome is Outcome.FALSE


def test_an_unknown_fact_is_told_as_unknown_with_nothing_found():
    found = reason_for(digits("language", "2"))
    assert (found.outcome, found.found) == (Outcome.UNKNOWN, None)


def test_of_any_every_alternative_is_told():
    found = reason_for(AnyOf(conditions=(router("a"), every(router("main"), digits("main", "1")))))
    assert [part.condition for part in found.parts] == ["router", "digits.main"]


def test_of_not_it_is_told_what_was_not_wanted():
    found = reason_for(Not(condition=router("main")))
    assert (found.wanted, found.found) == ("not main", "main")


def test_numbers_are_masked_unless_asked_for():
    condition = caller("+12125550199")
    masked, plain = reason_for(condition), reason_for(condition, unmasked=True)
    assert (masked.wanted, masked.found) == ("+1212…99", "+1212…42")
    assert (plain.wanted, plain.found) == ("+12125550199", "+12125550142")


def test_what_masking_makes_look_like_the_wanted_one_is_told_to_be_another():
    condition = caller("+12125559942")
    masked, plain = reason_for(condition), reason_for(condition, unmasked=True)
    assert (masked.wanted, masked.found) == ("+1212…42", "+1212…42 (another one)")
    assert (plain.wanted, plain.found) == ("+12125559942", "+12125550142")
    assert reason_for(Not(condition=caller("+12125550142"))).found == "+1212…42"


def test_long_digits_are_masked_and_choices_are_not():
    assert reason_for(digits("pin", "0815")).found == "… (another one)"
    assert reason_for(digits("main", "1")).found == "2"


def test_addresses_of_contacts_are_masked():
    email = ContactIs(field="email", values=frozenset({"bob@example.com"}), mark=MARK)
    assert "ada" not in repr(reason_for(email))


def test_a_rule_that_wanted_live_facts_says_of_which_queue():
    rules = compile_ruleset(document(queue("sales", QueueFact.WAITING, ">1"), ALWAYS))
    explanation = rules.explain(CALL, NOON_S)
    assert explanation.skipped[0].wants == ("sales",)
    assert explanation.decision.missing == {"sales"}


def test_the_deciding_rule_and_those_after_it_are_not_told():
    rules = compile_ruleset(document(router("x"), ALWAYS, router("y")))
    assert [skipped.rule for skipped in rules.explain(CALL, NOON_S).skipped] == ["r0"]
