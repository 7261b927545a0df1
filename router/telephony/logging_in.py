"""Agents log in and out by phone: on duty or off, at the phone from which they called.

How it works: which phone is whose stands in the store. A copy of it is kept here, since a phone has
to be found without asking; it is renewed every second, and at once by what happens here.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from router.deadline import in_s
from router.directory import Directory
from router.errors import CrosspointError, NotFoundError
from router.resources import AgentConfig
from router.store.agents import Agents
from router.store.phones import Phones

STORE_S: Final = 2.0
RENEWED_EVERY_S: Final = 1.0
LOGGED_OUT: Final = "logged out by phone"
REPLACED: Final = "another agent logged in at this phone"

_log = structlog.get_logger(__name__)


class LoginDesk:
    """Who is at which phone, of one tenant."""

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
        self._at: dict[str, str] = {}

    def find(self, number: str) -> AgentConfig | None:
        """Who keys in this number; None: nobody, or more than one."""
        return self._directory().agent_by_number(self._tenant, number)

    def placed(self, agent: AgentConfig) -> AgentConfig:
        """The agent with the phone at which they are now."""
        endpoint = self._at.get(agent.id)
        return agent if endpoint is None else msgspec.structs.replace(agent, endpoint=endpoint)

    async def log_in(self, agent: AgentConfig, phone: str) -> bool:
        """On duty at this phone, which is nobody else's then. Empty: at the phone of the site.

        False: not done. CrosspointError: the store did not say.
        """
        if phone:
            before = await self._phones.take(self._tenant, agent.id, phone, in_s(STORE_S))
            self._at = {one: at for one, at in self._at.items() if one not in before}
            self._at[agent.id] = phone
            for other in before:
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
        self._at.pop(agent.id, None)

    async def _off_duty(self, agent: str, reason: str) -> None:
        await self._agents.set_duty(
            self._tenant, agent, on=False, reason=reason, deadline=in_s(STORE_S)
        )

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
        self._at = await self._phones.all(self._tenant, in_s(STORE_S))
