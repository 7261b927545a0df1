"""An agent logs in or out from any phone: agent number, PIN, confirmation.

How it works: AGENT (number, ended by #) -> PIN (ended by #) -> CHECKING -> CONFIRMING. A wrong pair
asks for both again, so that nobody learns which of them was wrong.

Outcomes: ACCEPTED (value: the agent's number), REFUSED (too many wrong pairs, or no input), HUNG_UP.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ivr.collect import Collect, Question, ask, carry_on
from ivr.prompts import Fixed, Prompt, Sound
from ivr.steps import (
    Checked,
    CheckPin,
    Event,
    Finish,
    HungUp,
    Key,
    Outcome,
    Play,
    Played,
    Started,
    Steps,
    StopPlay,
    TimedOut,
)

LONGEST_AGENT_NUMBER = 12
LONGEST_PIN = 12
SHORTEST_PIN = 4
MOST_WRONG_PAIRS = 3
_LAST_PLAY = 1_000
"""Numbered apart from the plays of the questions, so that a late `Played` of one means nothing."""


class Phase(StrEnum):
    NEW = "new"
    AGENT = "agent"
    PIN = "pin"
    CHECKING = "checking"
    CONFIRMING = "confirming"
    REFUSING = "refusing"
    DONE = "done"


class Login(msgspec.Struct, frozen=True, kw_only=True, tag="login"):
    """One log-in. `confirmation` is what a good pair hears (logged in, or logged out)."""

    confirmation: Sound = Sound.LOGGED_IN
    phase: Phase = Phase.NEW
    asking: Collect | None = None
    agent: str = ""
    wrong: int = 0

    def on(self, event: Event) -> tuple["Login", Steps]:
        """Take one event; a finished dialogue, and an event of no meaning here, change nothing."""
        if self.phase is Phase.DONE:
            return self, ()
        handle = TRANSITIONS.get((self.phase, type(event)))
        return handle(self, event) if handle is not None else (self, ())


Next = tuple[Login, Steps]


def _start(now: Login, event: Event) -> Next:
    return _ask_agent(now, (), event.typed if isinstance(event, Started) else "")


def _ask_agent(now: Login, first: tuple[Prompt, ...], typed: str = "") -> Next:
    question = Question(prompts=(*first, Fixed(Sound.LOGIN_AGENT)), longest=LONGEST_AGENT_NUMBER)
    return _ask(replace(now, phase=Phase.AGENT, agent=""), question, typed)


def _ask_pin(now: Login, typed: str) -> Next:
    question = Question(
        prompts=(Fixed(Sound.LOGIN_PIN),), longest=LONGEST_PIN, shortest=SHORTEST_PIN
    )
    return _ask(replace(now, phase=Phase.PIN), question, typed)


def _ask(now: Login, question: Question, typed: str) -> Next:
    return carry_on(now, ask(question, typed=typed, after=now.asking), _answered)


def _question_event(now: Login, event: Event) -> Next:
    if now.asking is None:
        return now, ()
    return carry_on(now, now.asking.on(event), _answered)


def _answered(now: Login, answer: Finish) -> Next:
    if answer.outcome is Outcome.HUNG_UP:
        return _finish(now, Outcome.HUNG_UP)
    if answer.outcome is not Outcome.CHOSEN:
        return _refuse(now)
    if now.phase is Phase.AGENT:
        return _ask_pin(replace(now, agent=answer.value), answer.typed)
    return replace(now, phase=Phase.CHECKING), (CheckPin(agent=now.agent, pin=answer.value),)


def _checked(now: Login, event: Event) -> Next:
    if not isinstance(event, Checked):
        return now, ()
    if event.ok:
        said = Play(play=_LAST_PLAY, prompts=(Fixed(now.confirmation),))
        return replace(now, phase=Phase.CONFIRMING), (said,)
    now = replace(now, wrong=now.wrong + 1)
    if now.wrong >= MOST_WRONG_PAIRS:
        return _refuse(now)
    return _ask_agent(now, (Fixed(Sound.LOGIN_REFUSED),))


def _refuse(now: Login) -> Next:
    said = Play(play=_LAST_PLAY, prompts=(Fixed(Sound.LOGIN_REFUSED),))
    return replace(now, phase=Phase.REFUSING), (said,)


def _said(now: Login, event: Event) -> Next:
    if event != Played(_LAST_PLAY):
        return now, ()
    return _finish(now, _VERDICTS[now.phase])


def _gone_while_told(now: Login, _event: Event) -> Next:
    done, steps = _finish(now, _VERDICTS[now.phase])
    return done, (StopPlay(), *steps)


def _gone(now: Login, _event: Event) -> Next:
    return _finish(now, Outcome.HUNG_UP)


def _finish(now: Login, outcome: Outcome) -> Next:
    value = now.agent if outcome is Outcome.ACCEPTED else ""
    return replace(now, phase=Phase.DONE), (Finish(outcome=outcome, value=value),)


_VERDICTS = {Phase.CONFIRMING: Outcome.ACCEPTED, Phase.REFUSING: Outcome.REFUSED}
_QUESTION = (Phase.AGENT, Phase.PIN)

TRANSITIONS: dict[tuple[Phase, type[object]], Callable[[Login, Event], Next]] = {
    (Phase.NEW, Started): _start,
    (Phase.NEW, HungUp): _gone,
    **{
        (phase, kind): _question_event
        for phase in _QUESTION
        for kind in (Key, Played, TimedOut, HungUp)
    },
    (Phase.CHECKING, Checked): _checked,
    (Phase.CHECKING, HungUp): _gone,
    **{(phase, Played): _said for phase in _VERDICTS},
    **{(phase, HungUp): _gone_while_told for phase in _VERDICTS},
}
"""Every pair that means something; all others change nothing."""
