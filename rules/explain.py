"""Why a call was decided as it was: every rule before the deciding one, and what kept it from it."""

import msgspec

from rules.actions import DEFAULT_RULE, Decision
from rules.conditions import AllOf, AnyOf, Condition, Not
from rules.document import Rule
from rules.plain_reading import Outcome, PlainReading
from rules.problems import Mark
from rules.wording import HIDDEN, Leaf, masking_of, phrase, subject_of, wanted_of


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One condition that did not hold, in words.

    `found` None: there was nothing to look at. `parts` has, for `any`, why none
    of its alternatives held. `mark` is where the condition stands, as far as it is known.
    """

    condition: str
    wanted: str
    outcome: Outcome
    found: str | None = None
    mark: Mark | None = None
    parts: tuple["Reason", ...] = ()


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A rule before the deciding one and its first condition that did not hold.

    `wants` names the queues whose live facts, had they been given, could have made it match.
    """

    rule: str
    mark: Mark
    outcome: Outcome
    reason: Reason
    wants: tuple[str, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The decision, and every rule that came before it with why it did not decide.

    `local_time` is what the file's wall clock showed, ISO 8601.
    """

    ruleset: str
    digest: str
    decision: Decision
    local_time: str
    skipped: tuple[Skipped, ...]


def explain(
    reading: PlainReading, *, unmasked: bool = False, told: str | None = None
) -> Explanation:
    """Decide one call by reading the rules top to bottom, and keep a record of it.

    `told` names the rule that is known to have decided: it settles what masked facts leave open.
    """
    document = reading.document
    skipped: list[Skipped] = []
    missing: set[str] = set()
    rule_name, action = DEFAULT_RULE, document.default
    for rule in document.rules:
        possible = reading.values_of(rule.when, rule.name)
        if possible == {Outcome.TRUE} or (rule.name == told and Outcome.TRUE in possible):
            rule_name, action = rule.name, rule.then
            break
        wants = reading.not_given(rule.when) if Outcome.TRUE in possible else ()
        missing.update(wants)
        reason = _first_failing(reading, rule.when, rule.name, unmasked=unmasked)
        outcome = reading.outcome_of(rule.when, rule.name)
        skipped.append(
            Skipped(rule=rule.name, mark=rule.mark, outcome=outcome, reason=reason, wants=wants)
        )
    return Explanation(
        ruleset=document.name,
        digest=document.digest,
        decision=Decision(rule=rule_name, action=action, missing=frozenset(missing)),
        local_time=reading.local.isoformat(),
        skipped=tuple(skipped),
    )


def why_not(reading: PlainReading, rule: Rule) -> Reason | None:
    """Why one rule, taken by itself, does not hold; None when it does. Masked."""
    if reading.outcome_of(rule.when, rule.name) is Outcome.TRUE:
        return None
    return _first_failing(reading, rule.when, rule.name, unmasked=False)


def _first_failing(
    reading: PlainReading, condition: Condition, rule: str, *, unmasked: bool
) -> Reason:
    """The first condition that keeps this one from being true. Asked of those that are not."""
    outcome = reading.outcome_of(condition, rule)
    match condition:
        case AllOf():
            for each in condition.conditions:
                if reading.outcome_of(each, rule) is not Outcome.TRUE:
                    return _first_failing(reading, each, rule, unmasked=unmasked)
            raise AssertionError("an `all` that is not true has a part that is not")
        case AnyOf():
            parts = tuple(
                _first_failing(reading, each, rule, unmasked=unmasked)
                for each in condition.conditions
            )
            wanted = phrase(condition, unmasked=unmasked)
            return Reason(condition="any", wanted=wanted, outcome=outcome, parts=parts)
        case Not():
            inner = condition.condition
            if not isinstance(inner, AllOf | AnyOf | Not):
                return _reason(reading, inner, rule, outcome, unmasked=unmasked, but="not ")
            return Reason(
                condition="not",
                wanted=phrase(condition, unmasked=unmasked),
                outcome=outcome,
                found=f"that is {reading.outcome_of(inner, rule)}",
            )
        case _:
            return _reason(reading, condition, rule, outcome, unmasked=unmasked)


def _reason(
    reading: PlainReading, leaf: Leaf, rule: str, outcome: Outcome, *, unmasked: bool, but: str = ""
) -> Reason:
    holds, found = reading.look(leaf, rule)
    show = masking_of(leaf, unmasked=unmasked or reading.is_masked)
    wanted, shown = wanted_of(leaf, unmasked=unmasked), None if found is None else show(found)
    if shown is not None and holds is Outcome.FALSE and _looks_wanted(shown, wanted):
        shown += " (another one)"
    return Reason(
        condition=subject_of(leaf),
        wanted=but + wanted,
        outcome=outcome,
        found=shown,
        mark=leaf.mark,
    )


def _looks_wanted(shown: str, wanted: str) -> bool:
    """Whether masking has made what was found look like what was wanted."""
    bare = shown.partition(" ")[0]
    return HIDDEN in bare and bare in wanted
