"""What can be done during a call, on a real Asterisk: proven by the tones that each phone hears."""

import asyncio
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from ivr.hold import HoldPolicy
from pbx.ami.actions import SendFlash
from pbx.ami.values import UniqueId
from pbx.machine.events import (
    AddParticipant,
    ChangeRecording,
    CompleteTransfer,
    ConsultWith,
    Gone,
    HangUpCall,
    HoldCall,
    ParkCall,
    ResumeCall,
    Supervise,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import LegId, RecordingPolicy
from pbx.machine.state import Kind, Phase
from rules.actions import Callback, End, Forward, Menu, Target, TargetType, Voicemail
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.talks import Talk, click_to_call, new_leg, talk, third_phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    SUPPORT,
    THIRD_HZ,
    channels_of,
    controlled,
    the_call,
    until,
    until_over,
)

ELSEWHERE = Forward(number="+12125550177")
MENU = Menu(
    name="main",
    prompt="menu",
    choices={"1": SUPPORT, "2": End(message="bye")},
    otherwise=End(),
    timeout_s=2,
)


# --- hold and transfer --------------------------------------------------------------------------------


async def test_on_hold_the_caller_hears_music_and_afterwards_the_agent_again(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with talk(asterisk, world, phones_folder) as one:
        one.session.post(HoldCall())
        await one.until(Phase.HELD)
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        one.session.post(ResumeCall())
        await one.both_hear_each_other()
    assert world.wrapped_up == ["ada"]


async def test_a_blind_transfer_leaves_the_agent_free_and_the_caller_with_the_third(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder) as third,
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(TransferTo(ELSEWHERE))
        await one.caller.until_hears(THIRD_HZ, never=(AGENT_HZ, MUSIC_HZ))
        await third.until_hears(CALLER_HZ)
        assert world.wrapped_up == ["ada"]


async def test_a_consultation_is_between_agent_and_third_and_ends_in_a_transfer(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder) as third,
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(ConsultWith(endpoint="PJSIP/6003", leg=new_leg()))
        await one.until(Phase.CONSULTING)
        await third.until_hears(AGENT_HZ, never=(CALLER_HZ,))
        await one.agent.until_hears(THIRD_HZ, never=(CALLER_HZ,))
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ, THIRD_HZ))
        one.session.post(CompleteTransfer())
        await one.caller.until_hears(THIRD_HZ, never=(AGENT_HZ, MUSIC_HZ))
        await third.until_hears(CALLER_HZ, never=(AGENT_HZ,))
        assert world.wrapped_up == ["ada"]


