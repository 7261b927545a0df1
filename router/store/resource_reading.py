"""Routers, queues and agents as the store has them: one by one, all of a tenant, and what has changed."""

from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

import msgspec
import structlog

from router.deadline import Deadline
from router.errors import StoreRefusedError
from router.site.directory import TenantResources
from router.site.resources import (
    TYPES,
    AgentConfig,
    Kind,
    QueueConfig,
    Resource,
    ResourceT,
    RouterConfig,
)
from router.store import keys
from router.store.link import Link
from router.store.operations import bytes_of, int_of, list_of, text_of, texts_of
from router.store.scripts import load_script, run_script
from router.store.stored_forms import read_stored

MOST_CHANGES_KEPT: Final = 5000
MOST_CHANGES_TOLD: Final = 500
CHUNK: Final = 200
"""Resources that one reply holds, so that nobody else waits long for theirs."""

_log = structlog.get_logger(__name__)


class LinkSource(Protocol):
    """Which connection leads to a tenant's keys, or to one key."""

    def link_for(self, tenant: str) -> Link: ...
    def link_for_key(self, key: str) -> Link: ...


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a tenant's resources: `changed` None means that everything has to be read."""

    version: int
    disabled: frozenset[str]
    changed: tuple[tuple[Kind, str], ...] | None


class ResourceReader:
    """What is there. Errors are those of the link, and those named per method."""

    def __init__(self, links: LinkSource) -> None:
        self._links = links

    async def get(
        self, tenant: str, type_: type[ResourceT], resource_id: str, *, deadline: Deadline
    ) -> ResourceT | None:
        """The resource as the store has it, None when it is not there."""
        link = self._links.link_for(tenant)
        kind = kind_of_type(type_)
        text = await link.call("HGET", keys.resources(tenant, kind), resource_id, deadline=deadline)
        if text is None:
            return None
        found = read_stored(kind, bytes_of(text))
        if not isinstance(found, type_):
            raise StoreRefusedError(
                f"{resource_id} was written by another version of crosspoint and cannot be read here"
            )
        return found

    async def load(
        self, tenant: str, known: TenantResources | None = None, *, deadline: Deadline
    ) -> TenantResources:
        """Everything of a tenant, read in pieces.

        The version is that of the beginning: whatever changes meanwhile is told by the next pulse.
        What cannot be read stays as it is `known`, or is left out.
        """
        pulse = await self.pulse(tenant, 0, deadline=deadline)
        unreadable: set[str] = set()
        found: dict[Kind, dict[str, Resource]] = {}
        for kind in Kind:
            before, into = _usable(known, kind), found.setdefault(kind, {})
            async for id_, text in self.scan(tenant, kind, deadline):
                _take(kind, id_, text, before, into, unreadable)
            found[kind] = dict(sorted(into.items()))
        return _resources(pulse, found, unreadable)

    async def renew(
        self, tenant: str, known: TenantResources, *, deadline: Deadline
    ) -> TenantResources:
        """The same picture when nothing has changed, else a new one, with as little reading as possible."""
        pulse = await self.pulse(tenant, known.version, deadline=deadline)
        if pulse.changed is None:
            return await self.load(tenant, deadline=deadline)
        if not pulse.changed and pulse.disabled == known.disabled:
            return known
        unreadable = set(known.unreadable)
        found = {kind: dict(known.of(kind)) for kind in Kind}
        for kind in Kind:
            ids = [id_ for of, id_ in pulse.changed if of is kind]
            await self._refresh(tenant, kind, ids, found[kind], unreadable, deadline)
        return _resources(pulse, found, unreadable)

    async def pulse(self, tenant: str, known_version: int, *, deadline: Deadline) -> Pulse:
        """What has changed since a version."""
        reply = await run_script(
            self._links.link_for(tenant),
            load_script("resource_pulse"),
            [keys.version(tenant), keys.changes(tenant), keys.routers_disabled(tenant)],
            [known_version, MOST_CHANGES_KEPT, MOST_CHANGES_TOLD],
            deadline,
        )
        version, is_complete, changed, disabled = list_of(reply)
        return Pulse(
            version=int_of(version),
            disabled=frozenset(texts_of(disabled)),
            changed=tuple(map(_change, texts_of(changed))) if is_complete == 1 else None,
        )

    async def tenant_of_router(self, router_id: str, *, deadline: Deadline) -> str | None:
        """The tenant that has this router, None when nobody has."""
        link = self._links.link_for_key(keys.ROUTER_IDS)
        owner = await link.call("HGET", keys.ROUTER_IDS, router_id, deadline=deadline)
        return None if owner is None else text_of(owner)

    async def tenants(self, *, deadline: Deadline) -> list[str]:
        """Every tenant that has, or had, resources."""
        link = self._links.link_for_key(keys.TENANTS)
        return sorted(texts_of(await link.call("SMEMBERS", keys.TENANTS, deadline=deadline)))

    async def has_any(self, tenant: str, *, deadline: Deadline) -> bool:
        """Whether a tenant has any resource now."""
        link = self._links.link_for(tenant)
        for kind in Kind:
            if await link.call("HLEN", keys.resources(tenant, kind), deadline=deadline):
                return True
        return False

    async def scan(
        self, tenant: str, kind: Kind, deadline: Deadline
    ) -> AsyncIterator[tuple[str, bytes]]:
        """The texts of a kind, some twice, in pieces: no reply keeps the connection to itself, and
        whoever reads them lets others have a turn in between.
        """
        link = self._links.link_for(tenant)
        cursor = b"0"
        while True:
            key = keys.resources(tenant, kind)
            reply = await link.call("HSCAN", key, cursor, "COUNT", CHUNK, deadline=deadline)
            next_cursor, pairs = list_of(reply)
            cursor = bytes_of(next_cursor)
            words = [bytes_of(word) for word in list_of(pairs)]
            for id_, text in zip(words[::2], words[1::2], strict=True):
                yield id_.decode(), text
            if cursor == b"0":
                return

    async def _refresh(  # noqa: PLR0917 - private
        self,
        tenant: str,
        kind: Kind,
        ids: list[str],
        into: dict[str, Resource],
        unreadable: set[str],
        deadline: Deadline,
    ) -> None:
        if not ids:
            return
        link = self._links.link_for(tenant)
        reply = await link.call("HMGET", keys.resources(tenant, kind), *ids, deadline=deadline)
        for id_, text in zip(ids, list_of(reply), strict=True):
            unreadable.discard(name_of(kind, id_))
            if text is None:
                into.pop(id_, None)
            else:
                _take(kind, id_, bytes_of(text), into, into, unreadable)


