"""Yesterday's call decided with tomorrow's rules, as far as the log tells what the call was."""

import msgspec

from rules.actions import DEFAULT_RULE, Action, Decision
from rules.facts import CallFacts, LiveFacts
from rules.learned import learn
from rules.masked import MaskedReading
from rules.plain_reading import Outcome
from rules.ruleset import Ruleset
from rules.wording import subject_of


class Redecided(msgspec.Struct, frozen=True, kw_only=True):
    """All decisions that the facts in the log allow, in file order; one is certain.

    `open` names the facts that would have to be known to tell them apart.
    """

    decisions: tuple[Decision, ...]
    open: tuple[str, ...] = ()


class Then(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the decision that was made: by which version of the rules, by which rule."""

    ruleset: Ruleset
    rule: str


def redecide(
    ruleset: Ruleset,
    call: CallFacts,
    now_s: float,
    live: LiveFacts | None,
    *,
    is_masked: bool,
    then: Then | None = None,
) -> Redecided:
    """Decide a logged call. Live facts that were not logged, and what is masked, are left open.

    `then` settles much of what is masked: what it was decided by did hold.
    """
    if not is_masked:
        decision = ruleset.evaluate(call, now_s, live)
        if not decision.missing:
            return Redecided(decisions=(decision,))
    reading = ruleset.read_masked(call, now_s, live)
    if is_masked and then is not None:
        reading.learned = learn(then.ruleset.read_masked(call, now_s, live), then.rule)
    return _read(ruleset, reading)


def action_of(ruleset: Ruleset, rule: str) -> Action | None:
    """What a rule of that name does; None when there is none."""
    if rule == DEFAULT_RULE:
        return ruleset.document.default
    return next((each.then for each in ruleset.document.rules if each.name == rule), None)


def _read(ruleset: Ruleset, reading: MaskedReading) -> Redecided:
    found: list[Decision] = []
    left_open: dict[str, None] = {}
    for rule in ruleset.document.rules:
        possible = reading.values_of(rule.when, rule.name)
        if Outcome.TRUE not in possible:
            continue
        found.append(Decision(rule=rule.name, action=rule.then))
        if possible == {Outcome.TRUE}:
            return Redecided(decisions=tuple(found), open=tuple(left_open))
        leaves = reading.open_leaves(rule.when, rule.name)
        left_open.update(dict.fromkeys(map(subject_of, leaves)))
    found.append(Decision(rule=DEFAULT_RULE, action=ruleset.document.default))
    return Redecided(decisions=tuple(found), open=tuple(left_open))
