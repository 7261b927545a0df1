"""One connection to one Asterisk: the only door to panoramisk, and what is mended about it.

Of panoramisk 1.4 we use how it opens and logs in (`Manager`, `AMIProtocol`, `Action`) and how it reads answers and
lists (`Message`). Events and mere "yes" are most of the traffic: they are told apart by their first bytes and never
become one of its objects, which cost more than all else a call does. What it gets wrong, each with a test:

 1. results of AGI commands come as `AsyncAGIExec` since Asterisk 12         -> `agi_commands.AgiCommands`
 2. a line break in a value starts another action: refused                   -> `_serialised`
 3. a receiver that raises drops the connection: logged                      -> `Connection.dispatch`
 4. after a reconnect unanswered actions are repeated and the others wait for ever: every one ends, none is
    repeated                                                                 -> `_Protocol.close`
 5. a dead peer is not noticed: a ping with a limit                          -> `client.Client._watch`
 6. a wrong password is silent and retried every 2 s: reported once, slowly  -> `client.Client._serve`
 7. `close` does not stop a waiting reconnect, and a refused first connect retries behind our back: a connection
    is opened once, reconnecting is the client's                             -> `Connection.connection_lost`
 8. a character split over two reads is lost: whole messages are decoded     -> `_Protocol.data_received`
 9. a list that is refused never ends                                        -> `_Protocol._answered`
10. nothing is bounded: pending actions, rows of a list, unread and unsent bytes are here
"""

import asyncio
import functools
import itertools
import logging
import secrets
from collections.abc import Callable
from typing import Any

import structlog
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

from pbx.ami import events, values
from pbx.ami.agi_commands import end
from pbx.ami.events import Headers
from pbx.ami.sent import Sent
from pbx.ami.settings import AmiSettings
from pbx.ami.unheard import Unheard
from pbx.errors import (
    AmiBusyError,
    AmiDownError,
    LoginRefusedError,
    OutcomeUnknownError,
    PbxError,
    RefusedError,
    UnsafeValueError,
)

log = structlog.get_logger(__name__)

# panoramisk's own log lines hold whole messages: numbers, digits, the secret.
_SILENT = logging.getLogger("crosspoint.panoramisk")
_SILENT.disabled = True
_END = b"\r\n\r\n"
_YES = b"Response: Success\r\n"


