"""Routers, queues and agents in a real store; the site applied to it; the directory that follows it."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from router.deadline import in_s
from router.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreDownError,
    with_notes,
)
from router.site.difference import Action, Plan, carry_out, plan
from router.site.file import Site
from router.site.keeper import DirectoryKeeper, KeeperState
from router.site.resources import AgentConfig, Kind, Membership, QueueConfig, Resource, RouterConfig
from router.site.secret_refs import SecretRef, resolve_secret
from router.store import keys
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.errors import set_enabled
from router.store.line import Line
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.mailboxes import Pins
from router.store.phones import Phones
from router.store.resources import Mode, Outcome, Resources
from rules.actions import Target, TargetType
from tests.servers import Server

if TYPE_CHECKING:
    from router.site.directory import Directory

TENANT = "acme"
LONG = "s" * 32
MAIN = RouterConfig(
    id="main", name="Main", rules="acme", default_target=Target(type=TargetType.OFFICE, id="1")
)
SUPPORT = QueueConfig(id="support", name="Support", call_center_id="8001")
ADA = AgentConfig(id="ada", name="Ada", user_id="3001", queues={"support": Membership(order=2)})
SITE = Site(tenant=TENANT, routers=(MAIN,), queues=(SUPPORT,), agents=(ADA,))


class Store:
    """Everything over one link to a real server."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.agents = Agents(links)
        self.resources = Resources(links, AgentsAndQueues(self.agents))

    async def apply(self, site: Site, *, prune: bool = False) -> Plan:
        current = await self.resources.load(site.tenant, deadline=in_s(5))
        made = plan(site, current, prune=prune)
        await carry_out(made, self.resources)
        return made


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        yield Store(links)


def secrets(reference: SecretRef) -> str:
    return resolve_secret(reference, {"MAIN": LONG}, lambda _path: LONG)


def keeper_of(store: Store, file: Path | None = None) -> DirectoryKeeper:
    return DirectoryKeeper(store.resources, secrets, file)


async def test_a_site_is_created_then_unchanged_then_updated(store: Store) -> None:
    first = await store.apply(SITE)
    assert {change.action for change in first.changes} == {Action.CREATE}
    assert (await store.apply(SITE)).steps == ()
    renamed = msgspec.structs.replace(ADA, name="Ada L.", skills={"spanish": 50})
    third = await store.apply(msgspec.structs.replace(SITE, agents=(renamed,)))
    (step,) = third.steps
    assert (step.action, step.id) == (Action.UPDATE, "ada")
    assert [(field.field, field.before) for field in step.fields] == [
        ("name", "Ada"),
        ("skills", {}),
    ]
    assert await store.resources.get(TENANT, AgentConfig, "ada", deadline=in_s(5)) == renamed


async def test_only_prune_removes_what_the_site_does_not_name(store: Store) -> None:
    await store.apply(SITE)
    empty = Site(tenant=TENANT)
    assert (await store.apply(empty)).steps == ()
    pruned = await store.apply(empty, prune=True)
    assert [step.id for step in pruned.steps] == ["main", "ada", "support"]
    left = await store.resources.load(TENANT, deadline=in_s(5))
    assert (left.routers, left.queues, left.agents) == ({}, {}, {})
    assert await store.agents.get(TENANT, "ada", in_s(5)) is None


async def test_an_apply_leaves_alone_what_changes_by_itself(store: Store) -> None:
    await store.apply(SITE)
    deadline = in_s(5)
    await store.agents.set_duty(TENANT, "ada", on=True, deadline=deadline)
    link = store.links.link_for(TENANT)
    await set_enabled(link, TENANT, "main", deadline, enabled=False)
    changed = msgspec.structs.replace(
        SITE,
        agents=(msgspec.structs.replace(ADA, name="A"),),
        routers=(msgspec.structs.replace(MAIN, name="M"),),
    )
    await store.apply(changed)
    view = await store.agents.get(TENANT, "ada", in_s(5))
    assert view is not None
    assert view.record.on_duty
    assert view.record.queues["support"].order == 2
    keeper = keeper_of(store)
    await keeper.refresh(in_s(5))
    router = keeper.directory.router("main")
    assert router is not None
    assert (router.config.name, router.enabled) == ("M", False)


