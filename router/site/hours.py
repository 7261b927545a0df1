"""Opening hours of queues: the written form, and the calendar that can be asked."""

from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
from msgspec import Meta

from router.errors import InvalidInputError
from rules.calendars import Calendar
from rules.conditions import CalendarState
from rules.document import CalendarSpec
from rules.fields import UnreadableError, Value, read_all
from rules.parse_calendars import MOST_DATES, MOST_SPANS_A_DAY, calendar_reader
from rules.parse_times import WEEKDAYS
from rules.problems import FileError, ProblemList
from rules.reader import MappingNode, Node, ScalarNode, SequenceNode

Spans = Annotated[tuple[str, ...], Meta(max_length=MOST_SPANS_A_DAY)]
"""As many as the rules' parser takes, here as below: what it has read has to fit."""


class HolidayHours(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Holidays as a rules file writes them."""

    country: str | None = None
    subdivision: str | None = None
    closed: Annotated[tuple[str, ...], Meta(max_length=MOST_DATES)] = ()
    special: Annotated[Mapping[str, Spans], Meta(max_length=MOST_DATES)] = {}


class OpeningHours(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A calendar as a rules file writes it (`mon-fri: ["08:00-18:00"]`); kept as written.

    The rules' own parser reads it, so that a queue's hours and a rules file's mean the same.
    """

    hours: Annotated[Mapping[str, Spans], Meta(max_length=len(WEEKDAYS))]
    timezone: str = "UTC"
    holidays: HolidayHours | None = None


def read_opening_hours(node: Node, path: str, problems: ProblemList) -> OpeningHours | None:
    """The hours in a file, None when something is wrong with them (all of it is noted)."""
    try:
        calendar_reader("UTC")(Value(node, path, problems))
    except UnreadableError:
        return None
    form = cast("dict[str, object]", _plain(node))
    form["hours"] = _with_lists(form["hours"])
    if isinstance(off := form.get("holidays"), dict):
        kept = {key: value for key, value in off.items() if value != ""}
        if "special" in kept:
            kept["special"] = _with_lists(kept["special"])
        form["holidays"] = kept
    return msgspec.convert({key: value for key, value in form.items() if value != ""}, OpeningHours)


def calendar_of(hours: OpeningHours) -> Calendar:
    """The calendar; InvalidInputError names the field that cannot be read."""
    return Calendar(_spec(msgspec.json.encode(hours)))


def is_open(calendar: Calendar | None, now_s: float) -> bool:
    """Whether a queue is open; without hours it always is."""
    return calendar is None or CalendarState.OPEN in calendar.state_at(now_s)


def open_s(calendar: Calendar | None, since_s: float, until_s: float) -> float:
    """How many seconds of that time it was open; without hours all of it. Costs microseconds a day."""
    if calendar is None:
        return until_s - since_s
    total_s, at_s = 0.0, since_s
    while at_s < until_s:
        change_s = calendar.next_change(at_s, within_s=until_s - at_s) or until_s
        if CalendarState.OPEN in calendar.state_at(at_s):
            total_s += change_s - at_s
        at_s = change_s
    return total_s


def _spec(text: bytes) -> CalendarSpec:
    """JSON is YAML: the strict reader takes it as it is."""
    try:
        return read_all(text, "calendar", calendar_reader("UTC"))
    except FileError as error:
        first = error.problems[0]
        message = first.message if first.expected is None else f"{first.message}: {first.expected}"
        field = f"calendar.{first.path}".rstrip(".")
        raise InvalidInputError(message, field=field) from error


def _plain(node: Node) -> object:
    """A tree as plain values, every scalar as text."""
    match node:
        case ScalarNode(text=text):
            return text
        case SequenceNode(items=items):
            return [_plain(item) for item in items]
        case MappingNode(entries=entries):
            return {key.text: _plain(item) for key, item in entries}


def _with_lists(days: object) -> object:
    """One span may stand without its list, and no hours at all as nothing."""
    if not isinstance(days, dict):
        return {}
    return {
        day: spans if isinstance(spans, list) else [spans] if spans else []
        for day, spans in days.items()
    }
