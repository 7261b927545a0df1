"""Two who write the same resource at the same time: what is described and what lives stay the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import msgspec
import pytest

from router.deadline import Deadline, in_s
from router.errors import ConflictError, NotFoundError
from router.site.resources import AgentConfig, Membership, QueueConfig, RouterConfig
from router.store import keys
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.errors import read_health, set_enabled
from router.store.link import Link, Reply
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Mode, Resources
from rules.actions import Target, TargetType

TENANT = "acme"
SUPPORT = QueueConfig(id="support", name="Support")
ADA = AgentConfig(
    id="ada", name="Ada", user_id="3001", queues={"support": Membership()}, skills={"spanish": 10}
)
OTHER = msgspec.structs.replace(ADA, skills={"french": 20})
MAIN = RouterConfig(
    id="main", name="Main", rules="acme", default_target=Target(type=TargetType.OFFICE, id="1")
)


class Interrupted(AgentsAndQueues):
    """Once a live part was put or removed, somebody else does the whole of something, once."""

    then: Callable[[], Awaitable[object]] | None = None

    async def put_agent(self, *args: object, **more: object) -> None:
        await super().put_agent(*args, **more)  # type: ignore[arg-type]  # handed on as it comes
        await self._interrupt()

    async def remove_agent(self, *args: object, **more: object) -> None:
        await super().remove_agent(*args, **more)  # type: ignore[arg-type]  # as above
        await self._interrupt()

    async def _interrupt(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            await then()


class Writers:
    """`we` are interrupted by `they`."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.agents = Agents(links)
        self.live = Interrupted(self.agents)
        self.we = Resources(links, self.live)
        self.they = Resources(links, AgentsAndQueues(self.agents))

    async def put(self, who: Resources, agent: AgentConfig, mode: Mode = Mode.ANY) -> None:
        await who.put(TENANT, agent, deadline=in_s(5), mode=mode)

    async def remove(self, who: Resources) -> None:
        await who.remove(TENANT, AgentConfig, "ada", deadline=in_s(5))

    async def described(self) -> AgentConfig | None:
        return await self.they.get(TENANT, AgentConfig, "ada", deadline=in_s(5))

    async def living(self) -> dict[str, int] | None:
        view = await self.agents.get(TENANT, "ada", in_s(5))
        return None if view is None else dict(view.record.skills)


@pytest.fixture
async def writers(redis_url: str) -> AsyncIterator[Writers]:
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        writers = Writers(links)
        await writers.they.put(TENANT, SUPPORT, deadline=in_s(5))
        yield writers


async def test_of_two_who_create_an_agent_one_is_refused_and_changes_nothing(
    writers: Writers,
) -> None:
    writers.live.then = lambda: writers.put(writers.they, OTHER, Mode.ABSENT)
    with pytest.raises(ConflictError, match="ada is there already"):
        await writers.put(writers.we, ADA, Mode.ABSENT)
    assert await writers.described() == OTHER
    assert await writers.living() == OTHER.skills


async def test_one_who_is_refused_after_the_live_part_was_put_leaves_it_as_described(
    writers: Writers,
) -> None:
    await writers.put(writers.they, OTHER)
    with pytest.raises(ConflictError):
        await writers.we.put(TENANT, ADA, deadline=in_s(5), expected=MAIN, mode=Mode.SAME)
    assert await writers.described() == OTHER
    assert await writers.living() == OTHER.skills


async def test_of_two_who_write_an_agent_the_last_one_is_believed_whole(writers: Writers) -> None:
    await writers.put(writers.they, msgspec.structs.replace(ADA, skills={}))
    writers.live.then = lambda: writers.put(writers.they, OTHER)
    await writers.put(writers.we, ADA)
    assert await writers.described() == ADA
    assert await writers.living() == ADA.skills


async def test_a_change_of_some_fields_goes_on_top_of_what_came_between(writers: Writers) -> None:
    await writers.put(writers.they, ADA)
    writers.live.then = lambda: writers.put(writers.they, OTHER)
    await writers.we.patch(TENANT, AgentConfig, "ada", {"name": "Ada L."}, deadline=in_s(5))
    assert await writers.described() == msgspec.structs.replace(OTHER, name="Ada L.")
    assert await writers.living() == OTHER.skills


async def test_an_agent_who_is_removed_while_being_written_is_there_as_a_whole(
    writers: Writers,
) -> None:
    await writers.put(writers.they, OTHER)
    writers.live.then = lambda: writers.remove(writers.they)
    await writers.put(writers.we, ADA)
    assert await writers.described() == ADA
    assert await writers.living() == ADA.skills


