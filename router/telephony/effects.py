"""Whether a control has come about: what it would mean, and what the call's state then shows. Pure but
for watching.

A control is an event like any other: what means nothing in the present phase changes nothing. So that
whoever asked gets a true answer, the state table is asked first, and the states that follow are looked
at as they come.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final
from weakref import WeakKeyDictionary

from pbx.machine.commands import Note
from pbx.machine.events import (
    AddParticipant,
    ChangeRecording,
    CompleteTransfer,
    ConsultWith,
    Control,
    DropParty,
    HangUpCall,
    HoldCall,
    ParkCall,
    ResumeCall,
    Supervise,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Phase, find_leg
from pbx.machine.table import on
from pbx.session import Session
from router.telephony.call_control import DONE, Answer, Refusal

Effect = Callable[[CallState], Answer | None]
"""What a state says about a control: done, failed, or None: not yet."""

OVER = frozenset({Phase.ENDING, Phase.ENDED})
TALKS = frozenset({Phase.TALKING, Phase.CONFERENCE})
TOGETHER = frozenset({Phase.TALKING, Phase.SPLITTING, Phase.HELD})


IN_CONFERENCE = "there is a conference: let one go first (drop), until two are left for the caller"
NEEDED = "nobody is left for the caller then: hang up, transfer or park instead"

REASONS: Final = {
    "consultation_refused": "somebody is rung, or consulted, already",
    "participant_refused": "somebody is being rung already, or the conference is full",
    "unpark_refused": "somebody is being rung for this caller already",
    "supervision_refused": "a supervisor is in this call, or being rung: one at a time",
    "recording_must_go_on": "recording_must_go_on: the queue wants the recording, and allows no pause",
}
"""Of the words that the state table notes where it refuses a control."""


def means_nothing(state: CallState, control: Control) -> str | None:
    """Why the control would change nothing now; None: it would do something."""
    then, commands = on(state, control)
    words = [command.what for command in commands if isinstance(command, Note)]
    if then != state or len(words) < len(commands):
        return None
    if words:
        return _why(words[0], state, control)
    if state.members:
        return IN_CONFERENCE
    if isinstance(control, DropParty) and state.agent is not None and state.agent.id == control.leg:
        return NEEDED
    return f"not possible while {state.phase.value}"


def _why(word: str, state: CallState, control: Control) -> str:
    """The word of the state table in a sentence for whoever asked."""
    if isinstance(control, ChangeRecording) and word == "recording_refused":
        return _why_not_recorded(state, control)
    return REASONS.get(word, word)


def _why_not_recorded(state: CallState, control: ChangeRecording) -> str:
    if control.to == "on":
        if state.consent is False:
            return "the caller does not want to be recorded"
        if state.recording:
            return "the call is recorded already"
        return "a recording begins only in a talk of two, while nobody else is rung"
    if not state.recording:
        return "nothing is recorded"
    return "the recording is paused already" if state.is_muted else "the recording is not paused"


def effect_of(control: Control, before: CallState) -> Effect:  # noqa: C901, PLR0911 - one case per control
    """How to tell from the states to come."""
    match control:
        case HoldCall():
            return _after_split(_is_held)
        case ParkCall():
            return _after_split(lambda state: state.phase is Phase.PARKED)
        case TransferTo():
            return _after_split(lambda state: state.phase not in TOGETHER, may_end=True)
        case ResumeCall():
            back = {Phase.TALKING, Phase.CONFERENCE}
            return _until(lambda state: state.phase in back)
        case DropParty(leg=leg):
            return _until(lambda state: find_leg(state, leg) is None, may_end=True)
        case CompleteTransfer():
            third = before.third.id if before.third is not None else None
            return _until(lambda state: state.agent is not None and state.agent.id == third)
        case ConsultWith(leg=leg) | AddParticipant(leg=leg) | UnparkTo(leg=leg):
            return _until(lambda state: _has(state, leg))
        case Supervise():
            return _until(lambda state: state.supervision is not None)
        case ChangeRecording(to="on"):
            # Done as well when the caller is being asked: the answer is the caller's.
            return _after_split(lambda state: state.recording or state.phase is Phase.CONSENT)
        case ChangeRecording(to="off"):
            return _until(lambda state: not state.recording, may_end=True)
        case ChangeRecording(to=to):
            return _until(lambda state: state.is_muted is (to == "pause"), may_end=True)
        case HangUpCall():
            return _until(lambda state: state.phase in OVER, may_end=True)


def _is_held(state: CallState) -> bool:
    """The caller hears music; in a conference `intent` says that this is still to come about."""
    return state.phase is Phase.HELD or (
        state.phase is Phase.CONFERENCE_HELD and state.intent is None
    )


def _has(state: CallState, leg: LegId) -> bool:
    return state.third is not None and state.third.id == leg


def _until(is_done: Callable[[CallState], bool], *, may_end: bool = False) -> Effect:
    def effect(state: CallState) -> Answer | None:
        if is_done(state):
            return DONE
        if state.phase in OVER:
            return DONE if may_end else _failed("the call has ended")
        return None

    return effect


def _after_split(is_done: Callable[[CallState], bool], *, may_end: bool = False) -> Effect:
    """As `_until`; a bridge that could not be taken apart is a failure."""
    until, was_splitting = _until(is_done, may_end=may_end), False

    def effect(state: CallState) -> Answer | None:
        nonlocal was_splitting
        if answer := until(state):
            return answer
        if was_splitting and state.phase in TALKS:
            return _failed("they could not be taken apart; they go on talking")
        was_splitting = was_splitting or state.phase in {Phase.SPLITTING, Phase.CONFERENCE_HELD}
        return None

    return effect


def _failed(why: str) -> Answer:
    return Answer(refusal=Refusal.NOT_NOW, why=why)


class Watch:
    """Looks at the states of calls as they move, for those who wait for an effect."""

    def __init__(self) -> None:
        self._waiting: WeakKeyDictionary[Session, list[tuple[Effect, asyncio.Future[Answer]]]]
        self._waiting = WeakKeyDictionary()

    @contextlib.contextmanager
    def awaiting(self, session: Session, effect: Effect) -> Iterator[asyncio.Future[Answer]]:
        """A future that gets the answer as soon as a state to come shows it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = self._of(session)
        entry = (effect, answer)
        waiting.append(entry)
        try:
            yield answer
        finally:
            waiting.remove(entry)

    def _of(self, session: Session) -> list[tuple[Effect, asyncio.Future[Answer]]]:
        known = self._waiting.get(session)
        if known is not None:
            return known
        waiting = self._waiting[session] = []
        before = session.on_moved

        def moved(one: Session) -> None:
            before(one)
            for effect, answer in waiting:
                found = None if answer.done() else effect(one.state)
                if found is not None:
                    answer.set_result(found)

        session.on_moved = moved
        return waiting
