"""The recording of a call: begun, paused, ended, handed over."""

import contextlib
import math
from pathlib import PurePosixPath

from pbx.ami import agi
from pbx.ami.actions import MixMonitorMute, StopMixMonitor
from pbx.carriers.call import Call, Handlers
from pbx.errors import RefusedError
from pbx.machine.commands import Note, SetRecording
from pbx.machine.events import FileBegan, RecordingFailed
from pbx.machine.recording import recording_policy
from pbx.ports import RecordingStarted

MOMENT_S = 0.25
"""A talk that is over so soon may have left no sound: Asterisk writes the first of it after a few hundredths."""


class RecordingCarrier:
    """One recording at a time. Which file it is stands in the state: whoever takes over hands it over."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._file = call.state.recording_file
        self._next = ""
        self._began_s = -math.inf  # on the loop's clock
        self.handlers: Handlers = {SetRecording: self._set_recording}

    def choose_file(self) -> FileBegan:
        """Where the recording goes that is about to begin: known before anything is in it."""
        started = self._call.outside.recordings.begin(self._call.state)
        self._next = str(started.folder / started.name)
        return FileBegan(of="recording", file=self._next)

    def finish(self) -> None:
        """Hand the file over, if there is one."""
        file, self._file = self._file, ""
        if not file:
            return
        call, state = self._call, self._call.state
        path = PurePosixPath(file)
        is_momentary = call.in_s(0) - self._began_s < MOMENT_S
        started = RecordingStarted(folder=path.parent, name=path.name, is_momentary=is_momentary)

        async def work() -> None:
            if await call.outside.recordings.finish(state, started):
                return
            what = "recording_too_short" if is_momentary else "recording_failed"
            call.outside.records.note(state, Note(what=what))
            call.post(RecordingFailed(file=file))

        call.lanes.files.add(work)

    async def _set_recording(self, command: SetRecording) -> None:
        match command.to:
            case "on":
                self._begin(stereo=command.stereo)
            case "off":
                name = self._call.name_of(self._call.state.channel)
                if name is not None:
                    with contextlib.suppress(RefusedError):  # nothing is recorded, or it hangs up
                        await self._call.send(StopMixMonitor(channel=name))
                self.finish()
            case "pause" | "resume":
                await self._mute(is_wanted=command.to == "pause")

    async def _mute(self, *, is_wanted: bool) -> None:
        call = self._call
        name = call.name_of(call.state.channel)
        if name is None:
            return
        try:
            await call.send(MixMonitorMute(channel=name, state=int(is_wanted)))
        except RefusedError:
            # Nothing is recorded: it was to begin just as nobody could tell Asterisk. In a bridge it is too late.
            if is_wanted or call.is_bridged or not call.state.recording:
                raise
            self._next = call.state.recording_file
            self._begin(stereo=recording_policy(call.state).stereo)

    def _begin(self, *, stereo: bool) -> None:
        call, self._file = self._call, self._next
        self._began_s = call.in_s(0)
        path = PurePosixPath(self._file)
        record = agi.mix_monitor(path.parent, path.name, per_side=stereo)
        call.lanes.caller.do(lambda: call.tell(call.state.channel, record))
