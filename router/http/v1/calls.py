"""`calls`: what goes on at this moment, and what can be done with it.

Live calls are read from the journal their PBX keeps; controls go to the controller that owns the call.
The role agent sees and controls the calls it talks in, and begins calls of its own.
"""

import asyncio
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pbx.machine.state import CallState, Kind, Leg, Phase
from router.call_record import Direction
from router.errors import ForbiddenError, InvalidInputError, OutcomeUnknownError
from router.http.envelope import Page, page_of, timestamp
from router.http.roles import Access, Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.parties import (
    Destination,
    MenuInput,
    Message,
    Number,
    Ringing,
    RingSeconds,
    action_of,
    menu_of,
    party_of,
)
from router.http.v1.resources import not_found, picture
from router.http.v1.shown import number_shown
from router.site.resources import Id
from router.site.texts import ONE_LINE
from router.telephony.call_control import (
    Add,
    ClickToCall,
    Command,
    Complete,
    Consult,
    Drop,
    HangUp,
    Hold,
    Park,
    Party,
    PbxAwayError,
    PlayMenu,
    Record,
    Resume,
    Supervise,
    Transfer,
    Unpark,
)
from router.telephony.remote import LiveCall
from rules.actions import Action, End

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


class Controlled(msgspec.Struct, frozen=True, kw_only=True):
    """It was done; `state` is the call's now, None when it is over."""

    id: str
    state: Phase | None


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A call was begun; it can be looked up as a live call, and afterwards among the records."""

    id: str
    pbx: str


class CallInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Click-to-call: the agent (default: oneself) is rung first, then the number."""

    to: Number
    agent: Id | None = None
    caller_id: Number | None = None
    ring_seconds: RingSeconds = 30
    recording: bool = False
    pbx: Id | None = None


class MenuCallInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call out: whoever answers hears the message, or is asked by the menu."""

    to: Number
    message: Message | None = None
    menu: MenuInput | None = None
    caller_id: Number | None = None
    ring_seconds: RingSeconds = 30
    pbx: Id | None = None


class SuperviseInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ring the supervisor (an agent; default: oneself) into the call; again to change the mode."""

    mode: Literal["listen", "whisper", "barge"]
    agent: Id | None = None


class DropInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to leave: an agent (default: oneself), or a party by its `id`."""

    agent: Id | None = None
    party: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class RecordingInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the recording should do."""

    to: Literal["on", "off", "pause", "resume"]


class LabelsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All labels, replacing those before."""

    labels: Annotated[list[Label], Meta(max_length=20)]


# --- looking -------------------------------------------------------------------------------------


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
    (form,) = await _forms(asked, [await _the_call(asked)])
    return form


async def _the_call(asked: Asked[Any]) -> LiveCall:
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


# --- controls ------------------------------------------------------------------------------------


async def _control(asked: Asked[Any], call: LiveCall, command: Command) -> Controlled:
    """Have it done. The call is read before and after, never assumed."""
    telephony = asked.service.telephony
    await telephony.control.carry_out(asked.tenant, call.pbx, command, asked.deadline)
    now = await telephony.call(asked.tenant, asked.id, asked.deadline)
    return Controlled(id=asked.id, state=None if now is None else now.state.phase)


async def hang_up_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await _the_call(asked), HangUp(call=asked.id))


async def hold_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await _the_call(asked), Hold(call=asked.id))


async def resume_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await _the_call(asked), Resume(call=asked.id))


async def transfer_call(asked: Asked[Destination]) -> Controlled:
    call = await _the_call(asked)
    action = await action_of(asked, asked.body)
    return await _control(asked, call, Transfer(call=asked.id, action=action))


async def consult_call(asked: Asked[Ringing]) -> Controlled:
    call, ring_s = await _the_call(asked), asked.body.ring_seconds
    party = await party_of(asked, asked.body)
    return await _control(asked, call, Consult(call=asked.id, party=party, ring_s=ring_s))


async def complete_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await _the_call(asked), Complete(call=asked.id))


async def add_participant(asked: Asked[Ringing]) -> Controlled:
    call, ring_s = await _the_call(asked), asked.body.ring_seconds
    party = await party_of(asked, asked.body)
    return await _control(asked, call, Add(call=asked.id, party=party, ring_s=ring_s))


async def drop_party(asked: Asked[DropInput]) -> Controlled:
    """An agent lets go of who is in a call of its own, but not of who listens in."""
    call, body = await _the_call(asked), asked.body
    if body.agent is not None and body.party is not None:
        raise InvalidInputError("At most one of agent, party is wanted.", field="party")
    agent = None if body.party is not None else body.agent or asked.who.sub
    legs = call.state.legs()
    leg = next(
        (one for one in legs if one.id == body.party or (agent and one.agent == agent)), None
    )
    if leg is None:
        field = "party" if body.party is not None else "agent"
        raise InvalidInputError("Nobody like that is in this call.", field=field)
    listening = call.state.supervision
    is_listening = listening is not None and listening.leg.id == leg.id
    if asked.access is Access.OWN and is_listening and leg.agent != asked.who.sub:
        raise ForbiddenError("An agent may not let go of who listens in.")
    return await _control(asked, call, Drop(call=asked.id, party=leg.id))


async def park_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await _the_call(asked), Park(call=asked.id))


async def unpark_call(asked: Asked[Ringing]) -> Controlled:
    call, ring_s = await _the_call(asked), asked.body.ring_seconds
    party = await party_of(asked, asked.body)
    return await _control(asked, call, Unpark(call=asked.id, party=party, ring_s=ring_s))


async def supervise_call(asked: Asked[SuperviseInput]) -> Controlled:
    call, agent = await _the_call(asked), await _agent_named(asked, asked.body.agent)
    command = Supervise(call=asked.id, party=Party(agent=agent), mode=asked.body.mode)
    return await _control(asked, call, command)


async def set_recording(asked: Asked[RecordingInput]) -> Controlled:
    call = await _the_call(asked)
    return await _control(asked, call, Record(call=asked.id, to=asked.body.to))


async def set_labels(asked: Asked[LabelsInput]) -> LabelsInput:
    """Of a live call, or of one that is over and on record."""
    telephony = asked.service.telephony
    if asked.access is Access.OWN:
        await _the_call(asked)
    elif await telephony.call(asked.tenant, asked.id, asked.deadline) is None:
        record = await telephony.records.get(asked.tenant, asked.id, asked.deadline)
        if record is None:
            raise not_found(asked, "call")
    labels = list(dict.fromkeys(asked.body.labels))
    await telephony.labels.put(asked.tenant, asked.id, labels, asked.deadline)
    return LabelsInput(labels=labels)


# --- calls that begin here -----------------------------------------------------------------------


async def create_call(asked: Asked[CallInput]) -> Begun:
    body = asked.body
    if asked.access is Access.OWN and body.agent not in {None, asked.who.sub}:
        raise ForbiddenError("An agent may begin calls only for itself.")
    command = ClickToCall(
        call=uuid.uuid4().hex,
        agent=await _agent_named(asked, body.agent),
        number=body.to,
        shown=body.caller_id,
        ring_s=body.ring_seconds,
        record=body.recording,
    )
    return await _begin(asked, body.pbx, command)


async def create_menu_call(asked: Asked[MenuCallInput]) -> Begun:
    body = asked.body
    if (body.menu is None) == (body.message is None):
        raise InvalidInputError("Exactly one of message, menu is wanted.", field="message")
    action: Action = End(message=body.message)
    if body.menu is not None:
        action = await menu_of(asked, body.menu)
    command = PlayMenu(
        call=uuid.uuid4().hex,
        number=body.to,
        action=action,
        shown=body.caller_id,
        ring_s=body.ring_seconds,
    )
    return await _begin(asked, body.pbx, command)


async def _begin(asked: Asked[Any], pbx: str | None, command: ClickToCall | PlayMenu) -> Begun:
    telephony = asked.service.telephony
    if pbx is None:
        at_work = await telephony.commands.pbxs_at_work(asked.tenant, asked.deadline)
        if not at_work:
            raise PbxAwayError
        if len(at_work) > 1:
            raise InvalidInputError(f"Say which: {', '.join(sorted(at_work))}.", field="pbx")
        pbx = at_work[0]
    try:
        await telephony.control.carry_out(asked.tenant, pbx, command, asked.deadline)
    except OutcomeUnknownError as error:
        message = f"The call may have been begun, as {command.call}: look before asking again."
        raise OutcomeUnknownError(message) from error
    return Begun(id=command.call, pbx=pbx)


async def _agent_named(asked: Asked[Any], agent: str | None) -> str:
    """The agent that is named, or the one that asks."""
    wanted = agent or asked.who.sub
    if wanted not in (await picture(asked)).agents:
        raise InvalidInputError(f"There is no agent {wanted[:64]}.", field="agent")
    return wanted


# --- the table -----------------------------------------------------------------------------------


def _post(
    name: Resource,
    summary: str,
    handler: Any,  # handlers differ in what body they take
    body: type[msgspec.Struct] | None = None,
) -> AnyEndpoint:
    return Endpoint(
        method="POST",
        path=f"/calls/{{id}}/{name.value.partition('/')[2]}",
        resource=name,
        summary=summary,
        handler=handler,
        body=body,
        answer=Controlled,
    )


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
        method="POST",
        path="/calls",
        resource=Resource.CALLS,
        summary="Click-to-call: ring an agent, then a number",
        handler=create_call,
        body=CallInput,
        answer=Begun,
        status=201,
    ),
    Endpoint(
        method="POST",
        path="/calls/menu",
        resource=Resource.CALL_MENU,
        summary="Call a number and play a message or a menu",
        handler=create_menu_call,
        body=MenuCallInput,
        answer=Begun,
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/calls/{id}",
        resource=Resource.CALLS,
        summary="Get a live call",
        handler=get_call,
        answer=CallForm,
    ),
    _post(Resource.CALL_HANGUP, "End the call for everybody", hang_up_call),
    _post(Resource.CALL_HOLD, "Put the caller on hold", hold_call),
    _post(Resource.CALL_RESUME, "Take the caller off hold, or end a consultation", resume_call),
    _post(Resource.CALL_TRANSFER, "Transfer blindly", transfer_call, Destination),
    _post(
        Resource.CALL_CONSULT, "Ring a third party while the caller holds", consult_call, Ringing
    ),
    _post(Resource.CALL_COMPLETE, "Hand the caller to the third party", complete_call),
    _post(Resource.CALL_PARTICIPANTS, "Ring a third party into the call", add_participant, Ringing),
    _post(
        Resource.CALL_DROP,
        "Let one party of a conference (or a third, or a supervisor) go; the others go on",
        drop_party,
        DropInput,
    ),
    _post(Resource.CALL_PARK, "Park the caller; the agent leaves", park_call),
    _post(Resource.CALL_UNPARK, "Ring somebody for a parked caller", unpark_call, Ringing),
    _post(Resource.CALL_SUPERVISE, "Listen, whisper, or barge in", supervise_call, SuperviseInput),
    Endpoint(
        method="PUT",
        path="/calls/{id}/recording",
        resource=Resource.CALL_RECORDING,
        summary="Begin, end, pause or resume the recording",
        handler=set_recording,
        body=RecordingInput,
        answer=Controlled,
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
