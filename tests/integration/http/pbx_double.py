"""A controller without an Asterisk: the real state table, journal and remote control; phones by fiat.

What Asterisk would do at once is done at once: bridges come about and come apart, phones in `answering`
answer, legs that are hung up are gone. Everything between the HTTP request and the state of the call is real.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from pbx.inbox import Posted
from pbx.machine import commands as do
from pbx.machine.events import (
    Begin,
    Bridged,
    Control,
    Event,
    Gone,
    LegGone,
    LegUp,
    Planned,
    SplitDone,
    SplitFailed,
)
from pbx.machine.plans import LegId, QueuePlan
from pbx.machine.state import CallState, Kind, Leg, Phase
from pbx.machine.table import on
from router.deadline import in_s
from router.settings import PbxSettings
from router.store.agents import Agents
from router.store.announcements import Announcements
from router.store.call_records import CallRecords
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.store.pbx_commands import PbxCommands
from router.store.pbx_line import PbxLine
from router.telephony.by_name import ByName
from router.telephony.commands import RemoteControl
from router.telephony.numbers import Dialable
from router.telephony.setting_out import Planner, Trunk

TENANT = "acme"


class CallDouble:
    """Stands in for `pbx.session.Session`: one task, an inbox, the real table, the real journal."""

    def __init__(self, state: CallState, pbx: "PbxDouble") -> None:
        self.state = state
        self.on_moved: Callable[[CallDouble], None] = lambda _: None
        self.done: list[do.Command] = []
        self._pbx = pbx
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()

    def post(self, event: Event) -> bool:
        self._inbox.put_nowait(event)
        return True

    def post_control(self, control: Control, begin_by: float) -> Posted:
        posted = Posted(control, begin_by)
        if not self._pbx.is_stalled and posted.begin():
            self.post(control)
        return posted

    async def run(self) -> None:
        while self.state.phase is not Phase.ENDED:
            event = await self._inbox.get()
            self.state, commands = on(self.state, event)
            self.on_moved(self)
            self._pbx.by_name.follow(self.state)
            await self._pbx.save(self.state)
            for command in commands:
                self.done.append(command)
                self._carry_out(command)
        await self._pbx.forget(self.state.id)

    def _carry_out(self, command: do.Command) -> None:
        match command:
            case do.Split() | do.LeaveConference():
                self.post(SplitFailed() if self._pbx.cannot_split else SplitDone())
            case do.Bridge():
                self.post(Bridged())
            case do.MakePlan(action=action):
                self.post(Planned(self._pbx.planner.plan(self.state, action)))
            case do.HangUp(leg=str(leg)):
                self.post(LegGone(leg=leg, why=Gone.HUNG_UP))
            case do.Ring(leg=leg, endpoint=endpoint) if endpoint in self._pbx.answering:
                self.post(LegUp(leg))
            case _:
                pass


class TalkingDouble:
    """Agents are given back; who talks is of no interest here."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def has(self, agent: str, call: str) -> bool:
        return False

    def talks(self, state: CallState, agent: str, token: str) -> None: ...

    async def wrap_up(self, agent: str) -> None: ...

    async def release(self, agent: str, token: str) -> None:
        await self._agents.release(TENANT, agent, token, keep_place=True, deadline=in_s(5))


class PbxDouble:
    """`calls` of a RemoteControl, and its surroundings."""

    def __init__(
        self, links: Links, directory: Callable[[], object], settings: PbxSettings
    ) -> None:
        dialable = Dialable(settings.country, settings.dial_countries)
        self.trunk = Trunk(
            endpoint=settings.trunk_endpoint, dialable=dialable, caller_id=settings.caller_id
        )
        self.planner = Planner(directory, TENANT, self.trunk)  # type: ignore[arg-type]
        self.settings = settings
        self.is_ready = True
        self.is_full = False
        self.cannot_split = False
        self.is_stalled = False
        self.answering: set[str] = set()
        self.sessions: dict[str, CallDouble] = {}
        self.by_name = ByName(
            agents=Agents(links),
            pbx_line=PbxLine(links),
            talking=TalkingDouble(Agents(links)),
            records=CallRecords(links),
            find=lambda call: self.sessions[call].state if call in self.sessions else None,
            tenant=TENANT,
            pbx=settings.id,
        )
        self._live = LiveCalls(links)
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, call_id: str) -> CallDouble | None:
        session = self.sessions.get(call_id)
        return None if session is None or session.state.phase is Phase.ENDED else session

    def begin(self, state: CallState) -> CallDouble | None:
        if self.is_full:
            return None
        session = self._start(state)
        session.post(Begin())
        return session

    async def going_on(self, state: CallState) -> CallDouble:
        """A call that has come this far already, and is in the journal."""
        await self.save(state)
        return self._start(state)

    def _start(self, state: CallState) -> CallDouble:
        session = self.sessions[state.id] = CallDouble(state, self)
        task = asyncio.create_task(session.run())
        self._tasks.add(task)
        return session

    async def save(self, state: CallState) -> None:
        states = {state.id: msgspec.json.encode(state)}
        await self._live.save(TENANT, self.settings.id, states, in_s(5))

    async def forget(self, call_id: str) -> None:
        await self._live.save(TENANT, self.settings.id, {call_id: None}, in_s(5))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def remote_control(
    double: PbxDouble, links: Links, store_url: str, **more: object
) -> RemoteControl:
    return RemoteControl(
        calls=double,  # type: ignore[arg-type]
        commands=PbxCommands(links),
        by_name=double.by_name,
        announcements=Announcements(parse_store_url(store_url)),
        planner=double.planner,
        trunk=double.trunk,
        tenant=TENANT,
        pbx=double.settings.id,
        **more,  # type: ignore[arg-type]
    )


@contextlib.asynccontextmanager
async def at_work(
    double: PbxDouble, links: Links, store_url: str, **more: object
) -> AsyncIterator[RemoteControl]:
    """The controller listens, and is known to be there."""
    remote = remote_control(double, links, store_url, **more)
    task = asyncio.create_task(remote.run())
    try:
        async with asyncio.timeout(10):
            while double.settings.id not in await PbxCommands(links).pbxs(TENANT, in_s(5)):
                await asyncio.sleep(0.005)
        yield remote
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def talking(call_id: str = "c1", *, agent: str = "ada", **more: object) -> CallState:
    """A caller who talks with an agent."""
    state = CallState(
        id=call_id,
        kind=Kind.INBOUND,
        channel=LegId(f"{call_id}-caller"),
        phase=Phase.TALKING,
        is_up=True,
        caller_number="+4930555123",
        called_number="+4930100",
        arrived_ms=1_790_000_000_000,
        agent=Leg(id=LegId(f"{call_id}-agent"), endpoint="PJSIP/6001", agent=agent, is_up=True),
    )
    return msgspec.structs.replace(state, **more)


def holding(call_id: str, plan: QueuePlan) -> CallState:
    """A caller who waits."""
    waiting = talking(call_id)
    return msgspec.structs.replace(
        waiting, phase=Phase.HOLDING, agent=None, plan=plan, queue=plan, in_line=True
    )
