"""Whether a control means anything, and when it has come about: told from states alone."""

import asyncio
from typing import Literal

import pytest
from msgspec.structs import replace

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
    SplitDone,
    SplitFailed,
    Supervise,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Leg, Phase, Supervision
from pbx.machine.table import on
from router.telephony.call_control import DONE, Refusal, decode, encode
from router.telephony.effects import REASONS, Watch, effect_of, means_nothing
from rules.actions import End

PHONE = {"endpoint": "PJSIP/6002", "leg": LegId("third")}
CONTROLS: tuple[Control, ...] = (
    HoldCall(),
    ResumeCall(),
    TransferTo(End()),
    ConsultWith(**PHONE),
    CompleteTransfer(),
    AddParticipant(**PHONE),
    DropParty(LegId("third")),
    ParkCall(),
    UnparkTo(**PHONE),
    Supervise(endpoint="PJSIP/6002", leg=LegId("boss"), mode="listen"),
    ChangeRecording("on"),
    ChangeRecording("off"),
    ChangeRecording("pause"),
    ChangeRecording("resume"),
    HangUpCall(),
)


def call(phase: Phase = Phase.TALKING, **more: object) -> CallState:
    state = CallState(
        id="c1",
        kind=Kind.INBOUND,
        channel=LegId("caller"),
        phase=phase,
        is_up=True,
        agent=Leg(id=LegId("agent"), endpoint="PJSIP/6001", agent="ada", is_up=True),
    )
    return replace(state, **more)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ENDED])
@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: type(one).__name__)
def test_what_is_refused_beforehand_changes_nothing_and_does_nothing(
    phase: Phase, control: Control
):
    state = call(phase)
    then, commands = on(state, control)
    if means_nothing(state, control) is not None:
        assert then == state
        assert not [one for one in commands if type(one).__name__ != "Note"]
    else:
        assert then != state or commands


@pytest.mark.parametrize(
    ("phase", "control"),
    [
        (Phase.HOLDING, HoldCall()),
        (Phase.TALKING, ResumeCall()),
        (Phase.TALKING, ChangeRecording("pause")),
        (Phase.CONSULTING, ConsultWith(**PHONE)),
        (Phase.ENDED, HangUpCall()),
    ],
)
def test_a_control_at_the_wrong_moment_means_nothing(phase: Phase, control: Control):
    assert means_nothing(call(phase), control)


def follow(state: CallState, control: Control, *events: object) -> list[object]:
    """What the effect says of each state that follows."""
    effect = effect_of(control, state)
    said = []
    for event in (control, *events):
        state, _ = on(state, event)  # type: ignore[arg-type]
        said.append(effect(state))
    return said


def test_a_hold_is_done_when_the_bridge_is_apart_and_not_before():
    assert follow(call(), HoldCall(), SplitDone()) == [None, DONE]
    assert follow(call(), ParkCall(), SplitDone()) == [None, DONE]


def test_a_bridge_that_stays_together_is_a_failure():
    for control in (HoldCall(), ParkCall(), TransferTo(End()), ChangeRecording("on")):
        nothing_yet, failed = follow(call(), control, SplitFailed())
        assert nothing_yet is None
        assert getattr(failed, "refusal", None) is Refusal.NOT_NOW, control


def test_a_call_that_ends_meanwhile_is_a_failure_unless_that_was_the_wish():
    over = call(Phase.ENDED)
    for control in CONTROLS:
        answer = effect_of(control, call())(over)
        wished = isinstance(control, HangUpCall | TransferTo | ChangeRecording | DropParty)
        if wished and control != ChangeRecording("on"):
            assert answer == DONE, control
        else:
            assert answer is not None
            assert answer.refusal is Refusal.NOT_NOW, control


def test_a_recording_is_on_when_the_state_says_so():
    assert follow(call(), ChangeRecording("on"), SplitDone()) == [None, DONE]
    assert follow(call(recording=True), ChangeRecording("off")) == [DONE]
    assert follow(call(recording=True), ChangeRecording("pause")) == [DONE]
    assert follow(call(recording=True, is_muted=True), ChangeRecording("resume")) == [DONE]


@pytest.mark.parametrize(
    ("state", "to", "why"),
    [
        ({"recording": True, "is_muted": True}, "pause", "paused already"),
        ({"recording": True}, "resume", "not paused"),
        ({}, "off", "nothing is recorded"),
        ({"recording": True}, "on", "recorded already"),
        ({"consent": False}, "on", "does not want"),
        ({"phase": Phase.HELD}, "on", "talk of two"),
    ],
)
def test_why_a_recording_is_not_changed_is_said_in_words(
    state: dict[str, object], to: Literal["on", "off", "pause", "resume"], why: str
):
    assert why in str(means_nothing(call(**state), ChangeRecording(to)))


def test_what_the_state_table_notes_as_refused_is_said_in_words():
    third = Leg(id=LegId("third"), endpoint="PJSIP/6003")
    busy = call(third=third, supervision=Supervision(leg=third, mode="listen"))
    parked = call(Phase.PARKED, agent=None, third=third)
    for state, control in (
        (busy, ConsultWith(**PHONE)),
        (busy, AddParticipant(**PHONE)),
        (busy, Supervise(endpoint="PJSIP/6002", leg=LegId("boss"), mode="listen")),
        (parked, UnparkTo(**PHONE)),
    ):
        assert means_nothing(state, control) in REASONS.values(), control


class Moving:
    """A session, as far as watching goes."""

    def __init__(self) -> None:
        self.state = call()
        self.seen: list[CallState] = []
        self.on_moved = lambda one: self.seen.append(one.state)

    def move(self, state: CallState) -> None:
        self.state = state
        self.on_moved(self)


async def test_several_may_watch_one_call_and_its_owner_still_hears_of_every_move():
    watch, session = Watch(), Moving()
    hold, hang_up = effect_of(HoldCall(), call()), effect_of(HangUpCall(), call())
    with watch.awaiting(session, hold) as held, watch.awaiting(session, hang_up) as over:  # type: ignore[arg-type]
        session.move(call(Phase.SPLITTING))
        session.move(call(Phase.HELD))
        assert await asyncio.wait_for(held, 1) == DONE
        assert not over.done()
        session.move(call(Phase.ENDED))
        assert await asyncio.wait_for(over, 1) == DONE
    session.move(call())
    assert len(session.seen) == 4


def test_a_command_survives_the_way_through_the_store():
    from router.telephony import call_control as control  # noqa: PLC0415 - its names are common words

    party = control.Party(agent="ada")
    for command in (
        control.HangUp(call="c"),
        control.Transfer(call="c", action=End(message="bye")),
        control.Consult(call="c", party=party, ring_s=20),
        control.Supervise(call="c", party=party, mode="whisper"),
        control.Record(call="c", to="pause"),
        control.Drop(call="c", party="leg"),
        control.ClickToCall(call="c", agent="ada", number="+4930555123"),
        control.PlayMenu(call="c", number="+4930555123", action=End(message="hello")),
    ):
        assert decode(encode(command)) == command
