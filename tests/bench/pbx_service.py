"""The real `crosspoint pbx` on a Redis of its own, with as many agents on duty as a load wants."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from deploy.asterisk.instance import Instance
from router.deadline import in_s
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from tests.bench.pbx_load import running
from tests.servers import Server, any_server

REPO = Path(__file__).resolve().parents[2]
TENANT = "acme"
START_S = 25.0
SETTINGS = """\
data_dir: data
rules_dir: rules
site: site.yaml
store: {{url: "{store}"}}
pbx:
  tenant: acme
  port: {ami}
  country: US
  default_router: main
  secret: {{env: AMI_SECRET}}
  spool_dir: {spool}
  speech_dir: {sounds}/spoken
  speech_command: [sh, -c, "grep -q Two && exec cat {sounds}/menu.wav; exec cat {sounds}/short.wav"]
"""
SITE = """\
version: 1
tenant: acme
routers:
  - {{id: main, name: Main, rules: main, default_target: {{type: user, id: "1"}}}}
queues:
  - id: support
    name: Support
    ring_seconds: 15
    wrap_up_seconds: 0
    hold_queue: {{announce_position: false, announce_estimated_wait_time: false}}
    recording: {{inbound: true, announce: false}}
agents:
{agents}
"""
AGENT = "  - {{id: {id}, name: {id}, endpoint: PJSIP/{id}, queues: {{support: {{}}}}}}"
RULES = """\
version: 1
rules:
  - name: all
    when: {}
    then:
      menu:
        name: main
        prompt: Two for support.
        choices: {"2": {queue: support}}
        otherwise: {queue: support}
        timeout: 5s
        tries: 9
default: {end: {}}
"""


@contextlib.asynccontextmanager
async def serving(asterisk: Instance, agents: Sequence[str], folder: Path) -> AsyncIterator[int]:
    """`crosspoint pbx` in charge of the Asterisk, these agents waiting for calls; its process id."""
    server = Server(any_server()).start()
    try:
        _write(asterisk, agents, folder, server.url)
        environment = {**os.environ, "AMI_SECRET": asterisk.secret, "PYTHONPATH": str(REPO)}
        log = folder / "log"
        applied = await _crosspoint("apply", folder, environment, folder / "apply.log")
        async with asyncio.timeout(START_S):
            assert await applied.wait() == 0, (folder / "apply.log").read_text()
        await _on_duty(agents, server.url)
        process = await _crosspoint("pbx", folder, environment, log)
        try:
            async with asyncio.timeout(START_S):
                while "reconciled" not in log.read_text():
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.05)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    finally:
        server.remove()


@contextlib.asynccontextmanager
async def serving_as_usual(
    asterisk: Instance, agents: Sequence[str], _folder: Path
) -> AsyncIterator[int]:
    """The script of `pbx_usual_way` in charge, with a Redis as ours has; its process id."""
    server = Server(any_server()).start()
    folders = (str(asterisk.sounds), str(asterisk.recordings))
    try:
        script = running("tests.bench.pbx_usual_way", asterisk, server.url, *folders, *agents)
        async with script as pid:
            yield pid
    finally:
        server.remove()


def _write(asterisk: Instance, agents: Sequence[str], folder: Path, store: str) -> None:
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "main.yaml").write_text(RULES)
    listed = "\n".join(AGENT.format(id=agent) for agent in agents)
    (folder / "site.yaml").write_text(SITE.format(agents=listed or "  []"))
    settings = SETTINGS.format(
        store=store, ami=asterisk.ports.ami, spool=asterisk.recordings, sounds=asterisk.sounds
    )
    (folder / "crosspoint.yaml").write_text(settings)


async def _on_duty(agents: Sequence[str], store: str) -> None:
    async with Links(parse_store_url(store)) as links:
        await links.wait_open(in_s(5))
        known = Agents(links)
        for agent in agents:
            await known.set_duty(TENANT, agent, on=True, deadline=in_s(5))


async def _crosspoint(
    command: str, folder: Path, environment: dict[str, str], log: Path
) -> asyncio.subprocess.Process:
    arguments = ("-m", "router", "-c", str(folder / "crosspoint.yaml"), command)
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
        )
