"""From what there should be to what there is: the difference, and carrying it out.

`plan` compares and changes nothing; `carry_out` does what the plan says. What changes by itself (duty
status, idle times, error counts, whether a router is enabled) is in neither. Every step may be
repeated: after an error the same apply, run again, finishes the work.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from router.deadline import Deadline, in_s
from router.errors import ConflictError, CrosspointError, NotFoundError
from router.site.directory import TenantResources
from router.site.file import Site
from router.site.forms import public_form
from router.site.resources import TYPES, Kind, Resource, kind_of, own_names

STEP_S: Final = 10.0
"""Seconds one write may take."""

_AT_ONCE: Final = 32
_PUT_ORDER: Final = (Kind.QUEUES, Kind.AGENTS, Kind.ROUTERS)
"""Agents need their queues; a router is announced when everything it leads to is there."""


class Action(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    REMOVE = "remove"


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One field, before and after, as they may be shown (no secrets)."""

    field: str
    before: object
    after: object


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one resource; `resource` is the new one, for a removal the old one."""

    kind: Kind
    id: str
    action: Action
    resource: Resource
    fields: tuple[FieldChange, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All changes of a tenant, in the order in which they are carried out."""

    tenant: str
    changes: tuple[Change, ...]

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.changes)

    @property
    def steps(self) -> tuple[Change, ...]:
        """The changes that write something."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)


class ResourceWriter(Protocol):
    """What is needed of `router/store/resources.py`."""

    async def put(self, tenant: str, resource: Resource, *, deadline: Deadline) -> object: ...
    async def remove(
        self, tenant: str, type_: type[Resource], resource_id: str, *, deadline: Deadline
    ) -> None: ...
    async def need_free_routers(
        self, tenant: str, router_ids: Sequence[str], *, deadline: Deadline
    ) -> None: ...
    async def exchange_names(
        self,
        tenant: str,
        wanted: Sequence[Resource],
        given_up: Sequence[Resource],
        *,
        deadline: Deadline,
    ) -> bool: ...


def plan(site: Site, current: TenantResources, *, prune: bool = False) -> Plan:
    """What has to be done; with `prune` also away with what the site does not name."""
    wanted: dict[Kind, Sequence[Resource]] = {
        Kind.ROUTERS: site.routers,
        Kind.QUEUES: site.queues,
        Kind.AGENTS: site.agents,
    }
    changes = [
        _change(resource, current.of(kind).get(resource.id))
        for kind in _PUT_ORDER
        for resource in wanted[kind]
    ]
    if prune:
        changes += _removals(wanted, current)
    return Plan(tenant=site.tenant, changes=tuple(changes))


async def carry_out(
    plan: Plan,
    resources: ResourceWriter,
    *,
    is_forced: bool = False,
    on_step: Callable[[Change], None] | None = None,
) -> None:
    """Do it, some steps at a time, kind by kind. `is_forced` writes what is unchanged too.

    Raises the first error after the steps that were under way have ended; running it again is safe.
    Router ids that are another tenant's are found before anything is written: the tenant may be wrong.
    """
    await need_free_routers(plan, resources)
    steps = plan.changes if is_forced else plan.steps
    for group in _groups(steps):
        left, has_exchanged = group, False
        while left:
            work = _Work(plan.tenant, resources, on_step)
            waiting = iter(left)
            await asyncio.gather(*(work.run(waiting) for _ in range(_AT_ONCE)))
            # What one agent gives up another may be waiting for: as long as some get on, try again.
            refused = [change for change, _ in work.refused]
            is_stuck = len(refused) == len(left)
            if is_stuck and (has_exchanged or not await _exchange(plan, refused, resources)):
                raise work.refused[0][1]
            left, has_exchanged = refused, is_stuck


async def _exchange(plan: Plan, stuck: Sequence[Change], resources: ResourceWriter) -> bool:
    """Have those that wait for one another's names exchange them; whether any did."""
    wanted = [change.resource for change in stuck if change.action is not Action.REMOVE]
    if not wanted:
        return False
    kind = stuck[0].kind
    given_up = [
        change.resource
        for change in plan.changes
        if change.kind is kind and change.action is Action.REMOVE
    ]
    return await resources.exchange_names(plan.tenant, wanted, given_up, deadline=in_s(STEP_S))


