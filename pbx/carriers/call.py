"""What every carrier has of its call: the state, Asterisk, the outside, the lanes, the way back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from pbx.ami import agi
from pbx.ami.actions import Action
from pbx.ami.client import Client
from pbx.ami.values import ChannelName, UniqueId
from pbx.errors import ChannelGoneError, PbxError, RefusedError
from pbx.lane import Lane, Lanes
from pbx.legs import Channels
from pbx.machine.events import Event, Gone, HangUpCall, LegGone
from pbx.machine.plans import LegId
from pbx.machine.state import CallState
from pbx.ports import Outside

log = structlog.get_logger(__name__)

ACTION_S = 5.0
"""An action that Asterisk has not answered by then has an unknown outcome."""

# Any: each carrier pairs its handlers with the commands that their signatures name.
Handlers = Mapping[type[object], Callable[[Any], Awaitable[None]]]


class Call:
    """One call, as its carriers see it. `post` puts an event into its inbox; `is_gone` tells whether one
    that waits there says that a leg is gone."""

    def __init__(
        self,
        state: CallState,
        *,
        client: Client,
        channels: Channels,
        outside: Outside,
        post: Callable[[Event], object],
        is_gone: Callable[[LegId], bool] = lambda _: False,
    ) -> None:
        self.state = state
        self.client = client
        self.channels = channels
        self.outside = outside
        self.post = post
        self.is_gone = is_gone
        # A channel that takes no more commands carries no call: it ends, on record.
        self.lanes = Lanes(on_full=lambda: post(HangUpCall()))

    @property
    def channel(self) -> UniqueId:
        """The caller's channel."""
        return UniqueId(self.state.channel)

    @property
    def is_bridged(self) -> bool:
        """Whether the caller is in a bridge."""
        channel = self.channels.find(self.state.channel)
        return channel is not None and bool(channel.bridge)

    def lane_of(self, leg: LegId) -> Lane:
        return self.lanes.caller if leg == self.state.channel else self.lanes.leg(leg)

    def name_of(self, leg: LegId) -> ChannelName | None:
        """The full channel name, which some commands need; None: the channel is gone."""
        channel = self.channels.find(leg)
        return channel.name if channel is not None else None

    def name_to_join(self, leg: LegId) -> ChannelName | None:
        """As `name_of`; None also for a leg that is hanging up."""
        channel = self.channels.find(leg)
        return channel.name if channel is not None and not channel.has_left else None

    async def send(self, action: Action, limit_s: float = ACTION_S) -> None:
        """Send an action. Raises as `Client.send`."""
        await self.client.send(action, self.in_s(limit_s))

    def tell(self, leg: LegId, command: agi.AgiCommand) -> None:
        """Have a command run on a leg ahead of whatever is sent to it next, and do not wait for it.

        For what takes no time, and of which nothing depends on how it ended. Raises as `Client.tell_agi`.
        """

        def failed(error: Exception) -> None:
            if isinstance(error, RefusedError) and self._has_refused_as_gone(leg, error):
                error = ChannelGoneError()
            if isinstance(error, PbxError):
                log.info("command_failed", code=error.code)

        self.client.tell_agi(UniqueId(leg), command, self.in_s(ACTION_S), failed)

    async def agi(
        self, leg: LegId, command: agi.AgiCommand, limit_s: float = ACTION_S
    ) -> agi.AgiResult:
        """Run a command on a leg. Raises as `Client.agi`; a leg that does not exist is reported gone."""
        try:
            return await self.client.agi(UniqueId(leg), command, self.in_s(limit_s))
        except RefusedError as error:
            if not self._has_refused_as_gone(leg, error):
                raise
            raise ChannelGoneError from error

    def _has_refused_as_gone(self, leg: LegId, error: RefusedError) -> bool:
        """Whether a leg that refused is no more; then it is reported gone."""
        is_gone = "does not exist" in error.reason.lower()
        if is_gone:
            # Its hang-up was missed, or is on its way: hearing of it twice does no harm.
            self.post(LegGone(leg=leg, why=Gone.LOST))
        return is_gone

    def in_s(self, seconds: float) -> float:
        """A deadline so many seconds from now."""
        return asyncio.get_running_loop().time() + seconds
