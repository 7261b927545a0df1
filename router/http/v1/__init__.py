"""The management API: `/api/v1`, `/openapi.json`, and what it shares with `/events`, `/healthz`, `/metrics`.

What the app factory (`router/http/app.py`) does with it:

    from router.http import envelope, health, v1 ...        # nothing here has import side effects
    app = web.Application(
        middlewares=router.http.envelope.middlewares(log),  # one: request id, errors -> envelope, 404/405 too
        client_max_size=2**20,                              # our own readers are stricter; this is a belt
    )
    app.add_routes(router.http.v1.routes.routes(Management(...)))     # /api/v1/... and /openapi.json
    app.add_routes(router.http.events.routes.routes(EventDoor(...)))  # POST /events/{router_id}
    app.add_routes(router.health.routes(parts))                       # /healthz /readyz
    app.add_routes(router.metrics.routes(observer))                   # /metrics

`Management` (router/http/v1/management.py) is a frozen record of what the handlers stand on:

    tokens      router.tokens.Tokens          made from the settings (secret and/or JWKS file)
    directory   () -> Directory               the present snapshot
    resources   router.store.resources        CRUD of routers, queues, agents
    agents      router.store.agents.Agents    live state, duty, do-not-disturb
    errors      router.store.errors           error window per router, enable, reset
    decisions   router.store.decisions        list and get
    rulesets    router.rulesets               loaded versions and findings

`router/http/v1/ports.py` says as Protocols which methods of these are used, no more.

Each endpoint is one row of a table (`router/http/v1/endpoints.py`): method, path, resource of the
role table, body type, answer type, handler. Routes, roles and OpenAPI all come from those rows, so
they cannot disagree. A handler gets an `Asked` (who, tenant, path, query, body, deadline), returns
a value or a `Page`, raises a CrosspointError, and never sees aiohttp.
"""
