"""What an agent who answers is told of the caller's wait."""

import pytest

from ivr.hold import HoldPolicy
from ivr.prompts import Fixed, Number, Prompt, Sound, Speech
from pbx.machine.events import Gone, LegGone, Matched
from pbx.machine.plans import LegId, Offer, QueuePlan
from pbx.machine.state import CallState, Kind, Phase
from pbx.machine.table import on
from rules.actions import End

FROM = (Fixed(Sound.WHISPER_QUEUE), Speech("Support"))


def offered(state: CallState, leg: str, waited_s: float) -> CallState:
    offer = Offer(endpoint="PJSIP/1", leg=LegId(leg), agent="ada")
    return on(state, Matched(offers=(offer,), token=f"t{leg}", waited_s=waited_s))[0]


def waiting(whisper: tuple[Prompt, ...] = FROM) -> CallState:
    plan = QueuePlan(
        queue="support", otherwise=End(), hold=HoldPolicy(), ring_s=20, whisper=whisper
    )
    return CallState(
        id="1",
        kind=Kind.INBOUND,
        channel=LegId("c"),
        phase=Phase.PLACING,
        is_up=True,
        plan=plan,
        queue=plan,
        in_line=True,
    )


def told(state: CallState) -> tuple[Prompt, ...]:
    assert state.queue is not None
    return state.queue.whisper


@pytest.mark.parametrize(("waited_s", "minutes"), [(0, None), (59.9, None), (60, 1), (185, 3)])
def test_the_wait_is_told_in_whole_minutes(waited_s: float, minutes: int | None):
    wait = (Fixed(Sound.WHISPER_WAITED), Number(minutes or 0), Fixed(Sound.MINUTES))
    assert told(offered(waiting(), "a", waited_s)) == FROM + (wait if minutes else ())


def test_the_next_agent_is_told_the_wait_of_then():
    state = offered(waiting(), "a", 60)
    state, _ = on(state, LegGone(leg=LegId("a"), why=Gone.DECLINED))
    state = offered(state, "b", 130)
    assert told(state)[2:] == (Fixed(Sound.WHISPER_WAITED), Number(2), Fixed(Sound.MINUTES))


def test_who_is_told_nothing_is_not_told_the_wait_either():
    assert told(offered(waiting(()), "a", 600)) == ()
