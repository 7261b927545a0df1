"""Calendars: states at instants, across midnights, holidays and clock changes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NoReturn
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.calendars import Calendar
from rules.conditions import CalendarState
from rules.document import CalendarSpec, Holidays, Hours

OPEN, CLOSED, HOLIDAY = CalendarState.OPEN, CalendarState.CLOSED, CalendarState.HOLIDAY
EVERY_DAY = range(7)


def hours(text: str) -> tuple[Hours, ...]:
    def minutes(clock: str) -> int:
        return int(clock[:2]) * 60 + int(clock[3:])

    return tuple(Hours(*map(minutes, span.split("-"))) for span in text.split())


def calendar(
    daily: str = "08:00-12:00 13:00-18:00",
    *,
    days: Iterable[int] = EVERY_DAY,
    zone: str = "Europe/Berlin",
    holidays: Holidays | None = None,
) -> Calendar:
    spec = CalendarSpec(
        timezone=zone,
        hours={day: hours(daily) for day in days},
        holidays=holidays or Holidays(),
    )
    return Calendar(spec)


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return local.timestamp()


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("clock", "state"),
    [
        ("07:59:59", CLOSED),
        ("08:00:00", OPEN),
        ("11:59:59", OPEN),
        ("12:00:00", CLOSED),
        ("13:00:00", OPEN),
        ("18:00:00", CLOSED),
    ],
)
def test_a_split_day_is_open_from_each_start_up_to_each_end(clock: str, state: CalendarState):
    assert calendar().state_at(at(f"2026-06-10T{clock}")) == {state}


def test_a_weekday_without_hours_is_closed():
    assert calendar(days=range(5)).state_at(at("2026-06-13T09:00")) == {CLOSED}


@pytest.mark.parametrize(
    ("when", "state"),
    [
        ("2026-06-08T21:59", CLOSED),  # Monday
        ("2026-06-08T22:00", OPEN),
        ("2026-06-09T05:59", OPEN),
        ("2026-06-09T06:00", CLOSED),
        ("2026-06-09T22:30", CLOSED),
    ],
)
def test_a_span_past_midnight_belongs_to_the_day_it_starts_on(when: str, state: CalendarState):
    assert calendar("22:00-06:00", days=[0]).state_at(at(when)) == {state}


def test_equal_start_and_end_is_a_whole_day_from_then_on():
    round_the_clock = calendar("06:00-06:00", days=[0])
    assert round_the_clock.state_at(at("2026-06-08T05:59")) == {CLOSED}
    assert round_the_clock.state_at(at("2026-06-09T05:59")) == {OPEN}
    assert round_the_clock.state_at(at("2026-06-09T06:00")) == {CLOSED}


def test_midnight_to_midnight_is_open_all_day():
    always = calendar("00:00-24:00")
    assert always.state_at(at("2026-06-10T00:00")) == {OPEN}
    assert always.state_at(at("2026-06-10T23:59:59.9")) == {OPEN}


class TestHolidays:
    def test_a_public_holiday_is_holiday_and_closed(self):
        german = calendar(holidays=Holidays(country="DE"))
        assert german.state_at(at("2026-10-03T09:00")) == {HOLIDAY, CLOSED}
        assert german.state_at(at("2026-10-02T09:00")) == {OPEN}

    def test_a_subdivision_has_holidays_of_its_own(self):
        day = at("2026-01-06T09:00")  # Epiphany: Bavaria, not Berlin
        assert HOLIDAY in calendar(holidays=Holidays(country="DE", subdivision="BY")).state_at(day)
        assert HOLIDAY not in calendar(holidays=Holidays(country="DE", subdivision="BE")).state_at(
            day
        )

    def test_a_holiday_observed_in_the_year_before_counts(self):
        american = calendar(zone="America/New_York", holidays=Holidays(country="US"))
        assert HOLIDAY in american.state_at(at("2027-12-31T10:00", "America/New_York"))

    def test_own_closed_days_hold_once_or_each_year(self):
        own = calendar(holidays=Holidays(closed=frozenset({"2026-12-24", "12-31"})))
        assert own.state_at(at("2026-12-24T09:00")) == {HOLIDAY, CLOSED}
        assert own.state_at(at("2027-12-24T09:00")) == {OPEN}
        assert own.state_at(at("2027-12-31T09:00")) == {HOLIDAY, CLOSED}

    def test_special_hours_make_a_holiday_that_is_open_by_them(self):
        own = calendar(holidays=Holidays(special={"2026-12-23": hours("08:00-10:00")}))
        assert own.state_at(at("2026-12-23T07:00")) == {HOLIDAY, CLOSED}
        assert own.state_at(at("2026-12-23T09:00")) == {HOLIDAY, OPEN}
        assert own.state_at(at("2026-12-23T11:00")) == {HOLIDAY, CLOSED}

    def test_special_hours_win_over_a_public_holiday(self):
        own = calendar(holidays=Holidays(country="DE", special={"10-03": hours("08:00-10:00")}))
        assert own.state_at(at("2026-10-03T09:00")) == {HOLIDAY, OPEN}

    def test_one_date_wins_over_the_same_day_of_every_year(self):
        own = calendar(
            holidays=Holidays(
                closed=frozenset({"2026-12-24"}), special={"12-24": hours("08:00-10:00")}
            )
        )
        assert own.state_at(at("2026-12-24T09:00")) == {HOLIDAY, CLOSED}
        assert own.state_at(at("2027-12-24T09:00")) == {HOLIDAY, OPEN}

    def test_a_night_shift_begun_before_the_holiday_runs_to_its_end(self):
        night = calendar("22:00-06:00", holidays=Holidays(closed=frozenset({"2026-12-25"})))
        assert night.state_at(at("2026-12-25T02:00")) == {HOLIDAY, OPEN}

    def test_a_night_shift_of_the_holiday_does_not_run_after_midnight_either(self):
        night = calendar("22:00-06:00", holidays=Holidays(closed=frozenset({"2026-12-25"})))
        assert night.state_at(at("2026-12-25T23:00")) == {HOLIDAY, CLOSED}
        assert night.state_at(at("2026-12-26T02:00")) == {CLOSED}

    def test_preparing_leaves_nothing_to_compute_in_a_call(self, monkeypatch: pytest.MonkeyPatch):
        own = Holidays(country="NZ")
        now_s = at("2026-06-10T09:00")
        calendar(holidays=own).prepare(now_s)

        def never(*_args: object, **_kwargs: object) -> NoReturn:
            raise AssertionError("computed again")

        monkeypatch.setattr("rules.calendars.holidays.country_holidays", never)
        assert calendar(holidays=own).state_at(now_s) == {OPEN}


class TestClockChanges:
    """Wall-clock hours: skipped ones do not happen, repeated ones happen twice."""

    @pytest.mark.parametrize(
        ("zone", "opens"),
        [
            ("Europe/Berlin", ["2026-03-28T07:00", "2026-03-29T06:00"]),
            ("America/New_York", ["2026-03-07T13:00", "2026-03-08T12:00"]),
            ("Australia/Lord_Howe", ["2026-10-02T21:30", "2026-10-03T21:00"]),
            ("Europe/Berlin", ["2026-10-24T06:00", "2026-10-25T07:00"]),
            ("America/New_York", ["2026-10-31T12:00", "2026-11-01T13:00"]),
            ("Australia/Lord_Howe", ["2026-04-03T21:00", "2026-04-04T21:30"]),
        ],
    )
    def test_the_office_opens_at_eight_on_the_wall_before_and_after(
        self, zone: str, opens: list[str]
    ):
        for text in opens:
            office = calendar("08:00-18:00", zone=zone)
            assert office.state_at(utc(text) - 1) == {CLOSED}
            assert office.state_at(utc(text)) == {OPEN}

    def test_hours_inside_the_skipped_hour_do_not_happen(self):
        early = calendar("02:15-02:45")
        start_s = utc("2026-03-29T00:00")
        assert all(early.state_at(start_s + 60 * m) == {CLOSED} for m in range(0, 1200, 5))

    def test_hours_that_start_in_the_skipped_hour_start_when_it_is_over(self):
        early = calendar("02:30-05:00")
        assert early.state_at(utc("2026-03-29T00:59:59")) == {CLOSED}
        assert early.state_at(utc("2026-03-29T01:00:00")) == {OPEN}

    def test_hours_inside_the_repeated_hour_happen_twice(self):
        early = calendar("02:15-02:45")
        states = {
            text: early.state_at(utc(f"2026-10-25T{text}"))
            for text in ("00:10", "00:20", "00:50", "01:10", "01:20", "01:50")
        }
        assert [text for text, found in states.items() if found == {OPEN}] == ["00:20", "01:20"]

    def test_a_night_shift_lasts_an_hour_less_when_the_clock_is_put_forward(self):
        night = calendar("22:00-06:00")
        opened_s = utc("2026-03-28T21:00")
        assert night.next_change(opened_s) == opened_s + 7 * 3600

    def test_a_night_shift_lasts_an_hour_more_when_the_clock_is_put_back(self):
        night = calendar("22:00-06:00")
        opened_s = utc("2026-10-24T20:00")
        assert night.next_change(opened_s) == opened_s + 9 * 3600

    def test_a_day_may_begin_at_one_where_the_clock_skips_midnight(self):
        cairo = calendar("00:00-08:00", days=[4], zone="Africa/Cairo")  # Friday, 2026-04-24
        assert cairo.state_at(utc("2026-04-23T21:59:59")) == {CLOSED}
        assert cairo.state_at(utc("2026-04-23T22:00:00")) == {OPEN}


class TestNextChange:
    def test_it_is_the_next_edge_that_matters(self):
        assert calendar().next_change(at("2026-06-10T09:30")) == at("2026-06-10T12:00")

    def test_a_weekend_is_one_closed_stretch(self):
        office = calendar("08:00-18:00", days=range(5))
        assert office.next_change(at("2026-06-12T18:00")) == at("2026-06-15T08:00")

    def test_a_calendar_that_never_changes_has_none(self):
        assert calendar("00:00-24:00").next_change(at("2026-06-10T09:30")) is None


ZONES = ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo", "UTC")
MINUTE = st.integers(0, 1440)
# Days around the clock changes of those zones in 2026.
AROUND = [
    utc(f"2026-{day}T00:00")
    for day in ("03-08", "03-28", "04-04", "04-23", "06-10", "10-03", "10-25", "10-29", "11-01")
]


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    spans=st.lists(st.builds(Hours, MINUTE.filter(lambda m: m < 1440), MINUTE), max_size=3),
    days=st.sets(st.integers(0, 6)),
    closed=st.sampled_from(["03-29", "10-24", "04-24"]),
    start_s=st.sampled_from(AROUND),
    steps=st.lists(st.integers(1, 40_000), min_size=1, max_size=20),
)
def test_a_kept_state_is_never_stale(
    zone: str, spans: list[Hours], days: set[int], closed: str, start_s: float, steps: list[int]
):
    spec = CalendarSpec(
        timezone=zone,
        hours={day: tuple(spans) for day in days},
        holidays=Holidays(closed=frozenset({closed})),
    )
    kept = Calendar(spec)
    now_s = start_s
    for step in steps:
        now_s += step
        assert kept.state_at(now_s) == Calendar(spec).state_at(now_s)
        edge_s = kept._holds_until(now_s)
        assert now_s < edge_s <= now_s + 27 * 3600
        middle_s = (now_s + edge_s) / 2
        assert kept.state_at(now_s) == Calendar(spec).state_at(middle_s)
        assert kept.state_at(now_s) == Calendar(spec).state_at(max(now_s, edge_s - 1))


def test_a_state_kept_too_long_is_caught_by_that_property(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Calendar, "_holds_until", lambda _self, now_s: now_s + 6 * 3600)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_a_kept_state_is_never_stale()
