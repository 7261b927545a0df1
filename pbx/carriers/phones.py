"""Phones: ring them, stop ringing them, hang up."""

import asyncio
import contextlib

import structlog

from pbx.ami import values
from pbx.ami.actions import Hangup, Originate
from pbx.ami.client import LinkState
from pbx.ami.values import UniqueId
from pbx.carriers.call import ACTION_S, Call, Handlers
from pbx.errors import (
    AmiDownError,
    OutcomeUnknownError,
    PbxError,
    RefusedError,
)
from pbx.machine.commands import Cancel, HangUp, Ring
from pbx.machine.events import Gone, LegGone
from pbx.machine.plans import LegId

log = structlog.get_logger(__name__)

APPEARS_S = 5.0
"""A channel appears as soon as Asterisk has read the Originate; later than that it never does."""
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
            caller_number=values.shown_number(command.caller_id),
        )

        def failed(error: Exception) -> None:
            if isinstance(error, OutcomeUnknownError):
                log.info("command_dropped", command=type(command).__name__, code=error.code)
                # Perhaps on a connection that goes on, where nobody would ever look.
                loop = asyncio.get_running_loop()
                loop.call_later(APPEARS_S, self._look_for, command.leg)
            else:
                self._call.post(LegGone(leg=command.leg, why=Gone.UNREACHABLE))

        try:
            self._call.client.tell(action, self._call.in_s(ACTION_S), failed)
        except AmiDownError:
            raise  # whether it was sent is told by the channels that there are when it is back
        except PbxError as error:
            failed(error)

    def _look_for(self, leg: LegId) -> None:
        """A phone that was perhaps rung and has no channel by now is not rung. While Asterisk is away
        nobody knows: what there is then is told when it is back."""
        is_known = self._call.client.state is LinkState.READY
        if is_known and self._call.name_of(leg) is None:
            self._call.post(LegGone(leg=leg, why=Gone.LOST))

    async def _cancel(self, command: Cancel) -> None:
        await self._end(command.leg, CANCELLED_ELSEWHERE)

    async def _hang_up(self, command: HangUp) -> None:
        await self._end(command.leg or self._call.state.channel, command.cause)

    async def _end(self, leg: LegId, cause: int) -> None:
        if self._call.is_gone(leg):
            return  # both ends of a talk go in one moment: the other one was heard of as well
        hang_up = Hangup(channel=UniqueId(leg), cause=cause)
        try:
            await self._call.send(hang_up)
        except RefusedError:
            # It is gone; or is only just rung: Asterisk says yes to that before there is a channel.
            if self._call.name_of(leg) is None:
                self._call.channels.end_when_seen(UniqueId(leg), cause)
                return
            with contextlib.suppress(RefusedError):
                await self._call.send(hang_up)
