"""Routers, queues and agents are written: one JSON text per resource, one version per tenant.

Writing goes "what moves first, what is written down last": an agent's or queue's live part is put
before its description, and removed before it. A crash in between leaves the description as it was, so
that the same operation, repeated, does the whole again. What changes by itself is not touched.

Of two who write the same agent at the same time each might put one half: so a description is written
only beside a live part that is like it, and removed only without one. Who was overtaken begins again.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from router.deadline import Deadline, in_s
from router.errors import ConflictError, InvalidInputError, NotFoundError
from router.site.forms import merged
from router.site.resources import (
    AgentConfig,
    Kind,
    QueueConfig,
    Resource,
    ResourceT,
    RouterConfig,
    check,
    kind_of,
)
from router.store import keys
from router.store.agent_records import queues_text, skills_text
from router.store.link import Link, Reply
from router.store.name_exchange import exchange_names
from router.store.operations import list_of, text_of, texts_of
from router.store.resource_keys import kept_under_id, live_keys, names_of
from router.store.resource_reading import (
    CHUNK,
    MOST_CHANGES_KEPT,
    LinkSource,
    ResourceReader,
    kind_of_type,
    name_of,
)
from router.store.scripts import load_script, run_script
from router.store.stored_forms import read_stored

_TRIES: Final = 5
_TRIES_OF_A_CHANGE: Final = 25
_STEP_ASIDE_S: Final = 0.005
"""For how long at most who was overtaken waits, times the tries so far: several do not meet again."""

_BUSY: Final = "somebody else keeps changing this; try again"

_encoder: Final = msgspec.json.Encoder(order="deterministic")


class ChangedError(ConflictError):
    """What is there is not what it was when it was read."""


class Outcome(StrEnum):
    """What a write did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


class Mode(StrEnum):
    """What may be there before a write."""

    ANY = "any"
    ABSENT = "absent"
    SAME = "same"


class LiveParts(Protocol):
    """The live side of agents and queues (`router/store/agents.py`): idempotent, keeps what lives."""

    async def put_queue(self, tenant: str, queue: QueueConfig, *, deadline: Deadline) -> None: ...
    async def remove_queue(self, tenant: str, queue_id: str, *, deadline: Deadline) -> None: ...
    async def put_agent(self, tenant: str, agent: AgentConfig, *, deadline: Deadline) -> None: ...
    async def remove_agent(self, tenant: str, agent_id: str, *, deadline: Deadline) -> None: ...


