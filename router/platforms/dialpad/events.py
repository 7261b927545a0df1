"""Dialpad's events into what they mean for agents and waiting callers.

Parts of the format are uncertain and parts vary in the field (`call_center` and `callcenter`, ids as
numbers or text, booleans as text, `phone` or `phone_number`), so every name stands in a table here and
nothing outside this file knows one. Reading never fails: what cannot be read is absent, and an event
that means nothing to us becomes `Meaningless` with the reason.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from router.store.agents_seen import CallSeen, StatusSeen


class Meaning(StrEnum):
    """What a call event says. Those of an agent's leg and those of a queue's leg are told apart."""

    RINGING = "ringing"
    CONNECTED = "connected"
    MISSED = "missed"
    ENDED = "ended"
    QUEUED = "queued"


class Why(StrEnum):
    """Why an event means nothing to us."""

    UNKNOWN_SHAPE = "unknown_shape"
    STATE_OF_NO_INTEREST = "state_of_no_interest"
    NO_IDS = "no_ids"
    TARGET_OF_NO_INTEREST = "target_of_no_interest"
    NO_HUMAN_ANSWERED = "no_human_answered"


CALL_STATES: Final[Mapping[str, Meaning]] = {
    "calling": Meaning.RINGING,
    "ringing": Meaning.RINGING,
    "preanswer": Meaning.RINGING,
    "connected": Meaning.CONNECTED,
    "queued": Meaning.QUEUED,
    "hangup": Meaning.ENDED,
    "missed": Meaning.MISSED,
    "blocked": Meaning.ENDED,
    "voicemail": Meaning.ENDED,
}
"""The states that move something. The others (hold, parked, recording, transcription, csat, barge,
recap_..., and whatever is added) change neither who is free nor who waits."""

SEEN: Final[Mapping[Meaning, CallSeen]] = {
    Meaning.RINGING: CallSeen.RINGING,
    Meaning.CONNECTED: CallSeen.CONNECTED,
    Meaning.MISSED: CallSeen.MISSED,
    Meaning.ENDED: CallSeen.HANGUP,
}

DUTY_STATUSES: Final[Mapping[str, StatusSeen]] = {
    "available": StatusSeen.AVAILABLE,
    "unavailable": StatusSeen.UNAVAILABLE,
    "occupied": StatusSeen.OCCUPIED,
    "busy": StatusSeen.BUSY,
    "wrapup": StatusSeen.WRAPUP,
    "occupied-end": StatusSeen.AVAILABLE,
    "wrapup-end": StatusSeen.AVAILABLE,
}
"""`on_duty_status`; the two `-end` ones are from the REST enum and say that the agent is free again."""

AGENT_TYPES: Final = frozenset({"user"})
QUEUE_TYPES: Final = frozenset({"call_center", "callcenter"})
QUEUE_GROUPS: Final = frozenset({"callcenter", "call_center"})
"""Prefixes of `group_id`, lower case; the one of call centers is a guess."""

LINKED_IDS: Final = ("master_call_id", "entry_point_call_id", "operator_call_id")
TIMES: Final = (
    "event_timestamp",
    "date_ended",
    "date_connected",
    "date_rang",
    "date_queued",
    "date_first_rang",
    "date_started",
)
"""Where an event's time is looked for, milliseconds UTC, the best first."""

DUTY_TIMES: Final = ("event_timestamp", "date")
NUMBERS: Final = ("external_number",)
PHONES: Final = ("phone_number", "phone")
"""Of a contact or target; the platform's table and its sample disagree."""

LONGEST_ID: Final = 64
LONGEST_REASON: Final = 100


class AgentCallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A leg to an agent: `calls` are its id and the linked ones, its own first; times in ms or None."""

    user_id: str
    seen: CallSeen
    calls: tuple[str, ...]
    at_ms: int | None
    caller: str | None = None
    call_center_id: str | None = None


class QueueCallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A caller in a call center's hold queue (`is_held`), or one who left it."""

    call_center_id: str
    calls: tuple[str, ...]
    is_held: bool
    since_ms: int | None = None


class AgentStatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's duty status; `do_not_disturb` None is not known."""

    user_id: str
    status: StatusSeen
    at_ms: int | None
    do_not_disturb: bool | None = None
    reason: str | None = None


class Meaningless(msgspec.Struct, frozen=True):
    """An event we have no use for."""

    why: Why


Event = AgentCallEvent | QueueCallEvent | AgentStatusEvent | Meaningless


def read_event(body: Mapping[str, object]) -> Event:
    """What an event means. Pure; never fails."""
    if "on_duty_status" in body:
        return _agent_status(body)
    if "state" in body:
        return _call(body)
    return Meaningless(Why.UNKNOWN_SHAPE)


