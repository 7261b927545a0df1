"""Phones are rung, answer or not, are joined with a caller, and what both say is recorded."""

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from deploy.asterisk.instance import Instance, write_tone
from pbx.ami import agi, events
from pbx.ami.actions import (
    Bridge,
    Direction,
    Hangup,
    MixMonitorMute,
    Originate,
    Ping,
    StopMixMonitor,
    new_channel_id,
    redirect_both,
)
from pbx.ami.values import UniqueId
from pbx.controller import RINGING
from pbx.errors import OutcomeUnknownError
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.conftest import PHONES, Pbx
from tests.integration.asterisk.phones import caller, phone

AGENT = "6001"
CALLER_HZ, AGENT_HZ, MUSIC_HZ = 700, 1100, 330


async def ring(pbx: Pbx, *, timeout_ms: int = 10_000, to: str = AGENT) -> UniqueId:
    channel_id = new_channel_id()
    action = Originate(
        channel=f"PJSIP/{to}",
        channel_id=channel_id,
        timeout_ms=timeout_ms,
        caller_name="Support, Süd",
        caller_number="+4930111",
        variables={"CC_CALL": "a,b"},
        sip_headers={"X-Queue": "support"},
    )
    await pbx.client.send(action, pbx.in_s(5))
    return channel_id


def is_of(uniqueid: UniqueId) -> Callable[[events.ChannelEvent], bool]:
    return lambda event: event.uniqueid == uniqueid


async def leg_of(pbx: Pbx, channel_id: UniqueId) -> events.AgiStarted:
    return await pbx.until(events.AgiStarted, lambda one: one.uniqueid == channel_id)


async def test_a_phone_that_answers_is_ours(pbx: Pbx, phones_folder: Path):
    async with phone(phones_folder, port=PHONES[AGENT]) as sipp:
        channel_id = await ring(pbx)
        leg = await leg_of(pbx, channel_id)
        assert await pbx.client.variable(leg.channel, "CC_CALL", pbx.in_s(5)) == "a,b"
        await pbx.run(leg.channel, agi.hangup())
        await sipp.ended()
    invite = sipp.messages()
    assert "X-Queue: support" in invite
    assert '"Support, Süd" <sip:+4930111@' in invite


@pytest.mark.parametrize(
    ("status", "cause"),
    [(486, 17), (603, 21), (480, 19), (404, 1), (503, 34)],
)
async def test_a_phone_that_refuses_says_why(
    pbx: Pbx, phones_folder: Path, status: int, cause: int
):
    async with phone(phones_folder, "phone_refuses", port=PHONES[AGENT], status=status) as sipp:
        channel_id = await ring(pbx)
        hungup = await pbx.until(events.HungUp, lambda one: one.uniqueid == channel_id)
        assert (hungup.cause, hungup.tech_cause) == (cause, str(status))
        assert hungup.channel_state == RINGING
        ended = await pbx.until(events.OriginateEnded, lambda one: one.uniqueid == channel_id)
        assert (ended.is_answered, ended.reason) == (False, 0)
        await sipp.ended()


async def test_a_phone_that_rings_on_is_given_up_in_time(pbx: Pbx, phones_folder: Path):
    async with phone(phones_folder, "phone_rings_on", port=PHONES[AGENT]) as sipp:
        channel_id = await ring(pbx, timeout_ms=1_500)
        ended = await pbx.until(events.OriginateEnded, lambda one: one.uniqueid == channel_id)
        assert (ended.is_answered, ended.reason) == (False, 3)
        hungup = await pbx.until(events.HungUp, lambda one: one.uniqueid == channel_id)
        assert (hungup.cause, hungup.channel_state) == (19, RINGING)
        await sipp.ended()


async def test_a_ringing_phone_is_told_that_another_one_answered(pbx: Pbx, phones_folder: Path):
    async with phone(phones_folder, "phone_rings_on", port=PHONES[AGENT]) as sipp:
        channel_id = await ring(pbx)
        async with asyncio.timeout(5):
            while RINGING not in [
                one.channel_state for one in await pbx.client.channels(pbx.in_s(5))
            ]:
                await asyncio.sleep(0.05)
        await pbx.client.send(Hangup(channel=channel_id, cause=26), pbx.in_s(5))
        await sipp.ended()
    assert "Call completed elsewhere" in sipp.messages()


async def test_a_phone_that_does_not_exist_fails_without_a_channel(pbx: Pbx):
    action = Originate(channel="PJSIP/nobody", channel_id=new_channel_id())
    answer = await pbx.client.ask(action, pbx.in_s(5))
    ended = await pbx.until(events.OriginateEnded, lambda one: one.action_id == answer["actionid"])
    assert (ended.is_answered, ended.uniqueid) == (False, action.channel_id)
    await pbx.client.send(Ping(), pbx.in_s(5))
    assert not [one for one in pbx.events if isinstance(one, events.NewChannel)]


async def test_the_state_of_a_phone_follows_its_calls(pbx: Pbx, phones_folder: Path):
    async def state() -> str:
        listed = await pbx.client.device_states(pbx.in_s(5))
        return next(one.state for one in listed if one.device == f"PJSIP/{AGENT}")

    assert await state() == "NOT_INUSE"
    async with phone(phones_folder, port=PHONES[AGENT]) as sipp:
        channel_id = await ring(pbx)
        leg = await leg_of(pbx, channel_id)
        assert await state() == "INUSE"
        await pbx.run(leg.channel, agi.hangup())
        await sipp.ended()


