"""A call for tests of the state table: its parties, its plans, the ways to where it stands."""

import msgspec

from ivr.hold import HoldPolicy
from ivr.prompts import Fixed, Sound, Speech
from ivr.steps import CancelTimer, Key, Music, Standing, Timer
from pbx.machine.commands import Command, Note, StandInLine
from pbx.machine.events import (
    Answered,
    Begin,
    Bridged,
    Confirmed,
    ConsultWith,
    Decided,
    Event,
    Gone,
    HoldCall,
    LegGone,
    LegPlayed,
    LegUp,
    Matched,
    Placed,
    Planned,
    SplitDone,
)
from pbx.machine.plans import DialPlan, LegId, Offer, QueuePlan, RecordingPolicy
from pbx.machine.state import CallState, Kind, Leg
from pbx.machine.table import on
from rules.actions import Ask, End, Enqueue, Menu, Route, Target, TargetType

CALLER, ADA, BEN, THIRD, BOSS = (LegId(name) for name in ("caller", "ada", "ben", "third", "boss"))
RECEPTION = Route(target=Target(type=TargetType.DEPARTMENT, id="1"))
SUPPORT = Enqueue(queue="support")
MENU = Menu(name="main", prompt="sales 1", choices={"1": SUPPORT, "2": RECEPTION}, otherwise=End())
ASK = Ask(name="pin", prompt="your number", digits=2, otherwise=RECEPTION)
WHISPER = (Fixed(Sound.WHISPER_QUEUE), Speech("Support"))

QUEUE = QueuePlan(
    queue="support",
    otherwise=RECEPTION,
    hold=HoldPolicy(callback_key="9", callback_threshold=0),
    ring_s=20,
    whisper=WHISPER,
)
RECORDED = msgspec.structs.replace(
    QUEUE, recording=RecordingPolicy(record=True, announce=True), whisper=()
)
ASKING = msgspec.structs.replace(
    QUEUE, recording=RecordingPolicy(record=True, ask_consent=True, announce=True)
)
ADA_OFFER = Matched(offers=(Offer(agent="ada", endpoint="PJSIP/1", leg=ADA),), token="t1")
BOTH_OFFER = Matched(
    offers=(
        Offer(agent="ada", endpoint="PJSIP/1", leg=ADA),
        Offer(agent="ben", endpoint="PJSIP/2", leg=BEN),
    ),
    token="t2",
)
DIAL = DialPlan(offers=(Offer(endpoint="PJSIP/9", leg=THIRD),), ring_s=30)

INBOUND = CallState(id="c1", kind=Kind.INBOUND, channel=CALLER, caller_number="+12125550142")
CLICK = CallState(
    id="c2",
    kind=Kind.CLICK_TO_CALL,
    channel=CALLER,
    customer_endpoint="PJSIP/out/sip:1@x",
    agent=Leg(id=ADA, endpoint="PJSIP/1", agent="ada"),
)


def after(state: CallState, *events: Event) -> tuple[CallState, tuple[Command, ...]]:
    """The call after these events, and what the last of them asked for, notes left out."""
    steps: tuple[Command, ...] = ()
    for event in events:
        state, steps = on(state, event)
    return state, tuple(step for step in steps if not isinstance(step, Note))


TO_QUEUE = (Begin(), Decided(rule="r", action=SUPPORT), Planned(QUEUE), Answered())
TO_HOLD = (*TO_QUEUE, Placed(left_s=900))
PRESSED_9 = (Standing(position=2, waiting=2), Key("9"), Standing(position=2, waiting=2))
FROM_CONNECTING = (CancelTimer(Timer.LONGEST_WAIT), Music(on=True), StandInLine(QUEUE))
TO_WHISPER = (*TO_HOLD, ADA_OFFER, LegUp(ADA), Confirmed(agent="ada", ok=True))
TO_JOIN = (*TO_WHISPER, LegPlayed(ADA))
TO_TALK = (*TO_JOIN, Bridged())
SPLIT_HOLD = (*TO_TALK, HoldCall(), SplitDone())
TO_CONSULT = (*TO_TALK, ConsultWith(endpoint="PJSIP/3", leg=THIRD), SplitDone(), LegUp(THIRD))


def gone(leg: LegId, why: Gone = Gone.HUNG_UP) -> LegGone:
    return LegGone(leg=leg, why=why)