async def test_a_cancelled_consultation_brings_agent_and_caller_together_again(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with third_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        one.session.post(ConsultWith(endpoint="PJSIP/6003", leg=new_leg()))
        await one.until(Phase.CONSULTING)
        await one.agent.until_hears(THIRD_HZ)
        one.session.post(ResumeCall())
        await one.both_hear_each_other()
        assert world.wrapped_up == []


@pytest.mark.parametrize("refusal", [486, 603, 480])
async def test_a_third_party_who_does_not_take_the_call_leaves_it_unharmed(
    asterisk: Instance, world: World, phones_folder: Path, refusal: int
):
    async with (
        third_phone(phones_folder, "phone_refuses", status=refusal),
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
        await until(lambda: any(what.startswith("third_") for what in world.what()), "a refusal")
        await one.both_hear_each_other()
        one.session.post(ConsultWith(endpoint="PJSIP/6099", leg=new_leg()))
        await until(
            lambda: len([what for what in world.what() if what.startswith("third_")]) == 2,
            "another refusal",
        )
        await one.until(Phase.TALKING)
        await one.both_hear_each_other()


async def test_what_wakes_async_agi_is_allowed_and_does_no_harm_in_a_talk(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with talk(asterisk, world, phones_folder) as one:
        state = one.session.state
        assert state.agent is not None
        for leg in (state.channel, state.agent.id):
            wake = SendFlash(channel=UniqueId(leg), receive=True)
            await one.controller.client.send(wake, asyncio.get_running_loop().time() + 5)
        await asyncio.sleep(0.3)
        await one.both_hear_each_other()


async def test_a_third_party_who_lets_it_ring_leaves_the_call_unharmed(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder, "phone_rings_on"),
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg(), ring_s=1))
        await world.until_noted("third_no_answer")
        await one.both_hear_each_other()


async def test_three_hear_each_other_and_two_go_on_when_one_leaves(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with talk(asterisk, world, phones_folder) as one:
        async with third_phone(phones_folder, "phone_hangs_up", hold_ms=3500) as third:
            one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
            await one.until(Phase.CONFERENCE)
            await one.caller.until_hears(AGENT_HZ, THIRD_HZ)
            await one.agent.until_hears(CALLER_HZ, THIRD_HZ)
            await third.until_hears(CALLER_HZ, AGENT_HZ)
            await world.until_noted("member_left")
        await one.caller.until_hears(AGENT_HZ, never=(THIRD_HZ,))
        await one.agent.until_hears(CALLER_HZ, never=(THIRD_HZ,))


async def test_a_parked_caller_hears_music_and_is_taken_by_another_phone(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder) as third,
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(ParkCall())
        await one.until(Phase.PARKED)
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        assert world.wrapped_up == ["ada"]
        one.session.post(UnparkTo(endpoint="PJSIP/6003", leg=new_leg()))
        await one.caller.until_hears(THIRD_HZ, never=(MUSIC_HZ,))
        await third.until_hears(CALLER_HZ)


async def test_a_supervisor_listens_then_whispers_then_barges_in(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder) as boss,
        talk(asterisk, world, phones_folder) as one,
    ):
        leg = new_leg()
        one.session.post(Supervise(endpoint="PJSIP/6003", leg=leg, mode="listen"))
        await boss.until_hears(CALLER_HZ, AGENT_HZ)
        await one.agent.until_hears(CALLER_HZ, never=(THIRD_HZ,))
        await one.caller.until_hears(AGENT_HZ, never=(THIRD_HZ,))
        one.session.post(Supervise(endpoint="PJSIP/6003", leg=leg, mode="whisper"))
        await one.agent.until_hears(CALLER_HZ, THIRD_HZ)
        await one.caller.listen(0.3)
        await one.caller.until_hears(AGENT_HZ, never=(THIRD_HZ,))
        one.session.post(Supervise(endpoint="PJSIP/6003", leg=leg, mode="barge"))
        await one.caller.until_hears(AGENT_HZ, THIRD_HZ)
        await one.agent.until_hears(CALLER_HZ, THIRD_HZ)


# --- recording ------------------------------------------------------------------------------------------


async def test_a_recording_on_demand_holds_silence_where_it_was_paused(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with talk(asterisk, world, phones_folder) as one:
        one.session.post(ChangeRecording("on"))
        await world.until_noted("recording_on")
        await one.both_hear_each_other()
        await one.caller.listen(0.8)
        one.session.post(ChangeRecording("pause"))
        await world.until_noted("recording_pause")
        await one.caller.listen(1.0)
        one.session.post(ChangeRecording("resume"))
        await world.until_noted("recording_resume")
        await one.caller.listen(0.8)
        one.session.post(ChangeRecording("off"))
        await until(lambda: world.finished, "the recording to be handed over")
        await one.both_hear_each_other()
    (recording,) = world.finished
    loud = audio.loudness(recording)
    assert max(loud) > 0.2
    assert audio.longest_silence_s(loud) == pytest.approx(1.0, abs=0.35)
    assert loud[2] > 0.2
    assert loud[-2] > 0.2


@pytest.mark.parametrize(("key", "records"), [("1", True), ("2", False)])
async def test_without_consent_nothing_is_recorded(
    asterisk: Instance, world: World, phones_folder: Path, *, key: str, records: bool
):
    world.free = ["ada"]
    world.recording = RecordingPolicy(record=True, ask_consent=True)
    says = [Silence(1.0), *keys(key), Tone(CALLER_HZ, 10)]
    async with (
        controlled(asterisk, world),
        phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=1500),
        caller(asterisk, phones_folder, says=says) as customer,
    ):
        await customer.ended()
        await until_over(world)
    assert ("recording_consent" in world.what()) is records
    assert ("recording_refused" in world.what()) is not records
    assert len(world.finished) == int(records)
    assert all(audio.hears(recording, CALLER_HZ) for recording in world.finished)


# --- calls that begin with us ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.CLICK_TO_CALL, Kind.CALLBACK_AGENT_FIRST])
async def test_the_agent_is_rung_first_then_the_customer_and_both_talk(
    asterisk: Instance, world: World, phones_folder: Path, kind: Kind
):
    async with (
        controlled(asterisk, world) as controller,
        Ear() as agent,
        third_phone(phones_folder) as customer,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 20)], ear=agent),
    ):
        session = controller.begin(click_to_call(kind))
        assert session is not None
        await customer.until_hears(AGENT_HZ)
        await agent.until_hears(THIRD_HZ)
        session.post(HangUpCall())
        await until_over(world)
    assert channels_of(asterisk) == 0
    assert world.wrapped_up == ["ada"]


