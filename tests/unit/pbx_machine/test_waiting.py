"""What a caller hears and may press while phones ring, and after they have stopped."""

from ivr.steps import (
    AskStanding,
    Key,
    Music,
    Play,
    Played,
    SetTimer,
    Standing,
    TimedOut,
    Timer,
)
from pbx.machine.commands import StandInLine
from pbx.machine.events import Confirmed, Gone, LegUp, Placed, Recovered
from pbx.machine.state import Phase
from tests.unit.pbx_machine.one_call import (
    ADA,
    ADA_OFFER,
    CALLER,
    INBOUND,
    TO_HOLD,
    TO_QUEUE,
    after,
    gone,
)


def test_a_caller_whose_first_offer_fails_hears_the_announcements_from_then_on() -> None:
    state, steps = after(INBOUND, *TO_QUEUE, ADA_OFFER)
    assert AskStanding() not in steps
    state, steps = after(state, gone(ADA, Gone.NO_ANSWER))
    assert steps[-2:] == (StandInLine(state.queue), AskStanding())
    state, steps = after(state, Placed(left_s=900), Standing(position=1, waiting=1))
    assert isinstance(steps[0], Play)
    state, steps = after(state, Played(steps[0].play))
    assert steps == (Music(on=True), SetTimer(timer=Timer.ANNOUNCE, after_s=120))
    assert after(state, TimedOut(Timer.ANNOUNCE))[1] == (AskStanding(),)


def test_an_answer_that_comes_when_a_phone_rings_already_is_held_back_too() -> None:
    state, _ = after(INBOUND, *TO_HOLD, ADA_OFFER)
    state, steps = after(state, Standing(position=1, waiting=1))
    assert steps == ()
    assert AskStanding() in after(state, gone(ADA, Gone.BUSY))[1]


def test_the_callback_key_waits_until_the_phone_that_rings_has_stopped() -> None:
    told = Standing(position=1, waiting=1)
    state, _ = after(INBOUND, *TO_HOLD, told, Played(1), ADA_OFFER)
    state, steps = after(state, Key("9"))
    assert steps == ()
    state, steps = after(state, gone(ADA, Gone.NO_ANSWER))
    assert steps[-1] == AskStanding()
    assert after(state, told)[0].phase is Phase.OFFERING_CALLBACK


def test_whoever_takes_over_a_call_for_which_a_phone_rings_keeps_its_timers() -> None:
    state, _ = after(INBOUND, *TO_HOLD, Standing(position=1, waiting=1), Played(1), ADA_OFFER)
    state, steps = after(state, Recovered(alive=frozenset({CALLER, ADA})))
    assert steps == (Music(on=True), SetTimer(timer=Timer.LONGEST_WAIT, after_s=900))
    assert AskStanding() in after(state, gone(ADA, Gone.BUSY))[1]


def test_a_wait_that_goes_on_after_an_agent_was_told_of_it_is_announced_and_ends_in_time() -> None:
    """What ended or was due while nobody listened to the caller's side must not be waited for."""
    for lost in (gone(ADA), Confirmed(agent="ada", ok=False)):
        state, _ = after(INBOUND, *TO_HOLD, Standing(position=1, waiting=1), ADA_OFFER, LegUp(ADA))
        state, _ = after(state, Played(1), TimedOut(Timer.ANNOUNCE), lost)
        state, steps = after(state, Placed(left_s=77))
        assert steps == (
            Music(on=True),
            SetTimer(timer=Timer.LONGEST_WAIT, after_s=77),
            AskStanding(),
        )
