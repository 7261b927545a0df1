"""What Asterisk reports, from bytes to frozen values; whatever is not named here is dropped unread.

Header names are compared without case (`CommandId` here, `CommandID` there). A channel is known by its unique
id: names start again from zero with Asterisk.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from pbx.ami.values import ChannelName, CommandId, UniqueId

EVENT = b"Event: "
"""What every event begins with."""

# Lower-case header -> value, or values where a header was repeated.
Headers = Mapping[str, str | list[str]]


def _header(field: str) -> str:
    return field.replace("_", "")


class Event(msgspec.Struct, frozen=True, kw_only=True, rename=_header):
    """Anything Asterisk reports."""


class ChannelEvent(Event, frozen=True, kw_only=True):
    """Something happened to a channel."""

    channel: ChannelName
    uniqueid: UniqueId


class NewChannel(ChannelEvent, frozen=True, kw_only=True):
    """A channel exists."""


class AgiStarted(ChannelEvent, frozen=True, kw_only=True):
    """A channel is ours: async AGI waits for commands. `env`: the AGI environment, quoted as in a URL."""

    channel_state: int = 0
    caller_id_num: str = ""
    caller_id_name: str = ""
    context: str = ""
    exten: str = ""
    env: str = ""

    def environment(self, name: str) -> str:
        """The value of `agi_callerid`, ...; empty when there is none."""
        _, _, found = f"%0A{self.env}".partition(f"%0A{name}%3A%20")
        return unquote(found.partition("%0A")[0])


class AgiResultArrived(ChannelEvent, frozen=True, kw_only=True):
    """The result of a command that nobody here waits for any more: of an earlier connection or controller."""

    command_id: CommandId = CommandId("")
    result: str = ""


class AgiEnded(ChannelEvent, frozen=True, kw_only=True):
    """Async AGI ended: redirected, hung up, or a command failed (then it starts again at once)."""


class KeyPressed(ChannelEvent, frozen=True, kw_only=True):
    """A key was released on the phone (`direction` Received) or by us (Sent)."""

    digit: str
    direction: str = "Received"


class OriginateEnded(Event, frozen=True, kw_only=True):
    """An Originate was not answered. Reason 3: time-out, 0: see the Hangup event.

    Of one that was answered (reason 4) Asterisk need not tell: `AgiStarted` does.

    When not even a channel came to be this is all there is; `uniqueid` is then the id asked for, or `<unknown>`.
    """

    response: str
    action_id: str = ""
    uniqueid: UniqueId = UniqueId("")
    reason: int = 0

    @property
    def is_answered(self) -> bool:
        return self.response == "Success"


class BridgeEntered(ChannelEvent, frozen=True, kw_only=True):
    """A channel joined a bridge that now has `bridge_num_channels`."""

    bridge_uniqueid: str
    bridge_num_channels: int = 0


class BridgeLeft(ChannelEvent, frozen=True, kw_only=True):
    """A channel left its bridge."""


class SoftHangupRequested(ChannelEvent, frozen=True, kw_only=True):
    """A channel is to hang up. `cause` is who asks, no Q.850: 1, Asterisk's own, such as `rtp_timeout`."""

    cause: int = 0


class HungUp(ChannelEvent, frozen=True, kw_only=True):
    """A channel is gone. `cause`: Q.850; `tech_cause`: the SIP status where there was one (Asterisk 22).

    `channel_state` is the last it had: 0 down, 4 ring, 5 ringing, 6 up.
    """

    channel_state: int = 0
    cause: int = 0
    tech_cause: str = ""


class DeviceChanged(Event, frozen=True, kw_only=True):
    """A phone stands otherwise than before, or is a row of DeviceStateList: NOT_INUSE, INUSE, BUSY, RINGING, RINGINUSE, ONHOLD, UNAVAILABLE, INVALID, UNKNOWN."""

    device: str
    state: str


class FullyBooted(Event, frozen=True, kw_only=True):
    """Asterisk is ready; also sent after every login."""


class ShutDown(Event, frozen=True, kw_only=True):
    """Asterisk is stopping; all calls have ended."""


class ChannelListed(Event, frozen=True, kw_only=True):
    """A live channel, of CoreShowChannels. `application` is the last one executed, perhaps over already."""

    channel: ChannelName
    uniqueid: UniqueId
    channel_state: int = 0
    application: str = ""
    application_data: str = ""
    context: str = ""
    exten: str = ""
    bridge_id: str = ""
    caller_id_num: str = ""
    duration: str = ""


class StatusListed(Event, frozen=True, kw_only=True):
    """A live channel with the variables that were asked for, of Status: each cut at 511 characters."""

    channel: ChannelName
    uniqueid: UniqueId
    channel_state: int = 0
    bridge_id: str = ""
    variable: str | list[str] = ""

    @property
    def variables(self) -> dict[str, str]:
        """Name -> value; empty where the channel has none of that name."""
        given = self.variable if isinstance(self.variable, list) else [self.variable]
        pairs = (text.partition("=") for text in given)
        return {name: value for name, separator, value in pairs if separator}


_TYPES: dict[str, type[Event]] = {
    "newchannel": NewChannel,
    "asyncagistart": AgiStarted,
    "asyncagiexec": AgiResultArrived,
    "asyncagiend": AgiEnded,
    "dtmfend": KeyPressed,
    "originateresponse": OriginateEnded,
    "bridgeenter": BridgeEntered,
    "bridgeleave": BridgeLeft,
    "hangup": HungUp,
    "fullybooted": FullyBooted,
    "shutdown": ShutDown,
    "softhanguprequest": SoftHangupRequested,
    "devicestatechange": DeviceChanged,
}

READ = frozenset(_TYPES)
"""Names, in lower case, of the events that become values; others are rows of lists, or nobody's business."""

ROWS_TOO = frozenset({"devicestatechange"})
"""Of those the ones that may also be rows of a list, which their ActionID tells then."""

_FIELDS = {
    kind: re.compile(
        rf"\r\n({'|'.join(kind.__struct_encode_fields__)}): ([^\r]*)".encode(), re.IGNORECASE
    )
    for kind in _TYPES.values()
    if kind.__struct_encode_fields__
}
_LINE = b"\r\n"


def name_of(raw: bytes) -> str:
    """An event's name in lower case; `raw` begins with `Event: ` and is as it came from the wire."""
    first, _, _ = raw.partition(_LINE)
    return first[len(EVENT) :].decode("ascii", "replace").lower()


def ends_list(raw: bytes) -> bool:
    """Whether an event closes a list."""
    return name_of(raw).endswith("complete")


def value_of(raw: bytes, header: bytes) -> bytes:
    """One header of a message; `header` in lower case; empty when it is not there, or in the first line."""
    at = raw.lower().find(_LINE + header + b": ")
    if at < 0:
        return b""
    at += len(_LINE + header + b": ")
    end = raw.find(_LINE, at)
    return raw[at:] if end < 0 else raw[at:end]


def parse(raw: bytes) -> Event | None:
    """The typed event, or None for one that is not ours. Raises msgspec.ValidationError for a malformed one.

    Only the headers that the type knows are looked for: most events have four times as many.
    """
    kind = _TYPES.get(name_of(raw))
    if kind is None:
        return None
    fields = _FIELDS.get(kind)
    headers = {
        name.decode().lower(): value.decode("utf-8", "replace")
        for name, value in (fields.findall(raw) if fields else ())
    }
    if kind is AgiResultArrived and "result" in headers:
        headers["result"] = unquote(headers["result"]).strip()
    return msgspec.convert(headers, kind, strict=False)