@pytest.mark.parametrize("kind", [Kind.CLICK_TO_CALL, Kind.CALLBACK_AGENT_FIRST])
async def test_a_busy_customer_is_told_to_the_agent_and_the_call_ends(
    asterisk: Instance, world: World, phones_folder: Path, kind: Kind
):
    async with (
        controlled(asterisk, world) as controller,
        third_phone(phones_folder, "phone_refuses", status=486),
        phone(phones_folder, port=PHONES["6001"]) as agent,
    ):
        controller.begin(click_to_call(kind))
        await until_over(world)
        await agent.ended()
    assert "customer_busy" in world.what()
    assert channels_of(asterisk) == 0


async def test_a_phone_is_not_rung_for_a_call_that_was_over_before_its_channel_appeared(
    asterisk: Instance, world: World, phones_folder: Path
):
    """Asterisk refuses to hang up what it has only just promised to ring."""
    calls = 8
    ringing = phone(phones_folder, "phone_rings_on", port=PHONES["6001"], count=calls)
    async with controlled(asterisk, world) as controller, ringing:
        for number in range(calls):
            session = controller.begin(click_to_call())
            assert session is not None
            session.post(HangUpCall())
            await until_over(world, calls=number + 1)
            await until(lambda: channels_of(asterisk) == 0, "the phone to stop ringing", 4)
    assert world.what().count("hung_up_by_control") == calls


async def test_a_callback_customer_first_ends_in_line_for_an_agent(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        controlled(asterisk, world) as controller,
        third_phone(phones_folder) as customer,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 20)]),
    ):
        state = click_to_call(Kind.CALLBACK_CUSTOMER_FIRST, agent=None, action=SUPPORT)
        session = controller.begin(state)
        assert session is not None
        await customer.until_hears(MUSIC_HZ)
        world.set_free("ada")
        await customer.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        session.post(HangUpCall())
        await until_over(world)
    assert channels_of(asterisk) == 0


async def test_an_outbound_menu_is_played_when_the_customer_answers(
    asterisk: Instance, world: World, phones_folder: Path
):
    says = [Silence(1.0), *keys("1"), Tone(THIRD_HZ, 20)]
    async with (
        controlled(asterisk, world) as controller,
        Ear() as customer,
        phone(phones_folder, port=PHONES["6003"], says=says, ear=customer),
    ):
        session = controller.begin(click_to_call(Kind.OUTBOUND_IVR, agent=None, action=MENU))
        assert session is not None
        await customer.until_hears(900)
        await until(lambda: session.state.phase is Phase.HOLDING, "the choice")
        assert session.state.digits == {"main": "1"}
        session.post(HangUpCall())
        await until_over(world)
    assert channels_of(asterisk) == 0


