"""One call being carried out: events in by an inbox, the state table decides, carriers act.

How it works: one task takes events from the inbox, moves the state, writes it down, and hands the
commands to the carriers. Asterisk is told nothing before that is written; the store is asked behind
it. What takes long (a prompt, a bridge, a question to the store) runs in a lane: one lane per channel,
since Asterisk runs the commands of a channel in order, and one for the store. What comes of it is an
event again.

While Asterisk is away the call stands still: events wait in the inbox. A command that finds Asterisk
away is dropped: when it is back, the state is compared with the live channels, and what is missing
is asked for anew.
"""

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from ivr.steps import CancelTimer, Key, Play, SetTimer, StopPlay, TimedOut, Timer
from pbx.ami.client import Client
from pbx.carriers.bridges import BridgeCarrier
from pbx.carriers.call import Call, Handlers
from pbx.carriers.outside import OutsideCarrier
from pbx.carriers.phones import PhoneCarrier
from pbx.carriers.recording import RecordingCarrier
from pbx.carriers.voice import VoiceCarrier
from pbx.errors import AmiBusyError, AmiDownError, OutcomeUnknownError, PbxError
from pbx.gate import Gate
from pbx.inbox import Inbox, Posted
from pbx.legs import Channels
from pbx.machine.commands import (
    AskRules,
    Cancel,
    Command,
    Commands,
    ConfirmAgent,
    HangUp,
    MakePlan,
    Note,
    Over,
    Say,
    SetRecording,
    StandInLine,
)
from pbx.machine.events import Control, Event, LegGone
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Phase, is_up, to_write_down
from pbx.machine.table import on
from pbx.ports import Outside
from pbx.soon import Soon

log = structlog.get_logger(__name__)

ANSWERED_SOON = frozenset({AskRules, ConfirmAgent, MakePlan, StandInLine})
"""Questions that whoever takes over asks again, to the same effect. The state is written with the answer."""
ENDINGS = frozenset({Cancel, HangUp, StopPlay})
"""What Asterisk is told of a call whose caller is gone: whoever takes over tells it the same."""
DONE_AGAIN = frozenset({CancelTimer, Note, Play, Say, SetTimer})
"""What does not wait until it is written: whoever takes over begins a prompt anew anyway."""
LAST_WORDS_S = 30.0
"""The store is given so long to hear the last of a call that has ended."""
LAST_FILES_S = 15.0
"""Of it, recordings to be handed over before the call is forgotten."""


