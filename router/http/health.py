"""`/healthz` and `/readyz`: does the process live, can it decide, and what is degraded.

Neither asks anybody: they report what is known, so that a probe is cheap and cannot hang. A degraded
part (no store, rules that did not load) is told, but only what makes every answer impossible is a 503:
to take a process out of service that still answers by rules alone would lose calls.
"""

from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web

from router.http.envelope import failure, success


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of the service. `is_needed`: without it nothing can be decided at all.

    `detail` is a fixed word or two (`reconnecting`, `2 rulesets failed to load`), nothing private.
    """

    name: str
    is_well: bool
    is_needed: bool = False
    detail: str | None = None


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of /healthz."""

    live: bool = True


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of /readyz; `degraded` names the parts that are not well.

    `store` is the same in all processes of one store, and tells nothing else.
    """

    ready: bool
    degraded: list[str]
    parts: list[Part]
    store: str | None = None


def readiness(parts: Sequence[Part], store: str | None = None) -> Ready:
    """Ready unless a needed part is not well."""
    return Ready(
        ready=all(part.is_well for part in parts if part.is_needed),
        degraded=[part.name for part in parts if not part.is_well],
        parts=list(parts),
        store=store,
    )


def routes(parts: Callable[[], Sequence[Part]], store: str | None = None) -> list[web.RouteDef]:
    """Both endpoints; `parts` is asked anew for every answer and must not block."""

    async def healthz(_request: web.Request) -> web.Response:
        return success(Live())

    async def readyz(_request: web.Request) -> web.Response:
        state = readiness(parts(), store)
        if state.ready:
            return success(state)
        names = ", ".join(part.name for part in parts() if part.is_needed and not part.is_well)
        return failure(503, f"Nothing can be decided: {names}.", code="not_ready", data=state)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]
