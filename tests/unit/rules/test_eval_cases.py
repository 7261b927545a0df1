"""Cases: what a file promises about itself is kept, or it says why not."""

import msgspec

from rules.calendars import CalendarState
from rules.cases import is_same_action, run_cases
from rules.conditions import QueueFact
from rules.document import Case
from rules.facts import CallFacts, QueueFacts
from rules.ruleset import compile_ruleset
from tests.rule_builders import (
    ALWAYS,
    DEFAULT,
    MARK,
    NOON_S,
    RECEPTION,
    action,
    calendar_is,
    caller,
    document,
    office,
    queue,
)

CLOSED = calendar_is("office", CalendarState.CLOSED)
CASE = Case(
    name="an example",
    call=CallFacts(call_id="an example"),
    at_s=NOON_S,
    queues={},
    expect_rule="r0",
    mark=MARK,
)


def messages(*conditions: object, case: Case = CASE) -> list[str]:
    rules = document(
        *conditions,  # type: ignore[arg-type]
        calendars={"office": office()},
        cases=[case],
    )
    return [problem.message for problem in run_cases(compile_ruleset(rules))]


def test_a_case_that_comes_out_as_expected_is_no_problem():
    assert messages(ALWAYS) == []


def test_a_case_is_decided_at_its_own_time():
    midnight = msgspec.structs.replace(CASE, at_s=NOON_S + 12 * 3600)
    assert messages(CLOSED, case=midnight) == []


def test_a_case_is_decided_with_its_own_queue_facts():
    wants = queue("sales", QueueFact.AGENTS_IDLE, ">=1")
    given = msgspec.structs.replace(CASE, queues={"sales": QueueFacts(agents_idle=1)})
    assert messages(wants, case=given) == []
    (message,) = messages(wants)
    assert message == (
        "case 'an example' failed: rule 'default' decided, not 'r0'; 'r0' does not hold: "
        "queue.sales.agents_idle wants >=1, found nothing (unknown); "
        "the case gives no facts for 'sales'"
    )


def test_a_failure_says_which_condition_of_the_expected_rule_did_not_hold():
    (message,) = messages(CLOSED)
    assert message == (
        "case 'an example' failed: rule 'default' decided, not 'r0'; 'r0' does not hold: "
        "calendar.office wants closed, found open"
    )


def test_a_failure_says_when_the_expected_rule_only_comes_too_late():
    late = msgspec.structs.replace(CASE, expect_rule="r1")
    assert messages(ALWAYS, ALWAYS, case=late) == [
        "case 'an example' failed: rule 'r0' decided, not 'r1'; 'r1' holds too, but comes later"
    ]


def test_a_failure_does_not_tell_numbers():
    calling = msgspec.structs.replace(CASE, call=CallFacts(call_id="1", caller="+12125550142"))
    (message,) = messages(caller("+12125550199"), case=calling)
    assert message.endswith("caller wants +1212…99, found +1212…42")


def test_default_may_be_expected():
    assert messages(CLOSED, case=msgspec.structs.replace(CASE, expect_rule="default")) == []


def test_another_action_than_expected_is_a_failure_that_shows_both():
    expecting = msgspec.structs.replace(CASE, expect_then=action(7))
    (problem,) = run_cases(compile_ruleset(document(ALWAYS, cases=[expecting])))
    assert problem.found == '{"type":"route","target":{"type":"user","id":"0"}}'
    assert problem.expected == '{"type":"route","target":{"type":"user","id":"7"}}'


def test_a_named_target_is_the_same_as_the_target_written_out():
    written_out = msgspec.structs.replace(RECEPTION, name=None)
    assert is_same_action(DEFAULT, msgspec.structs.replace(DEFAULT, target=written_out))
    assert not is_same_action(DEFAULT, action(1))
