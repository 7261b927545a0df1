"""The life of a call: what happens to the caller, whatever comes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ivr.prompts import Fixed, Sound, Speech
from ivr.steps import (
    AskStanding,
    AwaitRecorded,
    CancelTimer,
    Checked,
    CheckPin,
    Closing,
    Key,
    Music,
    Play,
    Played,
    Record,
    Recorded,
    Standing,
    StandingUnknown,
    StopPlay,
    TimedOut,
    Timer,
)
from pbx.machine.commands import (
    Answer,
    AskRules,
    Bridge,
    BridgeLegs,
    Cancel,
    Command,
    Confer,
    ConfirmAgent,
    HangUp,
    KeepMessage,
    LeaveLine,
    MakePlan,
    Note,
    NoteUnanswered,
    Over,
    PromiseCallback,
    ReleaseAgent,
    Ring,
    Ringback,
    Say,
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
    CallbackPromised,
    ChangeRecording,
    CompleteTransfer,
    Confirmed,
    ConsultWith,
    Decided,
    DropParty,
    Event,
    FileBegan,
    Gone,
    HangUpCall,
    HoldCall,
    LegGone,
    LegPlayed,
    LegUp,
    Matched,
    NotPlaced,
    NotPlacedBecause,
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
from pbx.machine.plans import (
    CallbackPlan,
    EndPlan,
    LegId,
    LoginPlan,
    Offer,
    QueuePlan,
    RecordingPolicy,
    VoicemailPlan,
)
from pbx.machine.state import CallState, Kind, Phase, to_write_down
from pbx.machine.table import TRANSITIONS, on
from rules.actions import End, Menu
from tests.unit.pbx_machine.one_call import (
    ADA,
    ADA_OFFER,
    ASK,
    ASKING,
    BEN,
    BOSS,
    BOTH_OFFER,
    CALLER,
    CLICK,
    DIAL,
    FROM_CONNECTING,
    INBOUND,
    MENU,
    PRESSED_9,
    QUEUE,
    RECEPTION,
    RECORDED,
    SPLIT_HOLD,
    SUPPORT,
    THIRD,
    TO_CONSULT,
    TO_HOLD,
    TO_JOIN,
    TO_QUEUE,
    TO_TALK,
    TO_WHISPER,
    WHISPER,
    after,
    gone,
)

# --- arriving -------------------------------------------------------------------------------------

RING_ADA = Ring(leg=ADA, endpoint="PJSIP/1", ring_s=20, caller_id=INBOUND.caller_number)
"""The phone shows who calls."""


def test_a_call_that_arrives_asks_the_rules_before_it_is_answered() -> None:
    assert after(INBOUND, Begin())[1] == (AskRules(),)


def test_a_menu_is_answered_played_and_its_choice_planned() -> None:
    state, steps = after(INBOUND, Begin(), Decided(rule="r", action=MENU))
    assert steps == (Answer(),)
    state, steps = after(state, Answered())
    assert steps == (Play(play=1, prompts=(Speech("sales 1"),), until_key=True),)
    state, steps = after(state, Key("1"))
    assert steps == (StopPlay(), MakePlan(SUPPORT))
    assert state.digits == {"main": "1"}


def test_digits_asked_for_go_back_to_the_rules() -> None:
    state, steps = after(
        INBOUND, Begin(), Decided(rule="r", action=ASK), Answered(), Key("4"), Key("2")
    )
    assert steps[-1] == AskRules()
    assert state.digits == {"pin": "42"}


def test_keys_typed_while_nobody_asked_answer_the_next_question() -> None:
    state, steps = after(
        INBOUND, Begin(), Key("4"), Key("2"), Decided(rule="r", action=ASK), Answered()
    )
    assert steps == (AskRules(),)
    assert state.digits == {"pin": "42"}


def test_the_back_key_leads_to_the_menu_before() -> None:
    outer = Menu(name="outer", prompt="languages", choices={"1": MENU}, otherwise=End())
    state, _ = after(INBOUND, Begin(), Decided(rule="r", action=outer), Answered(), Key("1"))
    _, steps = after(state, Key("#"))
    assert steps[-1] == Play(play=1, prompts=(Speech("languages"),), until_key=True)


def test_rules_that_ask_in_a_circle_end() -> None:
    state, _ = after(INBOUND, Begin())
    for _ in range(40):
        state, steps = after(state, Decided(rule="r", action=ASK))
        if steps[-1] == MakePlan(RECEPTION):
            break
        if steps == (Answer(),):
            state, _ = after(state, Answered())
        state, _ = after(state, Key("1"), Key("2"))
    assert steps[-1] == MakePlan(RECEPTION)


# --- in line --------------------------------------------------------------------------------------


def test_a_queue_answers_takes_a_place_and_plays_music() -> None:
    state, steps = after(INBOUND, *TO_QUEUE)
    assert steps == (StandInLine(QUEUE),)
    state, steps = after(state, Placed(left_s=700))
    assert steps[0] == Music(on=True)
    assert state.phase is Phase.HOLDING
    assert state.dialogue.policy.left_s == 700


def test_an_agent_is_rung_confirmed_whispered_to_and_joined() -> None:
    state, steps = after(INBOUND, *TO_HOLD, ADA_OFFER)
    assert steps == (RING_ADA,)
    state, steps = after(state, LegUp(ADA))
    assert steps == (ConfirmAgent(agent="ada", token="t1"),)
    state, steps = after(state, Confirmed(agent="ada", ok=True))
    assert steps == (Say(leg=ADA, prompts=WHISPER),)
    state, steps = after(state, LegPlayed(ADA))
    assert steps[-2:] == (Music(on=False), Bridge(ADA))
    assert state.phase is Phase.TALKING


def test_an_unanswered_offer_is_counted_and_the_next_agent_looked_for_at_once() -> None:
    state, _ = after(INBOUND, *TO_HOLD, ADA_OFFER)
    state, steps = after(state, gone(ADA, Gone.NO_ANSWER))
    assert steps == (
        NoteUnanswered(agent="ada", token="t1", why=Gone.NO_ANSWER),
        StandInLine(QUEUE),
    )
    assert state.in_line


def test_a_phone_that_cancels_by_itself_has_not_taken_the_call_either() -> None:
    _, steps = after(INBOUND, *TO_HOLD, ADA_OFFER, gone(ADA, Gone.CANCELLED))
    assert NoteUnanswered(agent="ada", token="t1", why=Gone.CANCELLED) in steps


def test_of_several_phones_the_first_to_answer_takes_the_call() -> None:
    state, _ = after(INBOUND, *TO_HOLD, BOTH_OFFER)
    state, steps = after(state, LegUp(BEN))
    assert steps == (Cancel(ADA), ConfirmAgent(agent="ben", token="t2"))
    assert after(state, LegUp(ADA))[1] == (HangUp(leg=ADA),)


def test_a_caller_hears_no_announcement_while_a_phone_rings() -> None:
    state, _ = after(INBOUND, *TO_HOLD, Standing(position=1, waiting=1), Played(1), ADA_OFFER)
    state, steps = after(state, TimedOut(Timer.ANNOUNCE))
    assert steps == ()
    _, steps = after(state, gone(ADA, Gone.BUSY))
    assert AskStanding() in steps


def test_a_lost_reservation_hangs_the_phone_up_and_looks_again() -> None:
    state, _ = after(INBOUND, *TO_HOLD, ADA_OFFER, LegUp(ADA))
    state, steps = after(state, Confirmed(agent="ada", ok=False))
    assert steps == (HangUp(leg=ADA), *FROM_CONNECTING)
    assert (state.phase, state.in_line) == (Phase.PLACING, True)


def test_an_agent_who_hangs_up_during_the_whisper_leaves_the_caller_in_place() -> None:
    state, steps = after(INBOUND, *TO_WHISPER, gone(ADA))
    assert steps == (WrapUp("ada"), *FROM_CONNECTING)
    assert (state.phase, state.in_line) == (Phase.PLACING, True)


def test_an_agent_who_hangs_up_while_the_reservation_is_being_confirmed_is_not_kept() -> None:
    """Which of the two it will be is not known yet: the store takes the one that fits."""
    state, steps = after(INBOUND, *TO_HOLD, ADA_OFFER, LegUp(ADA), gone(ADA))
    unanswered = NoteUnanswered(agent="ada", token="t1", why=Gone.HUNG_UP)
    assert steps == (unanswered, WrapUp("ada"), *FROM_CONNECTING)
    late, steps = after(state, Confirmed(agent="ada", ok=True))
    assert (late, steps) == (state, ())
    click = msgspec.structs.replace(CLICK, token="t1")
    _, steps = after(click, Begin(), LegUp(ADA), gone(ADA))
    assert steps == (unanswered, WrapUp("ada"), Over())


def test_a_late_confirmation_is_not_taken_for_that_of_the_next_agent() -> None:
    ben = Matched(offers=(Offer(agent="ben", endpoint="PJSIP/2", leg=BEN),), token="t2")
    state, _ = after(INBOUND, *TO_HOLD, ADA_OFFER, LegUp(ADA), gone(ADA), ben, LegUp(BEN))
    assert after(state, Confirmed(agent="ada", ok=True)) == (state, ())


@pytest.mark.parametrize("because", NotPlacedBecause)
def test_a_caller_whom_the_queue_does_not_take_goes_where_the_rules_say(
    because: NotPlacedBecause,
) -> None:
    _, steps = after(INBOUND, *TO_QUEUE, NotPlaced(because))
    assert steps == (MakePlan(RECEPTION),)


def test_escape_gives_the_place_up_and_stops_the_phones() -> None:
    state, _ = after(INBOUND, *TO_HOLD, ADA_OFFER)
    state, steps = after(state, Key("*"))
    assert steps[-4:] == (
        Cancel(ADA),
        ReleaseAgent(agent="ada", token="t1"),
        LeaveLine(keep=False),
        MakePlan(RECEPTION),
    )


def test_a_match_that_comes_too_late_gives_the_agent_back() -> None:
    state, _ = after(INBOUND, *TO_HOLD, Key("*"))
    assert after(state, ADA_OFFER)[1] == (ReleaseAgent(agent="ada", token="t1"),)


def test_the_longest_wait_and_closing_time_lead_to_the_overflow() -> None:
    for event in (TimedOut(Timer.LONGEST_WAIT), Closing()):
        _, steps = after(INBOUND, *TO_HOLD, event)
        assert steps[-2:] == (LeaveLine(keep=False), MakePlan(RECEPTION))


def test_a_caller_who_hangs_up_in_line_keeps_the_place_for_a_while() -> None:
    state, steps = after(INBOUND, *TO_HOLD, gone(CALLER))
    assert LeaveLine(keep=True) in steps
    assert steps[-1] == Over()
    assert state.phase is Phase.ENDED


def test_a_recorded_call_announces_it_before_the_line_and_records_from_the_join() -> None:
    state, steps = after(
        INBOUND, Begin(), Decided(rule="r", action=SUPPORT), Planned(RECORDED), Answered()
    )
    assert steps == (Play(play=1, prompts=(Fixed(Sound.RECORDING_NOTICE),)),)
    state, steps = after(state, Played(1))
    assert steps == (StandInLine(RECORDED),)
    _, steps = after(
        state, Placed(left_s=900), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True)
    )
    assert steps[-3:] == (Music(on=False), SetRecording(to="on"), Bridge(ADA))


@pytest.mark.parametrize(("key", "records"), [("1", True), ("2", False)])
def test_no_consent_no_recording(*, key: str, records: bool) -> None:
    plan = msgspec.structs.replace(
        RECORDED, recording=RecordingPolicy(record=True, ask_consent=True)
    )
    state, _ = after(
        INBOUND, Begin(), Decided(rule="r", action=SUPPORT), Planned(plan), Answered(), Key(key)
    )
    state, steps = after(
        state, Placed(left_s=9), ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True)
    )
    assert (SetRecording(to="on") in steps) is records
    assert state.recording is records
    refused = after(state, ChangeRecording("on"))[1]
    assert refused == ()


def test_that_consent_was_asked_for_and_the_answer_are_on_record() -> None:
    plan = msgspec.structs.replace(
        RECORDED, recording=RecordingPolicy(record=True, ask_consent=True)
    )
    state, _ = after(INBOUND, Begin(), Decided(rule="r", action=SUPPORT), Planned(plan))
    state, asked = on(state, Answered())
    assert Note(what="recording_consent_asked") in asked
    for key, answer in (("1", "recording_consent"), ("2", "recording_refused")):
        assert Note(what=answer) in on(state, Key(key))[1]


# --- callback -------------------------------------------------------------------------------------


def test_a_callback_is_written_down_before_the_caller_is_told() -> None:
    state, _ = after(INBOUND, *TO_HOLD, *PRESSED_9, Key("1"))
    state, steps = after(state, Checked(ok=True))
    assert steps == (PromiseCallback(queue="support", number="+12125550142"),)
    state, steps = after(state, CallbackPromised(ok=True))
    assert steps[-1].prompts == (Fixed(Sound.CALLBACK_ACCEPTED), Fixed(Sound.GOODBYE))
    assert LeaveLine() not in steps  # the place is the callback's now
    assert after(state, Played(steps[-1].play))[1][0] == HangUp(cause=16)


def test_a_callback_that_cannot_be_written_down_leaves_the_caller_in_line_who_is_told() -> None:
    state, _ = after(INBOUND, *TO_HOLD, *PRESSED_9, Key("1"))
    state, (sorry,) = after(state, Checked(ok=True), CallbackPromised(ok=False))
    assert sorry.prompts == (Fixed(Sound.CALLBACK_REFUSED),)
    assert state.in_line
    state, steps = after(state, Played(sorry.play))
    assert (state.phase, steps) == (Phase.PLACING, (StandInLine(QUEUE),))


def test_whoever_takes_over_writes_the_same_callback_down_again() -> None:
    to_promise = (*TO_HOLD, *PRESSED_9, Key("2"), *map(Key, "2125550177#"), Checked(ok=True))
    wanted = PromiseCallback(queue="support", number="2125550177")
    state, steps = after(INBOUND, *to_promise)
    assert steps == (wanted,)
    state, steps = after(state, Recovered(alive=frozenset({CALLER})))
    assert (state.phase, steps) == (Phase.PROMISING, (wanted,))
    _, steps = after(state, gone(CALLER))  # while nobody was there to write it down
    assert steps == (wanted, LeaveLine(keep=True), Over())


@pytest.mark.parametrize("shown", [None, "Restricted", "frau.suess"])
def test_who_shows_no_number_is_asked_for_one_and_spelled_none(shown: str | None) -> None:
    caller = msgspec.structs.replace(INBOUND, caller_number=shown)
    _, steps = after(caller, *TO_HOLD, *PRESSED_9)
    assert steps[-1].prompts == (Fixed(Sound.CALLBACK_KEY_NUMBER),)


def test_an_agent_found_during_the_offer_is_better_than_a_promise() -> None:
    state, _ = after(INBOUND, *TO_HOLD, *PRESSED_9)
    _, steps = after(state, ADA_OFFER)
    assert steps[0] == StopPlay()
    assert steps[-1] == RING_ADA


def test_the_action_callback_refused_does_what_the_rules_say() -> None:
    plan = CallbackPlan(queue="support", otherwise=RECEPTION)
    state, _ = after(INBOUND, Begin(), Decided(rule="r", action=SUPPORT), Planned(plan), Answered())
    for play in (1, 2, 3):
        state, steps = after(state, Played(play), TimedOut(Timer.FIRST_KEY))
    assert steps == (MakePlan(RECEPTION),)


# --- voicemail and end ----------------------------------------------------------------------------


def test_a_message_is_kept_also_when_the_caller_hangs_up() -> None:
    to_record = (
        Begin(),
        Decided(rule="r", action=RECEPTION),
        Planned(VoicemailPlan(mailbox="1")),
        Answered(),
        Played(1),
    )
    state, steps = after(INBOUND, *to_record)
    assert steps == (Record(longest_s=180),)
    assert KeepMessage("1") in after(state, gone(CALLER))[1]
    assert KeepMessage("1") in after(state, Recorded(duration_s=5), Played(2))[1]
    assert KeepMessage("1") not in after(state, Recorded(duration_s=0.1))[1]


def test_a_message_is_kept_also_when_the_call_is_hung_up_by_control() -> None:
    """Or its file would be on nobody's record, where nobody finds and nobody deletes it."""
    to_mail = (Begin(), Decided(rule="r", action=RECEPTION), Planned(VoicemailPlan(mailbox="1")))
    begun = (*to_mail, Answered(), Played(1), FileBegan(of="message", file="/spool/a"))
    state, steps = after(INBOUND, *begun, HangUpCall())
    assert KeepMessage("1") in steps
    assert state.phase is Phase.ENDING
    assert KeepMessage("1") in after(state, Recovered(alive=frozenset({CALLER})))[1]
    assert KeepMessage("1") not in after(state, gone(CALLER))[1]
    assert KeepMessage("1") not in after(INBOUND, *to_mail, Answered(), HangUpCall())[1]


