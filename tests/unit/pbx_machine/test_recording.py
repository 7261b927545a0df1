"""Who is recorded: nobody who was not told, or asked, where that is wanted."""

import msgspec
import pytest

from ivr.prompts import Fixed, Prompt, Sound
from ivr.steps import Key, Music, Play, Played, StopPlay
from pbx.machine.commands import Bridge, Command, HangUp, Note, SetRecording, StandInLine, WrapUp
from pbx.machine.events import (
    AddParticipant,
    Answered,
    Begin,
    Bridged,
    ChangeRecording,
    Confirmed,
    Decided,
    Gone,
    HangUpCall,
    HoldCall,
    LegPlayed,
    LegUp,
    ParkCall,
    Placed,
    Planned,
    Recovered,
    SplitDone,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import QueuePlan, RecordingPolicy
from pbx.machine.state import CallState, Kind, Phase
from pbx.machine.table import on
from tests.unit.pbx_machine.one_call import (
    ADA,
    ADA_OFFER,
    BEN,
    CALLER,
    CLICK,
    INBOUND,
    MENU,
    QUEUE,
    SPLIT_HOLD,
    SUPPORT,
    THIRD,
    TO_CONSULT,
    TO_QUEUE,
    TO_TALK,
    after,
    gone,
)


def recorded(**policy: bool) -> QueuePlan:
    """The queue, which records."""
    return msgspec.structs.replace(QUEUE, recording=RecordingPolicy(record=True, **policy))


ASKING = recorded(ask_consent=True)

# --- keys of before -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        TO_TALK,
        SPLIT_HOLD,
        TO_CONSULT,
        (*TO_TALK, HoldCall()),
        (*TO_TALK, ParkCall(), SplitDone()),
        (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD), LegUp(THIRD)),
        (*TO_TALK, HangUpCall()),
    ],
)
def test_keys_of_a_talk_are_not_kept(path: tuple[object, ...]) -> None:
    state, _ = after(INBOUND, *path, *(Key(key) for key in "14155"))  # type: ignore[arg-type]
    assert state.typed == ""


def test_a_key_of_the_talk_before_is_no_consent() -> None:
    state, _ = after(INBOUND, *TO_TALK, Key("1"), TransferTo(SUPPORT), SplitDone(), Planned(ASKING))
    assert state.phase is Phase.CONSENT
    assert state.consent is None
    assert after(state, Key("1"))[0].consent is True


def test_a_key_that_a_menu_did_not_need_is_no_consent() -> None:
    menu = (Begin(), Decided(rule="r", action=MENU), Answered())
    state, _ = after(INBOUND, *menu, Key("1"), Key("1"), Planned(ASKING))
    assert (state.phase, state.consent, state.typed) == (Phase.CONSENT, None, "")


def test_a_key_pressed_while_the_agent_is_being_told_of_the_caller_goes_no_further() -> None:
    ringing = (Begin(), Decided(rule="r", action=SUPPORT), Planned(QUEUE), Answered())
    state, _ = after(INBOUND, *ringing, Placed(left_s=9), ADA_OFFER, LegUp(ADA))
    state, _ = after(state, Key("1"), Confirmed(agent="ada", ok=True), LegPlayed(ADA), Bridged())
    assert (state.phase, state.typed) == (Phase.TALKING, "")


# --- told, or asked -------------------------------------------------------------------------------

NOTICE, QUESTION = Fixed(Sound.RECORDING_NOTICE), Fixed(Sound.RECORDING_CONSENT)
TELLING = recorded(announce=True)


def said(steps: tuple[Command, ...]) -> list[Prompt]:
    return [prompt for step in steps if isinstance(step, Play) for prompt in step.prompts]


def callback(plan: QueuePlan) -> CallState:
    """An agent-first callback."""
    kind = Kind.CALLBACK_AGENT_FIRST
    return msgspec.structs.replace(CLICK, kind=kind, plan=plan, queue=plan)


BOTH_UP = (Begin(), LegUp(ADA), LegUp(CALLER))


@pytest.mark.parametrize(("key", "records"), [("1", True), ("2", False)])
def test_whom_a_callback_reaches_is_asked_before_the_agent_is_joined(
    *, key: str, records: bool
) -> None:
    state, steps = after(callback(ASKING), *BOTH_UP)
    assert (state.phase, said(steps)) == (Phase.CONSENT, [QUESTION])
    assert Bridge(ADA) not in steps
    state, steps = after(state, Key(key))
    assert (SetRecording(to="on") in steps) is records
    assert steps[-1] == Bridge(ADA)


def test_whom_a_callback_reaches_is_told_before_the_agent_is_joined() -> None:
    state, steps = after(callback(TELLING), *BOTH_UP)
    assert said(steps) == [NOTICE]
    assert after(state, Played(1))[1][-2:] == (SetRecording(to="on"), Bridge(ADA))


def test_a_callback_whose_agent_leaves_while_the_customer_is_asked_waits_for_the_next() -> None:
    state, steps = after(callback(ASKING), *BOTH_UP, gone(ADA))
    assert steps == (WrapUp("ada"),)
    state, steps = after(state, Key("1"))
    assert steps[-1] == StandInLine(ASKING)
    assert state.goes_first


