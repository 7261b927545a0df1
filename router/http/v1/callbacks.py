"""`callbacks`: promise one, see whether it could be, list them, give one up."""

import asyncio
from datetime import datetime
from typing import Any, Final

import msgspec

from router.errors import ConflictError, InvalidInputError
from router.http.envelope import Page, timestamp
from router.http.roles import Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.parties import Number
from router.http.v1.resources import Nothing, not_found
from router.http.v1.shown import number_shown
from router.site.resources import Id
from router.store.callbacks import MOST_OPEN, Callback, Status
from router.telephony.promises import CallbackDesk

_LOOK: Final = 500


class CallbackInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to call back, from which queue."""

    queue: Id
    phone_number: Number


class CallbackForm(msgspec.Struct, frozen=True, kw_only=True):
    """A callback. `position` (from 1) is its place in the queue's line while it stands there.

    `call` is the one in which it was promised, `calls` are those begun to keep it (the last 100).
    """

    id: str
    queue: str
    phone_number: str | None
    status: Status
    reason: str
    attempts: int
    agent_first: bool
    skills: dict[str, int]
    call: str | None
    calls: list[str]
    position: int | None
    created_at: datetime | None
    due_at: datetime | None


class Possible(msgspec.Struct, frozen=True, kw_only=True):
    """The callback could be promised now, to this number."""

    queue: str
    phone_number: str | None


async def list_callbacks(asked: Asked[None]) -> Page:
    """Oldest first. There is a `total` once the end was reached."""
    queue, text = asked.query.get("queue"), asked.query.get("status")
    if text is not None and text not in set(Status):
        raise InvalidInputError(f"status is one of {', '.join(Status)}.", field="status")
    status = None if text is None else Status(text)
    wanted = asked.offset + asked.limit + 1
    found: list[Callback] = []
    for skip in range(0, MOST_OPEN, _LOOK):
        some = await asked.service.telephony.callbacks.find(
            asked.tenant, asked.deadline, queue=queue, status=status, skip=skip, limit=_LOOK
        )
        found += some
        if len(found) >= wanted or (not some and queue is None and status is None):
            break
    page = found[asked.offset : asked.offset + asked.limit]
    forms: list[object] = list(await asyncio.gather(*(_form(asked, one) for one in page)))
    total = None if len(found) >= wanted else len(found)
    return Page(items=forms, total=total, limit=asked.limit, offset=asked.offset)


async def get_callback(asked: Asked[None]) -> CallbackForm:
    found = await asked.service.telephony.callbacks.get(asked.tenant, asked.id, asked.deadline)
    if found is None:
        raise not_found(asked, "callback")
    return await _form(asked, found)


async def create_callback(asked: Asked[CallbackInput]) -> CallbackForm:
    """Last in line. Asked twice for the same number and queue it is a conflict, not a second one."""
    body = asked.body
    about = await _desk(asked).create(body.queue, body.phone_number, asked.deadline)
    found = await asked.service.telephony.callbacks.get(asked.tenant, about.id, asked.deadline)
    if found is None:
        raise ConflictError("The callback is over already.")
    return await _form(asked, found)


async def validate_callback(asked: Asked[CallbackInput]) -> Possible:
    body = asked.body
    about = await _desk(asked).validate(body.queue, body.phone_number, asked.deadline)
    return Possible(queue=about.queue, phone_number=number_shown(asked, about.number))


async def cancel_callback(asked: Asked[None]) -> Nothing:
    await asked.service.telephony.callbacks.cancel(asked.tenant, asked.id, asked.deadline)
    return Nothing()


def _desk(asked: Asked[Any]) -> CallbackDesk:
    desk = asked.service.telephony.desk(asked.tenant)
    if desk is None:
        raise ConflictError("No PBX is set up here: nobody could call back.")
    return desk


async def _form(asked: Asked[Any], callback: Callback) -> CallbackForm:
    about = callback.about
    position = None
    if callback.status is Status.WAITING:
        position = await asked.service.telephony.line.position(
            asked.tenant, about.queue, about.id, asked.deadline
        )
    return CallbackForm(
        id=about.id,
        queue=about.queue,
        phone_number=number_shown(asked, about.number),
        status=callback.status,
        reason=callback.reason,
        attempts=callback.attempts,
        agent_first=about.agent_first,
        skills=about.skills,
        call=about.call,
        calls=list(callback.calls),
        position=None if position is None else position.position,
        created_at=timestamp(callback.created_ms),
        due_at=timestamp(callback.due_ms) if callback.status is Status.WAITING else None,
    )


_R: Final = Resource.CALLBACKS
ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/callbacks",
        resource=_R,
        summary="List callbacks, oldest first",
        handler=list_callbacks,
        answer=CallbackForm,
        is_list=True,
        filters={"queue": "from this queue", "status": "that stand like this"},
    ),
    Endpoint(
        method="POST",
        path="/callbacks",
        resource=_R,
        summary="Promise a callback",
        handler=create_callback,
        body=CallbackInput,
        answer=CallbackForm,
        status=201,
    ),
    Endpoint(
        method="POST",
        path="/callbacks/validate",
        resource=Resource.CALLBACK_VALIDATE,
        summary="Say whether a callback could be promised now",
        handler=validate_callback,
        body=CallbackInput,
        answer=Possible,
    ),
    Endpoint(
        method="GET",
        path="/callbacks/{id}",
        resource=_R,
        summary="Get a callback",
        handler=get_callback,
        answer=CallbackForm,
    ),
    Endpoint(
        method="DELETE",
        path="/callbacks/{id}",
        resource=_R,
        summary="Give a callback up",
        handler=cancel_callback,
        answer=Nothing,
    ),
)
