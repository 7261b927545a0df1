"""What every process knows by heart: an immutable picture of routers, queues and agents.

A routing request looks here and never in the store, so that it finds its router, secret and default
target whatever is broken. `DirectoryKeeper` renews the picture within a quarter of a second of a
change, keeps the last one while the store is gone, and writes it to the data folder, so that a
process that starts without a store can answer too.
"""

import time
from collections.abc import Iterable, Mapping

import msgspec

from router.errors import InvalidInputError
from router.site.hours import calendar_of
from router.site.resources import AgentConfig, Kind, QueueConfig, Resource, RouterConfig
from router.site.secret_refs import SecretRef
from router.site.secrets import Held, SecretSource, hold
from rules.calendars import Calendar


class TenantResources(msgspec.Struct, frozen=True, kw_only=True):
    """All resources of a tenant at one `version` (milliseconds of the store's clock, only growing).

    `disabled` are the routers that are switched off at the moment. `withheld` are the routers whose
    secret was left out here because it is a literal one (in the file beside the store). `unreadable`
    (`kind:id`) are those that the store has in a form which cannot be read here: they are as they were
    before, or missing.
    """

    version: int = 0
    routers: Mapping[str, RouterConfig] = {}
    queues: Mapping[str, QueueConfig] = {}
    agents: Mapping[str, AgentConfig] = {}
    disabled: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    def of(self, kind: Kind) -> Mapping[str, Resource]:
        """All of one kind, by id."""
        match kind:
            case Kind.ROUTERS:
                return self.routers
            case Kind.QUEUES:
                return self.queues
            case Kind.AGENTS:
                return self.agents


class RouterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A router as a routing request needs it.

    `texts` are the secrets by where they are from, the current one first; `gone_since_s` those of them
    whose file was deleted just now. `is_signed` with no texts means that none is to be had at the moment:
    then no request can be authenticated.
    `secret_problem` says what is wrong with one of them, never what it is.
    """

    tenant: str
    config: RouterConfig
    is_signed: bool
    texts: Mapping[SecretRef, str] = {}
    gone_since_s: Mapping[SecretRef, float] = {}
    enabled: bool = True
    secret_problem: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that may have signed a request, the current one first."""
        return tuple(self.texts.values())

    @property
    def refuses_all(self) -> bool:
        """Whether no request can be authenticated."""
        return self.is_signed and not self.texts

    def __repr__(self) -> str:
        return f"RouterEntry({self.tenant}/{self.config.id})"


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A queue with its hours ready to be asked; `calendar` None is always open."""

    config: QueueConfig
    calendar: Calendar | None = None


class TenantDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's part: by id, and by the platform's own ids."""

    name: str
    resources: TenantResources
    queues: Mapping[str, QueueEntry]
    agents_by_user_id: Mapping[str, AgentConfig]
    agents_by_number: Mapping[str, AgentConfig]
    queues_by_call_center_id: Mapping[str, QueueEntry]


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture. Never changed, only replaced."""

    tenants: Mapping[str, TenantDirectory] = {}
    routers: Mapping[str, RouterEntry] = {}

    def router(self, router_id: str) -> RouterEntry | None:
        return self.routers.get(router_id)

    def queue(self, tenant: str, queue_id: str) -> QueueEntry | None:
        found = self.tenants.get(tenant)
        return found.queues.get(queue_id) if found else None

    def agent(self, tenant: str, agent_id: str) -> AgentConfig | None:
        found = self.tenants.get(tenant)
        return found.resources.agents.get(agent_id) if found else None

    def agents_of(self, tenant: str) -> Iterable[AgentConfig]:
        found = self.tenants.get(tenant)
        return found.resources.agents.values() if found else ()

    def agent_by_user_id(self, tenant: str, user_id: str) -> AgentConfig | None:
        found = self.tenants.get(tenant)
        return found.agents_by_user_id.get(user_id) if found else None

    def agent_by_number(self, tenant: str, number: str) -> AgentConfig | None:
        """Who keys in this number; None also when it is more than one agent's."""
        found = self.tenants.get(tenant)
        return found.agents_by_number.get(number) if found else None

    def queue_by_call_center_id(self, tenant: str, call_center_id: str) -> QueueEntry | None:
        found = self.tenants.get(tenant)
        return found.queues_by_call_center_id.get(call_center_id) if found else None

    def queues_of(self, tenant: str) -> Mapping[str, QueueEntry]:
        found = self.tenants.get(tenant)
        return found.queues if found else {}

    def routers_of(self, tenant: str) -> Iterable[RouterEntry]:
        return (entry for entry in self.routers.values() if entry.tenant == tenant)

    def rulesets_in_use(self) -> frozenset[str]:
        """Names of the rulesets that some router uses."""
        return frozenset(
            entry.config.rules for entry in self.routers.values() if entry.config.rules is not None
        )

    def resources(self) -> dict[str, TenantResources]:
        """What it was built from."""
        return {name: tenant.resources for name, tenant in self.tenants.items()}


