"""The root of the command line: which command is in which module, loaded when it is asked for."""

import importlib
from collections.abc import Mapping
from typing import Final

import click

from router.cli.shell import Boundary, Shell

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("serving", "Run everything in one process, with an embedded store."),
    "serve": ("serving", "Serve HTTP against a store elsewhere; as many as you like."),
    "pbx": ("phoning", "Take the calls of one Asterisk; a second one waits."),
    "call": ("calling", "Act as the cloud platform: ask for one call where it goes."),
    "apply": ("applying", "Write a site (routers, queues, agents) to the store."),
    "rules": ("ruling", "Check, explain and describe rules files."),
    "agents": ("managing", "List agents; set who is on duty."),
    "queues": ("managing", "List queues and who waits."),
    "routers": ("switching", "List call routers; switch them on and off."),
    "tenants": ("tenants", "List tenants; forget one that the store has lost."),
    "decisions": ("deciding", "The decision log, and why a call went where it went."),
    "calls": (
        "controlling",
        "List live calls; hold, transfer, end or begin them, let one party go.",
    ),
    "callbacks": ("controlling", "Promise callbacks, list them, give them up."),
    "pin": ("pinning", "Set the PIN with which an agent logs in by phone."),
    "token": ("tokens", "Make a token for the management API."),
    "doctor": ("doctor", "Check store, rules, secrets, clock and ports; say what to do."),
}


class Lazy(Boundary):
    """A group whose commands are imported one by one: `crosspoint call` loads no server."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"router.cli.{COMMANDS[name][0]}")
        command = getattr(module, name)
        assert isinstance(command, click.Command)  # noqa: S101 - COMMANDS is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
  0  done
  1  done, and something is wrong: findings, failed checks, a refused call
  2  what was given cannot be used: options, files, names
  3  the store or the service cannot be reached
\b
Examples:
  crosspoint -c deploy/example/crosspoint.yaml up
  crosspoint call main --caller +12125550142
  crosspoint rules check rules/*.yaml""",
)
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    help="Settings; default: $CROSSPOINT_CONFIG, else ./crosspoint.yaml, else none.",
)
@click.version_option(package_name="crosspoint", message="%(package)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Crosspoint decides where phone calls go, and takes them there."""
    ctx.obj = Shell(config)
