"""Running the service: one process, or several on one port under a supervisor.

How it works. The process that is started owns the embedded store (if any) and applies the site (if
asked to). With one worker it serves itself; with more it holds the port without listening and starts
workers that listen on the same one (see port.py); one that dies is started again, slower each time.
SIGTERM, SIGINT and SIGHUP end accepting, let requests finish, and take everything apart in order; a second
signal ends at once (but for SIGHUP). A worker whose supervisor is killed ends itself.
"""

import asyncio
import contextlib
import multiprocessing
import os
import socket
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, NamedTuple

import structlog
import uvloop

from router import metrics_files
from router.deadline import in_s
from router.errors import CrosspointError, with_notes
from router.http.app import HttpServer
from router.http.decisions.routes import RouteHandler
from router.logs import LogPipe, configure
from router.private_files import make_private
from router.processes.children import keep_alive, readable
from router.processes.ending import end_with_parent, stop_signal
from router.processes.garbage import keep_what_there_is
from router.processes.pbx_beside import pbx_beside
from router.processes.port import alone_on, hold_port
from router.processes.site_at_start import apply_site, make_missing_secrets, read_site
from router.processes.wiring import application, running
from router.settings import LogFormat, Settings
from router.site.file import Site
from router.store.agents import Agents
from router.store.embedded import EmbeddedStore
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from rules.problems import FileError

STORE_AT_START_S: Final = 10.0
KILL_AFTER_S: Final = 5.0
"""Beyond the time to drain; then a worker is killed."""

Tell = Callable[[str], None]

_log = structlog.get_logger(__name__)


def serve(
    settings: Settings,
    *,
    with_site: bool = False,
    on_ready: Tell | None = None,
    on_unapplied: Tell | None = None,
) -> None:
    """Serve until a signal says stop. `with_site` applies the site of the settings first.

    `on_ready` is told the URL once the service listens, `on_unapplied` why the site was not applied.

    FileError: the site is wrong. InvalidInputError: the address cannot be listened on. Other errors
    are those of the embedded store.
    """
    pipe = configure(settings.log.level.value, as_json=settings.log.format is LogFormat.JSON)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tell = _Tell(on_ready or _nobody, on_unapplied or _nobody)
            runner.run(_supervise(settings, pipe, tell, with_site=with_site))
    finally:
        pipe.close()


class _Tell(NamedTuple):
    """Who is told what happens at the start."""

    ready: Tell
    unapplied: Tell


def _nobody(_: str) -> None:
    """Nobody wants to know."""


async def _supervise(settings: Settings, pipe: LogPipe, tell: _Tell, *, with_site: bool) -> None:
    stop = stop_signal()
    make_private(settings.data_dir)
    site = read_site(settings) if with_site else None
    for path in make_missing_secrets(settings, site):
        _log.warning("secret_made", file=str(path))  # another machine has another one
    async with _store(settings) as url:
        unapplied: Site | None = None
        if site is not None and (problem := await _apply(settings, url)) is not None:
            unapplied = site
            tell.unapplied(problem)
        async with _port(settings) as held:
            host, port = held.getsockname()[:2]
            takes_calls = with_site and settings.pbx is not None
            beside = pbx_beside(settings, url) if takes_calls else contextlib.nullcontext()
            where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            async with beside:
                if settings.http.workers == 1:
                    await work(
                        settings,
                        url,
                        lambda: held,
                        pipe,
                        stop=stop,
                        unapplied=unapplied,
                        on_ready=lambda: tell.ready(where),
                    )
                else:
                    workers = _Workers(settings, url, (host, port), unapplied)
                    await workers.run(stop, lambda: tell.ready(where))
    _log.info("stopped")


async def work(
    settings: Settings,
    store_url: str,
    hold: Callable[[], socket.socket],
    pipe: LogPipe,
    *,
    stop: asyncio.Event,
    unapplied: Site | None,
    on_ready: Callable[[], None],
    metrics_in: Path | None = None,
) -> None:
    """One worker's life: build, listen on the port it gets from `hold`, wait for `stop`, drain.

    `metrics_in` is the folder of all workers.
    """
    async with running(
        settings,
        store_url,
        metrics_in=metrics_in,
        unapplied=unapplied,
        log_lines_dropped=lambda: pipe.dropped,
    ) as service:
        route = RouteHandler(service.answering)
        server = HttpServer(application(service), route, settings.http.drain_seconds)
        sock = hold()
        port = sock.getsockname()[1]
        await server.start(sock)
        keep_what_there_is()
        _log.info("listening", port=port, pid=os.getpid())
        on_ready()
        try:
            await stop.wait()
        finally:
            await server.close()


