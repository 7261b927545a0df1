"""Everything about one call, as one frozen value that can be written down and read back."""

from enum import StrEnum
from typing import Literal

import msgspec
from msgspec.structs import replace

from ivr.callback_offer import CallbackOffer
from ivr.collect import Collect
from ivr.hold import Hold
from ivr.login import Login
from ivr.voicemail import Voicemail
from pbx.machine.plans import LegId, Plan, QueuePlan
from rules.actions import Action, Ask, Menu


class Kind(StrEnum):
    """Who began the call, and how."""

    INBOUND = "inbound"
    CALLBACK_AGENT_FIRST = "callback_agent_first"
    CALLBACK_CUSTOMER_FIRST = "callback_customer_first"
    CLICK_TO_CALL = "click_to_call"
    OUTBOUND_IVR = "outbound_ivr"


class Phase(StrEnum):
    """Where the caller is."""

    NEW = "new"
    RINGING_AGENT = "ringing_agent"
    RINGING_CUSTOMER = "ringing_customer"
    ANSWERING = "answering"
    DECIDING = "deciding"
    PLANNING = "planning"
    ASKING = "asking"
    CONSENT = "consent"
    PLACING = "placing"
    HOLDING = "holding"
    CONNECTING = "connecting"
    DIALING = "dialing"
    OFFERING_CALLBACK = "offering_callback"
    PROMISING = "promising"
    VOICEMAIL = "voicemail"
    LOGIN = "login"
    TALKING = "talking"
    SPLITTING = "splitting"
    HELD = "held"
    CONSULTING = "consulting"
    CONFERENCE = "conference"
    CONFERENCE_HELD = "conference_held"
    PARKED = "parked"
    ENDING = "ending"
    ENDED = "ended"


class Leg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A party other than the caller: an agent's phone, a third party, a supervisor."""

    id: LegId
    endpoint: str
    agent: str | None = None
    is_up: bool = False


IN_CONFERENCE = (Phase.CONFERENCE, Phase.CONFERENCE_HELD)
"""Three or more are in the call; the caller may be on hold."""


class Intent(StrEnum):
    """Why a bridge, or a conference of which two are left, is being taken apart."""

    HOLD = "hold"
    CONSULT = "consult"
    TRANSFER = "transfer"
    PARK = "park"
    COMPLETE = "complete"
    RECORD = "record"
    REJOIN = "rejoin"
    KEEP_HELD = "keep_held"


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    leg: Leg
    mode: Literal["listen", "whisper", "barge"]


Dialogue = Collect | Hold | CallbackOffer | Voicemail | Login
"""Those that can be held with a caller."""


class CallState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call.

    `arrived_ms` is on the clock of the day, UTC. `channel` is the caller's (for outgoing kinds the customer's) leg; `is_up` whether it is
    answered. `callback_number`: the caller wants to be called back there. `phone` is the endpoint of the phone that calls, empty for a call from outside. `callback`: the promise that this call is an attempt to keep. `offers` are agents' phones that ring for it under `token`; `agent` is the party it
    talks to; `third` a party being consulted, added or unparked to; `members` those in a conference.
    `action` and `plan` are what is being done; `queue` the plan under which a place is held
    (`in_line`); `goes_first`: before all others, having had an agent already. `standing_due`: an announcement waits until the phones stop ringing. `is_told`: the
    caller knows that talks are recorded; `consent`: whether they agreed by key, None where they were not
    asked. `on_demand`: a recording was asked for during the talk. `typed` are keys nobody has used yet. `rounds` counts
    the questions asked. `recording`: one is made; `was_recorded`: the last one was ended; `is_muted`: what is said is silence in it. `is_joined`: caller and agent have heard each other. `recording_file`,
    `message_file`: where Asterisk writes, so that whoever takes over can hand the files over. `mailbox`: a
    message was left for it, and is being kept. `parker`: the agent to whom a parked caller whom nobody takes comes back.
    """

    id: str
    kind: Kind
    channel: LegId
    phase: Phase = Phase.NEW
    is_up: bool = False
    customer_endpoint: str = ""
    caller_number: str | None = None
    called_number: str | None = None
    phone: str = ""
    callback: str | None = None
    callback_number: str = ""
    arrived_ms: int = 0
    language: str = "en"
    shown_number: str | None = None
    ring_s: int = 30
    action: Action | None = None
    rule: str = ""
    digits: dict[str, str] = {}
    typed: str = ""
    asking: Ask | Menu | None = None
    menus: tuple[Menu, ...] = ()
    dialogue: Dialogue | None = None
    plan: Plan | None = None
    queue: QueuePlan | None = None
    in_line: bool = False
    goes_first: bool = False
    standing_due: bool = False
    offers: tuple[Leg, ...] = ()
    token: str = ""
    agent: Leg | None = None
    third: Leg | None = None
    supervision: Supervision | None = None
    members: tuple[Leg, ...] = ()
    intent: Intent | None = None
    is_told: bool = False
    consent: bool | None = None
    on_demand: bool = False
    recording: bool = False
    was_recorded: bool = False
    is_muted: bool = False
    recording_file: str = ""
    message_file: str = ""
    mailbox: str = ""
    parker: str = ""
    is_joined: bool = False
    play: int = 0
    rounds: int = 0

    @property
    def talks_to(self) -> Leg | None:
        """The party that the caller talks to; of a conference the one that was there first."""
        return self.agent or (self.members[0] if self.members else None)

    def legs(self) -> tuple[Leg, ...]:
        """Every leg besides the caller's."""
        single = (self.agent, self.third, self.supervision.leg if self.supervision else None)
        return (*self.offers, *self.members, *(leg for leg in single if leg is not None))


def to_write_down(state: CallState) -> CallState:
    """The state without a PIN being keyed: whoever takes over begins a log-in anew anyway."""
    if not isinstance(state.dialogue, Login):
        return state
    return replace(state, dialogue=Login(confirmation=state.dialogue.confirmation), typed="")


def without_offer(state: CallState, leg: LegId) -> CallState:
    return replace(state, offers=tuple(offer for offer in state.offers if offer.id != leg))


def find_leg(state: CallState, leg: LegId) -> Leg | None:
    return next((known for known in state.legs() if known.id == leg), None)


def is_up(state: CallState, leg: LegId) -> bool:
    """Whether it is known that this leg has answered."""
    if leg == state.channel:
        return state.is_up
    known = find_leg(state, leg)
    return known is not None and known.is_up
