"""Offer to call the caller back: confirm the number or key in another, check it, confirm.

How it works: CHOOSING (this number or another one) -> KEYING (another number) -> CHECKING (may it
be called?). A number that may not be called leads back to KEYING, so often; then the caller stays
in line. The promise itself is not given here: it has to be written down first.

Outcomes: ACCEPTED (value: the number as known or keyed in), REFUSED (stays in line), HUNG_UP.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ivr.collect import Collect, Question, ask, carry_on
from ivr.prompts import Fixed, Prompt, Sound, Spelled
from ivr.steps import (
    Checked,
    CheckNumber,
    Event,
    Finish,
    HungUp,
    Key,
    Outcome,
    Played,
    Started,
    Steps,
    TimedOut,
)

THIS_NUMBER, ANOTHER_NUMBER = "1", "2"
LONGEST_NUMBER = 15
"""Digits of the longest E.164 number."""


class Phase(StrEnum):
    NEW = "new"
    CHOOSING = "choosing"
    KEYING = "keying"
    CHECKING = "checking"
    DONE = "done"


class CallbackOffer(msgspec.Struct, frozen=True, kw_only=True, tag="callback_offer"):
    """One offer. `number` is the caller's own, None when it is withheld."""

    number: str | None
    tries: int = 3
    phase: Phase = Phase.NEW
    asking: Collect | None = None
    refused: int = 0
    chosen: str = ""

    def on(self, event: Event) -> tuple["CallbackOffer", Steps]:
        """Take one event; a finished dialogue, and an event of no meaning here, change nothing."""
        if self.phase is Phase.DONE:
            return self, ()
        handle = TRANSITIONS.get((self.phase, type(event)))
        return handle(self, event) if handle is not None else (self, ())


Next = tuple[CallbackOffer, Steps]


def _start(now: CallbackOffer, event: Event) -> Next:
    typed = event.typed if isinstance(event, Started) else ""
    if now.number is None:
        return _key_in(now, (), typed)
    known = Spelled(now.number.removeprefix("+"))
    prompts = (Fixed(Sound.CALLBACK_CONFIRM), known, Fixed(Sound.CALLBACK_CHOICE))
    question = Question(prompts=prompts, choices=frozenset({THIS_NUMBER, ANOTHER_NUMBER}))
    return _ask(replace(now, phase=Phase.CHOOSING), question, typed)


def _key_in(now: CallbackOffer, first: tuple[Prompt, ...], typed: str = "") -> Next:
    question = Question(
        prompts=(*first, Fixed(Sound.CALLBACK_KEY_NUMBER)), longest=LONGEST_NUMBER, shortest=3
    )
    return _ask(replace(now, phase=Phase.KEYING), question, typed)


def _ask(now: CallbackOffer, question: Question, typed: str) -> Next:
    return carry_on(now, ask(question, typed=typed, after=now.asking), _answered)


def _question_event(now: CallbackOffer, event: Event) -> Next:
    if now.asking is None:
        return now, ()
    return carry_on(now, now.asking.on(event), _answered)


def _answered(now: CallbackOffer, answer: Finish) -> Next:
    if answer.outcome is not Outcome.CHOSEN:
        outcome = Outcome.HUNG_UP if answer.outcome is Outcome.HUNG_UP else Outcome.REFUSED
        return _finish(now, outcome)
    if now.phase is Phase.CHOOSING and answer.value == ANOTHER_NUMBER:
        return _key_in(now, (), answer.typed)
    chosen = answer.value if now.phase is Phase.KEYING else (now.number or "")
    return replace(now, phase=Phase.CHECKING, chosen=chosen), (CheckNumber(chosen),)


def _checked(now: CallbackOffer, event: Event) -> Next:
    if not isinstance(event, Checked):
        return now, ()
    if event.ok:
        return _finish(now, Outcome.ACCEPTED)
    now = replace(now, refused=now.refused + 1)
    if now.refused >= now.tries:
        return _finish(now, Outcome.REFUSED)
    return _key_in(now, (Fixed(Sound.CALLBACK_UNDIALABLE),))


def _gone(now: CallbackOffer, _event: Event) -> Next:
    return _finish(now, Outcome.HUNG_UP)


def _finish(now: CallbackOffer, outcome: Outcome) -> Next:
    value = now.chosen if outcome is Outcome.ACCEPTED else ""
    return replace(now, phase=Phase.DONE), (Finish(outcome=outcome, value=value),)


_QUESTION = (Phase.CHOOSING, Phase.KEYING)

TRANSITIONS: dict[tuple[Phase, type[object]], Callable[[CallbackOffer, Event], Next]] = {
    (Phase.NEW, Started): _start,
    (Phase.NEW, HungUp): _gone,
    **{(phase, kind): _question_event for phase in _QUESTION for kind in (Key, Played, TimedOut)},
    **{(phase, HungUp): _question_event for phase in _QUESTION},
    (Phase.CHECKING, Checked): _checked,
    (Phase.CHECKING, HungUp): _gone,
}
"""Every pair that means something; all others change nothing."""
