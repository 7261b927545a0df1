"""What can happen to a call. Events of the dialogue with the caller (`ivr.steps`) come as they are."""

from enum import StrEnum
from typing import Literal

import msgspec

from ivr.steps import (
    Checked,
    Closing,
    Key,
    Played,
    Recorded,
    Standing,
    StandingUnknown,
    TimedOut,
)
from pbx.machine.plans import LegId, Offer, Plan
from rules.actions import Action


class Gone(StrEnum):
    """Why a leg is no more, from hang-up cause and SIP answer."""

    HUNG_UP = "hung_up"
    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    CANCELLED = "cancelled"
    VANISHED = "vanished"
    """In the middle of a talk, without a word: no power, no network."""
    LOST = "lost"
    """Not seen by us."""


class Begin(msgspec.Struct, frozen=True):
    """The first event of every call: it arrived, or it is to be placed."""


class Answered(msgspec.Struct, frozen=True):
    """Our answer has reached the caller."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The rules have decided."""

    rule: str
    action: Action
    decision: str = ""


class Planned(msgspec.Struct, frozen=True):
    """What the action means here."""

    plan: Plan


class Placed(msgspec.Struct, frozen=True):
    """The call stands in line and may wait `left_s` seconds more."""

    left_s: float


class NotPlacedBecause(StrEnum):
    FULL = "full"
    CLOSED = "closed"
    NOBODY_ON_DUTY = "nobody_on_duty"
    NOBODY_FREE = "nobody_free"
    STORE_DOWN = "store_down"


class NotPlaced(msgspec.Struct, frozen=True):
    """The queue does not take the call."""

    because: NotPlacedBecause


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """Agents are reserved for this call under one token; the first to answer wins.

    `waited_s`: how long the caller has waited, for those who answer to be told.
    """

    offers: tuple[Offer, ...]
    token: str
    waited_s: float = 0.0


class LegUp(msgspec.Struct, frozen=True):
    """A leg that we originated has answered and is ours to command."""

    leg: LegId


class LegGone(msgspec.Struct, frozen=True, kw_only=True):
    """`has_rung`: whether a phone was heard ringing there."""

    leg: LegId
    why: Gone
    cause: int = 0
    has_rung: bool = False


class Confirmed(msgspec.Struct, frozen=True, kw_only=True):
    """The reservation became the agent's call, or was no longer ours (`ok` False)."""

    agent: str
    ok: bool


class LegPlayed(msgspec.Struct, frozen=True):
    """The prompts for a leg other than the caller's are over."""

    leg: LegId


class Bridged(msgspec.Struct, frozen=True):
    """Caller and other party hear each other."""


class BridgeOver(msgspec.Struct, frozen=True):
    """The other party has left the bridge; the caller is still there."""


class SplitDone(msgspec.Struct, frozen=True):
    """Both legs of a bridge, or who was taken out of a conference, are ours to command again."""


class SplitFailed(msgspec.Struct, frozen=True):
    """It could not be taken apart; all go on talking."""


class CallbackPromised(msgspec.Struct, frozen=True):
    """The callback is written down (`ok`), or could not be."""

    ok: bool


class FileBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A recording or a message is being written to `file` (no extension): for whoever takes over."""

    of: Literal["recording", "message"]
    file: str


class RecordingFailed(msgspec.Struct, frozen=True):
    """The recording `file` could not be made or is empty; the call goes on."""

    file: str = ""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A controller has taken over; these legs are alive, those in `bridged` in one bridge."""

    alive: frozenset[LegId]
    bridged: frozenset[LegId] = frozenset()


# --- controls: what an agent, a supervisor or an API client asks for -----------------------------


class HoldCall(msgspec.Struct, frozen=True):
    """The agent puts the caller on hold; those of a conference go on talking with each other."""


class ResumeCall(msgspec.Struct, frozen=True):
    """Off hold; also ends a consultation without a transfer."""


class TransferTo(msgspec.Struct, frozen=True):
    """Blind transfer: the agent leaves, the action is carried out."""

    action: Action


class ConsultWith(msgspec.Struct, frozen=True, kw_only=True):
    """Ring a third party while the caller is on hold. Whoever is rung is shown `caller_id`."""

    endpoint: str
    leg: LegId
    ring_s: int = 30
    agent: str | None = None
    caller_id: str | None = None


class CompleteTransfer(msgspec.Struct, frozen=True):
    """The consulted party takes the caller, the agent leaves."""


class AddParticipant(msgspec.Struct, frozen=True, kw_only=True):
    """Ring a third party; when it answers all three talk. Until then the call is unharmed."""

    endpoint: str
    leg: LegId
    ring_s: int = 30
    agent: str | None = None
    caller_id: str | None = None


class DropParty(msgspec.Struct, frozen=True):
    """Let one go whom the call does not need: of a conference, a third party, a supervisor."""

    leg: LegId


class ParkCall(msgspec.Struct, frozen=True):
    """The agent leaves, the caller hears music until somebody takes the call."""


class UnparkTo(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    leg: LegId
    ring_s: int = 30
    agent: str | None = None
    caller_id: str | None = None


class Supervise(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor listens, whispers to the agent, or barges in; again to change the mode."""

    endpoint: str
    leg: LegId
    mode: Literal["listen", "whisper", "barge"]
    agent: str | None = None
    caller_id: str | None = None


class ChangeRecording(msgspec.Struct, frozen=True):
    to: Literal["on", "off", "pause", "resume"]


class HangUpCall(msgspec.Struct, frozen=True):
    """End the call for everybody."""


Control = (
    HoldCall
    | ResumeCall
    | TransferTo
    | ConsultWith
    | CompleteTransfer
    | AddParticipant
    | DropParty
    | ParkCall
    | UnparkTo
    | Supervise
    | ChangeRecording
    | HangUpCall
)

Dialogue = Key | Played | TimedOut | Standing | StandingUnknown | Recorded | Checked | Closing

Event = (
    Begin
    | Answered
    | Decided
    | Planned
    | Placed
    | NotPlaced
    | Matched
    | LegUp
    | LegGone
    | Confirmed
    | LegPlayed
    | Bridged
    | BridgeOver
    | SplitDone
    | SplitFailed
    | CallbackPromised
    | FileBegan
    | RecordingFailed
    | Recovered
    | Control
    | Dialogue
)
