"""Ask the caller for keys: a menu (one of several choices) or digits (up to so many).

How it works: PLAYING (the prompts run, any key stops them) -> WAITING (silence until the first key)
-> BETWEEN (some keys came, more may) -> DONE. A try is lost by silence or by a wrong entry; the last
one lost ends the dialogue with NO_INPUT or INVALID. Keys typed before the prompt are used first.

Outcomes: CHOSEN (value: the choice or the digits), NO_INPUT, INVALID, BACK, HUNG_UP.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from ivr.prompts import Fixed, Prompt, Sound
from ivr.steps import (
    MOST_TYPED_AHEAD,
    CancelTimer,
    Event,
    Finish,
    HungUp,
    Key,
    Outcome,
    Play,
    Played,
    SetTimer,
    Started,
    Steps,
    StopPlay,
    TimedOut,
    Timer,
)

MOST_REPEATS = 5
"""The repeat key replays without costing a try, but not for ever."""


class Phase(StrEnum):
    NEW = "new"
    PLAYING = "playing"
    WAITING = "waiting"
    BETWEEN = "between"
    DONE = "done"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and how patiently.

    `choices` (a menu: keys such as "1" or "12") or, where it is empty, up to `longest` digits of
    which at least `shortest` are wanted. `first_key_s` is the silence allowed before the first key,
    `next_key_s` between keys. `terminator` ends an entry early (never part of it); `repeat_key` and
    `back_key` work only as a first key, and a choice of the same key wins over them.
    """

    prompts: tuple[Prompt, ...]
    choices: frozenset[str] = frozenset()
    longest: int = 1
    shortest: int = 1
    tries: int = 3
    first_key_s: float = 5.0
    next_key_s: float = 3.0
    terminator: str | None = "#"
    repeat_key: str | None = None
    back_key: str | None = None
    invalid: tuple[Prompt, ...] = (Fixed(Sound.INVALID),)
    no_input: tuple[Prompt, ...] = (Fixed(Sound.NO_INPUT),)


class Collect(msgspec.Struct, frozen=True, kw_only=True, tag="collect"):
    """One question being asked. `lost` counts the tries lost, `play` numbers the plays."""

    question: Question
    phase: Phase = Phase.NEW
    entry: str = ""
    ahead: str = ""
    lost: int = 0
    repeats: int = 0
    play: int = 0

    def on(self, event: Event) -> tuple["Collect", Steps]:
        """Take one event; a finished dialogue, and an event of no meaning here, change nothing."""
        if self.phase is Phase.DONE:
            return self, ()
        if isinstance(event, HungUp):
            return _after(self, _finish(self, Outcome.HUNG_UP))
        handle = TRANSITIONS.get((self.phase, type(event)))
        return handle(self, event) if handle is not None else (self, ())


Next = tuple[Collect, Steps]
Longer = TypeVar("Longer", bound=msgspec.Struct)


def ask(question: Question, *, typed: str, after: Collect | None) -> Next:
    """Begin a question inside a longer dialogue, after the one that was asked before it, if any.

    Plays go on counting, so that the late end of an earlier prompt means nothing to this question.
    """
    play = after.play if after is not None else 0
    return Collect(question=question, play=play).on(Started(typed))


def carry_on(
    now: Longer, asked: Next, answered: Callable[[Longer, Finish], tuple[Longer, Steps]]
) -> tuple[Longer, Steps]:
    """Keep the question in the longer dialogue's field `asking`; once settled, go on with its answer.

    The question's own `Finish` is the answer and goes no further.
    """
    asking, steps = asked
    now = replace(now, asking=asking)
    if not steps or not isinstance(steps[-1], Finish):
        return now, steps
    then, more = answered(now, steps[-1])
    return then, steps[:-1] + more


# --- what happens in each cell of the table ---------------------------------------------------


def _start(now: Collect, event: Event) -> Next:
    typed = event.typed[:MOST_TYPED_AHEAD] if isinstance(event, Started) else ""
    return _take_all(now, typed) if typed else _ask(now)


def _key(now: Collect, event: Event) -> Next:
    key = event.key if isinstance(event, Key) else ""
    return _after(now, _take_all(now, key))


def _played(now: Collect, event: Event) -> Next:
    if event != Played(now.play):
        return now, ()
    waiting = replace(now, phase=Phase.WAITING)
    return waiting, (SetTimer(timer=Timer.FIRST_KEY, after_s=now.question.first_key_s),)


