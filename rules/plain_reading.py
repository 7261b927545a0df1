"""The rules read word for word as documented: the specification of the compiled evaluator.

Written independently of it: no index, no shortcuts, no swapped questions. A condition evaluates to
the set of values it can still have: one of true, false and unknown when everything it asks for is
settled, more than one while live facts are outstanding that were not given. A rule decides when it
can only be true; it misses live facts when it could be.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from itertools import product
from zoneinfo import ZoneInfo

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
    NumberPrefix,
    NumberType,
    Percent,
    QueueCompares,
    QueueFact,
    RouterIs,
    TimeIn,
    WeekdayIn,
)
from rules.document import Document
from rules.evaluation import (
    LOTS,
    draw,
    is_drawn,
    lot_of,
    lots_of,
    multiplier_of,
    number_of,
    text_of,
)
from rules.facts import CallFacts, LiveFacts
from rules.numbers import country_of, type_of
from rules.wording import Leaf, weekday

_NumberClass = NumberPrefix | NumberCountry | NumberType


class Outcome(StrEnum):
    """What a condition came to. `unknown` is neither true nor false."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class PlainReading:
    """One call at one instant, asked one condition at a time."""

    is_masked = False
    """Whether the facts are as the log has masked them."""

    def __init__(
        self,
        document: Document,
        calendars: Mapping[str, Calendar],
        call: CallFacts,
        now_s: float,
        live: LiveFacts | None,
    ) -> None:
        self.document = document
        self._calendars = calendars
        self.call = call
        self._now_s = now_s
        self._live = live or {}
        self.local = datetime.fromtimestamp(now_s, ZoneInfo(document.timezone))

    def values_of(self, condition: Condition, rule: str) -> frozenset[Outcome]:
        """Every value the condition can have, whatever the live facts are that were not given."""
        match condition:
            case Not():
                return frozenset(opposite(v) for v in self.values_of(condition.condition, rule))
            case AllOf() | AnyOf():
                combine = all_of if isinstance(condition, AllOf) else any_of
                values = frozenset({combine(())})
                for each in condition.conditions:
                    more = self.values_of(each, rule)
                    values = frozenset(combine(pair) for pair in product(values, more))
                return values
            case QueueCompares() if condition.queue not in self._live:
                return frozenset(Outcome)
            case _:
                return frozenset({self.look(condition, rule)[0]})

    def outcome_of(self, condition: Condition, rule: str) -> Outcome:
        """What the condition comes to with what is known; facts not given are unknown."""
        match condition:
            case Not():
                return opposite(self.outcome_of(condition.condition, rule))
            case AllOf() | AnyOf():
                combine = all_of if isinstance(condition, AllOf) else any_of
                return combine([self.outcome_of(each, rule) for each in condition.conditions])
            case _:
                return self.look(condition, rule)[0]

    def not_given(self, condition: Condition) -> tuple[str, ...]:
        """The queues a condition asks for whose live facts were not given."""
        match condition:
            case QueueCompares():
                return () if condition.queue in self._live else (condition.queue,)
            case Not():
                return self.not_given(condition.condition)
            case AllOf() | AnyOf():
                queues = {q for each in condition.conditions for q in self.not_given(each)}
                return tuple(sorted(queues))
            case _:
                return ()

    def look(  # noqa: PLR0911  a case each
        self, leaf: Leaf, rule: str
    ) -> tuple[Outcome, str | None]:
        """What one leaf comes to, and what was found."""
        match leaf:
            case NumberIs() | NumberIn() | NumberPrefix() | NumberCountry() | NumberType():
                return self._look_at_number(leaf)
            case NumberAnonymous():
                is_anonymous = self._number(leaf) is None
                found = "anonymous" if is_anonymous else "a number"
                return _outcome(is_anonymous == leaf.anonymous), found
            case DigitsAre():
                return self._look_at_digits(leaf)
            case CalendarIs() | TimeIn() | WeekdayIn() | DateIn():
                return self._look_at_clock(leaf)
            case QueueCompares():
                return self._look_at_queue(leaf)
            case Percent() if not self.call.call_id:
                known = _outcome(leaf.share > 0)
                return Outcome.UNKNOWN if is_drawn(leaf.share) else known, None
            case Percent():
                lot = lot_of(draw(self.call.call_id), multiplier_of(rule))
                return _outcome(lot < lots_of(leaf.share)), f"{100 * lot / LOTS:.1f}"
            case _:
                return _known(self._text(leaf), lambda text: text in leaf.values)

    def _number(self, leaf: NumberIs | NumberIn | NumberAnonymous | _NumberClass) -> str | None:
        text = getattr(self.call, leaf.of.value)
        return number_of(text, self.document.country)

    def _look_at_number(
        self, leaf: NumberIs | NumberIn | _NumberClass
    ) -> tuple[Outcome, str | None]:
        number = self._number(leaf)
        match leaf:
            case NumberIs():
                return _known(number, lambda n: n in leaf.values)
            case NumberIn():
                lists = [self.document.lists[name].numbers for name in leaf.lists]
                return _known(number, lambda n: any(n in numbers for numbers in lists))
            case NumberPrefix():
                return _known(number, lambda n: any(n.startswith(p) for p in leaf.prefixes))
            case NumberCountry():
                country = None if number is None else country_of(number)
                return _known(country, lambda c: c in leaf.countries)
            case NumberType():
                kind = None if number is None else type_of(number)
                return _known(kind, lambda k: k in leaf.types)

    def _text(self, leaf: ContactIs | RouterIs | AttributeIs) -> str | None:
        match leaf:
            case RouterIs():
                return self.call.router
            case AttributeIs():
                return text_of(self.call.attributes.get(leaf.key))
            case ContactIs():
                contact = self.call.contact
                return None if contact is None else getattr(contact, leaf.field)

    def _look_at_digits(self, leaf: DigitsAre) -> tuple[Outcome, str | None]:
        digits = self.call.digits.get(leaf.name)
        if leaf.absent:
            return _outcome(digits is None), digits
        if leaf.any:
            return _outcome(digits is not None), digits
        lengths = leaf.lengths
        if lengths is not None:
            outcome, _ = _known(digits, lambda d: len(d) in lengths)
            return outcome, None if digits is None else str(len(digits))
        return _known(digits, lambda d: d in (leaf.values or ()))

    def _look_at_clock(
        self, leaf: CalendarIs | TimeIn | WeekdayIn | DateIn
    ) -> tuple[Outcome, str | None]:
        match leaf:
            case CalendarIs():
                states = self._calendars[leaf.calendar].state_at(self._now_s)
                return _outcome(bool(leaf.states & states)), ", ".join(sorted(states))
            case TimeIn():
                minute = self.local.hour * 60 + self.local.minute
                is_in = any(_is_between(minute, start, end) for start, end in leaf.spans)
                return _outcome(is_in), self.local.strftime("%H:%M")
            case WeekdayIn():
                day = self.local.weekday()
                return _outcome(day in leaf.days), weekday(day)
            case DateIn():
                date = self.local.date().isoformat()
                return _outcome(any(a <= date <= b for a, b in leaf.spans)), date

    def _look_at_queue(self, leaf: QueueCompares) -> tuple[Outcome, str | None]:
        facts = self._live.get(leaf.queue)
        if facts is None:
            return Outcome.UNKNOWN, None
        found = getattr(facts, _FIELDS[leaf.fact])
        if found is None:
            return Outcome.UNKNOWN, None
        return _outcome(any(_compares(c, found) for c in leaf.comparisons)), f"{found:g}"


