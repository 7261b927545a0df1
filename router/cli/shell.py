"""What every command needs: settings, the store, output for people and machines, an end to errors."""

import asyncio
import functools
import logging
import os
import re
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
import msgspec

from router.deadline import Deadline, in_s
from router.errors import (
    CrosspointError,
    Fault,
    InvalidInputError,
    NotFoundError,
    StoreDownError,
    with_notes,
)
from rules.problems import FileError

if TYPE_CHECKING:
    from router.settings import Settings
    from router.store.agents import Agents
    from router.store.link import Link
    from router.store.links import Links
    from router.store.resources import Resources

T = TypeVar("T")

_Command = Callable[..., object]

WRONG: Final = 1
UNUSABLE: Final = 2
UNREACHABLE: Final = 3

STORE_S: Final = 3.0
"""Seconds to wait for a store that does not answer."""

OPERATION_S: Final = 10.0
_MOST_NAMED: Final = 10
"""Tenants named in one sentence."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Those of the terminal, and what turns or ends a line."""


def ended(message: str, exit_code: int) -> click.exceptions.Exit:
    """Say why on stderr; what is returned, raised, ends the command with that exit code."""
    if message:
        click.echo(message, err=True)
    return click.exceptions.Exit(exit_code)


class Boundary(click.Group):
    """A group below which no failure becomes a traceback: it becomes a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FileError as error:
            raise ended(str(error), UNUSABLE) from None
        except CrosspointError as error:
            raise ended(_sentence(error), _exit_code(error)) from None
        except RecursionError:
            raise ended("the input is nested too deeply", UNUSABLE) from None
        except BrokenPipeError:
            raise ended("", WRONG) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise ended(f"{where}{error.strerror or error}", UNUSABLE) from None


class Store(NamedTuple):
    """An open store and the operations on it."""

    links: "Links"
    resources: "Resources"
    agents: "Agents"
    site_tenant: Callable[[], str | None]

    def link_for(self, tenant: str) -> "Link":
        return self.links.link_for(tenant)


class Shell:
    """Handed to every command as click's object."""

    def __init__(self, config: str | None) -> None:
        self.config_given = config

    @property
    def command(self) -> str:
        """How this command was called, so that what is printed can be copied."""
        program = shorter(Path(sys.argv[0]))
        return shlex.join([program, *(["-c", self.config_given] if self.config_given else [])])

    @cached_property
    def settings(self) -> "Settings":
        """The settings, read when first asked for; FileError."""
        from router.settings import find_settings, load_settings  # noqa: PLC0415 - start-up time

        return load_settings(find_settings(self.config_given))

    def with_store(self, work: Callable[[Store], Awaitable[T]], *, makes: bool = False) -> T:
        """Run `work` with an open store; StoreDownError. `makes`: an embedded one may be made anew."""

        settings = self.settings

        async def run() -> T:
            async with open_store(settings, makes=makes) as store:
                return await work(store)

        return self.run(run())

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine to its end, quietly: logs are the service's, not a command's."""
        import structlog  # noqa: PLC0415 - start-up time

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

        async def awaited() -> T:
            return await work

        return asyncio.run(awaited())


@asynccontextmanager
async def open_store(settings: "Settings", *, makes: bool) -> AsyncIterator[Store]:
    """The store of the settings. The embedded one is started for a while when nobody runs it."""
    from router.store.agents import Agents  # noqa: PLC0415 - start-up time
    from router.store.embedded import EmbeddedStore, socket_path  # noqa: PLC0415
    from router.store.endpoints import parse_store_url  # noqa: PLC0415
    from router.store.links import Links  # noqa: PLC0415
    from router.store.live_parts import AgentsAndQueues  # noqa: PLC0415
    from router.store.resources import Resources  # noqa: PLC0415

    own: EmbeddedStore | None = None
    url = settings.store.url
    if url is None:
        path = socket_path(settings.store_dir)
        url = f"unix://{path}"
        if not _is_answered(str(path)):
            if not makes and not settings.store_dir.exists():
                raise StoreDownError("there is no embedded store yet; `crosspoint up` makes one")
            own = await EmbeddedStore(settings.store_dir).start()
    try:
        async with Links(parse_store_url(url)) as links:
            await links.wait_open(in_s(STORE_S))
            agents = Agents(links)
            resources = Resources(links, AgentsAndQueues(agents))
            yield Store(links, resources, agents, lambda: _site_tenant(settings))
    finally:
        if own is not None:
            await own.close()


def soon() -> Deadline:
    """The deadline of one operation of a command."""
    return in_s(OPERATION_S)


async def tenant_of(store: Store, given: str | None) -> str:
    """The tenant that was given, or the only one there is, or the one of the site in the settings."""
    tenants = await store.resources.tenants(deadline=soon())
    if given is not None:
        if given not in tenants:
            raise NotFoundError(f"there is no tenant {given}{_one_of(tenants)}")
        return given
    if len(tenants) > 1:
        if (own := store.site_tenant()) in tenants:
            return own
        has_any = store.resources.has_any
        tenants = [name for name in tenants if await has_any(name, deadline=soon())]
    if len(tenants) == 1:
        return tenants[0]
    if not tenants:
        raise NotFoundError("the store is empty; run `crosspoint apply SITE` first")
    raise InvalidInputError(f"say which tenant with --tenant{_one_of(tenants)}")


def _one_of(tenants: Sequence[str]) -> str:
    more = ", ..." if len(tenants) > _MOST_NAMED else ""
    return f": {', '.join(tenants[:_MOST_NAMED])}{more}" if tenants else ""


tenant_option = click.option(
    "--tenant", metavar="TENANT", help="Default: the only one there is, or the site's."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


def either(name: str, yes: tuple[str, str], no: tuple[str, str]) -> Callable[[_Command], _Command]:
    """Two flags (each with its help) for one value, None without either.

    click's own on/off options take the last one where both are given, silently.
    """

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def joined(*arguments: Any, **given: Any) -> object:  # Any: click's, whatever they are
            is_yes, is_no = given.pop(f"{name}_yes"), given.pop(f"{name}_no")
            if is_yes and is_no:
                raise click.UsageError(f"{yes[0]} and {no[0]} exclude each other")
            given[name] = is_yes if is_yes or is_no else None
            return command(*arguments, **given)

        with_no = click.option(no[0], f"{name}_no", is_flag=True, help=no[1])(joined)
        return click.option(yes[0], f"{name}_yes", is_flag=True, help=yes[1])(with_no)

    return decorate


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    text = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2)
    click.echo(text.decode())


def print_line(text: str) -> None:
    """A line for people that may quote a caller, or whoever posts as one."""
    click.echo(harmless(text))


def harmless(text: str) -> str:
    """Control characters spelled out: what came with a call neither drives the terminal nor ends a line."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """A table for people; `empty` is said when there are no rows."""
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console  # noqa: PLC0415 - start-up time
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    # Piped output has no width of its own: nothing is folded there.
    Console(width=None if sys.stdout.isatty() else 250, highlight=False).print(table)


def shorter(path: Path) -> str:
    """The path, or the way to it from here, whichever is shorter."""
    here = os.path.relpath(path)
    return min(here, str(path.absolute()), key=len)


def to_json(value: object) -> Any:
    """Our Structs as JSON values."""
    return msgspec.to_builtins(value, str_keys=True)


def _site_tenant(settings: "Settings") -> str | None:
    """The tenant of the site in the settings; None: there is none, or it cannot be read."""
    from router.processes.site_at_start import read_site  # noqa: PLC0415 - start-up time

    try:
        site = read_site(settings)
    except FileError:
        return None
    return site.tenant if site is not None else None


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _sentence(error: CrosspointError) -> str:
    field = error.field if isinstance(error, InvalidInputError) else None
    return f"{f'{field}: ' if field else ''}{with_notes(error)}"


def _exit_code(error: CrosspointError) -> int:
    if error.fault in {Fault.STORE, Fault.UNKNOWN, Fault.UPSTREAM}:
        return UNREACHABLE
    return UNUSABLE if error.fault is Fault.CLIENT else WRONG