def _silence(now: Collect, event: Event) -> Next:
    return _lose_try(now, Outcome.NO_INPUT) if event == TimedOut(Timer.FIRST_KEY) else (now, ())


def _entry_over(now: Collect, event: Event) -> Next:
    return _judge(now) if event == TimedOut(Timer.NEXT_KEY) else (now, ())


# --- steps that cells share -------------------------------------------------------------------


def _take_all(now: Collect, keys: str) -> Next:
    """Use keys one by one until the question is settled; after that the rest stays typed ahead.

    After a lost try the rest is thrown away: it answered a question that is asked anew.
    """
    steps: Steps = ()
    for index, key in enumerate(keys):
        now, steps = _take(replace(now, ahead=keys[index + 1 :]), key)
        if now.phase in {Phase.DONE, Phase.PLAYING}:
            break
    return now, steps


def _take(now: Collect, key: str) -> Next:
    question = now.question
    if not now.entry and not (question.choices and _can_become_right(question, key)):
        if key == question.back_key:
            return _finish(now, Outcome.BACK)
        if key == question.repeat_key and now.repeats < MOST_REPEATS:
            return _ask(replace(now, repeats=now.repeats + 1))
    entry = now.entry + key
    if key == question.terminator and not _can_become_right(question, entry):
        return _judge(now)
    now = replace(now, entry=entry, phase=Phase.BETWEEN)
    if not _can_become_right(question, entry):
        return _lose_try(now, Outcome.INVALID)
    if not _can_grow(question, entry):
        return _judge(now)
    return now, (SetTimer(timer=Timer.NEXT_KEY, after_s=question.next_key_s),)


def _can_become_right(question: Question, entry: str) -> bool:
    if question.choices:
        return any(choice.startswith(entry) for choice in question.choices)
    return len(entry) <= question.longest and (question.terminator or "none") not in entry


def _can_grow(question: Question, entry: str) -> bool:
    if question.choices:
        return any(c.startswith(entry) and c != entry for c in question.choices)
    return len(entry) < question.longest


def _judge(now: Collect) -> Next:
    question = now.question
    good = (
        now.entry in question.choices
        if question.choices
        else question.shortest <= len(now.entry) <= question.longest
    )
    if good:
        return _finish(now, Outcome.CHOSEN, now.entry)
    return _lose_try(now, Outcome.INVALID if now.entry else Outcome.NO_INPUT)


def _lose_try(now: Collect, why: Outcome) -> Next:
    now = replace(now, lost=now.lost + 1)
    if now.lost >= now.question.tries:
        return _finish(now, why)
    said = now.question.invalid if why is Outcome.INVALID else now.question.no_input
    return _ask(now, said)


def _ask(now: Collect, first: tuple[Prompt, ...] = ()) -> Next:
    asked = replace(now, phase=Phase.PLAYING, entry="", ahead="", play=now.play + 1)
    prompts = first + now.question.prompts
    return asked, (Play(play=asked.play, prompts=prompts, until_key=True),)


def _finish(now: Collect, outcome: Outcome, value: str = "") -> Next:
    return replace(now, phase=Phase.DONE), (Finish(outcome=outcome, value=value, typed=now.ahead),)


def _after(before: Collect, then: Next) -> Next:
    """Stop what ran in the phase that an event has cut short, then go on."""
    now, steps = then
    return now, _RUNNING[before.phase] + steps


_RUNNING: dict[Phase, Steps] = {
    Phase.NEW: (),
    Phase.PLAYING: (StopPlay(),),
    Phase.WAITING: (CancelTimer(Timer.FIRST_KEY),),
    Phase.BETWEEN: (CancelTimer(Timer.NEXT_KEY),),
}

TRANSITIONS: dict[tuple[Phase, type[object]], Callable[[Collect, Event], Next]] = {
    (Phase.NEW, Started): _start,
    (Phase.PLAYING, Key): _key,
    (Phase.PLAYING, Played): _played,
    (Phase.WAITING, Key): _key,
    (Phase.WAITING, TimedOut): _silence,
    (Phase.BETWEEN, Key): _key,
    (Phase.BETWEEN, TimedOut): _entry_over,
}
"""Every pair that means something; all others change nothing, and HungUp ends any phase."""