async def test_a_routers_id_belongs_to_one_tenant(store: Store) -> None:
    await store.resources.put(TENANT, MAIN, deadline=in_s(5))
    with pytest.raises(ConflictError, match="another tenant"):
        await store.resources.put("other", MAIN, deadline=in_s(5))
    await store.resources.remove(TENANT, RouterConfig, "main", deadline=in_s(5))
    assert await store.resources.put("other", MAIN, deadline=in_s(5)) is Outcome.CREATED


async def test_a_site_of_the_wrong_tenant_writes_nothing_and_says_whose_the_router_is(
    store: Store,
) -> None:
    await store.apply(SITE)
    more = msgspec.structs.replace(MAIN, id="aaa")
    wrong = msgspec.structs.replace(SITE, tenant="corp", routers=(more, MAIN))
    with pytest.raises(ConflictError, match="router id main") as caught:
        await store.apply(wrong)
    assert "acme has it, and this is corp" in with_notes(caught.value)
    assert not await store.resources.has_any("corp", deadline=in_s(5))
    assert await store.resources.tenants(deadline=in_s(5)) == [TENANT]
    assert await store.resources.tenant_of_router("aaa", deadline=in_s(5)) is None


async def test_an_agent_needs_its_queues_and_a_queue_keeps_its_members(store: Store) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await store.resources.put(TENANT, ADA, deadline=in_s(5))
    assert caught.value.field == "queues.support"
    await store.apply(SITE)
    with pytest.raises(ConflictError, match="ada"):
        await store.resources.remove(TENANT, QueueConfig, "support", deadline=in_s(5))


async def test_a_platforms_user_is_one_agents_until_that_one_gives_it_up(store: Store) -> None:
    await store.apply(SITE)
    put = store.resources.put
    ben = AgentConfig(id="ben", name="Ben", user_id="3001")
    with pytest.raises(ConflictError, match="ada"):
        await put(TENANT, ben, deadline=in_s(5))
    await put(TENANT, msgspec.structs.replace(ADA, user_id="3009"), deadline=in_s(5))
    assert await put(TENANT, ben, deadline=in_s(5)) is Outcome.CREATED
    await store.resources.remove(TENANT, AgentConfig, "ben", deadline=in_s(5))
    assert await put(TENANT, ADA, deadline=in_s(5)) is Outcome.UPDATED
    twin = QueueConfig(id="twin", name="Twin", call_center_id="8001")
    with pytest.raises(ConflictError, match="support"):
        await put(TENANT, twin, deadline=in_s(5))


@pytest.mark.parametrize("ids", [("ada", "ben"), ("ada", "100")])
async def test_of_two_agents_who_are_given_one_number_at_once_one_gets_it(
    store: Store, ids: tuple[str, str]
) -> None:
    """An id of digits is keyed in as well, where there is no number."""

    async def give(agent: str) -> object:
        number = None if agent == "100" else "100"
        config = AgentConfig(id=agent, name="A", number=number)
        try:
            return await store.resources.put(TENANT, config, deadline=in_s(5))
        except ConflictError as error:
            return error

    outcomes = await asyncio.gather(*(give(agent) for agent in ids))
    (refusal,) = [one for one in outcomes if isinstance(one, ConflictError)]
    assert "the number of" in str(refusal)
    there = await store.resources.load(TENANT, deadline=in_s(5))
    assert len(there.agents) == 1


async def test_a_number_is_free_again_when_its_agent_has_another_or_is_gone(store: Store) -> None:
    put = store.resources.put
    ada = AgentConfig(id="ada", name="Ada", number="1")
    await put(TENANT, ada, deadline=in_s(5))
    await put(TENANT, msgspec.structs.replace(ada, number="2"), deadline=in_s(5))
    ben = AgentConfig(id="ben", name="Ben", number="1")
    assert await put(TENANT, ben, deadline=in_s(5)) is Outcome.CREATED
    with pytest.raises(ConflictError, match="the number of ada is that of ben"):
        await put(TENANT, ada, deadline=in_s(5))
    await store.resources.remove(TENANT, AgentConfig, "ben", deadline=in_s(5))
    assert await put(TENANT, ada, deadline=in_s(5)) is Outcome.UPDATED
    link = store.links.link_for(TENANT)
    kept = await link.call("HGETALL", keys.agent_numbers(TENANT), deadline=in_s(5))
    assert kept == [b"1", b"ada"]


