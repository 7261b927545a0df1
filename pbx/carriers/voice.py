"""What the caller and the others hear and say while no bridge joins them: answer, prompts, music, a message."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import structlog

from ivr.prompts import Prompt
from ivr.steps import (
    KEYS,
    AwaitRecorded,
    Music,
    Play,
    Played,
    Record,
    Recorded,
    StopPlay,
)
from pbx.ami import agi
from pbx.ami.actions import ControlPlayback, Playback
from pbx.ami.client import LinkState
from pbx.carriers.call import ACTION_S, Call, Handlers
from pbx.errors import AmiDownError, ChannelGoneError, PbxError, RefusedError
from pbx.machine.commands import Answer, KeepMessage, Ringback, Say
from pbx.machine.events import Answered, FileBegan, LegPlayed
from pbx.machine.plans import LegId

log = structlog.get_logger(__name__)

ANSWER_S = 10.0
LONGEST_PROMPT_S = 300.0
LONGEST_SILENCE_S = 10
CANNOT_WRITE = "writefile"
"""What RECORD FILE says of a file that it cannot open; whoever hangs up meanwhile is a failure as well."""
MOST_SOUNDS_CHARS = 800
"""Of names in one command: Asterisk takes a thousand bytes of one line."""
STOP_PLAY_S = 2.0
STOP_AGAIN_S = 0.02
KEY_STOPS_S = 0.05
"""A sound that a key ends is over within a few milliseconds of it, unless it had not begun then."""
ANY_KEY = "".join(sorted(KEYS))


class _Playing:
    """A play under way. `until_key`: Asterisk ends it by itself when a key is pressed."""

    def __init__(self, *, until_key: bool) -> None:
        self.until_key = until_key
        self.is_stopped = False
        self.over = asyncio.Event()
        self.doubt: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """It is over."""
        self.over.set()
        if self.doubt is not None:
            self.doubt.cancel()


class VoiceCarrier:
    """Prompts, music and messages. `Played` is reported also when a prompt could not be played."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._playing: _Playing | None = None
        self._musics = 0
        self.handlers: Handlers = {
            Answer: self._answer,
            AwaitRecorded: self._await_recorded,
            KeepMessage: self._keep_message,
            Music: self._music,
            Play: self._play,
            Record: self._record,
            Ringback: self._ringback,
            Say: self._say,
            StopPlay: self._stop_play,
        }

    @property
    def ends_by_key(self) -> bool:
        """Whether Asterisk has ended what it plays when a key is heard of."""
        return self._playing is not None and self._playing.until_key

    async def _answer(self, _: Answer) -> None:
        call = self._call

        async def work() -> None:
            # TIMEOUT(absolute): the dialplan's safety net for a controller that never came.
            call.tell(call.state.channel, agi.set_variable("TIMEOUT(absolute)", "0"))
            await call.agi(call.state.channel, agi.answer(), ANSWER_S)
            call.post(Answered())

        call.lanes.caller.add(work)

    async def _ringback(self, command: Ringback) -> None:
        leg = command.leg or self._call.state.channel

        self._call.lane_of(leg).do(lambda: self._call.tell(leg, agi.ringing()))

    async def _music(self, command: Music) -> None:
        call = self._call
        self._musics += 1
        this = self._musics

        def step() -> None:
            if this == self._musics:  # of several that wait only the last is heard
                call.tell(call.state.channel, agi.music(on=command.on))

        call.lanes.caller.do(step)

    async def _play(self, command: Play) -> None:
        playing = self._playing = _Playing(until_key=command.until_key)

        async def work() -> None:
            try:
                await self._speak(self._call.state.channel, command.prompts, playing)
            finally:
                playing.end()
            if not playing.is_stopped:
                self._call.post(Played(command.play))

        self._call.lanes.caller.add(work)

    async def _stop_play(self, _: StopPlay) -> None:
        playing = self._playing
        if playing is None or playing.is_stopped:
            return
        playing.is_stopped = True
        if not playing.until_key:
            self._stop_now(playing)
        elif not playing.over.is_set():
            loop = asyncio.get_running_loop()
            playing.doubt = loop.call_later(KEY_STOPS_S, self._stop_now, playing)

    def _stop_now(self, playing: _Playing) -> None:
        if not playing.over.is_set():
            self._call.lanes.stop.add(lambda: self._stop(playing))

    async def _stop(self, playing: _Playing) -> None:
        """Ask until it has stopped: a stop that comes before the sound has begun is lost."""
        stop = ControlPlayback(channel=self._call.channel, control=Playback.STOP)
        until = self._call.in_s(STOP_PLAY_S)
        while not playing.over.is_set() and self._call.in_s(0) < until:
            with contextlib.suppress(RefusedError):  # nothing plays yet, or no more
                await self._call.send(stop)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_AGAIN_S):
                    await playing.over.wait()

    async def _say(self, command: Say) -> None:
        async def work() -> None:
            await self._speak(command.leg, command.prompts)
            self._call.post(LegPlayed(command.leg))

        self._call.lane_of(command.leg).add(work)

    async def _speak(
        self, leg: LegId, prompts: tuple[Prompt, ...], playing: _Playing | None = None
    ) -> None:
        """Play what can be played; a prompt that fails is skipped, a leg that hung up ends it."""
        try:
            spoken = await self._call.outside.speech.speak(prompts, self._call.state.language)
        except Exception as error:  # noqa: BLE001 - a boundary: without the sound the call goes on
            log.error("speech_broke", error=type(error).__name__)  # noqa: TRY400 - stacks hold values
            return
        for sounds in _parts(spoken.sounds, can_be_stopped=playing is not None):
            if playing is not None and playing.is_stopped:
                return
            escape = ANY_KEY if playing is not None and playing.until_key else ""
            try:
                if len(sounds) == 1:
                    play = agi.stream_file(*sounds, escape=escape)
                else:
                    play = agi.playback(sounds)
                result = await self._call.agi(leg, play, LONGEST_PROMPT_S)
                if escape and result.key is not None:
                    return  # nor is the rest heard out
            except (ChannelGoneError, AmiDownError):
                raise
            except PbxError as error:
                if self._call.client.state is not LinkState.READY:
                    raise  # broken off with the connection: it is begun anew when Asterisk is back
                log.warning("prompt_failed", code=error.code)

    async def _record(self, command: Record) -> None:
        call = self._call
        started = call.outside.recordings.begin(call.state)
        path = started.folder / started.name
        call.post(FileBegan(of="message", file=str(path)))

        async def work() -> None:
            record = agi.record_file(
                path, limit_ms=command.longest_s * 1000, silence_s=LONGEST_SILENCE_S
            )
            began = call.in_s(0)
            result = await call.agi(call.state.channel, record, command.longest_s + ACTION_S)
            took_s = call.in_s(0) - began
            has_failed = result.has_failed and result.data == CANNOT_WRITE
            if has_failed:
                log.error("message_not_recorded")
            call.post(Recorded(duration_s=took_s, ended_by=result.key, has_failed=has_failed))

        call.lanes.caller.add(work)

    async def _await_recorded(self, command: AwaitRecorded) -> None:
        """Asterisk runs the commands of a channel in order: after the recording it does nothing."""
        call = self._call

        async def work() -> None:
            await call.agi(call.state.channel, agi.noop(), command.longest_s + ACTION_S)
            # How long it is nobody knows; one without sound is found to be none when it is handed over.
            call.post(Recorded(duration_s=command.longest_s))

        call.lanes.caller.add(work)

    async def _keep_message(self, command: KeepMessage) -> None:
        call, state = self._call, self._call.state
        if not state.message_file:
            return
        file = PurePosixPath(f"{state.message_file}.wav")
        call.lanes.store.add(
            lambda: call.outside.promises.keep_message(state, command.mailbox, file)
        )


def _parts(sounds: Sequence[str], *, can_be_stopped: bool) -> Iterator[Sequence[str]]:
    """What is played in one command: one sound, or as many as fit of those that nothing stops."""
    part: list[str] = []
    for sound in sounds:
        if part and (can_be_stopped or sum(map(len, (*part, sound))) > MOST_SOUNDS_CHARS):
            yield part
            part = []
        part.append(sound)
    if part:
        yield part
