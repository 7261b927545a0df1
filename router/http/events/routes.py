"""`POST /events/{router_id}`: read, authenticate like a routing request, apply, say what was done."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from aiohttp import web

from router.deadline import in_s
from router.errors import CrosspointError, NotFoundError, UnauthenticatedError
from router.http.bodies import EVENT_LIMIT, read_body
from router.http.envelope import request_id_of, success
from router.http.events.apply import Did, Done, EventApplier
from router.metrics import Observer, PlatformEvent
from router.platforms.dialpad.events import read_event
from router.platforms.dialpad.signature import (
    BadSignatureError,
    json_object,
    unsigned_payload_of,
    verify,
)
from router.platforms.dialpad.wire import UnreadableError, bare_token, read_json
from router.site.directory import Directory, RouterEntry

BODY_S: Final = 5.0
"""A client gets so long to send its event."""

APPLY_S: Final = 2.0
"""The store gets so long; then the platform is told to try again."""

_log = structlog.get_logger("crosspoint.events")


class EventDoor(msgspec.Struct, frozen=True, kw_only=True):
    """What the endpoint stands on."""

    directory: Callable[[], Directory]
    applier: EventApplier
    observer: Observer


def routes(door: EventDoor) -> list[web.RouteDef]:
    """The one endpoint."""

    async def event(request: web.Request) -> web.Response:
        try:
            done = await _take(request, door)
        except CrosspointError as error:
            door.observer.platform_event(_outcome_of(error))
            raise
        is_done = done.did not in {Did.IGNORED, Did.UNKNOWN_AGENT, Did.UNKNOWN_QUEUE}
        door.observer.platform_event(PlatformEvent.DONE if is_done else PlatformEvent.IGNORED)
        _log.debug("event_taken", request_id=request_id_of(request), did=done.did.value)
        return success(done)

    return [web.post("/events/{router_id}", event)]


async def _take(request: web.Request, door: EventDoor) -> Done:
    directory = door.directory()
    entry = directory.router(request.match_info["router_id"])
    if entry is None:
        raise NotFoundError("There is no such call router.")
    body = await read_body(request, limit=EVENT_LIMIT, deadline=in_s(BODY_S))
    event = read_event(_authenticated(entry, body, time.time()))
    return await door.applier.apply(directory, entry.tenant, event, deadline=in_s(APPLY_S))


def _authenticated(entry: RouterEntry, body: bytes, now_s: float) -> Mapping[str, object]:
    """The event's fields. A router with a secret takes signed events only; one without takes a token
    for what it says, like a routing request.
    """
    token = bare_token(body)
    if not entry.is_signed:
        try:
            return read_json(body) if token is None else json_object(unsigned_payload_of(token))
        except BadSignatureError:
            raise UnreadableError from None  # nobody asked for a signature
    if token is None:
        raise BadSignatureError
    return verify(token, [secret.encode() for secret in entry.secrets], now_s)


def _outcome_of(error: CrosspointError) -> PlatformEvent:
    if isinstance(error, UnauthenticatedError):
        return PlatformEvent.UNAUTHENTICATED
    if error.code in {"unreadable", "too_large", "timeout", "invalid"}:
        return PlatformEvent.UNREADABLE
    return PlatformEvent.FAILED
