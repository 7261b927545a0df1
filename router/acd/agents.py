"""The states of an agent, and the one table that says which event leads where.

How it works: a record holds *flags* that last until somebody changes them (off duty, do not
disturb, disabled, phone lost) and at most one *activity* with an end (reserved, ringing, on_call, wrap_up).
The flags say where the agent rests; the activity covers that until it ends. So the end of a lease,
of a wrap-up, of a call whose hang-up never arrived needs nobody to notice it: `effective_state`
simply stops seeing it. `TRANSITIONS` is the only place that knows what may happen in which state.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from rules.requirements import Requirement

MAX_QUEUES = 100
"""Queues one agent may be a member of: bounds the writes of one change of state."""
MAX_EXCLUDED = 100
"""Agents one call may exclude or have tried: bounds the work of one pick."""
MAX_SKILL_LEVEL = 100
MAX_ORDER = 100_000
"""Places in a fixed order: rank and idle time share one exact number in the store."""


class AgentState(StrEnum):
    OFF_DUTY = "off_duty"
    AVAILABLE = "available"
    RESERVED = "reserved"
    RINGING = "ringing"
    ON_CALL = "on_call"
    WRAP_UP = "wrap_up"
    DO_NOT_DISTURB = "do_not_disturb"
    DISABLED = "disabled"
    UNREACHABLE = "unreachable"
    """The phone is not there: switched off, unplugged, not registered."""


ACTIVITIES = frozenset(
    {AgentState.RESERVED, AgentState.RINGING, AgentState.ON_CALL, AgentState.WRAP_UP}
)
"""States with an end of their own; all others are where an agent rests."""


class AgentEvent(StrEnum):
    """What can happen to an agent.

    The first group changes flags. The second is ours and refused when it does not fit. `see_*` is
    what a phone system reports: it has happened, whatever we believed, and is refused only where
    what we know is better.
    """

    GO_ON_DUTY = "go_on_duty"
    GO_OFF_DUTY = "go_off_duty"
    SET_DND = "set_dnd"
    CLEAR_DND = "clear_dnd"
    DISABLE = "disable"
    ENABLE = "enable"
    LOSE_PHONE = "lose_phone"
    FIND_PHONE = "find_phone"

    RESERVE = "reserve"
    RING = "ring"
    CONNECT = "connect"
    RELEASE = "release"
    MISS = "miss"
    HANG_UP = "hang_up"
    END_WRAP_UP = "end_wrap_up"

    SEE_RINGING = "see_ringing"
    SEE_CONNECTED = "see_connected"
    SEE_BUSY = "see_busy"
    SEE_WRAP_UP = "see_wrap_up"
    SEE_FREE = "see_free"


class Rest(StrEnum):
    """A result of the table: the agent is where the flags say (`resting_state`)."""

    REST = "rest"


REST = Rest.REST
FLAG_EVENTS = frozenset(
    {
        AgentEvent.GO_ON_DUTY,
        AgentEvent.GO_OFF_DUTY,
        AgentEvent.SET_DND,
        AgentEvent.CLEAR_DND,
        AgentEvent.DISABLE,
        AgentEvent.ENABLE,
        AgentEvent.LOSE_PHONE,
        AgentEvent.FIND_PHONE,
    }
)

_S, _E = AgentState, AgentEvent
_SEEN_AT_REST: Mapping[AgentEvent, AgentState | Rest] = {
    _E.SEE_RINGING: _S.RINGING,
    _E.SEE_CONNECTED: _S.ON_CALL,
    _E.SEE_BUSY: _S.ON_CALL,
    _E.SEE_WRAP_UP: _S.WRAP_UP,
    _E.SEE_FREE: REST,
}
_AT_REST: Mapping[AgentEvent, AgentState | Rest] = {
    **dict.fromkeys(FLAG_EVENTS, REST),
    **_SEEN_AT_REST,
}
_OFFERED: Mapping[AgentEvent, AgentState | Rest] = {
    _E.RING: _S.RINGING,
    _E.CONNECT: _S.ON_CALL,
    _E.RELEASE: REST,
    _E.MISS: REST,
    _E.HANG_UP: REST,
    _E.SEE_RINGING: _S.RINGING,
    _E.SEE_CONNECTED: _S.ON_CALL,
}

TRANSITIONS: Mapping[AgentState, Mapping[AgentEvent, AgentState | Rest]] = {
    _S.OFF_DUTY: _AT_REST,
    _S.DO_NOT_DISTURB: _AT_REST,
    _S.DISABLED: _AT_REST,
    _S.UNREACHABLE: _AT_REST,
    _S.AVAILABLE: {**_AT_REST, _E.RESERVE: _S.RESERVED},
    # A flag changed during a call lies in wait beneath it.
    _S.RESERVED: {**dict.fromkeys(FLAG_EVENTS, _S.RESERVED), **_OFFERED},
    _S.RINGING: {**dict.fromkeys(FLAG_EVENTS, _S.RINGING), **_OFFERED},
    _S.ON_CALL: {
        **dict.fromkeys(FLAG_EVENTS, _S.ON_CALL),
        _E.CONNECT: _S.ON_CALL,
        _E.HANG_UP: _S.WRAP_UP,
        # A second call that rings does not end the first.
        _E.SEE_CONNECTED: _S.ON_CALL,
        _E.SEE_BUSY: _S.ON_CALL,
        _E.SEE_WRAP_UP: _S.WRAP_UP,
        _E.SEE_FREE: REST,
    },
    _S.WRAP_UP: {
        **dict.fromkeys(FLAG_EVENTS, _S.WRAP_UP),
        **_SEEN_AT_REST,
        _E.END_WRAP_UP: REST,
    },
}
"""State -> event -> where it leads. An event that is not there is refused."""


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """One agent in one queue: `skill_level` 0 to 100, `order` ascending (0 is asked first)."""

    skill_level: int = MAX_SKILL_LEVEL
    order: int = 0
    do_not_disturb: bool = False


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an agent. `*_ms` are milliseconds since the epoch on the store's clock.

    `idle_since_ms` is since when the agent rests; `until_ms` the end of `activity`. `disabled`
    lasts until somebody enables the agent or, where `disabled_until_ms` is set, until then.
    """

    id: str
    queues: Mapping[str, Membership] = {}
    skills: Mapping[str, int] = {}
    on_duty: bool = False
    reason: str | None = None
    do_not_disturb: bool = False
    disabled: bool = False
    disabled_until_ms: int | None = None
    phone_lost: bool = False
    unanswered: int = 0
    idle_since_ms: int = 0
    activity: AgentState | None = None
    activity_since_ms: int | None = None
    until_ms: int | None = None
    token: str | None = None
    call: str | None = None
    queue: str | None = None


