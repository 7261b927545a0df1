"""One or more PBXs of one tenant on a real Redis, without an Asterisk: what the ports do, seen from a call."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping

from pbx.machine.commands import Note
from pbx.machine.events import Matched
from pbx.machine.plans import LegId, QueuePlan
from pbx.machine.state import CallState, Kind
from router.acd.agents import Membership
from router.deadline import in_s
from router.settings import CallbackSettings
from router.site.directory import Directory, TenantResources, build
from router.site.resources import AgentConfig, HoldQueue, QueueConfig, RouterConfig
from router.site.resources import Membership as Member
from router.store import keys
from router.store.agents import Agents
from router.store.announcements import Announcements
from router.store.call_records import CallRecords
from router.store.callbacks import Callbacks
from router.store.endpoints import parse_store_url
from router.store.line import Line
from router.store.links import Links
from router.store.pbx_line import PbxLine
from router.store.phones import Phones
from router.store.scripts import Script
from router.telephony.by_name import ByName
from router.telephony.dialler import Dialler
from router.telephony.holding import Holding
from router.telephony.logging_in import LoginDesk
from router.telephony.numbers import Dialable
from router.telephony.promises import CallbackDesk
from router.telephony.queueing import StoreQueueing
from router.telephony.setting_out import Planner, Trunk
from rules.actions import Enqueue, Target, TargetType
from rules.requirements import Requirement

TENANT = "acme"
DID = "+12125550100"
CALLER = "+12125550142"
DIALABLE = Dialable("US")
TRUNK = Trunk(endpoint="PJSIP/{number}@trunk", dialable=DIALABLE, caller_id=DID)
MAIN = RouterConfig(
    id="main",
    name="Main",
    default_target=Target(type=TargetType.DEPARTMENT, id="support"),
    rules="main",
    phone_numbers=(DID,),
)
_ids = itertools.count()


def queue(queue_id: str = "support", **changes: object) -> QueueConfig:
    hold = HoldQueue(max_hold_count=20, announce_position=False)
    given = {"call_center_id": "8001", "wrap_up_seconds": 0, "hold_queue": hold} | changes
    return QueueConfig(id=queue_id, name="Support", **given)  # type: ignore[arg-type]  # keywords


def directory(queues: list[QueueConfig], agents: Mapping[str, str | None]) -> Directory:
    resources = TenantResources(
        routers={"main": MAIN},
        queues={one.id: one for one in queues},
        agents={
            name: AgentConfig(
                id=name,
                name=name,
                user_id=f"u-{name}",
                endpoint=endpoint,
                queues={one.id: Member() for one in queues},
            )
            for name, endpoint in agents.items()
        },
    )
    return build({TENANT: resources}, lambda _: "")


class Notes:
    """`Records`, remembered."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, Note]] = []
        self.closed: list[str] = []

    def note(self, state: CallState, note: Note) -> None:
        self.noted.append((state.id, note))

    def close(self, state: CallState, *, cause: int) -> None:
        self.closed.append(state.id)

    def words(self) -> list[str]:
        return [note.what for _, note in self.noted]


