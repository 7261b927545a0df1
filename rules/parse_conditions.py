"""The conditions of a file: one reader for each key of `when`, in one table."""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Literal, cast, get_args

import msgspec

from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    CalendarIs,
    CalendarState,
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
from rules.fields import Entry, Fields, Value, both, each, one_of, one_or_more
from rules.numbers import NumberKind
from rules.parse_actions import NAME, QUEUE
from rules.parse_numbers import PREFIX, Country
from rules.parse_times import DateSpan, TimeSpan, Weekdays
from rules.reader import ScalarNode
from rules.scalars import (
    Boolean,
    Decimal,
    Integer,
    NameOf,
    OneOf,
    Schema,
    Text,
    duration_s,
    name,
)
from rules.scope import Scope


class ConditionKey(StrEnum):
    CALLER = "caller"
    CALLED = "called"
    CONTACT = "contact"
    ROUTER = "router"
    CALENDAR = "calendar"
    TIME = "time"
    WEEKDAY = "weekday"
    DATE = "date"
    DIGITS = "digits"
    QUEUE = "queue"
    ATTRIBUTES = "attributes"
    PERCENT = "percent"
    ANY = "any"
    ALL = "all"
    NOT = "not"


class NumberKey(StrEnum):
    IN = "in"
    PREFIX = "prefix"
    COUNTRY = "country"
    TYPE = "type"
    ANONYMOUS = "anonymous"


ContactKey = Literal["type", "id", "name", "email"]
CONTACT_KEYS: tuple[str, ...] = get_args(ContactKey)
DIGITS_WORDS = ("absent", "any")

ANY_TEXT = Text(least=0, most=256)
KEY = Text(most=64, expected="the name of an attribute")
"""No longer than what is kept of a call: a longer one would never be met."""
DIGITS_TEXT = Text(most=32, pattern="[0-9*#A-D]{1,32}", expected="digits (0-9 * #), absent or any")
ROUTER = name("the id of a call router")
LENGTH = Integer(1, 32)
SHARE = Decimal(0, 100)

_COMPARISON = r"(<=|>=|<|>|=) ?([0-9]{1,9}(?:\.[0-9]{1,3})?|[0-9]{1,9}[smhd])"
WAITS = frozenset({QueueFact.LONGEST_WAIT, QueueFact.ESTIMATED_WAIT})


class Compares(msgspec.Struct, frozen=True):
    """`">10"`, `"<=3"`, and for waits `">10m"`; a wait's plain number is seconds."""

    fact: QueueFact

    def __call__(self, value: Value) -> Comparison:
        is_wait = self.fact in WAITS
        example = ">10m" if is_wait else ">=10"
        expected = (
            f"one of < <= = >= > and a {'duration' if is_wait else 'number'}, such as {example}"
        )
        match = re.fullmatch(_COMPARISON, value.text(expected))
        if match is None:
            value.fail("wrong-type", "this is not a comparison", expected)
        operator = cast("Literal['<', '<=', '=', '>=', '>']", match[1])  # the pattern says so
        seconds = duration_s(match[2])
        if seconds is not None and not is_wait:
            value.fail("wrong-type", "this fact is a number, not a duration", expected)
        return Comparison(operator, float(match[2]) if seconds is None else float(seconds))

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{_COMPARISON}$"}


class ConditionReader(msgspec.Struct, frozen=True):
    """Reads one `when`: all its keys have to hold; nothing at all always holds."""

    scope: Scope

    def __call__(self, value: Value) -> Condition:
        return _all_keys(value, tuple(ConditionKey), self._read_key)

    def _read_key(self, entry: Entry) -> Condition:
        return _READERS[ConditionKey(entry.name)](self.scope, entry.value)


def _all_keys(
    value: Value, keys: tuple[str, ...] | None, read: Callable[[Entry], Condition]
) -> Condition:
    """Every entry of a mapping has to hold; `keys` None: the file chooses them."""

    def read_entry(entry: Entry) -> Condition:
        if keys is not None and entry.name not in keys:
            entry.key.fail("unknown-key", "unknown key", one_of(keys), known=keys)
        return read(entry)

    conditions = each(value.entries(), read_entry)
    return conditions[0] if len(conditions) == 1 else AllOf(conditions=conditions)


def _some_keys(
    value: Value, keys: tuple[str, ...] | None, read: Callable[[Entry], Condition]
) -> Condition:
    """Like `_all_keys` where no entry at all would be a mistake."""
    if not value.entries():
        expected = one_of(keys) if keys else "at least one name"
        value.fail("empty", "there is nothing to compare with", expected)
    return _all_keys(value, keys, read)


def _number(of: NumberOf, scope: Scope, value: Value) -> Condition:
    if not value.is_mapping:
        numbers = one_or_more(scope.number)(value)
        return NumberIs(of=of, values=frozenset(numbers), mark=value.mark)
    return _some_keys(value, tuple(NumberKey), partial(_number_key, of, scope))


def _number_key(of: NumberOf, scope: Scope, entry: Entry) -> Condition:
    value, mark = entry.value, entry.value.mark
    match NumberKey(entry.name):
        case NumberKey.IN:
            lists = one_or_more(NameOf(scope.lists, "list"))(value)
            return NumberIn(of=of, lists=lists, mark=mark)
        case NumberKey.PREFIX:
            return NumberPrefix(of=of, prefixes=one_or_more(PREFIX)(value), mark=mark)
        case NumberKey.COUNTRY:
            countries = one_or_more(Country())(value)
            return NumberCountry(of=of, countries=frozenset(countries), mark=mark)
        case NumberKey.TYPE:
            kinds = one_or_more(OneOf(NumberKind))(value)
            return NumberType(of=of, types=frozenset(map(str, kinds)), mark=mark)
        case NumberKey.ANONYMOUS:
            return NumberAnonymous(of=of, anonymous=Boolean()(value), mark=mark)


