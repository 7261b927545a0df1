"""Recording files on their way from Asterisk's folder to their final place."""

import asyncio
import hashlib
import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from pbx.machine.commands import Note
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind
from router.telephony import recordings
from router.telephony.recordings import EXDEV, LEFT_BEHIND_S, RecordingFiles

SOUND = b"RIFF" + bytes(2000)
STATE = CallState(id="0123456789abcdef", kind=Kind.INBOUND, channel=LegId("1.1"))


class Notes:
    def __init__(self) -> None:
        self.noted: list[Note] = []

    def note(self, state: CallState, note: Note) -> None:
        self.noted.append(note)

    def close(self, state: CallState, *, cause: int) -> None: ...


class Folders:
    def __init__(self, root: Path) -> None:
        self.spool, self.final = root / "spool", root / "final"
        self.spool.mkdir()
        self.notes = Notes()
        self.now_s = 2e9
        self.live: set[str] = set()
        self.files = RecordingFiles(
            spool=self.spool,
            final=self.final,
            records=self.notes,
            keep_days=1,
            is_live=lambda call: call in self.live,
            clock=lambda: self.now_s,
        )

    def put(self, name: str, sound: bytes = SOUND, age_s: float = 0) -> Path:
        file = self.spool / name
        file.write_bytes(sound)
        os.utime(file, (self.now_s - age_s, self.now_s - age_s))
        return file


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_names_begin_with_the_call_and_nobody_can_guess_them(folders: Folders):
    names = {folders.files.begin(STATE).name for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"0123456789abcdef\.[0-9a-f]{32}", name) for name in names)


async def test_a_file_is_handed_over_whole_with_its_checksum_on_record(folders: Folders):
    started = folders.files.begin(STATE)
    folders.put(f"{started.name}.wav")
    assert await folders.files.finish(STATE, started)
    kept = folders.final / f"{started.name}.wav"
    assert kept.read_bytes() == SOUND
    assert list(folders.spool.iterdir()) == []
    checksum = hashlib.sha256(SOUND).hexdigest()
    assert folders.notes.noted == [Note(what="recorded", detail=f"{kept.name} {checksum}")]


async def test_what_was_handed_over_by_who_is_no_more_is_found_again(folders: Folders):
    started = folders.files.begin(STATE)
    folders.put(f"{started.name}.wav")
    assert await folders.files.finish(STATE, started)
    assert await folders.files.finish(STATE, started)  # asked again after a takeover
    first, second = folders.notes.noted
    assert first == second


async def test_what_a_live_call_had_recorded_before_its_controller_died_is_put_on_its_record(
    folders: Folders,
):
    """A talk was recorded, and the next one is; the controller died as it was about to hand the first over."""
    first, now, begun, strange = (folders.files.begin(STATE).name for _ in range(4))
    folders.put(f"{first}.wav", age_s=1)
    folders.put(f"{now}.wav", age_s=1)  # paused, say
    folders.put(f"{begun}.wav", age_s=-1)  # by whoever took over
    folders.put(f"f{strange}.wav", age_s=1)
    state = replace(STATE, recording_file=str(folders.spool / now))
    folders.files.adopt([state])
    assert await folders.files.take_over() == 1
    checksum = hashlib.sha256(SOUND).hexdigest()
    assert folders.notes.noted == [Note(what="recorded", detail=f"{first}.wav {checksum}")]
    assert {file.name for file in folders.final.iterdir()} == {f"{first}.wav"}
    assert await folders.files.take_over() == 0


async def test_what_its_controller_had_handed_over_and_died_before_it_said_so_is_on_its_record(
    folders: Folders,
):
    first, now, strange = (folders.files.begin(STATE).name for _ in range(3))
    for name in (first, now, f"f{strange}"):
        folders.put(f"{name}.wav", age_s=5)
        await folders.files.hand_over(name)
    folders.files.adopt([replace(STATE, recording_file=str(folders.spool / now))])
    folders.put(f"{first}-in.wav", age_s=5)  # of the same talk, still to be handed over
    assert await folders.files.take_over() == 1
    checksum = hashlib.sha256(SOUND).hexdigest()
    said = [f"{first}.wav {checksum}", f"{first}-in.wav {checksum}"]
    assert folders.notes.noted == [Note(what="recorded", detail=detail) for detail in said]


async def test_it_is_looked_for_as_soon_as_calls_are_taken_over(folders: Folders):
    name = folders.files.begin(STATE).name
    folders.put(f"{name}.wav", age_s=1)
    task = asyncio.create_task(folders.files.run())
    folders.files.adopt([STATE])
    async with asyncio.timeout(5):
        while not folders.notes.noted:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_file_that_still_grows_is_waited_for(folders: Folders):
    started = folders.files.begin(STATE)
    file = folders.put(f"{started.name}.wav", b"RIFF")
    finishing = asyncio.create_task(folders.files.finish(STATE, started))
    for _ in range(5):
        await asyncio.wait([finishing], timeout=0.05)
        file.write_bytes(file.read_bytes() + SOUND)
    assert await finishing
    assert (folders.final / file.name).stat().st_size == 4 + 5 * len(SOUND)