# --- agents' phones and the line ---------------------------------------------------------------------------


async def test_of_two_phones_that_ring_at_once_one_wins_and_the_other_shows_no_missed_call(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.free, world.at_once = ["ada", "ben"], 2
    async with (
        controlled(asterisk, world) as controller,
        phone(phones_folder, "phone_hangs_up", port=PHONES["6002"], ring_ms=500, hold_ms=600),
        phone(phones_folder, "phone_rings_on", port=PHONES["6001"]) as loser,
        caller(asterisk, phones_folder) as customer,
    ):
        await the_call(controller, Phase.TALKING)
        await customer.ended()
        await loser.ended()
        await until_over(world)
    assert world.wrapped_up == ["ben"]
    assert world.unanswered_agents == []
    assert "ada" in world.free
    assert "Call completed elsewhere" in loser.messages()
    assert "<sip:+4930111@" in loser.messages(), "the phone shows who calls"


@pytest.mark.parametrize(
    ("scenario", "status", "why"),
    [
        ("phone_refuses", 486, Gone.BUSY),
        ("phone_refuses", 603, Gone.DECLINED),
        ("phone_refuses", 480, Gone.NO_ANSWER),  # it has rung before
        ("phone_refuses", 404, Gone.UNREACHABLE),
        ("phone_rings_on", 0, Gone.NO_ANSWER),
    ],
)
async def test_a_phone_that_does_not_take_the_call_is_noted_and_the_next_one_rung(
    asterisk: Instance, world: World, phones_folder: Path, scenario: str, status: int, why: Gone
):
    world.free, world.ring_s = ["ada", "ben"], 1
    async with (
        controlled(asterisk, world),
        Ear() as hears,
        phone(phones_folder, scenario, port=PHONES["6001"], status=status),
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES["6002"],
            hold_ms=1000,
            says=[Tone(AGENT_HZ, 5)],
        ),
        caller(asterisk, phones_folder, ear=hears) as customer,
    ):
        await hears.until_hears(MUSIC_HZ)
        await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await customer.ended()
        await until_over(world)
    assert world.unanswered_agents == [("ada", why)]
    assert world.wrapped_up == ["ben"]


async def test_an_unknown_endpoint_is_unreachable_and_the_caller_waits_on(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.endpoints["ada"] = "PJSIP/6099"
    world.free = ["ada"]
    async with (
        controlled(asterisk, world) as controller,
        caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=1500) as customer,
    ):
        await world.until_noted("offer_unreachable")
        await the_call(controller, Phase.HOLDING)
        await customer.ended()
        await until_over(world)
    assert world.busy == {}


@pytest.mark.parametrize("longest_wait_s", [900, 60])  # where nothing is announced it works as well
async def test_the_callback_key_writes_a_callback_down_and_lets_the_caller_go(
    asterisk: Instance, world: World, phones_folder: Path, longest_wait_s: int
):
    world.hold = HoldPolicy(
        longest_wait_s=longest_wait_s,
        announce_position=False,
        callback_key="9",
        callback_threshold=0,
    )
    says = [Silence(2.0), *keys("9"), Silence(2.0), *keys("1"), Silence(3.0)]
    async with (
        controlled(asterisk, world),
        caller(asterisk, phones_folder, says=says) as customer,
    ):
        await customer.ended()
        await until_over(world)
    assert "callback_promised" in world.what()
    assert world.line == []


