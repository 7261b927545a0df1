"""A real Redis with agents for the tests of agents and lines: one loop, one link, a tenant per use."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import redis

from router.acd.agents import AgentRecord, Membership
from router.deadline import Deadline, in_s
from router.store import keys
from router.store.agents import Agents, Reserved, reserved_of
from router.store.endpoints import parse_store_url
from router.store.line import Line
from router.store.links import Links
from router.store.reserving import Asker, Wanted, Wish
from router.store.scripts import Script, load_script, make_script
from rules.actions import Strategy
from rules.requirements import Requirement

T = TypeVar("T")
QUEUE = "support"
ANYBODY = Requirement(QUEUE)
LONG_MS = 60_000
_tenants = (f"t{number}" for number in itertools.count())


def soon() -> Deadline:
    """Ten seconds from now, wherever it is asked: asyncio's loops go by this clock."""
    return Deadline(time.monotonic() + 10)


def broken(*names: str, change: tuple[str, str]) -> dict[str, Script]:
    """The operations `names` with one text of their source (shared part included) replaced.

    `agent_reserve` has a straight way for the usual case: where that does not say `before`, it is
    closed, since nobody would come by what was broken.
    """
    before, after = change
    sources = {name: load_script(name).source for name in names}
    if before not in sources.get("agent_reserve", before).partition(_UNUSUAL)[0]:
        sources["agent_reserve"] = sources["agent_reserve"].replace(_USUAL, "false")
    changed = {
        name: make_script(name, source.replace(before, after))
        for name, source in sources.items()
        if before in source
    }
    if not changed:  # no assertion: that is what the caller waits for
        raise LookupError(f"none of {names} says: {before}")
    return changed


_USUAL = "ARGV[4] == 'longest_idle' and ARGV[7] == '0' and ARGV[10] == '0' --@usual"
_UNUSUAL = "-- The record of an agent, its states"


