"""`crosspoint rules replay`: yesterday's calls against tomorrow's rules."""

import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from router.cli.deciding import logged, version_of
from router.cli.shell import (
    WRONG,
    Shell,
    Store,
    json_option,
    print_json,
    print_table,
    tenant_of,
    tenant_option,
    to_json,
)
from router.cli.since import since_s

if TYPE_CHECKING:
    from router.decisions.log import LoggedDecision
    from router.decisions.replay import Replayed
    from rules.ruleset import Ruleset

_MANY: Final = 2_000
"""More decisions than this may take more than two seconds: show how far it is."""

_LISTED: Final = 20


@click.command(
    epilog="""\b
Where the log is masked, or lacks live facts that FILE asks for, a decision that hangs on them is
counted as open, never guessed; with privacy.log_full_numbers in the settings nothing is masked.
Exit codes: 0 nothing differs, 1 something does, 2 FILE cannot be used, 3 no store.
\b
Examples:
  crosspoint rules replay rules/main.yaml
  crosspoint rules replay draft.yaml --ruleset main --since 7d --json"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--ruleset", help="Whose decisions; default: the ruleset with FILE's name.")
@click.option(
    "--since", callback=since_s, default="24h", show_default=True, help="30m, 24h, 7d or a time."
)
@click.option("--router", help="Only of this router.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100_000, show_default=True)
@tenant_option
@json_option
@click.pass_context
def replay(  # noqa: PLR0917 - click's order
    ctx: click.Context,
    file: Path,
    ruleset: str | None,
    since: float,
    router: str | None,
    limit: int,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Make logged decisions again with the rules in FILE, and show what would change."""
    from router.decisions.log import Filters  # noqa: PLC0415 - start-up time
    from rules.loader import load_document  # noqa: PLC0415
    from rules.ruleset import compile_ruleset  # noqa: PLC0415

    shell: Shell = ctx.obj
    rules = compile_ruleset(load_document(file))
    whose = ruleset or rules.name

    others: set[str] = set()

    async def work(store: Store) -> "list[Replayed]":
        name = await tenant_of(store, tenant)
        found = logged(store, name, Filters(router=router, since_s=since))
        return await _replayed(shell, store, name, rules, (whose, limit), others, found)

    found = shell.with_store(work)
    counts = Counter(one.verdict.value for one in found)
    if as_json:
        told = {"ruleset": whose, "digest": rules.digest, "decisions": len(found)}
        changes = [to_json(one) for one in found if one.verdict.value != "same"]
        print_json({**told, "verdicts": counts, "changes": changes})
    else:
        _print(found, whose, since, others)
    ctx.exit(WRONG if counts["different"] else 0)


async def _replayed(  # noqa: PLR0917 - private
    shell: Shell,
    store: Store,
    tenant: str,
    rules: "Ruleset",
    whose: tuple[str, int],
    others: set[str],
    decisions: "AsyncIterator[LoggedDecision]",
) -> "list[Replayed]":
    from router.decisions.replay import Replay  # noqa: PLC0415

    async def version(name: str, digest: str) -> "Ruleset | None":
        return await version_of(shell, store, tenant, name, digest)

    ruleset, limit = whose
    replay_of = Replay(rules, version)
    found: list[Replayed] = []
    with _progress() as step:
        async for one in decisions:
            step()
            if one.entry.rules != ruleset:
                others |= {one.entry.rules} if one.entry.rules is not None else set()
                continue
            made = await replay_of.decide_again(one)
            if made is not None:
                found.append(made)
            if len(found) >= limit:
                break
    return found


def _would_be(one: "Replayed") -> str:
    """The rules that could decide; the same one as then does something else."""
    is_same = one.verdict.value == "different" and one.now == (one.was,)
    return f"{one.was}, with another action" if is_same else " or ".join(one.now)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    """How many decisions were read, on a terminal's stderr, where it takes its time."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count % _MANY == 0 and sys.stderr.isatty():
            click.echo(f"\r{count} decisions", err=True, nl=False)

    yield step
    if count >= _MANY and sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)


def _print(found: "list[Replayed]", ruleset: str, since_s: float, others: set[str]) -> None:
    since = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if not found:
        hint = f"; of {', '.join(sorted(others)[:_LISTED])} there are: --ruleset" if others else ""
        click.echo(f"no decisions of the rules {ruleset} since {since}{hint}")
        return
    counts = Counter(one.verdict.value for one in found)
    click.echo(
        f"{len(found)} decisions of {ruleset} since {since}: {counts['same']} as before,"
        f" {counts['different']} different, {counts['open']} open"
    )
    kinds: dict[tuple[str, str, str, str], list[Replayed]] = {}
    for one in found:
        if one.verdict.value != "same":
            kind = (one.verdict.value, one.was, _would_be(one), ", ".join(one.open))
            kinds.setdefault(kind, []).append(one)
    rows = [
        (verdict, was, now, left_open, str(len(some)), some[0].id)
        for (verdict, was, now, left_open), some in sorted(
            kinds.items(), key=lambda item: (item[0][0], -len(item[1]))
        )
    ]
    if rows:
        columns = ("verdict", "was", "would be", "not in the log", "decisions", "the newest")
        print_table(columns, rows[:_LISTED], "")
    if len(rows) > _LISTED:
        click.echo(f"... and {len(rows) - _LISTED} more kinds; --json has them all")
