"""What is on record of the agent's phone in a call that begins with it: a callback, click-to-call."""

import pytest
from msgspec.structs import replace

from pbx.machine.commands import ConfirmAgent, HangUp, Note, Over, ReleaseAgent, WrapUp
from pbx.machine.events import Begin, Confirmed, Event, Gone, HangUpCall, LegUp, Recovered
from pbx.machine.state import Kind, Phase
from pbx.machine.table import on
from router.call_record import Direction, Happened, Head, OfferMade, fold
from tests.unit.pbx_machine.one_call import ADA, CALLER, CLICK, gone

CALLBACK = replace(CLICK, kind=Kind.CALLBACK_AGENT_FIRST, callback="cb-1", token="t1")
HEAD = Head(id="c2", kind="callback", pbx="p", direction=Direction.OUTBOUND, began_ms=0)


def recorded(*events: Event) -> tuple[list[str], tuple[OfferMade, ...], bool]:
    """The words noted, the offers as the record tells of them, and whether the call is over."""
    state, notes, is_over = CALLBACK, list[Note](), False
    for event in events:
        state, steps = on(state, event)
        notes += [step for step in steps if isinstance(step, Note)]
        is_over = is_over or Over() in steps
    happened = [
        Happened(seq=str(at), at_ms=at, what=note.what, leg=note.leg, agent=note.agent)
        for at, note in enumerate(notes)
    ]
    return [note.what for note in notes], fold(HEAD, happened, None).offers, is_over


@pytest.mark.parametrize("why", [Gone.NO_ANSWER, Gone.BUSY, Gone.DECLINED, Gone.UNREACHABLE])
def test_an_agent_who_does_not_take_it_was_offered_it(why: Gone) -> None:
    words, (offer,), is_over = recorded(Begin(), gone(ADA, why))
    assert words == ["offered", f"offer_{why}"]
    assert (offer.agent, offer.outcome, offer.ended_ms) == ("ada", str(why), 1)
    assert is_over


def test_an_agent_who_takes_it_has_answered_whatever_becomes_of_the_customer() -> None:
    confirmed = (Begin(), LegUp(ADA), Confirmed(agent="ada", ok=True))
    for then in (gone(CALLER, Gone.BUSY), gone(ADA)):
        words, (offer,), _ = recorded(*confirmed, then)
        assert words[:2] == ["offered", "answered"]
        assert (offer.agent, offer.outcome) == ("ada", "answered")
    assert words[2:] == ["agent_left"]


def test_an_agent_who_answers_and_leaves_before_the_customer_is_dialled_is_known_by_that() -> None:
    words, (offer,), is_over = recorded(Begin(), LegUp(ADA), gone(ADA))
    assert words == ["offered", "answered", "agent_left_early"]
    assert offer.outcome == "answered"
    assert is_over
    words, _, is_over = recorded(Begin(), LegUp(ADA), Confirmed(agent="ada", ok=False))
    assert words == ["offered", "answered", "reservation_lost"]
    assert is_over


def test_whoever_takes_over_asks_again_whether_the_agent_who_has_answered_has_the_call() -> None:
    alive = Recovered(alive=frozenset({ADA}))
    state, _ = on(CALLBACK, Begin())
    assert on(state, alive) == (state, ())  # it rings on
    state, asked = on(state, LegUp(ADA))
    confirm = ConfirmAgent(agent="ada", token="t1")
    assert confirm in asked
    assert on(state, alive) == (state, (confirm,))


@pytest.mark.parametrize("path", [(Begin(),), (Begin(), LegUp(ADA))])
def test_a_call_that_is_called_off_before_the_customer_is_dialled_ends_at_once(
    path: tuple[Event, ...],
) -> None:
    state = CALLBACK
    for event in path:
        state, _ = on(state, event)
    state, steps = on(state, HangUpCall())
    assert state.phase is Phase.ENDED
    assert steps == (
        ReleaseAgent(agent="ada", token="t1"),
        WrapUp("ada"),
        Note(what="hung_up_by_control"),
        HangUp(leg=ADA),
        Over(),
    )
