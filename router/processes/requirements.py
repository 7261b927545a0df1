"""What the rules in force can ask of agents: the store is told before a call needs it, and forgets it in time."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from router.deadline import in_s
from router.errors import CrosspointError
from router.rulesets.in_force import Rulesets
from router.site.directory import Directory
from router.store.agents import Agents
from router.store.links import Links
from router.store.operations import MAX_REQUIREMENTS, TooManyRequirementsError
from rules.requirements import Requirement

REQUIREMENTS_EVERY_S: Final = 1.0
FORGET_EVERY_S: Final = 3600.0
"""How often requirements that nobody has used for a day are removed from the store."""

CROWDED: Final = MAX_REQUIREMENTS // 2
CROWDED_MS: Final = 4 * 3_600_000
"""Where a tenant has more than CROWDED, those unused for so long go too. What is in force is used at
least every two hours and a half: told once an hour to half an hour late, and noted to the hour."""

STORE_S: Final = 2.0
FORGET_S: Final = 30.0

_log = structlog.get_logger(__name__)


class Requirements:
    """Has the store know what the rules in force can ask of agents, before a call does."""

    def __init__(
        self,
        links: Links,
        agents: Agents,
        rulesets: Rulesets,
        directory: Callable[[], Directory],
    ) -> None:
        self._links = links
        self._agents = agents
        self._rulesets = rulesets
        self._directory = directory
        self._known: set[tuple[str, Requirement]] = set()
        self._refused: set[tuple[str, Requirement]] = set()
        self._connects = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        forget_at = loop.time() + FORGET_EVERY_S * (0.5 + random.random())  # noqa: S311 - workers take turns
        while True:
            await asyncio.sleep(REQUIREMENTS_EVERY_S)
            if self._links.is_open:
                with contextlib.suppress(CrosspointError):
                    await self.register()
                    if loop.time() >= forget_at:
                        forget_at = loop.time() + FORGET_EVERY_S
                        await self.forget()

    async def register(self) -> None:
        """Where a tenant has no room for more, the others' and the rest of its own are registered."""
        connects = self._links.connects
        if connects != self._connects:
            self._connects = connects
            self._known.clear()
        wanted = set(self._wanted())
        self._known &= wanted
        self._refused &= wanted
        refused = 0
        for tenant, requirement in wanted - self._known - self._refused:
            try:
                await self._agents.register(tenant, requirement, in_s(STORE_S))
            except TooManyRequirementsError:
                refused += 1
                self._refused.add((tenant, requirement))
            else:
                self._known.add((tenant, requirement))
        if refused:
            _log.warning("requirements_refused", count=refused, most_per_tenant=MAX_REQUIREMENTS)

    async def forget(self) -> None:
        """Remove what no ruleset in force asks for and nobody has used for a day, or less in a crowd.

        Registering counts as use: what is in force stays, however rarely a call needs it. What was
        refused is tried again: there may be room now.
        """
        self._known.clear()
        await self.register()
        for tenant in self._directory().tenants:
            if await self._agents.forget_unused(tenant, in_s(FORGET_S)) > CROWDED:
                await self._agents.forget_unused(tenant, in_s(FORGET_S), CROWDED_MS)
        self._refused.clear()

    def _wanted(self) -> Iterable[tuple[str, Requirement]]:
        for entry in self._directory().routers.values():
            ruleset = self._rulesets.get(entry.config.rules or "")
            for requirement in ruleset.requirements if ruleset is not None else ():
                yield entry.tenant, requirement