async def test_an_agent_who_is_written_while_being_removed_is_gone_as_a_whole(
    writers: Writers,
) -> None:
    await writers.put(writers.they, OTHER)
    writers.live.then = lambda: writers.put(writers.they, ADA)
    await writers.remove(writers.we)
    assert await writers.described() is None
    assert await writers.living() is None
    with pytest.raises(NotFoundError):
        await writers.remove(writers.we)


async def test_a_change_that_takes_anothers_name_is_told_whose_it_is(writers: Writers) -> None:
    await writers.put(writers.they, ADA)
    ben = msgspec.structs.replace(ADA, id="ben", user_id=None)
    await writers.put(writers.they, ben)
    with pytest.raises(ConflictError, match="the user_id of ben is that of ada already"):
        await writers.we.patch(TENANT, AgentConfig, "ben", {"user_id": "3001"}, deadline=in_s(5))


async def test_a_router_that_is_made_anew_inherits_no_switch_and_no_errors(
    writers: Writers,
) -> None:
    link = writers.links.link_for(TENANT)
    await writers.they.put(TENANT, MAIN, deadline=in_s(5))
    await set_enabled(link, TENANT, "main", in_s(5), enabled=False)
    await writers.they.remove(TENANT, RouterConfig, "main", deadline=in_s(5))
    await writers.they.put(TENANT, MAIN, deadline=in_s(5))
    health = await read_health(link, TENANT, ["main"], in_s(5))
    assert health["main"].is_enabled
    loaded = await writers.they.load(TENANT, deadline=in_s(5))
    assert not loaded.disabled


class PausingLinks:
    """Before a tenant is written down, once, somebody else does the whole of something."""

    def __init__(self, links: Links, then: Callable[[], Awaitable[object]]) -> None:
        self._links = links
        self._then: Callable[[], Awaitable[object]] | None = then

    def link_for(self, tenant: str) -> Link:
        return self._links.link_for(tenant)

    def link_for_key(self, key: str) -> Link:
        link = self._links.link_for_key(key)
        then, self._then = (self._then, None) if key == keys.TENANTS else (None, self._then)
        return link if then is None else cast("Link", Pausing(link, then))


class Pausing:
    def __init__(self, link: Link, then: Callable[[], Awaitable[object]]) -> None:
        self._link = link
        self._then = then

    def call(self, *words: str, deadline: Deadline) -> asyncio.Future[Reply]:
        async def later() -> Reply:
            await self._then()
            return await self._link.call(*words, deadline=deadline)

        return asyncio.ensure_future(later())


async def test_a_router_that_is_removed_while_being_written_stays_its_tenants(
    writers: Writers,
) -> None:
    async def removed() -> None:
        await writers.they.remove(TENANT, RouterConfig, "main", deadline=in_s(5))

    await writers.they.put(TENANT, MAIN, deadline=in_s(5))
    links = PausingLinks(writers.links, removed)
    await Resources(links, writers.live).put(TENANT, MAIN, deadline=in_s(5))
    assert await writers.they.tenant_of_router("main", deadline=in_s(5)) == TENANT
    with pytest.raises(ConflictError, match="in use by another tenant"):
        await writers.they.put("other", MAIN, deadline=in_s(5))


async def test_a_router_that_another_tenant_takes_meanwhile_is_not_written(
    writers: Writers,
) -> None:
    async def taken() -> None:
        await writers.they.remove(TENANT, RouterConfig, "main", deadline=in_s(5))
        await writers.they.put("other", MAIN, deadline=in_s(5))

    await writers.they.put(TENANT, MAIN, deadline=in_s(5))
    links = PausingLinks(writers.links, taken)
    with pytest.raises(ConflictError, match="in use by another tenant"):
        await Resources(links, writers.live).put(TENANT, MAIN, deadline=in_s(5))
    assert not (await writers.they.load(TENANT, deadline=in_s(5))).routers
    assert await writers.they.tenant_of_router("main", deadline=in_s(5)) == "other"


async def test_a_change_of_an_agent_who_is_removed_meanwhile_leaves_nothing(
    writers: Writers,
) -> None:
    await writers.put(writers.they, OTHER)
    links = PausingLinks(writers.links, lambda: writers.remove(writers.they))
    we = Resources(links, writers.live)
    with pytest.raises(NotFoundError):
        await we.patch(TENANT, AgentConfig, "ada", {"name": "Ada L."}, deadline=in_s(5))
    assert await writers.described() is None
    assert await writers.living() is None
