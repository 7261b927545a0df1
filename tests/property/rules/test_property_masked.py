"""What a masked log leaves open always contains what really happened."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from router.decisions.log import masked
from rules import masked as masked_reading
from rules.actions import DEFAULT_RULE
from rules.document import Document, Rule
from rules.facts import CallFacts, LiveFacts
from rules.plain_reading import Outcome
from rules.replay import Then, redecide
from rules.ruleset import compile_ruleset
from tests.property.rules.random_rules import CALLS, DOCUMENTS, LIVE_FACTS, TIMES

_SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
_ANY_CALL = given(document=DOCUMENTS, call=CALLS, now_s=TIMES, live=LIVE_FACTS)


def _is_among(document: Document, call: CallFacts, now_s: float, live: LiveFacts | None) -> None:
    rules = compile_ruleset(document)
    really = rules.evaluate(call, now_s, live)
    for asked in (rules.asked_attributes, frozenset[str]()):
        logged = masked(call, None, asked)
        allowed = redecide(rules, logged, now_s, live or {}, is_masked=True)
        assert really.rule in {decision.rule for decision in allowed.decisions}
        if allowed.decisions[-1].rule == DEFAULT_RULE or len(allowed.decisions) == 1:
            assert len(allowed.decisions) == 1 or allowed.open


test_what_was_decided_is_among_what_the_masked_log_allows = _SETTINGS(_ANY_CALL(_is_among))


@_SETTINGS
@_ANY_CALL
def test_the_explanation_of_a_masked_decision_comes_to_the_logged_rule(
    document: Document, call: CallFacts, now_s: float, live: LiveFacts | None
):
    rules = compile_ruleset(document)
    really = rules.evaluate(call, now_s, live)
    explained = rules.explain_masked(masked(call), now_s, live, really.rule)
    assert explained.decision.rule == really.rule
    assert all(skipped.outcome != Outcome.TRUE for skipped in explained.skipped)


@_SETTINGS
@given(old=DOCUMENTS, new=DOCUMENTS, call=CALLS, now_s=TIMES, live=LIVE_FACTS)
def test_what_the_decision_of_then_tells_never_rules_out_what_is_decided_now(
    old: Document, new: Document, call: CallFacts, now_s: float, live: LiveFacts | None
):
    mixed = msgspec.structs.replace(new, rules=_renamed((*new.rules, *old.rules)))
    before, after = compile_ruleset(old), compile_ruleset(mixed)
    then = Then(ruleset=before, rule=before.evaluate(call, now_s, live).rule)
    found = redecide(after, masked(call), now_s, live or {}, is_masked=True, then=then)
    really = after.evaluate(call, now_s, live)
    if not really.missing:
        assert really.rule in {decision.rule for decision in found.decisions}


@_SETTINGS
@_ANY_CALL
def test_by_the_same_rules_a_masked_call_is_decided_as_it_was_whenever_that_follows(
    document: Document, call: CallFacts, now_s: float, live: LiveFacts | None
):
    rules = compile_ruleset(document)
    really = rules.evaluate(call, now_s, live)
    then = Then(ruleset=rules, rule=really.rule)
    found = redecide(rules, masked(call), now_s, live or {}, is_masked=True, then=then)
    without = redecide(rules, masked(call), now_s, live or {}, is_masked=True)
    assert really.rule in {decision.rule for decision in found.decisions}
    assert len(found.decisions) <= len(without.decisions)


def _renamed(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(
        msgspec.structs.replace(rule, name=f"rule {number}") for number, rule in enumerate(rules)
    )


@_SETTINGS
@_ANY_CALL
def test_without_a_mask_and_with_all_live_facts_one_decision_is_left(
    document: Document, call: CallFacts, now_s: float, live: LiveFacts | None
):
    rules = compile_ruleset(document)
    if rules.evaluate(call, now_s, live).missing:
        return
    (decision,) = redecide(rules, call, now_s, live, is_masked=False).decisions
    assert decision.rule == rules.evaluate(call, now_s, live).rule


def test_a_reading_that_guesses_is_caught(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(masked_reading, "_OPEN", frozenset({Outcome.FALSE}))
    monkeypatch.setattr(masked_reading, "_WIDE_OPEN", frozenset({Outcome.FALSE}))
    with pytest.raises(AssertionError):
        _SETTINGS(_ANY_CALL(_is_among))()