async def test_a_caller_and_an_agent_talk_and_both_are_recorded(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    name, folder = f"talk-{new_channel_id()}", PurePosixPath(asterisk.recordings)
    caller_says = [Tone(CALLER_HZ, 8)]
    async with (
        caller(asterisk, phones_folder, number="+4930200", says=caller_says) as customer,
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES[AGENT],
            says=[Tone(AGENT_HZ, 6)],
            hold_ms=3500,
        ) as agent,
    ):
        call = await pbx.call_arrives("+4930200")
        await pbx.run(call.channel, agi.answer())
        await pbx.run(call.channel, agi.music(on=True))
        leg = await leg_of(pbx, await ring(pbx))
        await pbx.run(call.channel, agi.music(on=False))
        await pbx.run(call.channel, agi.mix_monitor(folder, name, per_side=True))
        talk = asyncio.create_task(pbx.run(call.channel, agi.bridge(leg.channel)))
        entered = await pbx.until(events.BridgeEntered, lambda one: one.bridge_num_channels == 2)
        assert {
            one.uniqueid
            for one in pbx.events
            if isinstance(one, events.BridgeEntered)
            and one.bridge_uniqueid == entered.bridge_uniqueid
        } == {call.uniqueid, leg.uniqueid}
        await asyncio.sleep(1)  # what is recorded takes its time
        for state in (1, 0):
            mute = MixMonitorMute(channel=call.channel, direction=Direction.BOTH, state=state)
            await pbx.client.send(mute, pbx.in_s(5))
            await asyncio.sleep(0.8)
        assert (await talk).number == 0
        await agent.ended()
        mix = await pbx.client.variable(call.channel, "CROSSPOINT_MIX", pbx.in_s(5))
        await pbx.client.send(StopMixMonitor(channel=call.channel, mix_monitor_id=mix), pbx.in_s(5))
        assert (await pbx.run(call.channel, agi.noop())).number == 0
        await pbx.run(call.channel, agi.hangup())
        await customer.ended()
    both, said, heard = (asterisk.recordings / f"{name}{side}.wav" for side in ("", "-in", "-out"))
    assert audio.hears(both, CALLER_HZ, end_s=0.9)
    assert audio.hears(both, AGENT_HZ, end_s=0.9)
    assert audio.hears(said, CALLER_HZ)
    assert not audio.hears(said, AGENT_HZ)
    assert audio.hears(heard, AGENT_HZ)
    assert not audio.hears(heard, CALLER_HZ)
    for path in (both, said, heard):
        assert not audio.hears(path, MUSIC_HZ)
    assert not audio.hears(both, CALLER_HZ, start_s=1.2, end_s=1.7)  # paused
    assert not audio.hears(both, AGENT_HZ, start_s=1.2, end_s=1.7)
    assert audio.hears(both, CALLER_HZ, start_s=2.2)


async def test_keys_are_heard_during_a_talk_and_both_are_taken_back(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    async with (
        caller(
            asterisk, phones_folder, number="+4930201", says=[Silence(2.5), *keys("7"), Silence(3)]
        ) as customer,
        phone(phones_folder, port=PHONES[AGENT], says=[Silence(6)]) as agent,
    ):
        call = await pbx.call_arrives("+4930201")
        await pbx.run(call.channel, agi.answer())
        leg = await leg_of(pbx, await ring(pbx))
        bridge = Bridge(channel1=call.channel, channel2=leg.channel)
        await pbx.client.send(bridge, pbx.in_s(5))
        await pbx.until(events.BridgeEntered, lambda one: one.bridge_num_channels == 2)
        await pbx.until(
            events.KeyPressed,
            lambda one: (
                (one.uniqueid, one.digit, one.direction) == (call.uniqueid, "7", "Received")
            ),
        )
        await pbx.client.send(redirect_both(call.channel, leg.channel), pbx.in_s(5))
        for one in (call, leg):
            await pbx.until(events.BridgeLeft, is_of(one.uniqueid))
            assert (await pbx.run(one.channel, agi.noop())).number == 0
            await pbx.run(one.channel, agi.hangup())
        await customer.ended()
        await agent.ended()


async def test_a_command_of_a_channel_that_is_pulled_into_a_bridge_ends(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    write_tone(asterisk.sounds / "long.wav", hz=500, seconds=20)
    async with (
        caller(asterisk, phones_folder, number="+4930202", says=[Silence(5)]) as customer,
        phone(phones_folder, port=PHONES[AGENT], says=[Silence(5)]) as agent,
    ):
        call = await pbx.call_arrives("+4930202")
        await pbx.run(call.channel, agi.answer())
        leg = await leg_of(pbx, await ring(pbx))
        running = asyncio.create_task(
            pbx.run(call.channel, agi.stream_file(str(asterisk.sounds / "long")))
        )
        queued = asyncio.create_task(pbx.run(call.channel, agi.noop()))
        await asyncio.sleep(0.3)
        await pbx.client.send(Bridge(channel1=call.channel, channel2=leg.channel), pbx.in_s(5))
        outcomes = await asyncio.gather(running, queued, return_exceptions=True)
        assert isinstance(outcomes[1], OutcomeUnknownError)
        await pbx.client.send(Hangup(channel=leg.uniqueid), pbx.in_s(5))
        await customer.ended()
        await agent.ended()
