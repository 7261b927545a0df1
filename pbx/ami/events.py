"""What Asterisk reports, as frozen values; whatever is not named here is dropped before it is parsed.

Header names are compared without case (`CommandId` here, `CommandID` there). A channel is known by its unique
id: names start again from zero with Asterisk.
"""

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from pbx.ami.agi import KICK_DIGIT
from pbx.ami.values import ChannelName, CommandId, UniqueId

# Lower-case header -> value, or values where a header was repeated.
Headers = Mapping[str, str | list[str]]


def _header(field: str) -> str:
    return field.replace("_", "")


class Event(msgspec.Struct, frozen=True, kw_only=True, rename=_header):
    """Anything Asterisk reports."""


class ChannelEvent(Event, frozen=True, kw_only=True):
    """Something happened to a channel. `linkedid`: the unique id of the first leg of the call it belongs to."""

    channel: ChannelName
    uniqueid: UniqueId
    linkedid: UniqueId = UniqueId("")


class NewChannel(ChannelEvent, frozen=True, kw_only=True):
    """A channel exists. `channel_state`: 0 down, 4 ring, 5 ringing, 6 up."""

    channel_state: int = 0
    caller_id_num: str = ""
    caller_id_name: str = ""
    context: str = ""
    exten: str = ""


class NewState(ChannelEvent, frozen=True, kw_only=True):
    """A channel rings (5), is up (6), ..."""

    channel_state: int


class AgiStarted(ChannelEvent, frozen=True, kw_only=True):
    """A channel is ours: async AGI waits for commands. `env`: the AGI environment, decoded."""

    channel_state: int = 0
    caller_id_num: str = ""
    caller_id_name: str = ""
    context: str = ""
    exten: str = ""
    env: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """`agi_callerid` -> number, ..."""
        lines = (line.partition(": ") for line in unquote(self.env).splitlines())
        return {name: value for name, separator, value in lines if separator}


class AgiResultArrived(ChannelEvent, frozen=True, kw_only=True):
    """The result of a command that nobody here waits for any more: of an earlier connection or controller."""

    command_id: CommandId = CommandId("")
    result: str = ""


class AgiEnded(ChannelEvent, frozen=True, kw_only=True):
    """Async AGI ended: redirected, hung up, or a command failed (then it starts again at once)."""


class KeyPressed(ChannelEvent, frozen=True, kw_only=True):
    """A key was released on the phone (`direction` Received) or by us (Sent)."""

    digit: str
    duration_ms: int = 0
    direction: str = "Received"


class DialBegun(Event, frozen=True, kw_only=True):
    """A phone is being called."""

    dest_channel: ChannelName
    dest_uniqueid: UniqueId
    dial_string: str = ""


class DialEnded(Event, frozen=True, kw_only=True):
    """Calling a phone ended: ANSWER, BUSY, NOANSWER, CONGESTION, CANCEL, CHANUNAVAIL. Not sent on a time-out."""

    dest_channel: ChannelName
    dest_uniqueid: UniqueId
    dial_status: str = ""


class OriginateEnded(Event, frozen=True, kw_only=True):
    """An Originate answered or not. Reason 4: answered, 3: time-out, 0: see the Hangup event.

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
    bridge_type: str = ""
    bridge_num_channels: int = 0


class BridgeLeft(ChannelEvent, frozen=True, kw_only=True):
    """A channel left a bridge."""

    bridge_uniqueid: str
    bridge_num_channels: int = 0


class HungUp(ChannelEvent, frozen=True, kw_only=True):
    """A channel is gone. `cause`: Q.850; `tech_cause`: the SIP status where there was one (Asterisk 22)."""

    cause: int = 0
    cause_txt: str = msgspec.field(default="", name="cause-txt")
    tech_cause: str = ""


class HangupRequested(ChannelEvent, frozen=True, kw_only=True):
    """A channel will be gone in a moment."""

    cause: int = 0


class Held(ChannelEvent, frozen=True, kw_only=True):
    """The phone put the talk on hold."""


class Resumed(ChannelEvent, frozen=True, kw_only=True):
    """The phone took the talk back from hold."""


class RecordingStarted(ChannelEvent, frozen=True, kw_only=True):
    """A recording began; which file is not said."""


class RecordingStopped(ChannelEvent, frozen=True, kw_only=True):
    """A recording was stopped; not sent when the channel hangs up."""


class RecordingMuted(ChannelEvent, frozen=True, kw_only=True):
    """A recording was paused (`state` 1) or resumed (0)."""

    direction: str = ""
    state: int = 0


class DeviceStateChanged(Event, frozen=True, kw_only=True):
    """A phone: NOT_INUSE, INUSE, BUSY, RINGING, RINGINUSE, ONHOLD, UNAVAILABLE, INVALID, UNKNOWN."""

    device: str
    state: str


class ConferenceJoined(ChannelEvent, frozen=True, kw_only=True):
    """A channel entered a conference."""

    conference: str = ""


class ConferenceLeft(ChannelEvent, frozen=True, kw_only=True):
    """A channel left a conference."""

    conference: str = ""


class FullyBooted(Event, frozen=True, kw_only=True):
    """Asterisk is ready; also sent after every login. `uptime` in seconds: less than before means restarted."""

    uptime: int = 0
    last_reload: int = 0


class ShutDown(Event, frozen=True, kw_only=True):
    """Asterisk is stopping; all calls have ended."""

    restart: str = ""


class ChannelListed(Event, frozen=True, kw_only=True):
    """A live channel, of CoreShowChannels. `application` is the last one executed, perhaps over already."""

    channel: ChannelName
    uniqueid: UniqueId
    linkedid: UniqueId = UniqueId("")
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
    linkedid: UniqueId = UniqueId("")
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
    "newstate": NewState,
    "asyncagistart": AgiStarted,
    "asyncagiexec": AgiResultArrived,
    "asyncagiend": AgiEnded,
    "dtmfend": KeyPressed,
    "dialbegin": DialBegun,
    "dialend": DialEnded,
    "originateresponse": OriginateEnded,
    "bridgeenter": BridgeEntered,
    "bridgeleave": BridgeLeft,
    "hangup": HungUp,
    "hanguprequest": HangupRequested,
    "hold": Held,
    "unhold": Resumed,
    "mixmonitorstart": RecordingStarted,
    "mixmonitorstop": RecordingStopped,
    "mixmonitormute": RecordingMuted,
    "devicestatechange": DeviceStateChanged,
    "confbridgejoin": ConferenceJoined,
    "confbridgeleave": ConferenceLeft,
    "fullybooted": FullyBooted,
    "shutdown": ShutDown,
}

# Rows of lists, and what closes a list; they carry the ActionID of the question.
_ROWS = {"coreshowchannel", "status"}
NAMES = frozenset(_TYPES) | _ROWS


def is_wanted(name: str) -> bool:
    """Whether an event of that name is worth parsing."""
    lowered = name.lower()
    return lowered in NAMES or lowered.endswith("complete")


def parse(headers: Headers) -> Event | None:
    """The typed event, or None for one that is not ours. Raises msgspec.ValidationError for a malformed one."""
    kind = _TYPES.get(str(headers.get("event", "")).lower())
    if kind is None:
        return None
    event = msgspec.convert(headers, kind, strict=False)
    if isinstance(event, KeyPressed) and event.digit == KICK_DIGIT:
        return None  # ours, to wake async AGI
    return event
