"""What each action of the rules means on the PBX."""

import msgspec
import pytest

from ivr.prompts import Fixed, Sound, Speech
from pbx.machine.plans import (
    CallbackPlan,
    DialPlan,
    EndPlan,
    LegId,
    Plan,
    QueuePlan,
    VoicemailPlan,
)
from pbx.machine.state import CallState, Kind
from router.site.directory import TenantResources, build
from router.site.resources import AgentConfig, HoldQueue, QueueConfig, Recording, RouterConfig
from router.telephony.numbers import Dialable
from router.telephony.setting_out import BARRED, NO_ROUTE, Planner, Trunk
from rules.actions import (
    Action,
    Ask,
    Callback,
    End,
    Enqueue,
    Forward,
    Relax,
    ReserveAgent,
    Route,
    Strategy,
    Target,
    TargetType,
    Voicemail,
)

DID, OTHER = "+12125550100", "+12125550199"
BRITISH, AS_WRITTEN = "+442079460018", "+4402079460018"
SUPPORT = QueueConfig(
    id="support",
    name="Support",
    call_center_id="8001",
    strategy=Strategy.MOST_SKILLED,
    ring_seconds=20,
    hold_queue=HoldQueue(max_hold_seconds=600, allow_queue_callback=True, queue_callback_dtmf="7"),
    recording=Recording(inbound=True, announce=True, allow_pause=True),
)
RESOURCES = TenantResources(
    routers={
        "main": RouterConfig(
            id="main",
            name="Main",
            default_target=Target(type=TargetType.USER, id="3001"),
            rules="main",
            phone_numbers=(DID, AS_WRITTEN),
        )
    },
    queues={"support": SUPPORT},
    agents={
        "ada": AgentConfig(id="ada", name="Ada", user_id="3001", endpoint="PJSIP/1001"),
        "ben": AgentConfig(id="ben", name="Ben"),
    },
)
WORLD = build({"acme": RESOURCES}, lambda _: "")


def planner(trunk: str | None = "PJSIP/{number}@trunk") -> Planner:
    out = Trunk(endpoint=trunk, dialable=Dialable("US"), caller_id=OTHER)
    return Planner(lambda: WORLD, "acme", out)


def call(called: str = DID, kind: Kind = Kind.INBOUND) -> CallState:
    return CallState(
        id="1", kind=kind, channel=LegId("1.1"), called_number=called, caller_number="+12125550142"
    )


def plan(action: Action, state: CallState | None = None) -> Plan:
    return planner().plan(state or call(), action)


@pytest.mark.parametrize("target", ["ada", "3001"])
def test_a_user_is_rung_by_our_id_or_the_platforms(target: str):
    found = plan(Route(target=Target(type=TargetType.USER, id=target)))
    assert isinstance(found, DialPlan)
    (offer,) = found.offers
    assert (offer.endpoint, offer.agent, found.caller_id) == ("PJSIP/1001", "ada", "+12125550142")
    assert found.otherwise == Voicemail(target=Target(type=TargetType.USER, id="ada"))


@pytest.mark.parametrize("kind", [TargetType.CALLCENTER, TargetType.DEPARTMENT, TargetType.OFFICE])
@pytest.mark.parametrize("target", ["8001", "support"])
def test_call_centers_are_queues(kind: TargetType, target: str):
    found = plan(Route(target=Target(type=kind, id=target)))
    assert isinstance(found, QueuePlan)
    assert found.queue == "support"


@pytest.mark.parametrize(
    "target",
    [
        Target(type=TargetType.USER, id="nobody"),
        Target(type=TargetType.DEPARTMENT, id="nowhere"),
    ],
)
def test_what_there_is_not_ends_with_a_word(target: Target):
    assert plan(Route(target=target)) == EndPlan(prompts=(Fixed(Sound.TRY_LATER),), cause=NO_ROUTE)


def test_who_is_at_no_phone_is_left_a_message() -> None:
    target = Target(type=TargetType.USER, id="ben")
    assert plan(Route(target=target)) == VoicemailPlan(mailbox="user-ben")