class EffectiveState(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent is at one moment, since when, and until when if that ends by itself."""

    state: AgentState
    since_ms: int
    until_ms: int | None = None


def next_state(state: AgentState, event: AgentEvent) -> AgentState | Rest | None:
    """Where `event` leads from `state`; None is a refusal."""
    return TRANSITIONS[state].get(event)


def resting_state(record: AgentRecord, now_ms: int) -> AgentState:
    """Where the flags say the agent is when nothing else goes on."""
    if not record.on_duty:
        return AgentState.OFF_DUTY
    if record.disabled and (record.disabled_until_ms is None or now_ms < record.disabled_until_ms):
        return AgentState.DISABLED
    if record.do_not_disturb:
        return AgentState.DO_NOT_DISTURB
    return AgentState.UNREACHABLE if record.phone_lost else AgentState.AVAILABLE


def effective_state(record: AgentRecord, now_ms: int) -> EffectiveState:
    """The state at `now_ms`: an activity or a pause whose end has come is over, unannounced."""
    if record.activity and record.until_ms is not None and now_ms < record.until_ms:
        since = record.activity_since_ms
        return EffectiveState(
            state=record.activity,
            since_ms=record.idle_since_ms if since is None else since,
            until_ms=record.until_ms,
        )
    state = resting_state(record, now_ms)
    if state is AgentState.AVAILABLE:
        return EffectiveState(state=state, since_ms=ready_at_ms(record) or record.idle_since_ms)
    until = record.disabled_until_ms if state is AgentState.DISABLED else None
    return EffectiveState(state=state, since_ms=record.idle_since_ms, until_ms=until)


def ready_at_ms(record: AgentRecord) -> int | None:
    """From when on the agent can be offered a call; in the past: idle since. None: not by itself."""
    if not record.on_duty or record.do_not_disturb or record.phone_lost:
        return None
    if record.disabled and record.disabled_until_ms is None:
        return None
    ends = [record.idle_since_ms]
    if record.activity and record.until_ms is not None:
        ends.append(record.until_ms)
    if record.disabled and record.disabled_until_ms is not None:
        ends.append(record.disabled_until_ms)
    return max(ends)


def can_serve(record: AgentRecord, requirement: Requirement) -> bool:
    """Whether the agent may ever be offered such a call: member, not disturbed there, skilled."""
    membership = record.queues.get(requirement.queue)
    return (
        membership is not None
        and not membership.do_not_disturb
        and requirement.is_met_by(record.skills)
    )


def is_ready(record: AgentRecord, requirement: Requirement, now_ms: int) -> bool:
    """Whether the agent may be offered such a call at `now_ms`."""
    ready_at = ready_at_ms(record)
    return ready_at is not None and ready_at <= now_ms and can_serve(record, requirement)
