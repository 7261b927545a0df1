"""Who hears whom: join, take apart, confer, listen in."""

import asyncio
import contextlib

import structlog

from pbx.ami import agi
from pbx.ami.actions import PlayDtmf, Redirect, redirect_both
from pbx.ami.client import LinkState
from pbx.ami.values import UniqueId
from pbx.carriers.call import Call, Handlers
from pbx.errors import (
    AgiRefusedError,
    AmiBusyError,
    OutcomeUnknownError,
    PbxError,
    RefusedError,
)
from pbx.machine.commands import (
    Bridge,
    BridgeLegs,
    Confer,
    EnterConference,
    LeaveConference,
    Split,
    Spy,
)
from pbx.machine.events import BridgeOver, SplitDone, SplitFailed
from pbx.machine.plans import LegId

log = structlog.get_logger(__name__)

LONGEST_TALK_S = 24 * 3600.0
SPLIT_S = 3.0
LEG_GOES_S = 0.25
"""After a bridge the leg of who has left it is gone within a few milliseconds."""
LOOK_S = 0.005
JOIN_S = 1.0
"""A join takes a few milliseconds, up to a tenth of a second where no media flows yet."""
CONFERENCE = "crosspoint-conference"
_SPY_MODES = {"listen": "", "whisper": "w", "barge": "B"}
_SPY_KEYS = {"listen": "4", "whisper": "5", "barge": "6"}