_FIELDS = {
    QueueFact.WAITING: "waiting",
    QueueFact.LONGEST_WAIT: "longest_wait_s",
    QueueFact.ESTIMATED_WAIT: "estimated_wait_s",
    QueueFact.AGENTS_IDLE: "agents_idle",
    QueueFact.AGENTS_ON_DUTY: "agents_on_duty",
}


def opposite(value: Outcome) -> Outcome:
    """Of a `not`."""
    swapped = {Outcome.TRUE: Outcome.FALSE, Outcome.FALSE: Outcome.TRUE}
    return swapped.get(value, Outcome.UNKNOWN)


def all_of(values: Iterable[Outcome]) -> Outcome:
    """Of an `all`: false as soon as one part is."""
    among = set(values)
    if Outcome.FALSE in among:
        return Outcome.FALSE
    return Outcome.UNKNOWN if Outcome.UNKNOWN in among else Outcome.TRUE


def any_of(values: Iterable[Outcome]) -> Outcome:
    """Of an `any`: true as soon as one part is."""
    among = set(values)
    if Outcome.TRUE in among:
        return Outcome.TRUE
    return Outcome.UNKNOWN if Outcome.UNKNOWN in among else Outcome.FALSE


def _outcome(holds: bool) -> Outcome:  # noqa: FBT001  the value itself, not a switch
    return Outcome.TRUE if holds else Outcome.FALSE


def _known(found: str | None, holds: Callable[[str], bool]) -> tuple[Outcome, str | None]:
    return (Outcome.UNKNOWN if found is None else _outcome(holds(found))), found


def _is_between(minute: int, start: int, end: int) -> bool:
    if start < end:
        return start <= minute < end
    return minute >= start or minute < end


def _compares(comparison: Comparison, found: float) -> bool:
    match comparison.operator:
        case "<":
            return found < comparison.value
        case "<=":
            return found <= comparison.value
        case "=":
            return found == comparison.value
        case ">=":
            return found >= comparison.value
        case ">":
            return found > comparison.value
