"""The fast path to Redis: one multiplexed, pipelined connection per worker.

`RedisLink` owns at most one live `Wire` and one task that keeps it alive: resolve the endpoint,
connect, say HELLO, go live only once everything was answered (connecting succeeds on a stopped
server, answers do not), measure Redis' clock every second, which is the heartbeat as well, and start
again with a back-off when the wire is lost or the server is no primary any more. Callers never wait
for a connection: without one they are refused at once and take their fallback.
"""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, Self

import msgspec
import structlog

from router.deadline import Deadline, in_s, left_s
from router.errors import CrosspointError, RefusalKind, StoreDownError, StoreRefusedError
from router.store.clock import RedisClock
from router.store.wire import Growing, OnLate, Receiver, Reply, Wire, Word, fail, failed
from router.tasks import end

__all__ = ["Credentials", "Endpoint", "Link", "LinkStats", "OnLate", "RedisLink", "Reply"]

CONNECT_S: Final = 1.0  # resolving, connecting and HELLO together
_BACKOFF_S: Final = (0.020, 0.200)
_SAMPLE_EVERY_S: Final = 1.0
_SAMPLE_S: Final = 0.25
_DRAIN_S: Final = 1.0
_STEADY_S: Final = 1.0  # a connection that lasted this long resets the back-off

_log = structlog.get_logger(__name__)


class Link(Protocol):
    """The fast path to the Redis that holds a tenant's keys."""

    @property
    def is_open(self) -> bool:
        """False: there is no connection or the store does not answer; calls fail at once."""
        ...

    def call(
        self, *words: Word, deadline: Deadline, on_late: OnLate | None = None
    ) -> asyncio.Future[Reply]:
        """Send one command; the future has its reply or fails by the deadline.

        `StoreDownError`: nothing was sent. `OutcomeUnknownError`: sent, not answered in time; when
        the reply comes after all, `on_late(reply)` is called (to give back what nobody waits for).
        `StoreRefusedError`: Redis answered with an error. Cancelling the future is safe at any time
        and counts as late. Bytes are returned as bytes; nil as None.
        """
        ...

    def send(
        self, command: bytes, deadline: Deadline, on_late: OnLate | None = None
    ) -> asyncio.Future[Reply]:
        """The same for one command that is written down already, as the protocol wants it."""
        ...

    def send_for(
        self,
        receiver: Receiver,
        command: bytes | Growing,
        deadline: Deadline,
        on_late: OnLate | None,
        size: int,
    ) -> None:
        """The same for somebody who is no future; `size` is what the command may grow to, in bytes.

        The receiver is told in the midst of the link's work: it must neither raise nor send anything.
        """
        ...

    def flush(self) -> None:
        """Write now what has gathered, so that the store begins while this turn of the loop goes on."""
        ...

    def redis_deadline_ms(self, deadline: Deadline) -> int:
        """That instant on Redis' own clock, ms since the epoch: exact or up to a round trip early."""
        ...


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where one server is: a Unix socket path, or host and port, with TLS or without."""

    path: str | None = None
    host: str = ""
    port: int = 6379
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection says in HELLO; never printed."""

    username: str | None = None
    password: str | None = None
    db: int = 0

    def __repr__(self) -> str:
        return f"Credentials(db={self.db})"


class LinkStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the start; `in_flight` is of this moment and includes expired calls."""

    is_open: bool
    in_flight: int
    connects: int
    expired: int
    late: int
    last_error: str | None


class RedisLink:
    """A `Link` to the server that `resolve` names; `start` it, `close` it.

    `resolve` is asked before every connection attempt, so a failover is followed. `on_trouble` is
    called when the wire is lost or a reply shows that the endpoint or the slot map is stale.
    """

    def __init__(
        self,
        resolve: Callable[[], Awaitable[Endpoint]],
        credentials: Credentials | None = None,
        *,
        on_trouble: Callable[[], None] | None = None,
    ) -> None:
        self._resolve = resolve
        self._credentials = credentials or Credentials()
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._clock = RedisClock()
        self._task: asyncio.Task[None] | None = None
        self._live = asyncio.Event()
        self._connects = self._expired = self._late = 0
        self._last_error: str | None = "not connected yet"
        self._is_closing = False

    @property
    def is_open(self) -> bool:
        """See `Link.is_open`."""
        return self._wire is not None and self._wire.is_open

    def call(
        self, *words: Word, deadline: Deadline, on_late: OnLate | None = None
    ) -> asyncio.Future[Reply]:
        """See `Link.call`."""
        if self._wire is None:
            return failed(self._loop, StoreDownError(f"{self._last_error}; nothing was sent"))
        return self._wire.call(words, deadline, on_late)

    def send(
        self, command: bytes, deadline: Deadline, on_late: OnLate | None = None
    ) -> asyncio.Future[Reply]:
        """See `Link.send`."""
        if self._wire is None:
            return failed(self._loop, StoreDownError(f"{self._last_error}; nothing was sent"))
        return self._wire.send(command, deadline, on_late)

    def send_for(
        self,
        receiver: Receiver,
        command: bytes | Growing,
        deadline: Deadline,
        on_late: OnLate | None,
        size: int,
    ) -> None:
        """See `Link.send_for`."""
        if self._wire is None:
            fail(receiver, StoreDownError(f"{self._last_error}; nothing was sent"))
        else:
            self._wire.send_for(receiver, command, deadline, on_late, size)

    def flush(self) -> None:
        """See `Link.flush`."""
        if self._wire is not None:
            self._wire.flush()

    def redis_deadline_ms(self, deadline: Deadline) -> int:
        """See `Link.redis_deadline_ms`; 0 before the first connection."""
        return self._clock.ms_at(deadline)

    @property
    def stats(self) -> LinkStats:
        """Cheap figures for metrics and health."""
        wire = self._wire
        return LinkStats(
            is_open=self.is_open,
            in_flight=wire.in_flight if wire else 0,
            connects=self._connects,
            expired=self._expired + (wire.expired if wire else 0),
            late=self._late + (wire.late if wire else 0),
            last_error=self._last_error,
        )

    def start(self) -> Self:
        """Begin to connect, in a task of the link's own. Returns at once."""
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="redis-link")
        return self

    async def wait_open(self, deadline: Deadline) -> None:
        """Wait for a live connection; `StoreDownError` with the last reason when there is none."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._live.wait()
        except TimeoutError:
            raise StoreDownError(self._last_error) from None

    async def close(self) -> None:
        """Take no more calls, wait up to a second for the replies that are due, disconnect."""
        self._is_closing = True
        self._last_error = "the link is closed"
        wire = self._wire
        if wire is not None:
            await self._drain(wire)
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # the one task

    async def _run(self) -> None:
        backoff_s = _BACKOFF_S[0]
        while True:
            began_s = self._loop.time()
            try:
                wire = await self.connect_once()
            except (CrosspointError, OSError, TimeoutError, ValueError) as error:
                self._note_down(_reason(error))
            else:
                await self._keep(wire)
                if self._loop.time() - began_s > _STEADY_S:
                    backoff_s = _BACKOFF_S[0]
            if self._on_trouble is not None:
                self._on_trouble()
            await asyncio.sleep(backoff_s * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
            backoff_s = min(backoff_s * 2, _BACKOFF_S[1])

    async def connect_once(self) -> Wire:
        """A wire whose server has said that it is a primary and ready, and what time it is."""
        clock = RedisClock()
        async with asyncio.timeout(CONNECT_S):
            endpoint = await self._resolve()
            wire = await self._open(endpoint)
            try:
                await _greet(wire, self._credentials)
                await _sample(wire, clock, in_s(CONNECT_S))
            except BaseException:
                wire.abort("the handshake failed")
                raise
        self._clock = clock
        return wire

    async def _open(self, endpoint: Endpoint) -> Wire:
        wire = Wire(self._loop)
        if endpoint.path is not None:
            await self._loop.create_unix_connection(lambda: wire, endpoint.path)
        else:
            await self._loop.create_connection(
                lambda: wire, endpoint.host, endpoint.port, ssl=endpoint.tls
            )
        return wire

    async def _keep(self, wire: Wire) -> None:
        """Be live on this wire until it is lost or has to be left."""
        self._wire = wire
        self._connects += 1
        self._last_error = None
        self._live.set()
        _log.info("store.link_open")
        try:
            while not wire.is_lost:
                await _wait(wire.attention, _SAMPLE_EVERY_S)
                if wire.refusal is not None and self._must_leave(wire):
                    await self._drain(wire)
                elif not wire.is_lost:
                    with contextlib.suppress(CrosspointError):
                        await _sample(wire, self._clock, in_s(_SAMPLE_S))
        finally:
            self._wire = None
            self._live.clear()
            self._expired += wire.expired
            self._late += wire.late
            wire.abort(wire.why_closed)
        self._note_down(wire.why_closed)

    def _must_leave(self, wire: Wire) -> bool:
        """Whether a refusal means that this is the wrong server, rather than an old slot map."""
        refusal, wire.refusal = wire.refusal, None
        wire.attention.clear()
        if refusal in {RefusalKind.READ_ONLY, RefusalKind.LOADING}:
            wire.why_closed = f"the server is not a ready primary ({refusal})"
            return True
        if self._on_trouble is not None:
            self._on_trouble()
        return False

    async def _drain(self, wire: Wire) -> None:
        wire.leave()
        end = in_s(_DRAIN_S)
        while not wire.is_lost and left_s(end) > 0:
            wire.attention.clear()
            if not wire.is_lost:
                await _wait(wire.attention, left_s(end))
        wire.abort(wire.why_closed)

    def _note_down(self, why: str) -> None:
        if why != self._last_error and not self._is_closing:
            self._last_error = why
            _log.warning("store.link_down", reason=why)


async def _greet(wire: Wire, credentials: Credentials) -> None:
    """HELLO, database, PING: refuse a server that is loading or no primary."""
    deadline = in_s(CONNECT_S)
    hello: list[Word] = ["HELLO", 2]
    if credentials.password is not None:
        hello += ["AUTH", credentials.username or "default", credentials.password]
    try:
        told = await wire.call((*hello, "SETNAME", "crosspoint"), deadline)
        if credentials.db:
            await wire.call(("SELECT", credentials.db), deadline)
        await wire.call(("PING",), deadline)
    except StoreRefusedError as error:
        raise _plain(error) from None
    facts = told if isinstance(told, list) else []
    names = dict(zip(facts[::2], facts[1::2], strict=False)) if facts else {}
    if names.get(b"role") not in {b"master", None}:
        raise StoreDownError("the server is a replica; the store's URL must lead to the primary")


def _plain(error: StoreRefusedError) -> CrosspointError:
    """A refusal of the handshake in words that say what to change."""
    text = str(error)
    if text.startswith("WRONGPASS"):
        return StoreDownError("the store refused the user name or password; check its URL")
    if text.startswith("NOAUTH"):
        return StoreDownError("the store wants a password; put it into its URL")
    if error.kind is RefusalKind.LOADING:
        return StoreDownError("the store is still loading its data")
    return StoreDownError(f"the store refused the connection: {text}")


async def _sample(wire: Wire, clock: RedisClock, deadline: Deadline) -> None:
    """Ask what time it is. Not by `loop.time()`: uvloop's is of this turn's start, in whole ms."""
    sent_s = time.monotonic()
    reply = await wire.call(("TIME",), deadline)
    received_s = time.monotonic()
    if isinstance(reply, list) and len(reply) == 2:
        seconds, micros = reply
        if isinstance(seconds, bytes) and isinstance(micros, bytes):
            server_s = int(seconds) + int(micros) / 1e6
            clock.sample(sent_s=sent_s, received_s=received_s, server_s=server_s)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _reason(error: Exception) -> str:
    if isinstance(error, CrosspointError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the store did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the store's TLS certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS with the store failed: {error.reason}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot connect to the store: {error.strerror}"
    return f"cannot connect to the store: {type(error).__name__}"
