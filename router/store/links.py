"""Which link leads to a tenant's keys: the only one, or in a cluster the one to the slot's primary.

In a cluster one task keeps the map of slots: at the start, when a reply or a lost connection shows
that it is stale, and every ten seconds. There is one link per primary; a lookup never waits.
"""

import asyncio
import contextlib
import ssl
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Self

import msgspec
import structlog
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from router.deadline import Deadline
from router.errors import StoreDownError
from router.store.endpoints import (
    StoreUrl,
    Topology,
    no_retry,
    resolver,
    tls_arguments,
    tls_context,
)
from router.store.link import Endpoint, Link, LinkStats, OnLate, RedisLink, Reply
from router.store.wire import Growing, Receiver, Word, fail, failed
from router.tasks import end

_REFRESH_S: Final = 10.0
_SOONEST_S: Final = 0.05
_ASK_S: Final = 0.3
_MOST_NODES: Final = 256
_MOST_REMEMBERED: Final = 4096
_NO_SERVER: Final = "no server of the cluster is known for this key"

_log = structlog.get_logger(__name__)

Address = tuple[str, int]


class Links:
    """All fast links of this process; `start` them, `close` them."""

    def __init__(self, url: StoreUrl) -> None:
        self._single: RedisLink | None = None
        self._cluster: _Cluster | None = None
        if url.topology is Topology.CLUSTER:
            self._cluster = _Cluster(url)
        else:
            self._single = RedisLink(resolver(url), url.credentials)

    def link_for(self, tenant: str) -> Link:
        """The link to the server that holds this tenant's keys; may be down, never waits."""
        if self._single is not None:
            return self._single
        return self.link_for_key(f"cp:{{{tenant}}}:")

    def link_for_key(self, key: str) -> Link:
        """The link to the server that holds this key."""
        if self._single is not None:
            return self._single
        assert self._cluster is not None  # noqa: S101 - one of the two is there
        return self._cluster.link_for_key(key)

    @property
    def is_open(self) -> bool:
        """Whether every link is open."""
        stats = self.stats
        return bool(stats) and all(one.is_open for one in stats)

    @property
    def stats(self) -> tuple[LinkStats, ...]:
        """Figures of each link."""
        if self._single is not None:
            return (self._single.stats,)
        return self._cluster.stats if self._cluster is not None else ()

    @property
    def connects(self) -> int:
        """How many connections of the present links have been made."""
        return sum(one.connects for one in self.stats)

    def start(self) -> Self:
        """Begin to connect; returns at once."""
        if self._single is not None:
            self._single.start()
        if self._cluster is not None:
            self._cluster.start()
        return self

    async def wait_open(self, deadline: Deadline) -> None:
        """Wait until all links are open; `StoreDownError` with the reason if they are not in time."""
        if self._single is not None:
            await self._single.wait_open(deadline)
        if self._cluster is not None:
            await self._cluster.wait_open(deadline)

    async def close(self) -> None:
        """Drain and close every link."""
        if self._single is not None:
            await self._single.close()
        if self._cluster is not None:
            await self._cluster.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _SlotMap(msgspec.Struct, frozen=True):
    """Ranges of slots by their first one, each with its last one and its primary."""

    firsts: tuple[int, ...] = ()
    ranges: tuple[tuple[int, Address], ...] = ()

    def primary_of(self, slot: int) -> Address | None:
        at = bisect_right(self.firsts, slot) - 1
        if at < 0:
            return None
        last, address = self.ranges[at]
        return address if slot <= last else None


class _DownLink:
    """Stands for a slot that no server is known for."""

    is_open = False

    def call(
        self,
        *words: Word,  # noqa: ARG002 - nothing is sent
        deadline: Deadline,
        on_late: OnLate | None = None,
    ) -> asyncio.Future[Reply]:
        return self.send(b"", deadline, on_late)

    def send(
        self,
        command: bytes,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
        on_late: OnLate | None = None,  # noqa: ARG002
    ) -> asyncio.Future[Reply]:
        return failed(asyncio.get_running_loop(), StoreDownError(_NO_SERVER))

    def send_for(
        self,
        receiver: Receiver,
        command: bytes | Growing,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
        on_late: OnLate | None,  # noqa: ARG002
        size: int,  # noqa: ARG002
    ) -> None:
        fail(receiver, StoreDownError(_NO_SERVER))

    def flush(self) -> None:
        """Nothing was sent."""

    def redis_deadline_ms(self, deadline: Deadline) -> int:  # noqa: ARG002
        return 0