def test_whoever_takes_over_goes_on_with_a_message_that_was_begun() -> None:
    plan = VoicemailPlan(mailbox="1")
    to_mail = (Begin(), Decided(rule="r", action=RECEPTION), Planned(plan), Answered())
    alive = Recovered(alive=frozenset({CALLER}))
    assert isinstance(after(INBOUND, *to_mail, alive)[1][0], Play)  # nothing was said yet
    begun = (*to_mail, Played(1), FileBegan(of="message", file="/spool/a"))
    for recorded in ((), (Recorded(duration_s=5),)):  # still, or while the caller is thanked
        state, steps = after(INBOUND, *begun, *recorded, alive)
        assert steps == (AwaitRecorded(longest_s=180),)
        state, steps = after(state, Recorded(duration_s=180))
        assert KeepMessage("1") in after(state, gone(CALLER))[1]
    state, _ = after(INBOUND, *begun, alive)
    assert KeepMessage("1") in after(state, gone(CALLER))[1]


def test_whoever_takes_over_keeps_a_message_that_was_being_kept() -> None:
    to_mail = (Begin(), Decided(rule="r", action=RECEPTION), Planned(VoicemailPlan(mailbox="1")))
    begun = FileBegan(of="message", file="/spool/a")
    kept = (*to_mail, Answered(), Played(1), begun, Recorded(duration_s=5), Played(2))
    state, steps = after(INBOUND, *kept)
    assert (state.phase, steps[0]) == (Phase.ENDING, KeepMessage("1"))
    assert KeepMessage("1") in after(state, Recovered(alive=frozenset({CALLER})))[1]
    assert KeepMessage("1") in after(state, gone(CALLER, Gone.LOST))[1]
    assert KeepMessage("1") not in after(state, gone(CALLER))[1]
    ended = (*TO_TALK, HangUpCall(), Recovered(alive=frozenset({CALLER})))
    assert not [one for one in after(INBOUND, *ended)[1] if isinstance(one, KeepMessage)]


