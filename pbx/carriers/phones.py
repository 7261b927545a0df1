"""Phones: ring them, stop ringing them, hang up."""

import contextlib

from pbx.ami.actions import Hangup, Originate
from pbx.ami.values import UniqueId
from pbx.carriers.call import Call, Handlers
from pbx.errors import (
    AmiBusyError,
    AmiDownError,
    ChannelGoneError,
    OutcomeUnknownError,
    PbxError,
    RefusedError,
)
from pbx.machine.commands import Cancel, HangUp, Ring
from pbx.machine.events import Gone, LegGone
from pbx.machine.plans import LegId

CANCELLED_ELSEWHERE = 26
"""Q.850 "non-selected user clearing": a phone shows no missed call."""


class PhoneCarrier:
    """Legs that come and go."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.handlers: Handlers = {
            Cancel: self._cancel,
            HangUp: self._hang_up,
            Ring: self._ring,
        }

    async def _ring(self, command: Ring) -> None:
        action = Originate(
            channel=command.endpoint,
            channel_id=UniqueId(command.leg),
            timeout_ms=command.ring_s * 1000,
            caller_number=command.caller_id or "",
        )
        try:
            await self._call.send(action)
        except (AmiDownError, AmiBusyError, OutcomeUnknownError):
            # Not sent, or perhaps sent: the channel id tells when the connection is back.
            raise
        except PbxError:
            self._call.post(LegGone(leg=command.leg, why=Gone.UNREACHABLE))

    async def _cancel(self, command: Cancel) -> None:
        await self._end(command.leg, CANCELLED_ELSEWHERE)

    async def _hang_up(self, command: HangUp) -> None:
        await self._end(command.leg or self._call.state.channel, command.cause)

    async def _end(self, leg: LegId, cause: int) -> None:
        with contextlib.suppress(ChannelGoneError, RefusedError):  # refused: it is gone already
            await self._call.send(Hangup(channel=UniqueId(leg), cause=cause))
