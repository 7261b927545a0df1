"""What is measured: servers as processes of their own, each pinned to the core under test."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.deadline import in_s
from router.site.resources import AgentConfig, Membership
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from rules.requirements import Requirement
from tests.bench import calls
from tests.servers import free_port

LEASE_MS = 500
START_S = 60.0
_AT_ONCE = 64
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A command on certain cores that listens on a port."""

    def __init__(self, port: int, arguments: list[str], cores: set[int], log: Path) -> None:
        self.port = port
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=_clean_environment(),
                preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 - one call
            )

    def wait_listening(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise SystemExit(f"a server did not start: {self._log.read_text()[-2000:]}")

    def cpu_s(self) -> float:
        """User and system time so far, of the process and its children."""
        return sum(cpu_s_of(pid) for pid in [self._process.pid, *_children(self._process.pid)])

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Service(Process):
    """Crosspoint as its users start it, with three routers and an external store."""

    def __init__(self, folder: Path, store_url: str, cores: set[int], *, workers: int = 1) -> None:
        folder.mkdir(parents=True)
        rules = {
            "static": calls.static_rules(),
            "calendar": calls.long_rules(calls.ROUTE),
            "full": calls.long_rules(calls.AGENT),
        }
        (folder / "rules").mkdir()
        for name, document in rules.items():
            (folder / "rules" / f"{name}.yaml").write_text(calls.as_yaml(document))
        (folder / "data" / "secrets").mkdir(parents=True)
        (folder / "data" / "secrets" / "full").write_text(calls.SECRET)
        (folder / "site.yaml").write_text(calls.as_yaml(calls.site()))
        port = free_port()
        settings = {
            "http": {"host": "127.0.0.1", "port": port, "workers": workers},
            "store": {"url": store_url},
            "data_dir": str(folder / "data"),
            "rules_dir": "rules",
            "site": "site.yaml",
            "agents": {"lease_ms": LEASE_MS},
            "log": {"level": "warning"},
        }
        (folder / "crosspoint.yaml").write_text(json.dumps(settings))
        self._run("apply", str(folder / "site.yaml"), config=folder / "crosspoint.yaml")
        arguments = ["-m", "router", "-c", str(folder / "crosspoint.yaml"), "serve"]
        super().__init__(port, arguments, cores, folder / "log")

    def _run(self, *words: str, config: Path) -> None:
        arguments = [sys.executable, "-m", "router", "-c", str(config), *words]
        done = subprocess.run(arguments, env=_clean_environment(), capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"crosspoint {words[0]} failed: {done.stderr.decode()[-2000:]}")

    def dropped(self) -> int:
        """What was dropped after the answer, by its own account."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        name = "crosspoint_after_answer_dropped_total{"
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cp-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def python_module(name: str, cores: set[int], log: Path, *arguments: str) -> Process:
    """A server that is a module of the bench: its port comes first."""
    port = free_port()
    return Process(port, ["-m", f"tests.bench.{name}", str(port), *arguments], cores, log)


async def put_agents(store_url: str, count: int = calls.AGENTS) -> None:
    """Have that many agents on duty in the queue `support`. The queue is there already."""
    async with Links(parse_store_url(store_url)) as links:
        await links.wait_open(in_s(10))
        agents = Agents(links)
        resources = Resources(links, AgentsAndQueues(agents))
        await agents.register(calls.TENANT, Requirement("support"), in_s(10))
        numbers = iter(range(count))
        await asyncio.gather(*(_put(numbers, agents, resources) for _ in range(_AT_ONCE)))


async def _put(numbers: Iterator[int], agents: Agents, resources: Resources) -> None:
    for number in numbers:
        agent = AgentConfig(
            id=f"agent{number}",
            name=f"Agent {number}",
            user_id=str(10_000 + number),
            queues={"support": Membership(skill_level=50)},
        )
        await agents.put(
            calls.TENANT, agent.id, queues={}, skills={}, on_duty=True, deadline=in_s(30)
        )
        await resources.put(calls.TENANT, agent, deadline=in_s(30))


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def cpu_s_of(pid: int) -> float:
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _clean_environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CROSSPOINT")}
