"""`crosspoint call`: the cloud platform's side of one call, with a keypad."""

import http.client
import random
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import click
import msgspec

from router.cli.deciding import decision_form
from router.cli.shell import UNREACHABLE, WRONG, Shell, Store, ended, json_option, print_json, soon
from router.errors import CrosspointError, InvalidInputError

if TYPE_CHECKING:
    from router.site.directory import RouterEntry
    from router.store.decisions import Page
    from rules.facts import CallFacts

_ANSWER_S: Final = 10.0
_LARGEST_ANSWER: Final = 65_536
_MOST_ROUNDS: Final = 20
_LOG_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.05


class _Round(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer. `took_ms` is the time on this side, network included."""

    answer: dict[str, object]
    level: str
    took_ms: float
    timing: str
    keyed: str | None = None


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, and where to ask."""

    url: str
    facts: "CallFacts"
    started_ms: int
    secret: str | None


@click.command(
    epilog="""\b
What the caller is asked is shown, and the digits are read from the terminal; an empty line is a
caller who keys nothing. Without a terminal only --digits are keyed.
Exit codes: 0 answered, 1 refused, 3 not reached.
\b
Examples:
  crosspoint call main --caller +12125550142
  crosspoint call main --caller +12125550142 --digits language=2 --agent-free ada
  crosspoint call main --caller anonymous --json < /dev/null"""
)
@click.argument("router")
@click.option("--caller", required=True, help="The caller's number, or `anonymous`.")
@click.option("--called", help="The number called; default: the router's first.")
@click.option("--digits", multiple=True, metavar="NAME=DIGITS", help="Key these when asked NAME.")
@click.option("--agent-free", metavar="AGENT", help="First make this agent available.")
@click.option("--call-id", help="Default: a new one.")
@click.option("--url", help="Base URL of the service; default: from the settings.")
@json_option
@click.pass_obj
def call(  # noqa: PLR0917 - click's order
    shell: Shell,
    router: str,
    caller: str,
    called: str | None,
    digits: tuple[str, ...],
    agent_free: str | None,
    call_id: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Ask ROUTER where a call goes, as the cloud platform does, and follow its questions."""
    from rules.facts import CallFacts  # noqa: PLC0415 - start-up time

    prepared = _digits(digits)
    entry, note = _entry(shell, router)
    if agent_free is not None:
        state = _free(shell, agent_free, entry)
        click.echo(f"agent     {agent_free} is {state}", err=True)
    numbers = entry.config.phone_numbers if entry is not None else ()
    facts = CallFacts(
        call_id=call_id or str(random.randrange(1 << 52, 1 << 53)),  # noqa: S311 - an id, no secret
        caller=None if caller == "anonymous" else caller,
        called=called or (numbers[0] if numbers else None),
        router=router,
    )
    rounds = _follow(
        _Call(
            url=_url(shell, url, router),
            facts=facts,
            started_ms=int(time.time() * 1000),
            secret=_secret(entry),
        ),
        prepared,
        is_quiet=as_json,
    )
    if prepared:  # those that were keyed are gone
        click.echo(f"nobody asked for {', '.join(prepared)}", err=True)
    logged = _logged(shell, entry, facts.call_id, len(rounds)) if entry is not None else None
    if as_json:
        form: dict[str, object] = {"call_id": facts.call_id, "rounds": rounds}
        print_json(form | {"decision": logged, "note": note})
    else:
        _print(rounds, logged, note, facts.call_id, shell.command)


def _follow(call: _Call, prepared: dict[str, str], *, is_quiet: bool) -> list[_Round]:
    """Ask until the answer is no question."""
    rounds: list[_Round] = []
    digits: dict[str, str] = {}
    while len(rounds) < _MOST_ROUNDS:
        facts = msgspec.structs.replace(call.facts, digits=dict(digits))
        made = _ask(msgspec.structs.replace(call, facts=facts))
        if made.answer.get("action") != "ask":
            return [*rounds, made]
        name = str(made.answer.get("hint_name", ""))
        keyed = _key(made.answer, name, prepared, is_quiet=is_quiet)
        digits[name] = keyed
        rounds.append(msgspec.structs.replace(made, keyed=keyed))
    raise ended(f"still asking after {_MOST_ROUNDS} rounds", WRONG)


def _key(
    answer: Mapping[str, object], name: str, prepared: dict[str, str], *, is_quiet: bool
) -> str:
    """What the caller keys: what was prepared (once), else from the terminal, else nothing."""
    message = answer.get("message")
    spoken = " ".join(str(part) for part in message) if isinstance(message, list) else ""
    if not is_quiet:
        click.echo(f'asked     "{spoken}" ({name}, {answer.get("num_digits", "?")} digits)')
    keyed = prepared.pop(name, None)
    if keyed is None and sys.stdin.isatty():
        keyed = click.prompt("keyed", default="", show_default=False, err=True)
    elif not is_quiet:
        click.echo(f"keyed     {keyed or 'nothing'}")
    return str(keyed or "").strip()


def _ask(call: _Call) -> _Round:
    """Post one request as the platform does: JSON, or with a secret the bare JWT over it."""
    from router.platforms.dialpad.signature import sign  # noqa: PLC0415 - start-up time
    from router.platforms.dialpad.wire import write_request  # noqa: PLC0415

    body = write_request(call.facts, call.started_ms)
    kind = "application/json"
    if call.secret is not None:
        body, kind = sign(body, call.secret.encode()), "application/jwt"
    parts = urlsplit(call.url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    started = time.perf_counter()
    try:
        connection.connect()
        started = time.perf_counter()
        connection.request("POST", parts.path, body, {"Content-Type": kind})
        response = connection.getresponse()
        text = response.read(_LARGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        message = f"{call.url} cannot be reached: {reason}; is `crosspoint up` running?"
        raise ended(message, UNREACHABLE) from None
    finally:
        connection.close()
    took_ms = (time.perf_counter() - started) * 1000
    if response.status != http.HTTPStatus.OK:
        raise ended(_refusal(response.status, call), WRONG)
    try:
        answer = msgspec.json.decode(text, type=dict[str, object])
    except msgspec.MsgspecError:
        raise ended("the answer is no JSON object", WRONG) from None
    return _Round(
        answer=answer,
        level=response.headers.get("X-Crosspoint-Level", "?"),
        took_ms=round(took_ms, 2),
        timing=response.headers.get("Server-Timing", ""),
    )


def _refusal(status: int, call: _Call) -> str:
    if status == http.HTTPStatus.UNAUTHORIZED:
        signed = "signed with this machine's secret" if call.secret is not None else "unsigned"
        return f"refused: 401, the request was {signed}; `crosspoint doctor` looks at the secrets"
    if status == http.HTTPStatus.NOT_FOUND:
        return "refused: 404, there is no such router; `crosspoint routers list` shows them"
    return f"refused: {status}"


def _entry(shell: Shell, router: str) -> "tuple[RouterEntry | None, str | None]":
    """The router with its secret: from the store, else from this machine's file, else unknown."""
    from router.settings import secret_source  # noqa: PLC0415
    from router.site.keeper import DirectoryKeeper  # noqa: PLC0415 - start-up time

    source = secret_source(shell.settings)

    async def look(store: Store) -> "RouterEntry | None":
        keeper = DirectoryKeeper(store.resources, source)
        await keeper.refresh(soon())
        return keeper.directory.router(router)

    try:
        return shell.with_store(look), None
    except CrosspointError:
        pass
    found = DirectoryKeeper.read_file(shell.settings.directory_file, source).router(router)
    return found, "the store cannot be reached: no rule, no reasons"


def _secret(entry: "RouterEntry | None") -> str | None:
    if entry is None or not entry.is_signed:
        return None
    if not entry.secrets:
        raise InvalidInputError(f"the router's secret is not to be had: {entry.secret_problem}")
    return entry.secrets[0]


def _url(shell: Shell, given: str | None, router: str) -> str:
    http_settings = shell.settings.http
    host = http_settings.host if http_settings.host not in {"0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104 - compared, not bound
    base = given or f"http://{f'[{host}]' if ':' in host else host}:{http_settings.port}"
    try:
        parts = urlsplit(base)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise InvalidInputError("a URL like http://127.0.0.1:8080 is wanted", field="--url")
    return f"{base.rstrip('/')}/route/{quote(router, safe='')}"


def _digits(given: tuple[str, ...]) -> dict[str, str]:
    prepared: dict[str, str] = {}
    for text in given:
        name, equals, keyed = text.partition("=")
        if not name or not equals or not set(keyed) <= set("0123456789*#"):
            message = f"{text} is not NAME=DIGITS, for example language=2"
            raise InvalidInputError(message, field="--digits")
        prepared[name] = keyed
    return prepared


def _free(shell: Shell, agent: str, entry: "RouterEntry | None") -> str:
    """Put the agent on duty and undisturbed; how the agent is now."""
    from router.cli.shell import tenant_of  # noqa: PLC0415 - only here

    async def work(store: Store) -> str:
        tenant = entry.tenant if entry is not None else await tenant_of(store, None)
        await store.agents.set_duty(tenant, agent, on=True, deadline=soon())
        await store.agents.set_do_not_disturb(tenant, agent, on=False, deadline=soon())
        await store.agents.end_wrap_up(tenant, agent, soon())
        view = await store.agents.get(tenant, agent, soon())
        return view.effective.state.value if view is not None else "gone"

    return shell.with_store(work)


def _logged(shell: Shell, entry: "RouterEntry", call_id: str, rounds: int) -> object:
    """The last decision as it was logged; it is written after the answer, so wait a moment for it."""
    import asyncio  # noqa: PLC0415 - start-up time

    from router.decisions.log import Filters  # noqa: PLC0415
    from router.store.decisions import list_decisions  # noqa: PLC0415

    filters = Filters(call_id=call_id, router=entry.config.id)

    async def work(store: Store) -> "Page":
        link = store.link_for(entry.tenant)
        ends_s = time.monotonic() + _LOG_S
        while True:
            page = await list_decisions(
                link, entry.tenant, filters, limit=_MOST_ROUNDS, deadline=soon()
            )
            if len(page.decisions) >= rounds or time.monotonic() > ends_s:
                return page
            await asyncio.sleep(_LOOK_EVERY_S)

    try:
        page = shell.with_store(work)
    except CrosspointError:
        return None
    for found in page.decisions:
        return decision_form(found)
    return None


def _print(
    rounds: list[_Round], logged: object, note: str | None, call_id: str, command: str
) -> None:
    last = rounds[-1]
    click.echo(f"answer    {_words(last.answer)}")
    if isinstance(logged, dict):
        click.echo(f"rule      {logged.get('rule') or '-'} ({logged.get('rules') or 'no ruleset'})")
        click.echo(f"reasons   {', '.join(logged.get('reasons') or ['-'])}")
        if logged.get("agent"):
            click.echo(f"agent     {logged['agent']}")
        click.echo(f"decision  {command} decisions --explain {logged['id']}")
    else:
        click.echo(f"log       {note or 'not written yet'}")
    click.echo(f"level     {last.level}")
    times = ", ".join(f"{one.took_ms:.1f} ms" for one in rounds)
    click.echo(f"time      {times} {f'({last.timing})' if last.timing else ''}".rstrip())
    click.echo(f"call      {call_id}")


def _words(answer: Mapping[str, object]) -> str:
    match answer.get("action"):
        case "route":
            return f"route to {answer.get('target_type')} {answer.get('target_id')}"
        case "forward":
            return f"forward to {answer.get('forward_to')}"
        case "end":
            message = answer.get("message")
            spoken = " ".join(str(part) for part in message) if isinstance(message, list) else ""
            return f'end, saying "{spoken}"' if spoken else "end"
        case _:
            return msgspec.json.encode(answer).decode()
