"""`crosspoint up` with an Asterisk in its settings takes calls in a process beside it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

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


async def test_a_call_is_taken_by_the_process_beside_the_service(
    asterisk: Instance, tmp_path: Path, phones_folder: Path
):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "main.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text(SITE)
    settings = SETTINGS.format(
        port=free_port(), ami=asterisk.ports.ami, spool=asterisk.recordings, sounds=asterisk.sounds
    )
    (tmp_path / "crosspoint.yaml").write_text(settings)
    command = [sys.executable, "-m", "router", "-c", str(tmp_path / "crosspoint.yaml"), "up"]
    environment = {**os.environ, "AMI_SECRET": asterisk.secret, "PYTHONPATH": str(REPO)}
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here yet
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        await asyncio.to_thread(_until, process, "reconciled")
        async with caller(asterisk, phones_folder, called="100") as customer:
            await customer.ended()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0
        assert process.stderr is not None
        process.stderr.close()


def _until(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError("it ended before")
