"""What a logged decision tells of the facts that the log has masked.

The rule that decided held, and none before it did: that settles most conditions which the mask leaves
open, as long as the same condition stands in the rules that are asked now.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate, product

from rules.actions import DEFAULT_RULE
from rules.conditions import AllOf, AnyOf, Condition, Not
from rules.masked import Learned, MaskedReading, key_of
from rules.plain_reading import Outcome, all_of, any_of, opposite

_NOT_TRUE = frozenset({Outcome.FALSE, Outcome.UNKNOWN})


def learn(then: MaskedReading, decided: str) -> Learned:
    """What follows from `decided` being the rule that the version of then came to."""
    learned: dict[object, frozenset[Outcome]] = {}
    names = [rule.name for rule in then.document.rules]
    if decided != DEFAULT_RULE and decided not in names:
        return learned
    for rule in then.document.rules:
        held = rule.name == decided
        allowed = frozenset({Outcome.TRUE}) if held else _NOT_TRUE
        _learn(then, rule.when, rule.name, allowed, learned)
        if held:
            break
    return learned


def _learn(
    then: MaskedReading,
    condition: Condition,
    rule: str,
    allowed: frozenset[Outcome],
    learned: dict[object, frozenset[Outcome]],
) -> None:
    match condition:
        case Not():
            opposites = frozenset(map(opposite, allowed))
            _learn(then, condition.condition, rule, opposites, learned)
        case AllOf() | AnyOf():
            combine = all_of if isinstance(condition, AllOf) else any_of
            parts = [then.values_of(each, rule) for each in condition.conditions]
            before = _combined_so_far(combine, parts)
            after = _combined_so_far(combine, parts[::-1])[::-1]
            for place, each in enumerate(condition.conditions):
                others = _either_way(combine, before[place], after[place + 1])
                fits = frozenset(
                    value
                    for value in parts[place]
                    if any(combine((value, other)) in allowed for other in others)
                )
                _learn(then, each, rule, fits, learned)
        case _ if then.hides(condition):
            key = key_of(condition, then.document)
            learned[key] = learned.get(key, frozenset(Outcome)) & allowed
        case _:
            return


_Combine = Callable[[Iterable[Outcome]], Outcome]


def _combined_so_far(
    combine: _Combine, parts: Iterable[frozenset[Outcome]]
) -> list[frozenset[Outcome]]:
    """What none, the first, the first two, ... of the parts come to."""
    return list(accumulate(parts, partial(_either_way, combine), initial=frozenset({combine(())})))


def _either_way(
    combine: _Combine, one: frozenset[Outcome], other: frozenset[Outcome]
) -> frozenset[Outcome]:
    return frozenset(combine(pair) for pair in product(one, other))
