"""The management API: `/api/v1`, `/openapi.json`, and what it shares with `/events`, `/healthz`, `/metrics`.

What the app factory (`router/http/app.py`) does with it:

    observer = metrics.Observer(shared_in=...)               # None with one worker
    app = web.Application(
        middlewares=router.http.envelope.middlewares(),      # request id, every error in the envelope
        client_max_size=2**20,                               # our own readers are stricter
    )
    app.add_routes(router.http.v1.routes.routes(Management(...)))     # /api/v1/... and /openapi.json
    app.add_routes(router.http.events.routes.routes(EventDoor(...)))  # POST /events/{router_id}
    app.add_routes(router.http.health.routes(parts))                       # /healthz /readyz
    app.add_routes(router.metrics.routes(observer))                   # /metrics

`Management` (router/http/v1/endpoints.py) is a frozen record of what the handlers stand on:

    tokens      router.tokens.Tokens            from the settings: secrets, JWKS file, issuer, audience
    directory   () -> Directory                 the present picture
    resources   router.store.resources.Resources
    agents      router.store.agents.Agents
    links       link_for(tenant) -> Link
    rulesets    router.rulesets.in_force.Rulesets
    telephony   router.telephony.remote.Telephony    live calls, records, callbacks, control

`EventDoor`: `directory` as above, `applier=EventApplier(agents, line, legs)`, `observer`.
`parts()` returns a list of `router.http.health.Part`: what is well, what is degraded. `observer.run()` is a
task of the process; the parent of several workers puts the folder of
`metrics_files.folder_of_service(data_dir)` into their environment.

Each endpoint is one row of a table (`router/http/v1/endpoints.py`): method, path, resource of the
role table, body type, answer type, handler. Routes, roles and OpenAPI all come from those rows, so
they cannot disagree. A handler gets an `Asked` (who, tenant, path, query, body, deadline), returns
a value or a `Page`, raises a CrosspointError, and never sees aiohttp.
"""
