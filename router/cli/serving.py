"""`crosspoint up` and `crosspoint serve`: the service itself, in the foreground until a signal."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from router.cli.shell import UNUSABLE, Shell, ended, shorter

if TYPE_CHECKING:
    from router.settings import Settings
    from router.site.file import Site

_CALLER: Final = "+12125550142"


@click.command(
    epilog="""\b
The first start makes missing secret files in the data folder. Ctrl-C, SIGTERM or closing the terminal ends it in order.
\b
Examples:
  crosspoint -c deploy/example/crosspoint.yaml up
  CROSSPOINT_HTTP__PORT=9000 crosspoint up"""
)
@click.option("--port", type=click.IntRange(0, 65_535), help="Instead of the one in the settings.")
@click.pass_obj
def up(shell: Shell, port: int | None) -> None:
    """Run everything in one process: store (unless the settings name one), site, rules, HTTP."""
    from router.processes.serve import serve as run  # noqa: PLC0415 - start-up time
    from router.processes.site_at_start import make_missing_secrets, read_site  # noqa: PLC0415

    settings = _with_port(shell.settings, port)
    site = read_site(settings)
    made = make_missing_secrets(settings, site)
    run(
        settings,
        with_site=True,
        on_ready=_banner(shell, settings, site, made),
        on_unapplied=lambda why: click.echo(f"WRONG: the site was not applied: {why}"),
    )


@click.command(
    epilog="""\b
Examples:
  CROSSPOINT_STORE__URL=redis://redis:6379/0 crosspoint serve
  crosspoint -c /etc/crosspoint/crosspoint.yaml serve --port 9000"""
)
@click.option("--port", type=click.IntRange(0, 65_535), help="Instead of the one in the settings.")
@click.pass_obj
def serve(shell: Shell, port: int | None) -> None:
    """Serve HTTP against the store in the settings; the site is applied by `crosspoint apply`."""
    from router.processes.serve import serve as run  # noqa: PLC0415 - start-up time

    settings = _with_port(shell.settings, port)
    if settings.store.url is None:
        raise ended("serve needs a store: set store.url, or use `crosspoint up`", UNUSABLE)
    run(settings, on_ready=lambda url: click.echo(f"crosspoint listens on {url}"))


def _with_port(settings: "Settings", port: int | None) -> "Settings":
    if port is None:
        return settings
    http = msgspec.structs.replace(settings.http, port=port)
    return msgspec.structs.replace(settings, http=http)


def _signed(settings: "Settings", site: "Site") -> dict[str, str | None]:
    """Signed routers, and what is wrong with their secrets."""
    from router.settings import secret_source  # noqa: PLC0415 - start-up time
    from router.site.directory import TenantResources, build  # noqa: PLC0415

    routers = {router.id: router for router in site.routers if router.secret is not None}
    found = build({site.tenant: TenantResources(routers=routers)}, secret_source(settings))
    return {name: found.routers[name].secret_problem for name in routers}


def _banner(
    shell: Shell, settings: "Settings", site: "Site | None", made: list[Path]
) -> Callable[[str], None]:
    """What it listens on, and what to try."""
    command = shell.command
    unsigned = [router.id for router in site.routers if router.secret is None] if site else []
    signed = _signed(settings, site) if site else {}
    agent = site.agents[0].id if site and site.agents else None

    def show(url: str) -> None:
        click.echo(f"crosspoint listens on {url}")
        for router in unsigned:
            click.echo(f"  POST {url}/route/{router}")
        for router, problem in signed.items():
            click.echo(f"  POST {url}/route/{router}  (signed)")
            if problem is not None:
                click.echo(f"    WRONG: {problem}")
        click.echo(f"  API {url}/openapi.json   health {url}/readyz   metrics {url}/metrics")
        click.echo(f"  store {settings.store.public_url()}, rules {shorter(settings.rules_dir)}")
        for path in made:
            click.echo(f"  made the secret {shorter(path)}")
        if not site or not site.routers:
            return
        router = [*unsigned, *signed][0]
        at = "" if f":{settings.http.port}" in url else f" --url {url}"
        click.echo("Try, in a second terminal:")
        click.echo(f"  {command} call {router} --caller {_CALLER}{at}")
        if agent:
            free = f"--digits language=2 --agent-free {agent}"
            click.echo(f"  {command} call {router} --caller {_CALLER} {free}{at}")
        click.echo(f"  {command} agents list")

    return show