async def test_numbers_of_a_store_from_before_are_told_apart_after_the_next_apply(
    store: Store,
) -> None:
    ada = AgentConfig(id="ada", name="Ada", number="1")
    await store.resources.put(TENANT, ada, deadline=in_s(5))
    link = store.links.link_for(TENANT)
    await link.call("DEL", keys.agent_numbers(TENANT), deadline=in_s(5))
    assert await store.resources.put(TENANT, ada, deadline=in_s(5)) is Outcome.UNCHANGED
    ben = AgentConfig(id="ben", name="Ben", number="1")
    with pytest.raises(ConflictError):
        await store.resources.put(TENANT, ben, deadline=in_s(5))


async def test_a_removed_agent_leaves_no_phone_and_no_pin(store: Store) -> None:
    phones, pins = Phones(store.links), Pins(store.links)
    for agent in ("ada", "ben"):
        config = AgentConfig(id=agent, name="A")
        await store.resources.put(TENANT, config, deadline=in_s(5))
        await phones.take(TENANT, agent, f"PJSIP/{agent}", in_s(5))
        await pins.set(TENANT, agent, "digest", in_s(5))
    await pins.begin(TENANT, "ada", in_s(5))
    await store.resources.remove(TENANT, AgentConfig, "ada", deadline=in_s(5))
    assert await phones.all(TENANT, in_s(5)) == {"ben": "PJSIP/ben"}
    link = store.links.link_for(TENANT)
    assert await link.call("EXISTS", keys.pin_tries(TENANT, "ada"), deadline=in_s(5)) == 0
    assert await pins.begin(TENANT, "ada", in_s(5)) is None
    assert await pins.begin(TENANT, "ben", in_s(5)) == "digest"
    with pytest.raises(NotFoundError):  # logs in at the moment of being removed
        await phones.take(TENANT, "ada", "PJSIP/ada", in_s(5))
    assert await phones.all(TENANT, in_s(5)) == {"ben": "PJSIP/ben"}


async def test_a_removed_queue_leaves_no_callers_and_no_averages(store: Store) -> None:
    line, link = Line(store.links), store.links.link_for(TENANT)
    for queue in ("gone", "another"):
        config = QueueConfig(id=queue, name="Q")
        await store.resources.put(TENANT, config, deadline=in_s(5))
        assert await line.observe_held(
            TENANT,
            queue,
            f"{queue}'s call",
            since_ms=None,
            longest_hold_ms=60_000,
            deadline=in_s(5),
        )
    await store.resources.remove(TENANT, QueueConfig, "gone", deadline=in_s(5))
    for name_of in (keys.held, keys.queue_live):
        assert await link.call("EXISTS", name_of(TENANT, "gone"), deadline=in_s(5)) == 0
        assert await link.call("EXISTS", name_of(TENANT, "another"), deadline=in_s(5)) == 1
    left_ms = await link.call("PTTL", keys.held(TENANT, "another"), deadline=in_s(5))
    assert isinstance(left_ms, int)
    assert 0 < left_ms <= 60_000  # nobody is told of the end of every call


async def test_users_move_along_a_row_of_agents_in_one_apply(store: Store) -> None:
    def site(shift: int) -> Site:
        agents = tuple(
            AgentConfig(id=f"a{n}", name="A", user_id=str(100 + n + shift)) for n in range(50)
        )
        return Site(tenant=TENANT, agents=agents)

    await store.apply(site(0))
    await store.apply(site(1))
    assert (await store.apply(site(1))).steps == ()
    await store.apply(site(0))


def agent(id_: str, user_id: str | None, number: str | None = None, name: str = "A") -> AgentConfig:
    return AgentConfig(id=id_, name=name, user_id=user_id, number=number)


def of_agents(*agents: AgentConfig) -> Site:
    return Site(tenant=TENANT, agents=agents)


