"""The caller is handed on: transfers that fail, conferences that shrink, and what is recorded of it."""

import msgspec
import pytest

from ivr.prompts import Fixed, Sound
from ivr.steps import CancelTimer, Music, Play, Played, TimedOut, Timer
from pbx.machine.commands import (
    AskRules,
    Bridge,
    Cancel,
    Command,
    Confer,
    HangUp,
    MakePlan,
    Note,
    Over,
    SetRecording,
    Split,
    Spy,
    StandInLine,
    WrapUp,
)
from pbx.machine.events import (
    AddParticipant,
    Answered,
    Begin,
    Bridged,
    BridgeOver,
    ChangeRecording,
    CompleteTransfer,
    Confirmed,
    ConsultWith,
    Decided,
    Event,
    FileBegan,
    Gone,
    HangUpCall,
    HoldCall,
    LegPlayed,
    LegUp,
    ParkCall,
    Placed,
    Planned,
    RecordingFailed,
    Recovered,
    ResumeCall,
    SplitDone,
    SplitFailed,
    Supervise,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import DialPlan, Offer, QueuePlan, RecordingPolicy, VoicemailPlan
from pbx.machine.state import CallState, Leg, Phase
from pbx.machine.table import on
from rules.actions import End, Forward, Route, Target, TargetType, Voicemail
from tests.unit.pbx_machine.one_call import (
    ADA,
    ADA_OFFER,
    BEN,
    BOSS,
    CALLER,
    CLICK,
    DIAL,
    INBOUND,
    QUEUE,
    RECEPTION,
    SPLIT_HOLD,
    SUPPORT,
    THIRD,
    TO_CONSULT,
    TO_TALK,
    after,
    gone,
)

ELSEWHERE = Forward(number="+12125550177")
SORRY = (Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE))
RECORDS = msgspec.structs.replace(
    QUEUE, recording=RecordingPolicy(record=True, allow_pause=True), whisper=()
)
OFF = SetRecording(to="off")