def test_a_message_that_cannot_be_recorded_is_on_record_and_the_caller_is_told() -> None:
    to_mail = (Begin(), Decided(rule="r", action=RECEPTION), Planned(VoicemailPlan(mailbox="1")))
    state, _ = after(INBOUND, *to_mail, Answered(), Played(1))
    _, steps = on(state, Recorded(duration_s=0, has_failed=True))
    assert Note(what="message_lost") in steps
    assert steps[-1].prompts == (Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE))


def test_an_end_without_words_is_not_answered() -> None:
    _, steps = after(INBOUND, Begin(), Decided(rule="r", action=End()), Planned(EndPlan(cause=21)))
    assert steps[0] == HangUp(cause=21)


# --- logging in by phone --------------------------------------------------------------------------

TO_LOGIN = (Begin(), Planned(LoginPlan(on=True)), Answered())
PAIR = tuple(Key(key) for key in "42#4711#")


def test_a_feature_number_is_answered_without_rules_and_asks_for_number_and_pin() -> None:
    state, steps = after(INBOUND, Begin(), Planned(LoginPlan(on=True)))
    assert steps == (Answer(),)
    state, steps = after(state, Answered())
    assert steps == (Play(play=1, prompts=(Fixed(Sound.LOGIN_AGENT),), until_key=True),)
    assert state.phase is Phase.LOGIN
    state, steps = after(state, *PAIR)
    assert steps[-1] == CheckPin(agent="42", pin="4711")


