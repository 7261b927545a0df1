"""One connection to one Asterisk: the only door to panoramisk, and what is mended about it.

Of panoramisk 1.4 we use how it opens and logs in (`Manager`), matches answers and lists to their action
(`AMIProtocol`, `Action`) and reads messages (`Message`). What it gets wrong, each with a test:

 1. results of AGI commands come as `AsyncAGIExec` since Asterisk 12         -> `agi_commands.AgiCommands`
 2. a line break in a value starts another action: refused                   -> `_Protocol.send`
 3. a receiver that raises drops the connection: logged                      -> `Connection.dispatch`
 4. after a reconnect unanswered actions are repeated and the others wait for ever: every one ends, none is
    repeated                                                                 -> `_Protocol.close`
 5. a dead peer is not noticed: a ping with a limit                          -> `client.Client._watch`
 6. a wrong password is silent and retried every 2 s: reported once, slowly  -> `client.Client._serve`
 7. `close` does not stop a waiting reconnect, and a refused first connect retries behind our back: a connection
    is opened once, reconnecting is the client's                             -> `Connection.connection_lost`
 8. a character split over two reads is lost: whole messages are decoded     -> `_Protocol.data_received`
 9. a list that is refused never ends                                        -> `_Action.multi`
10. nothing is bounded: pending actions, rows of a list, unread and unsent bytes are here
"""

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

import structlog
from panoramisk.actions import Action as PanoramiskAction
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

from pbx.ami import events, values
from pbx.ami.agi_commands import end
from pbx.ami.events import Headers
from pbx.ami.settings import AmiSettings
from pbx.errors import (
    AmiBusyError,
    AmiDownError,
    LoginRefusedError,
    OutcomeUnknownError,
    PbxError,
    UnsafeValueError,
)

log = structlog.get_logger(__name__)

# panoramisk's own log lines hold whole messages: numbers, digits, the secret.
_SILENT = logging.getLogger("crosspoint.panoramisk")
_SILENT.disabled = True
_END = b"\r\n\r\n"


