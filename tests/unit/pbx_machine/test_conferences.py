"""More than one with the caller: hold, resume, let one go, join later, whoever leaves meanwhile."""

import pytest

from ivr.steps import Music
from pbx.machine.commands import (
    Cancel,
    Confer,
    EnterConference,
    HangUp,
    LeaveConference,
    StandInLine,
    WrapUp,
)
from pbx.machine.controls import MOST_MEMBERS
from pbx.machine.events import (
    AddParticipant,
    DropParty,
    Event,
    Gone,
    HoldCall,
    LegUp,
    ParkCall,
    Recovered,
    ResumeCall,
    SplitDone,
    SplitFailed,
    Supervise,
    TransferTo,
)
from pbx.machine.plans import LegId
from pbx.machine.state import Phase
from router.telephony.effects import IN_CONFERENCE, NEEDED, REASONS, effect_of, means_nothing
from tests.unit.pbx_machine.one_call import (
    ADA,
    BEN,
    BOSS,
    CALLER,
    INBOUND,
    QUEUE,
    SUPPORT,
    THIRD,
    TO_TALK,
    after,
    gone,
)

ADD = AddParticipant(endpoint="PJSIP/3", leg=THIRD, agent="eve")
ONE_MORE = AddParticipant(endpoint="PJSIP/2", leg=BEN)
LISTEN = Supervise(endpoint="PJSIP/7", leg=BOSS, mode="listen")
THREE = (*TO_TALK, ADD, LegUp(THIRD))
HELD = (*THREE, HoldCall(), SplitDone())
OFF_HOLD = (Music(on=False), EnterConference(CALLER))


# --- hold -------------------------------------------------------------------------------------------


def test_the_caller_alone_leaves_a_conference_for_the_music_and_comes_back() -> None:
    state, steps = after(INBOUND, *THREE, HoldCall())
    assert steps == (LeaveConference(CALLER),)
    state, steps = after(state, SplitDone())
    assert (state.phase, steps) == (Phase.CONFERENCE_HELD, (Music(on=True),))
    state, steps = after(state, ResumeCall())
    assert (state.phase, steps) == (Phase.CONFERENCE, OFF_HOLD)
    assert [leg.id for leg in state.members] == [ADA, THIRD]


def test_a_caller_who_cannot_be_taken_out_stays_in_the_conference() -> None:
    state, steps = after(INBOUND, *THREE, HoldCall(), SplitFailed())
    assert (state.phase, state.intent, steps) == (Phase.CONFERENCE, None, ())


@pytest.mark.parametrize(("leaves", "stays"), [(ADA, THIRD), (THIRD, ADA)])
def test_a_caller_on_hold_with_one_left_is_on_an_ordinary_hold(leaves: LegId, stays: LegId) -> None:
    state, steps = after(INBOUND, *HELD, gone(leaves))
    assert steps[-1] == LeaveConference(stays)
    for ended in (SplitDone(), SplitFailed()):
        then, _ = after(state, ended)
        assert (then.phase, then.agent.id, then.members) == (Phase.HELD, stays, ())
    then, steps = after(then, gone(stays))
    assert StandInLine(QUEUE) in steps  # the caller is not to pay for it
    assert then.goes_first


def test_both_who_leave_a_caller_on_hold_leave_the_caller_in_line() -> None:
    state, steps = after(INBOUND, *HELD, gone(THIRD), gone(ADA))
    assert StandInLine(QUEUE) in steps
    assert state.phase is Phase.PLACING


def test_one_who_answers_while_the_caller_is_on_hold_joins_the_others_only() -> None:
    state, steps = after(INBOUND, *HELD, ONE_MORE, LegUp(BEN))
    assert (state.phase, steps) == (Phase.CONFERENCE_HELD, (EnterConference(BEN),))
    assert [leg.id for leg in state.members] == [ADA, THIRD, BEN]


def test_a_fourth_joins_without_the_others_being_moved() -> None:
    state, steps = after(INBOUND, *THREE, ONE_MORE, LegUp(BEN))
    assert (state.phase, steps) == (Phase.CONFERENCE, (EnterConference(BEN),))


def test_a_conference_does_not_grow_without_end() -> None:
    state, _ = after(INBOUND, *THREE)
    for number in range(MOST_MEMBERS - 2):
        leg = LegId(f"leg{number}")
        state, _ = after(state, AddParticipant(endpoint="PJSIP/2", leg=leg), LegUp(leg))
    assert len(state.members) == MOST_MEMBERS
    assert means_nothing(state, ONE_MORE) == REASONS["participant_refused"]