async def owners(store: Store) -> tuple[dict[str, str], dict[str, str]]:
    """Whose each user and each number is, as the store keeps it beside the descriptions."""
    link, found = store.links.link_for(TENANT), []
    for key in (keys.platform_ids(TENANT, "agents"), keys.agent_numbers(TENANT)):
        reply = await link.call("HGETALL", key, deadline=in_s(5))
        words = [word.decode() for word in reply or () if isinstance(word, bytes)]  # type: ignore[union-attr]  # a list
        found.append(dict(zip(words[::2], words[1::2], strict=True)))
    return found[0], found[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            [agent("ada", "1", "71"), agent("ben", "2", "72")],
            [agent("ada", "2", "72", "Ada"), agent("ben", "1", "71", "Ben")],
            id="two",
        ),
        pytest.param(
            [agent(f"a{n}", str(n)) for n in range(300)],
            [agent(f"a{n}", str((n + 1) % 300)) for n in range(300)],
            id="a large circle",
        ),
        pytest.param(
            [agent("ada", "1", "71"), agent("ben", "2", "72"), agent("cyd", "3", "73")],
            [agent("ada", "2", "73"), agent("ben", "3", "71"), agent("cyd", "1", "72")],
            id="users one way, numbers the other",
        ),
        pytest.param(
            [agent("1", None, "2"), agent("2", None, "1")],
            [agent("1", None), agent("2", None)],
            id="numbers that are ids",
        ),
        pytest.param(
            [agent("ada", "1"), agent("ben", "2"), agent("cyd", "3"), agent("dan", "4")],
            [agent("ada", "2"), agent("ben", "1"), agent("cyd", "4"), agent("dan", "9")],
            id="a circle and a row",
        ),
    ],
)
async def test_agents_exchange_what_is_theirs_alone_in_one_apply(
    store: Store, before: list[AgentConfig], after: list[AgentConfig]
) -> None:
    await store.apply(of_agents(*before))
    assert (await store.apply(of_agents(*after))).steps
    found = await store.resources.load(TENANT, deadline=in_s(5))
    assert found.agents == {one.id: one for one in after}
    assert await owners(store) == (
        {one.user_id: one.id for one in after if one.user_id is not None},
        {one.keyed: one.id for one in after if one.keyed is not None},
    )


async def test_an_apply_that_dies_amid_an_exchange_is_finished_by_the_next(store: Store) -> None:
    """Wherever it dies, every name is one agent's, and the next apply does the rest."""
    before = of_agents(agent("ada", "1"), agent("ben", "2"))
    after = of_agents(agent("ada", "2", name="Ada"), agent("ben", "1", name="Ben"))

    class Dies(Resources):
        async def put(self, tenant: str, resource: Resource, **given: object) -> Outcome:  # type: ignore[override]  # a test's shorthand
            if not is_alive[0]:
                raise StoreDownError
            return await super().put(tenant, resource, **given)  # type: ignore[arg-type]  # as above

        async def exchange_names(self, *given: object, **named: object) -> bool:  # type: ignore[override]  # as above
            done = await super().exchange_names(*given, **named)  # type: ignore[arg-type]  # as above
            is_alive[0] = False
            return done

    is_alive = [True]
    await store.apply(before)
    current = await store.resources.load(TENANT, deadline=in_s(5))
    with pytest.raises(StoreDownError):
        await carry_out(plan(after, current), Dies(store.links, AgentsAndQueues(store.agents)))
    halfway = await store.resources.load(TENANT, deadline=in_s(5))
    assert {one.id: (one.user_id, one.name) for one in halfway.agents.values()} == {
        "ada": ("2", "A"),
        "ben": ("1", "A"),
    }
    assert (await store.apply(after)).count(Action.UPDATE) == 2
    assert (await store.apply(after)).steps == ()


async def test_whoever_follows_on_one_that_prune_removes_takes_over_the_names(store: Store) -> None:
    new = QueueConfig(id="help", name="Help", call_center_id="8001")
    bea = AgentConfig(id="bea", name="Bea", user_id="3001", queues={"help": Membership()})
    await store.apply(SITE)
    with pytest.raises(ConflictError, match="call_center_id of help"):
        await store.apply(Site(tenant=TENANT, queues=(new,)))
    after = Site(tenant=TENANT, routers=(MAIN,), queues=(new,), agents=(bea,))
    await store.apply(after, prune=True)
    assert (await store.apply(after, prune=True)).steps == ()
    assert (await owners(store))[0] == {"3001": "bea"}


async def test_what_somebody_else_keeps_is_not_exchanged(store: Store) -> None:
    await store.apply(of_agents(agent("ada", "1"), agent("ben", "2"), agent("cyd", "3")))
    with pytest.raises(ConflictError, match="user_id of"):
        await store.apply(of_agents(agent("ada", "2"), agent("ben", "3")))
    assert (await owners(store))[0] == {"1": "ada", "2": "ben", "3": "cyd"}