class World:
    """One tenant on a real server. `scripts` are broken operations, for tests of the tests."""

    def __init__(self, runner: asyncio.Runner, links: Links, client: "redis.Redis") -> None:
        self._runner = runner
        self.links = links
        self.client = client
        self.draw = 0.0
        self.begin({})

    def begin(self, scripts: Mapping[str, Script]) -> None:
        """A fresh tenant, with these operations replaced."""
        self.tenant = next(_tenants)
        self._scripts = scripts
        self.agents = Agents(self.links, scripts, draw=lambda: self.draw)
        self.line = Line(self.links, scripts, draw=lambda: self.draw)

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    def now_ms(self) -> int:
        seconds, micros = self.client.time()
        return seconds * 1000 + micros // 1000

    def wait_until_ms(self, moment: int) -> None:
        while self.now_ms() < moment:
            pass

    def put(
        self,
        agent: str,
        *,
        queues: Mapping[str, Membership] | None = None,
        skills: Mapping[str, int] | None = None,
        on_duty: bool = True,
    ) -> None:
        self.run(self._put(agent, queues, skills, on_duty))

    async def _put(
        self,
        agent: str,
        queues: Mapping[str, Membership] | None,
        skills: Mapping[str, int] | None,
        on_duty: bool,
    ) -> None:
        await self.agents.put(
            self.tenant,
            agent,
            queues={QUEUE: Membership()} if queues is None else queues,
            skills=skills or {},
            deadline=soon(),
            on_duty=on_duty,
        )

    def plant(self, agent: str, **fields: str | int) -> None:
        """Write runtime fields of an agent's record and place the agent accordingly."""
        script = self._scripts.get("agent_put") or load_script("agent_put")
        source = script.source.partition("\nlocal now = time_ms()")[0] + _PLANT
        flat = [part for pair in fields.items() for part in pair]
        self.client.eval(
            source,
            1,
            keys.agent(self.tenant, agent),
            keys.prefix(self.tenant),
            agent,
            *flat,
        )

    def reserve(
        self,
        request: str,
        *,
        requirement: Requirement = ANYBODY,
        strategy: Strategy = Strategy.LONGEST_IDLE,
        lease_ms: int = LONG_MS,
        **more: Any,
    ) -> Reserved | None:
        async def ask() -> Reserved | None:
            return await self.agents.reserve(
                self.tenant,
                request_id=request,
                requirement=requirement,
                strategy=strategy,
                lease_ms=lease_ms,
                deadline=soon(),
                **more,
            )

        return self.run(ask())

    def wanted(self, requirement: Requirement = ANYBODY, lease_ms: int = LONG_MS) -> Wanted:
        """A wish for whoever is idle longest, prepared: several of it go together."""
        wish = Wish(
            tenant=self.tenant,
            requirement=requirement,
            strategy=Strategy.LONGEST_IDLE,
            lease_ms=lease_ms,
        )
        return self.agents.want(wish)

    def reserve_together(
        self, askers: Sequence[Asker], *, requirement: Requirement = ANYBODY
    ) -> Sequence[Reserved | BaseException | None]:
        """Reserve for all in one turn of the loop; what each was told."""

        async def ask() -> Sequence[Reserved | BaseException | None]:
            wanted = self.wanted(requirement)
            begun = [self.agents.begin(wanted, each, soon(), reserved_of) for each in askers]
            return await asyncio.gather(*(each.taken() for each in begun), return_exceptions=True)

        return self.run(ask())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end, "it has not come"
            self.run(asyncio.sleep(0.01))

    def confirm(self, agent: str, token: str, **more: Any) -> bool:
        async def ask() -> bool:
            return await self.agents.confirm(self.tenant, agent, token, deadline=soon(), **more)

        return self.run(ask())

    def release(self, agent: str, token: str, *, keep_place: bool = False) -> bool:
        async def ask() -> bool:
            return await self.agents.release(
                self.tenant, agent, token, keep_place=keep_place, deadline=soon()
            )

        return self.run(ask())

    def records(self) -> Sequence[AgentRecord]:
        async def ask() -> Sequence[AgentRecord]:
            views, _ = await self.agents.list(self.tenant, soon(), limit=500)
            return [view.record for view in views]

        return self.run(ask())

    def state(self, agent: str) -> str | None:
        async def ask() -> str | None:
            view = await self.agents.get(self.tenant, agent, soon())
            return view and view.effective.state.value

        return self.run(ask())

    def turns(self, queue: str = QUEUE) -> dict[str, int]:
        found = self.client.zrange(keys.rank(self.tenant, "turn", queue), 0, -1, withscores=True)
        return {agent.decode(): int(score) for agent, score in found}

    def ready_at(self, agent: str, requirement: Requirement = ANYBODY) -> int | None:
        key = keys.ready(self.tenant, keys.requirement_id(requirement))
        score = self.client.zscore(key, agent)
        return None if score is None else int(score)


def agent_of(told: object) -> str | None:
    """The one agent of a reservation; None when nobody was ready. Raises what was told instead."""
    if isinstance(told, BaseException):
        raise told
    if told is None:
        return None
    assert isinstance(told, Reserved)
    (agent,) = told.agents
    return agent


_PLANT = """
local more = {}
for i = 3, #ARGV do more[#more + 1] = ARGV[i] end
if #more > 0 then call('HSET', KEYS[1], unpack(more)) end
if call('HGET', KEYS[1], 'duty') == '0' then call('HDEL', KEYS[1], 'duty') end
place_and_rank(ARGV[1], ARGV[2], read_agent(KEYS[1]), time_ms())
"""


@contextmanager
def acd_world(url: str) -> Iterator[World]:
    with asyncio.Runner() as runner, redis.Redis.from_url(url) as client:

        async def connect() -> Links:
            links = Links(parse_store_url(url))
            links.start()
            await links.wait_open(in_s(5))
            return links

        links = runner.run(connect())
        try:
            yield World(runner, links, client)
        finally:
            runner.run(links.close())
