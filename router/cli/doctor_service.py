"""What `doctor` asks the service: who listens, is it ready, what is degraded, which store."""

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from router.cli.findings import Finding

if TYPE_CHECKING:
    from router.settings import Settings

_HTTP_S: Final = 2.0
_LARGEST_ANSWER: Final = 65_536
_ASKED: Final = 8
"""Connections: the kernel spreads them over the processes that share a port."""

_SOMEBODY_ELSE: Final = "somebody else listens there"
_OTHER_PORT: Final = "end the other program, or set http.port"
_TODO: Final = {
    "store": "look at what is said of the store below; while it is away, rules alone decide",
    "directory": "`lost`, `unreadable`: crosspoint apply; `lost` for good: crosspoint tenants forget;"
    " otherwise the store is away",
    "rules": "crosspoint rules check; /api/v1/rules says which",
    "secrets": "crosspoint routers list says which router; the log says why",
    "site": "crosspoint apply says why",
}
"""By part of /readyz."""


class _Part(msgspec.Struct, frozen=True):
    name: str
    is_well: bool
    detail: str | None = None


class _Ready(msgspec.Struct, frozen=True):
    """What is needed of /readyz."""

    ready: bool
    parts: list[_Part]
    store: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    data: _Ready


def service_findings(settings: "Settings") -> Iterator[Finding]:
    """OSError: the address cannot even be looked up."""
    host, port = settings.http.host, settings.http.port
    near = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    what = f"port {port}"
    if port == 0:
        yield Finding(what=what, found="any free one")
        return
    if not _is_listening(near, port):
        yield _free(settings, what)
        return
    url = f"http://{f'[{near}]' if ':' in near else near}:{port}/readyz"
    known = _ask_some(url)
    if not known:
        yield Finding(what=what, found=_SOMEBODY_ELSE, todo=_OTHER_PORT)
        return
    if len(known) < _ASKED:
        yield Finding(what=what, found="one process there does not answer", todo="look at its log")
    is_ready = all(answer.ready for answer in known)
    found = "crosspoint serves, ready" if is_ready else "crosspoint serves, not ready"
    yield Finding(what=what, found=found, todo=None if is_ready else f"look at {url}")
    degraded = {part.name: part for one in known for part in one.parts if not part.is_well}
    for part in degraded.values():
        todo = _TODO.get(part.name, f"look at {url}")
        yield Finding(what=f"service's {part.name}", found=part.detail or "degraded", todo=todo)
    yield from _store(settings, what, {one.store for one in known if one.store is not None})


def _is_listening(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_HTTP_S):
            return True
    except socket.gaierror:
        raise
    except OSError:
        return False


def _free(settings: "Settings", what: str) -> Finding:
    from router.errors import InvalidInputError  # noqa: PLC0415 - start-up time
    from router.processes.port import hold_port  # noqa: PLC0415

    try:
        hold_port(settings.http.host, settings.http.port, is_shared=False).close()
    except InvalidInputError as error:
        return Finding(what=what, found=str(error), todo="set http.host and http.port")
    return Finding(what=what, found="free; nobody serves")


def _ask_some(url: str) -> list[_Ready]:
    """The answers up to the first that does not come."""
    found: list[_Ready] = []
    while len(found) < _ASKED and (answer := _ask(url)) is not None:
        found.append(answer)
    return found


def _ask(url: str) -> _Ready | None:
    """The answer, on a connection of its own; None: that is not us."""
    try:
        return msgspec.json.decode(_read(url), type=_Answer).data
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_S) as answer:  # noqa: S310 - ours
            return bytes(answer.read(_LARGEST_ANSWER))
    except urllib.error.HTTPError as error:  # 503 has an answer too
        with error:
            return error.read(_LARGEST_ANSWER)


def _store(settings: "Settings", what: str, marks: set[str]) -> Iterator[Finding]:
    from router.store.embedded import socket_path  # noqa: PLC0415 - start-up time
    from router.store.endpoints import parse_store_url, store_mark  # noqa: PLC0415

    own = settings.store.url or f"unix://{socket_path(settings.store_dir)}"
    parse_store_url(own)  # what is no URL has no mark
    if marks - {store_mark(own)}:
        yield Finding(
            what=what,
            found="a service with another store.url than these settings' answers there",
            todo="give all that share a port one store.url, or the other one another port",
        )
