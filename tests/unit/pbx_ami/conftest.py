"""A client towards the fake AMI server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pbx.ami.client import Client
from pbx.ami.settings import AmiSettings
from tests.unit.pbx_ami.fake_ami import SECRET, Connect, FakeAmi, Seen, soon


@pytest.fixture
async def server() -> AsyncIterator[FakeAmi]:
    fake = FakeAmi()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def connect(server: FakeAmi, seen: Seen) -> AsyncIterator[Connect]:
    """Start a client towards the fake; settings as keywords; `is_ready=False` does not wait."""
    running: list[tuple[Client, asyncio.Task[None]]] = []

    async def start(*, is_ready: bool = True, **changes: object) -> Client:
        quick = {"first_pause_s": 0.01, "longest_pause_s": 0.05, "secret": SECRET}
        settings = AmiSettings(port=server.port, **(quick | changes))  # type: ignore[arg-type]  # keywords
        client = Client(settings, on_event=seen.event, on_state=seen.state)
        running.append((client, asyncio.create_task(client.run())))
        if is_ready:
            await client.wait_ready(soon())
        return client

    yield start
    for client, task in running:
        await client.close()
        async with asyncio.timeout(5):
            await task
