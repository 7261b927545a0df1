"""What is kept of one call: one record, folded from what was written down while it went on. Pure.

Events are only ever appended, by whichever controller has the call at that moment, so a record exists
from the first moment, survives a crash, and is complete when the call is taken over.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

LOST_AFTER_MS = 24 * 3_600_000
"""A call without an end for so long is not going on any more; nobody saw how it ended."""


class Direction(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Disposition(StrEnum):
    """How a call ended, seen from the caller: talked, left a message, promised a callback, gave up."""

    LIVE = "live"
    ANSWERED = "answered"
    MESSAGE = "message"
    CALLBACK = "callback"
    ABANDONED = "abandoned"
    UNANSWERED = "unanswered"


class Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a call is from its first moment on. `began_ms`: since the epoch, UTC.

    `callback`: the promise that it is an attempt to keep.
    """

    id: str
    kind: str
    pbx: str
    direction: Direction
    began_ms: int
    caller: str | None = None
    called: str | None = None
    callback: str | None = None


class Happened(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. `seq` tells copies apart: a batch may be written twice."""

    seq: str
    at_ms: int
    what: str
    leg: str | None = None
    agent: str | None = None
    queue: str | None = None
    detail: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How it ended. `cause` is Q.850; `digits` are masked."""

    at_ms: int
    cause: int
    rule: str = ""
    digits: dict[str, str] = {}


class QueueWait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stay in a line; `left_ms` None: still there. `outcome` is a word such as `talking`."""

    queue: str
    entered_ms: int
    left_ms: int | None = None
    outcome: str = ""


class OfferMade(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One phone rung: `outcome` is `answered`, `busy`, `no_answer`, … (`cancelled`: another one answered, or
    the caller left) or empty while it rings."""

    leg: str
    at_ms: int
    agent: str | None = None
    ended_ms: int | None = None
    outcome: str = ""


class Recorded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file in the recordings folder and its SHA-256; `mailbox`: it is a message for that one."""

    name: str
    sha256: str
    mailbox: str | None = None


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Times are milliseconds since the epoch, UTC."""

    id: str
    kind: str
    pbx: str
    direction: Direction
    disposition: Disposition
    began_ms: int
    caller: str | None
    called: str | None
    callback: str | None
    talking_ms: int | None
    ended_ms: int | None
    cause: int | None
    rules: tuple[str, ...]
    digits: dict[str, str]
    waits: tuple[QueueWait, ...]
    offers: tuple[OfferMade, ...]
    agents: tuple[str, ...]
    recordings: tuple[Recorded, ...]
    events: tuple[Happened, ...]


QUEUED, RECORDED, DECIDED, TALKING = "queued", "recorded", "decided", "talking"
MESSAGE_KEPT, CALLBACK_PROMISED, CONFERENCE = "message_kept", "callback_promised", "conference"
OFFERED, ANSWERED, CANCELLED = "offered", "answered", "cancelled"
_HOW_IT_WENT = (ANSWERED, "offer_", "dial_")
_TOGETHER = frozenset({TALKING, CONFERENCE})
_LEFT_LINE = (TALKING, "caller_", "queue_", CALLBACK_PROMISED, "hung_up_by_", "dequeued")
_SAY_HOW_IT_WENT = (QUEUED, RECORDED, MESSAGE_KEPT, CONFERENCE, *_LEFT_LINE)


def says_how_it_went(event: Happened) -> bool:
    """Whether the record would tell of another call without it, however long the call is."""
    return event.what.startswith(_SAY_HOW_IT_WENT)


def fold(head: Head, events: Sequence[Happened], end: End | None) -> CallRecord:
    """The record as it stands after these events."""
    unique = {event.seq: event for event in events}
    happened = sorted(unique.values(), key=lambda event: event.at_ms)
    talking = next((event.at_ms for event in happened if event.what == TALKING), None)
    return CallRecord(
        id=head.id,
        kind=head.kind,
        pbx=head.pbx,
        direction=head.direction,
        disposition=_disposition(happened, end, is_answered=talking is not None),
        began_ms=head.began_ms,
        caller=head.caller,
        called=head.called,
        callback=head.callback,
        talking_ms=talking,
        ended_ms=None if end is None else end.at_ms,
        cause=None if end is None else end.cause,
        rules=tuple(event.detail for event in happened if event.what == DECIDED),
        digits={} if end is None else end.digits,
        waits=_waits(happened, end),
        offers=_offers(happened, end),
        agents=tuple(
            dict.fromkeys(e.agent for e in happened if e.what in _TOGETHER and e.agent is not None)
        ),
        recordings=tuple(_recordings(happened)),
        events=tuple(happened),
    )


def _recordings(happened: Sequence[Happened]) -> Iterable[Recorded]:
    """Each once: who takes a call over says again what may not have been said."""
    files = [_recorded(*e.detail.split(" ", 2)) for e in happened if e.what == RECORDED]
    once: dict[str, Recorded] = {}
    for file in files:
        if file.name not in once or file.mailbox is not None:
            once[file.name] = file
    return once.values()


def _recorded(name: str, sha256: str = "", mailbox: str | None = None) -> Recorded:
    return Recorded(name=name, sha256=sha256, mailbox=mailbox)


def _disposition(
    happened: Sequence[Happened], end: End | None, *, is_answered: bool
) -> Disposition:
    words = {event.what for event in happened}
    if is_answered:
        return Disposition.ANSWERED
    if MESSAGE_KEPT in words:
        return Disposition.MESSAGE
    if CALLBACK_PROMISED in words:
        return Disposition.CALLBACK
    if end is None:
        return Disposition.LIVE
    return Disposition.ABANDONED if QUEUED in words else Disposition.UNANSWERED


def _waits(happened: Sequence[Happened], end: End | None) -> tuple[QueueWait, ...]:
    waits: list[QueueWait] = []
    current: QueueWait | None = None
    for event in happened:
        if event.what == QUEUED:
            if current is not None and current.queue == event.queue:
                continue  # asked again in the same line: taken over, or an offer that failed
            if current is not None:
                waits.append(msgspec.structs.replace(current, left_ms=event.at_ms))
            current = QueueWait(queue=event.queue or "", entered_ms=event.at_ms)
        elif current is not None and event.what.startswith(_LEFT_LINE):
            left = msgspec.structs.replace(current, left_ms=event.at_ms, outcome=event.what)
            waits.append(left)
            current = None
    if current is not None:
        ended_ms = None if end is None else end.at_ms
        waits.append(msgspec.structs.replace(current, left_ms=ended_ms))
    return tuple(waits)


def _offers(happened: Sequence[Happened], end: End | None) -> tuple[OfferMade, ...]:
    offers: dict[str, OfferMade] = {}
    for event in happened:
        if event.what == TALKING and event.agent is not None:
            # Whoever talks has answered, even if the controller died before it wrote that down.
            theirs = [leg for leg, made in offers.items() if made.agent == event.agent]
            _conclude(offers, theirs, event.at_ms, ANSWERED)
        if event.what == OFFERED and event.leg is not None:
            made = OfferMade(leg=event.leg, agent=event.agent, at_ms=event.at_ms)
            offers.setdefault(event.leg, made)
        elif event.leg in offers and event.what.startswith(_HOW_IT_WENT):
            _conclude(offers, [event.leg], event.at_ms, event.what.partition("_")[2] or ANSWERED)
        if event.what == ANSWERED or event.what.startswith(_LEFT_LINE):
            # Whoever else was rung for the caller is not any more.
            _conclude(offers, offers, event.at_ms, CANCELLED)
    if end is not None:
        _conclude(offers, offers, end.at_ms, CANCELLED)
    return tuple(offers.values())


def _conclude(offers: dict[str, OfferMade], legs: Iterable[str], at_ms: int, outcome: str) -> None:
    """Those of these offers that are not over yet are now."""
    for leg in [leg for leg in legs if not offers[leg].outcome]:
        offers[leg] = msgspec.structs.replace(offers[leg], ended_ms=at_ms, outcome=outcome)