async def test_a_file_that_appears_a_moment_later_is_waited_for(folders: Folders):
    started = folders.files.begin(STATE)
    finishing = asyncio.create_task(folders.files.finish(STATE, started))
    await asyncio.wait([finishing], timeout=0.1)
    folders.put(f"{started.name}.wav")
    assert await finishing


async def test_a_file_that_never_rests_is_taken_as_it_is(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recordings, "RESTS_S", 0.03)
    monkeypatch.setattr(recordings, "LONGEST_CLOSE_S", 0.2)
    started = folders.files.begin(STATE)
    file = folders.put(f"{started.name}.wav")
    finishing = asyncio.create_task(folders.files.finish(STATE, started))
    while not finishing.done():
        if file.exists():
            with file.open("ab") as grows:
                grows.write(SOUND)
        await asyncio.wait([finishing], timeout=0.01)
    assert await finishing


async def test_both_sides_are_handed_over_beside_the_mix(folders: Folders):
    started = folders.files.begin(STATE)
    for side in ("", "-in", "-out"):
        folders.put(f"{started.name}{side}.wav")
    assert await folders.files.finish(STATE, started)
    assert len(list(folders.final.iterdir())) == 3


@pytest.mark.parametrize("sound", [None, b"", b"RIFF" + bytes(40)])
async def test_missing_and_empty_files_are_noticed(
    folders: Folders, sound: bytes | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recordings, "RESTS_S", 0.06)
    started = folders.files.begin(STATE)
    if sound is not None:
        folders.put(f"{started.name}.wav", sound)
    assert not await folders.files.finish(STATE, started)
    assert folders.notes.noted == []


async def test_over_file_systems_a_file_is_copied_and_appears_in_one_step(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    seen: list[list[str]] = []
    replace = os.replace

    def across(source: Path, target: Path) -> None:
        raise OSError(EXDEV, "another file system")

    def sync(descriptor: int) -> None:
        seen.append(sorted(file.name for file in folders.final.iterdir()))

    monkeypatch.setattr(os, "replace", across)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", lambda one, other: replace(one, other))  # noqa: PLW0108 - a method
    started = folders.files.begin(STATE)
    folders.put(f"{started.name}.wav")
    assert await folders.files.finish(STATE, started)
    assert seen == [[f".{started.name}.wav.part"], [f"{started.name}.wav"]]
    assert list(folders.spool.iterdir()) == []


async def test_a_folder_that_cannot_be_written_to_loses_nothing(folders: Folders):
    folders.final.write_text("in the way")
    started = folders.files.begin(STATE)
    file = folders.put(f"{started.name}.wav")
    assert not await folders.files.finish(STATE, started)
    assert file.read_bytes() == SOUND


async def test_what_a_dead_controller_left_behind_is_handed_over_but_not_of_live_calls(
    folders: Folders,
):
    token, old = "a" * 32, LEFT_BEHIND_S + 1
    folders.live.add("live")
    for name in (f"gone.{token}.wav", f"live.{token}.wav", "somebody-elses.wav"):
        folders.put(name, age_s=old)
    folders.put(f"new.{token}.wav")
    assert await folders.files.sweep() == 1
    assert [file.name for file in folders.final.iterdir()] == [f"gone.{token}.wav"]


async def test_files_without_sound_do_not_pile_up_nor_hide_what_has_some(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recordings, "_MOST_SWEPT", 3)
    old, header = LEFT_BEHIND_S + 1, bytes(44)
    folders.live.add("live")
    for number in range(9):
        folders.put(f"gone{number}.{'a' * 32}.wav", header, age_s=old)
    paused = folders.put(f"live.{'a' * 32}.wav", header, age_s=old)
    new = folders.put(f"new.{'a' * 32}.wav", header)
    strange = folders.put("somebody-elses.wav", header, age_s=old)
    stereo = f"talk.{'b' * 32}"
    folders.put(f"{stereo}-in.wav", header, age_s=old)
    folders.put(f"{stereo}-out.wav", age_s=old)
    assert await folders.files.sweep() == 1
    assert [file.name for file in folders.final.iterdir()] == [f"{stereo}-out.wav"]
    assert set(folders.spool.iterdir()) == {paused, new, strange}


async def test_recordings_are_removed_when_they_are_too_old_and_nothing_else_is(folders: Folders):
    folders.final.mkdir()
    old, new, strange = (
        folders.final / name for name in (f"a.{'b' * 32}.wav", f"c.{'d' * 32}.wav", "keep.wav")
    )
    for file, age_s in ((old, 90_000), (new, 80_000), (strange, 90_000)):
        file.write_bytes(SOUND)
        os.utime(file, (folders.now_s - age_s, folders.now_s - age_s))
    await folders.files.sweep()
    assert sorted(folders.final.iterdir()) == [new, strange]
