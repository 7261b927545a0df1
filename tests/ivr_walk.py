"""Every event a dialogue can meet, and what a walk through them leaves running."""

from collections.abc import Iterable

from ivr.steps import (
    CancelTimer,
    Checked,
    Closing,
    Command,
    Event,
    HungUp,
    Key,
    Play,
    Played,
    Recorded,
    SetTimer,
    Standing,
    StandingUnknown,
    Started,
    StopPlay,
    TimedOut,
    Timer,
)

EVENTS: list[Event] = [
    Started(),
    Started("12"),
    *(Key(key) for key in "0123456789*#"),
    *(Played(play) for play in (1, 2, 3, 1_000)),
    *(TimedOut(timer) for timer in Timer),
    Standing(position=1, waiting=1),
    Standing(position=7, waiting=9, wait_s=300),
    StandingUnknown(),
    Recorded(duration_s=0.2),
    Recorded(duration_s=9),
    Checked(ok=True),
    Checked(ok=False),
    Closing(),
    HungUp(),
]


def running(said: Iterable[Command | Event]) -> set[Timer | str]:
    """Timers and plays still under way after these commands and the events between them."""
    now: set[Timer | str] = set()
    last_play = 0
    for step in said:
        match step:
            case SetTimer():
                now.add(step.timer)
            case CancelTimer() | TimedOut():
                now.discard(step.timer)
            case Play():
                now.add("play")
                last_play = step.play
            case StopPlay():
                now.discard("play")
            case Played() if step.play == last_play:
                now.discard("play")
            case _:
                pass
    return now
