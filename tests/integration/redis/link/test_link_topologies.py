"""Sentinel and Cluster with real processes: the link follows the primary wherever it goes."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from router.deadline import in_s
from router.errors import CrosspointError, RefusalKind, StoreDownError, StoreRefusedError
from router.store.clients import Admin
from router.store.endpoints import parse_store_url
from router.store.links import Links
from tests.servers import Server, free_port, until, wait_for

NewServer = Callable[..., Server]


async def set_and_get(links: Links, tenant: str, value: str) -> object:
    key = f"cp:{{{tenant}}}:x"
    await links.link_for(tenant).call("SET", key, value, deadline=in_s(5))
    return await links.link_for(tenant).call("GET", key, deadline=in_s(5))


async def works(links: Links, tenant: str) -> bool:
    try:
        return await set_and_get(links, tenant, "1") == b"1"
    except CrosspointError:
        await asyncio.sleep(0.01)
        return False


async def until_works(links: Links, tenant: str, within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not await works(links, tenant):
            pass


class Watched:
    """A primary, its replica and the Sentinel that watches them."""

    def __init__(self, new_server: NewServer, binary: Path) -> None:
        self.primary = new_server(
            "--repl-diskless-sync-delay", "0", port=free_port(), binary=binary
        )
        self.replica = new_server(
            *("--replicaof", "127.0.0.1", str(self.primary.port)), port=free_port(), binary=binary
        )
        self.sentinel = Server(binary, port=free_port(), memory=False)
        conf = self.sentinel.folder / "sentinel.conf"
        conf.write_text(
            f"sentinel monitor main 127.0.0.1 {self.primary.port} 1\n"
            "sentinel down-after-milliseconds main 200\n"
            "sentinel failover-timeout main 1000\n"
        )
        self.sentinel.options = ["--sentinel"]
        self.sentinel.first = [str(conf)]

    def start(self) -> None:
        self.sentinel.start()
        wait_for(
            lambda: b"master_link_status:up" in self.replica.command("INFO", "replication"),
            "the replica to be in step",
        )
        wait_for(
            lambda: b"slaves=1" in self.sentinel.command("INFO", "sentinel"),
            "Sentinel to know the replica",
        )


@pytest.fixture
def watched(new_server: NewServer, server_kind: Path) -> Iterator[Watched]:
    group = Watched(new_server, server_kind)
    try:
        group.start()
        yield group
    finally:
        group.sentinel.remove()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_failover_by_sentinel_is_followed(watched: Watched):
    dead = free_port()
    url = parse_store_url(
        f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{watched.sentinel.port}/main"
    )
    async with Links(url) as links, Admin(url) as admin:
        await links.wait_open(in_s(5))
        assert await set_and_get(links, "t", "before") == b"before"
        assert await admin.ask(lambda c: c.get("cp:{t}:x"), in_s(5)) == b"before"
        watched.primary.kill()
        await until(lambda: not links.is_open, "the loss to be noticed")
        await until_works(links, "t")
        assert b"role:master" in watched.replica.command("INFO", "replication")
        assert await admin.ask(lambda c: c.get("cp:{t}:x"), in_s(5)) == b"1"


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_an_unknown_master_is_said_so(watched: Watched):
    url = parse_store_url(f"redis+sentinel://127.0.0.1:{watched.sentinel.port}/other")
    async with Links(url) as links:
        with pytest.raises(StoreDownError, match="no Sentinel knows a primary of other"):
            await links.wait_open(in_s(0.5))


class Cluster:
    """Three primaries and a replica of the first."""

    def __init__(self, new_server: NewServer, binary: Path) -> None:
        options = ["--cluster-node-timeout", "500", "--repl-diskless-sync-delay", "0"]
        self.nodes = [
            new_server(*options, port=free_port(), binary=binary, cluster=True) for _ in range(4)
        ]
        first = self.nodes[0]
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", str(first.port))
        edges = [0, 5461, 10923, 16384]
        for node, low, high in zip(self.nodes, edges, edges[1:], strict=False):
            node.command("CLUSTER", "ADDSLOTSRANGE", str(low), str(high - 1))
        replica = self.nodes[3]
        wait_for(lambda: self.id_of(first) in self.known_to(replica), "the replica to know it")
        replica.command("CLUSTER", "REPLICATE", self.id_of(first))
        for node in self.nodes:
            wait_for(
                lambda node=node: b"cluster_state:ok" in node.command("CLUSTER", "INFO"),
                "the cluster",
            )
        wait_for(
            lambda: b"master_link_status:up" in replica.command("INFO", "replication"),
            "the replica to be in step",
        )
        wait_for(
            lambda: all(self.known_to(n).count("slave ") == 1 for n in self.nodes),
            "all to know the replica",
        )

    @staticmethod
    def id_of(node: Server) -> str:
        return node.command("CLUSTER", "MYID").decode().split()[1]

    @staticmethod
    def known_to(node: Server) -> str:
        return node.command("CLUSTER", "NODES").decode()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in self.nodes[:2])

    def tenant_on(self, number: int) -> str:
        """A tenant whose slot the numbered primary has."""
        low, high = [(0, 5461), (5461, 10923), (10923, 16384)][number]
        names = (f"tenant-{n}" for n in range(10_000))
        return next(name for name in names if low <= key_slot(name.encode()) < high)


@pytest.fixture
def cluster(new_server: NewServer, server_kind: Path) -> Cluster:
    return Cluster(new_server, server_kind)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_cluster_is_followed_through_a_slot_move_and_a_failover(cluster: Cluster):
    url = parse_store_url(cluster.url)
    tenants = [cluster.tenant_on(n) for n in range(3)]
    async with Links(url) as links, Admin(url) as admin:
        assert isinstance(
            links.link_for("early").call("PING", deadline=in_s(1)).exception(), StoreDownError
        )
        await links.wait_open(in_s(5))
        assert len({id(links.link_for(tenant)) for tenant in tenants}) == 3
        for tenant in tenants:
            assert await set_and_get(links, tenant, tenant) == tenant.encode()
            key = f"cp:{{{tenant}}}:x"
            assert await admin.ask(lambda c, key=key: c.get(key), in_s(5)) == tenant.encode()
        await move_slot(cluster, links, tenants[1])
        await lose_a_primary(cluster, links, tenants[0])
        await until_works(links, tenants[2], within_s=2)  # a call may meet the new map


async def move_slot(cluster: Cluster, links: Links, tenant: str) -> None:
    """The tenant's slot goes from the second node to the third: MOVED, then the new link."""
    key = f"cp:{{{tenant}}}:x"
    before = links.link_for(tenant)
    await before.call("DEL", key, deadline=in_s(5))  # an empty slot needs no key-by-key migration
    for node in (cluster.nodes[2], cluster.nodes[1], cluster.nodes[0]):
        node.command(
            "CLUSTER",
            "SETSLOT",
            str(key_slot(tenant.encode())),
            "NODE",
            cluster.id_of(cluster.nodes[2]),
        )
    with pytest.raises(StoreRefusedError) as refusal:
        await before.call("GET", key, deadline=in_s(5))
    assert refusal.value.kind is RefusalKind.MOVED
    await until(lambda: links.link_for(tenant) is not before, "the map to be renewed")
    assert await set_and_get(links, tenant, "moved") == b"moved"
    assert before.is_open  # the old link still serves the node's other slots


async def lose_a_primary(cluster: Cluster, links: Links, tenant: str) -> None:
    """The first node dies; its replica is elected; the tenant's link leads there."""
    cluster.nodes[0].kill()
    await until(lambda: not links.link_for(tenant).is_open, "the loss to be noticed")
    await until_works(links, tenant)
    assert b"role:master" in cluster.nodes[3].command("INFO", "replication")