@pytest.mark.parametrize(
    "action",
    [
        Forward(number="+12125550177"),
        Route(target=Target(type=TargetType.PHONE, number="+12125550177")),
    ],
)
def test_numbers_go_out_over_the_trunk_showing_the_number_that_was_called(action: Action):
    found = plan(action)
    assert isinstance(found, DialPlan)
    assert found.offers[0].endpoint == "PJSIP/+12125550177@trunk"
    assert found.caller_id == DID
    british = plan(action, call(AS_WRITTEN))
    assert isinstance(british, DialPlan)
    assert british.caller_id == BRITISH
    other = plan(action, call("100"))
    assert isinstance(other, DialPlan)
    assert other.caller_id == OTHER


@pytest.mark.parametrize("number", ["+4930123456", "+19005550123", "911", "+1212", "tel:"])
def test_numbers_of_other_countries_and_premium_ones_are_never_dialled(number: str):
    found = plan(Forward(number=number))
    assert found == EndPlan(prompts=(Fixed(Sound.TRY_LATER),), cause=BARRED)


def test_without_a_trunk_nothing_is_dialled_and_no_callback_promised():
    without = planner(trunk=None)
    assert isinstance(without.plan(call(), Forward(number="+12125550177")), EndPlan)
    action = Callback(queue="support", otherwise=End(message="sorry"))
    assert without.plan(call(), action) == EndPlan(prompts=(Speech("sorry"),))
    waiting = without.plan(call(), Enqueue(queue="support"))
    assert isinstance(waiting, QueuePlan)
    assert waiting.hold.callback_key is None


def test_a_queue_is_planned_with_all_its_settings():
    relax = (Relax(after_s=60, skills={}),)
    found = plan(Enqueue(queue="support", priority=5, skills={"es": 50}, relax=relax))
    assert isinstance(found, QueuePlan)
    assert (found.priority, found.skills, found.relax) == (5, {"es": 50}, relax)
    assert (found.ring_s, found.strategy, found.only_now) == (20, Strategy.MOST_SKILLED, False)
    assert (found.hold.longest_wait_s, found.hold.callback_key) == (600, "7")
    assert (found.hold.escape_key, found.hold.callback_threshold) == ("*", 5)
    assert found.whisper == (Fixed(Sound.WHISPER_QUEUE), Speech("Support"))
    policy = found.recording
    assert (policy.record, policy.announce, policy.allow_pause) == (True, True, True)
    assert isinstance(found.otherwise, Voicemail)
    assert found.escape == found.otherwise


@pytest.mark.parametrize("asks", [True, False])
def test_a_queue_asks_for_consent_when_its_settings_say_so(*, asks: bool):
    queue = msgspec.structs.replace(SUPPORT, recording=Recording(inbound=True, ask_consent=asks))
    world = build({"acme": TenantResources(queues={"support": queue})}, lambda _: "")
    out = Trunk(endpoint=None, dialable=Dialable("US"))
    found = Planner(lambda: world, "acme", out).plan(call(), Enqueue(queue="support"))
    assert isinstance(found, QueuePlan)
    assert found.recording.ask_consent is asks


def test_calls_out_are_recorded_by_their_own_policy():
    found = plan(Enqueue(queue="support"), call(kind=Kind.CALLBACK_CUSTOMER_FIRST))
    assert isinstance(found, QueuePlan)
    assert not found.recording.record


def test_one_agent_is_asked_for_now_or_otherwise():
    action = ReserveAgent(
        queue="support", otherwise=End(), skills={"es": 1}, sticky_s=60, strategy=Strategy.RANDOM
    )
    found = plan(action)
    assert isinstance(found, QueuePlan)
    assert found.only_now
    assert (found.otherwise, found.sticky_s, found.strategy) == (End(), 60, Strategy.RANDOM)


def test_messages_callbacks_ends_and_questions():
    target = Target(type=TargetType.DEPARTMENT, id="6001")
    assert plan(Voicemail(target=target)) == VoicemailPlan(mailbox="department-6001")
    offered = plan(Callback(queue="support", otherwise=End()))
    assert offered == CallbackPlan(queue="support", otherwise=End())
    assert plan(End(message="Bye", locale="es")) == EndPlan(prompts=(Speech("Bye", "es"),))
    asked = Ask(name="a", prompt="?", otherwise=End())
    assert plan(asked) == EndPlan()


def test_every_leg_has_an_id_of_its_own():
    ids = {
        found.offers[0].leg
        for found in (plan(Forward(number="+12125550177")) for _ in range(50))
        if isinstance(found, DialPlan)
    }
    assert len(ids) == 50
