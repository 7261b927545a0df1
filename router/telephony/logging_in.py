"""Agents log in and out by phone: on duty or off, at the phone from which they called.

How it works: which phone is whose stands in the store. A copy of it is kept in each process that rings
agents or tells a dialplan whom to ring, since a phone has to be found without asking; it is renewed every
second, and at once by what happens here.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
import structlog

from router.deadline import in_s
from router.errors import CrosspointError, NotFoundError
from router.site.directory import Directory
from router.site.resources import AgentConfig
from router.store.agents import Agents
from router.store.phones import Phones

STORE_S: Final = 2.0
RENEWED_EVERY_S: Final = 1.0
LOGGED_OUT: Final = "logged out by phone"
REPLACED: Final = "another agent logged in at this phone"

_NOWHERE: Final[Mapping[str, str]] = {}
_log = structlog.get_logger(__name__)


class Whereabouts:
    """Who has logged in at which phone: a copy. `run` is a task of the process."""

    def __init__(self, phones: Phones, tenants: Callable[[], Iterable[str]]) -> None:
        """`tenants` are those whose agents are asked about."""
        self._phones = phones
        self._tenants = tenants
        self._at: dict[str, Mapping[str, str]] = {}
        self.on_moved: Callable[[], None] = lambda: None
        """Called when somebody is at another phone than before."""

    def of(self, tenant: str) -> Mapping[str, str]:
        """Agent -> endpoint. Never changed, only replaced."""
        return self._at.get(tenant, _NOWHERE)

    def learn(self, tenant: str, at: Mapping[str, str]) -> None:
        """It has just become known."""
        if at != self.of(tenant):
            self._at[tenant] = at
            self.on_moved()

    async def run(self) -> None:
        """Keep the copy fresh until cancelled; while the store is away the last one holds."""
        while True:
            try:
                await self.renew()
            except CrosspointError as error:
                _log.debug("phones_not_renewed", reason=error.code)
            await asyncio.sleep(RENEWED_EVERY_S)

    async def renew(self) -> None:
        """Read who is where. Raises CrosspointError."""
        tenants = set(self._tenants())
        for tenant in self._at.keys() - tenants:
            del self._at[tenant]
        for tenant in tenants:
            self.learn(tenant, await self._phones.all(tenant, in_s(STORE_S)))


class LoginDesk:
    """Logs agents of one tenant in and out, and knows where they are. `run` is a task of the process."""

    def __init__(
        self,
        phones: Phones,
        agents: Agents,
        directory: Callable[[], Directory],
        tenant: str,
    ) -> None:
        self._phones = phones
        self._agents = agents
        self._directory = directory
        self._tenant = tenant
        self._whereabouts = Whereabouts(phones, lambda: (tenant,))

    def on_moved(self, call: Callable[[], None]) -> None:
        """Have it called when somebody is at another phone than before."""
        self._whereabouts.on_moved = call

    def find(self, number: str) -> AgentConfig | None:
        """Who keys in this number; None: nobody, or more than one."""
        return self._directory().agent_by_number(self._tenant, number)

    def placed(self, agent: AgentConfig) -> AgentConfig:
        """The agent with the phone at which they are now."""
        endpoint = self._whereabouts.of(self._tenant).get(agent.id)
        return agent if endpoint is None else msgspec.structs.replace(agent, endpoint=endpoint)

    async def log_in(self, agent: AgentConfig, phone: str) -> bool:
        """On duty at this phone, which is nobody else's then. Empty: at the phone of the site.

        False: not done. CrosspointError: the store did not say.
        """
        if phone:
            before = await self._phones.take(self._tenant, agent.id, phone, in_s(STORE_S))
            self._learn({agent.id: phone}, without=before)
            for other in (*before, *await self._on_duty_by_the_site(phone, agent)):
                with contextlib.suppress(NotFoundError):  # no agent any more
                    await self._off_duty(other, REPLACED)
        elif self.placed(agent).endpoint is None:
            return False  # called from outside and has no phone to ring
        await self._agents.set_duty(self._tenant, agent.id, on=True, deadline=in_s(STORE_S))
        return True

    async def log_out(self, agent: AgentConfig) -> None:
        """Off duty, at no phone. CrosspointError: the store did not say."""
        await self._off_duty(agent.id, LOGGED_OUT)
        await self._phones.leave(self._tenant, agent.id, in_s(STORE_S))
        self._learn({}, without=(agent.id,))

    async def _on_duty_by_the_site(self, phone: str, besides: AgentConfig) -> list[str]:
        """Agents on duty whose own phone it is, and who have not logged in at another."""
        there = [
            one.id
            for one in self._directory().agents_of(self._tenant)
            if one.endpoint == phone and one.id != besides.id and self.placed(one) is one
        ]
        views = [await self._agents.get(self._tenant, one, in_s(STORE_S)) for one in there]
        return [view.record.id for view in views if view is not None and view.record.on_duty]

    async def _off_duty(self, agent: str, reason: str) -> None:
        await self._agents.set_duty(
            self._tenant, agent, on=False, reason=reason, deadline=in_s(STORE_S)
        )

    def _learn(self, at: Mapping[str, str], *, without: Iterable[str]) -> None:
        known = self._whereabouts.of(self._tenant)
        gone = frozenset(without)
        stay = {agent: phone for agent, phone in known.items() if agent not in gone}
        self._whereabouts.learn(self._tenant, {**stay, **at})

    async def run(self) -> None:
        """Keep what is known fresh until cancelled."""
        await self._whereabouts.run()

    async def renew(self) -> None:
        """Read who is where. Raises CrosspointError."""
        await self._whereabouts.renew()
