"""Take a message: greeting, recording, thanks.

How it works: GREETING (`#` skips it) -> RECORDING (whoever records plays the tone) -> THANKS -> DONE. A caller who hangs up while
recording has left a message; whether it is long enough to keep is for the recorder to say.

Outcomes: SAVED, EMPTY (shorter than a second), FAILED (could not be recorded), HUNG_UP (before the recording
began).
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ivr.prompts import Fixed, Prompt, Sound
from ivr.steps import (
    AwaitRecorded,
    Event,
    Finish,
    HungUp,
    Key,
    Outcome,
    Play,
    Played,
    Record,
    Recorded,
    Started,
    Steps,
    StopPlay,
)

SHORTEST_MESSAGE_S = 1.0


class Phase(StrEnum):
    NEW = "new"
    GREETING = "greeting"
    RECORDING = "recording"
    THANKS = "thanks"
    DONE = "done"


class Voicemail(msgspec.Struct, frozen=True, kw_only=True, tag="voicemail"):
    """One message being taken; it may last `longest_s` seconds."""

    greeting: tuple[Prompt, ...] = (Fixed(Sound.VOICEMAIL_GREETING),)
    longest_s: int = 180
    phase: Phase = Phase.NEW
    play: int = 0

    def on(self, event: Event) -> tuple["Voicemail", Steps]:
        """Take one event; a finished dialogue, and an event of no meaning here, change nothing."""
        if self.phase is Phase.DONE:
            return self, ()
        handle = TRANSITIONS.get((self.phase, type(event)))
        return handle(self, event) if handle is not None else (self, ())


Next = tuple[Voicemail, Steps]


def go_on(now: Voicemail) -> Next | None:
    """Whoever takes over goes on with a message that was begun; None: there is none yet."""
    if now.phase not in {Phase.RECORDING, Phase.THANKS}:
        return None
    return replace(now, phase=Phase.RECORDING), (AwaitRecorded(longest_s=now.longest_s),)


def _say(now: Voicemail, phase: Phase, prompts: tuple[Prompt, ...]) -> Next:
    saying = replace(now, phase=phase, play=now.play + 1)
    return saying, (Play(play=saying.play, prompts=prompts),)


def _start(now: Voicemail, _event: Event) -> Next:
    return _say(now, Phase.GREETING, now.greeting)


def _greeted(now: Voicemail, event: Event) -> Next:
    return _record(now) if event == Played(now.play) else (now, ())


def _skip(now: Voicemail, event: Event) -> Next:
    if event != Key("#"):
        return now, ()
    then, steps = _record(now)
    return then, (StopPlay(), *steps)


def _record(now: Voicemail) -> Next:
    return replace(now, phase=Phase.RECORDING), (Record(longest_s=now.longest_s),)


def _recorded(now: Voicemail, event: Event) -> Next:
    if not isinstance(event, Recorded):
        return now, ()
    if event.has_failed:
        return _finish(now, Outcome.FAILED)
    if event.duration_s < SHORTEST_MESSAGE_S:
        return _finish(now, Outcome.EMPTY)
    return _say(now, Phase.THANKS, (Fixed(Sound.VOICEMAIL_SAVED),))


def _thanked(now: Voicemail, event: Event) -> Next:
    return _finish(now, Outcome.SAVED) if event == Played(now.play) else (now, ())


def _gone(now: Voicemail, _event: Event) -> Next:
    saved = now.phase in {Phase.RECORDING, Phase.THANKS}
    done, steps = _finish(now, Outcome.SAVED if saved else Outcome.HUNG_UP)
    playing = now.phase in {Phase.GREETING, Phase.THANKS}
    return done, ((StopPlay(), *steps) if playing else steps)


def _finish(now: Voicemail, outcome: Outcome) -> Next:
    return replace(now, phase=Phase.DONE), (Finish(outcome=outcome),)


TRANSITIONS: dict[tuple[Phase, type[object]], Callable[[Voicemail, Event], Next]] = {
    (Phase.NEW, Started): _start,
    (Phase.GREETING, Played): _greeted,
    (Phase.GREETING, Key): _skip,
    (Phase.RECORDING, Recorded): _recorded,
    (Phase.THANKS, Played): _thanked,
    **{(phase, HungUp): _gone for phase in Phase if phase is not Phase.DONE},
}
"""Every pair that means something; all others change nothing."""