async def test_the_action_callback_is_offered_and_refused_it_goes_on_by_the_rules(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.action = Callback(queue="support", otherwise=End())
    says = [Silence(1.5), *keys("222"), Silence(3.0)]
    async with controlled(asterisk, world), caller(asterisk, phones_folder, says=says) as customer:
        await customer.ended()
        await until_over(world)
    assert "callback_promised" not in world.what()


async def test_who_has_waited_too_long_goes_to_the_overflow(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.left_s = 1.0
    world.otherwise = Voicemail(target=Target(type=TargetType.DEPARTMENT, id="1"))
    says = [Silence(2.5), Tone(CALLER_HZ, 3), *keys("#"), Silence(1)]
    async with controlled(asterisk, world), caller(asterisk, phones_folder, says=says) as customer:
        await customer.ended()
        await until_over(world)
    assert "queue_waited_too_long" in world.what()
    (message,) = world.kept_messages
    assert audio.hears(Path(f"{message}"), CALLER_HZ)


async def test_closing_time_ends_the_wait(asterisk: Instance, world: World, phones_folder: Path):
    async with controlled(asterisk, world) as controller, caller(asterisk, phones_folder) as one:
        session = await the_call(controller, Phase.HOLDING)
        world.close_queue(session)
        await one.ended()
        await until_over(world)
    assert "queue_closed" in world.what()


async def test_digits_typed_ahead_choose_before_the_menu_has_been_heard(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.action = Menu(
        name="first",
        prompt="menu",
        choices={"1": MENU},
        otherwise=End(),
        timeout_s=2,
    )
    says = [Silence(0.3), *keys("11"), Silence(6)]
    async with (
        controlled(asterisk, world) as controller,
        caller(asterisk, phones_folder, "caller_hangs_up", says=says, hold_ms=2500) as customer,
    ):
        session = await the_call(controller, Phase.HOLDING, limit_s=2.2)
        assert session.state.digits == {"first": "1", "main": "1"}
        await customer.ended()
        await until_over(world)


@pytest.mark.parametrize(
    "phase", [Phase.ASKING, Phase.HOLDING, Phase.VOICEMAIL, Phase.OFFERING_CALLBACK, Phase.CONSENT]
)
async def test_a_caller_may_hang_up_at_any_point(
    asterisk: Instance, world: World, phones_folder: Path, phase: Phase
):
    somewhere = Target(type=TargetType.DEPARTMENT, id="1")
    world.action = {
        Phase.ASKING: MENU,
        Phase.VOICEMAIL: Voicemail(target=somewhere),
        Phase.OFFERING_CALLBACK: Callback(queue="support", otherwise=End()),
    }.get(phase, SUPPORT)
    if phase is Phase.CONSENT:
        world.recording = RecordingPolicy(record=True, ask_consent=True)
    async with (
        controlled(asterisk, world) as controller,
        caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=700) as customer,
    ):
        await the_call(controller, phase)
        await customer.ended()
        await until_over(world)
        await until(lambda: not controller.sessions, "the session to end")
        await until(lambda: len(asyncio.all_tasks()) < 12, "its tasks to end")
    assert world.line == []
    assert channels_of(asterisk) == 0


@pytest.mark.parametrize(
    "phase", [Phase.HELD, Phase.CONSULTING, Phase.CONFERENCE, Phase.PARKED, Phase.TALKING]
)
async def test_a_caller_may_hang_up_in_the_middle_of_a_control(
    asterisk: Instance, world: World, phones_folder: Path, phase: Phase
):
    async with third_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        control = {
            Phase.HELD: HoldCall(),
            Phase.CONSULTING: ConsultWith(endpoint="PJSIP/6003", leg=new_leg()),
            Phase.CONFERENCE: AddParticipant(endpoint="PJSIP/6003", leg=new_leg()),
            Phase.PARKED: ParkCall(),
        }.get(phase)
        if control is not None:
            one.session.post(control)
        await one.until(phase)
        asterisk.command(f"channel request hangup {_name(one, one.session.state.channel)}")
        await until_over(world)
    assert world.wrapped_up == ["ada"]


def _name(one: Talk, leg: LegId) -> str:
    channel = one.controller.channels.find(leg)
    assert channel is not None
    return str(channel.name)