@pytest.mark.parametrize(("on_", "said"), [(True, Sound.LOGGED_IN), (False, Sound.LOGGED_OUT)])
def test_a_log_in_is_confirmed_when_it_is_done_and_the_call_ends(*, on_: bool, said: Sound) -> None:
    state, steps = after(
        INBOUND, Begin(), Planned(LoginPlan(on=on_)), Answered(), *PAIR, Checked(ok=True)
    )
    assert steps[0].prompts == (Fixed(said),)
    state, steps = after(state, Played(steps[0].play))
    assert steps[0] == HangUp(cause=16)
    assert state.phase is Phase.ENDING


def test_three_wrong_pairs_end_the_call_and_are_on_record() -> None:
    state, _ = after(INBOUND, *TO_LOGIN)
    for _ in range(3):
        state, steps = after(state, *PAIR, Checked(ok=False))
    assert steps[0].prompts == (Fixed(Sound.LOGIN_REFUSED),)
    state, steps = on(state, Played(steps[0].play))
    assert Note(what="login_refused") in steps
    assert HangUp(cause=16) in steps


def test_whoever_takes_a_log_in_over_begins_it_anew_and_reads_no_pin() -> None:
    state, _ = after(INBOUND, *TO_LOGIN, *PAIR[:-1])
    kept = to_write_down(state)
    assert b"471" in msgspec.json.encode(state)
    assert b"471" not in msgspec.json.encode(kept)
    for taken in (kept, state):
        again, steps = after(taken, Recovered(alive=frozenset({CALLER})))
        assert steps == (Play(play=1, prompts=(Fixed(Sound.LOGIN_AGENT),), until_key=True),)
        assert after(again, *PAIR)[1][-1] == CheckPin(agent="42", pin="4711")


