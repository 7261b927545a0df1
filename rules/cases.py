"""The examples a rules file carries: each is decided and compared with what it expects.

A case is decided at its own `at`, with its own queue facts and no others: the same file gives the
same verdict whenever and wherever it is checked.
"""

import msgspec

from rules.actions import Action, Decision
from rules.document import Case, Rule
from rules.explain import Reason, why_not
from rules.plain_reading import PlainReading
from rules.problems import Problem
from rules.ruleset import Ruleset


def run_cases(ruleset: Ruleset) -> list[Problem]:
    """What is wrong (`case-failed`), in file order; empty when all pass."""
    rules = {rule.name: rule for rule in ruleset.document.rules}
    problems = []
    for case in ruleset.document.cases:
        decision = ruleset.evaluate(case.call, case.at_s, case.queues)
        if decision.rule != case.expect_rule:
            problems.append(_wrong_rule(case, decision, ruleset, rules.get(case.expect_rule)))
        elif case.expect_then is not None and not is_same_action(case.expect_then, decision.action):
            problems.append(_wrong_action(case, case.expect_then, decision.action))
    return problems


def is_same_action(one: Action, other: Action) -> bool:
    """Whether two actions do the same; a target may be named in one and written out in the other."""
    return _spelled_out(msgspec.to_builtins(one)) == _spelled_out(msgspec.to_builtins(other))


def _wrong_rule(case: Case, decision: Decision, ruleset: Ruleset, wanted: Rule | None) -> Problem:
    message = f"case {case.name!r} failed: rule {decision.rule!r} decided, not {case.expect_rule!r}"
    if wanted is not None:
        reading = PlainReading(
            ruleset.document, ruleset.calendars, case.call, case.at_s, case.queues
        )
        reason = why_not(reading, wanted)
        if reason is None:
            message += f"; {wanted.name!r} holds too, but comes later"
        else:
            message += f"; {wanted.name!r} does not hold: {describe(reason)}"
    if decision.missing:
        message += f"; the case gives no facts for {_listed(sorted(decision.missing))}"
    return Problem(
        mark=case.mark,
        code="case-failed",
        message=message,
        path="expect.rule",
        found=decision.rule,
        expected=repr(case.expect_rule),
    )


def _wrong_action(case: Case, wanted: Action, found: Action) -> Problem:
    return Problem(
        mark=case.mark,
        code="case-failed",
        message=f"case {case.name!r} failed: rule {case.expect_rule!r} decided, with another action",
        path="expect.then",
        found=_in_json(found),
        expected=_in_json(wanted),
    )


def describe(reason: Reason) -> str:
    """One reason in a line: `calendar.office wants open, found closed`."""
    if reason.parts:
        return "none of: " + "; ".join(describe(part) for part in reason.parts)
    found = "nothing (unknown)" if reason.found is None else reason.found
    return f"{reason.condition} wants {reason.wanted}, found {found}"


def _spelled_out(value: object) -> object:
    """Actions as plain data, without the names of targets and without what only says "default"."""
    if isinstance(value, dict):
        kept = {key: _spelled_out(each) for key, each in value.items() if each is not None}
        target = kept.get("target")
        if isinstance(target, dict):
            target.pop("name", None)
        return kept
    return [_spelled_out(each) for each in value] if isinstance(value, list | tuple) else value


def _in_json(action: Action) -> str:
    return msgspec.json.encode(_spelled_out(msgspec.to_builtins(action))).decode()


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
