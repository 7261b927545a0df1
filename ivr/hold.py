"""Waiting in a queue: music, announcements of position and wait, keys to leave or be called back.

How it works: MUSIC (until the next announcement is due) -> ASKING (where does the caller stand?) ->
SAYING -> MUSIC. Keys work in all three; the callback key is acted on when it is known whether the line is
long enough at that moment. Whoever carries the dialogue out may hold an answer to
`AskStanding` back while an agent's phone rings: the caller then simply hears music.

Outcomes: ESCAPED, CALLBACK_WANTED, WAITED_TOO_LONG, CLOSED, HUNG_UP. An agent found is none: the
dialogue is dropped then.
"""

import math
from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ivr.prompts import Fixed, Number, Prompt, Sound, Spelled
from ivr.steps import (
    AskStanding,
    CancelTimer,
    Closing,
    Event,
    Finish,
    HungUp,
    Key,
    Music,
    Outcome,
    Play,
    Played,
    SetTimer,
    Standing,
    StandingUnknown,
    Started,
    Steps,
    StopPlay,
    TimedOut,
    Timer,
)

SHORTEST_WAIT_ANNOUNCED_S = 120
"""A queue whose longest wait is shorter than this announces nothing (Dialpad's rule)."""


class Phase(StrEnum):
    NEW = "new"
    MUSIC = "music"
    ASKING = "asking"
    SAYING = "saying"
    DONE = "done"


class HoldPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How one queue keeps its callers. Durations in seconds.

    `longest_wait_s` is the queue's limit and decides whether anything is announced; `left_s` is what
    is left of it for this caller. `longest_announced_min`: longer waits are "more than" so many
    minutes. A key that is None does nothing; the callback key works while more than
    `callback_threshold` callers wait.
    """

    longest_wait_s: int = 900
    left_s: float = 900
    announce_position: bool = True
    announce_wait: bool = True
    longest_announced_min: int = 30
    interval_s: int = 120
    escape_key: str | None = "*"
    callback_key: str | None = None
    callback_threshold: int = 5

    @property
    def announces(self) -> bool:
        wanted = self.announce_position or self.announce_wait or self.callback_key is not None
        return wanted and self.longest_wait_s >= SHORTEST_WAIT_ANNOUNCED_S


class Hold(msgspec.Struct, frozen=True, kw_only=True, tag="hold"):
    """One caller on hold. `wants_callback`: the key was pressed, and where the caller stands is asked."""

    policy: HoldPolicy
    phase: Phase = Phase.NEW
    wants_callback: bool = False
    play: int = 0

    def on(self, event: Event) -> tuple["Hold", Steps]:
        """Take one event; a finished dialogue, and an event of no meaning here, change nothing."""
        if self.phase is Phase.DONE:
            return self, ()
        handle = TRANSITIONS.get((self.phase, type(event)))
        return handle(self, event) if handle is not None else (self, ())


Next = tuple[Hold, Steps]


def announcement(policy: HoldPolicy, standing: Standing) -> tuple[Prompt, ...]:
    """What a caller who stands there is told."""
    said: list[Prompt] = []
    if policy.announce_position:
        if standing.position <= 1:
            said.append(Fixed(Sound.POSITION_NEXT))
        else:
            said += [Fixed(Sound.POSITION_IS), Number(standing.position)]
    if policy.announce_wait and standing.wait_s is not None:
        said += _spoken_wait(standing.wait_s, policy.longest_announced_min)
    if is_callback_offered(policy, standing) and policy.callback_key is not None:
        said += [Fixed(Sound.CALLBACK_HINT), Spelled(policy.callback_key)]
    if said and policy.escape_key is not None:
        said += [Fixed(Sound.ESCAPE_HINT), Spelled(policy.escape_key)]
    return tuple(said)


def is_callback_offered(policy: HoldPolicy, standing: Standing) -> bool:
    """Whether the line is long enough for the callback key to work."""
    return policy.callback_key is not None and standing.waiting > policy.callback_threshold


def _spoken_wait(wait_s: float, longest_min: int) -> list[Prompt]:
    """Whole minutes, rounded up, so that nobody is promised less than the estimate."""
    if wait_s < 60:
        return [Fixed(Sound.WAIT_UNDER_A_MINUTE)]
    minutes = math.ceil(wait_s / 60)
    if minutes > longest_min:
        return [Fixed(Sound.WAIT_OVER), Number(longest_min), Fixed(Sound.MINUTES)]
    return [Fixed(Sound.WAIT_ABOUT), Number(minutes), Fixed(Sound.MINUTES)]


# --- what happens in each cell of the table ---------------------------------------------------


def _start(now: Hold, _event: Event) -> Next:
    # Keys typed before are not used here: leaving the line by accident is worse than a second press.
    first: Steps = (
        Music(on=True),
        SetTimer(timer=Timer.LONGEST_WAIT, after_s=max(0.0, now.policy.left_s)),
    )
    begun, steps = _ask(now) if now.policy.announces else (replace(now, phase=Phase.MUSIC), ())
    return begun, first + steps


def _ask(now: Hold) -> Next:
    return replace(now, phase=Phase.ASKING), (AskStanding(),)


def _standing(now: Hold, event: Event) -> Next:
    """What was asked for by the key, the announcement, or both."""
    standing = event if isinstance(event, Standing) else None
    is_wanted, now = now.wants_callback, replace(now, wants_callback=False)
    if is_wanted and standing is not None and is_callback_offered(now.policy, standing):
        return _leave(now, Outcome.CALLBACK_WANTED)
    if now.phase is not Phase.ASKING:
        return now, ()
    said = announcement(now.policy, standing) if standing is not None else ()
    if not said:
        return _music(now, ())
    saying = replace(now, phase=Phase.SAYING, play=now.play + 1)
    return saying, (Play(play=saying.play, prompts=said),)


def _played(now: Hold, event: Event) -> Next:
    return _music(now, (Music(on=True),)) if event == Played(now.play) else (now, ())


def _music(now: Hold, before: Steps) -> Next:
    again = SetTimer(timer=Timer.ANNOUNCE, after_s=now.policy.interval_s)
    return replace(now, phase=Phase.MUSIC), (*before, again)


def _timer(now: Hold, event: Event) -> Next:
    if event == TimedOut(Timer.LONGEST_WAIT):
        return _leave(now, Outcome.WAITED_TOO_LONG)
    is_due = now.phase is Phase.MUSIC and now.policy.announces
    if event == TimedOut(Timer.ANNOUNCE) and is_due:
        return _ask(now)
    return now, ()


def _key(now: Hold, event: Event) -> Next:
    key = event.key if isinstance(event, Key) else ""
    if key == now.policy.callback_key:
        is_asked = now.phase is Phase.ASKING or now.wants_callback
        return replace(now, wants_callback=True), (() if is_asked else (AskStanding(),))
    if key == now.policy.escape_key:
        return _leave(now, Outcome.ESCAPED)
    return now, ()


def _closing(now: Hold, _event: Event) -> Next:
    return _leave(now, Outcome.CLOSED)


def _hung_up(now: Hold, _event: Event) -> Next:
    return _leave(now, Outcome.HUNG_UP)


def _leave(now: Hold, outcome: Outcome) -> Next:
    running: Steps = () if now.phase is Phase.NEW else (CancelTimer(Timer.LONGEST_WAIT),)
    if now.phase is Phase.SAYING:
        running += (StopPlay(),)
    if now.phase is Phase.MUSIC and now.policy.announces:
        running += (CancelTimer(Timer.ANNOUNCE),)
    done = replace(now, phase=Phase.DONE)
    return done, (*running, Finish(outcome=outcome))


_WAITING = (Phase.MUSIC, Phase.ASKING, Phase.SAYING)

TRANSITIONS: dict[tuple[Phase, type[object]], Callable[[Hold, Event], Next]] = {
    (Phase.NEW, Started): _start,
    (Phase.NEW, HungUp): _hung_up,
    (Phase.NEW, Closing): _closing,
    (Phase.SAYING, Played): _played,
    **{(phase, TimedOut): _timer for phase in _WAITING},
    **{(phase, kind): _standing for phase in _WAITING for kind in (Standing, StandingUnknown)},
    **{(phase, Key): _key for phase in _WAITING},
    **{(phase, Closing): _closing for phase in _WAITING},
    **{(phase, HungUp): _hung_up for phase in _WAITING},
}
"""Every pair that means something; all others change nothing."""