def test_a_check_that_is_answered_after_the_log_in_began_anew_confirms_nothing() -> None:
    state, _ = after(INBOUND, *TO_LOGIN, *PAIR, Recovered(alive=frozenset({CALLER})))
    assert after(state, Checked(ok=True)) == (state, ())


# --- talking --------------------------------------------------------------------------------------


def test_when_the_agent_hangs_up_wrap_up_begins_and_the_caller_is_let_go() -> None:
    state, steps = after(INBOUND, *TO_TALK, BridgeOver())
    assert steps[:3] == (HangUp(leg=ADA), WrapUp("ada"), HangUp(cause=16))
    assert after(state, gone(CALLER))[1] == (Over(),)


@pytest.mark.parametrize("lost", [BridgeOver(), LegGone(leg=ADA, why=Gone.LOST)])
def test_an_agent_lost_in_the_moment_of_joining_leaves_the_caller_in_line(lost: Event) -> None:
    state, steps = after(INBOUND, *TO_JOIN, lost)
    assert state.phase is Phase.PLACING
    assert state.in_line
    assert WrapUp("ada") in steps
    assert StandInLine(QUEUE) in steps
    assert not [step for step in steps if isinstance(step, HangUp) and step.leg is None]


def test_the_files_of_a_call_are_in_its_state_for_whoever_takes_over() -> None:
    state, _ = after(
        INBOUND,
        *TO_TALK,
        ChangeRecording("on"),
        SplitDone(),
        FileBegan(of="recording", file="/spool/a"),
        FileBegan(of="message", file="/spool/b"),
    )
    assert (state.recording_file, state.message_file) == ("/spool/a", "/spool/b")


def test_when_the_caller_hangs_up_wrap_up_begins() -> None:
    _, steps = after(INBOUND, *TO_TALK, gone(CALLER))
    assert steps == (HangUp(leg=ADA), WrapUp("ada"), Over())


def test_hold_takes_the_bridge_apart_and_resume_joins_again() -> None:
    state, steps = after(INBOUND, *TO_TALK, HoldCall())
    assert steps == (Split(CALLER, ADA),)
    state, steps = after(state, SplitDone())
    assert steps == (Music(on=True),)
    assert after(state, ResumeCall())[1] == (Music(on=False), Bridge(ADA))


def test_a_bridge_that_cannot_be_taken_apart_leaves_both_talking() -> None:
    state, _ = after(INBOUND, *TO_TALK, HoldCall(), SplitFailed())
    assert state.phase is Phase.TALKING


def test_a_blind_transfer_frees_the_agent_and_carries_the_action_out() -> None:
    _, steps = after(INBOUND, *TO_TALK, TransferTo(SUPPORT), SplitDone())
    assert steps == (Music(on=True), HangUp(leg=ADA), WrapUp("ada"), MakePlan(SUPPORT))


def test_a_consultation_joins_agent_and_third_and_a_transfer_the_caller_and_third() -> None:
    state, steps = after(INBOUND, *TO_CONSULT)
    assert steps == (Music(on=True), BridgeLegs(ADA, THIRD))
    state, steps = after(state, CompleteTransfer())
    assert steps == (Split(ADA, THIRD),)
    state, steps = after(state, SplitDone())
    assert steps == (HangUp(leg=ADA), WrapUp("ada"), Music(on=False), Bridge(THIRD))
    assert state.agent.id == THIRD


@pytest.mark.parametrize("why", [Gone.NO_ANSWER, Gone.BUSY, Gone.UNREACHABLE, Gone.DECLINED])
def test_a_third_party_who_does_not_answer_leaves_the_call_unharmed(why: Gone) -> None:
    consulting = (*TO_TALK, ConsultWith(endpoint="PJSIP/3", leg=THIRD), SplitDone())
    state, steps = after(INBOUND, *consulting, gone(THIRD, why))
    assert steps == (Music(on=False), Bridge(ADA))
    adding = (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD))
    state, steps = after(INBOUND, *adding, gone(THIRD, why))
    assert steps == ()
    assert state.phase is Phase.TALKING


def test_a_third_party_who_refuses_while_the_bridge_is_taken_apart_leaves_both_talking() -> None:
    state, steps = after(
        INBOUND,
        *TO_TALK,
        ConsultWith(endpoint="PJSIP/3", leg=THIRD),
        gone(THIRD, Gone.UNREACHABLE),
        SplitDone(),
    )
    assert state.phase is Phase.TALKING
    assert steps == (Music(on=False), Bridge(ADA))


def test_a_transfer_that_cannot_be_completed_leaves_agent_and_third_talking() -> None:
    state, _ = after(INBOUND, *TO_CONSULT, CompleteTransfer(), SplitFailed())
    assert state.phase is Phase.CONSULTING


@pytest.mark.parametrize("control", [TransferTo(SUPPORT), ParkCall()])
def test_an_agent_who_is_gone_before_the_split_leaves_the_control_to_go_on(control: Event) -> None:
    state, _ = after(INBOUND, *TO_TALK, control, gone(ADA), SplitFailed())
    assert state.phase in {Phase.PLANNING, Phase.PARKED}


def test_a_conference_that_was_not_complete_is_brought_together_again() -> None:
    adding = (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD), LegUp(THIRD))
    two = frozenset({CALLER, ADA})
    _, steps = after(INBOUND, *adding, Recovered(alive=two | {THIRD}, bridged=two))
    assert steps == (Confer((ADA, THIRD)),)
    _, steps = after(INBOUND, *adding, Recovered(alive=two | {THIRD}, bridged=two | {THIRD}))
    assert steps == ()