def _call(body: Mapping[str, object]) -> Event:
    meaning = CALL_STATES.get(_word(body.get("state")))
    if meaning is None:
        return Meaningless(Why.STATE_OF_NO_INTEREST)
    own = read_id(body.get("call_id"))
    if own is None:
        return Meaningless(Why.NO_IDS)
    linked = (read_id(body.get(name)) for name in LINKED_IDS)
    calls = tuple(dict.fromkeys([own, *(call for call in linked if call is not None)]))
    target = _object(body.get("target"))
    kind, target_id = _word(target.get("type")), read_id(target.get("id"))
    if kind in QUEUE_TYPES and target_id is not None:
        return _queue_call(body, meaning, target_id, calls)
    if kind in AGENT_TYPES and target_id is not None and meaning in SEEN:
        return _agent_call(body, meaning, target_id, calls)
    return Meaningless(Why.TARGET_OF_NO_INTEREST)


def _agent_call(
    body: Mapping[str, object], meaning: Meaning, user_id: str, calls: tuple[str, ...]
) -> Event:
    return AgentCallEvent(
        user_id=user_id,
        seen=SEEN[meaning],
        calls=calls,
        at_ms=_first_time(body, TIMES),
        caller=_caller(body),
        call_center_id=_call_center(body),
    )


def _queue_call(
    body: Mapping[str, object], meaning: Meaning, call_center_id: str, calls: tuple[str, ...]
) -> Event:
    """`connected` fires when a menu answers too; `ringing` while the caller still waits."""
    if meaning is Meaning.RINGING:
        return Meaningless(Why.STATE_OF_NO_INTEREST)
    if meaning is Meaning.CONNECTED and not _has_human(body):
        return Meaningless(Why.NO_HUMAN_ANSWERED)
    return QueueCallEvent(
        call_center_id=call_center_id,
        calls=calls,
        is_held=meaning is Meaning.QUEUED,
        since_ms=_first_time(body, ("date_queued", *TIMES)),
    )


def _agent_status(body: Mapping[str, object]) -> Event:
    status = DUTY_STATUSES.get(_word(body.get("on_duty_status")))
    if status is None:
        return Meaningless(Why.STATE_OF_NO_INTEREST)
    target = _object(body.get("target"))
    user_id = read_id(target.get("id"))
    if user_id is None:
        return Meaningless(Why.NO_IDS)
    if _word(target.get("type")) not in AGENT_TYPES | {""}:
        return Meaningless(Why.TARGET_OF_NO_INTEREST)
    reason = body.get("on_duty_status_reason")
    return AgentStatusEvent(
        user_id=user_id,
        status=status,
        at_ms=_first_time(body, DUTY_TIMES),
        do_not_disturb=_do_not_disturb(body, status),
        reason=reason[:LONGEST_REASON] if isinstance(reason, str) and reason else None,
    )


def _do_not_disturb(body: Mapping[str, object], status: StatusSeen) -> bool | None:
    """Availability also falls during calls: it tells do-not-disturb only for who is free otherwise."""
    if status is not StatusSeen.AVAILABLE:
        return None
    is_available = read_bool(body.get("availability_status"))
    return None if is_available is None else not is_available


def _has_human(body: Mapping[str, object]) -> bool:
    return (
        read_ms(body.get("date_connected")) is not None
        and read_id(body.get("operator_call_id")) is not None
    )


def _call_center(body: Mapping[str, object]) -> str | None:
    """The call center that a leg to an agent came through."""
    entry = _object(body.get("entry_point_target"))
    if _word(entry.get("type")) in QUEUE_TYPES and (found := read_id(entry.get("id"))):
        return found
    group = body.get("group_id")
    if isinstance(group, str):
        kind, _, group_id = group.partition(":")
        if kind.lower() in QUEUE_GROUPS:
            return read_id(group_id)
    return None


def _caller(body: Mapping[str, object]) -> str | None:
    contact = _object(body.get("contact"))
    for value in (
        *(body.get(name) for name in NUMBERS),
        *(contact.get(name) for name in PHONES),
    ):
        if isinstance(value, str) and value.startswith("+") and value[1:].isdecimal():
            return value if len(value) <= 16 else None
    return None


def _first_time(body: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    return next((ms for name in names if (ms := read_ms(body.get(name))) is not None), None)


def read_id(value: object) -> str | None:
    """An id, number or text, as text. Never by way of a float: that would change large ids."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**20:
        return str(value)
    if isinstance(value, str):
        text = value.strip()
        if 0 < len(text) <= LONGEST_ID and text.isascii() and text.isprintable():
            return text
    return None


def read_bool(value: object) -> bool | None:
    """A boolean as such, as `TRUE`/`FALSE` text, or as available/unavailable."""
    if isinstance(value, bool):
        return value
    return _BOOLEANS.get(_word(value))


_BOOLEANS: Final = {"true": True, "false": False, "available": True, "unavailable": False}


def read_ms(value: object) -> int | None:
    """Milliseconds since the epoch, number or text; None outside the years 2001 to 5138."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 14:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 10**12 <= value < 10**14 else None


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) and len(value) <= 64 else ""


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