def _contact(scope: Scope, value: Value) -> Condition:
    del scope  # a contact is what the platform says

    def read(entry: Entry) -> Condition:
        values = one_or_more(ANY_TEXT)(entry.value)
        field = cast("ContactKey", entry.name)  # one of CONTACT_KEYS
        return ContactIs(field=field, values=frozenset(values), mark=entry.value.mark)

    return _some_keys(value, CONTACT_KEYS, read)


def _router(scope: Scope, value: Value) -> Condition:
    del scope  # routers stand in the site
    return RouterIs(values=frozenset(one_or_more(ROUTER)(value)), mark=value.mark)


def _calendar(scope: Scope, value: Value) -> Condition:
    def read(entry: Entry) -> Condition:
        read_states = one_or_more(OneOf(CalendarState))
        calendar, states = both(entry, NameOf(scope.calendars, "calendar"), read_states)
        return CalendarIs(calendar=calendar, states=frozenset(states), mark=entry.value.mark)

    return _some_keys(value, None, read)


def _time(scope: Scope, value: Value) -> Condition:
    del scope
    return TimeIn(spans=one_or_more(TimeSpan())(value), mark=value.mark)


def _weekday(scope: Scope, value: Value) -> Condition:
    del scope
    days = frozenset(day for days in one_or_more(Weekdays())(value) for day in days)
    return WeekdayIn(days=days, mark=value.mark)


def _date(scope: Scope, value: Value) -> Condition:
    del scope
    return DateIn(spans=one_or_more(DateSpan())(value), mark=value.mark)


def _digits(scope: Scope, value: Value) -> Condition:
    del scope  # whether any `ask` has the name is for lint: another file may have asked
    return _some_keys(value, None, _digits_of)


def _digits_of(entry: Entry) -> Condition:
    asked, value, mark = NAME(entry.key), entry.value, entry.value.mark
    if value.is_mapping:
        fields = Fields(value)
        lengths = fields.required("length", one_or_more(LENGTH))
        fields.done()
        return DigitsAre(name=asked, lengths=frozenset(lengths), mark=mark)
    texts = frozenset(one_or_more(_digits_text)(value))
    ways: list[Condition] = []
    if "absent" in texts:
        ways.append(DigitsAre(name=asked, absent=True, mark=mark))
    if "any" in texts:
        ways.append(DigitsAre(name=asked, any=True, mark=mark))
    if values := texts - {"absent", "any"}:
        ways.append(DigitsAre(name=asked, values=values, mark=mark))
    return ways[0] if len(ways) == 1 else AnyOf(conditions=tuple(ways))


def _digits_text(value: Value) -> str:
    if isinstance(value.node, ScalarNode) and value.node.text in DIGITS_WORDS:
        return value.node.text
    return DIGITS_TEXT(value)


def _queue(scope: Scope, value: Value) -> Condition:
    del scope  # queues stand in the site: lint knows them

    def read(queue: str, entry: Entry) -> Condition:
        fact = QueueFact(entry.name)
        comparisons = one_or_more(Compares(fact))(entry.value)
        return QueueCompares(queue=queue, fact=fact, comparisons=comparisons, mark=entry.value.mark)

    def read_queue(entry: Entry) -> Condition:
        queue = QUEUE(entry.key)
        return _some_keys(entry.value, tuple(QueueFact), partial(read, queue))

    return _some_keys(value, None, read_queue)


def _attributes(scope: Scope, value: Value) -> Condition:
    del scope

    def read(entry: Entry) -> Condition:
        key, values = both(entry, KEY, one_or_more(ANY_TEXT))
        return AttributeIs(key=key, values=frozenset(values), mark=entry.value.mark)

    return _some_keys(value, None, read)


def _percent(scope: Scope, value: Value) -> Condition:
    del scope
    return Percent(share=SHARE(value), mark=value.mark)


def _any(scope: Scope, value: Value) -> Condition:
    return AnyOf(conditions=_nested(scope, value))


def _all(scope: Scope, value: Value) -> Condition:
    return AllOf(conditions=_nested(scope, value))


def _not(scope: Scope, value: Value) -> Condition:
    return Not(condition=ConditionReader(scope)(value))


def _nested(scope: Scope, value: Value) -> tuple[Condition, ...]:
    values = value.items()
    if not values:
        value.fail("empty", "there are no conditions", "a list of conditions")
    return each(values, ConditionReader(scope))


_READERS: Mapping[ConditionKey, Callable[[Scope, Value], Condition]] = {
    ConditionKey.CALLER: partial(_number, NumberOf.CALLER),
    ConditionKey.CALLED: partial(_number, NumberOf.CALLED),
    ConditionKey.CONTACT: _contact,
    ConditionKey.ROUTER: _router,
    ConditionKey.CALENDAR: _calendar,
    ConditionKey.TIME: _time,
    ConditionKey.WEEKDAY: _weekday,
    ConditionKey.DATE: _date,
    ConditionKey.DIGITS: _digits,
    ConditionKey.QUEUE: _queue,
    ConditionKey.ATTRIBUTES: _attributes,
    ConditionKey.PERCENT: _percent,
    ConditionKey.ANY: _any,
    ConditionKey.ALL: _all,
    ConditionKey.NOT: _not,
}
