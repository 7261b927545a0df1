"""`crosspoint agents`, `queues`: the store's present state, and the switches in it."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click
import msgspec

from router.cli.shell import (
    Boundary,
    Shell,
    Store,
    either,
    json_option,
    print_json,
    print_table,
    soon,
    tenant_of,
    tenant_option,
    to_json,
)
from router.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from router.site.directory import TenantResources
    from router.site.resources import QueueConfig
    from router.store.agents_managed import AgentView
    from rules.facts import QueueFacts

_PAGE = 500


@click.group(cls=Boundary)
def agents() -> None:
    """List agents; set who is on duty."""


@agents.command("list", epilog="\b\nExample:\n  crosspoint agents list --json")
@tenant_option
@json_option
@click.pass_obj
def list_agents(shell: Shell, tenant: str | None, as_json: bool) -> None:
    """Show every agent's state, queues and skills."""

    async def work(store: Store) -> "tuple[TenantResources, list[AgentView]]":
        name = await tenant_of(store, tenant)
        known = await store.resources.load(name, deadline=soon())
        return known, await views_of(store, name)

    known, views = shell.with_store(work)
    if as_json:
        print_json([_agent_form(view, known) for view in views])
        return
    rows = [_agent_row(view, known) for view in views]
    columns = ("agent", "name", "state", "since", "queues", "skills")
    print_table(columns, rows, "no agents; `crosspoint apply SITE` creates them")