def build(
    resources: Mapping[str, TenantResources],
    secrets: SecretSource,
    previous: Directory | None = None,
) -> Directory:
    """Build the picture, taking what has not changed from the `previous` one.

    Reads secrets (files): run it off the event loop. What becomes of those that were there in the
    `previous` picture and are not to be had any more: `router/site/secrets.py`.
    """
    before = previous or Directory()
    tenants: dict[str, TenantDirectory] = {}
    routers: dict[str, RouterEntry] = {}
    for name, tenant in sorted(resources.items()):
        tenants[name] = _tenant(name, tenant, before.tenants.get(name))
        for router in tenant.routers.values():
            known = before.routers.get(router.id)
            own = known if known is not None and known.tenant == name else None
            routers.setdefault(router.id, _router(name, router, tenant, secrets, own))
    return Directory(tenants=tenants, routers=routers)


def _tenant(
    name: str, tenant: TenantResources, previous: TenantDirectory | None
) -> TenantDirectory:
    if previous is not None and previous.resources is tenant:
        return previous
    known = previous.queues if previous is not None else {}
    queues = {queue.id: _queue(queue, known.get(queue.id)) for queue in tenant.queues.values()}
    return TenantDirectory(
        name=name,
        resources=tenant,
        queues=queues,
        agents_by_user_id={
            agent.user_id: agent for agent in tenant.agents.values() if agent.user_id is not None
        },
        agents_by_number=_by_number(tenant.agents.values()),
        queues_by_call_center_id={
            entry.config.call_center_id: entry
            for entry in queues.values()
            if entry.config.call_center_id is not None
        },
    )


def _by_number(agents: Iterable[AgentConfig]) -> dict[str, AgentConfig]:
    """By the number each keys in. What is not one agent's is nobody's."""
    found: dict[str, list[AgentConfig]] = {}
    for agent in agents:
        if agent.keyed is not None:
            found.setdefault(agent.keyed, []).append(agent)
    return {number: some[0] for number, some in found.items() if len(some) == 1}


def _queue(queue: QueueConfig, previous: QueueEntry | None) -> QueueEntry:
    if previous is not None and previous.config == queue:
        return previous
    return QueueEntry(config=queue, calendar=_calendar(queue))


def _calendar(queue: QueueConfig) -> Calendar | None:
    """Hours were checked when they were written; hours that cannot be read (any more) are no hours."""
    if queue.calendar is None:
        return None
    try:
        calendar = calendar_of(queue.calendar)
    except InvalidInputError:
        return None
    calendar.prepare(time.time())  # 0.1 s for a country that was not asked for yet
    return calendar


def _router(
    tenant: str,
    router: RouterConfig,
    resources: TenantResources,
    secrets: SecretSource,
    before: RouterEntry | None,
) -> RouterEntry:
    held: dict[SecretRef, Held] = {}
    problem: str | None = None
    references = [ref for ref in (router.secret, router.previous_secret) if ref is not None]
    for reference in references:
        now, wrong = hold(reference, secrets, None if before is None else _held(before, reference))
        problem = problem or wrong
        if now is not None:
            held[reference] = now
    if router.id in resources.withheld:
        problem = "the secret is in the store, which has not been reached yet"
    return RouterEntry(
        tenant=tenant,
        config=router,
        is_signed=bool(references) or router.id in resources.withheld,
        texts={reference: each.text for reference, each in held.items()},
        gone_since_s={
            reference: each.gone_since_s
            for reference, each in held.items()
            if each.gone_since_s is not None
        },
        enabled=router.id not in resources.disabled,
        secret_problem=problem,
    )


def _held(entry: RouterEntry, reference: SecretRef) -> Held | None:
    text = entry.texts.get(reference)
    return None if text is None else Held(text, entry.gone_since_s.get(reference))


def without_literals(tenant: TenantResources) -> TenantResources:
    """The same without secrets in clear: for the file beside the store."""
    routers: dict[str, RouterConfig] = {}
    withheld = set(tenant.withheld)
    for router in tenant.routers.values():
        if _is_literal(router.secret) or _is_literal(router.previous_secret):
            withheld.add(router.id)
            routers[router.id] = msgspec.structs.replace(router, secret=None, previous_secret=None)
        else:
            routers[router.id] = router
    return msgspec.structs.replace(tenant, routers=routers, withheld=frozenset(withheld))


def _is_literal(reference: SecretRef | None) -> bool:
    return reference is not None and reference.value is not None
