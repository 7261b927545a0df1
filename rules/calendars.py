"""Opening hours on the wall clock: open, closed or holiday at one instant.

How it works. A calendar is read on the wall clock of its timezone, so a clock change moves nothing:
hours that the clock skips do not happen, hours that it repeats happen twice. Every span belongs to
the day it starts on, past midnight too. Hence a night shift that began before a closed holiday runs
to its end (`open` and `holiday`), and one that would begin on the holiday does not run, not even
after midnight.

What holds for a day, first match: `special` of that date, `closed` of that date, `special` of every
year, `closed` of every year, a public holiday (closed), the weekday's hours. All but the last make
the day a `holiday`, from midnight to midnight.

Between two edges of a day the state cannot change. It is kept with the instant it ends, so that
asking again costs a comparison.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

from rules.conditions import CalendarState
from rules.document import CalendarSpec, Hours

States = frozenset[CalendarState]

_STATES: dict[tuple[bool, bool], States] = {
    (is_open, is_holiday): frozenset(
        {CalendarState.OPEN if is_open else CalendarState.CLOSED}
        | ({CalendarState.HOLIDAY} if is_holiday else set())
    )
    for is_open in (False, True)
    for is_holiday in (False, True)
}

_ONE_DAY = timedelta(days=1)


class Calendar:
    """The states of one calendar over time. Safe to share between threads.

    Raises ZoneInfoNotFoundError for an unknown timezone; an unknown holiday country shows at the
    first question as NotImplementedError (the loader rejects both).
    """

    __slots__ = ("_known", "_spec", "_zone")

    def __init__(self, spec: CalendarSpec) -> None:
        self._spec = spec
        self._zone = ZoneInfo(spec.timezone)
        # From, until, states: one tuple, so that threads see all three or none.
        self._known: tuple[float, float, States] = (0.0, 0.0, frozenset())

    def state_at(self, now_s: float) -> States:
        """`open` or `closed`, plus `holiday` on holidays."""
        start_s, end_s, states = self._known
        if start_s <= now_s < end_s:
            return states
        states = self._work_out(now_s)
        self._known = (now_s, self._holds_until(now_s), states)
        return states

    def prepare(self, now_s: float) -> None:
        """Work out the public holidays around this year now (milliseconds), not in a call."""
        own = self._spec.holidays
        if own.country:
            year = datetime.fromtimestamp(now_s, UTC).year
            for each in (year - 1, year, year + 1):
                _public_holidays(own.country, own.subdivision, each)

    def next_change(self, now_s: float, within_s: float = 14 * 86_400.0) -> float | None:
        """The first instant after `now_s` with other states, None when there is none `within_s`."""
        states = self._work_out(now_s)
        edge_s = now_s
        while (edge_s := self._holds_until(edge_s)) <= now_s + within_s:
            if self._work_out(edge_s) != states:
                return edge_s
        return None

    def is_never_open(self) -> bool:
        """Whether no weekday and no special day has any hours."""
        by_date = self._spec.holidays.special
        return not any(self._spec.hours.values()) and not any(by_date.values())

    def _work_out(self, now_s: float) -> States:
        local = datetime.fromtimestamp(now_s, self._zone)
        today = local.date()
        minute = local.hour * 60 + local.minute
        is_holiday, spans = _day(self._spec, today)
        is_open = any(
            span.start <= minute and (minute < span.end or span.end <= span.start) for span in spans
        )
        if not is_open and today > date.min:
            _, spans = _day(self._spec, today - _ONE_DAY)
            is_open = any(span.end <= span.start and minute < span.end for span in spans)
        return _STATES[is_open, is_holiday]

    def _holds_until(self, now_s: float) -> float:
        """An instant after `now_s` up to which the states are those of `now_s`; at most a day."""
        local = datetime.fromtimestamp(now_s, self._zone)
        edges = (
            edge.replace(fold=fold).timestamp()
            for edge in self._edges_of(local)
            for fold in (0, 1)  # where the clock is put back, an edge comes twice
        )
        end_s = min(edge_s for edge_s in edges if edge_s > now_s)
        if datetime.fromtimestamp(end_s, self._zone).utcoffset() == local.utcoffset():
            return end_s
        return min(end_s, self._clock_change(now_s, end_s))

    def _edges_of(self, local: datetime) -> Iterator[datetime]:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        yield midnight + _ONE_DAY
        yield midnight + 2 * _ONE_DAY  # there may be no next midnight after `local`: skipped hours
        for day in (midnight.date(), midnight.date() - _ONE_DAY):
            for span in _day(self._spec, day)[1]:
                yield midnight + timedelta(minutes=span.start)
                yield midnight + timedelta(minutes=span.end)

    def _clock_change(self, start_s: float, end_s: float) -> float:
        """The first second in (start, end] with another offset from UTC than `start_s` has."""
        before = datetime.fromtimestamp(start_s, self._zone).utcoffset()
        low, high = int(start_s // 1), int(end_s // 1)
        while high - low > 1:
            middle = (low + high) // 2
            if datetime.fromtimestamp(middle, self._zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        return float(high)


def _day(spec: CalendarSpec, day: date) -> tuple[bool, tuple[Hours, ...]]:
    """Whether the day is a holiday, and the spans that start on it."""
    own = spec.holidays
    exact = day.isoformat()
    for key in (exact, exact[5:]):
        if key in own.special:
            return True, own.special[key]
        if key in own.closed:
            return True, ()
    if own.country and day in _public_holidays(own.country, own.subdivision, day.year):
        return True, ()
    return False, spec.hours.get(day.weekday(), ())


@lru_cache(maxsize=1024)
def _public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    # The years around it too: a holiday may be observed across the turn of the year.
    found = holidays.country_holidays(
        country, subdiv=subdivision, years=(year - 1, year, year + 1), expand=False
    )
    return frozenset(day for day in found if day.year == year)
