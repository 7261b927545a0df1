"""Readers for times of day, weekdays, dates, instants and timezones."""

import re
import zoneinfo
from datetime import UTC, date, datetime
from functools import cache

import msgspec

from rules.fields import Value
from rules.scalars import Schema

DAY_MINUTES = 24 * 60
EARLIEST_S = 0.0
LATEST_S = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
"""Instants are from 1970 up to 2200: every zone, calendar and store can reckon with those."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_SPAN = r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])"
_WEEKDAY = "|".join(WEEKDAYS)
_WEEKDAYS = f"({_WEEKDAY})(?:-({_WEEKDAY}))?"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_LEAP_YEAR = "2000"
_AS_TYPED = str.maketrans(
    {"\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2026": ".."}
)


class TimeSpan(msgspec.Struct, frozen=True):
    """`"09:00-12:00"` as minutes since midnight, [start, end); an earlier end is the next day's."""

    def __call__(self, value: Value) -> tuple[int, int]:
        expected = "two times of day such as 09:00-17:30"
        text = value.text(expected)
        match = re.fullmatch(_SPAN, text)
        if match is None:
            known = _meant(text, _SPAN)
            value.fail("wrong-type", "this is not a span of time", expected, known=known)
        start = int(match[1]) * 60 + int(match[2])
        end = int(match[3]) * 60 + int(match[4])
        if end > DAY_MINUTES:
            value.fail("out-of-range", "a day ends at 24:00", expected)
        if start == end:
            value.fail("empty-span", "this span is empty", "00:00-24:00 for the whole day")
        return start, end

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{_SPAN}$"}


class Weekdays(msgspec.Struct, frozen=True):
    """`mon`, `mon-fri`, `sat-mon`: the days, 0 being Monday, in that order."""

    def __call__(self, value: Value) -> tuple[int, ...]:
        expected = f"a weekday or two with a dash ({', '.join(WEEKDAYS)}), such as mon-fri"
        text = value.text(expected)
        match = re.fullmatch(_WEEKDAYS, text)
        if match is None:
            known = _meant(text, _WEEKDAYS) or WEEKDAYS
            value.fail("wrong-type", "these are not weekdays", expected, known=known)
        first = WEEKDAYS.index(match[1])
        last = WEEKDAYS.index(match[2] or match[1])
        return tuple((first + step) % 7 for step in range((last - first) % 7 + 1))

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{_WEEKDAYS}$"}


class Day(msgspec.Struct, frozen=True):
    """`2026-12-24`, or for every year `12-24`; kept as written."""

    def __call__(self, value: Value) -> str:
        expected = "a date such as 2026-12-24 or, for every year, 12-24"
        text = value.text(expected)
        full = f"{_LEAP_YEAR}-{text}" if re.fullmatch("[0-9]{2}-[0-9]{2}", text) else text
        if not _is_date(full):
            value.fail("wrong-type", "there is no such date", expected)
        return text

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": "^(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}$"}


class DateSpan(msgspec.Struct, frozen=True):
    """`"2026-12-01..2026-12-24"`, both ends included, or one date."""

    def __call__(self, value: Value) -> tuple[str, str]:
        expected = "a date, or two such as 2026-12-01..2026-12-24"
        text = value.text(expected)
        first, dots, last = text.partition("..")
        last = last if dots else first
        if not (_is_date(first) and _is_date(last)):
            known = _meant(text, rf"{_DATE}\.\.{_DATE}")
            value.fail("wrong-type", "there are no such dates", expected, known=known)
        if last < first:
            value.fail("empty-span", "the last date is before the first", expected)
        return first, last

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": rf"^{_DATE}(?:\.\.{_DATE})?$"}


class Instant(msgspec.Struct, frozen=True):
    """RFC 3339 with an offset, as seconds since the epoch, EARLIEST_S to LATEST_S."""

    def __call__(self, value: Value) -> float:
        expected = "a time with its offset, such as 2026-12-01T10:00:00-05:00"
        text = value.text(expected)
        if not re.fullmatch(_INSTANT, text):
            value.fail("wrong-type", "this is not a time with an offset", expected)
        try:
            at_s = datetime.fromisoformat(text.upper()).timestamp()
        except ValueError:
            value.fail("wrong-type", "there is no such time", expected)
        if not EARLIEST_S <= at_s < LATEST_S:
            value.fail("out-of-range", "this time is out of range", "a time from 1970 to 2199")
        return at_s

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{_INSTANT}$"}


class TimeZone(msgspec.Struct, frozen=True):
    """An IANA name such as `America/New_York`."""

    def __call__(self, value: Value) -> str:
        expected = "an IANA name such as America/New_York"
        text = value.text(expected)
        if text not in _timezones():
            value.fail("unknown-timezone", "unknown timezone", expected, known=_timezones())
        return text

    @property
    def schema(self) -> Schema:
        return {"type": "string"}


@cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _meant(text: str, pattern: str) -> tuple[str, ...]:
    """The text as it should have been written, if only dashes, blanks, capitals, a 0 or whole names differ.

    Word processors make other signs of a dash and of two or three dots, which look the same.
    """
    plain = re.sub(r"\s", "", text.translate(_AS_TYPED)).lower()
    plain = re.sub(r"(?<![0-9])([0-9]):", r"0\1:", plain)
    plain = re.sub(f"({_WEEKDAY})[a-z]+", r"\1", plain)
    return (plain,) if plain != text and re.fullmatch(pattern, plain) else ()


def _is_date(text: str) -> bool:
    if not re.fullmatch(_DATE, text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