class Connection(Manager):  # type: ignore[misc]  # panoramisk has no types: its classes are Any
    """panoramisk's manager for exactly one connection: it neither reconnects nor pings by itself.

    `receive` is called with every event that is worth reading, in order: headers in lower case.
    """

    def __init__(
        self, settings: AmiSettings, *, receive: Callable[[Headers], None], lost: Callable[[], None]
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
        self._login: asyncio.Future[Any] = self.loop.create_future()
        self._opening: asyncio.Task[Any] | None = None

    async def open(self) -> None:
        """Connect, log in, wait until Asterisk is up. Raises OSError, TimeoutError, LoginRefusedError, AmiDownError."""
        limits = self.settings
        async with asyncio.timeout(limits.connect_limit_s):
            await self.connect()
        async with asyncio.timeout(limits.login_limit_s):
            answer = await self._login
        if not answer.success:
            reason = str(answer.message).lower()
            if "authentication" in reason or "permission" in reason:
                raise LoginRefusedError
            raise AmiDownError  # such as: is shutting down
        async with asyncio.timeout(limits.boot_limit_s):
            await self.booted

    def put(self, headers: Headers, *, is_list: bool) -> "Pending":
        """Write one action. Raises UnsafeValueError, AmiDownError, AmiBusyError: nothing was sent."""
        if self._is_closed or self.protocol is None:
            raise AmiDownError
        action = _Action(headers, max_rows=self.settings.max_rows)
        self.send_action(action, as_list=is_list)
        return Pending(self.protocol, action)

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
        if future.cancelled() or future.exception() is not None:
            end(self._login, AmiDownError())
            return False
        accepted: bool = super().login(future)
        self.pinger.cancel()
        if not self._login.done():
            self._login.set_result(future.result())
        return accepted

    def ping(self) -> None:
        """Pinging is the client's business."""

    def dispatch(self, event: Any) -> list[str]:  # Any: panoramisk's Message
        """Hand one event over; what the receiver raises stays here."""
        if str(event.event).lower() == "fullybooted" and not self.booted.done():
            self.booted.set_result(None)
        try:
            self._receive(_lowered(event))
        except Exception as error:  # noqa: BLE001 - a boundary: the connection outlives its receivers
            log.error("ami_receiver_failed", error=type(error).__name__)  # noqa: TRY400 - stacks hold values
        return []

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


class Pending:
    """An action that was sent."""

    def __init__(self, protocol: "_Protocol", action: "_Action") -> None:
        self._protocol = protocol
        self._action = action

    async def answer(self, deadline: float) -> list[Headers]:
        """The response, and the rows of a list. Raises OutcomeUnknownError, AmiBusyError (too many rows)."""
        try:
            async with asyncio.timeout_at(deadline):
                found = await self._action.future
        except TimeoutError:
            raise OutcomeUnknownError from None
        finally:
            self._protocol.responses.pop(self._action.id, None)
        return [_lowered(message) for message in (found if isinstance(found, list) else [found])]

    def forget(self) -> None:
        """Nobody waits for the answer."""
        self._action.future.add_done_callback(lambda done: done.cancelled() or done.exception())


class _Action(PanoramiskAction):  # type: ignore[misc]  # as above
    """An action that always ends: refused lists too, and lists without an end."""

    def __init__(self, headers: Headers, *, max_rows: int = 1) -> None:
        super().__init__(dict(headers))
        self.max_rows = max_rows

    @property
    def multi(self) -> bool:
        return bool(self.as_list) and bool(self.responses[0].success)

    def add_message(self, message: Any) -> bool | None:  # Any: panoramisk's Message
        if len(self.responses) > self.max_rows:
            end(self.future, AmiBusyError("the list is too long"))
            return True
        done: bool | None = super().add_message(message)
        return done


class _Protocol(AMIProtocol):  # type: ignore[misc]  # as above
    """The connection on the wire."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.closed = False
        self.responses: dict[str, _Action] = {}
        self._unread = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.factory = self.connection

    def send(self, data: Any, as_list: bool | None = False) -> asyncio.Future[Any]:  # noqa: FBT001, FBT002 - theirs
        """Write one action. Raises UnsafeValueError, AmiDownError, AmiBusyError."""
        limits = self.connection.settings
        action = data if isinstance(data, _Action) else _Action(data)
        payload = _serialised(action)
        if self.closed or self.transport.is_closing():
            raise AmiDownError
        if (
            len(self.responses) >= limits.max_pending
            or self.transport.get_write_buffer_size() > limits.max_unsent_bytes
        ):
            raise AmiBusyError
        action.as_list = as_list
        self.responses[action.id] = action
        self.transport.write(payload)
        future: asyncio.Future[Any] = action.future
        return future

    def data_received(self, data: bytes) -> None:
        self.connection.heard_at = asyncio.get_running_loop().time()
        *complete, self._unread = (self._unread + data).split(_END)
        for raw in complete:
            if _is_wanted(raw):
                message = Message.from_line(raw.decode("utf-8", "replace").strip())
                if message is not None:
                    self.handle_message(message)
        if len(self._unread) > self.connection.settings.max_message_bytes:
            log.error("ami_message_too_long")
            self.transport.abort()

    def handle_message(self, message: Any) -> None:  # Any: panoramisk's Message
        name = str(message.event).lower()
        # OriginateResponse carries the ActionID of an action that was answered before: it is an event.
        action = None if name == "originateresponse" else self.responses.get(message.action_id)
        if action is not None:
            if action.add_message(message):
                self.responses.pop(action.id, None)
        elif name:
            self.connection.dispatch(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.connection_lost(exc)

    def close(self) -> None:
        """End everything that waits; repeat nothing."""
        pending, self.responses = list(self.responses.values()), {}
        for action in pending:
            end(action.future, OutcomeUnknownError())
        if not self.closed:
            self.closed = True
            self.transport.close()


def _serialised(action: _Action) -> bytes:
    """The action as bytes. Raises UnsafeValueError when a value could become something else than a value."""
    lines = [
        values.line(key, str(one))
        for key, value in action.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    if len(lines) > values.MAX_HEADERS:
        raise UnsafeValueError(f"{len(lines)} headers; {values.MAX_HEADERS} are possible")
    return str(action).encode()


def _is_wanted(raw: bytes) -> bool:
    """Responses, and events somebody reads; decided by the first line, before anything is parsed."""
    name, _, value = raw.lstrip()[:80].partition(b"\r\n")[0].partition(b":")
    if name.strip().lower() != b"event":
        return True
    return events.is_wanted(value.strip().decode("ascii", "replace"))


def _lowered(message: Any) -> Headers:  # Any: panoramisk's Message
    return {key.lower(): value for key, value in message.items()}