TO_CONFERENCE = (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD), LegUp(THIRD))


@pytest.mark.parametrize("path", [TO_TALK, SPLIT_HOLD, TO_CONSULT, (*TO_CONFERENCE, gone(THIRD))])
def test_a_caller_whose_agents_phone_falls_silent_is_served_by_the_next_before_all_others(
    path: tuple[Event, ...],
) -> None:
    state, steps = after(INBOUND, *path, gone(ADA, Gone.VANISHED))
    assert WrapUp("ada", has_vanished=True) in steps
    assert steps[-2:] == (Music(on=True), StandInLine(QUEUE))
    assert (state.phase, state.in_line, state.goes_first) == (Phase.PLACING, True, True)
    ben = Matched(offers=(Offer(agent="ben", endpoint="PJSIP/2", leg=BEN),), token="t2")
    state, _ = after(state, Placed(left_s=9), ben, LegUp(BEN), Confirmed(agent="ben", ok=True))
    state, steps = after(state, LegPlayed(BEN))
    assert steps[-1] == Bridge(BEN)
    assert not state.goes_first


def test_without_a_queue_the_silence_of_a_phone_leads_to_what_comes_when_nobody_answers() -> None:
    sorry = Play(play=1, prompts=(Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE)))
    for otherwise, wanted in ((RECEPTION, MakePlan(RECEPTION)), (None, sorry)):
        plan = msgspec.structs.replace(DIAL, otherwise=otherwise)
        to_talk = (Begin(), Decided(rule="r", action=RECEPTION), Planned(plan), LegUp(THIRD))
        state, _ = after(INBOUND, *to_talk, Answered(), Bridged())
        assert state.phase is Phase.TALKING
        _, steps = after(state, gone(THIRD, Gone.VANISHED))
        assert wanted in steps


def test_three_talk_when_the_third_answers_and_two_go_on_when_one_leaves() -> None:
    adding = (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD), LegUp(THIRD))
    state, steps = after(INBOUND, *adding)
    assert steps == (Confer((ADA, THIRD)),)
    state, steps = after(state, gone(ADA))
    assert steps == (WrapUp("ada"), Split(CALLER, THIRD))
    state, steps = after(state, SplitDone())
    assert (state.phase, steps) == (Phase.TALKING, (Music(on=False), Bridge(THIRD)))
    assert after(state, gone(THIRD))[1][0] == HangUp(cause=16)


def test_a_parked_caller_is_taken_by_whoever_answers() -> None:
    state, steps = after(INBOUND, *TO_TALK, ParkCall(), SplitDone())
    assert steps[:3] == (HangUp(leg=ADA), WrapUp("ada"), Music(on=True))
    state, _ = after(state, UnparkTo(endpoint="PJSIP/2", leg=BEN, agent="ben"))
    state, steps = after(state, LegUp(BEN))
    assert steps == (CancelTimer(Timer.LONGEST_WAIT), Music(on=False), Bridge(BEN))
    assert state.agent.agent == "ben"


def test_a_supervisor_listens_and_changes_the_mode_without_a_new_leg() -> None:
    watch = Supervise(endpoint="PJSIP/7", leg=BOSS, mode="listen")
    state, steps = after(INBOUND, *TO_TALK, watch)
    assert steps == (Ring(leg=BOSS, endpoint="PJSIP/7", ring_s=30),)
    state, steps = after(state, LegUp(BOSS))
    assert steps == (Spy(leg=BOSS, on=ADA, mode="listen"),)
    barge = Supervise(endpoint="PJSIP/7", leg=BOSS, mode="barge")
    assert after(state, barge)[1] == (Spy(leg=BOSS, on=ADA, mode="barge"),)


def test_a_second_supervisor_does_not_change_what_the_first_one_does() -> None:
    """Nobody is put into a talk aloud because somebody else asked for that for themselves."""
    watch = Supervise(endpoint="PJSIP/7", leg=BOSS, mode="listen", agent="sue")
    state, _ = after(INBOUND, *TO_TALK, watch, LegUp(BOSS))
    other = Supervise(endpoint="PJSIP/2", leg=BEN, mode="barge", agent="ben")
    assert after(state, other) == (state, ())
    _, noted = on(state, gone(BOSS))
    assert noted == (Note(what="supervisor_left", leg=BOSS, agent="sue"),)


def test_recording_is_paused_and_resumed_only_when_there_is_one() -> None:
    state, _ = after(INBOUND, *TO_TALK)
    assert after(state, ChangeRecording("pause"))[1] == ()
    state, steps = after(state, ChangeRecording("on"))
    assert steps == (Split(CALLER, ADA),)
    state, steps = after(state, SplitDone())
    assert steps == (Music(on=False), SetRecording(to="on"), Bridge(ADA))
    assert state.recording
    assert after(state, ChangeRecording("resume")) == (state, ())
    state, steps = after(state, ChangeRecording("pause"))
    assert steps == (SetRecording(to="pause"),)
    assert after(state, ChangeRecording("pause")) == (state, ())
    state, steps = after(state, ChangeRecording("resume"))
    assert steps == (SetRecording(to="resume"),)
    muted, _ = after(state, ChangeRecording("pause"))
    assert not after(muted, ChangeRecording("off"))[0].is_muted
    assert not after(muted, RecordingFailed())[0].is_muted


