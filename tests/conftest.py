"""Fixtures that every test may ask for: real Redis or Valkey servers.

`redis_url` is the usual one: a flushed server on a Unix socket. A test that pauses, kills or
configures its server takes `new_server`; one that must hold on both kinds takes `server_kind`.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import structlog
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import tables
from tests.servers import Server, ServerKind, any_server, require_server

settings.register_profile("no_stopwatch", deadline=None)  # a machine may be busy with other things
settings.load_profile("no_stopwatch")


ONE_AFTER_THE_OTHER = ("tests/chaos/", "tests/integration/asterisk/")
"""Tests that measure time or need a PBX: where tests run in two processes, one of them has them all."""


class _Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        is_alone = nodeid.startswith(ONE_AFTER_THE_OTHER)
        return "one after the other" if is_alone else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, rows in tables.of(terminalreporter).items():
        terminalreporter.section(title)
        for row in rows:
            terminalreporter.write_line(row)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command run in this process sets up logs for itself: not for the tests after it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[str]:
    """URL of the session's server: TEST_REDIS_URL if set, else one of our own. Never flushed here."""
    if url := os.environ.get("TEST_REDIS_URL"):
        yield url
        return
    server = Server(any_server())
    try:
        yield server.start().url
    finally:
        server.remove()


@pytest.fixture
def redis_url(shared_redis: str) -> str:
    """URL of a real, empty server (FLUSHALL before the test)."""
    with redis.Redis.from_url(shared_redis, socket_timeout=5) as client:
        client.flushall()
    return shared_redis


@pytest.fixture(params=list(ServerKind))
def server_kind(request: pytest.FixtureRequest) -> Path:
    """The binary of each kind of server in turn: Redis, Valkey."""
    return require_server(request.param)


@pytest.fixture
def new_server() -> Iterator[Callable[..., Server]]:
    """Start servers of the test's own: `new_server(*options, binary=..., port=...)`."""
    started: list[Server] = []

    def start(*options: str, binary: Path | None = None, port: int = 0, **more: bool) -> Server:
        server = Server(binary or any_server(), *options, port=port, **more)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.remove()
