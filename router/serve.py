"""Running the service: one process, or several on one port under a supervisor.

How it works. The process that is started owns the embedded store (if any) and applies the site (if
asked to). With one worker it serves itself; with more it holds the port without listening and starts
workers that listen on the same one (SO_REUSEPORT); one that dies is started again, slower each time.
SIGTERM and SIGINT end accepting, let requests finish, and take everything apart in order; a second
signal ends at once. A worker whose supervisor is killed ends itself.
"""

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import structlog
import uvloop

from router import metrics
from router.deadline import in_s
from router.errors import CrosspointError, InvalidInputError
from router.garbage import keep_what_there_is
from router.http.app import HttpServer
from router.http.decisions.routes import RouteHandler
from router.logs import LogPipe, configure
from router.pbx_beside import PbxBeside
from router.settings import LogFormat, Settings
from router.site_at_start import apply_site, make_missing_secrets, read_site
from router.store.agents import Agents
from router.store.embedded import EmbeddedStore
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from router.wiring import application, running
from rules.problems import FileError

BACKOFF_S: Final = (0.1, 5.0)
STEADY_S: Final = 30.0
"""A worker that lived this long is started again without delay."""

STORE_AT_START_S: Final = 10.0
KILL_AFTER_S: Final = 5.0
"""Beyond the time to drain; then a worker is killed."""

_PR_SET_PDEATHSIG: Final = 1

OnReady = Callable[[str], None]
"""Told the URL once the service listens."""

_log = structlog.get_logger(__name__)


def serve(settings: Settings, *, with_site: bool = False, on_ready: OnReady | None = None) -> None:
    """Serve until a signal says stop. `with_site` applies the site of the settings first.

    FileError: the site is wrong. InvalidInputError: the address cannot be listened on. Other errors
    are those of the embedded store.
    """
    pipe = configure(settings.log.level.value, as_json=settings.log.format is LogFormat.JSON)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_supervise(settings, pipe, with_site=with_site, on_ready=on_ready))
    finally:
        pipe.close()


async def _supervise(
    settings: Settings, pipe: LogPipe, *, with_site: bool, on_ready: OnReady | None
) -> None:
    stop = stop_signal()
    make_missing_secrets(settings, read_site(settings) if with_site else None)
    async with _store(settings) as url:
        if with_site:
            await _apply(settings, url)
        held = hold_port(settings.http.host, settings.http.port)
        with held:
            host, port = held.getsockname()[:2]
            where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            async with _pbx_beside(settings, url, is_wanted=with_site):
                if settings.http.workers == 1:
                    await work(
                        settings,
                        url,
                        (host, port),
                        pipe,
                        stop=stop,
                        on_ready=lambda: _ready(where, on_ready),
                    )
                else:
                    await _Workers(settings, url, (host, port)).run(
                        stop, lambda: _ready(where, on_ready)
                    )
    _log.info("stopped")


async def work(
    settings: Settings,
    store_url: str,
    address: tuple[str, int],
    pipe: LogPipe,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
) -> None:
    """One worker's life: build, listen, wait for `stop`, drain."""
    shared = settings.http.workers > 1
    folder = metrics.shared_folder(settings.data_dir) if shared else None
    async with running(
        settings, store_url, metrics_in=folder, log_lines_dropped=lambda: pipe.dropped
    ) as service:
        route = RouteHandler(service.answering)
        server = HttpServer(application(service), route, settings.http.drain_seconds)
        sock = hold_port(*address)
        await server.start(sock)
        keep_what_there_is()
        _log.info("listening", port=address[1], pid=os.getpid())
        on_ready()
        try:
            await stop.wait()
        finally:
            await server.close()


@contextlib.asynccontextmanager
async def _pbx_beside(settings: Settings, url: str, *, is_wanted: bool) -> AsyncIterator[None]:
    """Calls are taken in a process beside this one, if the settings name an Asterisk."""
    if settings.pbx is None or not is_wanted:
        yield
        return
    async with PbxBeside(settings, url):
        yield


def hold_port(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening; others may bind the same one beside it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInputError(f"cannot listen on {host}: {error.strerror}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)  # noqa: FBT003 - the library's way
        sock.bind(where)
    except OSError as error:
        sock.close()
        message = f"cannot listen on {host} port {port}: {error.strerror}"
        raise InvalidInputError(message, field="http.port") from error
    return sock


@contextlib.asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[str]:
    """The store's URL; the embedded one runs as long as the block."""
    if settings.store.url is not None:
        yield settings.store.url
        return
    async with EmbeddedStore(settings.store_dir) as store:
        yield store.url


async def _apply(settings: Settings, url: str) -> None:
    """Apply the site; without a store the last directory and the next start have to do."""
    async with Links(parse_store_url(url)) as links:
        try:
            await links.wait_open(in_s(STORE_AT_START_S))
            made = await apply_site(settings, Resources(links, AgentsAndQueues(Agents(links))))
        except FileError:
            raise
        except CrosspointError as error:
            _log.error("site_not_applied", reason=error.code)
            return
    _log.info("site_applied", changes=0 if made is None else len(made.changes))


def _ready(where: str, on_ready: OnReady | None) -> None:
    if on_ready is not None:
        on_ready(where)


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM or SIGINT; the second one ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


class _Workers:
    """Keeps the wanted number of workers alive."""

    def __init__(self, settings: Settings, store_url: str, address: tuple[str, int]) -> None:
        self._settings = settings
        self._arguments = (settings, store_url, address)
        self._context = multiprocessing.get_context("spawn")

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Start them, watch them until `stop`, then end them."""
        os.environ.update(metrics.multiprocess_environment(self._settings.data_dir))
        reader, writer = self._context.Pipe(duplex=False)
        with reader, writer:
            async with asyncio.TaskGroup() as group:
                for number in range(self._settings.http.workers):
                    group.create_task(self._keep(number, stop, writer), name=f"worker-{number}")
                await _first(_readable(reader.fileno()), stop)
                if not stop.is_set():
                    on_ready()

    async def _keep(self, number: int, stop: asyncio.Event, ready: Connection) -> None:
        loop, backoff_s = asyncio.get_running_loop(), BACKOFF_S[0]
        while not stop.is_set():
            began = loop.time()
            process = self._context.Process(
                target=_worker, args=(*self._arguments, ready), name=f"crosspoint-{number}"
            )
            process.start()
            await self._watch(process, stop)
            metrics.worker_ended(self._settings.data_dir, process.pid or 0)
            if stop.is_set():
                return
            _log.error("worker_died", pid=process.pid, exit_code=process.exitcode)
            backoff_s = BACKOFF_S[0] if loop.time() - began > STEADY_S else backoff_s * 2
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(backoff_s, BACKOFF_S[1])):
                    await stop.wait()

    async def _watch(self, process: BaseProcess, stop: asyncio.Event) -> None:
        """Until the process has ended, by itself or because it was told to."""
        ended = _readable(process.sentinel)
        await _first(ended, stop)
        if not ended.is_set():
            process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.http.drain_seconds + KILL_AFTER_S):
                    await ended.wait()
        if not ended.is_set():
            process.kill()
        process.join()


def _readable(descriptor: int) -> asyncio.Event:
    """Set once there is something to read, or the end, on a file descriptor."""
    seen, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_readable() -> None:
        loop.remove_reader(descriptor)
        seen.set()

    loop.add_reader(descriptor, on_readable)
    return seen


async def _first(*events: asyncio.Event) -> None:
    """Wait for any of the events."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _worker(
    settings: Settings, store_url: str, address: tuple[str, int], ready: Connection
) -> None:
    """The main function of a worker process."""
    supervisor = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        return
    pipe = configure(settings.log.level.value, as_json=settings.log.format is LogFormat.JSON)

    async def run() -> None:
        await work(
            settings,
            store_url,
            address,
            pipe,
            stop=stop_signal(),
            on_ready=lambda: ready.send_bytes(b"ready"),
        )

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        pipe.close()
