"""What the store tells the moment it happens: channels that agents and lines publish to.

A message may be lost with the connection; whoever listens looks for itself now and then as well.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from router.store.clients import Admin
from router.store.endpoints import StoreUrl, Topology

_CHECK_S: Final = 5.0
_PAUSE_S: Final = 0.5
_log = structlog.get_logger(__name__)


class Announcements:
    """Listens on a connection of its own, made anew whenever it is lost."""

    def __init__(self, url: StoreUrl) -> None:
        self._servers = [url]
        if url.topology is Topology.CLUSTER:  # any node hears everything
            self._servers = [
                msgspec.structs.replace(url, topology=Topology.SINGLE, hosts=(host,))
                for host in url.hosts
            ]

    async def listen(self, channels: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
        """(channel, message), for ever."""
        for url in itertools.cycle(self._servers):
            try:
                async with Admin(url) as admin:
                    async for heard in _listen(admin, channels):
                        yield heard
            except (RedisError, OSError, TimeoutError) as error:
                _end_if_cancelled()
                _log.info("announcements_lost", error=type(error).__name__)
            await asyncio.sleep(_PAUSE_S)


async def _listen(admin: Admin, channels: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
    pubsub: PubSub = admin.client.pubsub()
    try:
        await pubsub.subscribe(*channels)
        _end_if_cancelled()
        is_silent = False
        while True:
            message = await pubsub.get_message(timeout=_CHECK_S)
            _end_if_cancelled()
            if message is None:
                if is_silent:
                    raise TimeoutError  # not even an answer to the ping
                is_silent = True
                await pubsub.ping()
                continue
            is_silent = False
            if message["type"] == "message":
                yield _text(message["channel"]), _text(message["data"])
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py


def _end_if_cancelled() -> None:
    """redis-py may swallow that we are cancelled while it connects."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _text(word: object) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
