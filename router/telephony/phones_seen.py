"""What Asterisk sees of the agents' phones, told to the store: who has none is offered no call.

How it works. The last known state of every phone is kept, and what the store was told last of every agent;
`run` tells it what differs. So a store that is away, an agent who is new or has moved to another phone, and a
connection that was lost all come right by themselves.

A phone that is in use by a call of ours is not reported busy: the lease of that call says it better. An agent
who can be reached by another platform too is not lost with the phone.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from pbx.phones import PhoneState
from router.deadline import in_s
from router.errors import CrosspointError, NotFoundError
from router.site.directory import Directory
from router.site.resources import AgentConfig
from router.store.agents import Agents
from router.store.agents_seen import PhoneSeen
from router.telephony.phones_in_calls import PhonesInCalls

GATHER_S: Final = 0.05
"""A phone that rings off and on again within so long is told once."""
LOOK_S: Final = 10.0
"""New agents, moved phones and what was held back are looked for so often."""
STORE_S: Final = 2.0
MOST_PHONES: Final = 20_000
_AT_ONCE: Final = 50

_log = structlog.get_logger(__name__)


class PhonesSeen:
    """`pbx.ports.Phones` of one PBX of one tenant. `run` is a task of the process."""

    def __init__(
        self,
        agents: Agents,
        directory: Callable[[], Directory],
        placed: Callable[[AgentConfig], AgentConfig],
        in_calls: PhonesInCalls,
        *,
        tenant: str,
        pbx: str,
    ) -> None:
        """`placed` gives an agent the phone where they are."""
        self._agents = agents
        self._directory = directory
        self._placed = placed
        self._in_calls = in_calls
        self._tenant = tenant
        self._pbx = pbx
        self._states: dict[str, PhoneState] = {}
        self._told: dict[str, PhoneSeen] = {}
        self._whose: dict[str, list[AgentConfig]] = {}
        self._is_known = False
        self._changed = asyncio.Event()

    def know(self, phones: Mapping[str, PhoneState]) -> None:
        self._states = dict(list(phones.items())[:MOST_PHONES])
        self._told.clear()
        self._is_known = True
        self._changed.set()

    def learn(self, endpoint: str, state: PhoneState) -> None:
        if endpoint not in self._states and len(self._states) >= MOST_PHONES:
            return
        self._states[endpoint] = state
        agents = self._whose.get(endpoint, ())
        seen = ((agent, self._seen(agent)) for agent in agents)
        if any(state not in {None, self._told.get(agent.id)} for agent, state in seen):
            self._changed.set()

    def look(self) -> None:
        """Somebody is at another phone: whether it can be rung is told now, not with the next look."""
        self._changed.set()

    async def run(self) -> None:
        """Tell the store what it does not know yet, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            if self._is_known:
                await self.tell()

    async def tell(self) -> None:
        """Tell what differs from what was told before; what fails is tried at the next look."""
        differing = self._differing()
        for start in range(0, len(differing), _AT_ONCE):
            some = differing[start : start + _AT_ONCE]
            failed = await asyncio.gather(*(self._tell(agent, seen) for agent, seen in some))
            if reasons := sorted(set(filter(None, failed))):
                _log.warning("phones_not_told", reasons=reasons)
                return

    def _differing(self) -> Sequence[tuple[str, PhoneSeen]]:
        told: dict[str, PhoneSeen] = {}
        whose: dict[str, list[AgentConfig]] = {}
        differing: list[tuple[str, PhoneSeen]] = []
        for config in self._directory().agents_of(self._tenant):
            agent = self._placed(config)
            if agent.endpoint is not None:
                whose.setdefault(agent.endpoint, []).append(agent)
            before = self._told.get(agent.id)
            if before is not None:
                told[agent.id] = before
            seen = self._seen(agent)
            if seen is not None and seen is not before:
                differing.append((agent.id, seen))
        self._told, self._whose = told, whose
        return differing

    def _seen(self, agent: AgentConfig) -> PhoneSeen | None:
        """What to tell of an agent; None: what was told before still holds."""
        state = PhoneState.FREE if agent.endpoint is None else self._states.get(agent.endpoint)
        if state is None:
            return None
        if state is PhoneState.BUSY and self._in_calls.has(agent.endpoint, agent.id):
            return None
        if state is PhoneState.LOST and agent.user_id is not None:
            state = PhoneState.FREE
        return PhoneSeen(state.value)

    async def _tell(self, agent: str, seen: PhoneSeen) -> str | None:
        """Why the store did not take it; None: it did."""
        try:
            await self._agents.observe_phone(
                self._tenant, agent, seen=seen, pbx=self._pbx, deadline=in_s(STORE_S)
            )
        except NotFoundError:
            return None  # described, but not made yet: the next look
        except CrosspointError as error:
            return error.code
        self._told[agent] = seen
        return None
