"""`calls/{id}/...`: what can be done with a live call; told to the controller that owns it.

The role agent controls the calls it talks in.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pbx.machine.state import Phase
from router.errors import ForbiddenError, InvalidInputError
from router.http.roles import Access, Resource
from router.http.v1.calls import the_call
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.parties import Destination, Ringing, action_of, agent_named, party_of
from router.site.resources import Id
from router.telephony.call_control import (
    Add,
    Command,
    Complete,
    Consult,
    Drop,
    HangUp,
    Hold,
    Park,
    Party,
    Record,
    Resume,
    Supervise,
    Transfer,
    Unpark,
)
from router.telephony.remote import LiveCall


class Controlled(msgspec.Struct, frozen=True, kw_only=True):
    """It was done; `state` is the call's now, None when it is over."""

    id: str
    state: Phase | None


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


async def _control(asked: Asked[Any], call: LiveCall, command: Command) -> Controlled:
    """Have it done. The call is read before and after, never assumed."""
    telephony = asked.service.telephony
    await telephony.control.carry_out(asked.tenant, call.pbx, command, asked.deadline)
    now = await telephony.call(asked.tenant, asked.id, asked.deadline)
    return Controlled(id=asked.id, state=None if now is None else now.state.phase)


async def hang_up_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await the_call(asked), HangUp(call=asked.id))


async def hold_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await the_call(asked), Hold(call=asked.id))


async def resume_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await the_call(asked), Resume(call=asked.id))


async def transfer_call(asked: Asked[Destination]) -> Controlled:
    call = await the_call(asked)
    action = await action_of(asked, asked.body)
    return await _control(asked, call, Transfer(call=asked.id, action=action))


async def consult_call(asked: Asked[Ringing]) -> Controlled:
    call, ring_s = await the_call(asked), asked.body.ring_seconds
    party = await party_of(asked, asked.body)
    return await _control(asked, call, Consult(call=asked.id, party=party, ring_s=ring_s))


async def complete_call(asked: Asked[None]) -> Controlled:
    return await _control(asked, await the_call(asked), Complete(call=asked.id))


async def add_participant(asked: Asked[Ringing]) -> Controlled:
    call, ring_s = await the_call(asked), asked.body.ring_seconds
    party = await party_of(asked, asked.body)
    return await _control(asked, call, Add(call=asked.id, party=party, ring_s=ring_s))


async def drop_party(asked: Asked[DropInput]) -> Controlled:
    """An agent lets go of who is in a call of its own, but not of who listens in."""
    call, body = await the_call(asked), asked.body
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
    return await _control(asked, await the_call(asked), Park(call=asked.id))


async def unpark_call(asked: Asked[Ringing]) -> Controlled:
    call, ring_s = await the_call(asked), asked.body.ring_seconds
    party = await party_of(asked, asked.body)
    return await _control(asked, call, Unpark(call=asked.id, party=party, ring_s=ring_s))


async def supervise_call(asked: Asked[SuperviseInput]) -> Controlled:
    call, agent = await the_call(asked), await agent_named(asked, asked.body.agent)
    command = Supervise(call=asked.id, party=Party(agent=agent), mode=asked.body.mode)
    return await _control(asked, call, command)


async def set_recording(asked: Asked[RecordingInput]) -> Controlled:
    call = await the_call(asked)
    return await _control(asked, call, Record(call=asked.id, to=asked.body.to))


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
)
