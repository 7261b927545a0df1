"""Asterisk as the rest of Crosspoint sees it: actions and AGI commands out, typed events in, for as long as it takes.

How it works: `run` belongs to the caller's task group. It connects, logs in, waits for FullyBooted, pings until the
connection breaks, and does so again with growing pauses until `close`. Whatever was pending then ends as outcome
unknown and nothing is sent twice. Events are handed over in order, synchronously: the receiver must only sort and
queue.
"""

import asyncio
import contextlib
import functools
import random
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import msgspec
import structlog

from pbx.ami import agi, events
from pbx.ami.actions import (
    UNHEARD,
    Action,
    Agi,
    CoreShowChannels,
    DeviceStateList,
    Getvar,
    Ping,
    SendFlash,
    Status,
    new_command_id,
)
from pbx.ami.agi import AgiCommand
from pbx.ami.agi_commands import AgiCommands
from pbx.ami.connection import Connection, headers_of
from pbx.ami.deadlines import Deadlines
from pbx.ami.events import Headers
from pbx.ami.sent import Sent, Told
from pbx.ami.settings import AmiSettings
from pbx.ami.values import ChannelName, UniqueId
from pbx.errors import (
    AmiBusyError,
    AmiDownError,
    LoginRefusedError,
    OutcomeUnknownError,
    PbxError,
)

log = structlog.get_logger(__name__)
Row = TypeVar("Row", bound=events.Event)


class LinkState(StrEnum):
    """Where a connection stands. Only READY takes actions."""

    CONNECTING = "connecting"
    READY = "ready"
    DOWN = "down"
    LOGIN_REFUSED = "login_refused"
    CLOSED = "closed"


