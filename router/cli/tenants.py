"""`crosspoint tenants`: whose resources the store has, and whose it has lost."""

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
)
from router.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.settings import Settings
    from router.site.directory import TenantResources


@click.group(cls=Boundary)
def tenants() -> None:
    """List tenants; forget one that the store has no more."""


@tenants.command("list", epilog="\b\nExample:\n  crosspoint tenants list --json")
@json_option
@click.pass_obj
def list_tenants(shell: Shell, as_json: bool) -> None:
    """Show every tenant, also those that are only in the last picture kept on this machine."""

    async def work(store: Store) -> "tuple[dict[str, TenantResources], dict[str, TenantResources]]":
        here = await in_store(store)
        return here, lost(here, shell.settings)

    here, gone = shell.with_store(work)
    forms = [_form(name, known, is_lost=name in gone) for name, known in (here | gone).items()]
    if as_json:
        print_json(forms)
        return
    rows = [
        (
            str(form["tenant"]),
            *(str(form[kind]) for kind in ("routers", "queues", "agents")),
            "LOST: only in the last picture" if form["is_lost"] else "in the store",
        )
        for form in forms
    ]
    columns = ("tenant", "routers", "queues", "agents", "where")
    print_table(columns, rows, "the store is empty; `crosspoint apply SITE` fills it")


@tenants.command(
    "forget",
    epilog="""\b
A store that comes back empty, or another one, changes nothing by itself: what it has lost stays in the
picture of every process until it is applied again, or forgotten.
\b
Example:
  crosspoint tenants forget acme""",
)
@click.argument("tenant")
@click.pass_obj
def forget_tenant(shell: Shell, tenant: str) -> None:
    """Have every process forget what TENANT had and the store has lost, for good."""

    async def work(store: Store) -> None:
        known = await store.resources.tenants(deadline=soon())
        if tenant not in known and tenant not in picture(shell.settings):
            raise NotFoundError(f"there is no tenant {tenant}, here or in the store")
        await store.resources.declare_empty(tenant, deadline=soon())

    shell.with_store(work)
    click.echo(f"tenant {tenant}: has nothing; every process forgets what it had")


async def in_store(store: Store) -> "dict[str, TenantResources]":
    """What each tenant has."""
    names = await store.resources.tenants(deadline=soon())
    return {name: await store.resources.load(name, deadline=soon()) for name in names}


def lost(
    here: "Mapping[str, TenantResources]", settings: "Settings"
) -> "dict[str, TenantResources]":
    """What tenants had when this machine last saw it, and have lost in the store, which has `here`."""
    from router.site.keeper import has_lost  # noqa: PLC0415 - start-up time

    return {
        name: before
        for name, before in picture(settings).items()
        if has_lost(before, here.get(name))
    }


def picture(settings: "Settings") -> "dict[str, TenantResources]":
    """What this machine knew last."""
    from router.settings import secret_source  # noqa: PLC0415 - start-up time
    from router.site.keeper import DirectoryKeeper  # noqa: PLC0415

    file = settings.directory_file
    return DirectoryKeeper.read_file(file, secret_source(settings)).resources()


def _form(name: str, known: "TenantResources", *, is_lost: bool) -> dict[str, object]:
    return {
        "tenant": name,
        "routers": len(known.routers),
        "queues": len(known.queues),
        "agents": len(known.agents),
        "is_lost": is_lost,
    }
