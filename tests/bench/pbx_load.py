"""Many SIP callers and phones at once, and the processes whose time is measured."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from deploy.asterisk.instance import TREE, Instance
from tests.integration.asterisk.capture import Part, write_capture
from tests.integration.asterisk.phones import SCENARIOS

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


async def call_in(
    asterisk: Instance,
    folder: Path,
    *,
    called: str,
    rate: float,
    calls: int,
    lasts_ms: int,
    says: Sequence[Part],
) -> None:
    """`calls` callers, `rate` a second; returns when the last has hung up. Unhappy ones do not raise."""
    says_file = write_capture(folder / "says.pcap", says) if says else None
    play = f'play_pcap_audio="{says_file}"' if says_file else None
    values = {"CALLER": "+1212555[call_number]", "CALLER_NAME": "", "HOLD_MS": lasts_ms}
    scenario = _scenario("caller_hangs_up", values, play, folder)
    more = ["-s", called, "-r", f"{max(1, round(rate * 10))}", "-rp", "10000", "-m", str(calls)]
    more += ["-l", "3000", "-timeout", f"{calls / rate + lasts_ms / 1000 + 15:.0f}s"]
    process = await _sipp(scenario, [f"127.0.0.1:{asterisk.ports.sip}", *more], rtp=40_000)
    try:
        await process.wait()
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def phones(folder: Path, port: int, *, talk_ms: int | None = None) -> AsyncIterator[None]:
    """Phones that answer at once, however many calls come; all on one port. `talk_ms`: then they hang up."""
    name = "phone_answers" if talk_ms is None else "phone_hangs_up"
    scenario = _scenario(name, {"RING_MS": 50, "HOLD_MS": talk_ms}, None, folder)
    process = await _sipp(scenario, ["-p", str(port)], rtp=50_000)
    try:
        yield
    finally:
        await _end(process)


def controlling(
    asterisk: Instance, agents: Sequence[str], _folder: Path
) -> AbstractAsyncContextManager[int]:
    """A controller with these agents and the outside in memory; its process id."""
    folders = (str(asterisk.sounds), str(asterisk.recordings))
    return running("tests.bench.pbx_controller", asterisk, *folders, *agents)


@contextlib.asynccontextmanager
async def running(module: str, asterisk: Instance, *arguments: str) -> AsyncIterator[int]:
    """A controller as a script: the AMI's port first, the secret on standard input; its process id when ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        str(asterisk.ports.ami),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{asterisk.secret}\n".encode())
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        await _end(process)


def cpu_s(pid: int) -> float:
    """CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def _scenario(name: str, values: dict[str, object], play: str | None, folder: Path) -> Path:
    text = (SCENARIOS / f"{name}.xml").read_text()
    if play is None:
        text = re.sub(r"<nop>.*?</nop>", "", text, flags=re.DOTALL)
    for key, value in (values | {"PLAY": play, "PATIENCE_MS": 120_000}).items():
        text = text.replace(f"@{key}@", str(value))
    path = folder / f"{name}.xml"
    path.write_text(text)
    return path


async def _sipp(scenario: Path, more: Sequence[str], *, rtp: int) -> asyncio.subprocess.Process:
    arguments = ["sipp", *more, "-sf", str(scenario), "-i", "127.0.0.1", "-mi", "127.0.0.1"]
    arguments += ["-nostdin", "-min_rtp_port", str(rtp), "-max_rtp_port", str(rtp + 9000)]
    return await asyncio.create_subprocess_exec(
        str(TREE / "run"),
        *arguments,
        cwd=scenario.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
