"""All endpoints of the management API in one table, and the routes made from it."""

from typing import Final

import msgspec
from aiohttp import web

from router.http.v1 import (
    agents,
    call_controls,
    callbacks,
    calls,
    cdrs,
    decisions,
    me,
    new_calls,
    openapi,
    queues,
    recordings,
    routers,
    rules,
)
from router.http.v1.endpoints import AnyEndpoint, Management, route

ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = (
    *me.ENDPOINTS,
    *routers.ENDPOINTS,
    *queues.ENDPOINTS,
    *agents.ENDPOINTS,
    *rules.ENDPOINTS,
    *decisions.ENDPOINTS,
    *calls.ENDPOINTS,
    *new_calls.ENDPOINTS,
    *call_controls.ENDPOINTS,
    *cdrs.ENDPOINTS,
    *callbacks.ENDPOINTS,
    *recordings.ENDPOINTS,
)


def routes(service: Management) -> list[web.RouteDef]:
    """`/api/v1/…` and `/openapi.json`, which needs no token."""
    text = msgspec.json.encode(openapi.document(ENDPOINTS))

    async def document(_request: web.Request) -> web.Response:
        return web.Response(body=text, content_type="application/json")

    return [*(route(service, row) for row in ENDPOINTS), web.get("/openapi.json", document)]