def talking(plan: QueuePlan, *more: Event) -> CallState:
    to_queue = (Begin(), Decided(rule="r", action=SUPPORT), Planned(plan), Answered())
    joined = (Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
    return after(INBOUND, *to_queue, *joined, LegPlayed(ADA), Bridged(), *more)[0]


def next_talk(state: CallState, plan: QueuePlan) -> tuple[CallState, tuple[Command, ...]]:
    """Transferred, and joined to whom the plan leads to."""
    to_ada = (Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
    plan = msgspec.structs.replace(plan, whisper=())
    return after(state, TransferTo(SUPPORT), SplitDone(), Planned(plan), *to_ada)


# --- to somebody who does not take it ---------------------------------------------------------------


@pytest.mark.parametrize("why", [Gone.BUSY, Gone.NO_ANSWER, Gone.UNREACHABLE])
def test_a_transfer_that_is_not_taken_puts_the_caller_at_the_head_of_the_line(why: Gone) -> None:
    to_number = (*TO_TALK, TransferTo(ELSEWHERE), SplitDone(), Planned(DIAL))
    state, steps = after(INBOUND, *to_number, gone(THIRD, why))
    assert steps == (Music(on=True), StandInLine(QUEUE))
    assert (state.phase, state.in_line, state.goes_first) == (Phase.PLACING, True, True)


def test_without_a_line_a_caller_who_was_answered_hears_a_word_before_the_end() -> None:
    to_number = (Begin(), LegUp(ADA), LegUp(CALLER), Bridged(), TransferTo(ELSEWHERE), SplitDone())
    state, steps = after(CLICK, *to_number, Planned(DIAL), gone(THIRD, Gone.BUSY))
    assert steps == (Play(play=1, prompts=SORRY),)
    assert after(state, Played(1))[1][0] == HangUp(cause=16)


# --- the agent leaves while the caller is not with them ---------------------------------------------


def test_an_agent_who_hangs_up_in_a_consultation_completes_the_transfer() -> None:
    state, steps = after(INBOUND, *TO_CONSULT, gone(ADA))
    assert steps == (WrapUp("ada"), Music(on=False), Bridge(THIRD, returns=True))
    assert (state.phase, state.agent.id, state.third) == (Phase.TALKING, THIRD, None)
    assert Note(what="transferred") in on(after(INBOUND, *TO_CONSULT)[0], gone(ADA))[1]


@pytest.mark.parametrize("lost", [BridgeOver(), gone(THIRD)])
def test_a_third_who_is_lost_just_then_leaves_the_caller_in_line(lost: Event) -> None:
    state, steps = after(INBOUND, *TO_CONSULT, gone(ADA), lost)
    assert steps[-2:] == (Music(on=True), StandInLine(QUEUE))
    assert state.goes_first


@pytest.mark.parametrize(
    "path",
    [
        SPLIT_HOLD,
        (*TO_TALK, HoldCall()),
        (*SPLIT_HOLD, ConsultWith(endpoint="PJSIP/3", leg=THIRD)),
        (*TO_TALK, ConsultWith(endpoint="PJSIP/3", leg=THIRD), SplitDone()),
    ],
)
def test_an_agent_who_hangs_up_while_the_caller_holds_gives_the_caller_back(
    path: tuple[Event, ...],
) -> None:
    before, _ = after(INBOUND, *path)
    state, steps = after(before, gone(ADA))
    assert steps[-2:] == (Music(on=True), StandInLine(QUEUE))
    assert (Cancel(THIRD) in steps) is (before.third is not None)
    assert (state.third, state.goes_first) == (None, True)


def test_an_agent_who_hangs_up_a_talk_ends_it() -> None:
    assert HangUp(cause=16) in after(INBOUND, *TO_TALK, gone(ADA))[1]


def test_the_record_says_who_has_ended_the_call() -> None:
    for path, word in (
        ((*TO_TALK,), "caller_hung_up"),
        ((*TO_TALK, BridgeOver()), "hung_up_by_us"),
    ):
        state, _ = after(INBOUND, *path)
        words = [step.what for step in on(state, gone(CALLER))[1] if isinstance(step, Note)]
        assert words == [word]


def test_who_takes_over_two_who_talk_knows_that_they_were_joined() -> None:
    state, _ = after(INBOUND, *TO_TALK[:-1])
    both = frozenset({CALLER, ADA})
    state, steps = on(state, Recovered(alive=both, bridged=both))
    assert (state.is_joined, steps) == (True, (Note(what="talking", agent="ada"),))


# --- recorded by the policy of the moment -------------------------------------------------------------


def test_a_recording_ends_with_the_talk_and_begins_anew_where_the_next_queue_wants_it() -> None:
    state, steps = after(talking(RECORDS), TransferTo(SUPPORT), SplitDone())
    assert steps[:2] == (OFF, Music(on=True))
    state, steps = next_talk(talking(RECORDS), RECORDS)
    assert SetRecording(to="on") in steps
    assert state.recording


def test_after_a_transfer_to_a_queue_that_records_nothing_nothing_is_recorded() -> None:
    state, steps = next_talk(talking(RECORDS), QUEUE)
    assert state.phase is Phase.TALKING
    assert (state.recording, SetRecording(to="on") in steps) == (False, False)


def test_whoever_is_dialled_belongs_to_the_queue_that_the_call_came_from() -> None:
    for plan, records in ((RECORDS, True), (QUEUE, False)):
        handed = (TransferTo(ELSEWHERE), SplitDone(), Planned(DIAL), LegUp(THIRD))
        state, steps = after(talking(plan), *handed)
        assert (state.recording, SetRecording(to="on") in steps) == (records, records)
        assert steps[-1] == Bridge(THIRD)


def test_a_recording_on_demand_is_of_that_talk_alone() -> None:
    state = talking(QUEUE, ChangeRecording("on"), SplitDone(), Bridged())
    assert state.recording
    assert not next_talk(state, QUEUE)[0].recording


def test_a_pause_ends_with_the_agent_who_asked_for_it() -> None:
    paused = talking(RECORDS, ChangeRecording("pause"))
    assert paused.is_muted
    assert not next_talk(paused, RECORDS)[0].is_muted
    to_third = (ConsultWith(endpoint="PJSIP/3", leg=THIRD), SplitDone(), LegUp(THIRD))
    for end in ((gone(ADA),), (CompleteTransfer(), SplitDone())):
        state, _ = after(paused, *to_third)
        assert state.is_muted
        state, steps = after(state, *end)
        assert SetRecording(to="resume") in steps
        assert (state.recording, state.is_muted) == (True, False)


def test_nothing_is_recorded_of_a_parked_caller_until_somebody_has_taken_the_call() -> None:
    state, steps = after(talking(RECORDS), ParkCall(), SplitDone())
    assert (steps[0], state.recording) == (OFF, False)
    unpark = UnparkTo(endpoint="PJSIP/2", leg=BEN, agent="ben")
    state, steps = after(state, unpark, LegUp(BEN))
    begins = (Music(on=False), SetRecording(to="on"), Bridge(BEN))
    assert steps == (CancelTimer(Timer.LONGEST_WAIT), *begins)


def test_the_wait_for_the_next_agent_is_not_recorded() -> None:
    state, steps = after(talking(RECORDS), gone(ADA, Gone.VANISHED))
    assert (OFF in steps, state.recording) == (True, False)


@pytest.mark.parametrize(
    "path",
    [
        (HoldCall(), SplitDone()),
        (HoldCall(),),
        (ConsultWith(endpoint="PJSIP/3", leg=THIRD), SplitDone(), LegUp(THIRD)),
    ],
)
def test_a_recording_is_paused_and_ended_also_while_the_caller_holds(
    path: tuple[Event, ...],
) -> None:
    for to in ("pause", "off"):
        _, steps = after(talking(RECORDS, *path), ChangeRecording(to))  # type: ignore[arg-type]
        assert steps == (SetRecording(to=to),)  # type: ignore[arg-type]


def test_the_file_of_a_talk_before_that_is_missing_does_not_end_the_next_recording() -> None:
    state = talking(RECORDS, FileBegan(of="recording", file="/spool/a"))
    state, _ = next_talk(state, RECORDS)
    state, _ = after(state, FileBegan(of="recording", file="/spool/b"))
    assert after(state, RecordingFailed("/spool/a")) == (state, ())
    assert not after(state, RecordingFailed("/spool/b"))[0].recording


def test_a_file_that_begins_when_its_recording_has_ended_already_is_not_handed_over_again() -> None:
    state = talking(RECORDS, ChangeRecording("off"), FileBegan(of="recording", file="/spool/a"))
    assert state.recording_file == ""


# --- conferences ------------------------------------------------------------------------------------

ADD = AddParticipant(endpoint="PJSIP/3", leg=THIRD, agent="eve")
LISTEN = Supervise(endpoint="PJSIP/7", leg=BOSS, mode="listen")


def test_whoever_joins_a_conference_is_on_record() -> None:
    state, _ = after(INBOUND, *TO_TALK, ADD)
    assert Note(what="conference", leg=THIRD, agent="eve") in on(state, LegUp(THIRD))[1]


def test_two_who_are_left_of_a_conference_have_an_ordinary_talk_again() -> None:
    state, steps = after(INBOUND, *TO_TALK, ADD, LegUp(THIRD), gone(THIRD))
    assert steps == (WrapUp("eve"), Split(CALLER, ADA))
    state, steps = after(state, SplitDone())
    assert steps == (Music(on=False), Bridge(ADA))
    assert (state.phase, state.agent.id, state.members) == (Phase.TALKING, ADA, ())
    assert after(state, HoldCall())[1] == (Split(CALLER, ADA),)
    state, steps = after(state, Bridged(), gone(ADA))
    assert HangUp(cause=16) in steps


def test_two_who_cannot_be_taken_out_of_the_conference_talk_there() -> None:
    state, _ = after(INBOUND, *TO_TALK, ADD, LegUp(THIRD), gone(THIRD), SplitFailed())
    assert (state.phase, state.agent.id) == (Phase.TALKING, ADA)


def test_somebody_who_answers_just_as_another_leaves_makes_it_a_conference_again() -> None:
    more = AddParticipant(endpoint="PJSIP/2", leg=BEN)
    conference = (*TO_TALK, ADD, LegUp(THIRD), more, gone(THIRD), LegUp(BEN))
    state, steps = after(INBOUND, *conference, SplitDone())
    assert (state.phase, steps) == (Phase.CONFERENCE, (Confer((ADA, BEN)),))


def test_who_leaves_last_ends_the_call_even_before_the_two_are_joined_again() -> None:
    state, steps = after(INBOUND, *TO_TALK, ADD, LegUp(THIRD), gone(THIRD), gone(ADA))
    assert HangUp(cause=16) in steps
    assert after(state, gone(CALLER))[1] == (Over(),)


def test_a_recording_is_paused_and_ended_in_a_conference() -> None:
    three = after(talking(RECORDS), ADD, LegUp(THIRD))[0]
    state, steps = after(three, ChangeRecording("pause"))
    assert steps == (SetRecording(to="pause"),)
    assert SetRecording(to="resume") not in after(state, gone(THIRD))[1]
    assert SetRecording(to="resume") in after(state, gone(ADA))[1]
    assert after(state, ChangeRecording("off"))[1] == (OFF,)
    assert after(after(state, ChangeRecording("off"))[0], ChangeRecording("on"))[1] == ()


def test_a_conference_is_supervised_by_way_of_who_was_there_first() -> None:
    three = after(INBOUND, *TO_TALK, ADD, LegUp(THIRD))[0]
    state, steps = after(three, LISTEN, LegUp(BOSS))
    assert steps == (Spy(leg=BOSS, on=ADA, mode="listen"),)
    assert HangUp(leg=BOSS) not in after(state, gone(THIRD))[1]
    state, steps = after(state, gone(ADA))
    assert HangUp(leg=BOSS) in steps
    assert state.supervision is None


def test_a_caller_whose_call_is_transferred_by_who_is_left_goes_on() -> None:
    two = (*TO_TALK, ADD, LegUp(THIRD), gone(ADA), SplitDone(), Bridged())
    _, steps = after(INBOUND, *two, TransferTo(RECEPTION), SplitDone())
    assert steps[-1] == MakePlan(RECEPTION)


# --- the rest of the controls -------------------------------------------------------------------------


def test_a_caller_on_hold_is_transferred_at_once() -> None:
    _, steps = after(INBOUND, *SPLIT_HOLD, TransferTo(SUPPORT))
    assert steps == (Music(on=True), HangUp(leg=ADA), WrapUp("ada"), MakePlan(SUPPORT))


def test_to_end_a_consultation_is_to_hang_up_the_third() -> None:
    state, steps = after(INBOUND, *TO_CONSULT, ResumeCall())
    assert steps == (HangUp(leg=THIRD),)
    assert after(state, gone(THIRD))[1] == (Music(on=False), Bridge(ADA))


def test_a_phone_that_answers_and_that_nobody_has_asked_for_is_hung_up() -> None:
    for path in (TO_CONSULT, TO_TALK, SPLIT_HOLD, (*TO_TALK, ADD, LegUp(THIRD))):
        assert after(INBOUND, *path, LegUp(BEN))[1] == (HangUp(leg=BEN),)


def test_whoever_does_not_take_a_parked_caller_leaves_them_parked() -> None:
    parked = (*TO_TALK, ParkCall(), SplitDone(), UnparkTo(endpoint="PJSIP/2", leg=BEN, agent="ben"))
    state, steps = after(INBOUND, *parked, gone(BEN, Gone.BUSY))
    assert (state.phase, state.third, steps) == (Phase.PARKED, None, ())


def test_whoever_is_rung_by_name_is_noted_as_offered() -> None:
    state, _ = after(INBOUND, *TO_TALK, TransferTo(RECEPTION), SplitDone())
    _, steps = on(state, Planned(TO_ADA))
    assert Note(what="offered", leg=BEN, agent="ada") in steps


def test_the_record_names_whoever_was_consulted_or_did_not_take_it() -> None:
    ben = ConsultWith(endpoint="PJSIP/2", leg=BEN, agent="ben")
    state, _ = after(INBOUND, *SPLIT_HOLD, ben)
    assert Note(what="consulting", leg=BEN, agent="ben") in on(state, LegUp(BEN))[1]
    assert Note(what="third_busy", leg=BEN, agent="ben") in on(state, gone(BEN, Gone.BUSY))[1]


RUNG_FOR_ADA = ConsultWith(endpoint="PJSIP/2", leg=THIRD, agent="ben")


@pytest.mark.parametrize(
    "path",
    [
        (*TO_TALK, ADD, TransferTo(RECEPTION), SplitDone()),
        (*SPLIT_HOLD, RUNG_FOR_ADA, TransferTo(RECEPTION)),
        (*TO_TALK, ADD, ParkCall(), SplitDone()),
    ],
)
def test_a_third_who_still_rings_is_let_go_when_the_caller_is_handed_on(
    path: tuple[Event, ...],
) -> None:
    state, steps = after(INBOUND, *path)
    assert (state.third, steps.count(Cancel(THIRD))) == (None, 1)
    assert after(state, LegUp(THIRD))[1] == (HangUp(leg=THIRD),)  # answered in that very moment


# --- a parked caller whom nobody takes ----------------------------------------------------------------

PARKED_TOO_LONG = (ParkCall(), SplitDone(), TimedOut(Timer.LONGEST_WAIT))
BACK_TO_ADA = MakePlan(Route(target=Target(type=TargetType.USER, id="ada")))
TO_ADA = DialPlan(
    offers=(Offer(agent="ada", endpoint="PJSIP/1", leg=BEN),),
    ring_s=30,
    otherwise=Voicemail(target=Target(type=TargetType.USER, id="ada")),
)


def test_a_parked_caller_whom_nobody_takes_is_put_through_to_the_parker() -> None:
    state, steps = after(INBOUND, *TO_TALK, *PARKED_TOO_LONG)
    assert steps == (BACK_TO_ADA,)
    assert after(state, Recovered(alive=frozenset({state.channel})))[1] == (BACK_TO_ADA,)
    state, steps = after(state, Planned(TO_ADA), LegUp(BEN), Bridged())
    assert (state.phase, state.agent, state.parker) == (Phase.TALKING, replace_up(TO_ADA), "")


def replace_up(plan: DialPlan) -> Leg:
    (offer,) = plan.offers
    return Leg(id=offer.leg, endpoint=offer.endpoint, agent=offer.agent, is_up=True)


@pytest.mark.parametrize(
    "then",
    [
        (Planned(TO_ADA), gone(BEN, Gone.NO_ANSWER)),
        (Planned(VoicemailPlan(mailbox="ada")),),  # busy, or at no phone
    ],
)
def test_a_parker_who_does_not_answer_leaves_the_caller_to_the_head_of_the_line(
    then: tuple[Event, ...],
) -> None:
    state, steps = after(INBOUND, *TO_TALK, *PARKED_TOO_LONG, *then)
    assert steps == (Music(on=True), StandInLine(state.queue))
    assert (state.phase, state.goes_first, state.in_line) == (Phase.PLACING, True, True)


def test_without_a_line_the_mailbox_of_the_parker_is_left() -> None:
    arrived = (Begin(), Decided(rule="r", action=BACK_TO_ADA.action), Planned(TO_ADA))
    talks = (*arrived, LegUp(BEN), Answered(), Bridged())
    again = msgspec.structs.replace(
        TO_ADA, offers=(Offer(agent="ada", endpoint="PJSIP/1", leg=THIRD),)
    )
    back = (*PARKED_TOO_LONG, Planned(again), gone(THIRD, Gone.NO_ANSWER))
    assert after(INBOUND, *talks, *back)[1] == (MakePlan(TO_ADA.otherwise),)


def test_a_caller_whom_nobody_can_be_rung_for_is_asked_the_rules_about_again() -> None:
    arrived = (Begin(), Decided(rule="r", action=Forward(number="+1")), Planned(DIAL))
    talks = (*arrived, LegUp(THIRD), Answered(), Bridged())
    state, steps = after(INBOUND, *talks, *PARKED_TOO_LONG)
    assert (state.phase, steps) == (Phase.DECIDING, (AskRules(),))


def test_a_plan_after_a_parked_caller_was_taken_is_carried_out_as_it_is() -> None:
    parked = (*TO_TALK, ParkCall(), SplitDone(), UnparkTo(endpoint="PJSIP/2", leg=BEN, agent="ben"))
    taken = (*parked, LegUp(BEN), Bridged(), TransferTo(End()), SplitDone(), Planned(TO_ADA))
    state, _ = after(INBOUND, *taken)
    assert state.plan == TO_ADA


def test_a_hang_up_that_has_not_happened_is_asked_for_again() -> None:
    state, _ = after(INBOUND, *TO_TALK, HangUpCall())
    assert after(state, TimedOut(Timer.LONGEST_WAIT))[1][0] == HangUp(cause=16)
    assert after(state, TimedOut(Timer.ANNOUNCE)) == (state, ())