@pytest.mark.parametrize(("was", "wanted"), [("pause", "pause"), ("resume", "resume")])
def test_whoever_takes_over_asks_for_silence_or_sound_in_the_recording_again(
    was: str, wanted: str
) -> None:
    recorded = (*TO_TALK, ChangeRecording("on"), SplitDone(), Bridged(), ChangeRecording("pause"))
    state, _ = after(INBOUND, *recorded)
    if was == "resume":
        state, _ = after(state, ChangeRecording("resume"))
    both = frozenset({CALLER, ADA})
    again, steps = after(state, Recovered(alive=both, bridged=both))
    assert steps == (SetRecording(to=wanted),)
    assert again == state


# --- dialling out -----------------------------------------------------------------------------------


def test_a_caller_is_answered_only_when_the_far_end_is() -> None:
    state, steps = after(INBOUND, Begin(), Decided(rule="r", action=RECEPTION), Planned(DIAL))
    assert steps[-1] == Ring(leg=THIRD, endpoint="PJSIP/9", ring_s=30)
    state, steps = after(state, LegUp(THIRD))
    assert steps == (Answer(),)
    assert after(state, Answered())[1] == (Music(on=False), Bridge(THIRD))


@pytest.mark.parametrize(
    ("why", "cause"), [(Gone.BUSY, 17), (Gone.NO_ANSWER, 19), (Gone.UNREACHABLE, 20)]
)
def test_the_cause_of_a_failed_dial_is_passed_on(why: Gone, cause: int) -> None:
    state, _ = after(INBOUND, Begin(), Decided(rule="r", action=RECEPTION), Planned(DIAL))
    assert after(state, gone(THIRD, why))[1][0] == HangUp(cause=cause)


def test_whoever_takes_over_answers_the_caller_for_whom_the_far_end_has_answered() -> None:
    to_dial = (Begin(), Decided(rule="r", action=RECEPTION), Planned(DIAL))
    alive = Recovered(alive=frozenset({CALLER, THIRD}))
    assert after(INBOUND, *to_dial, alive)[1] == (Ringback(),)
    state, steps = after(INBOUND, *to_dial, LegUp(THIRD), alive)
    assert steps == (Answer(),)
    assert after(state, Answered())[1][-1] == Bridge(THIRD)


def test_click_to_call_rings_the_agent_first_then_the_customer() -> None:
    state, steps = after(CLICK, Begin())
    assert steps[0].leg == ADA
    state, steps = after(state, LegUp(ADA))
    assert steps[-1].leg == CALLER
    state, steps = after(state, LegUp(CALLER))
    assert steps == (Music(on=False), Bridge(ADA))


def test_click_to_call_ends_when_the_agent_does_not_answer() -> None:
    state, steps = after(CLICK, Begin(), gone(ADA, Gone.NO_ANSWER))
    assert steps[-1] == Over()
    assert state.phase is Phase.ENDED


def test_a_busy_customer_is_told_to_the_agent_and_the_call_ends() -> None:
    state, steps = after(CLICK, Begin(), LegUp(ADA), gone(CALLER, Gone.BUSY))
    assert steps == (Say(leg=ADA, prompts=(Fixed(Sound.TRY_LATER),)),)
    state, steps = after(state, LegPlayed(ADA))
    assert steps == (HangUp(leg=ADA),)
    assert after(state, gone(ADA))[1] == (WrapUp("ada"), Over())


NOT_REACHED = LegGone(leg=CALLER, why=Gone.UNREACHABLE)


@pytest.mark.parametrize(
    ("event", "noted"),
    [
        (NOT_REACHED, "trunk_unreachable"),  # no channel came to be
        (replace(NOT_REACHED, cause=34), "trunk_unreachable"),
        (replace(NOT_REACHED, cause=34, has_rung=True), "customer_unreachable"),
        (replace(NOT_REACHED, cause=1), "customer_unreachable"),  # no such number
        (replace(NOT_REACHED, cause=19), "customer_unreachable"),
        (gone(CALLER, Gone.BUSY), "customer_busy"),
    ],
)
def test_a_trunk_that_takes_no_calls_is_told_from_a_customer_who_takes_none(
    event: LegGone, noted: str
) -> None:
    state, _ = after(CLICK, Begin(), LegUp(ADA))
    _, steps = on(state, event)
    assert Note(what=noted, leg=CALLER) in steps


def test_an_agent_who_leaves_while_the_customer_rings_stops_the_ringing() -> None:
    _, steps = after(CLICK, Begin(), LegUp(ADA), gone(ADA))
    assert steps == (WrapUp("ada"), Cancel(CALLER))


def test_an_outbound_menu_starts_when_the_customer_answers() -> None:
    call = CallState(
        id="c3", kind=Kind.OUTBOUND_IVR, channel=CALLER, customer_endpoint="PJSIP/x", action=MENU
    )
    assert after(call, Begin(), LegUp(CALLER))[1] == (
        Play(play=1, prompts=(Speech("sales 1"),), until_key=True),
    )


# --- all of it --------------------------------------------------------------------------------------

