"""The HTTP server: `/route/` before everything else, the rest in an aiohttp Application.

Both live on one port and one connection. aiohttp's Server asks a factory for a request and a handler
for its response; ours look at the path first. A routing request gets a bare request object and goes
straight to its handler, past the Application's URL resolution and middlewares (measured: a fifth of a
request's time); everything else goes the usual way.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.typedefs import Middleware
from aiohttp.web_protocol import RequestHandler

from router.http.decisions.routes import PREFIX, RouteHandler

LINGER_S: Final = 1.0
"""How long the rest of a refused body is read and thrown away, so that the refusal arrives."""

KEEP_ALIVE_S: Final = 75.0
BACKLOG: Final = 1024


def make_application(
    routes: Iterable[web.AbstractRouteDef],
    middlewares: Iterable[Middleware] = (),
    *,
    longest_body: int = 1024**2,
) -> web.Application:
    """Everything but `/route/`."""
    application = web.Application(middlewares=tuple(middlewares), client_max_size=longest_body)
    application.add_routes(routes)
    return application


class HttpServer:
    """Serves an application and the routing handler on any number of sockets."""

    def __init__(self, application: web.Application, route: RouteHandler, drain_s: float) -> None:
        """`drain_s` is how long requests may go on after `close` was called."""
        self._route = route
        self._runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,
            shutdown_timeout=drain_s,
        )

    async def start(self, *sockets: socket.socket) -> None:
        """Listen on these sockets, bound but not yet listening."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - setup has made it
        self._dispatch(server)
        for sock in sockets:
            await web.SockSite(self._runner, sock, backlog=BACKLOG).start()

    async def close(self) -> None:
        """Stop accepting, let requests finish within `drain_s`, close everything."""
        await self._runner.cleanup()

    def _dispatch(self, server: web.Server) -> None:
        make_other: Callable[..., web.BaseRequest] = server.request_factory
        handle_other, handle_route = server.request_handler, self._route.handle
        loop = asyncio.get_running_loop()

        def make_request(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: RequestHandler,
            writer: AbstractStreamWriter,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            if message.path.startswith(PREFIX):
                return web.BaseRequest(message, payload, protocol, writer, task, loop)
            return make_other(message, payload, protocol, writer, task)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if isinstance(request, web.Request):
                return await handle_other(request)
            return await handle_route(request)

        server.request_factory = make_request
        server.request_handler = handle
