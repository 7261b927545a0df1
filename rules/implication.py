"""What can be told of conditions without a call: always true, never true, one implies another.

Everything here is sound and incomplete: "yes" is certain, "no" only means that it could not be
shown. As in the compiler a condition is asked one of two questions, "certainly true?" or, `negated`,
"certainly false?", so that `not` is no special case.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from rules.conditions import (
    AllOf,
    AnyOf,
    CalendarIs,
    CalendarState,
    Comparison,
    Condition,
    DateIn,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberIn,
    NumberIs,
    NumberPrefix,
    NumberType,
    Percent,
    QueueCompares,
    TimeIn,
    WeekdayIn,
)
from rules.document import CalendarSpec, Holidays
from rules.wording import Leaf, subject_of

_MINUTES = 24 * 60
_LARGEST_COMPARED = 2_000
"""Several lists together with more numbers than this are compared by name only."""

_BOTH = frozenset({CalendarState.OPEN, CalendarState.CLOSED})


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the names in conditions stand for."""

    calendars: Mapping[str, CalendarSpec]
    lists: Mapping[str, frozenset[str]]


def is_certain(  # noqa: PLR0911  a case each
    condition: Condition, names: Names, *, negated: bool = False
) -> bool:
    """Whether every call at any time gets "yes"."""
    match condition:
        case Not():
            return is_certain(condition.condition, names, negated=not negated)
        case AllOf() | AnyOf():
            answers = (is_certain(c, names, negated=negated) for c in condition.conditions)
            return all(answers) if is_conjunction(condition, negated=negated) else any(answers)
        case Percent():
            return condition.share <= 0 if negated else condition.share >= 100
        case WeekdayIn():
            return len(condition.days) == (0 if negated else 7)
        case TimeIn():
            return minutes_of(condition.spans).bit_count() == (0 if negated else _MINUTES)
        case CalendarIs():
            if not negated:
                return condition.states >= _BOTH
            return condition.states.isdisjoint(_states_of(names.calendars[condition.calendar]))
        case _:
            return False


def is_impossible(condition: Condition, names: Names, *, negated: bool = False) -> bool:
    """Whether no call ever gets "yes"."""
    match condition:
        case Not():
            return is_impossible(condition.condition, names, negated=not negated)
        case AllOf() | AnyOf():
            answers = (is_impossible(c, names, negated=negated) for c in condition.conditions)
            return any(answers) if is_conjunction(condition, negated=negated) else all(answers)
        case NumberIn() if not negated:
            return not any(names.lists[name] for name in condition.lists)
        case _:
            return is_certain(condition, names, negated=not negated)


class Prover:
    """Shows that one condition implies another, with a bounded number of steps over its life.

    When the steps are used up, nothing more can be shown: a hostile file costs no more than they do
    (a microsecond or two each).
    """

    def __init__(self, names: Names, most_steps: int = 500_000) -> None:
        self._names = names
        self._steps_left = most_steps

    @property
    def is_used_up(self) -> bool:
        """Whether what was not shown may only have taken too many steps."""
        return self._steps_left < 0

    def is_implied(
        self, claim: Condition, given: Condition, *, claimed: bool = True, is_given: bool = True
    ) -> bool:
        """Whether `given` being true means `claim` is, in whatever rules the two stand.

        `claimed` or `is_given` False: that condition being certainly false instead.
        """
        self._steps_left -= 1
        if self._steps_left < 0:
            return False
        if isinstance(claim, Not):
            return self.is_implied(claim.condition, given, claimed=not claimed, is_given=is_given)
        if isinstance(given, Not):
            return self.is_implied(claim, given.condition, claimed=claimed, is_given=not is_given)
        if isinstance(claim, AllOf | AnyOf) or isinstance(given, AllOf | AnyOf):
            return self._is_implied_by_parts(claim, given, claimed=claimed, is_given=is_given)
        return self._is_implied_by_leaf(claim, given, claimed=claimed, is_given=is_given)

    def _is_implied_by_parts(
        self, claim: Condition, given: Condition, *, claimed: bool, is_given: bool
    ) -> bool:
        def claims(given: Condition) -> bool:
            return self.is_implied(claim, given, claimed=claimed, is_given=is_given)

        def is_shown(claim: Condition) -> bool:
            return self.is_implied(claim, given, claimed=claimed, is_given=is_given)

        if isinstance(claim, AllOf | AnyOf) and is_conjunction(claim, negated=not claimed):
            return all(map(is_shown, claim.conditions))
        if isinstance(given, AllOf | AnyOf):
            if not is_conjunction(given, negated=not is_given):
                return all(map(claims, given.conditions))
            if any(map(claims, given.conditions)):
                return True
        if isinstance(claim, AllOf | AnyOf):
            return any(map(is_shown, claim.conditions))
        return False

    def _is_implied_by_leaf(
        self, claim: Leaf, given: Leaf, *, claimed: bool, is_given: bool
    ) -> bool:
        if is_certain(claim, self._names, negated=not claimed):
            return True
        if is_impossible(given, self._names, negated=not is_given):
            return True
        if claimed != is_given:
            return False
        if not claimed:
            return _covers(given, claim, self._names)
        if isinstance(claim, DigitsAre) and claim.any and isinstance(given, DigitsAre):
            return claim.name == given.name and not given.absent
        return _covers(claim, given, self._names)


def is_conjunction(condition: AllOf | AnyOf, *, negated: bool) -> bool:
    """Whether all parts have to say yes; `negated` swaps `all` and `any` (de Morgan)."""
    return isinstance(condition, AllOf) is not negated


def minutes_of(spans: Iterable[tuple[int, int]]) -> int:
    """The minutes of a day in any of the spans, one bit each."""
    return _minutes_of(tuple(spans))


