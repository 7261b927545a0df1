"""What a process that is killed between two steps leaves behind is still whole."""

from pathlib import Path

from pbx.machine.events import Gone, LegGone
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Phase
from router.call_record import Direction, Happened, Head, fold
from router.telephony.journal import LiveJournal
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


async def test_a_call_is_forgotten_only_after_its_record_is_written():
    done: list[str] = []

    class Store:
        async def save(self, *_: object) -> None:
            done.append("forgotten")

    async def flush() -> None:
        done.append("written")

    journal = LiveJournal(Store(), "acme", "pbx", before_forgetting=flush)  # type: ignore[arg-type]  # stands for it
    await journal.forget("c1")
    assert done == ["written", "forgotten"]


def test_whoever_talks_has_answered_even_when_that_was_not_written_down():
    leg = LegId("leg")
    events = [
        Happened(seq="1", at_ms=10, what="offered", leg=leg, agent="ada"),
        Happened(seq="2", at_ms=30, what="talking", agent="ada"),
    ]
    (offer,) = fold(HEAD, events, None).offers
    assert (offer.outcome, offer.ended_ms) == ("answered", 30)
