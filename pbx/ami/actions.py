"""The actions that Crosspoint sends: frozen, checked when they are turned into headers.

Field names are header names (`ExtraChannel` is `extra_channel`); fields that need more care have a kind in
`_KINDS`. Every Originate is asynchronous: a synchronous one would block the whole connection.
"""

import itertools
import secrets
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final

import msgspec

from pbx.ami import values
from pbx.ami.values import ChannelName, CommandId, UniqueId
from pbx.errors import UnsafeValueError

UNHEARD = CommandId("unheard")
"""The id of commands whose results nobody wants: `eventfilter` in manager.conf keeps them from being sent."""

_KINDS: dict[str, Callable[[str], str]] = {
    "channel": values.channel,
    "channel1": values.channel,
    "channel2": values.channel,
    "extra_channel": values.channel,
    "channel_id": values.channel,
    "context": values.word,
    "exten": values.word,
    "extra_context": values.word,
    "extra_exten": values.word,
    "mix_monitor_id": values.channel,
}


class Action(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One action. `is_list`: the answer is a list of events closed by a `...Complete`.

    `yes`: how Asterisk says that it was begun, of those for which nobody waits until then.
    """

    action: ClassVar[str]
    is_list: ClassVar[bool] = False
    yes: ClassVar[str] = ""

    def headers(self) -> dict[str, str | list[str]]:
        """Header -> value or values. Raises UnsafeValueError."""
        found: dict[str, str | list[str]] = {"Action": self.action}
        for field, header in zip(
            self.__struct_fields__, self.__struct_encode_fields__, strict=True
        ):
            value = getattr(self, field)
            if value is not None:
                found[header] = _text(field, value)
        return found


class Direction(StrEnum):
    """Of a recorded channel: what it says, what it hears, both."""

    READ = "read"
    WRITE = "write"
    BOTH = "both"


class Playback(StrEnum):
    """What ControlPlayback does to a running prompt."""

    STOP = "stop"
    FORWARD = "forward"
    REVERSE = "reverse"
    PAUSE = "pause"
    RESTART = "restart"


class Ping(Action, frozen=True, kw_only=True):
    """Is anybody there?"""

    action = "Ping"


class Originate(Action, frozen=True, kw_only=True):
    """Ring a phone; when it answers it enters the dialplan. `caller_name`, `caller_number`: what it shows.

    Take `channel_id` from `new_channel_id`: Asterisk 22 refuses an id that another live one starts with.
    """

    action = "Originate"
    yes = "Originate successfully queued"
    channel: str
    channel_id: UniqueId
    context: str = "crosspoint"
    exten: str = "agi"
    timeout_ms: int = 20_000
    caller_name: str = ""
    caller_number: str = ""
    variables: Mapping[str, str] = {}
    sip_headers: Mapping[str, str] = {}
    early_media: bool | None = None

    def headers(self) -> dict[str, str | list[str]]:
        if not 1_000 <= self.timeout_ms <= 300_000:
            raise UnsafeValueError("an Originate rings for 1 to 300 seconds")
        found: dict[str, str | list[str]] = {
            "Action": self.action,
            "Channel": values.channel(self.channel),
            "ChannelId": values.channel(self.channel_id),
            "Context": values.word(self.context),
            "Exten": values.word(self.exten),
            "Priority": "1",
            "Timeout": str(self.timeout_ms),
            "Async": "true",
        }
        if self.early_media:
            found["EarlyMedia"] = "true"
        if self.caller_number or self.caller_name:
            number = values.channel(self.caller_number) if self.caller_number else ""
            found["CallerID"] = f"{values.quoted(self.caller_name)} <{number}>"
        given = [values.assignment(*item) for item in self.variables.items()]
        given += [values.sip_header(*item) for item in self.sip_headers.items()]
        if given:
            found["Variable"] = given
        return found


class Redirect(Action, frozen=True, kw_only=True):
    """Move one channel, or two at once, to the dialplan. Moving one of two talking parties hangs up the other."""

    action = "Redirect"
    channel: ChannelName | UniqueId
    context: str = "crosspoint"
    exten: str = "agi"
    priority: int = 1
    extra_channel: ChannelName | UniqueId | None = None
    extra_context: str | None = None
    extra_exten: str | None = None
    extra_priority: int | None = None


def redirect_both(first: ChannelName | UniqueId, second: ChannelName | UniqueId) -> Redirect:
    """Take both parties of a talk back to us."""
    return Redirect(
        channel=first,
        extra_channel=second,
        extra_context="crosspoint",
        extra_exten="agi",
        extra_priority=1,
    )


class Hangup(Action, frozen=True, kw_only=True):
    """End a channel; `cause` is a Q.850 cause (0 to 127): 16 normal, 17 busy, 26 answered elsewhere, 34 congestion."""

    action = "Hangup"
    channel: ChannelName | UniqueId
    cause: int = 16


class Bridge(Action, frozen=True, kw_only=True):
    """Join two channels. Needs full channel names: Asterisk matches by prefix here. Both leave async AGI silently."""

    action = "Bridge"
    channel1: ChannelName
    channel2: ChannelName
    tone: str = "no"


class Agi(Action, frozen=True, kw_only=True):
    """Queue an AGI command; its result comes as an event with the same command id."""

    action = "AGI"
    yes = "Added AGI command to queue"
    channel: ChannelName | UniqueId
    command: str
    command_id: CommandId = msgspec.field(name="CommandID")

    def headers(self) -> dict[str, str | list[str]]:
        return {
            "Action": self.action,
            "Channel": values.channel(self.channel),
            "Command": self.command,
            "CommandID": self.command_id,
        }


class PlayDtmf(Action, frozen=True, kw_only=True):
    """Press a key: towards the channel's phone, or with `receive` as if its phone had pressed it."""

    action = "PlayDTMF"
    channel: ChannelName | UniqueId
    digit: str
    duration: int = 250  # milliseconds
    receive: bool = False


class SendFlash(Action, frozen=True, kw_only=True):
    """A hook flash, as if the channel's phone had sent it with `receive` (Asterisk 18.18, 20.3 and newer)."""

    action = "SendFlash"
    yes = "Flash successfully queued"
    channel: ChannelName | UniqueId
    receive: bool = False


class ControlPlayback(Action, frozen=True, kw_only=True):
    """Stop, pause or wind a running prompt."""

    action = "ControlPlayback"
    channel: ChannelName | UniqueId
    control: Playback


class MixMonitorMute(Action, frozen=True, kw_only=True):
    """Pause (silence in the file) or resume every recording of a channel."""

    action = "MixMonitorMute"
    channel: ChannelName
    direction: Direction = Direction.BOTH
    state: int = 1  # 1: muted, 0: recording


class StopMixMonitor(Action, frozen=True, kw_only=True):
    """End one recording, or the latest one."""

    action = "StopMixMonitor"
    channel: ChannelName
    mix_monitor_id: str | None = msgspec.field(default=None, name="MixMonitorID")


class Setvar(Action, frozen=True, kw_only=True):
    """Set a variable of a channel, readable in `Status` by the next controller; without one, a global one."""

    action = "Setvar"
    channel: ChannelName | UniqueId | None = None
    variable: str
    value: str


class Getvar(Action, frozen=True, kw_only=True):
    """Read a variable of a channel, or a global one; unlike AGI this works for values over 1024 bytes."""

    action = "Getvar"
    channel: ChannelName | UniqueId | None = None
    variable: str


class CoreShowChannels(Action, frozen=True, kw_only=True):
    """List the live channels."""

    action = "CoreShowChannels"
    is_list = True


class Status(Action, frozen=True, kw_only=True):
    """List the live channels with some of their variables."""

    action = "Status"
    is_list = True
    variables: tuple[str, ...] = ()

    def headers(self) -> dict[str, str | list[str]]:
        found: dict[str, str | list[str]] = {"Action": self.action}
        if self.variables:
            found["Variables"] = ",".join(map(values.variable, self.variables))
        return found


class DeviceStateList(Action, frozen=True, kw_only=True):
    """List the state of every phone."""

    action = "DeviceStateList"
    is_list = True


def new_channel_id() -> UniqueId:
    """An id of fixed length that no other one starts with."""
    return UniqueId(str(uuid.uuid4()))


_process: Final = secrets.token_hex(8)
_commands: Final = itertools.count(1)


def new_command_id() -> CommandId:
    """An id for an AGI command; never one of an earlier process."""
    return CommandId(f"{_process}-{next(_commands)}")


def _text(field: str, value: Any) -> str:  # Any: the value of a field of any action
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if field == "variable":
        return values.variable(text)
    if field == "digit":
        return values.digits(text)
    kind = _KINDS.get(field)
    return kind(text) if kind else text