@contextlib.asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[str]:
    """The store's URL; the embedded one runs as long as the block."""
    if settings.store.url is not None:
        yield settings.store.url
        return
    async with EmbeddedStore(settings.store_dir) as store:
        yield store.url


@contextlib.asynccontextmanager
async def _port(settings: Settings) -> AsyncIterator[socket.socket]:
    """The port, bound. A service with a store of its own shares it with its own workers only."""
    host, port = settings.http.host, settings.http.port
    is_alone, is_shared = settings.store.url is None, settings.http.workers > 1
    async with alone_on(host, port) if is_alone else contextlib.nullcontext():
        with hold_port(host, port, is_shared=is_shared or not is_alone) as held:
            yield held


async def _apply(settings: Settings, url: str) -> str | None:
    """Apply the site; if that cannot be done the last directory has to do, and why not is returned."""
    async with Links(parse_store_url(url)) as links:
        try:
            await links.wait_open(in_s(STORE_AT_START_S))
            made = await apply_site(settings, Resources(links, AgentsAndQueues(Agents(links))))
        except FileError:
            raise
        except CrosspointError as error:
            problem = with_notes(error)
            _log.error("site_not_applied", reason=error.code, problem=problem)
            return problem
    _log.info("site_applied", changes=0 if made is None else len(made.steps))
    return None


class _Place(NamedTuple):
    """One worker's, whichever process has it: what its counts are kept under, and whom it tells."""

    name: str
    metrics_in: Path
    ready: Connection


class _Workers:
    """Keeps the wanted number of workers alive."""

    def __init__(
        self,
        settings: Settings,
        store_url: str,
        address: tuple[str, int],
        unapplied: Site | None,
    ) -> None:
        self._settings = settings
        self._arguments = (settings, store_url, address, unapplied)
        self._spawn = multiprocessing.get_context("spawn")

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Start them, keep them alive until `stop`, then end them."""
        reader, writer = self._spawn.Pipe(duplex=False)
        with metrics_files.folder_of_service(self._settings.data_dir) as folder, reader, writer:
            async with asyncio.TaskGroup() as group:
                kept = [
                    group.create_task(
                        self._keep(_Place(str(number), folder, writer)), name=f"worker-{number}"
                    )
                    for number in range(self._settings.http.workers)
                ]
                telling = group.create_task(_tell(reader, on_ready), name="ready")
                await stop.wait()
                for task in (*kept, telling):
                    task.cancel()

    async def _keep(self, place: _Place) -> None:
        def make() -> BaseProcess:
            metrics_files.share(place.metrics_in)
            arguments = (*self._arguments, place)
            name = f"crosspoint-{place.name}"
            return self._spawn.Process(target=_worker, args=arguments, name=name)

        def on_end(_: BaseProcess) -> None:
            metrics_files.worker_ended(place.metrics_in, place.name)

        stop_s = self._settings.http.drain_seconds + KILL_AFTER_S
        await keep_alive(make, stop_s=stop_s, on_end=on_end)


async def _tell(ready: Connection, on_ready: Callable[[], None]) -> None:
    """Say so once the first worker listens."""
    await readable(ready.fileno())
    on_ready()


def _worker(
    settings: Settings,
    store_url: str,
    address: tuple[str, int],
    unapplied: Site | None,
    place: _Place,
) -> None:
    """The main function of a worker process."""
    if not end_with_parent():
        return
    metrics_files.count_in(place.name)
    pipe = configure(settings.log.level.value, as_json=settings.log.format is LogFormat.JSON)

    async def run() -> None:
        await work(
            settings,
            store_url,
            lambda: hold_port(*address),
            pipe,
            stop=stop_signal(),
            unapplied=unapplied,
            on_ready=lambda: place.ready.send_bytes(b"ready"),
            metrics_in=place.metrics_in,
        )

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        pipe.close()
