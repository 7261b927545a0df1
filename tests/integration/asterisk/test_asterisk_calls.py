"""Whole calls on a real Asterisk: menu, line, agents, talk, recording, transfer, a controller that dies."""

import asyncio
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance, write_tone
from ivr.hold import HoldPolicy
from ivr.prompts import Fixed, Sound, Speech
from pbx.machine.events import Gone, HangUpCall, HoldCall, ResumeCall
from pbx.machine.plans import RecordingPolicy
from pbx.machine.state import Phase
from rules.actions import End, Forward, Menu
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    SUPPORT,
    controlled,
    new_world,
    the_call,
    until,
    until_over,
)

FIRST_HZ, SECOND_HZ = 610, 1450
MENU = Menu(
    name="main",
    prompt="menu",
    choices={"1": SUPPORT, "2": End(message="bye")},
    otherwise=End(),
    timeout_s=2,
)


async def test_a_caller_keys_through_the_menu_waits_talks_and_is_recorded(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.action = MENU
    world.recording = RecordingPolicy(record=True)
    world.whisper = (Speech("short"),)
    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 8)]
    async with (
        controlled(asterisk, world) as controller,
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES["6001"],
            hold_ms=2500,
            says=[Tone(AGENT_HZ, 5)],
        ),
        caller(asterisk, phones_folder, says=says) as customer,
    ):
        await the_call(controller, Phase.HOLDING)
        await asyncio.sleep(0.5)  # some music
        world.set_free("ada")
        await the_call(controller, Phase.TALKING)
        await until_over(world)
        await customer.ended()
    assert world.wrapped_up == ["ada"]
    assert world.unanswered_agents == []
    (recording,) = world.finished
    assert audio.hears(recording, CALLER_HZ)
    assert audio.hears(recording, AGENT_HZ)
    assert not audio.hears(recording, MUSIC_HZ)
    assert "recording_failed" not in [what for _, what in world.notes]


