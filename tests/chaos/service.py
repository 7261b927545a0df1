"""The service as its users run it: the command `crosspoint`, real processes, a store of its own."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import jwt

SECRET = "a secret for the chaos tests, long enough"  # 32 characters and more
TOKEN_SECRET = "another secret, for the management API"
BUDGET_MS = 800
START_S = 30.0

RULES = """\
version: 1
country: US
rules:
  - name: blocked
    when: {caller: "+12125559999"}
    then: {end: {message: "No."}}
  - name: crowded
    when: {queue: {support: {waiting: ">100"}}}
    then: {route: {type: department, id: "77"}}
  - name: an agent
    when: {caller: {country: US}}
    then:
      agent:
        queue: support
        skills: {product_a: 20}
        otherwise: {route: {type: department, id: "88"}}
default: {route: {type: department, id: "99"}}
cases:
  - name: the default
    call: {caller: "+4930111222"}
    at: "2026-12-01T10:00:00Z"
    expect: {rule: default}
"""

AGENTS = 900
"""More than the requests of one test, so that every one of them reserves somebody."""
SITE: dict[str, Any] = {
    "version": 1,
    "tenant": "acme",
    "routers": [
        {
            "id": "main",
            "name": "Main",
            "secret": {"env": "CHAOS_ROUTER_SECRET"},
            "rules": "main",
            "default_target": {"type": "department", "id": "1"},
            "budget_ms": BUDGET_MS,
        }
    ],
    "queues": [{"id": "support", "name": "Support", "call_center_id": "8001"}],
    "agents": [
        {
            "id": f"agent{n}",
            "name": f"Agent {n}",
            "user_id": str(3000 + n),
            "skills": {"product_a": 50},
            "queues": {"support": {"skill_level": 50}},
        }
        for n in range(AGENTS)
    ],
}


class Service:
    """One `crosspoint serve`, its settings in a folder of its own."""

    def __init__(self, folder: Path, store_url: str, *, workers: int = 1) -> None:
        self.folder = folder
        self.port = _free_port()
        self.rules = folder / "rules"
        self.rules.mkdir(parents=True)
        (self.rules / "main.yaml").write_text(RULES)
        (folder / "token_secret").write_text(TOKEN_SECRET)
        (folder / "site.yaml").write_text(json.dumps(SITE))
        self.settings = folder / "crosspoint.yaml"
        settings = {
            "http": {"host": "127.0.0.1", "port": self.port, "workers": workers},
            "store": {"url": store_url},
            "data_dir": str(folder / "data"),
            "rules_dir": "rules",
            "site": "site.yaml",
            "tokens": {"secret": {"file": str(folder / "token_secret")}},
            "log": {"level": "warning"},
        }
        self.settings.write_text(json.dumps(settings))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def route(self) -> str:
        return f"{self.url}/route/main"

    async def start(self) -> Self:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
                [sys.executable, "-m", "router", "-c", str(self.settings), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_clean_environment(),
                start_new_session=True,
            )
        await self.until(self._is_alive, "to answer", START_S)
        return self

    async def command(self, *words: str) -> str:
        """Run a command of the CLI to its end; its output. Fails with what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "router", "-c", str(self.settings), *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_clean_environment(),
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode == 0, f"{words}: {out.decode()} {err.decode()}"
        return out.decode()

    async def everybody_on_duty(self) -> None:
        """By the management API, as a supervisor does it."""
        claims = {
            "sub": "chaos",
            "tenant_id": "acme",
            "role": "admin",
            "exp": int(time.time()) + 900,
        }
        token = jwt.encode(claims, TOKEN_SECRET, algorithm="HS256")
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(self.url, headers=headers) as session:
            limit = asyncio.Semaphore(20)

            async def begin(agent: str) -> None:
                async with (
                    limit,
                    session.put(f"/api/v1/agents/{agent}/duty", json={"on": True}) as answer,
                ):
                    assert answer.status == 200, await answer.text()

            await asyncio.gather(*(begin(agent["id"]) for agent in SITE["agents"]))

    async def until_full(self, limit_s: float = START_S) -> None:
        """Wait until a signed request is answered with everything there is."""
        await self.until(lambda: self._level() == "full", "full service", limit_s)

    async def until(self, is_so: Callable[[], bool], what: str, limit_s: float = START_S) -> None:
        try:
            async with asyncio.timeout(limit_s):
                while not await asyncio.to_thread(is_so):
                    assert self.process is None or self.process.poll() is None, self._last_words()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}: {self._last_words()}") from None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, and wait; its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended; its exit code. A second SIGTERM would end it at once."""
        assert self.process is not None
        try:
            return await asyncio.to_thread(self.process.wait, 30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def processes(self) -> list[int]:
        """The service's processes: the one started and its children."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *(int(pid) for pid in children.read_text().split())]

    def rss_mb(self) -> float:
        """Resident memory of all its processes, MB."""
        return sum(_rss_kb(pid) for pid in self.processes()) / 1024

    def _is_alive(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _level(self) -> str:
        claims = {"call_id": os.urandom(6).hex(), "external_number": "+12125550142"}
        body = jwt.encode(claims, SECRET, algorithm="HS256").encode()
        request = urllib.request.Request(self.route, data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return str(answer.headers["X-Crosspoint-Level"])
        except OSError:
            return ""

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _clean_environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("CROSSPOINT")}
    return {**own, "CHAOS_ROUTER_SECRET": SECRET}


def _rss_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