def test_a_supervisor_hears_who_is_left_while_the_caller_is_on_hold() -> None:
    state, _ = after(INBOUND, *HELD, LISTEN, LegUp(BOSS))
    assert state.supervision is not None
    assert after(state, gone(THIRD))[0].supervision is not None
    assert after(state, gone(ADA))[1][1] == HangUp(leg=BOSS)


def test_whoever_takes_over_finds_the_caller_on_hold_and_the_others_together() -> None:
    all_of_them = frozenset({CALLER, ADA, THIRD})
    two = all_of_them - {CALLER}
    state, steps = after(INBOUND, *HELD, Recovered(alive=all_of_them, bridged=two))
    assert (state.phase, steps) == (Phase.CONFERENCE_HELD, (Music(on=True),))
    state, steps = after(INBOUND, *HELD, Recovered(alive=all_of_them, bridged=frozenset({ADA})))
    assert steps == (Music(on=True), EnterConference(THIRD))
    late = (*THREE, HoldCall(), Recovered(alive=all_of_them, bridged=two), SplitFailed())
    assert after(INBOUND, *late)[0].phase is Phase.CONFERENCE_HELD
    leaving = (*THREE, HoldCall(), Recovered(alive=all_of_them, bridged=all_of_them))
    state, steps = after(INBOUND, *leaving)
    assert steps == (LeaveConference(CALLER),)
    assert after(state, SplitDone())[1] == (Music(on=True),)
    left = (*HELD, gone(THIRD), Recovered(alive=two, bridged=frozenset({ADA})))
    state, steps = after(INBOUND, *left)
    assert (state.phase, steps) == (Phase.SPLITTING, (LeaveConference(ADA),))


# --- letting one go ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("leaves", "stays"), [(ADA, THIRD), (THIRD, ADA)])
def test_one_is_let_go_and_the_two_others_go_on_talking(leaves: LegId, stays: LegId) -> None:
    state, steps = after(INBOUND, *THREE, DropParty(leaves))
    assert steps == (HangUp(leg=leaves),)
    state, steps = after(state, gone(leaves), SplitDone())
    assert (state.phase, state.agent.id) == (Phase.TALKING, stays)


def test_whoever_is_rung_is_not_rung_any_more() -> None:
    for path in (TO_TALK, (*THREE, gone(BEN)), HELD):
        state, _ = after(INBOUND, *path)
        state, steps = after(state, ONE_MORE, DropParty(BEN))
        assert steps == (Cancel(BEN),)
        assert after(state, gone(BEN, Gone.CANCELLED))[0].third is None


def test_a_supervisor_is_let_go() -> None:
    state, steps = after(INBOUND, *TO_TALK, LISTEN, LegUp(BOSS), DropParty(BOSS))
    assert steps == (HangUp(leg=BOSS),)
    assert after(state, gone(BOSS))[0].supervision is None


def test_nobody_is_let_go_without_whom_the_caller_has_nobody() -> None:
    state, _ = after(INBOUND, *TO_TALK)
    assert means_nothing(state, DropParty(ADA)) == NEEDED
    assert means_nothing(state, DropParty(BEN)) == "not possible while talking"
    assert means_nothing(after(INBOUND, *THREE)[0], DropParty(CALLER))


# --- what the asker is told -------------------------------------------------------------------------


@pytest.mark.parametrize("control", [TransferTo(SUPPORT), ParkCall()])
@pytest.mark.parametrize("path", [THREE, HELD])
def test_what_needs_two_is_refused_with_what_to_do(path: tuple[Event, ...], control: Event) -> None:
    state, _ = after(INBOUND, *path)
    assert means_nothing(state, control) == IN_CONFERENCE  # type: ignore[arg-type]  # both are controls


def test_a_control_in_a_conference_is_done_when_it_has_come_about() -> None:
    three, _ = after(INBOUND, *THREE)
    hold = effect_of(HoldCall(), three)
    leaving, _ = after(three, HoldCall())
    assert hold(leaving) is None
    held, _ = after(leaving, SplitDone())
    assert hold(held).is_done
    assert effect_of(ResumeCall(), held)(after(held, ResumeCall())[0]).is_done
    hold = effect_of(HoldCall(), three)
    assert [hold(leaving), hold(three).refusal] == [None, "not_now"]
    drop = effect_of(DropParty(THIRD), three)
    assert drop(three) is None
    left, steps = after(three, gone(THIRD))
    assert drop(left).is_done
    assert WrapUp("eve") in steps
    assert Confer not in map(type, steps)
