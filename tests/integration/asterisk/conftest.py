"""A real Asterisk for the whole run, and a connection to it with the least-privileged user."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from deploy.asterisk.instance import TREE, Instance, free_ports, free_udp_port
from pbx.ami import agi, events
from pbx.ami.client import Client
from pbx.ami.settings import AmiSettings
from pbx.ami.values import ChannelName, UniqueId
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import move
from tests.integration.asterisk.whole_calls import end_calls, new_world

E = TypeVar("E", bound=events.Event)
MISSING = "no Asterisk: run deploy/asterisk/fetch.sh once (no root needed, about 80 MB)"
PHONES = dict.fromkeys(("6001", "6002", "6003", "6004"), 0)
"""Where they are in this test; the last is nowhere until it registers."""
OWN_PHONES = {name: free_udp_port() for name in ("6001", "6002")}


@pytest.fixture(scope="session")
def asterisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    if not (TREE / "packages").exists():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("asterisk")
    with Instance(folder=folder, ports=free_ports(), phones=dict.fromkeys(PHONES, 0)) as instance:
        yield instance


@pytest.fixture(autouse=True)
def nobody_is_at_work(request: pytest.FixtureRequest) -> None:
    """The controllers of the test before have gone for good, and nothing is sent to its phones."""
    if "asterisk" in request.fixturenames:
        asterisk = request.getfixturevalue("asterisk")
        asterisk.forget_controller()
        move(asterisk, PHONES, ("6001", "6002", "6003"))


@pytest.fixture
def own_asterisk(asterisk: Instance, tmp_path: Path) -> Iterator[Instance]:
    """One that a test may hurt; `asterisk` is asked for because it knows whether there is any."""
    folder = tmp_path / "own"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "ami.pem"))
    with Instance(
        folder=folder, ports=free_ports(), phones=OWN_PHONES, tls_file=folder / "ami.pem"
    ) as instance:
        yield instance


class Pbx:
    """A client, and everything it reported, to be waited for in order."""

    def __init__(self, asterisk: Instance, **changes: object) -> None:
        settings = {"port": asterisk.ports.ami, "secret": asterisk.secret} | changes
        self.client = Client(AmiSettings(**settings), on_event=self._take)  # type: ignore[arg-type]  # keywords
        self.events: list[events.Event] = []
        self._arrived = asyncio.Event()

    def _take(self, event: events.Event) -> None:
        self.events.append(event)
        self._arrived.set()

    async def until(
        self, kind: type[E], is_it: Callable[[E], bool] = lambda _: True, *, limit_s: float = 15
    ) -> E:
        """The first event of that kind that fits, seen already or still to come."""
        async with asyncio.timeout(limit_s):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and is_it(event):
                        return event
                self._arrived.clear()
                await self._arrived.wait()

    async def run(
        self, channel: ChannelName | UniqueId, command: agi.AgiCommand, *, limit_s: float = 15
    ) -> agi.AgiResult:
        return await self.client.agi(channel, command, self.in_s(limit_s))

    async def call_arrives(self, number: str) -> events.AgiStarted:
        return await self.until(events.AgiStarted, lambda event: event.caller_id_num == number)

    def in_s(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds


@pytest.fixture
async def pbx(asterisk: Instance) -> AsyncIterator[Pbx]:
    one = Pbx(asterisk)
    task = asyncio.create_task(one.client.run())
    await one.client.wait_ready(one.in_s(10))
    yield one
    await one.client.close()
    await task


@pytest.fixture
async def own_pbx(own_asterisk: Instance) -> AsyncIterator[Pbx]:
    one = Pbx(own_asterisk, ping_every_s=0.2, ping_limit_s=0.5, longest_pause_s=0.3)
    task = asyncio.create_task(one.client.run())
    await one.client.wait_ready(one.in_s(10))
    yield one
    await one.client.close()
    await task


@pytest.fixture
def world(asterisk: Instance) -> Iterator[World]:
    """Afterwards no channel is left, so that a test that failed fails alone."""
    yield new_world(asterisk)
    end_calls(asterisk)


@pytest.fixture
def phones_folder(tmp_path: Path) -> Path:
    return tmp_path / "phones"
