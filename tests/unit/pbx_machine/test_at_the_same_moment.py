"""Two things in one moment, or one of them twice: nobody is left with nobody."""

import pytest

from ivr.steps import Music
from pbx.machine.commands import Bridge, Cancel, StandInLine
from pbx.machine.events import (
    AddParticipant,
    Begin,
    CompleteTransfer,
    Confirmed,
    ConsultWith,
    Event,
    LegUp,
    Recovered,
    SplitDone,
    SplitFailed,
)
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Phase
from pbx.machine.table import on
from tests.unit.pbx_machine.one_call import (
    ADA,
    ADA_OFFER,
    CALLER,
    CLICK,
    INBOUND,
    QUEUE,
    THIRD,
    TO_CONSULT,
    TO_HOLD,
    TO_TALK,
    TO_WHISPER,
    after,
    gone,
)


@pytest.mark.parametrize("ends", [SplitDone(), SplitFailed()])
@pytest.mark.parametrize("order", [(gone(THIRD), gone(ADA)), (gone(ADA), gone(THIRD))])
def test_a_caller_whose_agent_and_third_both_leave_as_the_transfer_is_completed_stays_in_line(
    order: tuple[Event, ...], ends: Event
) -> None:
    state, steps = after(INBOUND, *TO_CONSULT, CompleteTransfer(), *order, ends)
    assert steps == (Music(on=True), StandInLine(QUEUE))
    assert (state.phase, state.goes_first) == (Phase.PLACING, True)


@pytest.mark.parametrize("ends", [SplitDone(), SplitFailed()])
def test_a_third_who_leaves_as_the_transfer_is_completed_leaves_caller_and_agent_talking(
    ends: Event,
) -> None:
    state, steps = after(INBOUND, *TO_CONSULT, CompleteTransfer(), gone(THIRD), ends)
    assert steps == (Music(on=False), Bridge(ADA))
    assert (state.phase, state.intent) == (Phase.TALKING, None)


def test_who_was_to_be_consulted_is_not_put_through_to_the_caller_by_whoever_takes_over() -> None:
    """The bridge was not taken apart any more: the caller would hear what only the agent asked for."""
    consulting = (*TO_TALK, ConsultWith(endpoint="PJSIP/3", leg=THIRD))
    together = Recovered(alive=frozenset({CALLER, ADA, THIRD}), bridged=frozenset({CALLER, ADA}))
    state, steps = after(INBOUND, *consulting, together)
    assert steps == (Cancel(THIRD),)
    assert (state.phase, state.third, state.intent) == (Phase.TALKING, None, None)


@pytest.mark.parametrize("ok", [True, False])
def test_a_reservation_that_is_confirmed_twice_is_confirmed_once(*, ok: bool) -> None:
    state, steps = after(INBOUND, *TO_WHISPER, Confirmed(agent="ada", ok=ok))
    assert steps == ()
    assert state == after(INBOUND, *TO_WHISPER)[0]
    _, steps = after(INBOUND, *TO_HOLD, ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
    assert steps != ()


@pytest.mark.parametrize(
    ("call", "path", "leg"),
    [
        (INBOUND, (*TO_HOLD, ADA_OFFER), ADA),
        (INBOUND, (*TO_TALK, AddParticipant(endpoint="PJSIP/3", leg=THIRD)), THIRD),
        (CLICK, (Begin(), LegUp(ADA)), CALLER),
    ],
)
def test_who_is_told_twice_to_have_answered_is_not_hung_up(
    call: CallState, path: tuple[Event, ...], leg: LegId
) -> None:
    """Asterisk says so just before the connection is lost, and whoever looks afterwards says it again."""
    once, _ = after(call, *path, LegUp(leg))
    assert on(once, LegUp(leg)) == (once, ())
