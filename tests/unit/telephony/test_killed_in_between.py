"""What a process that is killed between two steps leaves behind is still whole."""

from pathlib import Path

import pytest

from pbx.machine.events import Decided, Gone, LegGone
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Phase
from router.call_record import Direction, End, Happened, Head, fold
from rules.actions import Enqueue
from tests.integration.asterisk.outside import World
from tests.unit.pbx_calls.test_session import CALLER, Scene

HEAD = Head(id="c1", kind="inbound", pbx="pbx", direction=Direction.INBOUND, began_ms=1)


async def test_the_end_of_a_call_is_forgotten_when_it_is_done_and_never_written_down(
    tmp_path: Path,
):
    world = World(Enqueue(queue="support"), tmp_path, tmp_path)
    saved: list[Phase] = []

    async def save(state: CallState) -> None:
        saved.append(state.phase)

    world.save = save  # type: ignore[method-assign]  # looks on
    state = CallState(id="c1", kind=Kind.INBOUND, channel=CALLER, phase=Phase.DECIDING)
    scene = Scene(world, state)
    scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP, cause=16))
    await scene.session.run()
    assert Phase.ENDED not in saved
    assert world.closed == ["c1"]


async def test_what_led_to_a_state_is_noted_before_the_state_is_written_down(tmp_path: Path):
    world = World(Enqueue(queue="support"), tmp_path, tmp_path)
    known: list[list[str]] = []

    async def save(_: CallState) -> None:
        known.append(world.what("c1"))

    world.save = save  # type: ignore[method-assign]  # looks on
    state = CallState(id="c1", kind=Kind.INBOUND, channel=CALLER, phase=Phase.DECIDING)
    scene = Scene(world, state)
    scene.session.post(Decided(rule="all", action=Enqueue(queue="support")))
    async with scene.running():
        await scene.until(lambda: known)
    assert known[0] == ["decided"]


def test_whoever_talks_has_answered_even_when_that_was_not_written_down():
    leg = LegId("leg")
    events = [
        Happened(seq="1", at_ms=10, what="offered", leg=leg, agent="ada"),
        Happened(seq="2", at_ms=30, what="talking", agent="ada"),
    ]
    (offer,) = fold(HEAD, events, None).offers
    assert (offer.outcome, offer.ended_ms) == ("answered", 30)


def test_of_phones_rung_at_once_those_that_did_not_answer_are_on_record_as_cancelled():
    events = [
        Happened(seq="1", at_ms=10, what="offered", leg="l1", agent="ada"),
        Happened(seq="2", at_ms=10, what="offered", leg="l2", agent="eve"),
        Happened(seq="3", at_ms=20, what="offered", leg="l3", agent="fay"),
        Happened(seq="4", at_ms=25, what="offer_busy", leg="l3", agent="fay"),
        Happened(seq="5", at_ms=30, what="answered", leg="l2", agent="eve"),
    ]
    made = {one.agent: (one.outcome, one.ended_ms) for one in fold(HEAD, events, None).offers}
    assert made == {"ada": ("cancelled", 30), "eve": ("answered", 30), "fay": ("busy", 25)}


@pytest.mark.parametrize("left", ["caller_hung_up", "queue_escaped", "hung_up_by_control"])
def test_a_phone_that_rang_when_the_caller_left_does_not_ring_for_ever_on_record(left: str):
    events = [
        Happened(seq="1", at_ms=10, what="offered", leg="l1", agent="ada"),
        Happened(seq="2", at_ms=30, what=left, leg="c1"),
    ]
    (offer,) = fold(HEAD, events, None).offers
    assert (offer.outcome, offer.ended_ms) == ("cancelled", 30)


def test_a_phone_rung_by_name_is_an_offer_too():
    rung = Happened(seq="1", at_ms=10, what="offered", leg="l1", agent="ada")
    refused = Happened(seq="2", at_ms=30, what="dial_busy", leg="l1", agent="ada")
    (offer,) = fold(HEAD, [rung, refused], None).offers
    assert (offer.outcome, offer.ended_ms) == ("busy", 30)
    (offer,) = fold(HEAD, [rung], End(at_ms=50, cause=16)).offers  # a controller died meanwhile
    assert (offer.outcome, offer.ended_ms) == ("cancelled", 50)
    (offer,) = fold(HEAD, [rung], None).offers
    assert (offer.outcome, offer.ended_ms) == ("", None)


def test_every_agent_of_a_conference_is_on_record_and_whoever_was_dialled_is_not():
    events = [
        Happened(seq="1", at_ms=10, what="talking", agent="ada"),
        Happened(seq="2", at_ms=20, what="conference", leg="l2", agent="eve"),
        Happened(seq="3", at_ms=30, what="conference", leg="l3"),
    ]
    assert fold(HEAD, events, None).agents == ("ada", "eve")


def test_an_end_that_was_ours_ends_the_wait_in_a_line():
    events = [
        Happened(seq="1", at_ms=10, what="queued", queue="support"),
        Happened(seq="2", at_ms=30, what="hung_up_by_us"),
    ]
    (wait,) = fold(HEAD, events, None).waits
    assert (wait.left_ms, wait.outcome) == (30, "hung_up_by_us")
