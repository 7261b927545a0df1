"""Answers complete routing requests right where they are parsed, before aiohttp makes a task of them.

Nearly all routing requests arrive in one piece on a connection that is otherwise idle. For those,
aiohttp's request and response objects, its task per request and the turns of the event loop cost more
than parsing and deciding together (measured: half of the whole). So a thin layer stands between
aiohttp's parser and its request queue: it sees each parsed message and answers it, at once if nobody
else is needed, else when the decision is there (what the client sends meanwhile is held back, unread,
so that answers stay in order). Everything else it passes on untouched, to be handled the usual way:
other paths, errors, pipelined requests, unfinished bodies, whatever comes once the server is closing.

It relies on names that aiohttp does not promise. `put_before` therefore looks for all of them, and
without them leaves the connection as it is: slower, and otherwise the same. The tests ask every
question of both ways.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from router.http.decisions.answering import Half
from router.http.decisions.routes import PREFIX, RouteHandler

_NEEDED: Final = (
    "_parser",
    "_waiter",
    "_messages",
    "_close",
    "_force_close",
    "_upgraded",
    "_keepalive_timeout",
    "_next_keepalive_close_time",
    "transport",
)
_NEEDED_OF_PARSER: Final = ("feed_data", "message_consumed")
_MOST_UNSENT: Final = 64 * 1024
"""Bytes that a client has not read; beyond them aiohttp's own flow control takes over."""

_MOST_HELD: Final = 64 * 1024
"""Bytes held back while a decision is under way; beyond them reading pauses."""

_Parsed = tuple[Sequence[tuple[RawRequestMessage, StreamReader]], bool, bytes]


def put_before(handler: RequestHandler, route: RouteHandler) -> RequestHandler:
    """Put the layer before a connection's request queue, if this aiohttp is built as expected."""
    parser = getattr(handler, "_parser", None)
    is_as_expected = all(hasattr(handler, name) for name in _NEEDED) and all(
        hasattr(parser, name) for name in _NEEDED_OF_PARSER
    )
    if is_as_expected:
        handler._parser = _Front(handler, parser, route)  # type: ignore[assignment]  # noqa: SLF001 - see above
    return handler


class _Front:
    """Stands in for a connection's parser."""

    __slots__ = ("_handler", "_held", "_parser", "_route", "_waiting")

    def __init__(self, handler: RequestHandler, parser: Any, route: RouteHandler) -> None:
        # Any: the parser is a C class without types
        self._handler = handler
        self._parser = parser
        self._route = route
        self._waiting: asyncio.Task[None] | None = None
        self._held = b""

    def feed_data(self, data: bytes) -> _Parsed:
        """Parse, and keep back what is answered here."""
        if self._waiting is not None:
            return self._hold(data)
        parsed: _Parsed = self._parser.feed_data(data)
        messages = parsed[0]
        if len(messages) == 1 and self._is_idle():
            message, payload = messages[0]
            if _is_complete(message, payload) and not parsed[1] and self._answer(message, payload):
                return (), False, parsed[2]
        return parsed

    def __getattr__(self, name: str) -> Any:  # Any: as the parser has it
        return getattr(self._parser, name)

    def _is_idle(self) -> bool:
        """Whether the connection waits for its next request, so that nothing can get out of order."""
        handler = self._handler
        waiter = handler._waiter  # noqa: SLF001 - see above
        return (
            waiter is not None
            and not waiter.done()
            and not handler._messages  # noqa: SLF001
            and not handler._close  # noqa: SLF001
            and not handler._force_close  # noqa: SLF001
            and not handler._upgraded  # noqa: SLF001
            and not self._route.is_closing
        )

    def _answer(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        transport = self._handler.transport
        if transport is None or transport.get_write_buffer_size() > _MOST_UNSENT:
            return False
        done = self._route.at_once(message.path, payload.read_nowait())
        if isinstance(done, Half):
            self._waiting = self._handler._loop.create_task(self._finish(done))  # noqa: SLF001
        else:
            self._write(done)
        return True

    async def _finish(self, half: Half) -> None:
        """Write the answer when it is there, and go on with what came meanwhile."""
        try:
            self._write(await self._route.later(half))
        finally:
            self._waiting = None
        held, self._held = self._held, b""
        transport = self._handler.transport
        if held and transport is not None:
            transport.resume_reading()
            self._handler.data_received(held)

    def _write(self, answer: bytes) -> None:
        handler = self._handler
        if handler.transport is None:  # the client has gone
            return
        handler.transport.write(answer)
        self._parser.message_consumed()
        closes_at = handler._loop.time() + handler._keepalive_timeout  # noqa: SLF001 - see above
        handler._next_keepalive_close_time = closes_at  # noqa: SLF001

    def _hold(self, data: bytes) -> _Parsed:
        self._held += data
        transport = self._handler.transport
        if len(self._held) > _MOST_HELD and transport is not None:
            transport.pause_reading()
        return (), False, b""


def _is_complete(message: RawRequestMessage, payload: StreamReader) -> bool:
    return (
        message.path.startswith(PREFIX)
        and message.method == "POST"
        and message.version == HttpVersion11
        and not message.should_close
        and not message.upgrade
        and payload.is_eof()
    )