class Resources(ResourceReader):
    """Create, read, update, remove. Errors are those of the link, and those named per method."""

    def __init__(self, links: LinkSource, live: LiveParts) -> None:
        super().__init__(links)
        self._live = live

    async def put(
        self,
        tenant: str,
        resource: Resource,
        *,
        deadline: Deadline,
        expected: Resource | None = None,
        mode: Mode = Mode.ANY,
    ) -> Outcome:
        """Write it. With `expected` only over exactly that (mode `same`).

        InvalidInputError: a field is wrong, or an agent's queue is not there. ConflictError: another
        tenant has a router of that id, another agent that user, another queue that call center, or
        what is there is not what the mode asks for.
        """
        check(resource)
        link = self._links.link_for(tenant)
        if isinstance(resource, AgentConfig):
            await self._need_queues(link, tenant, resource, deadline)
        elif isinstance(resource, RouterConfig):
            await self._claim(tenant, resource.id, deadline)
        await self._need_tenant(tenant, deadline)
        for _ in range(_TRIES):
            if mode is Mode.ABSENT and await self._text(tenant, resource, deadline) is not None:
                raise _there(resource)
            await self._need_free_names(link, tenant, resource, deadline)
            await self._put_live(tenant, resource, deadline)
            try:
                outcome = await self._write(link, tenant, resource, expected, mode, deadline)
            except (ConflictError, InvalidInputError):
                if isinstance(resource, AgentConfig):
                    await self._put_live_as_described(link, tenant, resource.id, deadline)
                raise
            if outcome is not None:
                await self._keep_claim(tenant, resource, deadline)
                return outcome
        raise ChangedError(_BUSY)

    async def patch(
        self,
        tenant: str,
        type_: type[ResourceT],
        resource_id: str,
        change: Callable[[ResourceT], ResourceT] | Mapping[str, object],
        *,
        deadline: Deadline,
    ) -> ResourceT:
        """Change some fields: a mapping (see `merged`) or a function of what is there.

        Nobody else's change between reading and writing is lost. NotFoundError, InvalidInputError.
        """
        for tried in range(1, _TRIES_OF_A_CHANGE + 1):
            present = await self.get(tenant, type_, resource_id, deadline=deadline)
            if present is None:
                raise NotFoundError(f"there is no {resource_id}")
            wanted = merged(present, change) if isinstance(change, Mapping) else change(present)
            try:
                await self.put(tenant, wanted, deadline=deadline, expected=present, mode=Mode.SAME)
            except ChangedError:
                await asyncio.sleep(random.random() * _STEP_ASIDE_S * tried)  # noqa: S311 - a wait
                continue
            return wanted
        raise ChangedError(_BUSY)

    async def remove(
        self, tenant: str, type_: type[Resource], resource_id: str, *, deadline: Deadline
    ) -> None:
        """Remove it. NotFoundError when it is not there, ConflictError for a queue with members."""
        kind = kind_of_type(type_)
        if kind is Kind.QUEUES:
            await self._need_no_members(tenant, resource_id, deadline)
        for _ in range(_TRIES):
            if kind is Kind.QUEUES:
                await self._live.remove_queue(tenant, resource_id, deadline=deadline)
            elif kind is Kind.AGENTS:
                await self._live.remove_agent(tenant, resource_id, deadline=deadline)
            was_there = await self._erase(tenant, kind, resource_id, deadline)
            if was_there is not None:
                break
        else:
            raise ChangedError(_BUSY)
        if kind is Kind.ROUTERS:
            await self._give_up(tenant, resource_id, deadline)
        if not was_there:
            raise NotFoundError(f"there is no {resource_id}")

    async def declare_empty(self, tenant: str, *, deadline: Deadline) -> None:
        """Have it known that a tenant has nothing here, and has not just lost it.

        ConflictError: it has something.
        """
        if await self.has_any(tenant, deadline=deadline):
            message = f"{tenant} has routers, queues or agents in the store; remove those first"
            raise ConflictError(message)
        await self._need_tenant(tenant, deadline)
        link = self._links.link_for(tenant)
        now_ms = link.redis_deadline_ms(in_s(0))
        await link.call("SET", keys.version(tenant), now_ms, "NX", deadline=deadline)

    async def exchange_names(
        self,
        tenant: str,
        wanted: Sequence[Resource],
        given_up: Sequence[Resource],
        *,
        deadline: Deadline,
    ) -> bool:
        """See `router/store/name_exchange.py`."""
        link = self._links.link_for(tenant)
        return await exchange_names(link, tenant, wanted, given_up, deadline)

    async def need_free_routers(
        self, tenant: str, router_ids: Sequence[str], *, deadline: Deadline
    ) -> None:
        """ConflictError when another tenant has a router with one of these ids."""
        link = self._links.link_for_key(keys.ROUTER_IDS)
        for start in range(0, len(router_ids), CHUNK):
            some = router_ids[start : start + CHUNK]
            owners = await link.call("HMGET", keys.ROUTER_IDS, *some, deadline=deadline)
            for router_id, owner in zip(some, list_of(owners), strict=True):
                _need_own(tenant, router_id, owner)

    async def _write(  # noqa: PLR0917 - the parts of one write
        self,
        link: Link,
        tenant: str,
        resource: Resource,
        expected: Resource | None,
        mode: Mode,
        deadline: Deadline,
    ) -> Outcome | None:
        """None: somebody else has put the live part meanwhile."""
        kind = kind_of(resource)
        names = names_of(tenant, kind, resource.id)
        live = resource if isinstance(resource, AgentConfig) else None
        reply = await run_script(
            link,
            load_script("resource_put"),
            [
                keys.resources(tenant, kind),
                keys.version(tenant),
                keys.changes(tenant),
                keys.resources(tenant, Kind.QUEUES),
                *(name.index for name in names),
                *live_keys(tenant, kind, resource.id),
            ],
            [
                name_of(kind, resource.id),
                resource.id,
                _encoder.encode(resource),
                mode.value,
                _encoder.encode(expected) if expected is not None else b"",
                MOST_CHANGES_KEPT,
                len(names),
                queues_text(live.queues) if live else "",
                skills_text(live.skills) if live else "",
                *(word for name in names for word in (name.field, name.of(resource), name.unnamed)),
                *(live.queues if live else ()),
            ],
            deadline,
        )
        outcome, *detail = texts_of(reply)
        if outcome == "missing":
            raise _no_queue(*detail)
        if outcome == "taken":
            raise _taken(resource, *detail)
        if outcome == "conflict" and mode is Mode.ABSENT:
            raise _there(resource)
        if outcome == "conflict":
            raise ChangedError(f"{resource.id} is not what it was when it was read")
        return None if outcome == "overtaken" else Outcome(outcome)

    async def _put_live_as_described(
        self, link: Link, tenant: str, agent_id: str, deadline: Deadline
    ) -> None:
        """After a live part was put whose description was refused."""
        for _ in range(_TRIES):
            present = await self.get(tenant, AgentConfig, agent_id, deadline=deadline)
            if present is None:
                await self._live.remove_agent(tenant, agent_id, deadline=deadline)
                if await self.get(tenant, AgentConfig, agent_id, deadline=deadline) is None:
                    return
                continue
            await self._put_live(tenant, present, deadline)
            # Whoever has put it since sees to it; who has described it anew since may not know of us.
            with contextlib.suppress(ChangedError):
                await self._write(link, tenant, present, present, Mode.SAME, deadline)
                return

    async def _erase(
        self, tenant: str, kind: Kind, resource_id: str, deadline: Deadline
    ) -> bool | None:
        """Whether the description was there; None: somebody else has put the live part meanwhile."""
        names = names_of(tenant, kind, resource_id)
        fields, own = kept_under_id(tenant, kind, resource_id)
        reply = await run_script(
            self._links.link_for(tenant),
            load_script("resource_remove"),
            [
                keys.resources(tenant, kind),
                keys.version(tenant),
                keys.changes(tenant),
                *(name.index for name in names),
                *fields,
                *own,
                *live_keys(tenant, kind, resource_id),
            ],
            [
                name_of(kind, resource_id),
                resource_id,
                MOST_CHANGES_KEPT,
                len(fields),
                len(own),
                *(word for name in names for word in (name.field, name.unnamed)),
            ],
            deadline,
        )
        return None if reply == 2 else reply == 1

    async def _put_live(self, tenant: str, resource: Resource, deadline: Deadline) -> None:
        if isinstance(resource, AgentConfig):
            await self._live.put_agent(tenant, resource, deadline=deadline)
        elif isinstance(resource, QueueConfig):
            await self._live.put_queue(tenant, resource, deadline=deadline)

    async def _text(self, tenant: str, resource: Resource, deadline: Deadline) -> Reply:
        key = keys.resources(tenant, kind_of(resource))
        return await self._links.link_for(tenant).call("HGET", key, resource.id, deadline=deadline)

    async def _claim(self, tenant: str, router_id: str, deadline: Deadline) -> None:
        link = self._links.link_for_key(keys.ROUTER_IDS)
        await link.call("HSETNX", keys.ROUTER_IDS, router_id, tenant, deadline=deadline)
        owner = await link.call("HGET", keys.ROUTER_IDS, router_id, deadline=deadline)
        _need_own(tenant, router_id, owner)

    async def _give_up(self, tenant: str, router_id: str, deadline: Deadline) -> None:
        link = self._links.link_for_key(keys.ROUTER_IDS)
        owner = await link.call("HGET", keys.ROUTER_IDS, router_id, deadline=deadline)
        if owner is None or text_of(owner) != tenant:
            return
        await link.call("HDEL", keys.ROUTER_IDS, router_id, deadline=deadline)
        present = await self.get(tenant, RouterConfig, router_id, deadline=deadline)
        if present is not None:  # somebody has written it anew, by the claim that is gone now
            await self._keep_claim(tenant, present, deadline)

    async def _keep_claim(self, tenant: str, resource: Resource, deadline: Deadline) -> None:
        """See that a router that was just written is still its tenant's to have; else it goes."""
        if not isinstance(resource, RouterConfig):
            return
        try:
            await self._claim(tenant, resource.id, deadline)
        except ConflictError:
            await self._erase(tenant, Kind.ROUTERS, resource.id, deadline)
            raise

    async def _need_tenant(self, tenant: str, deadline: Deadline) -> None:
        link = self._links.link_for_key(keys.TENANTS)
        await link.call("SADD", keys.TENANTS, tenant, deadline=deadline)

    async def _need_queues(
        self, link: Link, tenant: str, agent: AgentConfig, deadline: Deadline
    ) -> None:
        wanted = list(agent.queues)
        if not wanted:
            return
        key = keys.resources(tenant, Kind.QUEUES)
        found = list_of(await link.call("HMGET", key, *wanted, deadline=deadline))
        for queue, text in zip(wanted, found, strict=True):
            if text is None:
                raise _no_queue(queue)

    async def _need_free_names(
        self, link: Link, tenant: str, resource: Resource, deadline: Deadline
    ) -> None:
        """Looked at before the live part is touched; the write itself is what decides."""
        for name in names_of(tenant, kind_of(resource), resource.id):
            wanted = name.of(resource)
            if not wanted:
                continue
            owner = await link.call("HGET", name.index, wanted, deadline=deadline)
            if owner is not None and text_of(owner) != resource.id:
                raise _taken(resource, text_of(owner), name.field)

    async def _need_no_members(self, tenant: str, queue_id: str, deadline: Deadline) -> None:
        texts = self.scan(tenant, Kind.AGENTS, deadline)
        agents = {id_: read_stored(Kind.AGENTS, text) async for id_, text in texts}
        members = sorted(
            id_
            for id_, agent in agents.items()
            if isinstance(agent, AgentConfig) and queue_id in agent.queues
        )
        if members:
            message = f"{len(members)} agents are members of {queue_id}, {members[0]} for one"
            raise ConflictError(message)


def _no_queue(queue: str) -> InvalidInputError:
    return InvalidInputError(f"there is no queue {queue}", field=f"queues.{queue}")


def _need_own(tenant: str, router_id: str, owner: Reply) -> None:
    """The note is for operators: one tenant's administrator is not told of another tenant."""
    if owner is not None and text_of(owner) != tenant:
        error = ConflictError(f"the router id {router_id} is in use by another tenant")
        error.add_note(f"{text_of(owner)} has it, and this is {tenant}")
        raise error


def _there(resource: Resource) -> ConflictError:
    return ConflictError(f"{resource.id} is there already")


def _taken(resource: Resource, owner: str, field: str) -> ConflictError:
    return ConflictError(f"the {field} of {resource.id} is that of {owner} already")
