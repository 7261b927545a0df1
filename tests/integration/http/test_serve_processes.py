"""The service as processes: workers on one port, restarts, draining, starting without a store."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest

from router.deadline import in_s
from router.settings import HttpSettings, Settings, StoreSettings
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from tests.integration.http.conftest import (
    DEFAULT,
    TENANT,
    known_to_the_file,
    resources,
    settings_in,
    until,
)
from tests.servers import Server

LAUNCH = """
import sys, msgspec
from router.processes.serve import serve
from router.settings import Settings
if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Settings, dec_hook=lambda kind, value: kind(value))
    serve(given, on_ready=lambda url: print(url, flush=True))
"""
BODY = b'{"call_id":1,"external_number":"+12125550142"}'


class Process:
    """`serve` in a process of its own."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        script = folder / "launch.py"
        script.write_text(LAUNCH)
        given = msgspec.json.encode(settings, enc_hook=str).decode()
        root = str(Path(__file__).parents[3])
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [sys.executable, str(script), given],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": root},
            )

    async def url(self) -> str:
        assert self.child.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.child.stdout.readline), 60)
        assert line, self.log.read_text()
        return line.decode().strip()

    def events(self, name: str) -> list[dict[str, object]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if f'"{name}"' in line]

    async def ended(self) -> int:
        return await asyncio.to_thread(self.child.wait, 30)


Launch = Callable[..., Process]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    started: list[Process] = []

    def begin(url: str, *, workers: int = 1, with_file: bool = False) -> Process:
        settings = settings_in(
            tmp_path,
            url,
            store=StoreSettings(url=url),
            http=HttpSettings(port=0, workers=workers, drain_seconds=2),
        )
        if with_file:
            known_to_the_file(settings)
        started.append(Process(tmp_path, settings))
        return started[-1]

    yield begin
    for process in started:
        if process.child.poll() is None:
            process.child.kill()
        process.child.wait(10)
        assert process.child.stdout is not None
        process.child.stdout.close()


async def fill(url: str) -> None:
    async with Links(parse_store_url(url)) as links:
        await links.wait_open(in_s(5))
        store = Resources(links, AgentsAndQueues(Agents(links)))
        for resource in resources():
            await store.put(TENANT, resource, deadline=in_s(5))


async def ask(session: aiohttp.ClientSession, url: str) -> tuple[int, str | None, object]:
    async with session.post(f"{url}/route/main", data=BODY) as got:
        return got.status, got.headers.get("X-Crosspoint-Level"), json.loads(await got.read())


def metrics_files_in(folder: Path) -> set[Path]:
    return set((folder / "data" / "metrics").rglob("*.db"))


async def decisions_counted(session: aiohttp.ClientSession, url: str) -> float:
    async with session.get(f"{url}/metrics") as got:
        lines = (await got.text()).splitlines()
    counts = [line for line in lines if line.startswith("crosspoint_decision_seconds_count")]
    return sum(float(line.rpartition(" ")[2]) for line in counts)


async def test_a_service_that_takes_over_in_one_data_folder_leaves_the_firsts_metrics_alone(
    launch: Launch, redis_url: str, tmp_path: Path
) -> None:
    await fill(redis_url)
    first = launch(redis_url, workers=2)
    url = await first.url()
    async with aiohttp.ClientSession() as session:
        await until(lambda: len(first.events("listening")) == 2, 30)
        assert (await ask(session, url))[0] == 200

        async def is_counted() -> bool:
            return await decisions_counted(session, url) == 1

        await until(is_counted)
        files = metrics_files_in(tmp_path)
        second = launch(redis_url, workers=2)
        other = await second.url()
        assert files < metrics_files_in(tmp_path)
        assert (await decisions_counted(session, url), await decisions_counted(session, other)) == (
            1,
            0,
        )
    second.child.terminate()
    assert await second.ended() == 0
    assert metrics_files_in(tmp_path) == files
    first.child.terminate()
    assert await first.ended() == 0
    assert metrics_files_in(tmp_path) == set()


async def test_two_workers_share_a_port_and_one_that_is_killed_is_started_again(
    launch: Launch, redis_url: str, tmp_path: Path
) -> None:
    await fill(redis_url)
    process = launch(redis_url, workers=2)
    url = await process.url()
    await until(lambda: len(process.events("listening")) == 2, 30)
    pids = {event["pid"] for event in process.events("listening")}
    assert len(pids) == 2
    counted_in = metrics_files_in(tmp_path)
    assert counted_in
    os.kill(int(str(min(pids, key=str))), signal.SIGKILL)
    await until(lambda: len(process.events("listening")) == 3, 30)

    async def is_answered() -> bool:
        async with aiohttp.ClientSession() as session:
            return (await ask(session, url))[:2] == (200, "full")

    await until(is_answered)
    assert len(process.events("process_died")) == 1
    assert metrics_files_in(tmp_path) == counted_in
    process.child.terminate()
    assert await process.ended() == 0


async def test_sigterm_in_the_middle_loses_no_answer(launch: Launch, redis_url: str) -> None:
    await fill(redis_url)
    process = launch(redis_url)
    url = await process.url()
    answered, refused = 0, 0

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal answered, refused
        while not refused:
            try:
                status, _, _ = await ask(session, url)
            except aiohttp.ClientConnectorError:
                refused += 1
                return
            assert status == 200
            answered += 1
            if answered == 300:
                process.child.terminate()

    async with aiohttp.ClientSession() as session:
        await asyncio.wait_for(asyncio.gather(*(client(session) for _ in range(8))), 60)
    assert answered >= 300
    assert await process.ended() == 0
    assert process.events("stopped")


async def test_without_a_store_the_start_is_degraded_and_comes_right_by_itself(
    launch: Launch, new_server: Callable[..., Server]
) -> None:
    server = new_server()
    server.stop()
    process = launch(server.url, with_file=True)
    url = await process.url()
    async with aiohttp.ClientSession() as session:
        got = await ask(session, url)
        assert got[:2] == (200, "full")
        async with session.get(f"{url}/readyz") as ready:
            assert ready.status == 200
            assert "store" in (await ready.json())["data"]["degraded"]
        server.start()

        async def is_well() -> bool:
            async with session.get(f"{url}/readyz") as ready:
                return "store" not in (await ready.json())["data"]["degraded"]

        await until(is_well)
    assert got[2] != DEFAULT
    assert [Path(str(one["file"])).name for one in process.events("secret_made")] == ["tokens"]