class Connection(Manager):  # type: ignore[misc]  # panoramisk has no types: its classes are Any
    """panoramisk's manager for exactly one connection: it neither reconnects nor pings by itself.

    `receive` is called with every event that is worth reading, in order, as it came from the wire.
    """

    def __init__(
        self, settings: AmiSettings, *, receive: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        super().__init__(
            host=settings.host,
            port=settings.port,
            ssl=settings.tls or False,
            username=settings.username,
            secret=settings.secret,
            protocol_factory=functools.partial(_Protocol, self),
            loop=asyncio.get_running_loop(),
            log=_SILENT,
        )
        self.settings = settings
        self.heard_at = 0.0  # on the loop's clock: when anything last came
        self.booted: asyncio.Future[None] = self.loop.create_future()
        self._receive = receive
        self._lost = lost
        self._is_closed = False
        self._login: asyncio.Future[None] = self.loop.create_future()
        self._opening: asyncio.Task[Any] | None = None

    async def open(self) -> None:
        """Connect, log in, wait until Asterisk is up. Raises OSError, TimeoutError, LoginRefusedError, AmiDownError."""
        limits = self.settings
        async with asyncio.timeout(limits.connect_limit_s):
            await self.connect()
        async with asyncio.timeout(limits.login_limit_s):
            await self._login
        async with asyncio.timeout(limits.boot_limit_s):
            await self.booted

    def put(self, headers: Headers, sent: Sent) -> None:
        """Write one action. Raises UnsafeValueError, AmiDownError, AmiBusyError: nothing was sent."""
        if self._is_closed or self.protocol is None:
            raise AmiDownError
        self.protocol.put(headers, sent)

    def forget(self, sent: Sent) -> None:
        """Nobody waits for the answer any more."""
        if self.protocol is not None:
            self.protocol.pending.pop(sent.id, None)

    def connect(self) -> Any:  # Any: a task, as in panoramisk
        self._opening = super().connect()
        return self._opening

    def connection_made(self, f: Any) -> None:
        """Called when connecting ended, one way or the other; who awaits `connect` sees a failure."""
        if f.cancelled() or f.exception() is not None:
            return
        if self._is_closed:
            f.result()[0].abort()
            return
        try:
            super().connection_made(f)
        except PbxError as error:
            end(self._login, error)

    def login(self, future: Any) -> bool:
        error = AmiDownError() if future.cancelled() else future.exception()
        if error is not None:
            end(self._login, _why_not_in(error))
            return False
        accepted: bool = super().login(future)
        self.pinger.cancel()
        if not self._login.done():
            self._login.set_result(None)
        return accepted

    def ping(self) -> None:
        """Pinging is the client's business."""

    def dispatch(self, event: bytes) -> None:
        """Hand one event over; what the receiver raises stays here."""
        if not self.booted.done() and events.name_of(event) == "fullybooted":
            self.booted.set_result(None)
        try:
            self._receive(event)
        except Exception as error:  # noqa: BLE001 - a boundary: the connection outlives its receivers
            log.error("ami_receiver_failed", error=type(error).__name__)  # noqa: TRY400 - stacks hold values

    def connection_lost(self, exc: Any) -> None:  # noqa: ARG002 - panoramisk's signature
        self.close()
        self._lost()

    def close(self) -> None:
        """Close for good, whatever is going on; everything pending ends."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self.pinger is not None:
            self.pinger.cancel()
        if self.protocol is not None:
            self.protocol.close()
            self.protocol.transport.abort()  # a peer that takes nothing more would keep it open
        end(self._login, AmiDownError())
        end(self.booted, AmiDownError())


class _Protocol(AMIProtocol):  # type: ignore[misc]  # as above
    """The connection on the wire."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.closed = False
        self.pending: dict[bytes, Sent] = {}
        self._unread = b""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._name = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.factory = self.connection
        self._unheard = Unheard(transport)

    def send(self, data: Any, as_list: bool | None = False) -> asyncio.Future[Any]:  # noqa: ARG002, FBT001, FBT002 - theirs
        """Write panoramisk's own action, the login; the answer as panoramisk reads it."""
        read: asyncio.Future[Any] = self.connection.loop.create_future()
        answer: asyncio.Future[Any] = self.connection.loop.create_future()
        sent = Sent("Login", answer)

        def on_done(done: asyncio.Future[Any]) -> None:
            error = done.exception()
            if isinstance(error, Exception):
                end(read, error)
            else:
                read.set_result(_message(done.result()[0]))

        self.put(data, sent)
        answer.add_done_callback(on_done)
        return read

    def put(self, headers: Headers, sent: Sent) -> None:
        """Write one action, together with all others of this turn of the loop and the next: of a task just begun.

        Raises UnsafeValueError, AmiDownError, AmiBusyError: nothing was sent.
        """
        limits = self.connection.settings
        name = f"{self._name}-{next(self._numbers)}"
        payload = _serialised(headers, name)
        if self.closed or self.transport.is_closing():
            raise AmiDownError
        if (
            len(self.pending) >= limits.max_pending
            or self.transport.get_write_buffer_size() + self._unsent_bytes > limits.max_unsent_bytes
        ):
            raise AmiBusyError
        sent.id = name.encode()
        self.pending[sent.id] = sent
        if not self._unsent:
            self.connection.loop.call_soon(self.connection.loop.call_soon, self._flush)
        self._unsent.append(payload)
        self._unsent_bytes += len(payload)

    def _flush(self) -> None:
        if not self.closed:
            self._hear()
            self.transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.connection.heard_at = asyncio.get_running_loop().time()
        *complete, self._unread = (self._unread + data).split(_END)
        for raw in complete:
            self._take(raw.lstrip())
        if len(self._unread) > self.connection.settings.max_message_bytes:
            log.error("ami_message_too_long")
            self.transport.abort()
        self._hear()

    def _hear(self) -> None:
        """Be woken for what matters; the rest of a message does, whatever it is."""
        self._unheard.expect(() if self._unread else self.pending.values())

    def _take(self, raw: bytes) -> None:
        is_event = raw.startswith(events.EVENT)
        name = events.name_of(raw) if is_event else ""
        is_read = name in events.READ
        # OriginateResponse carries the ActionID of an action that was answered before: it is an event.
        if is_read and name not in events.ROWS_TOO:
            self.connection.dispatch(raw)
            return
        sent = self.pending.get(events.value_of(raw, b"actionid")) if self.pending else None
        if sent is None:
            if is_read:
                self.connection.dispatch(raw)
            return
        if not is_event:
            self._answered(sent, raw)
        elif sent.is_list:
            self._row(sent, raw)

    def _answered(self, sent: Sent, raw: bytes) -> None:
        if not raw.startswith(_YES):
            answer = _message(raw)
            if answer is None or answer.response == "Error":
                reason = "" if answer is None else str(answer.message)
                del self.pending[sent.id]
                end(sent.future, RefusedError(f"Asterisk refused {sent.name}", reason=reason))
                return
        sent.parts.append(raw)
        if not sent.is_list:
            self._done(sent)

    def _row(self, sent: Sent, raw: bytes) -> None:
        sent.parts.append(raw)
        if events.ends_list(raw):
            self._done(sent)
        elif len(sent.parts) > self.connection.settings.max_rows:
            del self.pending[sent.id]
            end(sent.future, AmiBusyError("the list is too long"))

    def _done(self, sent: Sent) -> None:
        del self.pending[sent.id]
        if not sent.is_begun_only and not sent.future.done():
            sent.future.set_result(sent.parts)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.connection_lost(exc)

    def close(self) -> None:
        """End everything that waits; repeat nothing."""
        pending, self.pending = list(self.pending.values()), {}
        for sent in pending:
            if not sent.is_begun_only:
                end(sent.future, OutcomeUnknownError())
        if not self.closed:
            self.closed = True
            self._unheard.close()
            self.transport.close()


def _why_not_in(error: Exception) -> PbxError:
    """Why there is no login: wrong credentials, or an Asterisk that takes none now (it is shutting down)."""
    reason = error.reason.lower() if isinstance(error, RefusedError) else ""
    is_refused = "authentication" in reason or "permission" in reason
    return LoginRefusedError() if is_refused else AmiDownError()


def headers_of(raw: bytes) -> Headers:
    """All headers of an answer or of a row, names in lower case."""
    message = _message(raw)
    return {} if message is None else {key.lower(): value for key, value in message.items()}


def _message(raw: bytes) -> Any:  # Any: panoramisk's Message, or None
    return Message.from_line(raw.decode("utf-8", "replace").strip())


def _serialised(headers: Headers, action_id: str) -> bytes:
    """The action as bytes. Raises UnsafeValueError when a value could become something else than a value."""
    pairs = [
        (key, str(one))
        for key, value in headers.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    pairs.append(("ActionID", action_id))
    if len(pairs) > values.MAX_HEADERS:
        raise UnsafeValueError(f"{len(pairs)} headers; {values.MAX_HEADERS} are possible")
    return "\r\n".join([*values.lines(pairs), "", ""]).encode()
