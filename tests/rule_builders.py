"""Documents and conditions in few words, for tests of rules; no file is read."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from rules.actions import Action, Enqueue, Route, Target, TargetType
from rules.conditions import (
    AllOf,
    AttributeIs,
    CalendarIs,
    CalendarState,
    Comparison,
    Condition,
    DigitsAre,
    NumberIn,
    NumberIs,
    NumberOf,
    NumberPrefix,
    Percent,
    QueueCompares,
    QueueFact,
    RouterIs,
    TimeIn,
)
from rules.document import CalendarSpec, Case, Document, Hours, NumberList, Rule
from rules.problems import Mark

MARK = Mark("test.yaml", 1, 1)
ALWAYS = AllOf(conditions=())
CALLER, CALLED = NumberOf.CALLER, NumberOf.CALLED
RECEPTION = Target(type=TargetType.DEPARTMENT, id="6001", name="reception")
DEFAULT = Route(target=RECEPTION)
NOON_S = datetime.fromisoformat("2026-06-10T12:00:00+00:00").timestamp()
"""A Wednesday."""


def action(number: int) -> Action:
    return Route(target=Target(type=TargetType.USER, id=str(number)))


def rule(name: str, when: Condition, then: Action | None = None, *, line: int = 1) -> Rule:
    return Rule(
        name=name, when=when, then=then or Enqueue(queue="sales"), mark=Mark("test.yaml", line, 3)
    )


def document(
    *rules: Rule | Condition,
    default: Action = DEFAULT,
    timezone: str = "UTC",
    calendars: Mapping[str, CalendarSpec] | None = None,
    lists: Mapping[str, Iterable[str]] | None = None,
    targets: Mapping[str, Target] | None = None,
    cases: Iterable[Case] = (),
) -> Document:
    """Bare conditions become rules `r0`, `r1`, ... that route to users 0, 1, ..."""
    return Document(
        name="test",
        file="test.yaml",
        digest="0" * 64,
        timezone=timezone,
        country="US",
        rules=tuple(
            each if isinstance(each, Rule) else rule(f"r{n}", each, action(n), line=n + 1)
            for n, each in enumerate(rules)
        ),
        default=default,
        mark=MARK,
        calendars=calendars or {},
        lists={
            name: NumberList(numbers=frozenset(numbers), mark=MARK)
            for name, numbers in (lists or {}).items()
        },
        targets=targets or {},
        cases=tuple(cases),
    )


def office(zone: str = "UTC") -> CalendarSpec:
    """Monday to Friday, eight to six."""
    spans = (Hours(8 * 60, 18 * 60),)
    return CalendarSpec(timezone=zone, hours=dict.fromkeys(range(5), spans), mark=MARK)


def every(*conditions: Condition) -> AllOf:
    return AllOf(conditions=conditions)


def caller(*numbers: str) -> NumberIs:
    return NumberIs(of=CALLER, values=frozenset(numbers), mark=MARK)


def caller_in(*lists: str) -> NumberIn:
    return NumberIn(of=CALLER, lists=lists, mark=MARK)


def caller_prefix(*prefixes: str) -> NumberPrefix:
    return NumberPrefix(of=CALLER, prefixes=prefixes, mark=MARK)


def router(*ids: str) -> RouterIs:
    return RouterIs(values=frozenset(ids), mark=MARK)


def attribute(key: str, *values: str) -> AttributeIs:
    return AttributeIs(key=key, values=frozenset(values), mark=MARK)


def digits(name: str, *values: str) -> DigitsAre:
    return DigitsAre(name=name, values=frozenset(values), mark=MARK)


def digits_absent(name: str) -> DigitsAre:
    return DigitsAre(name=name, absent=True, mark=MARK)


def digits_any(name: str) -> DigitsAre:
    return DigitsAre(name=name, any=True, mark=MARK)


def calendar_is(name: str, *states: CalendarState) -> CalendarIs:
    return CalendarIs(calendar=name, states=frozenset(states), mark=MARK)


def time_in(start: int, end: int) -> TimeIn:
    return TimeIn(spans=((start, end),), mark=MARK)


def percent(share: float) -> Percent:
    return Percent(share=share, mark=MARK)


def queue(name: str, fact: QueueFact, *comparisons: str) -> QueueCompares:
    """Comparisons as the file spells them, in seconds: `">=10"`."""
    parsed = []
    for text in comparisons:
        value = text.lstrip("<>=")
        operator = text[: len(text) - len(value)]
        assert operator in {"<", "<=", "=", ">=", ">"}
        parsed.append(Comparison(operator, float(value)))
    return QueueCompares(queue=name, fact=fact, comparisons=tuple(parsed), mark=MARK)
