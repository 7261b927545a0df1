"""What a call can ask for. Commands of the dialogue with the caller (`ivr.steps`) come as they are."""

from typing import Literal

import msgspec

from ivr.prompts import Prompt
from ivr.steps import (
    AskStanding,
    AwaitRecorded,
    CancelTimer,
    CheckNumber,
    CheckPin,
    Music,
    Play,
    Record,
    SetTimer,
    StopPlay,
)
from pbx.machine.events import Gone
from pbx.machine.plans import LegId, QueuePlan
from rules.actions import Action


class Answer(msgspec.Struct, frozen=True):
    """Answer the caller; report `Answered`."""


class AskRules(msgspec.Struct, frozen=True):
    """Report `Decided`; the session adds what it knows of the call."""


class MakePlan(msgspec.Struct, frozen=True):
    """Report `Planned` for this action."""

    action: Action


class StandInLine(msgspec.Struct, frozen=True):
    """Take an agent or a place in line; report `Matched`, `Placed` or `NotPlaced`.

    Asked again by a call that stands in line already, it keeps the place.
    """

    plan: QueuePlan


class LeaveLine(msgspec.Struct, frozen=True):
    """Give the place up; `keep` remembers it for a caller whose line dropped."""

    keep: bool = False


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """Originate this leg; report `LegUp` or `LegGone`."""

    leg: LegId
    endpoint: str
    ring_s: int
    caller_id: str | None = None


class Cancel(msgspec.Struct, frozen=True):
    """Stop ringing a leg because somebody else took the call or nobody wants it any more."""

    leg: LegId


class ConfirmAgent(msgspec.Struct, frozen=True, kw_only=True):
    """The agent has answered: the reservation becomes a call; report `Confirmed`."""

    agent: str
    token: str


class NoteUnanswered(msgspec.Struct, frozen=True, kw_only=True):
    """The agent was offered the call and did not take it."""

    agent: str
    token: str
    why: Gone


class ReleaseAgent(msgspec.Struct, frozen=True, kw_only=True):
    """The agent was not needed after all and keeps the place in the idle order."""

    agent: str
    token: str


class WrapUp(msgspec.Struct, frozen=True):
    """The agent's part of the call is over; with `has_vanished` nobody is to be offered to that phone soon."""

    agent: str
    has_vanished: bool = False


class Say(msgspec.Struct, frozen=True, kw_only=True):
    """Play prompts to a leg that is not the caller's; report `LegPlayed`."""

    leg: LegId
    prompts: tuple[Prompt, ...]


class Ringback(msgspec.Struct, frozen=True):
    """Let a leg, or the caller who was not answered yet (None), hear that it rings."""

    leg: LegId | None = None


class Bridge(msgspec.Struct, frozen=True):
    """Join the caller and this leg; report `Bridged`, later `BridgeOver` or `LegGone`.

    `returns`: the leg comes out of a bridge that has just ended, and is waited for.
    """

    leg: LegId
    returns: bool = False


class BridgeLegs(msgspec.Struct, frozen=True):
    """Join two legs of which none is the caller's (a consultation). When one leaves, the other stays."""

    one: LegId
    other: LegId


class Split(msgspec.Struct, frozen=True):
    """Take a bridge apart and keep both legs; report `SplitDone`."""

    one: LegId
    other: LegId


class Confer(msgspec.Struct, frozen=True):
    """Join all these legs and the caller in one conference."""

    legs: tuple[LegId, ...]


class EnterConference(msgspec.Struct, frozen=True):
    """Bring one more leg, or the caller, into the conference that is under way."""

    leg: LegId


class LeaveConference(msgspec.Struct, frozen=True):
    """Take one leg, or the caller, out of the conference, in which the others stay; report `SplitDone`."""

    leg: LegId


class Spy(msgspec.Struct, frozen=True, kw_only=True):
    """Let a supervisor's leg listen to, whisper to or barge in on an agent's leg."""

    leg: LegId
    on: LegId
    mode: Literal["listen", "whisper", "barge"]


class SetRecording(msgspec.Struct, frozen=True):
    """Start, stop, pause or resume the recording of the caller's channel."""

    to: Literal["on", "off", "pause", "resume"]
    stereo: bool = False


class PromiseCallback(msgspec.Struct, frozen=True, kw_only=True):
    """Write the callback down with the call's place and skills; report `CallbackPromised`."""

    queue: str
    number: str


class KeepMessage(msgspec.Struct, frozen=True):
    """A voicemail message was left for this mailbox."""

    mailbox: str


class HangUp(msgspec.Struct, frozen=True, kw_only=True):
    """End a leg, or the caller's channel (None)."""

    leg: LegId | None = None
    cause: int = 16


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Put a fact into the call record; `what` is a stable word, never a number or a name."""

    what: str
    leg: LegId | None = None
    agent: str | None = None
    detail: str = ""


class Over(msgspec.Struct, frozen=True):
    """The call is over: close its record; nothing more will be asked for."""


Command = (
    Answer
    | AskRules
    | MakePlan
    | StandInLine
    | LeaveLine
    | Ring
    | Cancel
    | ConfirmAgent
    | NoteUnanswered
    | ReleaseAgent
    | WrapUp
    | Say
    | Ringback
    | Bridge
    | BridgeLegs
    | Split
    | Confer
    | EnterConference
    | LeaveConference
    | Spy
    | SetRecording
    | PromiseCallback
    | KeepMessage
    | HangUp
    | Note
    | Over
    | Play
    | StopPlay
    | SetTimer
    | CancelTimer
    | Music
    | AskStanding
    | CheckNumber
    | CheckPin
    | Record
    | AwaitRecorded
)
Commands = tuple[Command, ...]