class Client:
    """Actions and AGI commands out, typed events in. Deadlines are points of the running loop's clock."""

    def __init__(
        self,
        settings: AmiSettings,
        *,
        on_event: Callable[[events.Event], None],
        on_state: Callable[[LinkState], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.state = LinkState.DOWN
        self.on_event = on_event
        self.on_state = on_state
        self.ping: Callable[[], Action] = Ping
        """What is sent to hear whether Asterisk is there."""
        self.agi_commands = AgiCommands(settings.max_pending)
        self._connection: Connection | None = None
        self._deadlines = Deadlines()
        self._changed = asyncio.Event()  # the state is another one; replaced with every change
        self._lost = asyncio.Event()
        self._was_refused = False
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Keep connected until `close`."""
        pause_s = self.settings.first_pause_s
        try:
            while not self._closing.is_set():
                self._enter(LinkState.CONNECTING)
                was_ready, refused = await self._serve()
                if was_ready:
                    pause_s = self.settings.first_pause_s
                self._enter(LinkState.LOGIN_REFUSED if refused else LinkState.DOWN)
                await self._pause(self.settings.refused_pause_s if refused else pause_s)
                pause_s = min(pause_s * 2, self.settings.longest_pause_s)
        finally:
            self._drop()
            self._deadlines.close()
            self._enter(LinkState.CLOSED)

    async def close(self) -> None:
        """Close for good: `run` returns, what was pending ends."""
        self._closing.set()
        self._drop()

    async def wait_ready(self, deadline: float) -> None:
        """Wait until actions can be sent. Raises LoginRefusedError, AmiDownError (at the deadline, or closed)."""
        try:
            async with asyncio.timeout_at(deadline):
                while self.state is not LinkState.READY:
                    if self.state is LinkState.LOGIN_REFUSED:
                        raise LoginRefusedError
                    if self.state is LinkState.CLOSED:
                        raise AmiDownError("the connection is closed")
                    await self._changed.wait()
        except TimeoutError:
            raise AmiDownError from None

    async def send(self, action: Action, deadline: float) -> None:
        """Send one action and wait until Asterisk has taken it.

        Raises UnsafeValueError, AmiDownError, AmiBusyError (nothing was sent), RefusedError (nothing was
        changed), OutcomeUnknownError (no answer before the deadline, or the connection broke).
        """
        await self._exchange(action, deadline)

    async def ask(self, action: Action, deadline: float) -> Headers:
        """Send one action; the headers of its answer, names in lower case. Raises as `send`."""
        return headers_of((await self._exchange(action, deadline))[0])

    async def send_list(self, action: Action, deadline: float) -> list[Headers]:
        """Send an action that is answered by a list; its rows. Raises as `send`."""
        _, *rows, _ = await self._exchange(action, deadline)
        return [headers_of(row) for row in rows]

    async def agi(
        self, channel: ChannelName | UniqueId, command: AgiCommand, deadline: float
    ) -> agi.AgiResult:
        """Run an AGI command on a channel in async AGI and wait for its result.

        Commands of one channel run one after the other. Raises as `send`, and ChannelGoneError (hung up before
        it ended), AgiRefusedError; OutcomeUnknownError also when the channel left async AGI with the command
        still queued: it may run when the channel comes back.
        """
        command_id = new_command_id()
        action = Agi(channel=channel, command=command.text, command_id=command_id)
        result = self.agi_commands.expect(command_id, str(channel), command)
        sent = Sent(action.action, result, is_begun_only=True, yes=action.yes)
        late = functools.partial(OutcomeUnknownError, command_id=command_id)
        self._deadlines.put(result, deadline, late)
        try:
            self._put(action, sent, deadline)
            if command.wakes:
                self._wake(channel)
            return agi.parse_result(await result)
        finally:
            self._deadlines.drop(result)
            self.agi_commands.forget(command_id)
            self._forget(sent)

    def tell(self, action: Action, deadline: float, failed: Callable[[Exception], None]) -> None:
        """Send one action and do not wait until Asterisk has taken it.

        `failed` hears why it has not, with what `send` raises; what is known at once is raised.
        """
        told = Told(failed)
        sent = Sent(action.action, told, yes=action.yes)
        self._put(action, sent, deadline)
        told.over = functools.partial(self._over, sent)
        self._deadlines.put(told, deadline, OutcomeUnknownError)

    def tell_agi(
        self,
        channel: ChannelName | UniqueId,
        command: AgiCommand,
        deadline: float,
        failed: Callable[[Exception], None],
    ) -> None:
        """Have an AGI command run ahead of whatever is sent to the channel next; what comes of it is not told.

        `failed` hears why Asterisk has not queued it, as by `tell`.
        """
        action = Agi(channel=channel, command=command.text, command_id=UNHEARD)
        self.tell(action, deadline, failed)
        if command.wakes:
            self._wake(channel)

    async def channels(self, deadline: float) -> list[events.ChannelListed]:
        """The live channels. Raises as `send`."""
        rows = await self.send_list(CoreShowChannels(), deadline)
        return _converted(rows, events.ChannelListed)

    async def statuses(
        self, variables: tuple[str, ...], deadline: float
    ) -> list[events.StatusListed]:
        """The live channels with these of their variables. Raises as `send`."""
        rows = await self.send_list(Status(variables=variables), deadline)
        return _converted(rows, events.StatusListed)

    async def device_states(self, deadline: float) -> list[events.DeviceChanged]:
        """The state of every phone. Raises as `send`."""
        rows = await self.send_list(DeviceStateList(), deadline)
        return _converted(rows, events.DeviceChanged)

    async def variable(
        self, channel: ChannelName | UniqueId | None, name: str, deadline: float
    ) -> str:
        """The value of a variable, a channel's or a global one; empty when there is none. Raises as `send`."""
        answer = await self.ask(Getvar(channel=channel, variable=name), deadline)
        return str(answer.get("value", ""))

    # --- one connection -----------------------------------------------------------------------------------

    async def _serve(self) -> tuple[bool, bool]:
        """Connect once and stay until it breaks: whether it was ready, whether the login was refused."""
        self._lost = asyncio.Event()
        connection = self._connection = Connection(
            self.settings, receive=self._receive, lost=self._on_lost
        )
        was_ready = False
        try:
            await connection.open()
            was_ready = True
            log.info("ami_ready")
            self._enter(LinkState.READY)
            await self._watch(connection)
        except LoginRefusedError:
            if not self._was_refused:
                log.error("ami_login_refused", username=self.settings.username)  # noqa: TRY400 - no stack needed
            self._was_refused = True
            return was_ready, True
        except (PbxError, OSError, TimeoutError) as error:
            if not self._closing.is_set():
                log.warning("ami_down", was_ready=was_ready, error=type(error).__name__)
        finally:
            self._drop()
        self._was_refused = False
        return was_ready, False

    async def _watch(self, connection: Connection) -> None:
        """Ping until the connection breaks. Raises OutcomeUnknownError when nothing was heard for the limit."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.ping_every_s):
                    await self._lost.wait()
                raise AmiDownError
            asked_at = loop.time()
            try:
                await self.send(self.ping(), asked_at + self.settings.ping_limit_s)
            except OutcomeUnknownError:
                # A loop that was held up is not a dead peer: only silence counts.
                if connection.heard_at < asked_at:
                    raise
            except AmiBusyError:
                pass

    async def _pause(self, longest_s: float) -> None:
        """Wait, spread a little so that several controllers do not come at once; `close` ends it."""
        spread_s = longest_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(spread_s):
                await self._closing.wait()

    def _drop(self) -> None:
        """Let go of the connection; everything pending ends as outcome unknown."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._on_lost()

    def _on_lost(self) -> None:
        self._lost.set()
        if self.state is LinkState.READY:
            self._enter(LinkState.DOWN)
        self.agi_commands.fail_all()

    def _enter(self, state: LinkState) -> None:
        if state is self.state:
            return
        self.state = state
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        try:
            self.on_state(state)
        except Exception as error:  # noqa: BLE001 - a boundary, as in Connection.dispatch
            log.error("ami_receiver_failed", error=type(error).__name__)  # noqa: TRY400 - stacks hold values

    # --- actions ------------------------------------------------------------------------------------------

    async def _exchange(self, action: Action, deadline: float) -> list[bytes]:
        """The answer, then the rows of a list and what closes it, as they came."""
        return await self._begin(action, deadline)

    def _begin(self, action: Action, deadline: float) -> asyncio.Future[list[bytes]]:
        """Write an action; raises as `_put`. The future ends by the deadline."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[bytes]] = loop.create_future()
        sent = Sent(action.action, future, is_list=action.is_list)
        self._put(action, sent, deadline)
        self._deadlines.put(future, deadline, OutcomeUnknownError)
        future.add_done_callback(lambda _: self._over(sent))
        return future

    def _over(self, sent: Sent) -> None:
        """It was answered, or is not waited for any more."""
        self._deadlines.drop(sent.future)
        self._forget(sent)

    def _forget(self, sent: Sent) -> None:
        if self._connection is not None:
            self._connection.forget(sent)

    def _put(self, action: Action, sent: Sent, deadline: float) -> None:
        """Write an action. Raises UnsafeValueError, AmiDownError, AmiBusyError: nothing was sent."""
        headers = action.headers()
        if self._connection is None or self.state is not LinkState.READY:
            raise AmiDownError
        if deadline <= asyncio.get_running_loop().time():
            raise AmiBusyError
        self._connection.put(headers, sent)

    def _wake(self, channel: ChannelName | UniqueId) -> None:
        """Wake async AGI; nobody waits for the answer. Asterisk before 18.18 cannot, and takes 100 ms at most."""
        kick = SendFlash(channel=channel, receive=True)
        sent = Sent(kick.action, asyncio.get_running_loop().create_future(), yes=kick.yes)
        with contextlib.suppress(AmiDownError, AmiBusyError):
            self._put(kick, sent, asyncio.get_running_loop().time() + 1)

    def _receive(self, raw: bytes) -> None:
        try:
            event = events.parse(raw)
        except msgspec.ValidationError:
            log.warning("ami_event_malformed", name=events.name_of(raw)[:40])
            return
        if event is not None and not self.agi_commands.take(event):
            self.on_event(event)


def _converted(rows: list[Headers], kind: type[Row]) -> list[Row]:
    return [msgspec.convert(row, kind, strict=False) for row in rows]
