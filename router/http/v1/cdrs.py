"""`cdrs`: what is on record of calls, newest first, as JSON or CSV."""

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from router.call_record import CallRecord, Direction, Disposition
from router.errors import ForbiddenError, InvalidInputError
from router.http.downloads import Table
from router.http.envelope import Page, moment, timestamp
from router.http.roles import Access, Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.resources import not_found
from router.http.v1.shown import number_shown
from router.store.call_records import MOST_LISTED, RecordFilters

OFFSET_MOST: Final = 5_000
"""Further back `before` (an id) or `to` is the way: a list by time cannot be counted off cheaply."""

FILTERS: Final = {
    "from": "begun not before this moment (RFC 3339)",
    "to": "begun before this moment (RFC 3339)",
    "queue": "that waited in this queue",
    "agent": "that this agent talked in, or was rung for",
    "disposition": "that ended like this",
    "direction": "inbound or outbound",
    "callback": "made to keep this callback",
    "before": "older than the call of this id",
}


Word = TypeVar("Word", Disposition, Direction)


class WaitForm(msgspec.Struct, frozen=True, kw_only=True):
    """One stay in a queue's line."""

    queue: str
    entered_at: datetime | None
    left_at: datetime | None
    outcome: str


class OfferForm(msgspec.Struct, frozen=True, kw_only=True):
    """One phone that was rung."""

    agent: str | None
    at: datetime | None
    ended_at: datetime | None
    outcome: str


