"""A controller is killed, or Asterisk stands still, between two steps that belong together."""

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from pbx.carriers import bridges
from pbx.machine.events import HangUpCall, HoldCall
from pbx.machine.plans import RecordingPolicy
from pbx.machine.state import CallState, Phase
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.talks import talk
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    controlled,
    the_call,
    until,
    until_over,
)


async def test_a_talk_whose_recording_was_written_down_and_not_begun_is_recorded(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.recording, world.free = RecordingPolicy(record=True), ["ada"]
    save, is_written = world.save, asyncio.Event()

    async def dies(state: CallState) -> None:
        await save(state)
        if state.phase is Phase.TALKING:
            is_written.set()
            await asyncio.Event().wait()

    async with (
        contextlib.AsyncExitStack() as stack,
        Ear() as hears_caller,
        Ear() as hears_agent,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 30)], ear=hears_agent),
    ):
        world.save = dies  # type: ignore[method-assign]  # until it is killed
        async with controlled(asterisk, world):
            says = [Tone(CALLER_HZ, 30)]
            one = caller(asterisk, phones_folder, says=says, ear=hears_caller)
            await stack.enter_async_context(one)
            await is_written.wait()
        world.save = save  # type: ignore[method-assign]
        async with controlled(asterisk, world) as controller:
            session = await the_call(controller, Phase.TALKING)
            assert session.state.recording_file
            await hears_caller.until_hears(AGENT_HZ)
            await hears_agent.until_hears(CALLER_HZ)
            session.post(HangUpCall())
            await until_over(world)
    (recording,) = world.finished
    assert audio.hears(recording, AGENT_HZ)
    assert audio.hears(recording, CALLER_HZ)
    assert "recording_failed" not in world.what()


async def test_two_whom_a_slow_asterisk_takes_apart_after_all_hear_each_other_again(
    asterisk: Instance, world: World, phones_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bridges, "SPLIT_S", 0.5)
    async with talk(asterisk, world, phones_folder) as one:
        asterisk._process.send_signal(signal.SIGSTOP)
        try:
            one.session.post(HoldCall())
            carrier = one.session._bridges
            await until(lambda: carrier._is_given_up, "it to take too long")
        finally:
            asterisk._process.send_signal(signal.SIGCONT)
        await until(lambda: "resumed" in world.what(), "both to be joined again")
        await one.both_hear_each_other()
    assert "control_failed" in world.what()