async def need_free_routers(plan: Plan, resources: ResourceWriter) -> None:
    """ConflictError when a router of the plan has the id of another tenant's."""
    wanted = [
        change.id
        for change in plan.changes
        if change.kind is Kind.ROUTERS and change.action is not Action.REMOVE
    ]
    await resources.need_free_routers(plan.tenant, wanted, deadline=in_s(STEP_S))


def need_free_names(plan: Plan, current: TenantResources) -> None:
    """ConflictError when a name is that of a resource which the plan leaves as it is.

    Usually one that was renamed in the files: the new one is to have what the old one has.
    """
    planned = {(change.kind, change.id) for change in plan.changes}
    owners = {
        (kind, field, name): id_
        for kind in Kind
        for id_, resource in current.of(kind).items()
        if (kind, id_) not in planned
        for field, name in own_names(resource).items()
    }
    for change in plan.changes:
        if change.action is Action.REMOVE:
            continue
        for field, name in own_names(change.resource).items():
            if owner := owners.get((change.kind, field, name)):
                raise ConflictError(
                    f"the {field} of {change.id} is that of {owner} already, which stands in no file;"
                    " `crosspoint apply --prune` removes what stands in none"
                )


def as_document(plan: Plan) -> dict[str, object]:
    """The plan as JSON values, without secrets."""
    return {
        "tenant": plan.tenant,
        "counts": {action.value: plan.count(action) for action in Action},
        "changes": [
            {
                "kind": change.kind.value,
                "id": change.id,
                "action": change.action.value,
                "fields": [
                    {"field": field.field, "before": field.before, "after": field.after}
                    for field in change.fields
                ],
            }
            for change in plan.steps
        ],
    }


class _Work:
    """Takes steps until there are no more; what is refused because of another one is kept."""

    def __init__(
        self, tenant: str, resources: ResourceWriter, on_step: Callable[[Change], None] | None
    ) -> None:
        self.refused: list[tuple[Change, ConflictError]] = []
        self._tenant = tenant
        self._resources = resources
        self._on_step = on_step

    async def run(self, waiting: Iterator[Change]) -> None:
        for change in waiting:
            try:
                await _step(change, self._tenant, self._resources)
            except ConflictError as error:
                _note(error, change)
                self.refused.append((change, error))
                continue
            except CrosspointError as error:
                _note(error, change)
                raise
            if self._on_step is not None:
                self._on_step(change)


def _note(error: CrosspointError, change: Change) -> None:
    error.add_note(f"while the {change.kind.value[:-1]} {change.id} was written")


async def _step(change: Change, tenant: str, resources: ResourceWriter) -> None:
    deadline = in_s(STEP_S)
    if change.action is not Action.REMOVE:
        await resources.put(tenant, change.resource, deadline=deadline)
        return
    try:
        await resources.remove(tenant, TYPES[change.kind], change.id, deadline=deadline)
    except NotFoundError:
        return  # somebody else was faster


def _groups(steps: Sequence[Change]) -> Iterator[list[Change]]:
    """Runs of the same kind and direction: within one the order does not matter."""
    group: list[Change] = []
    for step in steps:
        if group and _run(group[-1]) != _run(step):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def _run(change: Change) -> tuple[Kind, bool]:
    return change.kind, change.action is Action.REMOVE


def _removals(wanted: dict[Kind, Sequence[Resource]], current: TenantResources) -> list[Change]:
    named = {kind: {resource.id for resource in wanted[kind]} for kind in Kind}
    return [
        Change(kind=kind, id=id_, action=Action.REMOVE, resource=resource)
        for kind in reversed(_PUT_ORDER)
        for id_, resource in current.of(kind).items()
        if id_ not in named[kind]
    ]


def _change(resource: Resource, present: Resource | None) -> Change:
    action = Action.CREATE
    if present is not None:
        action = Action.UNCHANGED if present == resource else Action.UPDATE
    fields: tuple[FieldChange, ...] = ()
    if present is not None and action is Action.UPDATE:
        before, after = public_form(present), public_form(resource)
        fields = tuple(
            FieldChange(field=field, before=before[field], after=after[field])
            for field in after
            if getattr(present, field) != getattr(resource, field)
        )
    return Change(
        kind=kind_of(resource), id=resource.id, action=action, resource=resource, fields=fields
    )
