"""`crosspoint up` with an Asterisk in its settings takes calls in a process beside it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from deploy.asterisk.instance import Instance
from tests.integration.asterisk.phones import caller
from tests.servers import free_port

REPO = Path(__file__).resolve().parents[3]
SETTINGS = """
http: {{port: {port}}}
data_dir: data
rules_dir: rules
site: site.yaml
pbx:
  tenant: acme
  port: {ami}
  country: US
  default_router: main
  secret: {{env: AMI_SECRET}}
  spool_dir: {spool}
  speech_dir: {sounds}
"""
SITE = """
version: 1
tenant: acme
routers: [{id: main, name: Main, rules: main, default_target: {type: user, id: "1"}}]
"""
RULES = """
version: 1
rules: [{name: all, when: {}, then: {end: {message: "Goodbye."}}}]
default: {end: {}}
"""


Start = Callable[..., tuple[str, Path]]


@pytest.fixture
async def start(asterisk: Instance, tmp_path: Path) -> AsyncIterator[Start]:
    """`crosspoint up`: its URL, and the file that its log goes to."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "main.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text(SITE)
    log = tmp_path / "log"
    processes: list[subprocess.Popen[bytes]] = []

    def up(**environment: str) -> tuple[str, Path]:
        port = free_port()
        settings = SETTINGS.format(
            port=port, ami=asterisk.ports.ami, spool=asterisk.recordings, sounds=asterisk.sounds
        )
        (tmp_path / "crosspoint.yaml").write_text(settings)
        command = [sys.executable, "-m", "router", "-c", str(tmp_path / "crosspoint.yaml"), "up"]
        variables = {"AMI_SECRET": asterisk.secret, "PYTHONPATH": str(REPO), **environment}
        with log.open("wb") as stderr:
            processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **variables},
                    stderr=stderr,
                    stdout=subprocess.DEVNULL,
                )
            )
        return f"http://127.0.0.1:{port}", log

    yield up
    for process in processes:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0


async def said(log: Path, word: str, limit_s: float = 25) -> str:
    """The line of the log that holds this word, once there is one."""
    async with asyncio.timeout(limit_s):
        while not (found := lines_with(log, word)):
            await asyncio.sleep(0.02)
    return found[0]


def lines_with(log: Path, word: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if word in line]


async def pbx_part(url: str, *, is_well: bool, limit_s: float = 15) -> str | None:
    """What /readyz says of the PBX, once it is well, or not."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(limit_s):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get(f"{url}/readyz") as response:
                    state = (await response.json())["data"]
                (part,) = [one for one in state["parts"] if one["name"] == "pbx"]
                assert state["ready"]
                assert ("pbx" in state["degraded"]) is not part["is_well"]
                if part["is_well"] is is_well and part.get("detail") != "not known yet":
                    return part.get("detail")
            await asyncio.sleep(0.1)


async def metric(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


async def test_a_call_is_taken_by_the_process_beside_the_service(
    asterisk: Instance, start: Start, phones_folder: Path
):
    url, log = start()
    await said(log, "reconciled")
    async with caller(asterisk, phones_folder, called="100") as customer:
        await customer.ended()
    assert await pbx_part(url, is_well=True) is None
    assert await metric(url, "crosspoint_pbx_ready") == 1


async def test_a_login_that_is_refused_is_told_wherever_one_looks(start: Start):
    url, log = start(AMI_SECRET="x" * 32)
    await said(log, "ami_login_refused")
    async with asyncio.timeout(15):
        while await pbx_part(url, is_well=False) != "Asterisk refuses the login":
            await asyncio.sleep(0.1)
    assert await metric(url, "crosspoint_pbx_ready") == 0


async def test_a_secret_that_is_too_short_is_named_and_the_service_goes_on(start: Start):
    url, log = start(AMI_SECRET="short")
    line = await said(log, "pbx_not_started")
    assert "pbx.secret: " in line
    assert "32" in line
    assert await pbx_part(url, is_well=False) == "no controller"
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("changes", "secret", "wrong"),
    [
        ({}, None, None),
        ({}, "x" * 32, "refuses the login"),
        ({}, "short", "pbx.secret: "),
        (
            {"tenant: acme\n  port: ": "tenant: acme\n  host: 127.9.9.9\n  port: "},
            None,
            "does not answer",
        ),
        ({"  tenant: acme": "  tenant: corp"}, None, "'corp', but the site is 'acme'"),
        ({"spool_dir: ": "spool_dir: /nowhere"}, None, "is not there"),
        ({"  spool_dir: ": "  sounds_dir: /nowhere\n  spool_dir: "}, None, "is not there"),
        ({"pbx:\n": "recordings_dir: /dev/null/x\npbx:\n"}, None, "cannot be written"),
    ],
)
async def test_the_doctor_looks_at_asterisk(
    asterisk: Instance,
    start: Start,
    tmp_path: Path,
    changes: dict[str, str],
    secret: str | None,
    wrong: str | None,
):
    settings = SETTINGS.format(
        port=free_port(), ami=asterisk.ports.ami, spool=asterisk.recordings, sounds=asterisk.sounds
    )
    for before, after in changes.items():
        assert before in settings
        settings = settings.replace(before, after)
    (tmp_path / "crosspoint.yaml").write_text(settings)
    command = ("-m", "router", "-c", str(tmp_path / "crosspoint.yaml"), "doctor", "--json")
    variables = {"AMI_SECRET": secret or asterisk.secret, "PYTHONPATH": str(REPO)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        printed, _ = await process.communicate()
    of_the_pbx = [
        one for one in json.loads(printed) if one["what"].startswith(("pbx.", "Asterisk ", "rec"))
    ]
    assert len(of_the_pbx) == 4 + ("corp" in settings) + ("sounds_dir" in settings)
    todo = [one["found"] for one in of_the_pbx if one["todo"]]
    if wrong is None:
        assert todo == []
    else:
        (found,) = todo
        assert wrong in found
