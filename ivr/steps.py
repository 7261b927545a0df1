"""The vocabulary of every dialogue: events in, commands out, outcomes."""

from enum import StrEnum

import msgspec

from ivr.prompts import Prompt

KEYS = frozenset("0123456789*#")
MOST_TYPED_AHEAD = 32
"""Keys beyond this many, typed before anybody asked, are dropped: a stuck key must not pile up."""


class Timer(StrEnum):
    """Every time-out has a name; setting a timer that runs starts it anew."""

    FIRST_KEY = "first_key"
    NEXT_KEY = "next_key"
    ANNOUNCE = "announce"
    LONGEST_WAIT = "longest_wait"
    LONGEST_MESSAGE = "longest_message"


# --- events -----------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True):
    """The caller is there. `typed` are keys pressed before the dialogue began."""

    typed: str = ""


class Key(msgspec.Struct, frozen=True):
    """One of 0-9 * #."""

    key: str


class Played(msgspec.Struct, frozen=True):
    """The prompts of the `Play` with this number are over (played, or could not be played)."""

    play: int


class TimedOut(msgspec.Struct, frozen=True):
    timer: Timer


class HungUp(msgspec.Struct, frozen=True):
    """The caller is gone."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the caller stands: `position` counts from 1; `wait_s` None is unknown."""

    position: int
    waiting: int
    wait_s: float | None = None


class StandingUnknown(msgspec.Struct, frozen=True):
    """Where the caller stands cannot be told now; the other answer to `AskStanding`."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A message was recorded and has this length; `ended_by` is the key that ended it, if any.

    `has_failed`: it could not be, there is none.
    """

    duration_s: float
    ended_by: str | None = None
    has_failed: bool = False


class Checked(msgspec.Struct, frozen=True):
    """The answer to a `CheckNumber` or `CheckPin`."""

    ok: bool


class Closing(msgspec.Struct, frozen=True):
    """The queue closes now, and those who wait may not stay."""


Event = (
    Started
    | Key
    | Played
    | TimedOut
    | HungUp
    | Standing
    | StandingUnknown
    | Recorded
    | Checked
    | Closing
)


# --- commands ---------------------------------------------------------------------------------


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """Play these prompts, then report `Played(play)`.

    `until_key`: the caller need not hear them out. Any of `KEYS` ends them, whoever hears of it when.
    """

    play: int
    prompts: tuple[Prompt, ...]
    until_key: bool = False


class StopPlay(msgspec.Struct, frozen=True):
    """Stop what is playing; no `Played` is awaited any more."""


class SetTimer(msgspec.Struct, frozen=True, kw_only=True):
    timer: Timer
    after_s: float


class CancelTimer(msgspec.Struct, frozen=True):
    timer: Timer


class Music(msgspec.Struct, frozen=True):
    """Hold music; it stops by itself while prompts play and has to be asked for again."""

    on: bool


class AskStanding(msgspec.Struct, frozen=True):
    """Report a `Standing`, or that it is unknown."""


class CheckNumber(msgspec.Struct, frozen=True):
    """May this number (as keyed in) be called back? Report `Checked`."""

    digits: str


class CheckPin(msgspec.Struct, frozen=True, kw_only=True):
    """Is this the PIN of that agent? Report `Checked`."""

    agent: str
    pin: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Record the caller until a key of `end_keys`, silence or the limit; report `Recorded`."""

    longest_s: int
    end_keys: str = "#"


class AwaitRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """A recording is under way, or is just over: report `Recorded` when it is over."""

    longest_s: int


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """The dialogue is over. `typed` are keys that nobody has used yet."""

    outcome: "Outcome"
    value: str = ""
    typed: str = ""


Command = (
    Play
    | StopPlay
    | SetTimer
    | CancelTimer
    | Music
    | AskStanding
    | CheckNumber
    | CheckPin
    | Record
    | AwaitRecorded
    | Finish
)


class Outcome(StrEnum):
    """How a dialogue can end; each dialogue documents which of them it uses."""

    CHOSEN = "chosen"
    NO_INPUT = "no_input"
    INVALID = "invalid"
    BACK = "back"
    HUNG_UP = "hung_up"
    ESCAPED = "escaped"
    CALLBACK_WANTED = "callback_wanted"
    WAITED_TOO_LONG = "waited_too_long"
    CLOSED = "closed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SAVED = "saved"
    EMPTY = "empty"
    FAILED = "failed"


Steps = tuple[Command, ...]
