"""`crosspoint calls` and `crosspoint callbacks`: what the PBX does at this moment, and what it promised."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import click

from router.cli.managing import ago
from router.cli.shell import (
    WRONG,
    Boundary,
    Shell,
    Store,
    ended,
    json_option,
    print_json,
    print_table,
    soon,
    tenant_of,
    tenant_option,
    to_json,
)
from router.errors import ConflictError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from router.store.callbacks import About, Callback
    from router.telephony.call_control import Command
    from router.telephony.promises import CallbackDesk
    from router.telephony.remote import LiveCall, Telephony
    from rules.actions import Action

T = TypeVar("T")
_PAGE = 1000
_MOST_LISTED = 10_000

numbers_option = click.option("--full-numbers", is_flag=True, help="Show phone numbers whole.")


@click.group(cls=Boundary)
def calls() -> None:
    """List live calls; hold, transfer, end or begin them, let one party go."""


@calls.command(
    "list",
    epilog="""\b
Examples:
  crosspoint calls list
  crosspoint calls list --queue support --json""",
)
@click.option("--queue", help="Only of this queue.")
@click.option("--agent", help="Only those this agent talks in.")
@numbers_option
@tenant_option
@json_option
@click.pass_obj
def list_calls(  # noqa: PLR0917 - click's order
    shell: Shell,
    queue: str | None,
    agent: str | None,
    full_numbers: bool,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Show every live call: where it is, with whom, since when."""

    async def work(telephony: "Telephony", name: str) -> "list[LiveCall]":
        return await telephony.calls(name, soon())

    found = [
        call
        for call in _with_telephony(shell, tenant, work)
        if (queue is None or _queue_of(call) == queue) and (agent is None or call.has(agent))
    ]
    forms = [_call_form(call, full_numbers=full_numbers) for call in found]
    if as_json:
        print_json(forms)
        return
    shown = ("id", "state", "caller", "queue", "agent")
    rows = [
        (
            *(str(form[column] or "") for column in shown),
            ago(call.state.arrived_ms / 1000),
            _recorded(call),
        )
        for form, call in zip(forms, found, strict=True)
    ]
    print_table(("call", *shown[1:], "arrived", "recorded"), rows, "no calls")


@calls.command(epilog="\b\nExample:\n  crosspoint calls hangup 3c1e0b6f")
@click.argument("call")
@tenant_option
@click.pass_obj
def hangup(shell: Shell, call: str, tenant: str | None) -> None:
    """End CALL for everybody."""
    from router.telephony.call_control import HangUp  # noqa: PLC0415 - start-up time

    _control(shell, call, tenant, HangUp(call=call), "is ended")


@calls.command(epilog="\b\nExample:\n  crosspoint calls hold 3c1e0b6f")
@click.argument("call")
@tenant_option
@click.pass_obj
def hold(shell: Shell, call: str, tenant: str | None) -> None:
    """Put the caller of CALL on hold."""
    from router.telephony.call_control import Hold  # noqa: PLC0415 - start-up time

    _control(shell, call, tenant, Hold(call=call), "is on hold")


@calls.command(epilog="\b\nExample:\n  crosspoint calls resume 3c1e0b6f")
@click.argument("call")
@tenant_option
@click.pass_obj
def resume(shell: Shell, call: str, tenant: str | None) -> None:
    """Take the caller of CALL off hold."""
    from router.telephony.call_control import Resume  # noqa: PLC0415 - start-up time

    _control(shell, call, tenant, Resume(call=call), "is off hold")


@calls.command(
    epilog="""\b
Examples:
  crosspoint calls transfer 3c1e0b6f --agent ada
  crosspoint calls transfer 3c1e0b6f --queue support
  crosspoint calls transfer 3c1e0b6f --number +12125550142"""
)
@click.argument("call")
@click.option("--agent", help="To this agent's phone.")
@click.option("--queue", help="To this queue's line.")
@click.option("--number", help="To this number.")
@tenant_option
@click.pass_obj
def transfer(  # noqa: PLR0917 - click's order
    shell: Shell,
    call: str,
    agent: str | None,
    queue: str | None,
    number: str | None,
    tenant: str | None,
) -> None:
    """Send the caller of CALL elsewhere; the agent leaves."""
    from router.telephony.call_control import Transfer  # noqa: PLC0415 - start-up time

    given = [one for one in (agent, queue, number) if one is not None]
    if len(given) != 1:
        raise click.UsageError("say where to: one of --agent, --queue, --number")
    command = Transfer(call=call, action=_action(agent, queue, given[0]))
    _control(shell, call, tenant, command, f"is transferred to {given[0]}")