class Session:
    """One call. `run` is its task; `post` is how anything reaches it."""

    def __init__(
        self,
        state: CallState,
        *,
        client: Client,
        channels: Channels,
        outside: Outside,
        gate: Gate,
        soon: Soon,
    ) -> None:
        self.on_moved: Callable[[Session], None] = lambda _: None
        self.known_by: set[LegId] = set()
        """The legs that whoever sorts the events has ever known it by."""
        self._gate = gate
        self._soon = soon
        self._inbox = Inbox()
        self._outside = outside
        self._call = Call(
            state,
            client=client,
            channels=channels,
            outside=outside,
            post=self.post,
            is_gone=self._inbox.tells_of_the_end_of,
        )
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._writing: asyncio.Task[None] | None = None
        self._cause = 16
        self._store = OutsideCarrier(self._call)
        self._bridges = BridgeCarrier(self._call)
        self._recording = RecordingCarrier(self._call)
        self._voice = VoiceCarrier(self._call)
        self._by_asterisk: Handlers = {
            **self._bridges.handlers,
            **self._recording.handlers,
            **PhoneCarrier(self._call).handlers,
            **self._voice.handlers,
        }
        self._by_us: Handlers = {
            **self._store.handlers,
            CancelTimer: self._cancel_timer,
            Note: self._note,
            Over: self._over,
            SetTimer: self._set_timer,
        }

    @property
    def state(self) -> CallState:
        return self._call.state

    @property
    def handles(self) -> frozenset[type[object]]:
        """Every kind of command that is carried out."""
        return frozenset(self._by_asterisk) | frozenset(self._by_us)

    # --- from outside -----------------------------------------------------------------------------

    def post(self, event: Event) -> bool:
        """Put an event into the inbox; False when there is no room for it."""
        if self._inbox.put(event):
            return True
        log.warning("inbox_full", dropped=type(event).__name__)
        return False

    def post_control(self, control: Control, begin_by: float) -> Posted | None:
        """Ask for something that is not to be begun late; None when there is no room for it."""
        posted = Posted(control, begin_by)
        return posted if self._inbox.put(posted) else None

    def leg_ours(self, leg: LegId) -> bool:
        """A channel of this call is ours to command. True: it was awaited as part of a split."""
        return self._bridges.leg_ours(leg)

    def knows_as_up(self, leg: LegId) -> bool:
        """Whether the state knows already that this leg has answered."""
        is_caller = leg == self.state.channel and self.state.kind is Kind.INBOUND
        return is_caller or is_up(self.state, leg)

    def wake(self) -> None:
        """An agent may be free for this call: ask again, if it still waits."""
        if self._gate.is_open:  # else it asks when it is recovered
            self._store.wake()

    # --- the life of the call -----------------------------------------------------------------------

    async def run(self) -> None:
        """Live through the call; returns when it has ended, with nothing of it left running."""
        try:
            while self.state.phase is not Phase.ENDED:
                event = await self._inbox.take()
                if not self._gate.is_open:
                    await self._gate.passed()
                if isinstance(event, Posted):
                    if not event.begin():
                        log.info("control_too_late", control=type(event.control).__name__)
                        continue
                    event = event.control
                await self._take(event)
            if not await self._call.lanes.store.is_empty(LAST_WORDS_S):
                log.error("store_not_told", after_s=LAST_WORDS_S)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._bridges.close()
            self._soon.drop(self.state.id)
            if self._writing is not None:
                self._writing.cancel()
                await asyncio.gather(self._writing, return_exceptions=True)
            await self._call.lanes.close()

    async def _take(self, event: Event) -> None:
        """Move the state, write it down, act: in this order, so that nothing is done that is not written.

        Only what Asterisk is told waits until it is written, but for `DONE_AGAIN`. What the store alone is
        asked goes out behind it, so it is read there after it, or is itself what is written about: see
        `ANSWERED_SOON`.

        What the call's record is to say is noted first: it is written down together with the state.
        The end is the exception: it is forgotten when all of it is done. Whoever takes over before that
        finds the call as it was, without its caller, and ends it again.
        """
        era = self._gate.era
        if isinstance(event, LegGone) and event.leg == self.state.channel:
            self._cause = event.cause
        before = self.state
        self._call.state, commands = on(before, event)
        if self.state is before and not commands:
            return  # it means nothing here
        if any(isinstance(one, SetRecording) and one.to == "on" for one in commands):
            self._call.state, _ = on(self.state, self._recording.choose_file())
        self.on_moved(self)
        for note in (one for one in commands if isinstance(one, Note)):
            await self._note(note)
        await self._write_down(event, commands)
        for command in commands:
            if not isinstance(command, Note):
                await self._carry_out(command, era)

    async def _write_down(self, event: Event, commands: Commands) -> None:
        """One after the other: what was sent first and repeated must not undo what came after it."""
        kinds, is_over = set(map(type, commands)), self.state.phase is Phase.ENDED
        if isinstance(event, Key) and self._voice.ends_by_key:
            kinds.discard(StopPlay)  # that is done: Asterisk needs not be told
        seen = kinds & self._by_asterisk.keys()
        if seen and seen <= ENDINGS and self._inbox.tells_of_the_end_of(self.state.channel):
            return  # both ends of a talk go in one moment: it is over with what comes next
        is_seen = bool(seen)
        is_answered_soon = not is_seen and not kinds.isdisjoint(ANSWERED_SOON)
        if not is_over and (is_answered_soon or kinds <= DONE_AGAIN):
            self._write_soon()
            return
        self._soon.drop(self.state.id)
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
        if is_over:
            return
        saving = self._save()
        if is_seen:
            await saving
        else:
            self._writing = asyncio.create_task(saving)

    def _save(self) -> Coroutine[None, None, None]:
        self._soon.begin()
        return self._outside.journal.save(to_write_down(self.state))

    def _write_soon(self) -> None:
        """Write where the call stands by then, unless it is written before."""

        def now() -> None:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._save())
            else:
                self._write_soon()

        self._soon.put(self.state.id, now)

    async def _carry_out(self, command: Command, era: int) -> None:
        kind = type(command)
        handle = self._by_us.get(kind)
        if handle is None:
            if era != self._gate.era:
                # The connection broke in between: `Recovered` is on its way and looks at the state
                # as it is now, in which this command counts as given.
                log.info("command_dropped", command=kind.__name__)
                return
            handle = self._by_asterisk[kind]
        try:
            await handle(command)
        except (AmiDownError, AmiBusyError, OutcomeUnknownError) as error:
            log.info("command_dropped", command=kind.__name__, code=error.code)
        except PbxError as error:
            log.warning("command_refused", command=kind.__name__, code=error.code)

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
        self._recording.finish()
        self._outside.records.close(self.state, cause=self._cause)
        call_id, lanes = self.state.id, self._call.lanes

        async def forget() -> None:
            # What was recorded is on record by then, or found by who looks for what was left behind.
            await lanes.files.is_empty(LAST_FILES_S)
            await self._outside.journal.forget(call_id)

        lanes.store.add(forget)