def _reason(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001 - click's
    from router.site.resources import DutyReason  # noqa: PLC0415 - start-up time

    try:
        return msgspec.convert(value, DutyReason | None)
    except msgspec.ValidationError:
        message = "a reason is one line of at most 100 characters"
        raise click.BadParameter(message) from None


@agents.command(
    "set",
    epilog="""\b
Examples:
  crosspoint agents set ada --on-duty
  crosspoint agents set ada --off-duty --reason lunch
  crosspoint agents set ada --dnd --queue support""",
)
@click.argument("agent")
@either("on_duty", ("--on-duty", "Also enables."), ("--off-duty", "No calls any more."))
@click.option("--reason", callback=_reason, help="Why off duty, at most 100 characters.")
@either("dnd", ("--dnd", "Do not disturb."), ("--no-dnd", "Calls are welcome again."))
@click.option("--queue", help="Do not disturb with calls of this queue only.")
@either(
    "enabled",
    ("--enable", "After too many unanswered offers."),
    ("--disable", "As after too many unanswered offers."),
)
@tenant_option
@json_option
@click.pass_obj
def set_agent(  # noqa: PLR0917 - click's order
    shell: Shell,
    agent: str,
    on_duty: bool | None,
    reason: str | None,
    dnd: bool | None,
    queue: str | None,
    enabled: bool | None,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Set AGENT's duty status, do-not-disturb, or enable the agent again."""
    if (on_duty, dnd, enabled) == (None, None, None):
        raise click.UsageError("say what to set: --on-duty, --off-duty, --dnd, --enable, ...")
    _need_partner("--queue", queue, "--dnd or --no-dnd", is_there=dnd is not None)
    _need_partner("--reason", reason, "--off-duty", is_there=on_duty is False)

    async def work(store: Store) -> "tuple[TenantResources, AgentView | None]":
        name = await tenant_of(store, tenant)
        known = await store.resources.load(name, deadline=soon())
        if queue is not None and queue not in known.queues:
            raise InvalidInputError(f"there is no queue {queue}", field="--queue")
        config = known.agents.get(agent)
        if queue is not None and config is not None and queue not in config.queues:
            raise InvalidInputError(f"{agent} is no member of {queue}", field="--queue")
        if on_duty is not None:
            await store.agents.set_duty(name, agent, on=on_duty, reason=reason, deadline=soon())
        if dnd is not None:
            await store.agents.set_do_not_disturb(name, agent, on=dnd, queue=queue, deadline=soon())
        if enabled is not None:
            await store.agents.set_enabled(name, agent, on=enabled, deadline=soon())
        return known, await store.agents.get(name, agent, soon())

    known, view = shell.with_store(work)
    if view is None:
        raise NotFoundError(f"there is no agent {agent}")
    if as_json:
        print_json(_agent_form(view, known))
    else:
        click.echo(f"{agent} is {_state(view)}")


def _need_partner(option: str, value: str | None, partner: str, *, is_there: bool) -> None:
    if value is not None and not is_there:
        raise click.UsageError(f"{option} goes with {partner}")


@click.group(cls=Boundary)
def queues() -> None:
    """List queues and who waits."""


@queues.command("list", epilog="\b\nExample:\n  crosspoint queues list")
@tenant_option
@json_option
@click.pass_obj
def list_queues(shell: Shell, tenant: str | None, as_json: bool) -> None:
    """Show every queue with its live figures."""
    from router.site.forms import public_form  # noqa: PLC0415 - start-up time
    from router.store.facts import queue_facts  # noqa: PLC0415 - start-up time

    async def work(store: Store) -> "tuple[TenantResources, Mapping[str, QueueFacts]]":
        name = await tenant_of(store, tenant)
        known = await store.resources.load(name, deadline=soon())
        facts: dict[str, QueueFacts] = {}
        ids = list(known.queues)
        for start in range(0, len(ids), 200):
            part = ids[start : start + 200]
            facts |= await queue_facts(store.link_for(name), name, part, soon())
        return known, facts

    known, facts = shell.with_store(work)
    opened = {queue.id: _is_open(queue) for queue in known.queues.values()}
    if as_json:
        print_json(
            [
                {
                    **public_form(queue),
                    "live": to_json(facts.get(queue.id)),
                    "is_open": opened[queue.id],
                }
                for queue in known.queues.values()
            ]
        )
        return
    rows = []
    for queue in known.queues.values():
        live = facts.get(queue.id)
        figures = (live.waiting, live.agents_idle, live.agents_on_duty) if live else (None,) * 3
        wait = _seconds(live.estimated_wait_s if live else None)
        rows.append(
            (
                queue.id,
                queue.name,
                queue.strategy.value,
                "open" if opened[queue.id] else "closed",
                *(_number(n) for n in figures),
                wait,
            )
        )
    columns = ("queue", "name", "strategy", "hours", "waiting", "idle", "on duty", "estimated wait")
    print_table(columns, rows, "no queues; `crosspoint apply SITE` creates them")


def _is_open(queue: "QueueConfig") -> bool:
    from router.site.hours import calendar_of, is_open  # noqa: PLC0415 - start-up time

    calendar = None if queue.calendar is None else calendar_of(queue.calendar)
    return is_open(calendar, time.time())


async def views_of(store: Store, tenant: str) -> "list[AgentView]":
    """All agents of a tenant that live."""
    found: list[AgentView] = []
    while True:
        page, total = await store.agents.list(tenant, soon(), limit=_PAGE, offset=len(found))
        found += page
        if not page or len(found) >= total:
            return found


def _agent_form(view: "AgentView", known: "TenantResources") -> dict[str, object]:
    from router.site.forms import public_form  # noqa: PLC0415 - start-up time

    agent = known.agents.get(view.record.id)
    form = public_form(agent) if agent is not None else {"id": view.record.id}
    return form | {"state": to_json(view.effective), "live": _without_token(view)}


def _without_token(view: "AgentView") -> object:
    return to_json(msgspec.structs.replace(view.record, token=None))


def _agent_row(view: "AgentView", known: "TenantResources") -> tuple[str, ...]:
    record = view.record
    agent = known.agents.get(record.id)
    state = _state(view)
    if record.reason:
        state += f" ({record.reason})"
    since_s = (view.now_ms - view.effective.since_ms) / 1000 if view.effective.since_ms else None
    skills = ", ".join(f"{skill} {level}" for skill, level in sorted(record.skills.items()))
    name = agent.name if agent is not None else ""
    queues = ", ".join(
        f"{queue} (do_not_disturb)" if member.do_not_disturb else queue
        for queue, member in sorted(record.queues.items())
    )
    return (record.id, name, state, _seconds(since_s), queues, skills)


def _state(view: "AgentView") -> str:
    """The state, and what comes after it where that is not to be available."""
    from router.acd.agents import ACTIVITIES, AgentState, resting_state  # noqa: PLC0415 - start-up time

    now, after = view.effective.state, resting_state(view.record, view.now_ms)
    is_at_rest = now not in ACTIVITIES or after is AgentState.AVAILABLE
    return now.value if is_at_rest else f"{now.value}, then {after.value}"


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.0f} {unit}"
    return f"{value:.0f} s"


_Clock = Callable[[], float]


def ago(at_s: float, clock: _Clock = time.time) -> str:
    """How long ago, for people."""
    return f"{_seconds(max(0.0, clock() - at_s))} ago"