@calls.command(
    epilog="""\b
Examples:
  crosspoint calls drop 3c1e0b6f ada
  crosspoint calls drop 3c1e0b6f 1f605803-1391-5bab-bb15-cf8a5d710d08"""
)
@click.argument("call")
@click.argument("party")
@tenant_option
@click.pass_obj
def drop(shell: Shell, call: str, party: str, tenant: str | None) -> None:
    """Let PARTY (an agent, or an id of the call's `parties`) go from CALL; the others go on talking."""
    from router.telephony.call_control import Drop  # noqa: PLC0415 - start-up time

    async def work(telephony: "Telephony", name: str) -> None:
        found = await _live(telephony, name, call)
        leg = next((one for one in found.state.legs() if party in {one.agent, one.id}), None)
        if leg is None:
            raise NotFoundError(f"there is no {party} in the call {call}")
        command = Drop(call=call, party=leg.id)
        await telephony.control.carry_out(name, found.pbx, command, soon())

    _with_telephony(shell, tenant, work)
    click.echo(f"{party} has left {call}")


@calls.command(
    epilog="""\b
Examples:
  crosspoint calls start ada +12125550142
  crosspoint calls start ada +12125550142 --caller-id +12125550100 --record"""
)
@click.argument("agent")
@click.argument("number")
@click.option("--caller-id", help="One of the tenant's own numbers; default: the setting's.")
@click.option("--ring-seconds", type=click.IntRange(5, 120), default=30, show_default=True)
@click.option("--record", is_flag=True, help="Record the call.")
@click.option("--pbx", help="Default: the only one at work.")
@tenant_option
@json_option
@click.pass_obj
def start(  # noqa: PLR0917 - click's order
    shell: Shell,
    agent: str,
    number: str,
    caller_id: str | None,
    ring_seconds: int,
    record: bool,
    pbx: str | None,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Ring AGENT, then NUMBER, and let both talk."""
    import uuid  # noqa: PLC0415 - start-up time

    from router.telephony.call_control import ClickToCall, PbxAwayError  # noqa: PLC0415

    command = ClickToCall(
        call=uuid.uuid4().hex,
        agent=agent,
        number=number,
        shown=caller_id,
        ring_s=ring_seconds,
        record=record,
    )

    async def work(telephony: "Telephony", name: str) -> str:
        at_work = [pbx] if pbx is not None else await telephony.commands.pbxs_at_work(name, soon())
        if not at_work:
            raise PbxAwayError
        if len(at_work) > 1:
            raise InvalidInputError(f"say which: {', '.join(sorted(at_work))}", field="--pbx")
        await telephony.control.carry_out(name, at_work[0], command, soon())
        return at_work[0]

    taken_by = _with_telephony(shell, tenant, work)
    if as_json:
        print_json({"id": command.call, "pbx": taken_by})
    else:
        click.echo(f"{agent}'s phone rings; the call is {command.call}")


@calls.command("give-up", epilog="\b\nExample:\n  crosspoint calls give-up pbx2")
@click.argument("pbx")
@tenant_option
@click.pass_obj
def give_up(shell: Shell, pbx: str, tenant: str | None) -> None:
    """End on record the calls of a PBX that nobody runs any more, at once; their agents are free."""
    from router.settings import KEEP_RECORDS_DAYS  # noqa: PLC0415 - start-up time
    from router.telephony.given_up import GivenUp  # noqa: PLC0415

    settings = shell.settings.pbx

    async def work(store: Store) -> int:
        name = await tenant_of(store, tenant)
        keep_days = KEEP_RECORDS_DAYS if settings is None else settings.keep_records_days
        return await GivenUp(store.links, store.agents, name, keep_days=keep_days).end_calls_of(pbx)

    click.echo(f"{shell.with_store(work)} calls of {pbx} are ended")


# --- callbacks -----------------------------------------------------------------------------------


@click.group(cls=Boundary)
def callbacks() -> None:
    """Promise callbacks, list them, give them up."""


@callbacks.command(
    epilog="""\b
Exit codes: 0 promised, 2 refused (closed, not allowed, promised already), 3 not reached.
\b
Example:
  crosspoint callbacks create support +12125550142"""
)
@click.argument("queue")
@click.argument("number")
@tenant_option
@json_option
@click.pass_obj
def create(shell: Shell, queue: str, number: str, tenant: str | None, as_json: bool) -> None:
    """Promise to call NUMBER back from QUEUE."""

    async def work(telephony: "Telephony", name: str) -> "About":
        return await _desk(telephony, name).create(queue, number, soon())

    about = _with_telephony(shell, tenant, work)
    if as_json:
        print_json({"id": about.id, "queue": about.queue, "number": about.number})
    else:
        click.echo(f"{about.number} will be called back from {about.queue} ({about.id})")


@callbacks.command(
    epilog="""\b
Exit codes: 0 it could be promised, 1 it could not, 3 not reached.
\b
Example:
  crosspoint callbacks validate support +12125550142"""
)
@click.argument("queue")
@click.argument("number")
@tenant_option
@json_option
@click.pass_obj
def validate(shell: Shell, queue: str, number: str, tenant: str | None, as_json: bool) -> None:
    """Say whether NUMBER could be called back from QUEUE; nothing is promised."""

    async def work(telephony: "Telephony", name: str) -> str:
        try:
            await _desk(telephony, name).validate(queue, number, soon())
        except (ConflictError, InvalidInputError, NotFoundError) as error:
            return str(error)
        return ""

    why_not = _with_telephony(shell, tenant, work)
    if as_json:
        print_json({"possible": not why_not, "reason": why_not or None})
    else:
        click.echo(f"no: {why_not}" if why_not else "yes")
    if why_not:
        raise ended("", WRONG)


@callbacks.command(
    "list",
    epilog="""\b
Examples:
  crosspoint callbacks list
  crosspoint callbacks list --queue support --status waiting --json""",
)
@click.option("--queue", help="Only from this queue.")
@click.option(
    "--status",
    type=click.Choice(["waiting", "dialling", "done", "failed", "cancelled"]),
    help="Only those that stand like this.",
)
@click.option("--limit", type=click.IntRange(1, _MOST_LISTED), default=200, show_default=True)
@numbers_option
@tenant_option
@json_option
@click.pass_obj
def list_callbacks(  # noqa: PLR0917 - click's order
    shell: Shell,
    queue: str | None,
    status: str | None,
    limit: int,
    full_numbers: bool,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Show callbacks, oldest first."""
    from router.store.callbacks import Status  # noqa: PLC0415 - start-up time

    wanted = None if status is None else Status(status)

    async def work(telephony: "Telephony", name: str) -> "list[Callback]":
        found: list[Callback] = []
        for skip in range(0, _MOST_LISTED, _PAGE):
            found += await telephony.callbacks.find(
                name, soon(), queue=queue, status=wanted, skip=skip, limit=_PAGE
            )
            if len(found) >= limit:
                break
        return found[:limit]

    forms = [
        _callback_form(one, full_numbers=full_numbers)
        for one in _with_telephony(shell, tenant, work)
    ]
    if as_json:
        print_json(forms)
        return
    columns = ("id", "queue", "number", "status", "attempts", "reason", "created")
    rows = [tuple(str(form[column]) for column in columns) for form in forms]
    print_table(("callback", *columns[1:]), rows, "no callbacks")


@callbacks.command(epilog="\b\nExample:\n  crosspoint callbacks cancel cb-3c1e0b6f")
@click.argument("callback")
@tenant_option
@click.pass_obj
def cancel(shell: Shell, callback: str, tenant: str | None) -> None:
    """Give CALLBACK up, unless it is being made at this moment."""

    async def work(telephony: "Telephony", name: str) -> None:
        await telephony.callbacks.cancel(name, callback, soon())

    _with_telephony(shell, tenant, work)
    click.echo(f"{callback} is cancelled")


# --- what they stand on --------------------------------------------------------------------------


def _with_telephony(
    shell: Shell, tenant: str | None, work: "Callable[[Telephony, str], Awaitable[T]]"
) -> T:
    """Run `work` with the tenant's PBXs as the store shows them, and the tenant's name."""
    from router.settings import secret_source  # noqa: PLC0415
    from router.site.keeper import DirectoryKeeper  # noqa: PLC0415 - start-up time
    from router.telephony.remote import Telephony  # noqa: PLC0415

    settings = shell.settings

    async def run(store: Store) -> T:
        name = await tenant_of(store, tenant)
        keeper = DirectoryKeeper(store.resources, secret_source(settings))
        await keeper.refresh(soon())
        telephony = Telephony(
            store.links,
            lambda: keeper.directory,
            settings=settings.pbx,
            recordings_dir=settings.recordings_dir or settings.data_dir / "recordings",
        )
        return await work(telephony, name)

    return shell.with_store(run)


def _control(shell: Shell, call: str, tenant: str | None, command: "Command", said: str) -> None:
    async def work(telephony: "Telephony", name: str) -> None:
        found = await _live(telephony, name, call)
        await telephony.control.carry_out(name, found.pbx, command, soon())

    _with_telephony(shell, tenant, work)
    click.echo(f"{call} {said}")


async def _live(telephony: "Telephony", tenant: str, call: str) -> "LiveCall":
    found = await telephony.call(tenant, call, soon())
    if found is None:
        raise NotFoundError(f"there is no live call {call}; `crosspoint calls list` shows them")
    return found


def _action(agent: str | None, queue: str | None, given: str) -> "Action":
    from rules.actions import (  # noqa: PLC0415 - start-up time
        Enqueue,
        Forward,
        Route,
        Target,
        TargetType,
    )

    if agent is not None:
        return Route(target=Target(type=TargetType.USER, id=agent))
    return Forward(number=given) if queue is None else Enqueue(queue=queue)


def _desk(telephony: "Telephony", tenant: str) -> "CallbackDesk":
    desk = telephony.desk(tenant)
    if desk is None:
        message = f"the settings have no section pbx for the tenant {tenant}"
        raise InvalidInputError(message, field="pbx")
    return desk


def _recorded(call: "LiveCall") -> str:
    if call.state.is_muted:
        return "paused"
    return "yes" if call.state.recording else ""


def _queue_of(call: "LiveCall") -> str | None:
    return call.state.queue.queue if call.state.queue is not None else None


def _call_form(call: "LiveCall", *, full_numbers: bool) -> dict[str, object]:
    state = call.state
    return {
        "id": state.id,
        "pbx": call.pbx,
        "kind": state.kind.value,
        "state": state.phase.value,
        "caller": _number(state.caller_number, full_numbers=full_numbers),
        "called": _number(state.called_number, full_numbers=full_numbers),
        "queue": _queue_of(call),
        "agent": state.talks_to.agent if state.talks_to is not None else None,
        "parties": [{"id": one.id, "agent": one.agent} for one in state.legs()],
        "since": datetime.fromtimestamp(state.arrived_ms / 1000, UTC).isoformat(),
        "recording": state.recording,
        "recording_paused": state.is_muted,
    }


def _callback_form(callback: "Callback", *, full_numbers: bool) -> dict[str, object]:
    about = callback.about
    return {
        "id": about.id,
        "queue": about.queue,
        "number": _number(about.number, full_numbers=full_numbers),
        "status": callback.status.value,
        "attempts": callback.attempts,
        "reason": callback.reason,
        "agent_first": about.agent_first,
        "skills": to_json(about.skills),
        "calls": list(callback.calls),
        "created": datetime.fromtimestamp(callback.created_ms / 1000, UTC).isoformat(),
    }


def _number(number: str | None, *, full_numbers: bool) -> str | None:
    from rules.wording import mask  # noqa: PLC0415 - start-up time

    return number if number is None or full_numbers else mask(number)
