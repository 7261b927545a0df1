"""Answers complete routing requests right where they are parsed, before aiohttp makes a task of them.

Most routing requests arrive in one piece and are decided by rules alone, without waiting for
anybody. For those, aiohttp's request and response objects, its task per request and the two turns of
the event loop cost more than parsing and deciding together (measured: half of the whole). So a thin
layer stands between aiohttp's parser and its request queue: it sees each parsed message, answers it if
it can do so at once, and passes on everything else untouched, to be handled the usual way and in
order: other paths, errors, pipelined requests, unfinished bodies, decisions that have to wait.

It relies on names that aiohttp does not promise. `put_before` therefore looks for all of them, and
without them leaves the connection as it is: slower, and otherwise the same. The tests ask every
question of both ways.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from router.http.decisions.answering import Half, Reply
from router.http.decisions.routes import PREFIX

AtOnce = Callable[[str, bytes], bytes | Half | Reply]

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

_Parsed = tuple[Sequence[tuple[RawRequestMessage, StreamReader]], bool, bytes]


def put_before(handler: RequestHandler, at_once: AtOnce) -> RequestHandler:
    """Put the layer before a connection's request queue, if this aiohttp is built as expected."""
    parser = getattr(handler, "_parser", None)
    is_as_expected = all(hasattr(handler, name) for name in _NEEDED) and all(
        hasattr(parser, name) for name in _NEEDED_OF_PARSER
    )
    if is_as_expected:
        handler._parser = _Front(handler, parser, at_once)  # type: ignore[assignment]  # noqa: SLF001 - see above
    return handler


def begun_of(request: web.BaseRequest) -> Half | Reply | None:
    """What was already done of this request, when it could not be answered at once."""
    parser = getattr(request.protocol, "_parser", None)
    if not isinstance(parser, _Front) or parser.begun is None:
        return None
    (message, begun), parser.begun = parser.begun, None
    return begun if message is request._message else None  # noqa: SLF001 - see above


class _Front:
    """Stands in for a connection's parser."""

    __slots__ = ("_at_once", "_handler", "_parser", "begun")

    def __init__(self, handler: RequestHandler, parser: Any, at_once: AtOnce) -> None:
        # Any: the parser is a C class without types
        self._handler = handler
        self._parser = parser
        self._at_once = at_once
        self.begun: tuple[RawRequestMessage, Half | Reply] | None = None

    def feed_data(self, data: bytes) -> _Parsed:
        """Parse, and keep back what was answered."""
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
        )

    def _answer(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        handler, transport = self._handler, self._handler.transport
        if transport is None or transport.get_write_buffer_size() > _MOST_UNSENT:
            return False
        body = payload.read_nowait()
        done = self._at_once(message.path, body)
        if isinstance(done, bytes):
            transport.write(done)
            self._parser.message_consumed()
            closes_at = handler._loop.time() + handler._keepalive_timeout  # noqa: SLF001
            handler._next_keepalive_close_time = closes_at  # noqa: SLF001
            return True
        self.begun = (message, done)
        return False


def _is_complete(message: RawRequestMessage, payload: StreamReader) -> bool:
    return (
        message.path.startswith(PREFIX)
        and message.method == "POST"
        and message.version == HttpVersion11
        and not message.should_close
        and not message.upgrade
        and payload.is_eof()
    )
