"""The port `Recordings`: files from Asterisk's folder to their final place, complete or not at all.

Asterisk reports success even when it could not write, and closes a file a moment after it was told to
stop. So a finished recording is waited for until it rests, is looked at, hashed, and appears under its
final name in one step; in the recordings folder there are only whole files. What a controller that died
has left behind is found by its name, which begins with the call's id.
"""

import asyncio
import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import structlog

from pbx.machine.commands import Note
from pbx.machine.state import CallState
from pbx.ports import RecordingStarted, Records
from router.call_record import RECORDED
from router.telephony.visits import Visits

RESTS_S: Final = 0.3
"""A file whose size has not changed for so long is closed."""
LONGEST_CLOSE_S: Final = 5.0
HEADER_BYTES: Final = 44
LEFT_BEHIND_S: Final = 600.0
SWEEP_EVERY_S: Final = 300.0
_MOST_SWEPT: Final = 500
_AT_ONCE: Final = 50
_NAME: Final = re.compile(r"([0-9a-z-]{1,64}\.[0-9a-f]{32})(?:-in|-out)?\.wav")
_SIDES: Final = (".wav", "-in.wav", "-out.wav")

_log = structlog.get_logger(__name__)


class RecordingFiles:
    """All disk work happens in threads. `run` is a task of the process: leftovers and retention."""

    def __init__(
        self,
        *,
        spool: Path,
        final: Path,
        records: Records,
        keep_days: int = 90,
        is_live: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`is_live` tells whether a call still goes on: its files are left alone."""
        self._spool = spool
        self._final = final
        self._records = records
        self._keep_s = keep_days * 86_400.0
        self.is_live = is_live
        self._clock = clock
        self._adopted: dict[str, CallState] = {}
        self._adopted_s = 0.0
        self._has_adopted = asyncio.Event()
        self._visits = Visits()

    def adopt(self, states: Iterable[CallState]) -> None:
        """Calls taken over from the controller before: it may have died with a recording not handed over yet."""
        self._adopted = {state.id: state for state in states}
        self._adopted_s = self._clock()
        self._has_adopted.set()

    def begin(self, state: CallState) -> RecordingStarted:
        """A name that nobody can guess, and that tells us the call."""
        name = f"{state.id}.{secrets.token_hex(16)}"
        return RecordingStarted(folder=PurePosixPath(self._spool), name=name)

    async def finish(self, state: CallState, started: RecordingStarted) -> bool:
        """Hand over whatever was recorded under that name; False: nothing, or nothing usable."""
        kept = await self.hand_over(started.name) or await self.handed_over(started.name)
        for name, sha256 in kept:
            self._records.note(state, Note(what=RECORDED, detail=f"{name} {sha256}"))
        if not kept and not started.is_momentary:
            _log.error("recording_missing_or_empty")
        return bool(kept)

    async def hand_over(self, name: str) -> list[tuple[str, str]]:
        """(file name, SHA-256) of each file of that recording that is in its final place now.

        Two visits of a thread for nearly every recording, of all files at once.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_CLOSE_S
        sizes = await self._visits.do(lambda: _sizes(_sides(self._spool, name)))
        kept: list[tuple[str, str]] = []
        while sizes:
            is_last = loop.time() + RESTS_S >= until
            look = functools.partial(_take, sizes, self._final, is_last=is_last)
            taken = await self._visits.do(look, after_s=RESTS_S)
            for reason in taken.failed:
                _log.error("recording_not_kept", reason=reason)
            kept += taken.kept
            sizes = taken.growing
        return kept

    async def handed_over(self, name: str) -> list[tuple[str, str]]:
        """As `hand_over`, of what is in its final place already: by a controller that died before it said so."""
        return await self._visits.do(lambda: _digests(_sides(self._final, name)))

    async def run(self) -> None:
        """Look for what was left behind and what is too old, until cancelled.

        Not at once: the calls of the controller before are only just being taken over.
        """
        while True:
            try:
                async with asyncio.timeout(SWEEP_EVERY_S):
                    await self._has_adopted.wait()
            except TimeoutError:
                await self.sweep()
            else:
                self._has_adopted.clear()
                await self.take_over()

    async def take_over(self) -> int:
        """Hand over, on record, what calls taken over had recorded in talks before; of how many talks.

        What rests since the controller before is gone, and is no file of the state: it was ended by that one.
        It may have died before it said what it had handed over: that is said again, and counts once.
        """
        adopted, self._adopted = self._adopted, {}
        written = frozenset().union(*map(_being_written, adopted.values()))

        def look(folder: Path) -> list[Path]:
            resting = _left_behind(folder, self._adopted_s, adopted)
            return [file for file in resting if _name_of(file) not in written]

        for name, sha256 in await asyncio.to_thread(lambda: _digests(look(self._final))):
            state = adopted[_call_of(name)]
            self._records.note(state, Note(what=RECORDED, detail=f"{name} {sha256}"))
        found = 0
        for name in dict.fromkeys(map(_name_of, await asyncio.to_thread(look, self._spool))):
            started = RecordingStarted(
                folder=PurePosixPath(self._spool), name=name, is_momentary=True
            )
            found += await self.finish(adopted[_call_of(name)], started)
        return found

    async def sweep(self) -> int:
        """Hand over recordings of calls that are over; how many were found. Remove those without sound,
        which would be found again for ever, and what is too old.
        """
        before_s = self._clock() - LEFT_BEHIND_S
        resting = await asyncio.to_thread(_left_behind, self._spool, before_s)
        left = [file for file in resting if not self.is_live(_call_of(file.name))]
        sounding = await asyncio.to_thread(_remove_soundless, left)
        found = list(dict.fromkeys(map(_name_of, sounding)))[:_MOST_SWEPT]
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            for kept in await asyncio.gather(*map(self.hand_over, some)):
                _log.warning("recording_left_behind", files=len(kept))
        removed = await asyncio.to_thread(_remove_old, self._final, self._clock() - self._keep_s)
        if removed:
            _log.info("recordings_removed", count=removed)
        return len(found)


class _Taken(NamedTuple):
    """What one look came to: (name, SHA-256) of files in their place, sizes of those not closed yet."""

    kept: list[tuple[str, str]]
    growing: dict[Path, int]
    failed: list[str]


def _take(sizes: Mapping[Path, int], folder: Path, *, is_last: bool) -> _Taken:
    """Move the files that have the size they had; at the last look all. Those without sound stay."""
    taken = _Taken([], {}, [])
    for file, size in _sizes(sizes).items():
        if size != sizes[file] and not is_last:
            taken.growing[file] = size
        elif size > HEADER_BYTES:
            try:
                taken.kept.append((file.name, move(file, folder)))
            except OSError as error:
                taken.failed.append(error.strerror or type(error).__name__)
    return taken


def move(source: Path, folder: Path) -> str:
    """Put the file into the folder under the same name, in one step; its SHA-256. `OSError`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    target = folder / source.name
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        os.replace(source, target)  # noqa: PTH105 - both say the same, this one is known to be atomic
    except OSError as error:
        if error.errno != EXDEV:
            raise
        _copy(source, target)
    _sync(folder)
    return digest


EXDEV: Final = 18
"""The other folder is on another file system."""


def _being_written(state: CallState) -> set[str]:
    """Names of the files that whoever has the call sees to."""
    return {PurePosixPath(file).name for file in (state.recording_file, state.message_file)}


def _digests(files: Iterable[Path]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as file:
            found.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    return found


def _copy(source: Path, target: Path) -> None:
    """Copy beside the target, make sure it is on the disk, then give it its name."""
    part = target.with_name(f".{target.name}.part")
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        part.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    source.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sides(folder: Path, name: str) -> list[Path]:
    """The files that there may be of one recording."""
    return [folder / f"{name}{side}" for side in _SIDES]


def _sizes(files: Iterable[Path]) -> dict[Path, int]:
    """-1: not there (yet)."""
    return {file: _size(file) for file in files}


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _left_behind(folder: Path, before_s: float, calls: Container[str] | None = None) -> list[Path]:
    """Files of our recordings that have rested since `before_s`; only those of these calls, if they are given."""

    def is_one(name: str) -> bool:
        return (calls is None or _call_of(name) in calls) and bool(_NAME.fullmatch(name))

    return [Path(one.path) for one in _older(folder, before_s, is_one)]


def _remove_soundless(files: Iterable[Path]) -> list[Path]:
    """Those that are left."""
    sounding: list[Path] = []
    for file in files:
        if _size(file) > HEADER_BYTES:
            sounding.append(file)
        else:
            with contextlib.suppress(OSError):
                file.unlink()
    return sounding


def _call_of(name: str) -> str:
    """The id of the call whose file it is, if it is one of ours."""
    return name.partition(".")[0]


def _name_of(file: Path) -> str:
    """The name of a recording, without side and ending."""
    return _NAME.sub(r"\1", file.name)


def _remove_old(folder: Path, before_s: float) -> int:
    """Only files that are recordings of ours, or the remains of copying one."""

    def is_one(name: str) -> bool:
        return bool(_NAME.fullmatch(name.removeprefix(".").removesuffix(".part")))

    removed = 0
    for one in _older(folder, before_s, is_one):
        with contextlib.suppress(OSError):
            os.unlink(one.path)  # noqa: PTH108 - no Path for each of a hundred thousand files
            removed += 1
    return removed


def _older(
    folder: Path, before_s: float, is_one: Callable[[str], bool]
) -> Iterator[os.DirEntry[str]]:
    """Files with such a name last written before that. One after the other: there may be months of recordings."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if is_one(entry.name) and entry.stat().st_mtime < before_s:
                    yield entry
