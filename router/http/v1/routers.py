"""`routers`: call routers, their switch, and the errors of the past hour.

Enabling does not clear the count, so a router that was re-enabled without `reset_error_count` is
disabled again by its next error.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from router.decisions.error_budget import LIMIT, WINDOW_S, RouterHealth
from router.errors import ConflictError, ForbiddenError, InvalidInputError
from router.http.envelope import Page, timestamp
from router.http.roles import Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.resources import (
    Nothing,
    Raw,
    form,
    input_form,
    not_found,
    page,
    patch_form,
    picture,
    with_live,
    without,
)
from router.site.forms import from_document, merged, with_literal_secrets
from router.site.resources import RouterConfig, shared_number
from router.store import errors
from router.store.resources import Mode
from router.tokens import Role


class LastError(msgspec.Struct, frozen=True):
    """One error of a router."""

    at: datetime | None
    code: str


class RouterLive(msgspec.Struct, frozen=True, kw_only=True):
    """What changes by itself: more than `error_limit` errors in `error_window_seconds` disable.

    `secret_problem` says why a secret is not to be had by the process that answers: without any, all
    routing requests are refused.
    """

    enabled: bool
    disabled_at: datetime | None
    error_count: int
    error_limit: int
    error_window_seconds: int
    last_errors: list[LastError]
    secret_problem: str | None


class RouterSwitch(msgspec.Struct, frozen=True, kw_only=True):
    """What a PATCH may do besides changing fields."""

    enabled: bool | None = None
    reset_error_count: bool | None = None


RouterForm = form("Router", RouterConfig, RouterLive)
RouterInput = input_form("RouterInput", RouterConfig)
RouterPatch = patch_form("RouterPatch", RouterConfig, RouterSwitch)


async def list_routers(asked: Asked[None]) -> Page:
    found = page(asked, (await picture(asked)).routers)
    configs = [item for item in found.items if isinstance(item, RouterConfig)]
    health = await errors.read_health(
        asked.link, asked.tenant, [config.id for config in configs], asked.deadline
    )
    forms: list[object] = [
        with_live(config, _live(asked, config, health[config.id])) for config in configs
    ]
    return msgspec.structs.replace(found, items=forms)


async def get_router(asked: Asked[Any]) -> Raw:
    config = await asked.service.resources.get(
        asked.tenant, RouterConfig, asked.id, deadline=asked.deadline
    )
    if config is None:
        raise not_found(asked, "router")
    return await _form(asked, config)


async def create_router(asked: Asked[Raw]) -> Raw:
    config = from_document(with_literal_secrets(asked.body), RouterConfig)
    resources = asked.service.resources
    await resources.need_free_routers(asked.tenant, [config.id], deadline=asked.deadline)
    _check_rules(asked, config.rules)
    _check_numbers(config, (await picture(asked)).routers)
    await resources.put(asked.tenant, config, deadline=asked.deadline, mode=Mode.ABSENT)
    return await _form(asked, config)


async def patch_router(asked: Asked[Raw]) -> Raw:
    """Change fields first, then forget errors, then switch: a refused field changes nothing."""
    body = asked.body
    for name in ("enabled", "reset_error_count"):
        if not isinstance(body.get(name), bool | None):
            raise InvalidInputError(f"{name} is true or false.", field=name)
    change = with_literal_secrets(without(body, "enabled", "reset_error_count"))
    _check_rules(asked, change.get("rules"))
    routers = (await picture(asked)).routers

    def changed(present: RouterConfig) -> RouterConfig:
        wanted = merged(present, change)
        if "phone_numbers" in change:
            _check_numbers(wanted, routers)
        return wanted

    await asked.service.resources.patch(
        asked.tenant, RouterConfig, asked.id, changed, deadline=asked.deadline
    )
    if body.get("reset_error_count"):
        await errors.reset_error_count(asked.link, asked.tenant, asked.id, asked.deadline)
    enabled = body.get("enabled")
    if isinstance(enabled, bool):
        await errors.set_enabled(
            asked.link, asked.tenant, asked.id, asked.deadline, enabled=enabled
        )
    return await get_router(asked)


async def remove_router(asked: Asked[None]) -> Nothing:
    resources = asked.service.resources
    await resources.remove(asked.tenant, RouterConfig, asked.id, deadline=asked.deadline)
    return Nothing()


def _check_rules(asked: Asked[Any], name: object) -> None:
    """ForbiddenError where these rules may be another tenant's.

    Files of rules have no owner but the tenants whose routers use them, and whose router uses them
    learns what they say. So where several tenants have routers, an admin of one chooses among the rules
    that its routers use already; others are given by a platform admin, or with the site file.
    """
    if name is None or asked.who.role is Role.PLATFORM_ADMIN:
        return
    routers = asked.service.directory().routers.values()
    if any(entry.tenant != asked.tenant for entry in routers) and not any(
        entry.tenant == asked.tenant and entry.config.rules == name for entry in routers
    ):
        raise ForbiddenError(
            "Several tenants have call routers here: rules that none of yours uses yet are given by a"
            " platform admin, or with the site file."
        )


def _check_numbers(config: RouterConfig, routers: Mapping[str, RouterConfig]) -> None:
    """ConflictError where a number is another router's: which one a PBX asks would be left to chance."""
    if shared := shared_number(config, routers.values()):
        number, other = shared
        raise ConflictError(f"the phone number {number} is that of {other.id} already")


async def _form(asked: Asked[Any], config: RouterConfig) -> Raw:
    health = await errors.read_health(asked.link, asked.tenant, [config.id], asked.deadline)
    return with_live(config, _live(asked, config, health[config.id]))


def _live(asked: Asked[Any], config: RouterConfig, health: RouterHealth) -> RouterLive:
    known = asked.service.directory().router(config.id)
    return RouterLive(
        enabled=health.is_enabled,
        disabled_at=timestamp(health.disabled_at_ms),
        error_count=health.error_count,
        error_limit=LIMIT,
        error_window_seconds=int(WINDOW_S),
        last_errors=[
            LastError(timestamp(error.at_ms), error.code.value) for error in health.last_errors
        ],
        secret_problem=known.secret_problem if known is not None else None,
    )


_R = Resource.ROUTERS
ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/routers",
        resource=_R,
        summary="List call routers",
        handler=list_routers,
        answer=RouterForm,
        is_list=True,
    ),
    Endpoint(
        method="POST",
        path="/routers",
        resource=_R,
        summary="Create a call router",
        handler=create_router,
        body=RouterInput,
        is_raw=True,
        answer=RouterForm,
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/routers/{id}",
        resource=_R,
        summary="Get a call router",
        handler=get_router,
        answer=RouterForm,
    ),
    Endpoint(
        method="PATCH",
        path="/routers/{id}",
        resource=_R,
        summary="Change a call router, switch it, forget its errors",
        handler=patch_router,
        body=RouterPatch,
        is_raw=True,
        answer=RouterForm,
    ),
    Endpoint(
        method="DELETE",
        path="/routers/{id}",
        resource=_R,
        summary="Remove a call router",
        handler=remove_router,
        answer=Nothing,
    ),
)
