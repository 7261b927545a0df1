"""What lint calls unreachable never decides a call."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rules import implication
from rules.document import Document
from rules.facts import CallFacts, LiveFacts
from rules.lint import lint
from rules.ruleset import compile_ruleset
from tests.property.rules.random_rules import CALLS, DOCUMENTS, LIVE_FACTS, TIMES

_SETTINGS = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
_ANY_CALL = given(document=DOCUMENTS, call=CALLS, now_s=TIMES, live=LIVE_FACTS)
_NEVER_DECIDES = {"unreachable-rule", "shadowed-rule", "rule-never-holds"}


def _never_decides(
    document: Document, call: CallFacts, now_s: float, live: LiveFacts | None
) -> None:
    ruleset = compile_ruleset(document)
    decided = ruleset.evaluate(call, now_s, live).rule
    lines = {p.mark.line for p in lint(ruleset) if p.code in _NEVER_DECIDES}
    assert decided not in {rule.name for rule in document.rules if rule.mark.line in lines}


test_a_rule_that_lint_calls_unreachable_never_decides = _SETTINGS(_ANY_CALL(_never_decides))


def test_a_prover_that_forgets_about_unknown_facts_is_caught(monkeypatch: pytest.MonkeyPatch):
    """Taking an implication the wrong way round."""
    right = implication._covers
    monkeypatch.setattr(
        implication, "_covers", lambda wide, narrow, names: right(narrow, wide, names)
    )
    hunt = settings(
        _SETTINGS, max_examples=6000, database=None, derandomize=True, phases=[Phase.generate]
    )(_ANY_CALL(_never_decides))
    with pytest.raises((AssertionError, ExceptionGroup)):
        hunt()