_DOWN: Final = _DownLink()


class _Cluster:
    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._tls = tls_context(url.tls)
        self._map = _SlotMap()
        self._nodes: list[Address] = list(url.hosts)
        self._links: dict[Address, RedisLink] = {}
        self._remembered: dict[str, Link] = {}
        self._stale = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def stats(self) -> tuple[LinkStats, ...]:
        return tuple(link.stats for link in self._links.values())

    def link_for_key(self, key: str) -> Link:
        if (link := self._remembered.get(key)) is not None:
            return link
        address = self._map.primary_of(key_slot(key.encode()))
        if address is None or (found := self._links.get(address)) is None:
            return _DOWN
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = found
        return found

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="slot-map")

    async def wait_open(self, deadline: Deadline) -> None:
        while not (self._links and self._map.firsts):
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                raise StoreDownError("no node of the cluster answers") from None
        for link in list(self._links.values()):
            await link.wait_open(deadline)

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
            self._task = None
        await _close_all(self._links.values())
        self._links.clear()
        self._remembered.clear()

    async def _run(self) -> None:
        while True:
            self._stale.clear()
            if (found := await self._ask()) is not None:
                await self._apply(*found)
            await asyncio.sleep(_SOONEST_S)
            if self._links:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH_S):
                        await self._stale.wait()

    async def _ask(self) -> tuple[_SlotMap, list[Address]] | None:
        """The map as the first node that answers knows it."""
        live = {address for address, link in self._links.items() if link.is_open}
        for node in sorted(self._nodes, key=lambda node: node not in live):
            try:
                async with asyncio.timeout(3 * _ASK_S):
                    slots = await _cluster_slots(self._url, node)
                return _read_slots(slots, asked=node)
            except (RedisError, OSError, TimeoutError, ValueError, LookupError, TypeError):
                continue
        _log.warning("store.no_cluster_node")
        return None

    async def _apply(self, slot_map: _SlotMap, nodes: list[Address]) -> None:
        primaries = {address for _, address in slot_map.ranges}
        for address in primaries - self._links.keys():
            link = RedisLink(
                _fixed(address, self._tls), self._url.credentials, on_trouble=self._stale.set
            )
            self._links[address] = link.start()
        gone = [self._links.pop(address) for address in self._links.keys() - primaries]
        self._map = slot_map
        self._remembered.clear()
        seeds = [host for host in self._url.hosts if host not in nodes]
        self._nodes = (nodes + seeds)[:_MOST_NODES]
        self._changed.set()
        await _close_all(gone)


async def _cluster_slots(url: StoreUrl, node: Address) -> object:
    host, port = node
    client = Redis(
        host=host,
        port=port,
        username=url.credentials.username,
        password=url.credentials.password,
        socket_timeout=_ASK_S,
        socket_connect_timeout=_ASK_S,
        retry=no_retry(),
        protocol=2,
        ssl=url.tls is not None,
        **tls_arguments(url.tls),
    )
    client.response_callbacks.clear()  # the reply as it is
    try:
        reply: object = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]  # redis-py
        return reply
    finally:
        await client.aclose()


def _read_slots(reply: object, asked: Address) -> tuple[_SlotMap, list[Address]]:
    """CLUSTER SLOTS: [first, last, [host, port, …] of the primary, …of replicas]."""
    if not isinstance(reply, list) or not reply:
        raise ValueError
    ranges: list[tuple[int, int, Address]] = []
    nodes: dict[Address, None] = {}
    for first, last, *servers in reply:
        addresses = [(_text(host) or asked[0], int(port)) for host, port, *_ in servers]
        ranges.append((int(first), int(last), addresses[0]))
        nodes |= dict.fromkeys(addresses)
    ranges.sort()
    slot_map = _SlotMap(
        firsts=tuple(first for first, _, _ in ranges),
        ranges=tuple((last, address) for _, last, address in ranges),
    )
    return slot_map, list(nodes)


def _text(host: bytes | str | None) -> str:
    return host.decode() if isinstance(host, bytes) else host or ""


def _fixed(address: Address, tls: ssl.SSLContext | None) -> Callable[[], Awaitable[Endpoint]]:
    endpoint = Endpoint(host=address[0], port=address[1], tls=tls)

    async def resolve() -> Endpoint:
        return endpoint

    return resolve


async def _close_all(links: Iterable[RedisLink]) -> None:
    await asyncio.gather(*(link.close() for link in links))