class EventForm(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at: datetime | None
    what: str
    agent: str | None
    queue: str | None
    detail: str


class CdrForm(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a call. Seconds are rounded; digits were masked when they were written.

    `callback` is the one that the call was to keep, if any.
    """

    id: str
    pbx: str
    kind: str
    direction: Direction
    disposition: Disposition
    caller: str | None
    called: str | None
    callback: str | None
    began_at: datetime | None
    talking_at: datetime | None
    ended_at: datetime | None
    waited_seconds: int
    talked_seconds: int
    cause: int | None
    rules: list[str]
    digits: dict[str, str]
    waits: list[WaitForm]
    offers: list[OfferForm]
    agents: list[str]
    recordings: list[str]
    labels: list[str]


class CdrWithEvents(CdrForm, frozen=True, kw_only=True):
    """With everything that happened, in order."""

    events: list[EventForm]


async def list_cdrs(asked: Asked[None]) -> Page | Table:
    """There is a `total` once the end of the records was reached."""
    found, is_more = await find_records(asked)
    items = found[asked.offset :]
    ids = [record.id for record in items]
    telephony = asked.service.telephony
    labels = await telephony.labels.get(asked.tenant, ids, asked.deadline)
    forms = [
        CdrForm(**_fields(asked, record, own)) for record, own in zip(items, labels, strict=True)
    ]
    if asked.wants_csv:
        return _table(forms)
    total = None if is_more else len(found)
    return Page(items=list(forms), total=total, limit=asked.limit, offset=asked.offset)


async def get_cdr(asked: Asked[None]) -> CdrWithEvents:
    telephony = asked.service.telephony
    record = await telephony.records.get(asked.tenant, asked.id, asked.deadline)
    if asked.access is Access.OWN and (record is None or asked.who.sub not in record.agents):
        raise ForbiddenError("An agent sees only the records of calls of its own.")
    if record is None:
        raise not_found(asked, "call on record")
    (labels,) = await telephony.labels.get(asked.tenant, [asked.id], asked.deadline)
    events = [
        EventForm(
            at=timestamp(event.at_ms),
            what=event.what,
            agent=event.agent,
            queue=event.queue,
            detail=event.detail,
        )
        for event in record.events
    ]
    return CdrWithEvents(**_fields(asked, record, labels), events=events)


async def find_records(asked: Asked[Any]) -> tuple[list[CallRecord], bool]:
    """The newest records that fit, as many as offset and limit ask for; whether there are more."""
    if asked.offset > OFFSET_MOST:
        message = f"offset is at most {OFFSET_MOST} here; use before with an id, or to."
        raise InvalidInputError(message, field="offset")
    filters, wanted = _filters(asked), asked.offset + asked.limit + 1
    found: list[CallRecord] = []
    before = asked.query.get("before")
    while len(found) < wanted:
        some = await asked.service.telephony.records.find(
            asked.tenant,
            filters,
            asked.deadline,
            limit=min(wanted - len(found), MOST_LISTED),
            before=before,
        )
        if not some:
            break
        found += some
        before = some[-1].id
    return found[: wanted - 1], len(found) == wanted


def _filters(asked: Asked[Any]) -> RecordFilters:
    query = asked.query
    agent = query.get("agent")
    if asked.access is Access.OWN:
        if agent not in {None, asked.who.sub}:
            raise ForbiddenError("An agent sees only the records of calls of its own.")
        agent = asked.who.sub
    since, until = moment(query, "from"), moment(query, "to")
    return RecordFilters(
        since_ms=None if since is None else int(since.timestamp() * 1000),
        until_ms=None if until is None else int(until.timestamp() * 1000),
        queue=query.get("queue"),
        agent=agent,
        disposition=_one_of(Disposition, query.get("disposition"), "disposition"),
        direction=_one_of(Direction, query.get("direction"), "direction"),
        callback=query.get("callback"),
    )


def _one_of(kind: type[Word], text: str | None, field: str) -> Word | None:
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise InvalidInputError(f"{field} is one of {', '.join(kind)}.", field=field) from None


def _fields(asked: Asked[Any], record: CallRecord, labels: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a form."""
    is_known = record.talking_ms is not None and record.ended_ms is not None
    talked_ms = (record.ended_ms or 0) - (record.talking_ms or 0) if is_known else 0
    waited_ms = sum(
        wait.left_ms - wait.entered_ms for wait in record.waits if wait.left_ms is not None
    )
    return {
        "id": record.id,
        "pbx": record.pbx,
        "kind": record.kind,
        "direction": record.direction,
        "disposition": record.disposition,
        "caller": number_shown(asked, record.caller),
        "called": number_shown(asked, record.called),
        "callback": record.callback,
        "began_at": timestamp(record.began_ms),
        "talking_at": timestamp(record.talking_ms),
        "ended_at": timestamp(record.ended_ms),
        "waited_seconds": round(waited_ms / 1000),
        "talked_seconds": round(talked_ms / 1000),
        "cause": record.cause,
        "rules": list(record.rules),
        "digits": record.digits,
        "waits": [
            WaitForm(
                queue=wait.queue,
                entered_at=timestamp(wait.entered_ms),
                left_at=timestamp(wait.left_ms),
                outcome=wait.outcome,
            )
            for wait in record.waits
        ],
        "offers": [
            OfferForm(
                agent=offer.agent,
                at=timestamp(offer.at_ms),
                ended_at=timestamp(offer.ended_ms),
                outcome=offer.outcome,
            )
            for offer in record.offers
        ],
        "agents": list(record.agents),
        "recordings": [one.name for one in record.recordings],
        "labels": list(labels),
    }


_COLUMNS: Final = (
    *(
        "id",
        "pbx",
        "kind",
        "direction",
        "disposition",
        "caller",
        "called",
        "began_at",
        "talking_at",
    ),
    *("ended_at", "waited_seconds", "talked_seconds", "cause", "queues", "agents", "rules"),
    *("recordings", "labels", "callback"),
)


def _table(forms: list[CdrForm]) -> Table:
    rows = []
    for form in forms:
        plain: dict[str, object] = msgspec.to_builtins(form)
        plain["queues"] = [wait.queue for wait in form.waits]
        rows.append(tuple(_cell(plain[column]) for column in _COLUMNS))
    return Table(name="cdrs.csv", columns=_COLUMNS, rows=rows)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return "" if value is None else str(value)


ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/cdrs",
        resource=Resource.CDRS,
        summary="List call records, newest first; as CSV with Accept: text/csv",
        handler=list_cdrs,
        answer=CdrForm,
        is_list=True,
        filters=FILTERS,
        has_csv=True,
    ),
    Endpoint(
        method="GET",
        path="/cdrs/{id}",
        resource=Resource.CDRS,
        summary="Get the record of a call with all its events",
        handler=get_cdr,
        answer=CdrWithEvents,
    ),
)