class Switchboard:
    """The ports of one PBX. `woken` are the calls its controller was told to ask again."""

    def __init__(
        self,
        url: str,
        links: Links,
        world: Directory,
        scripts: Mapping[str, Script] | None = None,
        *,
        name: str = "pbx1",
        patience_s: float = 30.0,
        callbacks: CallbackSettings | None = None,
    ) -> None:
        self.world = world
        self.links = links
        self.agents = Agents(links, scripts)
        self.line = Line(links, scripts)
        self.pbx_line = PbxLine(links, scripts)
        self.callbacks = Callbacks(links, scripts)
        self.notes = Notes()
        self.now_s = time.time
        self.logins = LoginDesk(Phones(links), self.agents, lambda: self.world, TENANT)
        self.planner = Planner(lambda: self.world, TENANT, TRUNK, placed=self.logins.placed)
        self.holding = Holding(
            line=self.line,
            pbx_line=self.pbx_line,
            announcements=Announcements(parse_store_url(url)),
            tenant=TENANT,
            is_closed=lambda queue: self.planner.sends_away(queue, self.now_s()),
        )
        self.queueing = StoreQueueing(
            links=links,
            agents=self.agents,
            line=self.line,
            pbx_line=self.pbx_line,
            holding=self.holding,
            planner=self.planner,
            records=self.notes,
            tenant=TENANT,
            number=DIALABLE.e164,
            patience_s=patience_s,
            clock=self._clock,
        )
        self.going_on: dict[str, CallState] = {}
        self.by_name = ByName(
            agents=self.agents,
            pbx_line=self.pbx_line,
            talking=self.queueing,
            records=CallRecords(links),
            find=self.going_on.get,
            tenant=TENANT,
            pbx=name,
        )
        self.desk = CallbackDesk(
            self.callbacks,
            self.planner,
            DIALABLE,
            TENANT,
            clock=self._clock,
        )
        self.begun: list[CallState] = []
        self.dialler = Dialler(
            links=links,
            callbacks=self.callbacks,
            agents=self.agents,
            line=self.line,
            pbx_line=self.pbx_line,
            holding=self.holding,
            planner=self.planner,
            trunk=TRUNK,
            settings=callbacks or CallbackSettings(retry_seconds=1),
            tenant=TENANT,
            owner=name,
            begin=self._begin,
            clock=self._clock,
        )
        self.holding.on_foreign_wake = self.dialler.poke
        self.woken: list[str] = []
        self._has_woken = asyncio.Event()

    def _clock(self) -> float:
        return self.now_s()

    async def later(self) -> None:
        """The store's clock has gone on by a millisecond: who comes now comes later."""
        link = self.links.link_for(TENANT)
        began = link.redis_deadline_ms(in_s(0))
        while link.redis_deadline_ms(in_s(0)) <= began + 1:
            await asyncio.sleep(0.001)

    def _begin(self, state: CallState) -> object:
        self.begun.append(state)
        return state

    async def plan(self, state: CallState, action: Enqueue | None = None) -> QueuePlan:
        plan = self.planner.plan(state, action or Enqueue(queue="support"))
        assert isinstance(plan, QueuePlan)
        return plan

    async def arrives(self, state: CallState) -> object:
        return await self.queueing.stand_in_line(state, await self.plan(state))

    async def until_matched(self, state: CallState, limit_s: float = 5) -> Matched:
        """As a controller does: ask again whenever woken."""
        async with asyncio.timeout(limit_s):
            while True:
                self._has_woken.clear()
                if state.id in self.woken:
                    self.woken.remove(state.id)
                    answer = await self.arrives(state)
                    if isinstance(answer, Matched):
                        return answer
                await self._has_woken.wait()

    async def until_woken(self, call: str, limit_s: float = 5) -> None:
        async with asyncio.timeout(limit_s):
            while call not in self.woken:
                self._has_woken.clear()
                await self._has_woken.wait()

    async def listen(self) -> None:
        async for call in self.queueing.wakes():
            self.woken.append(call)
            self._has_woken.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work()) for work in (self.holding.run, self.listen)]
        try:
            await self._until_subscribed()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_subscribed(self) -> None:
        link = self.links.link_for(TENANT)
        async with asyncio.timeout(5):
            while True:
                channel = keys.freed(TENANT)
                reply = await link.call("PUBSUB", "NUMSUB", channel, deadline=in_s(2))
                if isinstance(reply, list) and reply[1] != 0:
                    return
                await asyncio.sleep(0.01)

    async def has(self, agent: str, *, on_duty: bool = True) -> None:
        """The agent exists, in every queue."""
        config = self.world.agent(TENANT, agent)
        assert config is not None
        for name in config.queues:
            await self.agents.register(TENANT, Requirement(name), in_s(5))
        await self.agents.put(
            TENANT,
            agent,
            queues={name: Membership(skill_level=100, order=1) for name in config.queues},
            skills={},
            deadline=in_s(5),
            on_duty=on_duty,
        )

    async def state_of(self, agent: str) -> str:
        view = await self.agents.get(TENANT, agent, in_s(5))
        assert view is not None
        return str(view.effective.state)


def call(caller: str | None = CALLER, **changes: object) -> CallState:
    number = next(_ids)
    given = {"called_number": DID, "arrived_ms": int(time.time() * 1000)} | changes
    return CallState(
        id=f"{number:032x}",
        kind=Kind.INBOUND,
        channel=LegId(f"17{number}.1"),
        caller_number=caller,
        **given,  # type: ignore[arg-type]  # keywords
    )


@contextlib.asynccontextmanager
async def switchboard(
    url: str,
    *,
    queues: list[QueueConfig] | None = None,
    agents: Mapping[str, str | None] | None = None,
    scripts: Mapping[str, Script] | None = None,
    **more: object,
) -> AsyncIterator[Switchboard]:
    people = agents if agents is not None else {"ada": "PJSIP/6001", "ben": "PJSIP/6002"}
    world = directory(queues or [queue()], people)
    async with Links(parse_store_url(url)) as links:
        await links.wait_open(in_s(5))
        board = Switchboard(url, links, world, scripts, **more)  # type: ignore[arg-type]  # keywords
        async with board.running():
            yield board
