"""Rules that can never decide because an earlier rule holds whenever they do.

How it works. An earlier rule can shadow a later one only if the later one speaks of the same fact.
So every rule is filed under one fact of its condition (and the value, where it is an equality), and
a later rule is compared only with those filed under facts it speaks of itself.
"""

from collections.abc import Iterator, Sequence

from rules.conditions import AllOf, AnyOf, Condition, Not, NumberIn
from rules.document import Rule
from rules.implication import Names, Prover
from rules.wording import Leaf, leaves_of, subject_of

_MOST_COMPARISONS = 200_000
"""Bounds the work for a hostile file (about a second); a file of 1,000 rules stays far below."""

_Place = tuple[str, str]


def find_shadows(rules: Sequence[Rule], names: Names) -> Iterator[tuple[Rule, Rule]]:
    """Each shadowed rule with the first rule that shadows it."""
    filed: dict[_Place | None, list[int]] = {}
    prover, left = Prover(names), _MOST_COMPARISONS
    for position, rule in enumerate(rules):
        earlier = {p for place in _looked_up(rule.when, names) for p in filed.get(place, ())}
        for candidate in sorted(earlier):
            if (left := left - 1) < 0:
                return
            if prover.is_implied(rules[candidate].when, rule.when):
                yield rule, rules[candidate]
                break
        for place in _filed_under(rule.when):
            filed.setdefault(place, []).append(position)


def _filed_under(condition: Condition) -> Iterator[_Place | None]:
    leaves = [c for c in _conjuncts(condition) if not isinstance(c, AllOf | AnyOf | Not)]
    if not leaves:
        yield None
        return
    leaf = next((each for each in leaves if _values_of(each)), leaves[0])
    for value in _values_of(leaf):
        yield subject_of(leaf), "=" + value
    if not _values_of(leaf):
        yield subject_of(leaf), ""


def _values_of(leaf: Leaf) -> frozenset[str]:
    """What an equality compares with; empty for other conditions."""
    values: frozenset[str] | None = getattr(leaf, "values", None)
    return values or frozenset()


def _conjuncts(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, AllOf):
        for each in condition.conditions:
            yield from _conjuncts(each)
    else:
        yield condition


def _looked_up(condition: Condition, names: Names) -> Iterator[_Place | None]:
    yield None
    for leaf in leaves_of(condition):
        subject = subject_of(leaf)
        yield subject, ""
        values = _values_of(leaf)
        if isinstance(leaf, NumberIn):
            values = next((names.lists[n] for n in leaf.lists if names.lists[n]), values)
        for value in values:  # one is enough: a rule that covers all of them is filed under each
            yield subject, "=" + value
            break
