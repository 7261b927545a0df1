"""What can be said of a call whose numbers and digits the log has masked."""

from collections.abc import Iterable

import pytest

from router.decisions.log import masked
from rules.facts import CallFacts, QueueFacts
from rules.loader import parse_document
from rules.plain_reading import Outcome, any_of
from rules.replay import Then, action_of, redecide
from rules.ruleset import Ruleset, compile_ruleset

FILE = """
version: 1
lists: {vip: ["+12125550111", "+442079460018"]}
rules:
  - {name: first, when: %s, then: {end: {message: first}}}
default: {end: {message: other}}
"""
NOW_S = 1_795_000_000.0
CALL = CallFacts(
    call_id="1", caller="+12125550142", called="+493012345678", digits={"pin": "4821", "yes": "1"}
)


def ruleset(when: str) -> Ruleset:
    def no_csv(name: str) -> bytes:
        raise FileNotFoundError(name)

    return compile_ruleset(parse_document("a", "a.yaml", (FILE % when).encode(), no_csv))


@pytest.mark.parametrize(
    ("when", "possible"),
    [
        ('{caller: "+12125550142"}', {"first", "default"}),
        ('{caller: "+12125550143"}', {"default"}),  # the last digits are shown
        ('{caller: "+442079460142"}', {"default"}),
        ("{caller: {in: vip}}", {"default"}),
        ('{caller: {prefix: "+1212"}}', {"first"}),
        ('{caller: {prefix: "+1212555"}}', {"first", "default"}),
        ('{caller: {prefix: "+1646"}}', {"default"}),
        ("{caller: {country: US}}", {"first", "default"}),  # +1 is Canada too
        ("{caller: {country: FR}}", {"default"}),
        ("{called: {country: DE}}", {"first"}),
        ("{caller: {type: mobile}}", {"first", "default"}),
        ("{caller: {anonymous: true}}", {"default"}),
        ("{not: {caller: {anonymous: true}}}", {"first"}),
        ('{digits: {pin: "4821"}}', {"first", "default"}),
        ('{digits: {pin: "1"}}', {"default"}),
        ("{digits: {pin: {length: 2}}}", {"default"}),
        ("{digits: {pin: any}}", {"first"}),
        ('{digits: {"yes": "1"}}', {"first"}),
        ('{queue: {support: {waiting: ">3"}}}', {"first", "default"}),
        ('{queue: {known: {waiting: ">3"}}}', {"default"}),
    ],
)
def test_only_what_the_log_does_not_show_is_left_open(when: str, possible: set[str]):
    live = {"known": QueueFacts(waiting=0)}
    found = redecide(ruleset(when), masked(CALL), NOW_S, live, is_masked=True)
    assert {decision.rule for decision in found.decisions} == possible
    assert bool(found.open) == (len(possible) > 1)


def test_learning_from_many_alternatives_takes_steps_for_each_and_not_for_each_pair(
    monkeypatch: pytest.MonkeyPatch,
):
    steps = 0

    def counted(values: Iterable[Outcome]) -> Outcome:
        nonlocal steps
        steps += 1
        return any_of(values)

    monkeypatch.setattr("rules.learned.any_of", counted)

    def steps_for(alternatives: int) -> int:
        nonlocal steps
        steps = 0
        among = ", ".join(f'{{caller: "+1212555{n:04}"}}' for n in range(alternatives))
        rules = ruleset(f"{{any: [{among}]}}")
        then = Then(ruleset=rules, rule="first")
        redecide(rules, masked(CALL), NOW_S, {}, is_masked=True, then=then)
        return steps

    assert 0 < steps_for(200) < 3 * steps_for(100)


def test_what_is_open_is_named():
    rules = ruleset('{caller: "+12125550142", queue: {support: {waiting: ">3"}}}')
    found = redecide(rules, masked(CALL), NOW_S, {}, is_masked=True)
    assert found.open == ("caller", "queue.support.waiting")


def test_a_number_that_was_not_spelled_in_e164_could_be_any():
    call = CallFacts(call_id="1", caller="+1 212 555 0142")
    rules = ruleset('{caller: "+12125550142"}')
    found = redecide(rules, masked(call), NOW_S, {}, is_masked=True)
    assert len(found.decisions) == 2


def test_a_number_is_masked_as_the_rules_see_it():
    call = CallFacts(call_id="1", caller="+4402079460018")
    assert masked(call).caller == masked(CallFacts(call_id="1", caller="+442079460018")).caller
    rules = ruleset('{caller: "+442079460018"}')
    assert rules.explain_masked(masked(call), NOW_S, None, "first").decision.rule == "first"


def test_an_anonymous_caller_is_logged_as_such():
    assert masked(CallFacts(call_id="1", caller="anonymous")).caller == "anonymous"


def test_a_masked_explanation_follows_the_rule_that_was_logged():
    rules = ruleset('{caller: "+12125550142"}')
    said = rules.explain_masked(masked(CALL), NOW_S, None, "first")
    assert (said.decision.rule, said.skipped) == ("first", ())
    said = rules.explain_masked(masked(CALL), NOW_S, None, "default")
    (skipped,) = said.skipped
    assert (skipped.outcome, skipped.reason.found) == ("unknown", "+1212…42 (masked)")


def test_a_masked_explanation_does_not_follow_a_rule_that_cannot_have_decided():
    rules = ruleset('{caller: "+12125550143"}')
    assert rules.explain_masked(masked(CALL), NOW_S, None, "first").decision.rule == "default"


def test_the_action_of_a_rule_is_found_by_its_name():
    rules = ruleset("{}")
    assert action_of(rules, "default") == rules.document.default
    assert action_of(rules, "first") == rules.document.rules[0].then
    assert action_of(rules, "gone") is None