async def test_writes_say_what_they_did_and_refuse_what_is_not_there(store: Store) -> None:
    put = store.resources.put
    assert await put(TENANT, SUPPORT, deadline=in_s(5), mode=Mode.ABSENT) is Outcome.CREATED
    assert await put(TENANT, SUPPORT, deadline=in_s(5)) is Outcome.UNCHANGED
    with pytest.raises(ConflictError):
        await put(TENANT, SUPPORT, deadline=in_s(5), mode=Mode.ABSENT)
    stale = msgspec.structs.replace(SUPPORT, name="Old")
    with pytest.raises(ConflictError):
        await put(TENANT, SUPPORT, deadline=in_s(5), mode=Mode.SAME, expected=stale)
    with pytest.raises(NotFoundError):
        await store.resources.remove(TENANT, RouterConfig, "main", deadline=in_s(5))
    with pytest.raises(NotFoundError):
        await store.resources.patch(TENANT, AgentConfig, "bob", {"name": "B"}, deadline=in_s(5))


async def test_of_racing_patches_none_is_lost(store: Store) -> None:
    await store.apply(SITE)
    skills = ["french", "german", "spanish"]

    def learn(skill: str) -> Callable[[AgentConfig], AgentConfig]:
        return lambda agent: msgspec.structs.replace(agent, skills={**agent.skills, skill: 50})

    await asyncio.gather(
        *(
            store.resources.patch(TENANT, AgentConfig, "ada", learn(skill), deadline=in_s(5))
            for skill in skills
        )
    )
    agent = await store.resources.get(TENANT, AgentConfig, "ada", deadline=in_s(5))
    assert agent is not None
    assert sorted(agent.skills) == skills


async def test_the_directory_follows_every_change_with_what_changed_only(store: Store) -> None:
    keeper = keeper_of(store)
    seen: list[Directory] = []
    keeper.on_change(seen.append)
    await store.apply(SITE)
    await keeper.refresh(in_s(5))
    before = keeper.directory
    assert keeper.state is KeeperState.FRESH
    assert before.agent_by_user_id(TENANT, "3001") == ADA
    entry = before.queue_by_call_center_id(TENANT, "8001")
    assert entry is not None
    assert entry.config == SUPPORT

    await keeper.refresh(in_s(5))
    assert keeper.directory is before
    await store.resources.patch(TENANT, AgentConfig, "ada", {"user_id": "9"}, deadline=in_s(5))
    await keeper.refresh(in_s(5))
    after = keeper.directory
    assert after.agent_by_user_id(TENANT, "3001") is None
    assert after.queue(TENANT, "support") is entry
    await store.resources.remove(TENANT, AgentConfig, "ada", deadline=in_s(5))
    await keeper.refresh(in_s(5))
    assert keeper.directory.agent(TENANT, "ada") is None
    assert len(seen) == 3


async def test_many_changes_at_once_are_read_whole(store: Store) -> None:
    await store.resources.put(TENANT, SUPPORT, deadline=in_s(5))
    keeper = keeper_of(store)
    await keeper.refresh(in_s(5))
    agents = tuple(
        AgentConfig(id=f"a{number}", name="A", queues={"support": Membership()})
        for number in range(700)
    )
    await store.apply(msgspec.structs.replace(SITE, agents=agents))
    await keeper.refresh(in_s(5))
    assert len(keeper.directory.tenants[TENANT].resources.agents) == 700


async def test_a_signed_router_has_its_secrets_the_new_one_first(store: Store) -> None:
    signed = msgspec.structs.replace(
        MAIN, secret=SecretRef(env="MAIN"), previous_secret=SecretRef(value="p" * 32)
    )
    lost = msgspec.structs.replace(MAIN, id="lost", secret=SecretRef(env="GONE"))
    for router in (signed, lost):
        await store.resources.put(TENANT, router, deadline=in_s(5))
    keeper = keeper_of(store)
    await keeper.refresh(in_s(5))
    entry, without = keeper.directory.router("main"), keeper.directory.router("lost")
    assert entry is not None
    assert (entry.is_signed, entry.secrets) == (True, (LONG, "p" * 32))
    assert LONG not in repr(entry)
    assert without is not None
    assert (without.is_signed, without.secrets) == (True, ())
    assert "GONE" in (without.secret_problem or "")


async def test_a_start_without_the_store_answers_from_the_file(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "directory.json"
    literal = msgspec.structs.replace(MAIN, id="literal", secret=SecretRef(value=LONG))
    await store.apply(msgspec.structs.replace(SITE, routers=(MAIN, literal)))
    keeper = keeper_of(store, file)
    await keeper.refresh(in_s(5))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert LONG not in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["directory.json"]

    again = keeper_of(store, file)
    assert again.load_file()
    assert again.state is KeeperState.FROM_FILE
    assert again.directory.agent(TENANT, "ada") == ADA
    withheld = again.directory.router("literal")
    assert withheld is not None
    assert (withheld.is_signed, withheld.secrets) == (True, ())
    await again.refresh(in_s(5))
    fresh = again.directory.router("literal")
    assert fresh is not None
    assert fresh.secrets == (LONG,)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"acme": 3}', json.dumps({"a": {"routers": 1}})])
