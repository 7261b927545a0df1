"""How the store is and what it counts, looked at now and then: for the error budget and the metrics."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from router.deadline import in_s
from router.decisions.error_budget import ErrorBudget
from router.errors import CrosspointError
from router.metrics import Observer
from router.processes.store_writes import StoreWrites
from router.rulesets.in_force import Rulesets
from router.site.directory import Directory
from router.store import errors
from router.store.links import Links

EVERY_S: Final = 2.0
_STORE_S: Final = 2.0


class HealthWatch:
    """One per process; `log_lines_dropped` tells how many the log had no room for."""

    def __init__(
        self,
        *,
        links: Links,
        writes: StoreWrites,
        rulesets: Rulesets,
        directory: Callable[[], Directory],
        budget: ErrorBudget,
        observer: Observer,
        log_lines_dropped: Callable[[], int],
    ) -> None:
        self._links = links
        self._writes = writes
        self._rulesets = rulesets
        self._directory = directory
        self._budget = budget
        self._observer = observer
        self._log_lines_dropped = log_lines_dropped

    async def run(self) -> None:
        while True:
            directory = self._directory()
            self._observer.link(is_open=self._links.is_open)
            self._observer.log_lines_dropped(self._log_lines_dropped())
            missing = self._rulesets.missing(directory.rulesets_in_use())
            self._observer.rulesets_missing(len(missing))
            with contextlib.suppress(CrosspointError):
                await self._count(directory)
            with contextlib.suppress(CrosspointError):
                await self._writes.look(directory.tenants)
            await asyncio.sleep(EVERY_S)

    async def _count(self, directory: Directory) -> None:
        """Errors of routers, and which of them are off."""
        counts: dict[str, int] = {}
        disabled = 0
        for tenant in directory.tenants:
            link = self._links.link_for(tenant)
            names = [entry.config.id for entry in directory.routers_of(tenant)]
            found = await errors.read_health(link, tenant, names, in_s(_STORE_S))
            for router_id, state in found.items():
                self._budget.shared(router_id, state.error_count)
                counts[router_id] = state.error_count
                disabled += not state.is_enabled
        self._observer.routers(counts, disabled)