class BridgeCarrier:
    """Bridges of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._bridges = 0
        self._under_way = 0
        self._split: tuple[set[LegId], asyncio.TimerHandle] | None = None
        self._is_given_up = False
        """A split of the caller's that Asterisk has taken too long for, and may carry out yet."""
        known = call.state.supervision
        # Of a call that was taken over: another ChanSpy would wait for the end of the one that runs.
        self._spying = {known.leg.id} if known is not None and known.leg.is_up else set[LegId]()
        self._entering: set[LegId] = set()
        self.handlers: Handlers = {
            Bridge: self._bridge,
            BridgeLegs: self._bridge_legs,
            Confer: self._confer,
            EnterConference: self._enter,
            LeaveConference: self._leave,
            Split: self._take_apart,
            Spy: self._spy,
        }

    def leg_ours(self, leg: LegId) -> bool:
        """A channel is ours to command. True: it was awaited as part of a split."""
        if self._split is None or leg not in self._split[0]:
            self._came_late(leg)
            return False
        waiting, timer = self._split
        waiting.discard(leg)
        if not waiting:
            timer.cancel()
            self._split = None
            self._call.post(SplitDone())
        return True

    def _came_late(self, leg: LegId) -> None:
        """The caller is with us after all: whom they are thought to be with does not hear them."""
        if self._is_given_up and leg == self._call.state.channel:
            self._is_given_up = False
            self._call.post(SplitDone())

    def close(self) -> None:
        """Nothing of it is left running."""
        if self._split is not None:
            self._split[1].cancel()
            self._split = None

    async def _bridge(self, command: Bridge) -> None:
        call = self._call
        self._bridges += 1
        this = self._bridges

        async def work() -> None:
            if this != self._bridges:
                return  # it waited too long: the other party has changed meanwhile
            if command.returns:
                await self._until_ours(command.leg)
            name = call.name_to_join(command.leg)
            if name is not None:
                self._under_way += 1
                try:
                    await call.agi(call.state.channel, agi.bridge(name), LONGEST_TALK_S)
                except (AgiRefusedError, AmiBusyError, OutcomeUnknownError) as error:
                    if call.client.state is not LinkState.READY:
                        raise  # whether they are joined is seen when Asterisk is back
                    log.info("bridge_broke_off", code=error.code)
                finally:
                    self._under_way -= 1
            if this == self._bridges:
                # How the other leg went says more than that the bridge is over: it is told first.
                await call.channels.until_gone(command.leg, LEG_GOES_S)
            # The end of a bridge that was taken apart is no news, and may come late.
            if this == self._bridges:
                call.post(BridgeOver())

        call.lanes.caller.add(work)

    async def _bridge_legs(self, command: BridgeLegs) -> None:
        call = self._call

        async def work() -> None:
            name = call.name_to_join(command.other)
            if name is not None:
                bridge = agi.bridge(name, keeps_other=True)
                await call.agi(command.one, bridge, LONGEST_TALK_S)

        call.lane_of(command.one).add(work)

    async def _until_ours(self, leg: LegId) -> None:
        """Wait for a leg whose bridge has just ended: it runs commands as soon as it is back with us."""
        with contextlib.suppress(
            PbxError
        ):  # gone, or for longer than that elsewhere: the join tells
            await self._call.agi(leg, agi.noop(), JOIN_S)

    async def _until_joined(self) -> None:
        """Wait for a join that is under way: Asterisk would carry it out after the split, and undo that."""
        call = self._call
        until = call.in_s(JOIN_S)
        while self._under_way and not call.is_bridged and call.in_s(0) < until:  # noqa: ASYNC110 - a look or two
            await asyncio.sleep(LOOK_S)

    async def _take_apart(self, command: Split) -> None:
        await self._until_joined()
        both = redirect_both(UniqueId(command.one), UniqueId(command.other))
        await self._redirect({command.one, command.other}, both)

    async def _redirect(self, awaited: set[LegId], action: Redirect) -> None:
        """Take legs back to us, and wait for them."""
        self.close()
        self._is_given_up = False
        self._bridges += 1
        has_caller = self._call.state.channel in awaited
        timer = asyncio.get_running_loop().call_later(SPLIT_S, self._give_up, has_caller)
        self._split = (awaited, timer)
        try:
            await self._call.send(action)
        except RefusedError:
            # One is gone. The other one may be left alone in a conference, where it hears no command.
            self._split_failed()
            if self._call.is_bridged:
                await self._call.send(Redirect(channel=self._call.channel))
        except PbxError:
            self._split_failed()
            raise

    def _give_up(self, has_caller: bool) -> None:  # noqa: FBT001 - a timer's
        if self._split is None:
            return
        is_caller_here = has_caller and self._call.state.channel not in self._split[0]
        self._split_failed()
        self._is_given_up = has_caller
        if is_caller_here:
            self._came_late(self._call.state.channel)

    def _split_failed(self) -> None:
        if self._split is not None:
            self.close()
            self._call.post(SplitFailed())

    async def _confer(self, command: Confer) -> None:
        """All into one room; the two that talk move together, or the one left over is hung up."""
        await self._until_joined()
        room = self._call.state.id
        self._bridges += 1
        first, *others = command.legs
        together = Redirect(
            channel=self._call.channel,
            context=CONFERENCE,
            exten=room,
            extra_channel=UniqueId(first),
            extra_context=CONFERENCE,
            extra_exten=room,
            extra_priority=1,
        )
        await self._call.send(together)
        for leg in others:
            await self._call.send(Redirect(channel=UniqueId(leg), context=CONFERENCE, exten=room))

    async def _enter(self, command: EnterConference) -> None:
        call, leg = self._call, command.leg
        self._entering.add(leg)

        async def work() -> None:
            is_caller = leg == call.state.channel
            if is_caller:
                await self._until_ours(leg)  # the music is off then
            if leg not in self._entering:
                return  # it is to leave again
            self._entering.discard(leg)
            self._under_way += is_caller
            try:
                to = Redirect(channel=UniqueId(leg), context=CONFERENCE, exten=call.state.id)
                await call.send(to)
                if is_caller:
                    await self._until_joined()  # a leave that comes meanwhile waits as well
            finally:
                self._under_way -= is_caller

        call.lane_of(leg).add(work)

    async def _leave(self, command: LeaveConference) -> None:
        """One leaves the room, or was about to enter it. Who leaves already is waited for as well."""
        if command.leg in self._entering:  # still here
            self._entering.discard(command.leg)
            if self._split is None:
                self._call.post(SplitDone())
            return
        await self._until_joined()
        awaited = set() if self._split is None else self._split[0]
        await self._redirect(awaited | {command.leg}, Redirect(channel=UniqueId(command.leg)))

    async def _spy(self, command: Spy) -> None:
        call = self._call
        if command.leg in self._spying:
            key = _SPY_KEYS[command.mode]
            await call.send(PlayDtmf(channel=UniqueId(command.leg), digit=key, receive=True))
            return
        self._spying.add(command.leg)

        async def work() -> None:
            name = call.name_of(command.on)
            if name is not None:
                spy = agi.spy(name, mode=_SPY_MODES[command.mode])
                await call.agi(command.leg, spy, LONGEST_TALK_S)

        call.lane_of(command.leg).add(work)
