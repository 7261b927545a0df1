"""The caller is handed on, asked, recorded: on a real Asterisk, proven by what is heard and what is in the files."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance, free_udp_port
from ivr.collect import Collect
from ivr.collect import Phase as Asking
from ivr.hold import HoldPolicy
from ivr.prompts import Fixed, Sound
from pbx.machine import parking
from pbx.machine.events import (
    AddParticipant,
    ChangeRecording,
    ConsultWith,
    HangUpCall,
    HoldCall,
    ParkCall,
    ResumeCall,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import QueuePlan, RecordingPolicy
from pbx.machine.state import Kind, Phase
from rules.actions import End, Forward
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import phone, register
from tests.integration.asterisk.talks import Talk, click_to_call, new_leg, talk, third_phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    SUPPORT,
    THIRD_HZ,
    channels_of,
    controlled,
    until,
    until_over,
)

ELSEWHERE = Forward(number="+12125550177")
BEN_HZ = 1900
ASKS = RecordingPolicy(record=True, ask_consent=True)
RECORDS = RecordingPolicy(record=True, allow_pause=True)
QUESTION, NOTICE = Fixed(Sound.RECORDING_CONSENT), Fixed(Sound.RECORDING_NOTICE)


@contextlib.asynccontextmanager
async def bens_phone(folder: Path) -> AsyncIterator[Ear]:
    async with (
        Ear() as ear,
        phone(folder, port=PHONES["6002"], says=[Tone(BEN_HZ, 30)], ear=ear),
    ):
        yield ear


def consents(world: World) -> list[str]:
    return [what for what in world.what() if what.startswith("recording_")]


async def until_asked(one: Talk) -> None:
    """The question was played to its end, and is not answered."""

    def is_asked() -> bool:
        asking = one.session.state.dialogue
        return isinstance(asking, Collect) and asking.phase is Asking.WAITING

    await until(is_asked, "the question")
    assert one.session.state.phase is Phase.CONSENT


# --- consent ----------------------------------------------------------------------------------------


async def test_a_key_of_the_talk_is_no_consent_in_the_next_queue(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with bens_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        for key in "14155":
            await one.presses(key)
        await one.caller.listen(2.0)  # Asterisk plays them out one by one
        world.recording = ASKS
        world.set_free("ben")
        one.session.post(TransferTo(SUPPORT))
        await until_asked(one)
        assert world.saved[one.session.state.id].typed == ""
        assert world.said == [QUESTION]
        assert consents(world) == ["recording_consent_asked"]
        await one.presses("1")
        await one.caller.until_hears(BEN_HZ)
        assert consents(world) == ["recording_consent_asked", "recording_consent"]
    (recording,) = world.finished
    assert audio.hears(recording, BEN_HZ)


@pytest.mark.parametrize(("key", "records"), [("1", True), ("2", False)])
async def test_whom_a_callback_reaches_agrees_before_the_agent_is_there(
    asterisk: Instance, world: World, phones_folder: Path, *, key: str, records: bool
):
    plan = QueuePlan(queue="support", otherwise=End(), hold=HoldPolicy(), ring_s=8, recording=ASKS)
    async with (
        controlled(asterisk, world) as controller,
        Ear() as agent,
        third_phone(phones_folder) as customer,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 30)], ear=agent),
    ):
        state = click_to_call(Kind.CALLBACK_AGENT_FIRST, plan=plan, queue=plan)
        session = controller.begin(state)
        assert session is not None
        one = Talk(controller, session, customer, agent)
        await until_asked(one)
        assert agent.loudness(THIRD_HZ) < 0.01
        assert world.said == [QUESTION]
        await one.presses(key)
        await customer.until_hears(AGENT_HZ)
        await agent.until_hears(THIRD_HZ)
        await customer.listen(0.5)
        session.post(HangUpCall())
        await until_over(world)
    assert ("recording_consent" in world.what()) is records
    assert [audio.hears(file, AGENT_HZ) for file in world.finished] == [True] * records
    assert channels_of(asterisk) == 0


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (RecordingPolicy(ask_consent=True), QUESTION),
        (RecordingPolicy(announce=True), NOTICE),
    ],
)
async def test_a_recording_on_demand_begins_when_the_caller_was_told_or_agrees(
    asterisk: Instance, world: World, phones_folder: Path, policy: RecordingPolicy, said: Fixed
):
    world.recording = policy
    async with talk(asterisk, world, phones_folder) as one:
        one.session.post(ChangeRecording("on"))
        if policy.ask_consent:
            await until_asked(one)
            assert not one.session.state.recording
            await one.presses("1")
        await world.until_noted("recording_on")
        await one.both_hear_each_other()
        await one.caller.listen(0.5)
    assert world.said == [said]
    (recording,) = world.finished
    assert audio.hears(recording, AGENT_HZ)
    assert audio.hears(recording, CALLER_HZ)


# --- recorded by the policy of the moment -------------------------------------------------------------


async def test_a_talk_in_a_queue_that_records_nothing_is_not_recorded_after_one_that_was(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.recording = RECORDS
    async with bens_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        await one.caller.listen(0.5)
        world.recording = RecordingPolicy()
        one.session.post(TransferTo(SUPPORT))
        await one.caller.until_hears(MUSIC_HZ)
        world.set_free("ben")
        await one.caller.until_hears(BEN_HZ, never=(MUSIC_HZ,))
        await one.caller.listen(0.5)
        assert not one.session.state.recording
    (recording,) = world.finished
    assert audio.hears(recording, AGENT_HZ)
    assert not audio.hears(recording, BEN_HZ)
    assert not audio.hears(recording, MUSIC_HZ)


async def test_a_pause_does_not_outlast_the_agent_who_asked_for_it(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.recording = RECORDS
    async with bens_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        one.session.post(ChangeRecording("pause"))
        await world.until_noted("recording_pause")
        await one.caller.listen(0.5)
        one.session.post(TransferTo(SUPPORT))
        await one.caller.until_hears(MUSIC_HZ)
        world.set_free("ben")
        await one.caller.until_hears(BEN_HZ, never=(MUSIC_HZ,))
        await one.caller.listen(0.8)
    first, second = world.finished
    assert not audio.hears(first, MUSIC_HZ)
    assert audio.hears(second, BEN_HZ)
    assert audio.hears(second, CALLER_HZ)
    assert not audio.hears(second, MUSIC_HZ)


async def test_a_parked_caller_is_recorded_again_with_whoever_takes_the_call(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.recording = RECORDS
    async with third_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        one.session.post(ParkCall())
        await one.caller.until_hears(MUSIC_HZ)
        one.session.post(UnparkTo(endpoint="PJSIP/6003", leg=new_leg()))
        await one.caller.until_hears(THIRD_HZ, never=(MUSIC_HZ,))
        await one.caller.listen(0.5)
    first, second = world.finished
    assert audio.hears(first, AGENT_HZ)
    assert audio.hears(second, THIRD_HZ)
    assert not any(audio.hears(file, MUSIC_HZ) for file in (first, second))


# --- a transfer that nobody takes ---------------------------------------------------------------------


async def test_a_caller_transferred_to_a_busy_number_is_served_by_the_queue_again(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        bens_phone(phones_folder) as ben,
        third_phone(phones_folder, "phone_refuses", status=486),
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(TransferTo(ELSEWHERE))
        await world.until_noted("dial_busy")
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        assert one.session.state.goes_first
        world.set_free("ben")
        await one.caller.until_hears(BEN_HZ, never=(MUSIC_HZ,))
        await ben.until_hears(CALLER_HZ)
    assert world.wrapped_up == ["ada", "ben"]


async def test_without_a_queue_a_caller_transferred_to_a_busy_number_hears_a_word(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.target = "PJSIP/6002"
    async with (
        controlled(asterisk, world) as controller,
        third_phone(phones_folder) as customer,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 30)]),
        phone(phones_folder, "phone_refuses", port=PHONES["6002"], status=486),
    ):
        session = controller.begin(click_to_call())
        assert session is not None
        await customer.until_hears(AGENT_HZ)
        session.post(TransferTo(ELSEWHERE))
        await customer.until_hears(500, never=(AGENT_HZ,))
        await until_over(world)
    assert world.said == [Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE)]
    assert world.what()[-1] == "hung_up_by_us"


async def test_an_agent_who_hangs_up_in_a_consultation_leaves_caller_and_third_together(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.recording = RECORDS
    async with (
        third_phone(phones_folder) as third,
        talk(asterisk, world, phones_folder, "phone_hangs_up", hold_ms=4500) as one,
    ):
        one.session.post(ConsultWith(endpoint="PJSIP/6003", leg=new_leg()))
        await third.until_hears(AGENT_HZ, never=(CALLER_HZ,))
        await one.agent.until_hears(THIRD_HZ)
        await world.until_noted("transferred")
        await one.caller.until_hears(THIRD_HZ, never=(MUSIC_HZ, AGENT_HZ))
        await third.until_hears(CALLER_HZ, never=(AGENT_HZ,))
        await one.caller.listen(0.5)
        assert world.wrapped_up == ["ada"]
        assert one.session.state.phase is Phase.TALKING
    (recording,) = world.finished
    assert audio.hears(recording, THIRD_HZ)


async def test_a_third_who_ends_a_consultation_leaves_agent_and_caller_together(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder, "phone_hangs_up", hold_ms=1500),
        talk(asterisk, world, phones_folder) as one,
    ):
        one.session.post(ConsultWith(endpoint="PJSIP/6003", leg=new_leg()))
        await one.agent.until_hears(THIRD_HZ)
        await world.until_noted("third_hung_up")
        await one.both_hear_each_other()


async def test_an_agent_who_hangs_up_while_the_caller_holds_leaves_the_caller_in_line(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        bens_phone(phones_folder),
        talk(asterisk, world, phones_folder, "phone_hangs_up", hold_ms=2500) as one,
    ):
        one.session.post(HoldCall())
        await one.until(Phase.HELD)
        await world.until_noted("agent_left")
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        world.set_free("ben")
        await one.caller.until_hears(BEN_HZ, never=(MUSIC_HZ,))


# --- conferences ----------------------------------------------------------------------------------------


async def test_two_who_are_left_of_a_conference_can_do_what_two_who_talk_can(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.recording = RECORDS
    async with bens_phone(phones_folder), talk(asterisk, world, phones_folder) as one:
        async with third_phone(phones_folder, "phone_hangs_up", hold_ms=3500) as third:
            one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
            await third.until_hears(CALLER_HZ, AGENT_HZ)
            one.session.post(ChangeRecording("pause"))
            await world.until_noted("recording_pause")
            one.session.post(ChangeRecording("resume"))
            await world.until_noted("recording_resume")
            await world.until_noted("member_left")
        await one.until(Phase.TALKING)
        await one.both_hear_each_other()
        one.session.post(HoldCall())
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        one.session.post(ResumeCall())
        await one.both_hear_each_other()
        await one.caller.listen(0.5)
        one.session.post(TransferTo(SUPPORT))
        world.set_free("ben")
        await one.caller.until_hears(BEN_HZ, never=(AGENT_HZ,))
        assert world.wrapped_up == ["ada"]
    assert len(world.finished) == 2
    assert audio.hears(world.finished[0], THIRD_HZ)
    assert not audio.hears(world.finished[0], BEN_HZ)


@pytest.mark.parametrize("first", ["third", "agent"])
async def test_who_leaves_a_conference_last_ends_the_call(
    asterisk: Instance, world: World, phones_folder: Path, first: str
):
    agent_s, third_s = (6500, 2500) if first == "third" else (4500, 6000)
    async with (
        third_phone(phones_folder, "phone_hangs_up", hold_ms=third_s) as third,
        talk(asterisk, world, phones_folder, "phone_hangs_up", hold_ms=agent_s) as one,
    ):
        one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
        await third.until_hears(CALLER_HZ, AGENT_HZ)
        await world.until_noted("resumed")
        left, gone = (AGENT_HZ, THIRD_HZ) if first == "third" else (THIRD_HZ, AGENT_HZ)
        await one.caller.until_hears(left, never=(gone,))
        await until_over(world)
        assert world.what()[-1] == "hung_up_by_us"


async def test_of_two_who_leave_a_conference_at_once_none_leaves_the_caller_alone(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        third_phone(phones_folder) as third,
        talk(asterisk, world, phones_folder) as one,
    ):
        leg = new_leg()
        one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=leg))
        await third.until_hears(CALLER_HZ, AGENT_HZ)
        names = [
            str(one.controller.channels.find(each.id).name) for each in one.session.state.members
        ]  # type: ignore[union-attr]
        await asyncio.gather(
            *(
                asyncio.to_thread(asterisk.command, f"channel request hangup {name}")
                for name in names
            )
        )
        await until_over(world)
    await until(lambda: channels_of(asterisk) == 0, "Asterisk to have no channel")


@pytest.mark.parametrize("is_there", [True, False], ids=["answers", "is busy"])
async def test_a_parked_caller_whom_nobody_takes_comes_back(
    asterisk: Instance,
    world: World,
    phones_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_there: bool,
):
    """To who has parked the call; who does not take it leaves it to the next agent of the queue."""
    monkeypatch.setattr(parking, "LONGEST_PARKED_S", 1.0)
    scenario, hz = ("phone_answers", AGENT_HZ) if is_there else ("phone_refuses", THIRD_HZ)
    async with talk(asterisk, world, phones_folder) as one:
        one.session.post(ParkCall())
        await one.until(Phase.PARKED)
        register(
            asterisk, "6001", port := free_udp_port()
        )  # the first one is still being told of its end
        async with (
            phone(phones_folder, scenario, port=port, says=[Tone(AGENT_HZ, 30)]) as parker,
            third_phone(phones_folder),
        ):
            if not is_there:
                world.set_free("eve")
            await one.caller.until_hears(hz, never=())
            await one.until(Phase.TALKING)
            assert one.session.state.agent is not None
            assert one.session.state.agent.agent == ("ada" if is_there else "eve")
            one.session.post(HangUpCall())
            await parker.ended()
    assert world.what().count("parked_too_long") == 1