async def test_a_phone_that_does_not_answer_costs_the_caller_nothing(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.free = ["ada", "ben"]
    async with controlled(asterisk, world) as controller:
        async with (
            phone(phones_folder, "phone_refuses", port=PHONES["6001"], status=486),
            phone(phones_folder, "phone_hangs_up", port=PHONES["6002"], hold_ms=300),
            caller(asterisk, phones_folder) as customer,
        ):
            await the_call(controller, Phase.TALKING)
            await until_over(world)
            await customer.ended()
    assert world.unanswered_agents == [("ada", Gone.BUSY)]
    assert world.wrapped_up == ["ben"]


async def test_a_caller_whose_first_offer_fails_is_told_where_they_stand_again_and_again(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.hold = HoldPolicy(interval_s=1, announce_wait=False, escape_key=None)
    world.free = ["ada"]
    async with controlled(asterisk, world):
        async with (
            phone(phones_folder, "phone_refuses", port=PHONES["6001"], status=486),
            caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=6000) as customer,
        ):
            await customer.ended()
            await until_over(world)
    assert world.unanswered_agents == [("ada", Gone.BUSY)]
    assert world.said.count(Fixed(Sound.POSITION_NEXT)) > 1


async def test_a_caller_who_hangs_up_while_a_phone_rings_stops_it_ringing(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.free = ["ada"]
    async with controlled(asterisk, world):
        async with (
            phone(phones_folder, "phone_rings_on", port=PHONES["6001"]) as ringing,
            caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=800),
        ):
            await until_over(world)
            await ringing.ended()
    assert world.free == ["ada"]


async def test_escape_leads_to_voicemail_and_the_message_is_kept(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.hold = HoldPolicy(announce_position=False, announce_wait=False, escape_key="*")
    says = [Silence(1.0), *keys("*"), Silence(1.0), Tone(CALLER_HZ, 3), *keys("#"), Silence(1)]
    async with controlled(asterisk, world):
        async with caller(asterisk, phones_folder, says=says) as customer:
            await customer.ended()
            await until_over(world)
    (message,) = world.kept_messages
    assert audio.hears(Path(f"{message}"), CALLER_HZ)


async def test_a_call_is_forwarded_and_the_caller_answered_only_then(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.action = Forward(number="+12125550177")
    async with controlled(asterisk, world) as controller:
        async with (
            phone(phones_folder, "phone_hangs_up", port=PHONES["6003"], ring_ms=600, hold_ms=400),
            caller(asterisk, phones_folder) as customer,
        ):
            session = await the_call(controller, Phase.DIALING)
            assert not session.state.is_up
            await the_call(controller, Phase.TALKING)
            await customer.ended()
            await until_over(world)


async def test_hold_and_resume_leave_both_on_the_line(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.free = ["ada"]
    async with controlled(asterisk, world) as controller:
        async with (
            phone(phones_folder, "phone_answers", port=PHONES["6001"], hold_ms=500) as agent,
            caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=5000) as customer,
        ):
            session = await the_call(controller, Phase.TALKING)
            await world.until_noted("talking")
            session.post(HoldCall())
            await the_call(controller, Phase.HELD)
            session.post(ResumeCall())
            await the_call(controller, Phase.TALKING)
            await customer.ended()
            await agent.ended()
            await until_over(world)
    assert world.wrapped_up == ["ada"]


@pytest.mark.parametrize("phase", [Phase.HOLDING, Phase.TALKING])
async def test_a_new_controller_takes_the_call_over_and_nobody_is_dropped(
    asterisk: Instance, world: World, phones_folder: Path, phase: Phase
):
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6001"], hold_ms=500) as agent,
        caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=6000) as customer,
    ):
        if phase is Phase.TALKING:
            world.free = ["ada"]
        async with controlled(asterisk, world) as controller:
            await the_call(controller, phase)
            if phase is Phase.TALKING:
                await world.until_noted("talking")
        # The first controller is gone, without a word to anybody.
        assert world.closed == []
        async with controlled(asterisk, world) as controller:
            session = await the_call(controller, phase)
            if phase is Phase.HOLDING:
                world.set_free("ada")
                await the_call(controller, Phase.TALKING)
            assert session.state.agent is not None
            await customer.ended()
            await agent.ended()
            await until_over(world)
    assert world.wrapped_up == ["ada"]


async def test_another_installation_on_the_same_asterisk_leaves_the_calls_alone(
    asterisk: Instance, world: World, phones_folder: Path
):
    other = new_world(asterisk)
    other.name = "other"
    world.free = ["ada"]
    async with (
        phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=4000),
        caller(asterisk, phones_folder) as customer,
    ):
        async with controlled(asterisk, world) as controller:
            session = await the_call(controller, Phase.TALKING)
            async with controlled(asterisk, other) as stranger:
                await until(lambda: stranger.is_taken, "the other one to see that it is not alone")
                assert not stranger.is_ready
            assert "agent_left" not in world.what()
            assert session.state.phase is Phase.TALKING
            await until_over(world)
        await customer.ended()
    assert not other.saved
    async with controlled(asterisk, other) as stranger:
        await until(lambda: stranger.is_ready, "it to be alone")


async def test_an_agent_hears_every_sound_of_who_comes_before_the_caller(
    asterisk: Instance, world: World, phones_folder: Path
):
    for name, hz in (("first", FIRST_HZ), ("second", SECOND_HZ)):
        write_tone(asterisk.sounds / f"{name}.wav", hz=hz, seconds=1.5)
    world.free, world.whisper = ["ada"], tuple(map(Speech, ("first", "not-there", "second")))
    async with (
        controlled(asterisk, world) as controller,
        Ear() as ear,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 30)], ear=ear),
        caller(asterisk, phones_folder, says=[Tone(CALLER_HZ, 30)]),
    ):
        await ear.until_hears(FIRST_HZ, never=(CALLER_HZ, SECOND_HZ))
        await ear.until_hears(SECOND_HZ, never=(CALLER_HZ, FIRST_HZ))
        await ear.until_hears(CALLER_HZ, never=(FIRST_HZ, SECOND_HZ))
        (await the_call(controller, Phase.TALKING)).post(HangUpCall())
        await until_over(world)
