"""The AGI commands under way, by command id, and what ends them.

Asterisk answers the action at once ("queued") and reports the result later as an event, or never: when the channel
hung up, was redirected or was pulled into a bridge.
"""

import asyncio
from typing import Protocol

import msgspec

from pbx.ami import agi, events
from pbx.ami.values import CommandId
from pbx.errors import AmiBusyError, ChannelGoneError, OutcomeUnknownError

HANGS_UP_S = 1.0
"""A channel that leaves async AGI because it hangs up says so a moment later; on a busy machine not at once."""


class _Expected(msgspec.Struct):
    channel: str  # name or unique id, as it was asked for
    enters_bridge: bool
    future: asyncio.Future[str]
    has_left: bool = False  # its channel has left async AGI since


class AgiCommands:
    """The AGI commands under way, by command id, and what ends them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: dict[str, _Expected] = {}
        self._by_channel: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def expect(
        self, command_id: CommandId, channel: str, command: agi.AgiCommand
    ) -> asyncio.Future[str]:
        if len(self._pending) >= self._limit:
            raise AmiBusyError
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pending[command_id] = _Expected(channel, command.enters_bridge, future)
        self._by_channel.setdefault(channel.lower(), set()).add(command_id)
        return future

    def forget(self, command_id: str) -> None:
        expected = self._pending.pop(command_id, None)
        if expected is not None:
            expected.future.cancel()
            key = expected.channel.lower()
            commands = self._by_channel.get(key, set())
            commands.discard(command_id)
            if not commands:
                self._by_channel.pop(key, None)

    def take(self, event: events.Event) -> bool:
        """Let an event end what it ends; True when it was a result that somebody waited for."""
        if isinstance(event, events.AgiResultArrived):
            expected = self._pending.get(event.command_id)
            if expected is None:
                return False
            if not expected.future.done():
                expected.future.set_result(event.result)
            return True
        if isinstance(event, events.HungUp):
            self._fail(event, ChannelGoneError)
        elif isinstance(event, events.AgiEnded):
            self._left(event)
        elif isinstance(event, events.AgiStarted):
            self._end_left(self._of(event))
        elif isinstance(event, events.BridgeEntered):
            self._fail(event, OutcomeUnknownError, spare_bridging=True)
        return False

    def fail_all(self) -> None:
        for command_id, expected in self._pending.items():
            end(expected.future, OutcomeUnknownError(command_id=command_id))

    def _of(self, event: events.ChannelEvent) -> list[str]:
        """Commands of the channel, by whichever name they were asked for."""
        names = {event.channel.lower(), event.uniqueid.lower()}
        return [command_id for name in names for command_id in self._by_channel.get(name, ())]

    def _left(self, event: events.AgiEnded) -> None:
        """The channel has hung up, or was taken elsewhere: what comes next says which."""
        command_ids = [one for one in self._of(event) if not self._pending[one].future.done()]
        for command_id in command_ids:
            self._pending[command_id].has_left = True
        if command_ids:
            asyncio.get_running_loop().call_later(HANGS_UP_S, self._end_left, command_ids)

    def _end_left(self, command_ids: list[str]) -> None:
        """The channel has not hung up: whether these were carried out before it left is not known."""
        for command_id in command_ids:
            expected = self._pending.get(command_id)
            if expected is not None and expected.has_left:
                end(expected.future, OutcomeUnknownError(command_id=command_id))

    def _fail(
        self,
        event: events.ChannelEvent,
        kind: type[ChannelGoneError | OutcomeUnknownError],
        *,
        spare_bridging: bool = False,
    ) -> None:
        for command_id in self._of(event):
            expected = self._pending[command_id]
            if not (spare_bridging and expected.enters_bridge):
                unknown = kind is OutcomeUnknownError
                error = OutcomeUnknownError(command_id=command_id) if unknown else kind()
                end(expected.future, error)


class Endable(Protocol):
    """A future, or what stands for one."""

    def done(self) -> bool: ...
    def set_exception(self, error: Exception, /) -> None: ...
    def exception(self) -> object: ...


def end(future: Endable, error: Exception) -> None:
    """Fail a future that may be done, and that perhaps nobody awaits."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen: no complaint when it is garbage
