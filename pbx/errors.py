"""The base of every failure on the PBX: a stable code, and whether repeating is safe.

Same style as `router/errors.py`, which this package may not import. No message holds a number, a name or a digit.
"""

from typing import ClassVar


class PbxError(Exception):
    """An unexpected failure on the PBX."""

    code: ClassVar[str] = "pbx"
    safe_to_repeat: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class UnsafeValueError(PbxError):
    """A value cannot be handed to Asterisk without changing its meaning; nothing was sent."""

    code = "unsafe_value"
    safe_to_repeat = True


class AmiDownError(PbxError):
    """There is no connection to Asterisk; nothing was sent."""

    code = "ami_down"
    safe_to_repeat = True


class AmiBusyError(PbxError):
    """Too much is under way, or the deadline has passed already; nothing was sent."""

    code = "ami_busy"
    safe_to_repeat = True


class LoginRefusedError(PbxError):
    """Asterisk refused user name or secret."""

    code = "ami_login_refused"


class RefusedError(PbxError):
    """Asterisk refused the action; nothing was changed.

    `reason` is Asterisk's own sentence; it may name a channel and stays out of the message.
    """

    code = "ami_refused"
    safe_to_repeat = True

    def __init__(self, message: str | None = None, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class ChannelGoneError(PbxError):
    """The channel hung up before the command ended."""

    code = "channel_gone"
    safe_to_repeat = True


class AgiRefusedError(PbxError):
    """Asterisk did not understand the AGI command, or the channel is dead. `status` is the AGI code."""

    code = "agi_refused"
    safe_to_repeat = True

    def __init__(self, message: str | None = None, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class OutcomeUnknownError(PbxError):
    """No answer in time, or the connection broke: it may have happened.

    `command_id` is the one of an AGI command: its result may still arrive as an `AgiResultArrived` event.
    """

    code = "outcome_unknown"

    def __init__(self, message: str | None = None, *, command_id: str | None = None) -> None:
        super().__init__(message)
        self.command_id = command_id
