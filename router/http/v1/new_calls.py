"""Calls that begin here: click-to-call, and a call out that plays a message or a menu.

The role agent begins calls of its own.
"""

import uuid
from typing import Any

import msgspec

from router.errors import ForbiddenError, InvalidInputError, OutcomeUnknownError
from router.http.roles import Access, Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.parties import MenuInput, Message, Number, RingSeconds, agent_named, menu_of
from router.site.resources import Id
from router.telephony.call_control import ClickToCall, PbxAwayError, PlayMenu
from rules.actions import Action, End


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


async def create_call(asked: Asked[CallInput]) -> Begun:
    body = asked.body
    if asked.access is Access.OWN and body.agent not in {None, asked.who.sub}:
        raise ForbiddenError("An agent may begin calls only for itself.")
    command = ClickToCall(
        call=uuid.uuid4().hex,
        agent=await agent_named(asked, body.agent),
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


ENDPOINTS: tuple[AnyEndpoint, ...] = (
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
)
