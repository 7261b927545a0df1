"""The compiled evaluator and the plain reading give the same decision for every call."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rules import compile_conditions, compile_index, ruleset
from rules.conditions import Condition, Not
from rules.document import Document
from rules.evaluation import Evaluation
from rules.facts import CallFacts, LiveFacts
from rules.ruleset import Ruleset, compile_ruleset
from tests.property.rules.random_rules import CALLS, DOCUMENTS, LIVE_FACTS, TIMES

_SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
_ANY_CALL = given(document=DOCUMENTS, call=CALLS, now_s=TIMES, live=LIVE_FACTS)


def _agree(document: Document, call: CallFacts, now_s: float, live: LiveFacts | None) -> None:
    rules = compile_ruleset(document)
    assert rules.evaluate(call, now_s, live) == rules.explain(call, now_s, live).decision


test_the_compiled_rules_decide_as_the_plain_reading_does = _SETTINGS(_ANY_CALL(_agree))


@_SETTINGS
@_ANY_CALL
def test_nothing_missing_means_live_facts_change_nothing(
    document: Document, call: CallFacts, now_s: float, live: LiveFacts | None
):
    rules = compile_ruleset(document)
    without = rules.evaluate(call, now_s)
    if not without.missing:
        assert rules.evaluate(call, now_s, live) == without


@_SETTINGS
@_ANY_CALL
def test_every_rule_before_the_deciding_one_is_explained(
    document: Document, call: CallFacts, now_s: float, live: LiveFacts | None
):
    explanation = compile_ruleset(document).explain(call, now_s, live)
    names = [rule.name for rule in document.rules]
    decided = explanation.decision.rule
    before = names[: names.index(decided)] if decided in names else names
    assert [skipped.rule for skipped in explanation.skipped] == before
    assert all(skipped.outcome != "true" for skipped in explanation.skipped)


def _break_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """`not` of unknown is true."""
    right = compile_conditions.compile_condition

    def broken(
        condition: Condition, scope: compile_conditions.Scope, *, negated: bool = False
    ) -> compile_conditions.Holds:
        if isinstance(condition, Not) and not negated:
            holds = right(condition.condition, scope)
            return lambda e: not holds(e)
        return right(condition, scope, negated=negated)

    monkeypatch.setattr(compile_conditions, "compile_condition", broken)
    monkeypatch.setattr(ruleset, "compile_condition", broken)


def _break_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """`any` wants all of its parts."""
    monkeypatch.setattr(compile_conditions, "_one", compile_conditions._every)


def _break_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index forgets all candidates but the first."""
    right = compile_index.Index.candidates

    def broken(self: compile_index.Index, e: Evaluation) -> Sequence[int]:
        return right(self, e)[:1]

    monkeypatch.setattr(compile_index.Index, "candidates", broken)


def _break_any_in_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule with `any` is filed under one alternative only."""
    right = compile_index._parts

    def broken(condition: Condition) -> object:
        if isinstance(condition, compile_index.AnyOf) and condition.conditions:
            return right(condition.conditions[0])
        return right(condition)

    monkeypatch.setattr(compile_index, "_parts", broken)


def _break_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last rule that holds decides."""

    def broken(self: Ruleset, e: Evaluation) -> ruleset.Decision:
        holding = [decision for holds, decision in self._rules if holds(e)]
        return holding[-1] if holding else self._default

    monkeypatch.setattr(Ruleset, "_decide", broken)


def _break_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live facts are never missed."""
    monkeypatch.setattr(ruleset, "queues_asked", lambda _condition: ())


def _break_hope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live facts are missed although they would have changed nothing."""
    right = compile_conditions.compile_condition

    def broken(
        condition: Condition, scope: compile_conditions.Scope, *, negated: bool = False
    ) -> compile_conditions.Holds:
        return (lambda _e: True) if scope.hopeful else right(condition, scope, negated=negated)

    monkeypatch.setattr(ruleset, "compile_condition", broken)


@pytest.mark.parametrize(
    "break_it",
    [
        _break_not,
        _break_any,
        _break_index,
        _break_any_in_index,
        _break_order,
        _break_missing,
        _break_hope,
    ],
)
def test_a_broken_evaluator_is_caught(
    break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
):
    break_it(monkeypatch)
    hunt = settings(
        _SETTINGS, max_examples=4000, database=None, derandomize=True, phases=[Phase.generate]
    )(_ANY_CALL(_agree))
    with pytest.raises((AssertionError, ExceptionGroup)):
        hunt()
