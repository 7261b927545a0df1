"""Calendars of a file: hours by weekday, holidays by country and by date."""

from collections.abc import Mapping
from functools import cache

import holidays
import msgspec

from rules.document import CalendarSpec, Holidays, Hours
from rules.fields import Entry, Fields, Reader, Value, both, each, list_of, mapping_of, one_of
from rules.parse_times import WEEKDAYS, Day, TimeSpan, TimeZone, Weekdays
from rules.scalars import Schema, Text

MOST_SPANS_A_DAY = 48
MOST_DATES = 2000

SUBDIVISION = Text(most=20, expected="a subdivision's code")


class HolidayCountry(msgspec.Struct, frozen=True):
    """An alpha-2 code whose public holidays are known."""

    def __call__(self, value: Value) -> str:
        expected = "a country's two capital letters, such as US"
        text = value.text(expected)
        if text not in holiday_countries():
            known = {text.upper()} & holiday_countries().keys()
            message = "no holidays are known for this country"
            value.fail("unknown-country", message, expected, known=known)
        return text

    @property
    def schema(self) -> Schema:
        return {"enum": sorted(holiday_countries())}


@cache
def holiday_countries() -> Mapping[str, tuple[str, ...]]:
    """Countries whose public holidays are known, each with its subdivisions."""
    found = holidays.list_supported_countries(include_aliases=True)
    return {code: tuple(parts) for code, parts in found.items() if len(code) == 2}


def calendar_reader(timezone: str) -> Reader[CalendarSpec]:
    """Reads one calendar; `timezone` is used where it names none."""

    def read_calendar(value: Value) -> CalendarSpec:
        fields = Fields(value)
        zone = fields.optional("timezone", TimeZone(), timezone)
        hours = fields.required("hours", read_week)
        days_off = fields.optional("holidays", read_holidays, Holidays())
        fields.done()
        return CalendarSpec(timezone=zone, hours=hours, holidays=days_off, mark=value.mark)

    return read_calendar


def read_week(value: Value) -> Mapping[int, tuple[Hours, ...]]:
    """Hours by weekday; each day stands in one entry only."""
    week: dict[int, tuple[Hours, ...]] = {}

    def read_days(entry: Entry) -> None:
        days, hours = both(entry, Weekdays(), read_hours)
        for day in days:
            if day in week:
                message = f"{WEEKDAYS[day]} has hours already"
                entry.key.fail("duplicate-day", message, "each day in one entry")
            week[day] = hours

    each(value.entries(), read_days)
    return week


def read_hours(value: Value) -> tuple[Hours, ...]:
    """The spans of one day: a list, or one; none is closed."""
    if value.is_scalar and not value.is_nothing:
        return (Hours(*TimeSpan()(value)),)
    spans = list_of(TimeSpan(), most=MOST_SPANS_A_DAY)(value)
    return tuple(Hours(start, end) for start, end in spans)


def read_holidays(value: Value) -> Holidays:
    """Public holidays of a country, own closed days, own hours on single days."""
    fields = Fields(value)
    country = fields.optional("country", HolidayCountry())
    subdivision = fields.optional("subdivision", SUBDIVISION)
    closed = fields.optional("closed", list_of(Day(), most=MOST_DATES), ())
    special = fields.optional("special", mapping_of(Day(), read_hours, most=MOST_DATES), {})
    if not fields.has_failed:
        _check_subdivision(fields, country, subdivision)
        if twice := set(closed) & set(special):
            message = f"{min(twice)} is closed and has special hours"
            fields.fail("closed", "duplicate-day", message)
    fields.done()
    return Holidays(
        country=country, subdivision=subdivision, closed=frozenset(closed), special=special
    )


def _check_subdivision(fields: Fields, country: str | None, subdivision: str | None) -> None:
    if subdivision is None:
        return
    if country is None:
        fields.fail("subdivision", "missing-key", "a subdivision needs its country", "country")
        return
    known = holiday_countries()[country]
    if subdivision not in known:
        message = f"unknown subdivision of {country}"
        expected = one_of(known) if known else "none: this country has no subdivisions"
        fields.fail("subdivision", "unknown-subdivision", message, expected, known=known)