async def test_a_broken_file_is_no_directory_and_no_crash(
    store: Store, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "directory.json"
    file.write_text(text)
    assert not keeper_of(store, file).load_file()


async def test_a_store_that_is_gone_or_comes_back_empty_changes_nothing(
    new_server: Callable[..., Server],
) -> None:
    server = new_server()
    async with Links(parse_store_url(server.url)) as links:
        await links.wait_open(in_s(5))
        store = Store(links)
        await store.apply(SITE)
        keeper = keeper_of(store)
        task = asyncio.create_task(keeper.run())
        await _until(lambda: keeper.state is KeeperState.FRESH)
        server.kill()
        await _until(lambda: keeper.state is KeeperState.STALE)
        assert keeper.directory.router("main") is not None
        server.start()
        await _until(lambda: keeper.state is KeeperState.LOST)
        assert keeper.directory.agent(TENANT, "ada") == ADA
        await store.apply(SITE)
        await _until(lambda: keeper.state is KeeperState.FRESH)
        task.cancel()


async def test_a_tenant_that_is_lost_for_good_is_forgotten_when_somebody_says_so(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "directory.json"
    before = keeper_of(store, file)
    await store.apply(SITE)
    await store.apply(msgspec.structs.replace(SITE, tenant="old", routers=()))
    await before.refresh(in_s(5))
    described = [keys.resources("old", kind) for kind in Kind]
    lost = [*described, keys.version("old"), keys.changes("old")]
    await store.links.link_for("old").call("DEL", *lost, deadline=in_s(5))
    tenants = store.links.link_for_key(keys.TENANTS)
    await tenants.call("SREM", keys.TENANTS, "old", deadline=in_s(5))

    running, started = keeper_of(store, file), keeper_of(store, file)
    running.load_file()
    await running.refresh(in_s(5))
    assert running.state is KeeperState.LOST
    assert running.directory.agent("old", "ada") == ADA
    with pytest.raises(ConflictError):
        await store.resources.declare_empty(TENANT, deadline=in_s(5))

    await store.resources.declare_empty("old", deadline=in_s(5))
    await running.refresh(in_s(5))
    assert (running.state, running.directory.agent("old", "ada")) == (KeeperState.FRESH, None)
    assert running.directory.agent(TENANT, "ada") == ADA
    started.load_file()
    assert started.directory.agent("old", "ada") is None
    await store.apply(msgspec.structs.replace(SITE, tenant="old", routers=()))
    await running.refresh(in_s(5))
    assert running.directory.agent("old", "ada") == ADA


async def test_of_what_a_store_has_lost_only_what_is_applied_again_comes_back(store: Store) -> None:
    """Also over the same connection, where only changes are read otherwise."""
    await store.apply(msgspec.structs.replace(SITE, agents=(ADA, agent("ben", "2"))))
    keeper = keeper_of(store)
    await keeper.refresh(in_s(5))
    await store.links.link_for(TENANT).call("FLUSHALL", deadline=in_s(5))
    await keeper.refresh(in_s(5))
    assert keeper.directory.agent(TENANT, "ben") is not None
    await store.apply(SITE)
    await keeper.refresh(in_s(5))
    assert (keeper.state, keeper.directory.agent(TENANT, "ben")) == (KeeperState.FRESH, None)


async def test_a_store_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    async with Links(parse_store_url(f"unix://{tmp_path}/none")) as links:
        store = Store(links)
        with pytest.raises(StoreDownError):
            await keeper_of(store).refresh(in_s(1))


async def test_the_version_grows_even_when_the_clock_does_not(store: Store) -> None:
    link = store.links.link_for(TENANT)
    future = 4_000_000_000_000
    await link.call("SET", keys.version(TENANT), future, deadline=in_s(5))
    await store.resources.put(TENANT, SUPPORT, deadline=in_s(5))
    pulse = await store.resources.pulse(TENANT, future, deadline=in_s(5))
    assert pulse.version == future + 1
    assert [id_ for _, id_ in pulse.changed or ()] == ["support"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
