"""The HTTP server: `/route/` before everything else, the rest in an aiohttp Application.

Both live on one port and on the same connections. aiohttp's Server asks a factory for a request and a
handler for its response; ours look at the path first. A routing request gets a bare request object
and goes straight to its handler, past the Application's URL resolution and middlewares; `front.py`
goes further for those that can be answered without waiting.
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

from router.http import front
from router.http.connection import Connection, Malformed
from router.http.decisions.routes import PREFIX, RouteHandler
from router.http.envelope import SERVER, SERVER_HEADER, of_http, request_id_of

LAST_ANSWERS_S: Final = 1.0
"""How long open connections may bring one more request after the end has begun."""

_LOOK_S: Final = 0.02
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
        self._drain_s = drain_s
        self._listening: list[asyncio.Server] = []
        self._runner = web.AppRunner(
            application,
            shutdown_timeout=drain_s,
        )

    async def start(self, *sockets: socket.socket) -> None:
        """Listen on these sockets, bound but not yet listening."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - setup has made it
        self._dispatch(server)
        loop, malformed, heads = asyncio.get_running_loop(), Malformed(), front.Heads()

        def connection() -> asyncio.Protocol:
            return front.put_before(Connection(server, malformed), self._route, heads)

        for sock in sockets:
            self._listening.append(await loop.create_server(connection, sock=sock, backlog=BACKLOG))

    async def close(self) -> None:
        """Stop accepting, answer what still comes, let requests finish within `drain_s`, close all.

        A client may have sent its next request on an open connection before it can know. So for a
        moment connections are not closed, but told with their next answer that it was the last.
        """
        for listening in self._listening:
            listening.close()
        self._route.is_closing = True
        server = self._runner.server
        end = asyncio.get_running_loop().time() + min(LAST_ANSWERS_S, self._drain_s)
        latest = asyncio.get_running_loop().time() + self._drain_s
        while server is not None and server.connections:
            now = asyncio.get_running_loop().time()
            if now > latest or (now > end and not self._route.waiting):
                break
            await asyncio.sleep(_LOOK_S)
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
                try:
                    response = await handle_other(request)
                except web.HTTPException as error:  # raised before the middleware: Expect
                    response = of_http(error, request_id_of(request))
                if not response.prepared:
                    response.headers[SERVER_HEADER] = SERVER
                    if self._route.is_closing:
                        response.force_close()
                return response
            return await handle_route(request)

        server.request_factory = make_request
        server.request_handler = handle
