"""`agents`: agents, their state of this moment, duty, do-not-disturb, skills.

The role agent reads and changes only its own: the token's `sub` is the agent's id.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router.acd.agents import AgentRecord, AgentState, EffectiveState
from router.errors import InvalidInputError
from router.http.envelope import Page, timestamp
from router.http.roles import Access, Resource
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
from router.site.resources import AgentConfig, DutyReason, Id, Level
from router.store.agents_managed import AgentView
from router.store.resources import Mode


class AgentLive(msgspec.Struct, frozen=True, kw_only=True):
    """An agent at this moment. `state_until` is None where the state does not end by itself."""

    state: AgentState
    state_since: datetime | None
    state_until: datetime | None
    on_duty: bool
    duty_reason: str | None
    do_not_disturb: bool
    do_not_disturb_queues: list[str]
    enabled: bool
    unanswered_offers: int
    idle_since: datetime | None
    current_queue: str | None


class Duty(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On or off duty, in all queues; the reason is the agent's own."""

    on: bool
    reason: DutyReason | None = None


class DoNotDisturb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No calls of one queue, or of none at all when `queue` is left out."""

    on: bool
    queue: Id | None = None


class Enabled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Enable an agent who left too many offers unanswered, or disable one."""

    on: bool


class Skills(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All skills with their levels, replacing those before."""

    skills: Annotated[Mapping[Id, Level], Meta(max_length=100)]


AgentForm = form("Agent", AgentConfig, AgentLive)
AgentInput = input_form("AgentInput", AgentConfig)
AgentPatch = patch_form("AgentPatch", AgentConfig)


async def list_agents(asked: Asked[None]) -> Page:
    """Live parts come in the same order, by id; one that is not there yet is asked for singly."""
    configs = (await picture(asked)).agents
    if asked.access is Access.OWN:
        configs = {own: config for own, config in configs.items() if own == asked.who.sub}
    found = page(asked, configs)
    wanted = [item for item in found.items if isinstance(item, AgentConfig)]
    views: dict[str, AgentView] = {}
    if len(wanted) > 1:
        listed, _ = await asked.service.agents.list(
            asked.tenant, asked.deadline, limit=asked.limit, offset=asked.offset
        )
        views = {view.record.id: view for view in listed}
    forms: list[object] = []
    for config in wanted:
        view = views.get(config.id) or await _view(asked, config.id)
        forms.append(with_live(config, _live(view)))
    return msgspec.structs.replace(found, items=forms)


async def get_agent(asked: Asked[Any]) -> Raw:
    config = await asked.service.resources.get(
        asked.tenant, AgentConfig, asked.id, deadline=asked.deadline
    )
    if config is None:
        raise not_found(asked, "agent")
    return with_live(config, _live(await _view(asked, asked.id)))


async def create_agent(asked: Asked[Raw]) -> Raw:
    config = from_document(asked.body, AgentConfig)
    await asked.service.resources.put(
        asked.tenant, config, deadline=asked.deadline, mode=Mode.ABSENT
    )
    return with_live(config, _live(await _view(asked, config.id)))


async def patch_agent(asked: Asked[Raw]) -> Raw:
    change = asked.body
    await asked.service.resources.patch(
        asked.tenant,
        AgentConfig,
        asked.id,
        lambda present: merged(present, change),
        deadline=asked.deadline,
    )
    return await get_agent(asked)


async def remove_agent(asked: Asked[None]) -> Nothing:
    resources = asked.service.resources
    await resources.remove(asked.tenant, AgentConfig, asked.id, deadline=asked.deadline)
    return Nothing()


async def set_skills(asked: Asked[Skills]) -> Raw:
    skills = dict(asked.body.skills)
    await asked.service.resources.patch(
        asked.tenant,
        AgentConfig,
        asked.id,
        lambda present: msgspec.structs.replace(present, skills=skills),
        deadline=asked.deadline,
    )
    return await get_agent(asked)


async def set_duty(asked: Asked[Duty]) -> Raw:
    await asked.service.agents.set_duty(
        asked.tenant,
        asked.id,
        on=asked.body.on,
        reason=asked.body.reason,
        deadline=asked.deadline,
    )
    return await get_agent(asked)


async def set_do_not_disturb(asked: Asked[DoNotDisturb]) -> Raw:
    queue = asked.body.queue
    if queue is not None:
        view = await _view(asked, asked.id)
        if view is None:
            raise not_found(asked, "agent")
        if queue not in view.record.queues:
            raise InvalidInputError(f"This agent is no member of {queue}.", field="queue")
    await asked.service.agents.set_do_not_disturb(
        asked.tenant, asked.id, on=asked.body.on, queue=queue, deadline=asked.deadline
    )
    return await get_agent(asked)


async def set_enabled(asked: Asked[Enabled]) -> Raw:
    await asked.service.agents.set_enabled(
        asked.tenant, asked.id, on=asked.body.on, deadline=asked.deadline
    )
    return await get_agent(asked)


async def _view(asked: Asked[Any], agent: str) -> AgentView | None:
    return await asked.service.agents.get(asked.tenant, agent, asked.deadline)


def _live(view: AgentView | None) -> AgentLive:
    """An agent without a live part (just being made) is off duty."""
    if view is None:
        effective, record = (
            EffectiveState(state=AgentState.OFF_DUTY, since_ms=0),
            AgentRecord(id=""),
        )
    else:
        effective, record = view.effective, view.record
    disturbed = [name for name, member in record.queues.items() if member.do_not_disturb]
    return AgentLive(
        state=effective.state,
        state_since=timestamp(effective.since_ms or None),
        state_until=timestamp(effective.until_ms),
        on_duty=record.on_duty,
        duty_reason=record.reason,
        do_not_disturb=record.do_not_disturb,
        do_not_disturb_queues=sorted(disturbed),
        enabled=effective.state is not AgentState.DISABLED,
        unanswered_offers=record.unanswered,
        idle_since=timestamp(record.idle_since_ms or None),
        current_queue=record.queue,
    )


_R = Resource.AGENTS
ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/agents",
        resource=_R,
        summary="List agents with their state; the role agent sees itself",
        handler=list_agents,
        answer=AgentForm,
        is_list=True,
    ),
    Endpoint(
        method="POST",
        path="/agents",
        resource=_R,
        summary="Create an agent",
        handler=create_agent,
        body=AgentInput,
        is_raw=True,
        answer=AgentForm,
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/agents/{id}",
        resource=_R,
        summary="Get an agent with its state",
        handler=get_agent,
        answer=AgentForm,
        is_agents=True,
    ),
    Endpoint(
        method="PATCH",
        path="/agents/{id}",
        resource=_R,
        summary="Change an agent",
        handler=patch_agent,
        body=AgentPatch,
        is_raw=True,
        answer=AgentForm,
        is_agents=True,
    ),
    Endpoint(
        method="DELETE",
        path="/agents/{id}",
        resource=_R,
        summary="Remove an agent",
        handler=remove_agent,
        answer=Nothing,
        is_agents=True,
    ),
    Endpoint(
        method="PUT",
        path="/agents/{id}/duty",
        resource=Resource.AGENT_DUTY,
        summary="Go on or off duty",
        handler=set_duty,
        body=Duty,
        answer=AgentForm,
        is_agents=True,
    ),
    Endpoint(
        method="PUT",
        path="/agents/{id}/do_not_disturb",
        resource=Resource.AGENT_DO_NOT_DISTURB,
        summary="Set or clear do-not-disturb, overall or for one queue",
        handler=set_do_not_disturb,
        body=DoNotDisturb,
        answer=AgentForm,
        is_agents=True,
    ),
    Endpoint(
        method="PUT",
        path="/agents/{id}/enabled",
        resource=Resource.AGENT_ENABLED,
        summary="Enable or disable an agent",
        handler=set_enabled,
        body=Enabled,
        answer=AgentForm,
        is_agents=True,
    ),
    Endpoint(
        method="PUT",
        path="/agents/{id}/skills",
        resource=Resource.AGENT_SKILLS,
        summary="Replace an agent's skills",
        handler=set_skills,
        body=Skills,
        answer=AgentForm,
        is_agents=True,
    ),
)
