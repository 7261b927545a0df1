"""Answers complete routing requests right where they are parsed, before aiohttp makes a task of them.

Nearly all routing requests arrive in one piece on a connection that is otherwise idle. For those,
aiohttp's request and response objects, its task per request and the turns of the event loop cost more
than parsing and deciding together (measured: half of the whole). So a thin layer stands between
aiohttp's parser and its request queue: it sees each parsed message and answers it, at once if nobody
else is needed, else when the decision is there (what the client sends meanwhile is held back, unread,
so that answers stay in order). Everything else it passes on untouched, to be handled the usual way:
other paths, errors, pipelined requests, unfinished bodies, whatever comes once the server is closing.

A platform sends the same head with nearly every request. What the parser makes of a head does not
change, so the heads of requests that were answered here are remembered, and a request with one of them
is not parsed again, as long as the parser stands between two messages.

It relies on names that aiohttp does not promise. `put_before` therefore looks for all of them, and
without them leaves the connection as it is: slower, and otherwise the same. The tests ask every
question of both ways.
"""

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

_MOST_HEADS: Final = 512
_LONGEST_HEAD: Final = 1024
_END_OF_HEAD: Final = b"\r\n\r\n"

_Parsed = tuple[Sequence[tuple[RawRequestMessage, StreamReader]], bool, bytes]
_NOTHING: Final[_Parsed] = ((), False, b"")


class Heads:
    """The heads of requests that can be answered here: path and length of the body; one per process."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, int]] = {}

    def read(self, data: bytes) -> tuple[str, bytes] | None:
        """Path and body, if this is one whole request with a head that is known."""
        end = _end_of_head(data)
        known = self._known.get(data[:end])
        if known is None or known[1] != len(data) - end:
            return None
        return known[0], data[end:]

    def learn(self, data: bytes, path: str) -> None:
        """Remember the head of `data`, which is one whole message to `path`."""
        end = _end_of_head(data)
        if end <= _LONGEST_HEAD:
            if len(self._known) >= _MOST_HEADS:
                self._known.clear()
            self._known[data[:end]] = (path, len(data) - end)


def put_before(handler: RequestHandler, route: RouteHandler, heads: Heads) -> RequestHandler:
    """Put the layer before a connection's request queue, if this aiohttp is built as expected."""
    parser = getattr(handler, "_parser", None)
    is_as_expected = all(hasattr(handler, name) for name in _NEEDED) and all(
        hasattr(parser, name) for name in _NEEDED_OF_PARSER
    )
    if is_as_expected:
        handler._parser = _Front(handler, parser, route, heads)  # type: ignore[assignment]  # noqa: SLF001 - see above
    return handler


class _Front:
    """Stands in for a connection's parser."""

    __slots__ = (
        "_handler",
        "_heads",
        "_held",
        "_is_between",
        "_is_waiting",
        "_parser",
        "_route",
    )

    def __init__(
        self, handler: RequestHandler, parser: Any, route: RouteHandler, heads: Heads
    ) -> None:
        # Any: the parser is a C class without types
        self._handler = handler
        self._parser = parser
        self._route = route
        self._heads = heads
        self._is_waiting = False
        self._is_between = True  # two messages: all that came was whole messages
        self._held = b""

    def feed_data(self, data: bytes) -> _Parsed:
        """Parse, and keep back what is answered here."""
        if self._is_waiting:
            return self._hold(data)
        if self._is_between and (known := self._heads.read(data)) and self._is_idle():
            self._answer(*known)
            return _NOTHING
        was_between = self._is_between
        if data:  # else aiohttp only asks whether there is more
            self._is_between = False
        parsed: _Parsed = self._parser.feed_data(data)
        if len(parsed[0]) != 1 or parsed[1]:
            return parsed
        message, payload = parsed[0][0]
        if not payload.is_eof():
            return parsed
        self._is_between = was_between and _is_all(data, message)
        if not _is_ours(message) or not self._is_idle():
            return parsed
        if self._is_between:
            self._heads.learn(data, message.path)
        self._parser.message_consumed()
        self._answer(message.path, payload.read_nowait())
        return (), False, parsed[2]

    def __getattr__(self, name: str) -> Any:  # Any: as the parser has it
        return getattr(self._parser, name)

    def _is_idle(self) -> bool:
        """Whether the connection waits for its next request, so that nothing can get out of order."""
        handler = self._handler
        waiter = handler._waiter  # noqa: SLF001 - see above
        transport = handler.transport
        return (
            transport is not None
            and transport.get_write_buffer_size() <= _MOST_UNSENT
            and waiter is not None
            and not waiter.done()
            and not handler._messages  # noqa: SLF001
            and not handler._close  # noqa: SLF001
            and not handler._force_close  # noqa: SLF001
            and not handler._upgraded  # noqa: SLF001
            and not self._route.is_closing
        )

    def _answer(self, path: str, body: bytes) -> None:
        done = self._route.at_once(path, body)
        if isinstance(done, Half):
            self._is_waiting = True
            self._route.later(done, self._go_on)
        else:
            self._write(done)

    def _go_on(self, answer: bytes) -> None:
        """Write the answer that was waited for, and go on with what came meanwhile."""
        self._is_waiting = False
        self._write(answer)
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
        closes_at = handler._loop.time() + handler._keepalive_timeout  # noqa: SLF001 - see above
        handler._next_keepalive_close_time = closes_at  # noqa: SLF001

    def _hold(self, data: bytes) -> _Parsed:
        self._held += data
        transport = self._handler.transport
        if len(self._held) > _MOST_HELD and transport is not None:
            transport.pause_reading()
        return _NOTHING


def _is_ours(message: RawRequestMessage) -> bool:
    return (
        message.path.startswith(PREFIX)
        and message.method == "POST"
        and message.version == HttpVersion11
        and not message.should_close
        and not message.upgrade
    )


def _is_all(data: bytes, message: RawRequestMessage) -> bool:
    """Whether the message ends where `data` does, with which it begins."""
    length = len(data) - _end_of_head(data)
    lengths = message.headers.getall("Content-Length", ["0"])
    return not message.chunked and lengths == [str(length)]


def _end_of_head(data: bytes) -> int:
    return data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
