"""One connection's protocol: aiohttp's, but for what is said when a request fails before any handler.

aiohttp answers what is no HTTP with the words of its parser and logs them as an error, and those quote
the line that was refused: a token, a number. Here the answer is a fixed sentence in the envelope, and
the log has the kind of the error and how often it came, at most once a minute: whoever can reach the
port can send such requests, without a log-in and as many as they like.
"""

import time
from typing import Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from router.http.envelope import SERVER, SERVER_HEADER, failure

KEEP_ALIVE_S: Final = 75.0

LINGER_S: Final = 1.0
"""How long the rest of a refused body is read and thrown away, so that the refusal arrives."""

TELL_EVERY_S: Final = 60.0

_log = structlog.get_logger("crosspoint.http")


class Malformed:
    """How many requests were no HTTP since it was told last; one for all connections of a process."""

    def __init__(self) -> None:
        self._count = 0
        self._tell_at_s = 0.0

    def seen(self, error: BaseException | None) -> None:
        """Count one, and tell if that was not done within the last minute."""
        self._count += 1
        now_s = time.monotonic()
        if now_s < self._tell_at_s:
            return
        self._tell_at_s = now_s + TELL_EVERY_S
        _log.info("requests_malformed", count=self._count, error=type(error).__name__)
        self._count = 0


class Connection(RequestHandler):
    """One connection to `server`, which holds all of them."""

    __slots__ = ("_malformed",)

    def __init__(self, server: web.Server, malformed: Malformed) -> None:
        super().__init__(
            server,
            loop=server._loop,  # noqa: SLF001 - as the server itself makes them
            access_log=None,  # type: ignore[arg-type]  # None is documented as "no access log"
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,
        )
        self._malformed = malformed

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's; it quotes the request
    ) -> web.StreamResponse:
        """The answer to a request that no handler has answered; it is the connection's last."""
        if status < 500:
            self._malformed.seen(exc)
            answer = failure(status, "This is no HTTP request.", code="bad_http")
        else:
            _log.error("request_failed", status=status, exc_info=exc)
            answer = failure(status, "An unexpected failure.", code="internal")
        if request.writer.output_size > 0:
            raise ConnectionError  # a part of another answer is out: nothing can be said any more
        answer.headers[SERVER_HEADER] = SERVER
        answer.force_close()
        return answer
