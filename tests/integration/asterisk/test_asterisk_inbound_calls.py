"""A caller reaches us by the three-line dialplan and is served over AMI alone."""

import asyncio
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance, write_tone
from pbx.ami import agi, events
from pbx.ami.actions import ControlPlayback, Hangup, Playback, Redirect, Setvar
from pbx.errors import AgiRefusedError, ChannelGoneError, RefusedError
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.conftest import Pbx
from tests.integration.asterisk.phones import caller

STATUS_CUTS_AT = 511  # characters of a variable in Status: use Getvar for longer ones


@pytest.fixture(scope="session")
def prompt(asterisk: Instance) -> str:
    """Two seconds of tone."""
    write_tone(asterisk.sounds / "prompt.wav", hz=500, seconds=2)
    return str(asterisk.sounds / "prompt")


async def test_a_call_is_ours_with_caller_and_called_number(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    async with caller(
        asterisk,
        phones_folder,
        "caller_is_refused",
        number="+4930100",
        called="+498912",
        status=603,
    ) as sipp:
        call = await pbx.call_arrives("+4930100")
        assert (call.exten, call.caller_id_name, call.channel_state) == ("+498912", "Frau Suess", 4)
        assert call.environment("agi_dnid") == "+498912"
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()
        await pbx.until(events.HungUp, lambda one: one.uniqueid == call.uniqueid)


@pytest.mark.parametrize(
    ("cause", "status"), [(17, 486), (21, 403), (34, 503), (1, 404), (19, 480), (38, 500)]
)
async def test_a_hangup_cause_is_a_sip_answer(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, cause: int, status: int
):
    number = f"+49301{status}"
    async with caller(
        asterisk, phones_folder, "caller_is_refused", number=number, status=status
    ) as sipp:
        call = await pbx.call_arrives(number)
        await pbx.client.send(Hangup(channel=call.uniqueid, cause=cause), pbx.in_s(5))
        await sipp.ended()


@pytest.mark.parametrize("called", ["0", "s", "*"])
async def test_a_number_of_one_character_arrives_once(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, called: str
):
    number = f"+49302{ord(called)}"
    async with caller(
        asterisk, phones_folder, "caller_hangs_up", number=number, called=called, hold_ms=300
    ) as sipp:
        call = await pbx.call_arrives(number)
        assert call.exten == called
        await pbx.run(call.channel, agi.answer())
        await sipp.ended()
    await pbx.until(events.HungUp, lambda one: one.uniqueid == call.uniqueid)
    begun = [one for one in pbx.events if isinstance(one, events.AgiStarted)]
    assert [one.uniqueid for one in begun].count(call.uniqueid) == 1


async def test_a_prompt_is_played_and_a_key_ends_it(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, prompt: str
):
    says = [Silence(1.5), *keys("5"), Silence(2)]
    async with caller(asterisk, phones_folder, number="+4930102", says=says) as sipp:
        call = await pbx.call_arrives("+4930102")
        assert (await pbx.run(call.channel, agi.answer())).number == 0
        whole = await pbx.run(call.channel, agi.stream_file(prompt, escape="0123456789*#"))
        assert whole.key == "5"
        assert 0 < (whole.end_sample or 0) < 16_000
        pressed = await pbx.until(events.KeyPressed, lambda one: one.uniqueid == call.uniqueid)
        assert (pressed.digit, pressed.direction) == ("5", "Received")
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


@pytest.mark.parametrize("is_raw", [None, False])  # SIPp plays the capture, or our own player
async def test_digits_are_collected(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, prompt: str, is_raw: bool | None
):
    says = [Silence(1), *keys("12*0#"), Silence(1)]
    async with caller(asterisk, phones_folder, number="+4930103", says=says, is_raw=is_raw) as sipp:
        call = await pbx.call_arrives("+4930103")
        await pbx.run(call.channel, agi.answer())
        result = await pbx.run(
            call.channel, agi.get_data(prompt, first_digit_ms=3000, max_digits=8)
        )
        assert (result.digits, result.is_timeout) == ("12*0", False)
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_no_digits_in_time_is_a_timeout(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, prompt: str
):
    async with caller(asterisk, phones_folder, number="+4930104", says=[Silence(5)]) as sipp:
        call = await pbx.call_arrives("+4930104")
        await pbx.run(call.channel, agi.answer())
        result = await pbx.run(call.channel, agi.get_data(prompt, first_digit_ms=200, max_digits=8))
        assert (result.digits, result.is_timeout) == ("", True)
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_keys_are_heard_while_music_plays(pbx: Pbx, asterisk: Instance, phones_folder: Path):
    says = [Silence(1), *keys("9"), Silence(1)]
    async with caller(asterisk, phones_folder, number="+4930105", says=says) as sipp:
        call = await pbx.call_arrives("+4930105")
        await pbx.run(call.channel, agi.answer())
        assert not (await pbx.run(call.channel, agi.music(on=True))).has_failed
        await pbx.until(
            events.KeyPressed, lambda one: (one.uniqueid, one.digit) == (call.uniqueid, "9")
        )
        assert not [
            one for one in pbx.events if isinstance(one, events.KeyPressed) and one.digit == "D"
        ]
        await pbx.run(call.channel, agi.music(on=False))
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_running_prompt_is_stopped(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, prompt: str
):
    async with caller(asterisk, phones_folder, number="+4930106", says=[Silence(4)]) as sipp:
        call = await pbx.call_arrives("+4930106")
        await pbx.run(call.channel, agi.answer())
        playing = asyncio.create_task(pbx.run(call.channel, agi.stream_file(prompt)))
        stop = ControlPlayback(channel=call.channel, control=Playback.STOP)
        while not playing.done():  # accepted and lost when the prompt has not begun yet
            await pbx.client.send(stop, pbx.in_s(5))
            await asyncio.wait([playing], timeout=0.02)
        assert ((await playing).end_sample or 0) < 16_000
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_missing_prompt_ends_the_command_and_not_the_call(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    async with caller(asterisk, phones_folder, number="+4930107", says=[Silence(3)]) as sipp:
        call = await pbx.call_arrives("+4930107")
        await pbx.run(call.channel, agi.answer())
        missing = await pbx.run(call.channel, agi.stream_file("no/such/sound"))
        assert missing.has_failed
        await pbx.until(events.AgiEnded, lambda one: one.uniqueid == call.uniqueid)
        starts = []
        async with asyncio.timeout(5):
            while len(starts) < 2:
                starts = [
                    one
                    for one in pbx.events
                    if isinstance(one, events.AgiStarted) and one.uniqueid == call.uniqueid
                ]
                await asyncio.sleep(0.01)
        assert (await pbx.run(call.channel, agi.noop())).number == 0
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_caller_who_hangs_up_ends_the_running_command(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, prompt: str
):
    async with caller(
        asterisk, phones_folder, "caller_hangs_up", number="+4930108", hold_ms=800
    ) as sipp:
        call = await pbx.call_arrives("+4930108")
        await pbx.run(call.channel, agi.answer())
        assert (await pbx.run(call.channel, agi.stream_file(prompt))).has_failed
        await pbx.until(events.HungUp, lambda one: one.uniqueid == call.uniqueid)
        with pytest.raises(RefusedError):
            await pbx.run(call.channel, agi.noop())
        await sipp.ended()


async def test_a_command_still_queued_when_the_caller_hangs_up_ends(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, prompt: str
):
    async with caller(
        asterisk, phones_folder, "caller_hangs_up", number="+4930109", hold_ms=800
    ) as sipp:
        call = await pbx.call_arrives("+4930109")
        await pbx.run(call.channel, agi.answer())
        playing = asyncio.create_task(pbx.run(call.channel, agi.stream_file(prompt)))
        queued = asyncio.create_task(pbx.run(call.channel, agi.noop()))
        outcomes = await asyncio.gather(playing, queued, return_exceptions=True)
        assert isinstance(outcomes[1], ChannelGoneError)
        assert len(pbx.client.agi_commands) == 0
        await sipp.ended()


async def test_a_command_that_asterisk_does_not_know_is_refused(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    async with caller(
        asterisk, phones_folder, "caller_is_refused", number="+4930110", status=603
    ) as sipp:
        call = await pbx.call_arrives("+4930110")
        with pytest.raises(AgiRefusedError) as caught:
            await pbx.run(call.channel, agi.AgiCommand(text="JUGGLE"))
        assert caught.value.status == 510
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


@pytest.mark.parametrize(
    "value",
    ['comma, "quoted" \\ back', "Frau Süß 😀", "${UNIQUEID}", "a|b;c=d(e", "x" * 900, "trailing\\"],
)
async def test_a_value_arrives_unchanged(
    pbx: Pbx, asterisk: Instance, phones_folder: Path, value: str
):
    async with caller(
        asterisk, phones_folder, "caller_is_refused", number="+4930112", status=603
    ) as sipp:
        call = await pbx.call_arrives("+4930112")
        await pbx.run(call.channel, agi.set_variable("CC_A", value))
        assert await pbx.client.variable(call.channel, "CC_A", pbx.in_s(5)) == value
        await pbx.client.send(
            Setvar(channel=call.uniqueid, variable="CC_B", value=value), pbx.in_s(5)
        )
        assert await pbx.client.variable(call.uniqueid, "CC_B", pbx.in_s(5)) == value
        listed = {one.uniqueid: one for one in await pbx.client.statuses(("CC_A",), pbx.in_s(5))}
        assert listed[call.uniqueid].variables["CC_A"] == value[:STATUS_CUTS_AT]
        assert call.uniqueid in {one.uniqueid for one in await pbx.client.channels(pbx.in_s(5))}
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_redirect_interrupts_and_gives_the_call_back(
    pbx: Pbx, asterisk: Instance, phones_folder: Path
):
    async with caller(asterisk, phones_folder, number="+4930113", says=[Tone(700, 4)]) as sipp:
        call = await pbx.call_arrives("+4930113")
        await pbx.run(call.channel, agi.answer())
        waiting = asyncio.create_task(pbx.run(call.channel, agi.wait_for_digit(20_000)))
        behind = asyncio.create_task(pbx.run(call.channel, agi.noop()))
        await asyncio.sleep(
            0.3
        )  # the caller's media has had it begun: what is not begun stays in line
        await pbx.client.send(Redirect(channel=call.channel), pbx.in_s(5))
        await pbx.until(
            events.AgiStarted,
            lambda one: (one.uniqueid, one.context) == (call.uniqueid, "crosspoint"),
        )
        await asyncio.gather(waiting, behind, return_exceptions=True)
        assert (await pbx.run(call.channel, agi.noop())).number == 0
        await pbx.run(call.channel, agi.hangup())
        await sipp.ended()


async def test_a_call_that_no_controller_takes_hears_sorry_and_ends(
    asterisk: Instance, phones_folder: Path, pbx: Pbx
):
    async with caller(asterisk, phones_folder, number="+4930114", says=[Tone(700, 1)]) as sipp:
        call = await pbx.call_arrives("+4930114")
        await pbx.run(call.channel, agi.set_variable("TIMEOUT(absolute)", "1"))  # instead of 15 s
        await sipp.ended()
        hungup = await pbx.until(events.HungUp, lambda one: one.uniqueid == call.uniqueid)
        assert hungup.cause == 34