_WHYS = (Gone.HUNG_UP, Gone.BUSY, Gone.VANISHED)
EVENTS: list[Event] = [
    Begin(),
    Answered(),
    *(Decided(rule="r", action=action) for action in (MENU, ASK, SUPPORT, RECEPTION, End())),
    *(
        Planned(plan)
        for plan in (
            QUEUE,
            RECORDED,
            ASKING,
            DIAL,
            VoicemailPlan(mailbox="1"),
            CallbackPlan(queue="support", otherwise=RECEPTION),
            EndPlan(prompts=(Fixed(Sound.GOODBYE),)),
            LoginPlan(on=True),
        )
    ),
    Placed(left_s=300),
    NotPlaced(NotPlacedBecause.FULL),
    ADA_OFFER,
    BOTH_OFFER,
    *(LegUp(leg) for leg in (ADA, BEN, THIRD, BOSS)),
    *(gone(leg, why) for leg in (ADA, BEN, THIRD, BOSS) for why in _WHYS),
    *(Confirmed(agent="ada", ok=ok) for ok in (True, False)),
    LegPlayed(ADA),
    Bridged(),
    BridgeOver(),
    SplitDone(),
    SplitFailed(),
    CallbackPromised(ok=True),
    CallbackPromised(ok=False),
    FileBegan(of="recording", file="/spool/a"),
    RecordingFailed(),
    Recovered(alive=frozenset({CALLER, ADA})),
    Recovered(alive=frozenset({CALLER, ADA}), bridged=frozenset({CALLER, ADA})),
    HoldCall(),
    ResumeCall(),
    TransferTo(SUPPORT),
    ConsultWith(endpoint="PJSIP/3", leg=THIRD),
    CompleteTransfer(),
    AddParticipant(endpoint="PJSIP/3", leg=THIRD),
    *(DropParty(leg) for leg in (ADA, BEN, THIRD, BOSS)),
    ParkCall(),
    UnparkTo(endpoint="PJSIP/2", leg=BEN, agent="ben"),
    Supervise(endpoint="PJSIP/7", leg=BOSS, mode="listen"),
    *(ChangeRecording(to) for to in ("on", "off", "pause", "resume")),
    HangUpCall(),
    *(Key(key) for key in "129*#"),
    *(Played(play) for play in (1, 2, 3)),
    *(TimedOut(timer) for timer in Timer),
    Standing(position=2, waiting=3, wait_s=99),
    StandingUnknown(),
    Recorded(duration_s=3),
    Checked(ok=True),
    Checked(ok=False),
    Closing(),
]

WALKS = st.lists(st.sampled_from(EVENTS), max_size=60)
CALLBACK = msgspec.structs.replace(
    CLICK, kind=Kind.CALLBACK_AGENT_FIRST, plan=ASKING, queue=ASKING, token="t1"
)
BOTH_UP = (Begin(), LegUp(ADA), Confirmed(agent="ada", ok=True), LegUp(CALLER))
STARTS = st.sampled_from(
    [
        (INBOUND, ()),
        (INBOUND, TO_HOLD),
        (INBOUND, TO_TALK),
        (INBOUND, TO_CONSULT),
        (INBOUND, TO_CONFERENCE),
        (INBOUND, (*TO_CONFERENCE, HoldCall(), SplitDone())),
        (INBOUND, TO_LOGIN),
        (CLICK, ()),
        (CALLBACK, BOTH_UP),
    ]
)
TALKS = {Phase.TALKING, Phase.SPLITTING, Phase.HELD, Phase.CONSULTING}
TALKS |= {Phase.CONFERENCE, Phase.CONFERENCE_HELD}


def nothing_is_recorded_without_leave(state: CallState, steps: tuple[Command, ...]) -> None:
    """Whatever the way to it, and never of anything but a talk."""
    assert not state.recording or state.phase in TALKS | {Phase.ENDING, Phase.ENDED}
    assert state.recording or not state.is_muted
    assert state.phase not in TALKS or state.typed == ""
    if not any(isinstance(step, SetRecording) and step.to == "on" for step in steps):
        return
    assert (state.recording, state.consent) in {(True, None), (True, True)}
    policy = state.plan.recording if isinstance(state.plan, QueuePlan) else None
    if policy is not None and policy.ask_consent:
        assert state.consent is True
    elif policy is not None and policy.announce:
        assert state.is_told


@settings(max_examples=500, deadline=None)
@given(start=STARTS, events=WALKS)
def test_any_walk_ends_with_the_caller_and_forgets_nobody(
    start: tuple[CallState, tuple[Event, ...]], events: list[Event]
) -> None:
    state, first = start
    rung: set[LegId] = set()
    reserved: list[str] = []
    overs = 0
    for event in [*first, *events, gone(CALLER), gone(ADA), gone(CALLER)]:
        was = state
        state, steps = on(state, event)
        assert msgspec.json.decode(msgspec.json.encode(state), type=CallState) == state
        nothing_is_recorded_without_leave(state, steps)
        if was.phase is Phase.ENDED:
            assert (state, steps) == (was, ())
        if isinstance(event, LegGone):
            rung.discard(event.leg)
        if isinstance(event, Matched) and was.phase is not Phase.ENDED:
            known = bool(was.offers) and event.token == was.token
            reserved += [] if known else [offer.agent for offer in event.offers]
        for step in steps:
            match step:
                case Ring():
                    rung.add(step.leg)
                case Cancel() | HangUp():
                    rung.discard(step.leg)
                case NoteUnanswered() | ReleaseAgent():
                    if step.agent in reserved:
                        reserved.remove(step.agent)
                case ConfirmAgent():
                    # A confirmed reservation releases the others of its group in the same step.
                    reserved.clear()
                case Over():
                    overs += 1
                case _:
                    pass
    assert state.phase is Phase.ENDED
    assert overs == 1
    assert rung <= {CALLER}
    assert reserved == []


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ENDED])
def test_the_end_of_the_caller_is_known_in_every_phase(phase: Phase) -> None:
    """A caller is never lost: whatever the phase, the hang-up closes the call."""
    state = msgspec.structs.replace(INBOUND, phase=phase)
    state, _ = after(state, gone(CALLER), gone(ADA))
    assert state.phase in {Phase.ENDED, Phase.ENDING}


def test_every_phase_has_a_row() -> None:
    assert {phase for phase, _ in TRANSITIONS} == set(Phase) - {Phase.ENDED}
