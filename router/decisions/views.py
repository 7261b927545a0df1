"""Call routers and what they can name, in the form decisions want: made once per directory."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from router.decisions.error_budget import ErrorBudget
from router.decisions.outcome import RouterView
from router.site.directory import Directory, RouterEntry, TenantDirectory
from router.site.hours import is_open
from router.site.resources import AgentConfig, QueueConfig

MOST_UNREACHABLE = 100
"""Agents that one reservation can leave out."""


Phones = Callable[[str], Mapping[str, str]]
"""Of a tenant: agent -> endpoint of the phone at which the agent has logged in. Replaced, never changed."""


_NOWHERE: Mapping[str, str] = {}


def _no_phones(_: str) -> Mapping[str, str]:
    return _NOWHERE


class TenantNames:
    """`router.decisions.outcome.Names` of one tenant in one directory; agents have the phone where they are now."""

    def __init__(self, tenant: TenantDirectory, phones: Phones = _no_phones) -> None:
        self._tenant = tenant
        self._agents = tenant.resources.agents
        self._phones = phones
        self._seen_phones: Mapping[str, str] = {}
        self._unreachable: dict[tuple[str, str], tuple[str, ...]] = {}

    def queue(self, queue_id: str) -> QueueConfig | None:
        entry = self._tenant.queues.get(queue_id)
        return None if entry is None else entry.config

    def agent(self, agent_id: str) -> AgentConfig | None:
        found = self._agents.get(agent_id)
        phones = self._phones(self._tenant.name)
        if found is None or (phone := phones.get(agent_id)) is None:
            return found
        return msgspec.structs.replace(found, endpoint=phone)

    def is_open(self, queue_id: str, now_s: float) -> bool:
        entry = self._tenant.queues.get(queue_id)
        return entry is None or is_open(entry.calendar, now_s)

    def unreachable(self, queue_id: str, address: str) -> tuple[str, ...]:
        phones = self._phones(self._tenant.name)
        if phones is not self._seen_phones:
            self._seen_phones, self._unreachable = phones, {}
        key = (queue_id, address)
        found = self._unreachable.get(key)
        if found is None:
            members = (
                agent.id
                for agent in self._agents.values()
                if queue_id in agent.queues
                and getattr(agent, address) is None
                and not (address == "endpoint" and agent.id in phones)
            )
            found = self._unreachable[key] = tuple(sorted(members))[:MOST_UNREACHABLE]
        return found


class View(NamedTuple):
    """A router, and the names of its tenant."""

    router: RouterView
    names: TenantNames


class Views:
    """Finds routers in the present directory; nothing here waits."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        budget: ErrorBudget,
        phones: Phones = _no_phones,
    ) -> None:
        self._directory = directory
        self._budget = budget
        self._phones = phones
        self._seen: Directory | None = None
        self._views: dict[str, View] = {}
        self._names: dict[str, TenantNames] = {}

    def find(self, router_id: str, now_s: float) -> View | None:
        """The router as it stands now; `now_s` is seconds since the epoch."""
        directory = self._directory()
        if directory is not self._seen:
            self._seen, self._views, self._names = directory, {}, {}
        view = self._views.get(router_id)
        if view is None:
            entry = directory.router(router_id)
            if entry is None:
                return None
            view = self._views[router_id] = self._make(directory, entry)
        if view.router.is_enabled and self._budget.is_disabled(router_id, now_s):
            return view._replace(router=msgspec.structs.replace(view.router, is_enabled=False))
        return view

    def _make(self, directory: Directory, entry: RouterEntry) -> View:
        names = self._names.get(entry.tenant)
        if names is None:
            names = self._names[entry.tenant] = TenantNames(
                directory.tenants[entry.tenant], self._phones
            )
        config = entry.config
        router = RouterView(
            id=config.id,
            tenant=entry.tenant,
            default_target=config.default_target,
            rules=config.rules,
            routing_url=config.routing_url,
            secrets=tuple(secret.encode() for secret in entry.secrets),
            budget_s=config.budget_ms / 1000,
            is_enabled=entry.enabled,
            needs_signature=entry.is_signed and config.routing_url is None,
            signs=entry.is_signed and config.routing_url is not None,
        )
        return View(router, names)
