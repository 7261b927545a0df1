"""The one envelope of every management answer, and the boundary where errors become answers.

    {"status": "success"|"error", "message", "data", "total", "limit", "offset"}

On an error `data` holds the stable `code`, the `field` when one is to blame, and the `request_id`.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from router.errors import CrosspointError, InvalidInputError
from router.http.bodies import TooLargeError
from router.http.error_replies import public_message, status_of
from rules.parse_times import EARLIEST_S, LATEST_S

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID_HEADER: Final = "X-Request-Id"
SERVER_HEADER: Final = "Server"
SERVER: Final = "crosspoint"
"""What all our answers call themselves; the library would name its version and Python's."""

LIMIT_DEFAULT: Final = 50
LIMIT_MOST: Final = 500
OFFSET_MOST: Final = 1_000_000_000

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_REQUEST_ID_KEY: Final = web.RequestKey("request_id", str)
_encode: Final = msgspec.json.Encoder(order=None).encode
_log = structlog.get_logger("crosspoint.http")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list; `total` counts the whole list, None where that would cost too much."""

    items: list[object]
    total: int | None
    limit: int
    offset: int


class ErrorData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a program may act on when it got an error."""

    code: str
    field: str | None = None
    request_id: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every answer of the management API."""

    status: str
    message: str | None = None
    data: object | msgspec.UnsetType = msgspec.UNSET
    total: int | None = None
    limit: int | None = None
    offset: int | None = None


def success(value: object, *, status: int = 200) -> web.Response:
    """An answer that carries `value`; a Page becomes a list with its numbers."""
    if isinstance(value, Page):
        envelope = Envelope(
            status="success",
            data=value.items,
            total=value.total,
            limit=value.limit,
            offset=value.offset,
        )
    else:
        envelope = Envelope(status="success", data=value)
    return _response(envelope, status)


def failure(
    status: int,
    message: str,
    *,
    code: str,
    field: str | None = None,
    request_id: str = "",
    data: object = None,
) -> web.Response:
    """An answer that says what was wrong; `data` stands in for the usual ErrorData."""
    if data is None:
        data = ErrorData(code=code, field=field, request_id=request_id)
    return _response(Envelope(status="error", message=message, data=data), status)


def page_of(items: list[object], *, limit: int, offset: int) -> Page:
    """The page of a list that is at hand as a whole."""
    return Page(items=items[offset : offset + limit], total=len(items), limit=limit, offset=offset)


def whole_number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query string between `least` and `most`; InvalidInputError names it."""
    text = query.get(name)
    if text is None:
        return default
    if (
        not (text.isascii() and text.isdigit() and len(text) <= 10)
        or not least <= int(text) <= most
    ):
        raise InvalidInputError(f"{name} is a whole number from {least} to {most}.", field=name)
    return int(text)


def moment(query: Mapping[str, str], name: str) -> datetime | None:
    """An RFC 3339 timestamp of the query string, in UTC, 1970 to 2199; InvalidInputError names it."""
    text = query.get(name)
    if text is None:
        return None
    try:
        # A plus sign that was not escaped arrives as a space.
        value = msgspec.convert(text.replace(" ", "+"), datetime)
    except msgspec.ValidationError:
        value = None
    if value is None or value.tzinfo is None:
        raise InvalidInputError(
            f"{name} is a timestamp with a zone, like 2026-01-31T12:00:00Z.", field=name
        )
    if not EARLIEST_S <= value.timestamp() < LATEST_S:
        raise InvalidInputError(f"{name} is a time from 1970 to 2199.", field=name)
    return value.astimezone(UTC)


def timestamp(ms: float | None) -> datetime | None:
    """Milliseconds since the epoch as what is encoded in RFC 3339, UTC; None stays None."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def request_id_of(request: web.Request) -> str:
    """The id under which a request is found in the logs; the client's own when it is a sane one."""
    known = request.get(_REQUEST_ID_KEY)
    if known is None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        known = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request[_REQUEST_ID_KEY] = known
    return known


def middlewares() -> list[Middleware]:
    """The one middleware: request id on every answer, every error in the envelope, no traceback."""
    return [_boundary]


@web.middleware
async def _boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    request_id = request_id_of(request)
    try:
        response = await handler(request)
    except CrosspointError as error:
        response = _of_error(error, request_id)
    except web.HTTPException as error:
        response = of_http(error, request_id)
    except Exception as error:  # noqa: BLE001 - the boundary: what nobody foresaw is a plain 500
        _log.error(
            "request_failed", request_id=request_id, error=type(error).__name__, exc_info=error
        )
        response = _of_error(CrosspointError(), request_id)
    if not response.prepared:
        response.headers[REQUEST_ID_HEADER] = request_id
    return response


def _of_error(error: CrosspointError, request_id: str) -> web.Response:
    status = status_of(error)
    if status >= 500:
        _log.warning("request_refused", request_id=request_id, code=error.code, status=status)
    field = error.field if isinstance(error, InvalidInputError) else None
    response = failure(
        status, public_message(error), code=error.code, field=field, request_id=request_id
    )
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooLargeError) or error.code == "timeout":
        response.force_close()  # the rest of the body is not waited for
    return response


_HTTP_WORDS: Final = {
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This method is not possible here."),
    413: ("too_large", "The body is larger than allowed."),
}


def of_http(error: web.HTTPException, request_id: str) -> web.StreamResponse:
    """The library's own errors in our envelope: its texts may quote the request."""
    if error.status < 400:
        return error
    code, message = _HTTP_WORDS.get(error.status, ("http", error.reason))
    response = failure(error.status, message, code=code, request_id=request_id)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _response(envelope: Envelope, status: int) -> web.Response:
    return web.Response(
        body=_encode(envelope),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )
