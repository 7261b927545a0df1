"""A rules file as read: typed, names resolved, not yet compiled."""

from collections.abc import Mapping

import msgspec

from rules.actions import Action, Target
from rules.conditions import Condition
from rules.facts import CallFacts, QueueFacts
from rules.problems import Mark


class Hours(msgspec.Struct, frozen=True):
    """One span of a day in minutes since midnight, [start, end); end <= start crosses midnight."""

    start: int
    end: int


class Holidays(msgspec.Struct, frozen=True, kw_only=True):
    """`closed` and `special` are keyed by `YYYY-MM-DD` or, for every year, `MM-DD`."""

    country: str | None = None
    subdivision: str | None = None
    closed: frozenset[str] = frozenset()
    special: Mapping[str, tuple[Hours, ...]] = {}


class CalendarSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Opening hours by weekday (0 is Monday) in `timezone`; a weekday without hours is closed."""

    timezone: str
    hours: Mapping[int, tuple[Hours, ...]]
    holidays: Holidays = Holidays()
    mark: Mark | None = None


class NumberList(msgspec.Struct, frozen=True, kw_only=True):
    """A named list, read and normalised to E.164. `csv` is the file it came from, if any."""

    numbers: frozenset[str]
    csv: str | None = None
    mark: Mark | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    when: Condition
    then: Action
    mark: Mark


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An example with its expected outcome. `at_s` is seconds since the epoch, UTC.

    `expect_then` None means only the rule is checked.
    """

    name: str
    call: CallFacts
    at_s: float
    queues: Mapping[str, QueueFacts]
    expect_rule: str
    mark: Mark
    expect_then: Action | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of one rules file. `digest` is over its bytes and those of its CSV lists."""

    name: str
    file: str
    digest: str
    timezone: str
    rules: tuple[Rule, ...]
    default: Action
    mark: Mark
    description: str | None = None
    country: str | None = None
    calendars: Mapping[str, CalendarSpec] = {}
    lists: Mapping[str, NumberList] = {}
    targets: Mapping[str, Target] = {}
    cases: tuple[Case, ...] = ()
    default_mark: Mark | None = None
    target_marks: Mapping[str, Mark] = {}
