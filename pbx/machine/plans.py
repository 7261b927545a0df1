"""What an action of the rules means on this PBX: resolved, ready to be carried out."""

from typing import NewType

import msgspec

from ivr.hold import HoldPolicy
from ivr.prompts import Prompt
from rules.actions import Action, Relax, Strategy

LegId = NewType("LegId", str)
"""The channel's Uniqueid: given by us to every leg we originate, by Asterisk to a caller's."""


class RecordingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a call is recorded, and what the caller is told or asked first."""

    record: bool = False
    announce: bool = False
    ask_consent: bool = False
    allow_pause: bool = False
    stereo: bool = False


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One phone to ring; `leg` is the id that its channel will have, `agent` whose phone it is."""

    endpoint: str
    leg: LegId
    agent: str | None = None


class DialPlan(msgspec.Struct, frozen=True, kw_only=True, tag="dial"):
    """Ring these phones at once for `ring_s` seconds; the first to answer is connected.

    `recording` None: as the queue wants it that the call came from, if any.
    """

    offers: tuple[Offer, ...]
    ring_s: int
    caller_id: str | None = None
    otherwise: Action | None = None
    recording: RecordingPolicy | None = None


class QueuePlan(msgspec.Struct, frozen=True, kw_only=True, tag="queue"):
    """Wait for an agent of `queue`.

    `only_now`: take an agent who is free at this moment or do `otherwise` (the action `agent`).
    `otherwise` is also where a caller goes whom the queue does not take (full, closed, nobody on
    duty) or who has waited too long.
    """

    queue: str
    otherwise: Action
    hold: HoldPolicy
    ring_s: int
    priority: int = 0
    skills: dict[str, int] = {}
    relax: tuple[Relax, ...] = ()
    strategy: Strategy = Strategy.LONGEST_IDLE
    sticky_s: int | None = None
    only_now: bool = False
    whisper: tuple[Prompt, ...] = ()
    escape: Action | None = None
    recording: RecordingPolicy = RecordingPolicy()


class VoicemailPlan(msgspec.Struct, frozen=True, kw_only=True, tag="voicemail"):
    """Take a message for `mailbox`."""

    mailbox: str
    longest_s: int = 180


class CallbackPlan(msgspec.Struct, frozen=True, kw_only=True, tag="callback"):
    """Offer a callback from `queue`; refused or impossible: `otherwise`."""

    queue: str
    otherwise: Action


class EndPlan(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """Say this, then hang up with an ISDN cause (Q.850: 16 normal, 17 busy, 34 no circuit)."""

    prompts: tuple[Prompt, ...] = ()
    cause: int = 16


class LoginPlan(msgspec.Struct, frozen=True, kw_only=True, tag="login"):
    """An agent logs in (`on`), or out, from this phone."""

    on: bool


Plan = DialPlan | QueuePlan | VoicemailPlan | CallbackPlan | EndPlan | LoginPlan
