"""From parsed conditions to closures.

How it works. A condition is true, false or unknown. Instead of carrying three values around, every
condition is compiled into one of two questions that have plain answers: "is it certainly true?" and
"is it certainly false?". `not` swaps the questions, `all` and `any` swap with them (de Morgan), and
only the leaves know what unknown means: neither. So a rule is a formula without negation over leaf
questions, and an unknown fact can never make it match.

Live facts that were not given may still be asked for. For rules that look at queues a second,
hopeful formula is compiled, in which those leaves answer yes: where it says no, the live facts
would not have made the rule match, and are not missed.
"""

import operator
from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from rules.calendars import Calendar
from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    CalendarIs,
    Comparison,
    Condition,
    ContactIs,
    DateIn,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberIn,
    NumberIs,
    NumberOf,
    NumberPrefix,
    NumberType,
    Percent,
    QueueCompares,
    QueueFact,
    RouterIs,
    TimeIn,
    WeekdayIn,
)
from rules.evaluation import Evaluation, is_drawn, lot_of, lots_of, multiplier_of, text_of
from rules.numbers import country_of, type_of

Holds = Callable[[Evaluation], bool]
"""Whether a condition certainly holds (or certainly fails, as compiled)."""

QUEUE_FACT_FIELDS = {
    QueueFact.WAITING: "waiting",
    QueueFact.LONGEST_WAIT: "longest_wait_s",
    QueueFact.ESTIMATED_WAIT: "estimated_wait_s",
    QueueFact.AGENTS_IDLE: "agents_idle",
    QueueFact.AGENTS_ON_DUTY: "agents_on_duty",
}

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What the names in a rule's condition stand for."""

    rule: str
    calendars: Mapping[str, Calendar]
    lists: Mapping[str, frozenset[str]]
    hopeful: bool = False
    """Whether live facts that were not given count as wanted: for `would the rule need them?`"""


def compile_condition(  # noqa: PLR0911  one return per kind of condition
    condition: Condition, scope: Scope, *, negated: bool = False
) -> Holds:
    """The question "is it certainly true?", or with `negated` "is it certainly false?"."""
    match condition:
        case Not():
            return compile_condition(condition.condition, scope, negated=not negated)
        case AllOf() | AnyOf():
            parts = [compile_condition(c, scope, negated=negated) for c in condition.conditions]
            return _every(parts) if isinstance(condition, AllOf) != negated else _one(parts)
        case NumberIs() | NumberIn() | NumberPrefix() | NumberAnonymous():
            return _number(condition, scope, negated=negated)
        case NumberCountry() | NumberType():
            return _number_class(condition, negated=negated)
        case ContactIs() | RouterIs() | AttributeIs():
            return _text(condition, negated=negated)
        case DigitsAre():
            return _digits(condition, negated=negated)
        case Percent():
            return _percent(condition, scope.rule, negated=negated)
        case CalendarIs() | TimeIn() | WeekdayIn() | DateIn():
            holds = _always_known(condition, scope)
            return _opposite(holds) if negated else holds
        case QueueCompares():
            return _queue(condition, hopeful=scope.hopeful, negated=negated)
        case _:
            assert_never(condition)


def _every(parts: list[Holds]) -> Holds:
    if not parts:
        return _yes
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda e: first(e) and second(e)

    def every(e: Evaluation) -> bool:
        for holds in parts:  # noqa: SIM110  a loop is faster than all() over a generator
            if not holds(e):
                return False
        return True

    return every


def _one(parts: list[Holds]) -> Holds:
    if not parts:
        return _no
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda e: first(e) or second(e)

    def one(e: Evaluation) -> bool:
        for holds in parts:  # noqa: SIM110  a loop is faster than any() over a generator
            if holds(e):
                return True
        return False

    return one


def _yes(_: Evaluation) -> bool:
    return True


def _no(_: Evaluation) -> bool:
    return False


def _opposite(holds: Holds) -> Holds:
    """For facts that are never unknown."""
    return lambda e: not holds(e)


def _number(
    condition: NumberIs | NumberIn | NumberPrefix | NumberAnonymous, scope: Scope, *, negated: bool
) -> Holds:
    number = operator.attrgetter(condition.of.value)
    match condition:
        case NumberAnonymous():
            wanted = condition.anonymous != negated
            return lambda e: (number(e) is None) is wanted
        case NumberIs():
            return _number_among([condition.values], condition.of, negated=negated)
        case NumberIn():
            lists = [scope.lists[name] for name in condition.lists]
            return _number_among(lists, condition.of, negated=negated)
        case NumberPrefix():
            prefixes = condition.prefixes
            if negated:
                return lambda e: (n := number(e)) is not None and not n.startswith(prefixes)
            return lambda e: (n := number(e)) is not None and n.startswith(prefixes)
        case _:
            assert_never(condition)


