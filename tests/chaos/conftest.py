"""A service under load for each fault, and one table of what became of every request."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import tables
from tests.chaos.load import Fault, Load, Outcome
from tests.chaos.service import BUDGET_MS, SECRET, Service
from tests.servers import Proxy, Server, any_server

RATE = 100.0
"""Requests a second: enough that some are in every state when a fault comes."""
BEFORE_S, AFTER_S = 0.7, 2.5
LONGEST_RSS_MB = 600.0

TABLE = "what was injected: requests, answered, in budget, degraded, slowest, full after, memory"


def _row(one: Outcome) -> str:
    return (
        f"{one.fault.name:<50}{len(one.samples):>5}{one.answered:>5}{one.in_budget:>5}"
        f"{one.degraded:>5}{one.slowest_s * 1000:>7.0f} ms{one.back_after_s:>7.2f} s"
        f"{one.service_rss_mb:>5.0f} MB"
    )


@pytest.fixture
def store(tmp_path: Path):
    server = Server(any_server(), memory=False, port=0).start()
    yield server
    server.resume()
    server.stop()
    server.remove()


class Chaos:
    """A service under load; `fault` surrounds what is done to it."""

    def __init__(self, service: Service, test: pytest.Item) -> None:
        self.service = service
        self._test = test

    @contextlib.asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[Load]:
        """The load runs before, during and after the block; the fault ends with it."""
        load = Load(self.service.route, SECRET, rate=RATE, budget_s=BUDGET_MS / 1000)
        fault = Fault(name)
        async with load.running():
            await asyncio.sleep(BEFORE_S)
            fault.began_at = time.monotonic()
            yield load
            fault.ended_at = time.monotonic()
            await asyncio.sleep(AFTER_S)
        outcome = Outcome(fault, load.budget_s, load.samples)
        if self.service.process is not None and self.service.process.poll() is None:
            outcome.service_rss_mb = self.service.rss_mb()
        tables.write(self._test, TABLE, _row(outcome))
        self.outcome = outcome


def assert_all_well(chaos: Chaos, *, back_within_s: float = 2.0) -> None:
    """Every authenticated request got a valid decision in its budget, and full service is back."""
    outcome = chaos.outcome
    bad = [s for s in outcome.samples if s.status != 200 or not s.valid]
    assert not bad, f"{len(bad)} of {len(outcome.samples)} not answered: {bad[:3]}"
    late = [s for s in outcome.samples if s.took_s > outcome.budget_s]
    assert not late, f"{len(late)} of {len(outcome.samples)} late: {late[:3]}"
    assert outcome.back_after_s <= back_within_s, f"full only {outcome.back_after_s:.2f} s after"
    assert outcome.service_rss_mb < LONGEST_RSS_MB


@contextlib.asynccontextmanager
async def started(folder: Path, store_url: str, *, workers: int = 1) -> AsyncIterator[Service]:
    """The service on this store, its site applied, everybody on duty."""
    service = Service(folder, store_url, workers=workers)
    await service.command("apply", str(service.folder / "site.yaml"))
    await service.start()
    try:
        await service.everybody_on_duty()
        await service.until_full()
        yield service
    finally:
        await service.stop()


@pytest.fixture
async def chaos(
    tmp_path: Path, store: Server, request: pytest.FixtureRequest
) -> AsyncIterator[Chaos]:
    """One worker on a store of its own."""
    async with started(tmp_path / "service", store.url) as service:
        yield Chaos(service, request.node)


@pytest.fixture
async def chaos_of_two(
    tmp_path: Path, store: Server, request: pytest.FixtureRequest
) -> AsyncIterator[Chaos]:
    """Two workers on one port."""
    async with started(tmp_path / "service", store.url, workers=2) as service:
        yield Chaos(service, request.node)


@pytest.fixture
async def proxied(
    tmp_path: Path, store: Server, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Chaos, Proxy]]:
    """A service that reaches its store through a proxy that can be slow or cut."""
    async with Proxy(store.socket) as proxy:
        async with started(tmp_path / "service", proxy.url) as service:
            yield Chaos(service, request.node), proxy
