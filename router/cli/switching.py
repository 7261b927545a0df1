"""`crosspoint routers`: which call routers there are, and the switch of each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from router.cli.shell import (
    Boundary,
    Shell,
    Store,
    json_option,
    print_json,
    print_table,
    soon,
    tenant_of,
    tenant_option,
    to_json,
)
from router.errors import NotFoundError

if TYPE_CHECKING:
    from router.decisions.error_budget import RouterHealth
    from router.site.directory import RouterEntry, TenantResources


@click.group(cls=Boundary)
def routers() -> None:
    """List call routers; switch them on and off."""


@routers.command("list", epilog="\b\nExample:\n  crosspoint routers list --json")
@tenant_option
@json_option
@click.pass_obj
def list_routers(shell: Shell, tenant: str | None, as_json: bool) -> None:
    """Show every call router, whether it is enabled, and its errors of the past hour.

    Secrets are looked for on this machine; those of others may have them, or not.
    """
    from router.settings import secret_source  # noqa: PLC0415 - start-up time
    from router.site.directory import build  # noqa: PLC0415
    from router.site.forms import public_form  # noqa: PLC0415
    from router.store.errors import read_health  # noqa: PLC0415

    async def work(store: Store) -> "tuple[TenantResources, Mapping[str, RouterHealth]]":
        name = await tenant_of(store, tenant)
        known = await store.resources.load(name, deadline=soon())
        health = await read_health(store.link_for(name), name, known.routers, soon())
        return known, health

    known, health = shell.with_store(work)
    found = known.routers.values()
    here = build({"": known}, secret_source(shell.settings)).routers
    if as_json:
        print_json(
            [
                {
                    **public_form(one),
                    "health": to_json(health.get(one.id)),
                    "secret_problem": here[one.id].secret_problem,
                }
                for one in found
            ]
        )
        return
    rows = [
        (
            router.id,
            router.name,
            router.rules or router.routing_url or "",
            _requests(here[router.id]),
            "enabled" if health[router.id].is_enabled else "DISABLED",
            str(health[router.id].error_count),
        )
        for router in found
    ]
    columns = ("router", "name", "decided by", "requests", "state", "errors in the past hour")
    print_table(columns, rows, "no routers; `crosspoint apply SITE` creates them")


@routers.command(epilog="\b\nExample:\n  crosspoint routers enable main")
@click.argument("router")
@json_option
@click.pass_obj
def enable(shell: Shell, router: str, as_json: bool) -> None:
    """Switch ROUTER on. Its errors still count: one more and it is off again; see reset-errors."""
    _switch(shell, router, on=True, as_json=as_json)


@routers.command(epilog="\b\nExample:\n  crosspoint routers disable main")
@click.argument("router")
@json_option
@click.pass_obj
def disable(shell: Shell, router: str, as_json: bool) -> None:
    """Switch ROUTER off: it answers its default target, whoever calls."""
    _switch(shell, router, on=False, as_json=as_json)


@routers.command("reset-errors", epilog="\b\nExample:\n  crosspoint routers reset-errors main")
@click.argument("router")
@json_option
@click.pass_obj
def reset_errors(shell: Shell, router: str, as_json: bool) -> None:
    """Forget ROUTER's errors. It stays off if it is off; see enable."""
    from router.store.errors import read_health, reset_error_count  # noqa: PLC0415 - start-up time

    async def work(store: Store) -> "RouterHealth":
        tenant = await router_tenant(store, router)
        link = store.link_for(tenant)
        await reset_error_count(link, tenant, router, soon())
        return (await read_health(link, tenant, [router], soon()))[router]

    _tell(router, shell.with_store(work), f"{router} has no errors", as_json=as_json)


async def router_tenant(store: Store, router: str) -> str:
    """The tenant a router belongs to; NotFoundError."""
    tenant = await store.resources.tenant_of_router(router, deadline=soon())
    if tenant is None:
        raise NotFoundError(f"there is no router {router}")
    return tenant


def _switch(shell: Shell, router: str, *, on: bool, as_json: bool) -> None:
    from router.store.errors import read_health, set_enabled  # noqa: PLC0415 - start-up time

    async def work(store: Store) -> "RouterHealth":
        tenant = await router_tenant(store, router)
        link = store.link_for(tenant)
        await set_enabled(link, tenant, router, soon(), enabled=on)
        return (await read_health(link, tenant, [router], soon()))[router]

    text = f"{router} is {'enabled' if on else 'disabled'}"
    _tell(router, shell.with_store(work), text, as_json=as_json)


def _tell(router: str, health: "RouterHealth", text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": router, "health": to_json(health)})
    else:
        click.echo(text)


def _requests(router: "RouterEntry") -> str:
    if router.secret_problem is None:
        return "signed" if router.is_signed else "unsigned"
    return "signed, NO SECRET here" if router.refuses_all else "signed, a secret is missing here"