def _number_among(sets: list[frozenset[str]], of: NumberOf, *, negated: bool) -> Holds:
    number = operator.attrgetter(of.value)
    if len(sets) == 1:
        values = sets[0]
        if negated:
            return lambda e: (n := number(e)) is not None and n not in values
        return lambda e: number(e) in values
    if negated:
        return lambda e: (n := number(e)) is not None and not any(n in each for each in sets)
    return lambda e: (n := number(e)) is not None and any(n in each for each in sets)


def _number_class(condition: NumberCountry | NumberType, *, negated: bool) -> Holds:
    number = operator.attrgetter(condition.of.value)
    classify: Callable[[str], str | None]
    if isinstance(condition, NumberCountry):
        classify, values = country_of, condition.countries
    else:
        classify, values = type_of, condition.types

    def holds(e: Evaluation) -> bool:
        n = number(e)
        found = None if n is None else classify(n)
        return found is not None and (found in values) is not negated

    return holds


def _text(condition: ContactIs | RouterIs | AttributeIs, *, negated: bool) -> Holds:
    values = condition.values
    match condition:
        case RouterIs():
            if negated:
                return lambda e: e.call.router not in values
            return lambda e: e.call.router in values
        case ContactIs():
            field = operator.attrgetter(condition.field)
            if negated:
                return lambda e: (v := field(e.contact)) is not None and v not in values
            return lambda e: field(e.contact) in values
        case AttributeIs():
            key = condition.key
            if negated:
                return lambda e: (
                    (v := text_of(e.call.attributes.get(key))) is not None and v not in values
                )
            return lambda e: text_of(e.call.attributes.get(key)) in values
        case _:
            assert_never(condition)


def _digits(condition: DigitsAre, *, negated: bool) -> Holds:
    """Whether anything was keyed in is always known; what it was is unknown where nothing was."""
    name = condition.name
    if condition.absent or condition.any:
        present = condition.any != negated
        return lambda e: (name in e.call.digits) is present
    if condition.lengths is not None:
        lengths = condition.lengths
        return lambda e: (
            (d := e.call.digits.get(name)) is not None and (len(d) in lengths) is not negated
        )
    values = condition.values or frozenset()
    if negated:
        return lambda e: (d := e.call.digits.get(name)) is not None and d not in values
    return lambda e: e.call.digits.get(name) in values


def _percent(condition: Percent, rule: str, *, negated: bool) -> Holds:
    if not is_drawn(condition.share):
        return _yes if (condition.share > 0) is not negated else _no
    factor, lots = multiplier_of(rule), lots_of(condition.share)
    return lambda e: (lot := e.lot) is not None and (lot_of(lot, factor) < lots) is not negated


def _always_known(condition: CalendarIs | TimeIn | WeekdayIn | DateIn, scope: Scope) -> Holds:
    match condition:
        case CalendarIs():
            state_at, states = scope.calendars[condition.calendar].state_at, condition.states
            return lambda e: not states.isdisjoint(state_at(e.now_s))
        case TimeIn():
            return _one([_time(start, end) for start, end in condition.spans])
        case WeekdayIn():
            days = condition.days
            return lambda e: e.local.weekday() in days
        case DateIn():
            spans = condition.spans
            return lambda e: any(first <= e.date <= last for first, last in spans)
        case _:
            assert_never(condition)


def _time(start: int, end: int) -> Holds:
    if start < end:
        return lambda e: start <= e.minute < end
    return lambda e: (minute := e.minute) >= start or minute < end


def _queue(condition: QueueCompares, *, hopeful: bool, negated: bool) -> Holds:
    queue = condition.queue
    fact = operator.attrgetter(QUEUE_FACT_FIELDS[condition.fact])
    compares = _comparing(condition.comparisons)

    def holds(e: Evaluation) -> bool:
        facts = e.live.get(queue)
        if facts is None:
            return hopeful
        found = fact(facts)
        return found is not None and compares(found) is not negated

    return holds


def _comparing(comparisons: tuple[Comparison, ...]) -> Callable[[float], bool]:
    pairs = [(OPERATORS[each.operator], each.value) for each in comparisons]
    if len(pairs) == 1:
        compare, value = pairs[0]
        return lambda found: compare(found, value)
    return lambda found: any(compare(found, value) for compare, value in pairs)
