"""The aiohttp side of decisions: `/route/…` on the low-level server, `/dialplan/…` in the application."""

import asyncio
import functools
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from router.deadline import Deadline
from router.decisions import dialogue
from router.decisions.outcome import Asked, Level
from router.decisions.seatbelt import Seatbelts
from router.errors import ForbiddenError, NotFoundError
from router.http.auth import authenticate
from router.http.decisions import answering
from router.http.decisions.answering import LONGEST_BODY, Answering, Half, Reply
from router.http.decisions.dialplan import DialplanDialect, digits_of
from router.http.envelope import SERVER, SERVER_HEADER
from router.tokens import Role, Tokens
from rules.facts import CallFacts

PREFIX: Final = "/route/"
LEVEL_HEADER: Final = "X-Crosspoint-Level"

Tell = Callable[[bytes], None]

_JSON: Final = "application/json"
_DIALPLAN: Final = DialplanDialect()
_LONGEST_FIELD: Final = 256


class RouteHandler:
    """`POST /route/{router_id}` from request to response."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.is_closing = False
        """From now on every answer ends its connection."""
        self.waiting = 0
        """Requests begun by `at_once` whose answer is still to come."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._seatbelts = Seatbelts()

    def at_once(self, path: str, body: bytes) -> bytes | Half:
        """The whole response to a complete request on a connection that stays open.

        A Half, when somebody else has to be asked, is for `later`.
        """
        if len(body) > LONGEST_BODY:
            return refusal_bytes(answering.TOO_LARGE)
        view = self._answering.find(_router_of(path))
        if view is None:
            return refusal_bytes(answering.NOT_FOUND)
        reply = self._answering.begin(view, body, time.monotonic())
        if isinstance(reply, Half):
            return reply
        return _bytes_of(reply)

    def later(self, half: Half, tell: Tell) -> None:
        """Tell the whole response to a request that `at_once` has begun, once, when it is there.

        Mostly that takes one reply of the store, and no task is made to wait for it.
        """
        self.waiting += 1
        awaited = half.awaited
        if awaited is None:
            self._finish_in_task(half, tell)
        else:
            later = _Later(half, tell, half.deadline, self._give_up)
            self._seatbelts.put_on(later)
            awaited.then(functools.partial(self._go_on, later))

    def _go_on(self, later: "_Later", _: object) -> None:
        """What was awaited is there."""
        if later.is_over:
            return
        later.is_over = True
        self._seatbelts.take_off(later)
        reply = self._answering.at_hand(later.half)
        if reply is None:
            self._finish_in_task(later.half, later.tell)
            return
        self.waiting -= 1
        later.tell(_bytes_of(reply))

    def _give_up(self, later: "_Later") -> None:
        """What was awaited has not come, although its own deadline has passed."""
        self._finish_in_task(later.half, later.tell)

    def _finish_in_task(self, half: Half, tell: Tell) -> None:
        task = asyncio.get_running_loop().create_task(self._finish(half, tell))
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, half: Half, tell: Tell) -> None:
        try:
            reply = await self._answering.finish(half)
        finally:
            self.waiting -= 1
        tell(_bytes_of(reply))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Always a response; raises nothing but a cancellation."""
        reply = await self._reply(request, time.monotonic())
        return respond(reply, request, ends=self.is_closing)

    async def _reply(self, request: web.BaseRequest, arrived: float) -> Reply:
        if request.method != "POST":
            return answering.NOT_ALLOWED
        view = self._answering.find(_router_of(request.path_qs))
        if view is None:
            return answering.NOT_FOUND
        if not request.content.is_eof() and "Expect" in request.headers:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await read_body(request.content, arrived + view.router.budget_s)
        if isinstance(body, Reply):
            return body
        return await self._answering.answer(view, body, arrived)


class _Later(msgspec.Struct, eq=False):
    """One answer that waits for the store without a task; goes on once."""

    half: Half
    tell: Tell
    deadline: Deadline
    give_up: "Callable[[_Later], None]"
    is_over: bool = False

    def cut(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.give_up(self)


@functools.lru_cache(maxsize=1024)
def _router_of(path: str) -> str:
    """The path as it came: an id needs no decoding."""
    return path[len(PREFIX) :].partition("?")[0]


async def read_body(content: StreamReader, deadline: float) -> bytes | Reply:
    """The body, or what to say when it is too long, too slow or broken off."""
    if content.is_eof():
        body = content.read_nowait()
        return body if len(body) <= LONGEST_BODY else answering.TOO_LARGE
    parts = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            while not content.at_eof():
                parts += await content.readany()
                if len(parts) > LONGEST_BODY:
                    return answering.TOO_LARGE
    except TimeoutError:
        return answering.TOO_SLOW
    except (HTTPException, HttpProcessingError, web.PayloadAccessError, OSError, ValueError):
        return answering.BROKEN_OFF
    return bytes(parts)


def respond(reply: Reply, request: web.BaseRequest, *, ends: bool) -> web.StreamResponse:
    """The response; it ends the connection if wished and after requests that were not read whole."""
    is_usual = request.version == HttpVersion11 and request.keep_alive and not ends
    if reply.level is not None and is_usual:
        return AnswerResponse(answer_bytes(reply.body, reply.level, reply.timing))
    response = web.Response(status=reply.status, body=reply.body, content_type=_JSON)
    response.headers[SERVER_HEADER] = SERVER
    if reply.level is not None:
        response.headers[LEVEL_HEADER] = reply.level.value
        response.headers["Server-Timing"] = reply.timing
    elif reply.status == 405:
        response.headers["Allow"] = "POST"
    if ends or reply.status in {400, 408, 413}:
        response.force_close()
    return response


class AnswerResponse(web.StreamResponse):
    """A 200 on a connection that stays open, written in one piece.

    aiohttp's own response builds, checks and serialises a multidict of headers, a quarter of what a
    whole decision costs; these headers are always the same. Its server asks a response for no more
    than `prepare`, `write_eof` and `keep_alive` (the tests would notice if it did).
    """

    def __init__(self, text: bytes) -> None:
        self._text = text

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write everything, and wait only where the client does not read."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(self._text)
        await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def _bytes_of(reply: Reply) -> bytes:
    """A whole response."""
    if reply.level is None:
        return refusal_bytes(reply)
    return answer_bytes(reply.body, reply.level, reply.timing)


def answer_bytes(body: bytes, level: Level, timing: str) -> bytes:
    """A whole 200 response."""
    date = rfc822_formatted_time()
    head = f"{_HEADS[level]}{timing}\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def refusal_bytes(reply: Reply) -> bytes:
    """A whole response without a decision."""
    status = HTTPStatus(reply.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"{SERVER_HEADER}: {SERVER}\r\nDate: {rfc822_formatted_time()}\r\n"
        f"Content-Length: {len(reply.body)}\r\n\r\n"
    )
    return head.encode("ascii") + reply.body


_HEADS: Final = {
    level: f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{SERVER_HEADER}: {SERVER}\r\n"
    f"{LEVEL_HEADER}: {level.value}\r\nServer-Timing: "
    for level in Level
}


def dialplan_routes(answering: Answering, tokens: Tokens) -> list[web.RouteDef]:
    """`GET /dialplan/{router_id}` for the application."""

    async def dialplan(request: web.Request) -> web.Response:
        arrived = time.monotonic()
        who = await authenticate(tokens, request.headers.get("Authorization"))
        view = answering.find(request.match_info["router_id"])
        if view is None or (
            who.role is not Role.PLATFORM_ADMIN and who.tenant_id != view.router.tenant
        ):
            raise NotFoundError("No such call router.")
        if who.role is Role.AGENT:
            raise ForbiddenError
        call, silent = _call_of(request, view.router.id)
        asked = Asked(
            router=view.router,
            call=call,
            silent=silent,
            fingerprint=dialogue.fingerprint(call.digits, silent),
            dialect=_DIALPLAN,
            names=view.names,
            now_s=time.time(),
        )
        outcome = await answering.decide(asked, arrived)
        return web.Response(
            body=outcome.body,
            content_type="text/plain",
            charset="utf-8",
            headers={LEVEL_HEADER: outcome.level.value},
        )

    return [web.get("/dialplan/{router_id}", dialplan)]


def _call_of(request: web.Request, router_id: str) -> tuple[CallFacts, frozenset[str]]:
    query = request.query
    digits, silent = digits_of(query)
    call = CallFacts(
        call_id=query.get("uniqueid", "")[:_LONGEST_FIELD],
        caller=query.get("caller", "")[:_LONGEST_FIELD] or None,
        called=query.get("called", "")[:_LONGEST_FIELD] or None,
        router=router_id,
        digits=digits,
    )
    return call, silent