def test_to_be_told_is_not_to_agree() -> None:
    """The next queue asks, although the one before has said that it records."""
    told = (Begin(), Decided(rule="r", action=SUPPORT), Planned(TELLING), Answered(), Played(1))
    joined = (Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
    talk = (*told, *joined, LegPlayed(ADA), Bridged())
    state, steps = after(INBOUND, *talk, TransferTo(SUPPORT), SplitDone(), Planned(ASKING))
    assert (state.phase, said(steps)) == (Phase.CONSENT, [QUESTION])


def test_a_no_holds_for_the_whole_call() -> None:
    state, _ = after(INBOUND, *TO_TALK, TransferTo(SUPPORT), SplitDone(), Planned(ASKING), Key("2"))
    joined = (Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
    state, _ = after(state, *joined, LegPlayed(ADA), Bridged(), TransferTo(SUPPORT), SplitDone())
    state, steps = after(state, Planned(TELLING))
    assert steps == (StandInLine(TELLING),)
    state, steps = after(state, *joined, LegPlayed(ADA))
    assert not state.recording


# --- on demand ------------------------------------------------------------------------------------


def on_demand(**policy: bool) -> CallState:
    """A talk that is not recorded, and for which a recording is asked."""
    plan = msgspec.structs.replace(QUEUE, recording=RecordingPolicy(**policy))
    to_queue = (Begin(), Decided(rule="r", action=SUPPORT), Planned(plan), Answered())
    joined = (Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
    talk = (*to_queue, *joined, LegPlayed(ADA), Bridged())
    return after(INBOUND, *talk, ChangeRecording("on"))[0]


@pytest.mark.parametrize(("key", "records"), [("1", True), ("2", False)])
def test_a_recording_on_demand_waits_for_the_consent_that_the_queue_wants(
    *, key: str, records: bool
) -> None:
    state, steps = after(on_demand(ask_consent=True), SplitDone())
    assert (state.phase, said(steps), state.recording) == (Phase.CONSENT, [QUESTION], False)
    state, steps = after(state, Key(key))
    assert (SetRecording(to="on") in steps, state.recording) == (records, records)
    assert (state.phase, steps[-1]) == (Phase.TALKING, Bridge(ADA))


def test_a_recording_on_demand_is_announced_where_the_queue_wants_that() -> None:
    state, steps = after(on_demand(announce=True), SplitDone())
    assert said(steps) == [NOTICE]
    state, steps = on(state, Played(1))
    assert Note(what="recording_on") in steps
    assert state.recording


@pytest.mark.parametrize("why", [Gone.HUNG_UP, Gone.VANISHED])
def test_an_agent_who_leaves_while_the_caller_is_asked_ends_the_talk_as_ever(why: Gone) -> None:
    state, steps = after(on_demand(ask_consent=True), SplitDone(), gone(ADA, why))
    assert StopPlay() in steps
    if why is Gone.VANISHED:
        assert steps[-1] == StandInLine(state.queue)
    else:
        assert HangUp(cause=16) in steps


def test_nobody_is_asked_while_a_third_party_is_on_the_way() -> None:
    adding = (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD))
    state, _ = after(INBOUND, *adding)
    assert after(state, ChangeRecording("on")) == (state, ())


# --- what the policy does not allow ---------------------------------------------------------------


@pytest.mark.parametrize("to", ["off", "pause"])
def test_a_recording_that_the_queue_wants_goes_on_unless_the_queue_allows_a_pause(to: str) -> None:
    for allows in (True, False):
        plan = recorded(allow_pause=allows)
        to_queue = (Begin(), Decided(rule="r", action=SUPPORT), Planned(plan), Answered())
        joined = (Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
        state, _ = after(INBOUND, *to_queue, *joined, LegPlayed(ADA), Bridged())
        then, steps = on(state, ChangeRecording(to))  # type: ignore[arg-type]
        if allows:
            assert SetRecording(to=to) in steps  # type: ignore[arg-type]
        else:
            assert (then, steps) == (state, (Note(what="recording_must_go_on"),))


def test_a_recording_on_demand_may_be_ended_and_begun_again() -> None:
    state, _ = after(on_demand(), SplitDone())
    assert state.recording
    state, steps = after(state, ChangeRecording("off"))
    assert steps == (SetRecording(to="off"),)
    state, _ = after(state, ChangeRecording("on"), SplitDone())
    assert state.recording


def test_a_recording_that_was_ended_is_ended_again_by_whoever_takes_over() -> None:
    """The one before may have been killed between writing it down and telling Asterisk."""
    talking, _ = after(INBOUND, *TO_QUEUE[:2], Planned(recorded()), Answered(), *TO_TALK[4:])
    assert talking.recording
    parked, _ = after(talking, ParkCall(), SplitDone())
    taken_over = Recovered(alive=frozenset({CALLER}))
    assert after(parked, taken_over)[1][:2] == (SetRecording(to="off"), Music(on=True))
    unparked, _ = after(parked, UnparkTo(endpoint="PJSIP/2", leg=BEN), LegUp(BEN), Bridged())
    assert unparked.recording
    steps = after(unparked, Recovered(alive=frozenset({CALLER, BEN})))[1]
    assert SetRecording(to="off") not in steps
