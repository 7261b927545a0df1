"""The connection to Asterisk breaks, or the controller dies, with a call in every state: nobody is dropped."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from pbx.ami.client import LinkState
from pbx.controller import Controller
from pbx.machine.events import ChangeRecording, HangUpCall
from tests.chaos.pbx.conftest import PHONES, Fate
from tests.chaos.pbx.faults import AmiProxy
from tests.chaos.pbx.house import AGENTS, PHASES, House, Town, all_is_well
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import AGENT_HZ, MUSIC_HZ, controlled, until

pytestmark = [pytest.mark.chaos]
ADA = AGENTS["ada"]


@contextlib.asynccontextmanager
async def full_house(
    asterisk: Instance, town: Town, folder: Path
) -> AsyncIterator[tuple[House, AmiProxy]]:
    """Limits are short, so that a dead peer is noticed within a second."""
    async with (
        AmiProxy(asterisk.ports.ami) as proxy,
        controlled(
            asterisk,
            town,
            port=proxy.port,
            ping_every_s=0.3,
            ping_limit_s=0.5,
            longest_pause_s=0.3,
        ) as controller,
        House(asterisk, town, controller, PHONES, folder) as house,
    ):
        yield house, proxy


def tell(fates: list[Fate], fault: str, house: House) -> None:
    fates += [Fate(fault=fault, call=name, became=house.became(name)) for name in PHASES]


async def reconnected(controller: Controller) -> None:
    await until(lambda: controller.client.state is LinkState.READY, "the connection")
    await until(lambda: controller._gate.is_open, "the comparison")


@pytest.mark.parametrize("seconds", [0.001, 1.0, 30.0])
async def test_a_cut_connection_drops_nobody(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate], seconds: float
):
    async with full_house(asterisk, town, phones_folder) as (house, proxy):
        proxy.is_open = False
        proxy.cut()
        await asyncio.sleep(seconds)
        if seconds >= 1:
            await house.talkers_hear_each_other()
        proxy.is_open = True
        await reconnected(house.controller)
        await house.nobody_was_dropped()
        await house.everybody_goes_on()
    tell(fates, f"AMI connection cut for {seconds:g} s", house)


async def test_a_black_hole_is_noticed_and_drops_nobody(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    async with full_house(asterisk, town, phones_folder) as (house, proxy):
        proxy.silent = True
        await until(lambda: house.controller.client.state is not LinkState.READY, "the silence")
        await house.talkers_hear_each_other()
        proxy.silent = False
        proxy.cut()
        await reconnected(house.controller)
        await house.nobody_was_dropped()
        await house.everybody_goes_on()
    tell(fates, "AMI connection black-holed", house)


@pytest.mark.parametrize("apart_s", [0.0, 2.0])
async def test_a_new_controller_takes_over_and_drops_nobody(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate], apart_s: float
):
    async with contextlib.AsyncExitStack() as houses:
        async with controlled(asterisk, town) as first:
            house = House(asterisk, town, first, PHONES, phones_folder)
            await houses.enter_async_context(house)
        await asyncio.sleep(apart_s)
        await house.talkers_hear_each_other()
        assert town.closed == []
        async with controlled(asterisk, town) as second:
            house.controller = second
            await reconnected(second)
            await house.nobody_was_dropped()
            await house.everybody_goes_on()
    tell(fates, f"controller killed, another {apart_s:g} s later", house)


async def test_who_takes_over_knows_that_a_recording_is_paused(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.free = ["ada"]
    async with (
        Ear() as hears,
        phone(phones_folder, port=PHONES[ADA], says=[Tone(AGENT_HZ, 30)]),
        caller(asterisk, phones_folder, ear=hears),
    ):
        async with controlled(asterisk, town) as first:
            await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
            await hears.listen(0.8)
            (session,) = first.sessions.values()
            session.post(ChangeRecording("pause"))
            await town.until_noted("recording_pause")
            await hears.listen(0.8)
        async with controlled(asterisk, town) as second:
            await reconnected(second)
            (session,) = second.sessions.values()
            session.post(ChangeRecording("pause"))
            await town.until_noted("recording_refused")
            await hears.listen(0.8)
            session.post(ChangeRecording("resume"))
            await town.until_noted("recording_resume")
            await hears.listen(0.8)
            session.post(HangUpCall())
            await all_is_well(asterisk, town, second, calls=1)
    (recording,) = town.finished
    loud = audio.loudness(recording)
    assert audio.longest_silence_s(loud) >= 1.0
    assert loud[2] > 0.2
    assert loud[-2] > 0.2
    became = ", ".join(town.what())
    fates.append(Fate(fault="controller killed", call="recording paused", became=became))


async def test_what_happened_while_no_controller_was_there_is_made_up_for(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    """A phone answers, and a caller who waits hangs up: the next controller finds out both."""
    town.free = ["ada"]
    async with (
        Ear() as hears,
        phone(phones_folder, port=PHONES[ADA], ring_ms=1500, says=[Tone(AGENT_HZ, 30)]),
        caller(asterisk, phones_folder, called="301", ear=hears),
        contextlib.AsyncExitStack() as later,
    ):
        async with controlled(asterisk, town) as first:
            await town.until_noted("offered")
            impatient = caller(
                asterisk, phones_folder, "caller_hangs_up", called="302", hold_ms=800
            )
            await later.enter_async_context(impatient)
            await until(lambda: len(town.line) == 1, "a second caller to wait")
            assert len(first.sessions) == 2
        (waiting,) = town.line
        await impatient.ended()
        await asyncio.sleep(1.0)  # and the phone answers
        assert town.closed == []
        async with controlled(asterisk, town) as second:
            await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
            await until(lambda: town.closed == [waiting], "the end of who hung up")
            assert town.line == []
            (talking,) = second.sessions.values()
            talking.post(HangUpCall())
            await all_is_well(asterisk, town, second, calls=2)
    for call in town.closed:
        became = ", ".join(town.what(call))
        fates.append(Fate(fault="changes while no controller is there", call="one", became=became))
