"""`crosspoint apply`: the site in files becomes the site in the store."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.shell import Shell, Store, json_option, print_json, soon

if TYPE_CHECKING:
    from router.site.difference import Change, Plan

_LARGE_BYTES = 300_000
_MANY = 500
"""More steps than this may take more than two seconds: show how far it is."""


@click.command(
    epilog="""\b
A FOLDER stands for all its *.yaml and *.yml files. After an error, run it again: that is safe.
\b
Examples:
  crosspoint apply site.yaml --dry-run
  crosspoint apply site.yaml agents.yaml --prune"""
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE|FOLDER]...")
@click.option("--dry-run", is_flag=True, help="Show the difference, change nothing.")
@click.option("--prune", is_flag=True, help="Also remove what the files do not name.")
@click.option("--force", is_flag=True, help="Also write what seems unchanged.")
@json_option
@click.pass_obj
def apply(  # noqa: PLR0917 - click's order
    shell: Shell, files: tuple[Path, ...], dry_run: bool, prune: bool, force: bool, as_json: bool
) -> None:
    """Create and update routers, queues and agents as FILE... say; default: the site in the settings.

    What changes by itself (duty status, idle times, error counts) is left alone.
    """
    from router.processes.site_at_start import feature_numbers, ruleset_names  # noqa: PLC0415
    from router.site import difference as sites  # noqa: PLC0415 - start-up time
    from router.site.file import load_site, site_files  # noqa: PLC0415

    paths = list(files) or ([shell.settings.site] if shell.settings.site else [])
    if not paths:
        raise click.UsageError("name a site file, or set `site` in the settings")
    rulesets = ruleset_names(shell.settings.rules_dir)
    found = [file for path in paths for file in site_files(path)]
    with _status(found):
        site = load_site(found, rulesets, feature_numbers(shell.settings))

    async def work(store: Store) -> "Plan":
        current = await store.resources.load(site.tenant, deadline=soon())
        made = sites.plan(site, current, prune=prune)
        sites.need_free_names(made, current)
        if dry_run:
            await sites.need_free_routers(made, store.resources)
        else:
            with _progress(len(made.changes if force else made.steps)) as on_step:
                await sites.carry_out(made, store.resources, is_forced=force, on_step=on_step)
        return made

    made = shell.with_store(work, makes=not dry_run)
    if as_json:
        print_json({**sites.as_document(made), "dry_run": dry_run})
    else:
        _print(made, dry_run=dry_run)


@contextlib.contextmanager
def _status(files: list[Path]) -> Iterator[None]:
    """Say on stderr that large files are being read."""
    if sum(file.stat().st_size for file in files if file.exists()) < _LARGE_BYTES:
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - start-up time

    with Console(stderr=True).status(f"reading {len(files)} files"):
        yield


@contextlib.contextmanager
def _progress(steps: int) -> "Iterator[Callable[[Change], None] | None]":
    """A progress bar on stderr, where the work takes its time."""
    if steps < _MANY:
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - start-up time
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("applying", total=steps)
        yield lambda _change: progress.advance(task)


_LISTED = 20
_SIGNS = {"create": "+", "update": "~", "remove": "-"}


def _print(made: "Plan", *, dry_run: bool) -> None:
    from router.site.difference import Action  # noqa: PLC0415 - start-up time

    for change in made.steps[:_LISTED]:
        click.echo(f"{_SIGNS[change.action.value]} {change.kind.value[:-1]} {change.id}")
        for field in change.fields:
            click.echo(f"    {field.field}: {field.before} -> {field.after}")
    if len(made.steps) > _LISTED:
        click.echo(f"... and {len(made.steps) - _LISTED} more")
    done = {
        Action.CREATE: "created",
        Action.UPDATE: "updated",
        Action.REMOVE: "removed",
        Action.UNCHANGED: "unchanged",
    }
    counts = ", ".join(f"{made.count(action)} {word}" for action, word in done.items())
    click.echo(f"tenant {made.tenant}: {'would be ' if dry_run else ''}{counts}")