def _take(  # noqa: PLR0917 - private
    kind: Kind,
    id_: str,
    text: bytes,
    known: Mapping[str, Resource],
    into: dict[str, Resource],
    unreadable: set[str],
) -> None:
    """Read one text; where that is not possible what is known of it has to do."""
    resource = read_stored(kind, text)
    if resource is None:
        _log.error("resource_unreadable", kind=kind.value, id=id_, is_known=id_ in known)
        unreadable.add(name_of(kind, id_))
        resource = known.get(id_)
    if resource is not None:  # the same object for the same: quick to be compared
        into[id_] = known[id_] if known.get(id_) == resource else resource


def _usable(known: TenantResources | None, kind: Kind) -> Mapping[str, Resource]:
    """What may stand in: not a router whose secret was left out, it would take unsigned requests."""
    if known is None:
        return {}
    withheld = known.withheld if kind is Kind.ROUTERS else ()
    return {id_: one for id_, one in known.of(kind).items() if id_ not in withheld}


def name_of(kind: Kind, id_: str) -> str:
    return f"{kind.value}:{id_}"


def _resources(
    pulse: Pulse, found: Mapping[Kind, Mapping[str, Resource]], unreadable: set[str]
) -> TenantResources:
    def of(kind: Kind, type_: type[ResourceT]) -> dict[str, ResourceT]:
        items = found[kind].items()
        return {id_: resource for id_, resource in items if isinstance(resource, type_)}

    return TenantResources(
        version=pulse.version,
        routers=of(Kind.ROUTERS, RouterConfig),
        queues=of(Kind.QUEUES, QueueConfig),
        agents=of(Kind.AGENTS, AgentConfig),
        disabled=pulse.disabled,
        unreadable=frozenset(unreadable),
    )


def kind_of_type(type_: type[Resource]) -> Kind:
    return next(kind for kind, known in TYPES.items() if known is type_)


def _change(text: str) -> tuple[Kind, str]:
    kind, _, id_ = text.partition(":")
    return Kind(kind), id_
