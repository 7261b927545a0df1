"""Keeps the directory true: looks at the store's version four times a second, keeps the last picture.

How it works. Every look asks for what has changed since the last one, per tenant. What came is built
into a new `Directory` in a thread and swapped in at once. Over a new connection everything is read:
it may lead to another store, a backup, or a replica that lacks the last changes, where the version that
is known here tells nothing. A store that is gone changes nothing here; a store that has come back
without a tenant's data does not either (removing resources never takes the version away, only losing
them does): the state then says `lost` until they are applied again, or somebody has the tenant forgotten.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.private_files import write_private
from router.site.directory import Directory, TenantResources, build, without_literals
from router.site.secrets import RENEW_EVERY_S, SecretSource

LOOK_EVERY_S: Final = 0.25
LOOK_S: Final = 5.0  # a look that reads ten thousand agents takes its time; one without news none
LARGEST_FILE_BYTES: Final = 256 * 2**20
MOST_NAMED: Final = 10
"""Tenants named in one line of the log."""

_log = structlog.get_logger(__name__)


class ResourceReader(Protocol):
    """What is needed of `router/store/resources.py`."""

    async def tenants(self, *, deadline: Deadline) -> list[str]: ...
    async def load(
        self, tenant: str, known: TenantResources | None = None, *, deadline: Deadline
    ) -> TenantResources: ...
    async def renew(
        self, tenant: str, known: TenantResources, *, deadline: Deadline
    ) -> TenantResources: ...


class KeeperState(StrEnum):
    """How true the picture is."""

    EMPTY = "empty"
    """Nothing is known yet."""
    FROM_FILE = "from_file"
    """As it was when this machine last saw the store."""
    FRESH = "fresh"
    STALE = "stale"
    """The store is not to be had; as it was a moment ago."""
    LOST = "lost"
    """The store has come back without what it held; as it was before."""


class DirectoryKeeper:
    """Owns the present `Directory`. `run` is a task of the process; everything else is at once."""

    def __init__(
        self,
        resources: ResourceReader,
        secrets: SecretSource,
        file: Path | None = None,
        *,
        connects: Callable[[], int] = lambda: 0,
    ) -> None:
        """`connects` counts the connections to the store that have been made."""
        self._resources = resources
        self._connects = connects
        self._looked_over: int | None = None
        self._lost: set[str] = set()
        self._secrets = secrets
        self._file = file
        self._directory = Directory()
        self._state = KeeperState.EMPTY
        self._callbacks: list[Callable[[Directory], None]] = []
        self._secrets_read_s = 0.0

    @property
    def directory(self) -> Directory:
        """The present picture; look it up again for every request."""
        return self._directory

    @property
    def state(self) -> KeeperState:
        return self._state

    @property
    def unreadable(self) -> int:
        """How many resources the store has in a form that cannot be read here."""
        return sum(len(tenant.resources.unreadable) for tenant in self._directory.tenants.values())

    def on_change(self, callback: Callable[[Directory], None]) -> None:
        """Have it called, on the event loop, with every new picture."""
        self._callbacks.append(callback)

    def load_file(self) -> bool:
        """Start with the picture in the file, if there is one. Reads the disk: before serving."""
        if self._file is None:
            return False
        try:
            found = _read(self._file)
        except FileNotFoundError:
            return False
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("directory_file_unreadable", reason=type(error).__name__)
            return False
        self._replace(build(found, self._secrets))
        self._state = KeeperState.FROM_FILE
        return True

    @staticmethod
    def read_file(file: Path, secrets: SecretSource) -> Directory:
        """The picture in a file, an empty one when there is none to be read."""
        try:
            return build(_read(file), secrets)
        except (OSError, msgspec.DecodeError):
            return Directory()

    async def refresh(self, deadline: Deadline) -> None:
        """Look once. Raises the link's errors; the picture stays as it was then."""
        known, connects = self._directory.resources(), self._connects()
        names = await self._resources.tenants(deadline=deadline)
        found: dict[str, TenantResources] = {}
        for name in names:
            before = known.get(name)
            is_anew = connects != self._looked_over or name in self._lost
            if before is None or before.withheld or is_anew:
                now = await self._resources.load(name, before, deadline=deadline)
                found[name] = before if before is not None and before == now else now
            else:
                found[name] = await self._resources.renew(name, before, deadline=deadline)
        lost = {name for name, before in known.items() if has_lost(before, found.get(name))}
        self._lost = lost
        wanted = found | {name: known[name] for name in lost}
        await self._take(known, wanted)
        self._looked_over = connects
        if lost:
            self._change_state(KeeperState.LOST, ", ".join(sorted(lost)[:MOST_NAMED]))
        else:
            self._change_state(KeeperState.FRESH)

    async def run(self) -> None:
        """Look forever; errors only change the state."""
        while True:
            try:
                await self.refresh(in_s(LOOK_S))
            except CrosspointError as error:
                if self._state is not KeeperState.EMPTY:
                    self._change_state(KeeperState.STALE, error.code)
                known = self._directory.resources()
                await self._take(known, known)  # secrets do not wait for the store
            await asyncio.sleep(LOOK_EVERY_S)

    async def _take(
        self, known: dict[str, TenantResources], wanted: dict[str, TenantResources]
    ) -> None:
        now_s = asyncio.get_running_loop().time()
        is_same = known.keys() == wanted.keys() and all(
            known[name] is wanted[name] for name in wanted
        )
        if is_same and now_s - self._secrets_read_s < RENEW_EVERY_S:
            return
        self._secrets_read_s = now_s
        directory = await asyncio.to_thread(build, wanted, self._secrets, self._directory)
        if is_same and directory.routers == self._directory.routers:
            return
        self._replace(directory)
        if self._file is not None and not is_same:
            await asyncio.to_thread(self._write, self._file, wanted)

    def _replace(self, directory: Directory) -> None:
        self._directory = directory
        for callback in self._callbacks:
            callback(directory)

    def _change_state(self, state: KeeperState, reason: str | None = None) -> None:
        if state is self._state:
            return
        self._state = state
        level = _log.info if state is KeeperState.FRESH else _log.warning
        level("directory_state", state=state.value, reason=reason)

    def _write(self, file: Path, resources: dict[str, TenantResources]) -> None:
        try:
            write_directory(file, resources)
        except OSError as error:
            _log.warning("directory_file_not_written", reason=type(error).__name__)


def has_lost(before: TenantResources, now: TenantResources | None) -> bool:
    """Whether a store that knows this of a tenant (None: nothing) has lost what was there `before`."""
    had_any = bool(before.routers or before.queues or before.agents)
    return had_any and before.version > 0 and (now is None or now.version == 0)


def write_directory(file: Path, resources: dict[str, TenantResources]) -> None:
    """Write the picture without literal secrets: whole or not at all, readable by us only."""
    safe = {name: without_literals(tenant) for name, tenant in resources.items()}
    write_private(file, msgspec.json.encode(safe))


def _read(file: Path) -> dict[str, TenantResources]:
    with file.open("rb") as source:
        text = source.read(LARGEST_FILE_BYTES + 1)
    if len(text) > LARGEST_FILE_BYTES:
        raise OSError
    return msgspec.json.decode(text, type=dict[str, TenantResources])
