"""`queues`: queues with what goes on in them at the moment."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from router.http.envelope import Page
from router.http.roles import Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.resources import (
    Nothing,
    Raw,
    form,
    input_form,
    not_found,
    page,
    patch_form,
    picture,
    with_live,
)
from router.site.forms import from_document, merged
from router.site.hours import is_open
from router.site.resources import QueueConfig
from router.store.facts import MAX_QUEUES, queue_facts
from router.store.resources import Mode
from rules.facts import QueueFacts


class QueueLive(msgspec.Struct, frozen=True, kw_only=True):
    """A queue at this moment; None is unknown, durations in seconds.

    `is_open` follows the hours of the picture this process has, a quarter of a second old at most.
    """

    is_open: bool | None
    waiting: int | None
    longest_wait_seconds: float | None
    estimated_wait_seconds: float | None
    agents_idle: int | None
    agents_on_duty: int | None


QueueForm = form("Queue", QueueConfig, QueueLive)
QueueInput = input_form("QueueInput", QueueConfig)
QueuePatch = patch_form("QueuePatch", QueueConfig)


async def list_queues(asked: Asked[None]) -> Page:
    found = page(asked, (await picture(asked)).queues)
    configs = [item for item in found.items if isinstance(item, QueueConfig)]
    facts = await _facts(asked, [config.id for config in configs])
    forms: list[object] = [_form(asked, config, facts) for config in configs]
    return msgspec.structs.replace(found, items=forms)


async def get_queue(asked: Asked[Any]) -> Raw:
    config = await asked.service.resources.get(
        asked.tenant, QueueConfig, asked.id, deadline=asked.deadline
    )
    if config is None:
        raise not_found(asked, "queue")
    return _form(asked, config, await _facts(asked, [config.id]))


async def create_queue(asked: Asked[Raw]) -> Raw:
    config = from_document(asked.body, QueueConfig)
    await asked.service.resources.put(
        asked.tenant, config, deadline=asked.deadline, mode=Mode.ABSENT
    )
    return _form(asked, config, await _facts(asked, [config.id]))


async def patch_queue(asked: Asked[Raw]) -> Raw:
    change = asked.body
    config = await asked.service.resources.patch(
        asked.tenant,
        QueueConfig,
        asked.id,
        lambda present: merged(present, change),
        deadline=asked.deadline,
    )
    return _form(asked, config, await _facts(asked, [config.id]))


async def remove_queue(asked: Asked[None]) -> Nothing:
    resources = asked.service.resources
    await resources.remove(asked.tenant, QueueConfig, asked.id, deadline=asked.deadline)
    return Nothing()


async def _facts(asked: Asked[Any], names: list[str]) -> Mapping[str, QueueFacts]:
    found: dict[str, QueueFacts] = {}
    for start in range(0, len(names), MAX_QUEUES):
        some = names[start : start + MAX_QUEUES]
        found.update(await queue_facts(asked.link, asked.tenant, some, asked.deadline))
    return found


def _form(asked: Asked[Any], config: QueueConfig, facts: Mapping[str, QueueFacts]) -> Raw:
    known = facts.get(config.id, QueueFacts())
    live = QueueLive(
        is_open=_is_open(asked, config),
        waiting=known.waiting,
        longest_wait_seconds=known.longest_wait_s,
        estimated_wait_seconds=known.estimated_wait_s,
        agents_idle=known.agents_idle,
        agents_on_duty=known.agents_on_duty,
    )
    return with_live(config, live)


def _is_open(asked: Asked[Any], config: QueueConfig) -> bool | None:
    if config.calendar is None:
        return True
    entry = asked.service.directory().queue(asked.tenant, config.id)
    if entry is None or entry.calendar is None or entry.config.calendar != config.calendar:
        return None
    return is_open(entry.calendar, time.time())


_R = Resource.QUEUES
ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/queues",
        resource=_R,
        summary="List queues with their live status",
        handler=list_queues,
        answer=QueueForm,
        is_list=True,
    ),
    Endpoint(
        method="POST",
        path="/queues",
        resource=_R,
        summary="Create a queue",
        handler=create_queue,
        body=QueueInput,
        is_raw=True,
        answer=QueueForm,
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/queues/{id}",
        resource=_R,
        summary="Get a queue with its live status",
        handler=get_queue,
        answer=QueueForm,
    ),
    Endpoint(
        method="PATCH",
        path="/queues/{id}",
        resource=_R,
        summary="Change a queue",
        handler=patch_queue,
        body=QueuePatch,
        is_raw=True,
        answer=QueueForm,
    ),
    Endpoint(
        method="DELETE",
        path="/queues/{id}",
        resource=_R,
        summary="Remove a queue that has no members",
        handler=remove_queue,
        answer=Nothing,
    ),
)
