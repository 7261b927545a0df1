"""What `make pbx-demo` shows is true: the whole way, from the first ring to the recording."""

import asyncio
import sys
from pathlib import Path

import pytest

from deploy.asterisk import demo
from deploy.asterisk.instance import Instance, write_tone
from tests.integration.asterisk import audio

STEPS = (
    "the menu is read out",
    "the caller keys 2",
    "music",
    "an announcement",
    "Ada's phone rings",
    "Ada answers",
    "the recording begins",
    "both are on the line",
    "the caller hangs up",
    "All of it happened.",
)


async def test_the_demo_places_a_call_shows_every_step_and_leaves_both_voices_behind(
    asterisk: Instance, tmp_path: Path
):
    folder = tmp_path / "demo"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.asterisk.demo",
        str(folder),
        cwd=demo.TOP,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(100):
            shown, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    told = shown.decode()
    assert process.returncode == 0, told
    at = [told.find(step) for step in STEPS]
    assert -1 not in at, told
    assert at == sorted(at), told
    assert audio.hears(folder / "recording.wav", demo.CALLER_HZ)
    assert audio.hears(folder / "recording.wav", demo.AGENT_HZ)


@pytest.mark.parametrize("hz", [demo.CALLER_HZ, demo.AGENT_HZ])
def test_a_recording_of_one_voice_fails_the_demo(tmp_path: Path, hz: float):
    write_tone(tmp_path / "one.wav", hz=hz, seconds=1)
    with pytest.raises(demo.DemoFailedError, match="MISSING"):
        demo.prove(tmp_path / "one.wav")
