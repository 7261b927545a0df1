"""What the store holds may be another store's, older than what is known here, or another version's."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from router.deadline import in_s
from router.errors import StoreRefusedError
from router.site.difference import carry_out, plan
from router.site.directory import TenantResources
from router.site.file import Site
from router.site.keeper import DirectoryKeeper, KeeperState
from router.site.resources import AgentConfig, Kind, Membership, QueueConfig, Resource, RouterConfig
from router.site.secret_refs import SecretRef
from router.store import keys
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from rules.actions import Target, TargetType
from tests.servers import Server, until

TENANT = "acme"
MAIN = RouterConfig(
    id="main", name="Main", rules="acme", default_target=Target(type=TargetType.OFFICE, id="1")
)
SUPPORT = QueueConfig(id="support", name="Support")
ADA = AgentConfig(id="ada", name="Ada", queues={"support": Membership()})
SITE = Site(tenant=TENANT, routers=(MAIN,), queues=(SUPPORT,), agents=(ADA,))
OTHER = Site(
    tenant=TENANT,
    routers=(msgspec.structs.replace(MAIN, id="other"),),
    queues=(SUPPORT,),
    agents=(msgspec.structs.replace(ADA, id="ben"),),
)


class Store:
    def __init__(self, links: Links) -> None:
        self.links = links
        self.resources = Resources(links, AgentsAndQueues(Agents(links)))

    async def apply(self, site: Site) -> None:
        current = await self.resources.load(site.tenant, deadline=in_s(5))
        await carry_out(plan(site, current), self.resources)

    def keeper(self, file: Path | None = None) -> DirectoryKeeper:
        connects = lambda: self.links.connects  # noqa: E731 - as it is wired
        return DirectoryKeeper(self.resources, lambda _: "s" * 32, file, connects=connects)

    async def write(self, kind: Kind, document: dict[str, object]) -> None:
        """As another version would: through no check of ours, counted as a change."""
        key, id_ = keys.resources(TENANT, kind), str(document["id"])
        link, text = self.links.link_for(TENANT), json.dumps(document)
        version = int(await link.call("GET", keys.version(TENANT), deadline=in_s(5)) or 0) + 1  # type: ignore[arg-type]
        await link.call("HSET", key, id_, text, deadline=in_s(5))
        await link.call("SET", keys.version(TENANT), version, deadline=in_s(5))
        change = f"{kind.value}:{id_}"
        await link.call("ZADD", keys.changes(TENANT), version, change, deadline=in_s(5))


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        yield Store(links)


def form_of(resource: Resource, **more: object) -> dict[str, object]:
    return {**msgspec.to_builtins(resource), **more}


def known_to(keeper: DirectoryKeeper) -> TenantResources:
    return keeper.directory.tenants[TENANT].resources


async def test_a_file_from_another_store_adds_nothing_to_what_this_store_holds(
    store: Store, tmp_path: Path, new_server: Callable[..., Server]
) -> None:
    file = tmp_path / "directory.json"
    await store.apply(SITE)
    await store.keeper(file).refresh(in_s(5))
    async with Links(parse_store_url(new_server().url)) as links:
        await links.wait_open(in_s(5))
        elsewhere = Store(links)
        await elsewhere.apply(OTHER)  # later: its version is higher
        keeper = elsewhere.keeper(file)
        assert keeper.load_file()
        await keeper.refresh(in_s(5))
        assert set(known_to(keeper).routers) == {"other"}
        assert set(known_to(keeper).agents) == {"ben"}


async def test_what_a_store_has_lost_is_forgotten_although_it_has_newer_things(
    store: Store, new_server: Callable[..., Server]
) -> None:
    """A failover to a replica that lacks the last writes, and the next write before anybody looks."""
    server = new_server()
    async with Links(parse_store_url(server.url)) as links:
        await links.wait_open(in_s(5))
        here = Store(links)
        await here.apply(SITE)
        keeper = here.keeper()
        await keeper.refresh(in_s(5))
        assert set(known_to(keeper).agents) == {"ada"}
        connects = links.connects
        server.kill()
        server.start()
        await until(lambda: links.connects > connects and links.is_open, "a new connection")
        await here.apply(OTHER)
        await keeper.refresh(in_s(5))
        assert set(known_to(keeper).agents) == {"ben"}


async def test_a_new_connection_to_the_same_picture_is_no_change(store: Store) -> None:
    await store.apply(SITE)
    count = 0
    keeper = DirectoryKeeper(store.resources, lambda _: "s" * 32, connects=lambda: count)
    await keeper.refresh(in_s(5))
    pictures: list[object] = []
    keeper.on_change(pictures.append)
    count = 1
    await keeper.refresh(in_s(5))
    assert not pictures


async def test_a_field_of_a_newer_version_is_passed_over(store: Store) -> None:
    await store.apply(SITE)
    queues = {"support": {"order": 4, "seat": "window"}}
    await store.write(Kind.AGENTS, form_of(ADA, queues=queues, mood="fine"))
    await store.write(Kind.QUEUES, form_of(SUPPORT, hold_queue={"max_hold_count": 7, "tea": True}))
    loaded = await store.resources.load(TENANT, deadline=in_s(5))
    assert loaded.agents["ada"].queues == {"support": Membership(order=4)}
    assert loaded.queues["support"].hold_queue.max_hold_count == 7
    assert not loaded.unreadable
    got = await store.resources.get(TENANT, AgentConfig, "ada", deadline=in_s(5))
    assert got == loaded.agents["ada"]


async def test_what_cannot_be_read_stops_nothing_else_and_is_counted(store: Store) -> None:
    await store.apply(SITE)
    await store.write(Kind.AGENTS, form_of(msgspec.structs.replace(ADA, id="ben"), name=7))
    keeper = store.keeper()
    await keeper.refresh(in_s(5))
    assert keeper.state is KeeperState.FRESH
    assert keeper.unreadable == 1
    assert set(known_to(keeper).agents) == {"ada"}
    with pytest.raises(StoreRefusedError, match="another version"):
        await store.resources.get(TENANT, AgentConfig, "ben", deadline=in_s(5))
    await store.apply(OTHER)
    await keeper.refresh(in_s(5))
    assert keeper.unreadable == 0
    assert set(known_to(keeper).agents) == {"ada", "ben"}


async def test_what_becomes_unreadable_stays_as_it_was(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "directory.json"
    await store.apply(SITE)
    keeper = store.keeper(file)
    await keeper.refresh(in_s(5))
    await store.write(Kind.ROUTERS, form_of(MAIN, budget_ms="soon"))
    await keeper.refresh(in_s(5))
    assert known_to(keeper).routers == {"main": MAIN}
    assert keeper.unreadable == 1
    again = store.keeper(file)
    again.load_file()
    await again.refresh(in_s(5))
    assert known_to(again).routers == {"main": MAIN}


async def test_a_router_whose_secret_was_left_out_stands_in_for_nothing(
    store: Store, tmp_path: Path
) -> None:
    """Without its secret it would take whatever is not signed."""
    file = tmp_path / "directory.json"
    signed = msgspec.structs.replace(MAIN, secret=SecretRef(value="s" * 32))
    await store.apply(msgspec.structs.replace(SITE, routers=(signed,)))
    await store.keeper(file).refresh(in_s(5))
    await store.write(Kind.ROUTERS, form_of(signed, budget_ms="soon"))
    keeper = store.keeper(file)
    assert keeper.load_file()
    await keeper.refresh(in_s(5))
    assert keeper.directory.router("main") is None


async def test_a_secret_of_a_form_unknown_here_leaves_no_router_without_one(store: Store) -> None:
    await store.apply(SITE)
    await store.write(Kind.ROUTERS, form_of(MAIN, id="vaulted", secret={"vault": "a/b"}))
    loaded = await store.resources.load(TENANT, deadline=in_s(5))
    assert set(loaded.routers) == {"main"}
    assert loaded.unreadable == {"routers:vaulted"}
