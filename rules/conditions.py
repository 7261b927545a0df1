"""What a rule can ask of a call: the parsed form of `when`, before it is compiled.

Every condition is three-valued: true, false, or unknown when the fact it needs is not there.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from rules.problems import Mark


class Comparison(msgspec.Struct, frozen=True):
    """`">10"`, `">=10"`, `"<5m"`, `"=0"`: operator and number (seconds for durations)."""

    operator: Literal["<", "<=", "=", ">=", ">"]
    value: float


class NumberOf(StrEnum):
    CALLER = "caller"
    CALLED = "called"


class NumberIs(msgspec.Struct, frozen=True, kw_only=True, tag="number"):
    """Any of `values` (E.164), as written after the key `caller` or `called`."""

    of: NumberOf
    values: frozenset[str]
    mark: Mark


class NumberIn(msgspec.Struct, frozen=True, kw_only=True, tag="number_in"):
    """In any of these named lists."""

    of: NumberOf
    lists: tuple[str, ...]
    mark: Mark


class NumberPrefix(msgspec.Struct, frozen=True, kw_only=True, tag="number_prefix"):
    of: NumberOf
    prefixes: tuple[str, ...]
    mark: Mark


class NumberCountry(msgspec.Struct, frozen=True, kw_only=True, tag="number_country"):
    """ISO 3166-1 alpha-2 codes."""

    of: NumberOf
    countries: frozenset[str]
    mark: Mark


class NumberType(msgspec.Struct, frozen=True, kw_only=True, tag="number_type"):
    """libphonenumber's types, lower case (`mobile`, `fixed_line`, `toll_free`, ...)."""

    of: NumberOf
    types: frozenset[str]
    mark: Mark


class NumberAnonymous(msgspec.Struct, frozen=True, kw_only=True, tag="number_anonymous"):
    of: NumberOf
    anonymous: bool
    mark: Mark


class ContactIs(msgspec.Struct, frozen=True, kw_only=True, tag="contact"):
    field: Literal["type", "id", "name", "email"]
    values: frozenset[str]
    mark: Mark


class RouterIs(msgspec.Struct, frozen=True, kw_only=True, tag="router"):
    values: frozenset[str]
    mark: Mark


class CalendarState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    HOLIDAY = "holiday"


class CalendarIs(msgspec.Struct, frozen=True, kw_only=True, tag="calendar"):
    calendar: str
    states: frozenset[CalendarState]
    mark: Mark


class TimeIn(msgspec.Struct, frozen=True, kw_only=True, tag="time"):
    """Minutes since midnight, [start, end), wall clock of the file's timezone; may cross midnight."""

    spans: tuple[tuple[int, int], ...]
    mark: Mark


class WeekdayIn(msgspec.Struct, frozen=True, kw_only=True, tag="weekday"):
    """0 is Monday."""

    days: frozenset[int]
    mark: Mark


class DateIn(msgspec.Struct, frozen=True, kw_only=True, tag="date"):
    """Both ends included, ISO dates, in the file's timezone."""

    spans: tuple[tuple[str, str], ...]
    mark: Mark


class DigitsAre(msgspec.Struct, frozen=True, kw_only=True, tag="digits"):
    """What the caller keyed in for `name`; exactly one of the four ways to ask is set."""

    name: str
    mark: Mark
    values: frozenset[str] | None = None
    absent: bool = False
    any: bool = False
    lengths: frozenset[int] | None = None


class QueueFact(StrEnum):
    WAITING = "waiting"
    LONGEST_WAIT = "longest_wait"
    ESTIMATED_WAIT = "estimated_wait"
    AGENTS_IDLE = "agents_idle"
    AGENTS_ON_DUTY = "agents_on_duty"


class QueueCompares(msgspec.Struct, frozen=True, kw_only=True, tag="queue"):
    """Any of `comparisons` holds for this fact of this queue."""

    queue: str
    fact: QueueFact
    comparisons: tuple[Comparison, ...]
    mark: Mark


class AttributeIs(msgspec.Struct, frozen=True, kw_only=True, tag="attribute"):
    key: str
    values: frozenset[str]
    mark: Mark


class Percent(msgspec.Struct, frozen=True, kw_only=True, tag="percent"):
    """Holds for this share of calls (0 to 100), decided by call id and rule name."""

    share: float
    mark: Mark


class AllOf(msgspec.Struct, frozen=True, kw_only=True, tag="all"):
    """No conditions at all: always true."""

    conditions: tuple["Condition", ...]


class AnyOf(msgspec.Struct, frozen=True, kw_only=True, tag="any"):
    conditions: tuple["Condition", ...]


class Not(msgspec.Struct, frozen=True, kw_only=True, tag="not"):
    condition: "Condition"


Condition = (
    NumberIs
    | NumberIn
    | NumberPrefix
    | NumberCountry
    | NumberType
    | NumberAnonymous
    | ContactIs
    | RouterIs
    | CalendarIs
    | TimeIn
    | WeekdayIn
    | DateIn
    | DigitsAre
    | QueueCompares
    | AttributeIs
    | Percent
    | AllOf
    | AnyOf
    | Not
)
