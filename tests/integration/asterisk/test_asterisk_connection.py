"""The connection to a real Asterisk: rights, TLS, black holes, crashes, hand-over to another controller."""

import asyncio
import ssl
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from pbx.ami import agi, events
from pbx.ami.actions import Action, Originate, Ping, Setvar, new_channel_id
from pbx.ami.client import LinkState
from pbx.errors import (
    AmiDownError,
    LoginRefusedError,
    OutcomeUnknownError,
    RefusedError,
    UnsafeValueError,
)
from tests.integration.asterisk.capture import Silence
from tests.integration.asterisk.conftest import OWN_PHONES, Pbx
from tests.integration.asterisk.phones import caller, phone


class Forbidden(Action, frozen=True, kw_only=True):
    """Something the user may not do."""

    action = "Command"
    command: str = "core show version"


class ForbiddenRecording(Action, frozen=True, kw_only=True):
    """The recording action of the manager interface: it takes any path and runs commands."""

    action = "MixMonitor"
    channel: str = "x"
    file: str = "x.wav"


@pytest.mark.parametrize("action", [Forbidden(), ForbiddenRecording()])
async def test_the_user_may_not_do_more_than_it_needs(pbx: Pbx, action: Action):
    with pytest.raises(RefusedError) as caught:
        await pbx.client.send(action, pbx.in_s(5))
    assert "ermission" in caught.value.reason


async def test_a_line_as_long_as_allowed_is_accepted(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    longest = "x" * (1000 - len("Value: "))
    async with caller(
        asterisk, phones_folder, "caller_is_refused", number="+4930300", status=603
    ) as sipp:
        call = await pbx.call_arrives("+4930300")
        await pbx.client.send(
            Setvar(channel=call.channel, variable="CC_L", value=longest), pbx.in_s(5)
        )
        assert await pbx.client.variable(call.channel, "CC_L", pbx.in_s(5)) == longest
        with pytest.raises(UnsafeValueError):
            await pbx.client.send(
                Setvar(channel=call.channel, variable="CC_L", value=longest + "x"), pbx.in_s(5)
            )
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_wrong_password_is_known_at_once(asterisk: Instance):
    one = Pbx(asterisk, secret="wrong")
    task = asyncio.create_task(one.client.run())
    with pytest.raises(LoginRefusedError):
        await one.client.wait_ready(one.in_s(5))
    await one.client.close()
    await task


async def test_tls_works_and_is_checked(own_asterisk: Instance, tmp_path: Path):
    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    for context, is_trusted in ((trusted, True), (ssl.create_default_context(), False)):
        one = Pbx(own_asterisk, port=own_asterisk.ports.ami_tls, tls=context)
        task = asyncio.create_task(one.client.run())
        if is_trusted:
            await one.client.wait_ready(one.in_s(5))
            await one.client.send(Ping(), one.in_s(5))
        else:
            with pytest.raises(AmiDownError):
                await one.client.wait_ready(one.in_s(0.5))
        await one.client.close()
        await task


async def test_a_black_hole_is_noticed_and_the_call_goes_on(
    own_asterisk: Instance, own_pbx: Pbx, phones_folder: Path
):
    async with caller(own_asterisk, phones_folder, number="+4930301", says=[Silence(8)]) as sipp:
        call = await own_pbx.call_arrives("+4930301")
        await own_pbx.run(call.channel, agi.answer())
        own_asterisk.freeze()
        lost_at = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknownError):
            await own_pbx.client.agi(call.channel, agi.noop(), own_pbx.in_s(5))
        assert asyncio.get_running_loop().time() - lost_at < 2
        own_asterisk.thaw()
        await own_pbx.client.wait_ready(own_pbx.in_s(10))
        assert call.uniqueid in {
            one.uniqueid for one in await own_pbx.client.channels(own_pbx.in_s(5))
        }
        assert (await own_pbx.run(call.channel, agi.noop())).number == 0
        await own_pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_crash_and_a_restart_are_survived(own_asterisk: Instance, own_pbx: Pbx):
    own_asterisk.kill()
    async with asyncio.timeout(5):
        while own_pbx.client.state is LinkState.READY:
            await asyncio.sleep(0.01)
    with pytest.raises(AmiDownError):
        await own_pbx.client.send(Ping(), own_pbx.in_s(1))
    own_asterisk.start()
    await own_pbx.client.wait_ready(own_pbx.in_s(10))
    assert await own_pbx.client.channels(own_pbx.in_s(5)) == []


async def test_a_second_phone_with_the_same_channel_id_is_refused(
    own_asterisk: Instance, own_pbx: Pbx, phones_folder: Path
):
    async with phone(phones_folder, port=OWN_PHONES["6001"]) as sipp:
        first = Originate(channel="PJSIP/6001", channel_id=new_channel_id())
        await own_pbx.client.send(first, own_pbx.in_s(5))
        leg = await own_pbx.until(events.AgiStarted)
        again = Originate(channel="PJSIP/6002", channel_id=first.channel_id)
        answer = await own_pbx.client.ask(again, own_pbx.in_s(5))
        ended = await own_pbx.until(
            events.OriginateEnded, lambda one: one.action_id == answer["actionid"]
        )
        assert not ended.is_answered
        await own_pbx.run(leg.channel, agi.hangup())
        await sipp.ended()
    own_asterisk.kill()  # it leaked a channel, and would take 15 s to stop


async def test_a_stopping_asterisk_says_so(own_asterisk: Instance, own_pbx: Pbx):
    await asyncio.to_thread(own_asterisk.stop)
    await own_pbx.until(events.ShutDown)


async def test_another_controller_takes_a_call_over(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    async with caller(asterisk, phones_folder, number="+4930302", says=[Silence(6)]) as sipp:
        call = await pbx.call_arrives("+4930302")
        await pbx.run(call.channel, agi.answer())
        await pbx.client.send(
            Setvar(channel=call.channel, variable="CC_STATE", value="queue:support:7"), pbx.in_s(5)
        )
        waiting = asyncio.create_task(pbx.run(call.channel, agi.wait_for_digit(700)))
        await pbx.client.send(Ping(), pbx.in_s(5))
        await pbx.client.close()
        with pytest.raises(OutcomeUnknownError) as caught:
            await waiting

        second = Pbx(asterisk)
        task = asyncio.create_task(second.client.run())
        await second.client.wait_ready(second.in_s(5))
        late = await second.until(
            events.AgiResultArrived, lambda one: one.command_id == caught.value.command_id
        )
        assert late.uniqueid == call.uniqueid
        listed = {
            one.uniqueid: one for one in await second.client.statuses(("CC_STATE",), second.in_s(5))
        }
        assert listed[call.uniqueid].variables["CC_STATE"] == "queue:support:7"
        await second.run(call.channel, agi.hangup())
        await sipp.ended()
        await second.client.close()
        await task


async def test_an_action_that_asterisk_cannot_do_is_refused(pbx: Pbx):
    action = Originate(channel="PJSIP/6001", channel_id=new_channel_id(), context="nowhere")
    with pytest.raises(RefusedError):
        await pbx.client.send(action, pbx.in_s(5))
