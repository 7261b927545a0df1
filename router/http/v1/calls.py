"""`calls`: what goes on at this moment, read from the journal that each PBX keeps of its calls.

The role agent sees the calls it talks in.
"""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pbx.machine.state import CallState, Kind, Leg, Phase
from router.call_record import Direction
from router.errors import ForbiddenError, InvalidInputError
from router.http.envelope import Page, page_of, timestamp
from router.http.roles import Access, Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.resources import not_found
from router.http.v1.shown import number_shown
from router.site.texts import ONE_LINE
from router.telephony.remote import LiveCall

Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=ONE_LINE)]


class PartyRole(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody besides the caller; `agent` None is a number that was dialled. `id` is for `drop`."""

    id: str
    role: Literal["agent", "rung", "third", "member", "supervisor"]
    agent: str | None
    is_up: bool


class CallForm(msgspec.Struct, frozen=True, kw_only=True):
    """A live call. `position` (from 1) is its place in the line of `queue`; `agent` is who the caller
    talks to, in a conference who was there first; `callback` is the one that the call is to keep. `recording_paused`:
    silence is being recorded."""

    id: str
    pbx: str
    kind: Kind
    direction: Direction
    state: Phase
    caller: str | None
    called: str | None
    queue: str | None
    position: int | None
    agent: str | None
    callback: str | None
    parties: list[PartyRole]
    since: datetime | None
    recording: bool
    recording_paused: bool
    supervision: str | None
    labels: list[str]


class LabelsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All labels, replacing those before."""

    labels: Annotated[list[Label], Meta(max_length=20)]


async def list_calls(asked: Asked[None]) -> Page:
    """In the order they arrived. The role agent sees the calls it talks in."""
    queue, agent, phase = (asked.query.get(name) for name in ("queue", "agent", "state"))
    if phase is not None and phase not in set(Phase):
        raise InvalidInputError(f"state is one of {', '.join(Phase)}.", field="state")
    calls = [
        call
        for call in await asked.service.telephony.calls(asked.tenant, asked.deadline)
        if (queue is None or _queue_of(call.state) == queue)
        and (agent is None or call.has(agent))
        and (phase is None or call.state.phase == phase)
        and (asked.access is not Access.OWN or call.has(asked.who.sub))
    ]
    found = page_of(list(calls), limit=asked.limit, offset=asked.offset)
    some = [call for call in found.items if isinstance(call, LiveCall)]
    return msgspec.structs.replace(found, items=list(await _forms(asked, some)))


async def get_call(asked: Asked[None]) -> CallForm:
    (form,) = await _forms(asked, [await the_call(asked)])
    return form


async def the_call(asked: Asked[Any]) -> LiveCall:
    """The call of the path; an agent is told nothing of calls that are not its own, not even that."""
    call = await asked.service.telephony.call(asked.tenant, asked.id, asked.deadline)
    if asked.access is Access.OWN and (call is None or not call.has(asked.who.sub)):
        raise ForbiddenError("An agent may do that only with calls of its own.")
    if call is None:
        raise not_found(asked, "live call")
    return call


async def _forms(asked: Asked[Any], calls: list[LiveCall]) -> list[CallForm]:
    telephony = asked.service.telephony
    ids = [call.state.id for call in calls]
    labels = await telephony.labels.get(asked.tenant, ids, asked.deadline)
    positions = await asyncio.gather(*(_position(asked, call.state) for call in calls))
    return [
        _form(asked, call, position, list(own))
        for call, position, own in zip(calls, positions, labels, strict=True)
    ]


async def _position(asked: Asked[Any], state: CallState) -> int | None:
    if not state.in_line or state.queue is None:
        return None
    found = await asked.service.telephony.line.position(
        asked.tenant, state.queue.queue, state.id, asked.deadline
    )
    return None if found is None else found.position


def _form(asked: Asked[Any], call: LiveCall, position: int | None, labels: list[str]) -> CallForm:
    state = call.state
    is_inbound = state.kind is Kind.INBOUND
    caller = state.caller_number if is_inbound else state.shown_number
    called = state.called_number if is_inbound else state.caller_number
    return CallForm(
        id=state.id,
        pbx=call.pbx,
        kind=state.kind,
        direction=Direction.INBOUND if is_inbound else Direction.OUTBOUND,
        state=state.phase,
        caller=number_shown(asked, caller),
        called=number_shown(asked, called),
        queue=_queue_of(state),
        position=position,
        agent=state.talks_to.agent if state.talks_to is not None else None,
        callback=state.callback,
        parties=_parties(state),
        since=timestamp(state.arrived_ms),
        recording=state.recording,
        recording_paused=state.is_muted,
        supervision=state.supervision.mode if state.supervision is not None else None,
        labels=labels,
    )


def _queue_of(state: CallState) -> str | None:
    return state.queue.queue if state.queue is not None else None


def _parties(state: CallState) -> list[PartyRole]:
    found: list[tuple[Literal["agent", "rung", "third", "member", "supervisor"], Leg]] = []
    if state.agent is not None:
        found.append(("agent", state.agent))
    found += [("rung", leg) for leg in state.offers]
    if state.third is not None:
        found.append(("third", state.third))
    found += [("member", leg) for leg in state.members]
    if state.supervision is not None:
        found.append(("supervisor", state.supervision.leg))
    return [
        PartyRole(id=leg.id, role=role, agent=leg.agent, is_up=leg.is_up) for role, leg in found
    ]


async def set_labels(asked: Asked[LabelsInput]) -> LabelsInput:
    """Of a live call, or of one that is over and on record."""
    telephony = asked.service.telephony
    if asked.access is Access.OWN:
        await the_call(asked)
    elif await telephony.call(asked.tenant, asked.id, asked.deadline) is None:
        record = await telephony.records.get(asked.tenant, asked.id, asked.deadline)
        if record is None:
            raise not_found(asked, "call")
    labels = list(dict.fromkeys(asked.body.labels))
    await telephony.labels.put(asked.tenant, asked.id, labels, asked.deadline)
    return LabelsInput(labels=labels)


ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/calls",
        resource=Resource.CALLS,
        summary="List live calls; the role agent sees those it talks in",
        handler=list_calls,
        answer=CallForm,
        is_list=True,
        filters={
            "queue": "waiting in this queue, or taken from it",
            "agent": "this agent talks in it",
            "state": "in this state",
        },
    ),
    Endpoint(
        method="GET",
        path="/calls/{id}",
        resource=Resource.CALLS,
        summary="Get a live call",
        handler=get_call,
        answer=CallForm,
    ),
    Endpoint(
        method="PUT",
        path="/calls/{id}/labels",
        resource=Resource.CALL_LABELS,
        summary="Replace the labels of a call, live or over",
        handler=set_labels,
        body=LabelsInput,
        answer=LabelsInput,
    ),
)
