"""Links to real servers, on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from router.deadline import in_s
from router.store.endpoints import parse_store_url, resolver
from router.store.link import RedisLink
from tests.servers import OpenLink, Server


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops: their order of timers and reads differs."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[RedisLink]:
    read = parse_store_url(url)
    async with RedisLink(resolver(read), read.credentials) as link:
        await link.wait_open(in_s(5))
        yield link


@pytest.fixture
def open_link() -> OpenLink:
    """A link that is open already: `async with open_link(url) as link`."""
    return _opened


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    """An open link to the shared server."""
    async with _opened(redis_url) as opened:
        yield opened


@pytest.fixture
def server(new_server: Callable[..., Server], server_kind: Path) -> Server:
    """A server of the test's own, of each kind in turn."""
    return new_server(binary=server_kind)
