"""`crosspoint token`: a token for the management API."""

import getpass
import re

import click

from router.cli.shell import Shell, json_option, print_json

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> int:  # noqa: ARG001
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    if match is None:
        raise click.BadParameter(f"{value} is no duration; write 30m, 8h or 14d")
    return int(match[1]) * _UNITS[match[2]]


@click.command(
    epilog="""\b
Examples:
  crosspoint token --role supervisor --ttl 8h
  curl -H "Authorization: Bearer $(crosspoint token --role admin)" localhost:8080/api/v1/agents"""
)
@click.option(
    "--role",
    type=click.Choice(["platform_admin", "admin", "supervisor", "agent"]),
    required=True,
)
@click.option("--ttl", callback=_seconds, default="8h", show_default=True, help="30m, 8h, 14d.")
@click.option("--sub", help="Who it is for; for the role agent the agent's id. Default: you.")
@click.option("--tenant", default=None, help="Default: the site's.")
@json_option
@click.pass_obj
def token(  # noqa: PLR0917 - click's order
    shell: Shell, role: str, ttl: int, sub: str | None, tenant: str | None, as_json: bool
) -> None:
    """Make a token for the management API, signed with the secret in the settings."""
    from router.settings import secret_source  # noqa: PLC0415 - start-up time
    from router.tokens import Tokens  # noqa: PLC0415

    if role == "agent" and sub is None:
        raise click.UsageError("a token for the role agent needs --sub AGENT")
    settings = shell.settings
    secret = secret_source(settings)(settings.tokens.secret)
    made = Tokens(secret=secret, issuer=settings.tokens.issuer, audience=settings.tokens.audience)
    claims = {"sub": sub or getpass.getuser(), "tenant_id": tenant or _tenant(shell), "role": role}
    text = made.make(claims, ttl_s=ttl)
    if as_json:
        print_json({"token": text, **claims, "expires_in": ttl})
    else:
        click.echo(text)


def _tenant(shell: Shell) -> str:
    from router.processes.site_at_start import read_site  # noqa: PLC0415 - start-up time
    from router.site.file import DEFAULT_TENANT  # noqa: PLC0415

    site = read_site(shell.settings)
    return site.tenant if site is not None else DEFAULT_TENANT