@lru_cache(1024)
def _minutes_of(spans: tuple[tuple[int, int], ...]) -> int:
    whole = (1 << _MINUTES) - 1
    bits = 0
    for start, end in spans:
        before_end, from_start = (1 << min(end, _MINUTES)) - 1, whole & ~((1 << start) - 1)
        bits |= before_end & from_start if start < end else before_end | from_start
    return bits


def _states_of(spec: CalendarSpec) -> frozenset[CalendarState]:
    """The states a calendar may have at some time."""
    states = {CalendarState.CLOSED}
    if any(spec.hours.values()) or any(spec.holidays.special.values()):
        states.add(CalendarState.OPEN)
    if spec.holidays != Holidays():
        states.add(CalendarState.HOLIDAY)
    return frozenset(states)


def _covers(  # noqa: PLR0911  a case each
    wide: Leaf, narrow: Leaf, names: Names
) -> bool:
    """Whether `wide` is true wherever `narrow` is, and false only where `narrow` is false.

    The second holds since both look at the same fact: either both know it or neither does.
    """
    if subject_of(wide) != subject_of(narrow):
        return False
    match wide, narrow:
        case (NumberIs() | NumberIn() | NumberPrefix(), NumberIs() | NumberIn() | NumberPrefix()):
            return _covers_numbers(wide, narrow, names)
        case (DigitsAre(), DigitsAre()):
            return _covers_digits(wide, narrow)
        case (CalendarIs(), CalendarIs()):
            return _covers_states(wide.states, narrow.states, names.calendars[narrow.calendar])
        case (NumberCountry(), NumberCountry()):
            return wide.countries >= narrow.countries
        case (NumberType(), NumberType()):
            return wide.types >= narrow.types
        case (NumberAnonymous(), NumberAnonymous()):
            return wide.anonymous == narrow.anonymous
        case _:
            return _covers_values(wide, narrow)


def _covers_states(
    wide: frozenset[CalendarState], narrow: frozenset[CalendarState], spec: CalendarSpec
) -> bool:
    left = narrow - wide
    return not left or (
        left == {CalendarState.HOLIDAY}
        and CalendarState.CLOSED in wide
        and _is_closed_on_holidays(spec)
    )


def _is_closed_on_holidays(spec: CalendarSpec) -> bool:
    """Whether no holiday has hours of its own, or of the night before."""
    of_weekdays = (span for spans in spec.hours.values() for span in spans)
    return not any(spec.holidays.special.values()) and all(s.start < s.end for s in of_weekdays)


def _covers_values(wide: Leaf, narrow: Leaf) -> bool:
    match wide, narrow:
        case (TimeIn(), TimeIn()):
            return minutes_of(narrow.spans) & ~minutes_of(wide.spans) == 0
        case (WeekdayIn(), WeekdayIn()):
            return wide.days >= narrow.days
        case (DateIn(), DateIn()):
            return all(any(a <= c and d <= b for a, b in wide.spans) for c, d in narrow.spans)
        case (QueueCompares(), QueueCompares()):
            return all(any(_is_wider(w, n) for w in wide.comparisons) for n in narrow.comparisons)
        case _:
            wanted: frozenset[str] | None = getattr(wide, "values", None)
            values: frozenset[str] | None = getattr(narrow, "values", None)
            return wanted is not None and values is not None and wanted >= values


def _covers_numbers(
    wide: NumberIs | NumberIn | NumberPrefix,
    narrow: NumberIs | NumberIn | NumberPrefix,
    names: Names,
) -> bool:
    if isinstance(narrow, NumberPrefix):
        return isinstance(wide, NumberPrefix) and all(
            prefix.startswith(wide.prefixes) for prefix in narrow.prefixes
        )
    if (
        isinstance(wide, NumberIn)
        and isinstance(narrow, NumberIn)
        and set(wide.lists) >= set(narrow.lists)
    ):
        return True  # whatever is in the lists
    numbers = _numbers_of(narrow, names)
    if numbers is None:
        return False
    if isinstance(wide, NumberPrefix):
        return all(number.startswith(wide.prefixes) for number in numbers)
    among = _numbers_of(wide, names)
    return among is not None and among >= numbers


def _numbers_of(condition: NumberIs | NumberIn, names: Names) -> frozenset[str] | None:
    if isinstance(condition, NumberIs):
        return condition.values
    lists = [names.lists[name] for name in condition.lists]
    if len(lists) == 1:
        return lists[0]
    if sum(map(len, lists)) > _LARGEST_COMPARED:
        return None
    return frozenset().union(*lists)


def _covers_digits(wide: DigitsAre, narrow: DigitsAre) -> bool:
    if wide.absent or narrow.absent:
        return wide.absent and narrow.absent
    if wide.any or narrow.any:
        # Not `any` over values: where nothing was keyed in, `any` is false and they are unknown.
        return wide.any and narrow.any
    if wide.lengths is not None:
        lengths = narrow.lengths or {len(value) for value in narrow.values or ()}
        return wide.lengths >= lengths
    return narrow.lengths is None and (wide.values or frozenset()) >= (narrow.values or frozenset())


def _is_wider(wide: Comparison, narrow: Comparison) -> bool:
    """Whether every number that satisfies `narrow` satisfies `wide`."""
    w, n = wide.value, narrow.value
    match wide.operator, narrow.operator:
        case ("=", "="):
            return w == n
        case (">=", "=" | ">=" | ">") | (">", ">"):
            return n >= w
        case (">", "=" | ">="):
            return n > w
        case ("<=", "=" | "<=" | "<") | ("<", "<"):
            return n <= w
        case ("<", "=" | "<="):
            return n < w
        case _:
            return False
