"""`crosspoint decisions`: what was decided, and why."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from router.cli.explaining import print_explanation
from router.cli.shell import (
    Shell,
    Store,
    json_option,
    print_json,
    print_line,
    print_table,
    soon,
    tenant_of,
    tenant_option,
    to_json,
)
from router.cli.since import since_s

if TYPE_CHECKING:
    from router.decisions.log import Entry, Filters, LoggedDecision
    from rules.explain import Explanation
    from rules.ruleset import Ruleset


@click.command(
    epilog="""\b
Examples:
  crosspoint decisions
  crosspoint decisions --router main --limit 5 --json
  crosspoint decisions --level no_store --since 24h
  crosspoint decisions --explain 1790000000000-0"""
)
@click.option("--explain", "decision_id", metavar="ID", help="Why this one went where it went.")
@click.option("--router", help="Only of this router.")
@click.option("--rule", help="Only by this rule.")
@click.option("--call", "call_id", help="Only of this call.")
@click.option(
    "--level",
    type=click.Choice(["full", "no_store", "default", "disabled"]),
    help="Only of this level.",
)
@click.option("--since", callback=since_s, help="Only since then: 30m, 24h, 7d or a time.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@tenant_option
@json_option
@click.pass_obj
def decisions(  # noqa: PLR0917 - click's order
    shell: Shell,
    decision_id: str | None,
    router: str | None,
    rule: str | None,
    call_id: str | None,
    level: str | None,
    since: float | None,
    limit: int,
    tenant: str | None,
    as_json: bool,
) -> None:
    """List decisions, newest first, or explain one."""
    from router.decisions.log import Filters  # noqa: PLC0415 - start-up time
    from router.decisions.outcome import Level  # noqa: PLC0415
    from router.store.decisions import get_decision  # noqa: PLC0415

    if decision_id is not None:
        wanted = decision_id

        async def one(store: Store) -> "tuple[LoggedDecision, Explanation | None, str | None]":
            name = await tenant_of(store, tenant)
            found = await get_decision(store.link_for(name), name, wanted, soon())
            return found, *(await _again(shell, store, name, found.entry))

        _explain(*shell.with_store(one), as_json=as_json)
        return
    of_level = None if level is None else Level(level)
    filters = Filters(router=router, rule=rule, call_id=call_id, level=of_level, since_s=since)

    async def several(store: Store) -> "list[LoggedDecision]":
        name = await tenant_of(store, tenant)
        some: list[LoggedDecision] = []
        async for found in logged(store, name, filters):
            some.append(found)
            if len(some) == limit:
                break
        return some

    listed = shell.with_store(several)
    if as_json:
        print_json([decision_form(found) for found in listed])
        return
    columns = ("decision", "at", "router", "call", "rule", "level", "ms", "answer")
    empty = "no decisions yet" if filters == Filters() else "no such decisions in the log"
    print_table(columns, [_row(found) for found in listed], empty)


async def logged(store: Store, tenant: str, filters: "Filters") -> "AsyncIterator[LoggedDecision]":
    """Decisions, newest first, back to the beginning of the log."""
    from router.store.decisions import MOST_LISTED, list_decisions  # noqa: PLC0415 - start-up time

    while True:
        page = await list_decisions(
            store.link_for(tenant), tenant, filters, limit=MOST_LISTED, deadline=soon()
        )
        for one in page.decisions:
            yield one
        if page.next_before is None:
            return
        filters = msgspec.structs.replace(filters, before=page.next_before)


def decision_form(found: "LoggedDecision") -> dict[str, object]:
    """With what is not there spelled out: whoever reads it by program looks for every field."""
    entry = msgspec.structs.asdict(found.entry)
    entry.pop("told", None)  # it is among the call's attributes
    return {"id": found.id, **to_json(entry)}


def _row(found: "LoggedDecision") -> tuple[str, ...]:
    entry = found.entry
    at = datetime.fromtimestamp(entry.at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    took = f"{entry.duration_us / 1000:.1f}"
    return (
        found.id,
        at,
        entry.router,
        entry.call.call_id,
        entry.rule or "",
        entry.level.value,
        took,
        entry.answer,
    )


def _explain(
    found: "LoggedDecision",
    explanation: "Explanation | None",
    why_not: str | None,
    *,
    as_json: bool,
) -> None:
    """The entry; and the rules read again with its inputs."""
    from router.decisions.log import NOTE_MASKED  # noqa: PLC0415 - start-up time

    entry = found.entry
    if as_json:
        form = to_json(explanation) if explanation is not None else None
        print_json({**decision_form(found), "explanation": form, "not_explained": why_not})
        return
    print_line(f"decision  {found.id}  {_row(found)[1]}  call {entry.call.call_id}")
    print_line(f"answer    {entry.answer}")
    print_line(f"by        rule {entry.rule or '-'} of {entry.rules or '-'} {entry.digest or ''}")
    print_line(f"level     {entry.level.value}, {entry.duration_us / 1000:.1f} ms")
    print_line(f"steps     {', '.join(entry.reasons) or '-'}")
    if entry.agent:
        print_line(f"agent     {entry.agent}")
    if entry.error:
        print_line(f"error     {entry.error}")
    for queue, facts in entry.live.items():
        print_line(f"live      {queue}: {to_json(facts)}")
    if explanation is None:
        print_line(f"The rules were not read again: {why_not}.")
        return
    if entry.is_masked:
        print_line(NOTE_MASKED)
    print_explanation(explanation)


async def _again(
    shell: Shell, store: Store, tenant: str, entry: "Entry"
) -> "tuple[Explanation | None, str | None]":
    """The explanation, with the very version of the rules."""
    from router.decisions.log import explain_entry, is_repeat  # noqa: PLC0415 - start-up time

    if entry.rules is None or entry.rule is None or entry.digest is None:
        return None, "no rules were asked"
    if is_repeat(entry):
        return None, "this repeats an earlier answer of the same call, which has the explanation"
    ruleset = await version_of(shell, store, tenant, entry.rules, entry.digest)
    if ruleset is None:
        return None, f"version {entry.digest} of {entry.rules} is not kept (any more)"
    return explain_entry(ruleset, entry), None


async def version_of(
    shell: Shell, store: Store, tenant: str, name: str, digest: str
) -> "Ruleset | None":
    """One version of a ruleset: from the rules folder, if it is that one, else from the store."""
    from router.rulesets.archive import load_version  # noqa: PLC0415 - start-up time

    on_disk = _version_on_disk(shell, name, digest)
    return on_disk or await load_version(store.link_for(tenant), tenant, digest, soon())


def _version_on_disk(shell: Shell, name: str, digest: str) -> "Ruleset | None":
    from rules.loader import load_document  # noqa: PLC0415 - start-up time
    from rules.problems import FileError  # noqa: PLC0415
    from rules.ruleset import compile_ruleset  # noqa: PLC0415

    for suffix in (".yaml", ".yml"):
        with contextlib.suppress(FileError):
            document = load_document(shell.settings.rules_dir / f"{name}{suffix}")
            if document.digest == digest:
                return compile_ruleset(document)
    return None
