"""One call being carried out: events in by an inbox, the state table decides, commands go to Asterisk.

How it works: one task takes events from the inbox, moves the state, writes it down, and hands the
commands out. What takes long (a prompt, a bridge, a question to the store) runs in a lane: one lane
per channel, since Asterisk runs the commands of a channel in order, and one for the store. What
comes of it is an event again. A command that finds Asterisk away is dropped: when it is back, the
state is compared with the live channels and what is missing is asked for anew.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Any, ClassVar

import structlog

from ivr.prompts import Prompt
from ivr.steps import (
    AskStanding,
    CancelTimer,
    Checked,
    CheckNumber,
    CheckPin,
    Music,
    Play,
    Played,
    Record,
    Recorded,
    SetTimer,
    StopPlay,
    TimedOut,
    Timer,
)
from pbx.ami import agi
from pbx.ami.actions import (
    ControlPlayback,
    Hangup,
    MixMonitorMute,
    Originate,
    Playback,
    PlayDtmf,
    Redirect,
    StopMixMonitor,
    redirect_both,
)
from pbx.ami.client import Client
from pbx.ami.values import ChannelName, UniqueId
from pbx.errors import AmiBusyError, AmiDownError, ChannelGoneError, OutcomeUnknownError, PbxError
from pbx.lane import Lane
from pbx.legs import Channels
from pbx.machine.commands import (
    Answer,
    AskRules,
    Bridge,
    BridgeLegs,
    Cancel,
    Command,
    Confer,
    ConfirmAgent,
    HangUp,
    KeepMessage,
    LeaveLine,
    MakePlan,
    Note,
    NoteUnanswered,
    Over,
    PromiseCallback,
    ReleaseAgent,
    Ring,
    Ringback,
    Say,
    SetRecording,
    Split,
    Spy,
    StandInLine,
    WrapUp,
)
from pbx.machine.events import (
    Answered,
    BridgeOver,
    CallbackPromised,
    Confirmed,
    Event,
    Gone,
    LegGone,
    LegPlayed,
    Planned,
    RecordingFailed,
    SplitDone,
    SplitFailed,
)
from pbx.machine.plans import LegId, QueuePlan
from pbx.machine.state import CallState, Kind, Phase, find_leg
from pbx.machine.table import on
from pbx.ports import Outside, RecordingStarted

log = structlog.get_logger(__name__)

MOST_EVENTS = 256
"""Events one call may have waiting; keys beyond that are dropped, everything else ends the call."""
ACTION_S = 5.0
"""An action that Asterisk has not answered by then has an unknown outcome."""
ANSWER_S = 10.0
LONGEST_PROMPT_S = 300.0
LONGEST_TALK_S = 24 * 3600.0
SPLIT_S = 3.0
CANCELLED_ELSEWHERE = 26
"""Q.850 "non-selected user clearing": a phone shows no missed call."""
_SPY_MODES = {"listen": "", "whisper": "w", "barge": "B"}
_SPY_KEYS = {"listen": "4", "whisper": "5", "barge": "6"}


class Session:
    """One call. `run` is its task; `post` is how anything reaches it."""

    def __init__(
        self, state: CallState, *, client: Client, channels: Channels, outside: Outside
    ) -> None:
        self.state = state
        self._client = client
        self._channels = channels
        self._outside = outside
        self._inbox: asyncio.Queue[Event] = asyncio.Queue(MOST_EVENTS)
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._lanes: dict[str, Lane] = {}
        self._lane_tasks: set[asyncio.Task[None]] = set()
        self._recording: RecordingStarted | None = None
        self._message: RecordingStarted | None = None
        self._split: tuple[set[str], asyncio.TimerHandle] | None = None
        self._spying: set[LegId] = set()
        self._cause = 16
        self.on_moved: Callable[[Session], None] = lambda _: None

    # --- from outside -----------------------------------------------------------------------------

    def post(self, event: Event) -> bool:
        """Put an event into the inbox; False when it is full."""
        if self._inbox.full():
            log.warning("inbox_full", event=type(event).__name__)
            return False
        self._inbox.put_nowait(event)
        return True

    def leg_ours(self, leg: LegId) -> bool:
        """A channel of this call is ours to command. True: it was awaited as part of a split."""
        if self._split is None or leg not in self._split[0]:
            return False
        waiting, timer = self._split
        waiting.discard(leg)
        if not waiting:
            timer.cancel()
            self._split = None
            self.post(SplitDone())
        return True

    def knows_as_up(self, leg: LegId) -> bool:
        """Whether the state knows already that this leg has answered."""
        if leg == self.state.channel:
            return self.state.is_up or self.state.kind is Kind.INBOUND
        known = find_leg(self.state, leg)
        return known is not None and known.is_up

    def wake(self) -> None:
        """An agent may be free for this call: ask again, if it still waits."""
        plan = self.state.queue
        if self.state.in_line and not self.state.offers and plan is not None:
            self._stand_again(plan)

    async def run(self) -> None:
        """Live through the call; returns when it has ended, with nothing of it left running."""
        try:
            while self.state.phase is not Phase.ENDED:
                event = await self._inbox.get()
                if isinstance(event, LegGone) and event.leg == self.state.channel:
                    self._cause = event.cause
                self.state, commands = on(self.state, event)
                self.on_moved(self)
                await self._outside.journal.save(self.state)
                for command in commands:
                    await self._carry_out(command)
            await self._store_lane_empty()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for task in self._lane_tasks:
                task.cancel()
            await asyncio.gather(*self._lane_tasks, return_exceptions=True)

    # --- lanes ------------------------------------------------------------------------------------

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name.partition(":")[0])
            self._lane_tasks.add(asyncio.create_task(lane.run()))
        return lane

    @property
    def _mine(self) -> Lane:
        """The caller's channel."""
        return self._lane("caller")

    def _leg_lane(self, leg: LegId) -> Lane:
        return self._lane(f"leg:{leg}")

    def _store(self, work: Callable[[], Awaitable[None]]) -> None:
        self._lane("store").add(work)

    async def _store_lane_empty(self) -> None:
        """Wait until the store has heard everything, at most so long."""
        done = asyncio.Event()

        async def last() -> None:
            done.set()

        self._store(last)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await done.wait()

    def _in(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds

    # --- commands ---------------------------------------------------------------------------------

    async def _carry_out(self, command: Command) -> None:
        handle = self._HANDLERS[type(command)]
        try:
            await handle(self, command)
        except (AmiDownError, AmiBusyError, OutcomeUnknownError) as error:
            # Whatever is missing is found when the connection is back: see `Recovered`.
            log.info("command_dropped", command=type(command).__name__, code=error.code)
        except PbxError as error:
            log.warning("command_refused", command=type(command).__name__, code=error.code)

    async def _answer(self, _: Answer) -> None:
        async def work() -> None:
            # TIMEOUT(absolute): the dialplan's safety net for a controller that never came.
            forever = agi.set_variable("TIMEOUT(absolute)", "0")
            await self._client.agi(self._channel_id, forever, self._in(ACTION_S))
            await self._client.agi(self._channel_id, agi.answer(), self._in(ANSWER_S))
            self.post(Answered())

        self._mine.add(work)

    async def _ask_rules(self, _: AskRules) -> None:
        async def work() -> None:
            self.post(await self._outside.deciding.decide(self.state))

        self._store(work)

    async def _make_plan(self, command: MakePlan) -> None:
        async def work() -> None:
            plan = await self._outside.deciding.plan(self.state, command.action)
            self.post(Planned(plan))

        self._store(work)

    async def _stand_in_line(self, command: StandInLine) -> None:
        self._stand_again(command.plan)

    def _stand_again(self, plan: QueuePlan) -> None:
        async def work() -> None:
            if self.state.in_line:  # it may have left while this work waited its turn
                self.post(await self._outside.queueing.stand_in_line(self.state, plan))

        self._store(work)

    async def _leave_line(self, command: LeaveLine) -> None:
        state = self.state
        self._store(lambda: self._outside.queueing.leave_line(state, keep=command.keep))

    async def _ask_standing(self, _: AskStanding) -> None:
        async def work() -> None:
            standing = await self._outside.queueing.standing(self.state)
            if standing is not None:
                self.post(standing)

        self._store(work)

    async def _confirm(self, command: ConfirmAgent) -> None:
        async def work() -> None:
            queueing = self._outside.queueing
            ok = await queueing.confirm(self.state, command.agent, command.token)
            # Unknown: both are on the line, and the lease keeps others away meanwhile. Go on.
            self.post(Confirmed(agent=command.agent, ok=ok is not False))

        self._store(work)

    async def _unanswered(self, command: NoteUnanswered) -> None:
        state = self.state
        self._store(
            lambda: self._outside.queueing.unanswered(
                state, command.agent, command.token, command.why
            )
        )

    async def _release(self, command: ReleaseAgent) -> None:
        self._store(lambda: self._outside.queueing.release(command.agent, command.token))

    async def _wrap_up(self, command: WrapUp) -> None:
        self._store(lambda: self._outside.queueing.wrap_up(command.agent))

    async def _check_number(self, command: CheckNumber) -> None:
        async def work() -> None:
            ok = await self._outside.promises.may_call_back(self.state, command.digits)
            self.post(Checked(ok))

        self._store(work)

    async def _check_pin(self, command: CheckPin) -> None:
        async def work() -> None:
            self.post(Checked(await self._outside.promises.check_pin(command.agent, command.pin)))

        self._store(work)

    async def _promise(self, command: PromiseCallback) -> None:
        async def work() -> None:
            promises = self._outside.promises
            ok = await promises.promise_callback(self.state, command.queue, command.number)
            self.post(CallbackPromised(ok=ok))

        self._store(work)

    async def _keep_message(self, command: KeepMessage) -> None:
        started, state = self._message, self.state
        if started is None:
            return
        file = started.folder / f"{started.name}.wav"
        self._store(lambda: self._outside.promises.keep_message(state, command.mailbox, file))

    # --- phones -----------------------------------------------------------------------------------

    async def _ring(self, command: Ring) -> None:
        action = Originate(
            channel=command.endpoint,
            channel_id=UniqueId(command.leg),
            timeout_ms=command.ring_s * 1000,
            caller_number=command.caller_id or "",
        )
        try:
            await self._client.send(action, self._in(ACTION_S))
        except (AmiDownError, AmiBusyError, OutcomeUnknownError):
            # Not sent, or perhaps sent: the channel id tells when the connection is back.
            raise
        except PbxError:
            self.post(LegGone(leg=command.leg, why=Gone.UNREACHABLE))

    async def _cancel(self, command: Cancel) -> None:
        await self._hang_up_channel(command.leg, CANCELLED_ELSEWHERE)

    async def _hang_up(self, command: HangUp) -> None:
        await self._hang_up_channel(command.leg or self.state.channel, command.cause)

    async def _hang_up_channel(self, leg: LegId, cause: int) -> None:
        with contextlib.suppress(ChannelGoneError):
            action = Hangup(channel=UniqueId(leg), cause=cause)
            await self._client.send(action, self._in(ACTION_S))

    async def _ringback(self, command: Ringback) -> None:
        leg = command.leg or self.state.channel
        lane = self._leg_lane(leg) if command.leg else self._mine
        lane.add(lambda: self._agi(leg, agi.ringing()))

    # --- prompts ----------------------------------------------------------------------------------

    async def _play(self, command: Play) -> None:
        async def work() -> None:
            await self._speak(self.state.channel, command.prompts)
            self.post(Played(command.play))

        self._mine.add(work)

    async def _stop_play(self, _: StopPlay) -> None:
        self._mine.clear()
        action = ControlPlayback(channel=self._channel_id, control=Playback.STOP)
        with contextlib.suppress(PbxError):  # nothing was playing
            await self._client.send(action, self._in(ACTION_S))

    async def _say(self, command: Say) -> None:
        async def work() -> None:
            await self._speak(command.leg, command.prompts)
            self.post(LegPlayed(command.leg))

        self._leg_lane(command.leg).add(work)

    async def _speak(self, leg: LegId, prompts: tuple[Prompt, ...]) -> None:
        """Play what can be played; a prompt that fails is skipped, a leg that hung up ends it."""
        spoken = await self._outside.speech.speak(prompts, self.state.language)
        for sound in spoken.sounds:
            try:
                await self._agi(leg, agi.stream_file(sound), LONGEST_PROMPT_S)
            except (ChannelGoneError, AmiDownError):
                raise
            except PbxError as error:
                log.warning("prompt_failed", code=error.code)

    async def _music(self, command: Music) -> None:
        self._mine.add(lambda: self._agi(self.state.channel, agi.music(on=command.on)))

    async def _record(self, command: Record) -> None:
        started = self._message = self._outside.recordings.begin(self.state)

        async def work() -> None:
            path = started.folder / started.name
            limit_ms = command.longest_s * 1000
            record = agi.record_file(path, limit_ms=limit_ms, silence_s=10)
            began = asyncio.get_running_loop().time()
            result = await self._agi(self.state.channel, record, command.longest_s + ACTION_S)
            lasted = asyncio.get_running_loop().time() - began
            self.post(Recorded(duration_s=lasted, ended_by=result.key))

        self._mine.add(work)

    async def _agi(
        self, leg: LegId, command: agi.AgiCommand, limit_s: float = ACTION_S
    ) -> agi.AgiResult:
        return await self._client.agi(UniqueId(leg), command, self._in(limit_s))

    # --- bridges ----------------------------------------------------------------------------------

    async def _bridge(self, command: Bridge) -> None:
        async def work() -> None:
            name = self._name(command.leg)
            if name is None:
                self.post(BridgeOver())
                return
            await self._agi(self.state.channel, agi.bridge(name), LONGEST_TALK_S)
            self.post(BridgeOver())

        self._mine.add(work)

    async def _bridge_legs(self, command: BridgeLegs) -> None:
        async def work() -> None:
            name = self._name(command.other)
            if name is not None:
                await self._agi(command.one, agi.bridge(name), LONGEST_TALK_S)

        self._leg_lane(command.one).add(work)

    async def _take_apart(self, command: Split) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(SPLIT_S, self._split_failed)
        self._split = ({command.one, command.other}, timer)
        try:
            action = redirect_both(UniqueId(command.one), UniqueId(command.other))
            await self._client.send(action, self._in(ACTION_S))
        except PbxError:
            timer.cancel()
            self._split_failed()
            raise

    def _split_failed(self) -> None:
        self._split = None
        self.post(SplitFailed())

    async def _confer(self, command: Confer) -> None:
        """All into one room; the two that talk move together, or the one left over is hung up."""
        room = self.state.id
        first, *others = command.legs
        together = Redirect(
            channel=self._channel_id,
            context="crosspoint-conference",
            exten=room,
            extra_channel=UniqueId(first),
            extra_context="crosspoint-conference",
            extra_exten=room,
            extra_priority=1,
        )
        await self._client.send(together, self._in(ACTION_S))
        for leg in others:
            move = Redirect(channel=UniqueId(leg), context="crosspoint-conference", exten=room)
            await self._client.send(move, self._in(ACTION_S))

    async def _spy(self, command: Spy) -> None:
        if command.leg in self._spying:
            key = PlayDtmf(
                channel=UniqueId(command.leg), digit=_SPY_KEYS[command.mode], receive=True
            )
            await self._client.send(key, self._in(ACTION_S))
            return
        self._spying.add(command.leg)

        async def work() -> None:
            name = self._name(command.on)
            if name is not None:
                spy = agi.spy(name, mode=_SPY_MODES[command.mode])
                await self._agi(command.leg, spy, LONGEST_TALK_S)

        self._leg_lane(command.leg).add(work)

    # --- recording --------------------------------------------------------------------------------

    async def _set_recording(self, command: SetRecording) -> None:
        match command.to:
            case "on":
                self._begin_recording(stereo=command.stereo)
            case "off":
                name = self._name(self.state.channel)
                if name is not None:
                    await self._client.send(StopMixMonitor(channel=name), self._in(ACTION_S))
                self._finish_recording()
            case "pause" | "resume":
                name = self._name(self.state.channel)
                if name is not None:
                    mute = MixMonitorMute(channel=name, state=int(command.to == "pause"))
                    await self._client.send(mute, self._in(ACTION_S))

    def _begin_recording(self, *, stereo: bool) -> None:
        started = self._recording = self._outside.recordings.begin(self.state)

        async def work() -> None:
            folder = PurePosixPath(started.folder)
            record = agi.mix_monitor(folder, started.name, per_side=stereo)
            await self._agi(self.state.channel, record)

        self._mine.add(work)

    def _finish_recording(self) -> None:
        started, self._recording = self._recording, None
        if started is None:
            return
        state = self.state

        async def work() -> None:
            if not await self._outside.recordings.finish(state, started):
                self._outside.records.note(state, Note(what="recording_failed"))
                self.post(RecordingFailed())

        self._store(work)

    # --- timers, notes, end -------------------------------------------------------------------------

    async def _set_timer(self, command: SetTimer) -> None:
        self._stop_timer(command.timer)
        loop = asyncio.get_running_loop()
        event = TimedOut(command.timer)
        self._timers[command.timer] = loop.call_later(command.after_s, self.post, event)

    async def _cancel_timer(self, command: CancelTimer) -> None:
        self._stop_timer(command.timer)

    def _stop_timer(self, timer: Timer) -> None:
        running = self._timers.pop(timer, None)
        if running is not None:
            running.cancel()

    async def _note(self, command: Note) -> None:
        self._outside.records.note(self.state, command)

    async def _over(self, _: Over) -> None:
        self._finish_recording()
        self._outside.records.close(self.state, cause=self._cause)
        call_id = self.state.id
        self._store(lambda: self._outside.journal.forget(call_id))

    # --- small --------------------------------------------------------------------------------------

    @property
    def _channel_id(self) -> UniqueId:
        return UniqueId(self.state.channel)

    def _name(self, leg: LegId) -> ChannelName | None:
        channel = self._channels.find(leg)
        return channel.name if channel is not None else None

    # Any: the table pairs each handler with the command that its signature names.
    _HANDLERS: ClassVar[dict[type[object], Callable[["Session", Any], Awaitable[None]]]] = {
        Answer: _answer,
        AskRules: _ask_rules,
        AskStanding: _ask_standing,
        Bridge: _bridge,
        BridgeLegs: _bridge_legs,
        Cancel: _cancel,
        CancelTimer: _cancel_timer,
        CheckNumber: _check_number,
        CheckPin: _check_pin,
        Confer: _confer,
        ConfirmAgent: _confirm,
        HangUp: _hang_up,
        KeepMessage: _keep_message,
        LeaveLine: _leave_line,
        MakePlan: _make_plan,
        Music: _music,
        Note: _note,
        NoteUnanswered: _unanswered,
        Over: _over,
        Play: _play,
        PromiseCallback: _promise,
        Record: _record,
        ReleaseAgent: _release,
        Ring: _ring,
        Ringback: _ringback,
        Say: _say,
        SetRecording: _set_recording,
        SetTimer: _set_timer,
        Split: _take_apart,
        Spy: _spy,
        StandInLine: _stand_in_line,
        StopPlay: _stop_play,
        WrapUp: _wrap_up,
    }
