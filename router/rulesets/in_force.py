"""The rules in force: read from a folder, watched, replaced in one step, never by something worse.

How it works. The folder is looked at twice a second (in a thread: a slow or network disk must not
hold up calls). A file whose size and time are the same in two looks is read, compiled and has its
cases run, in that thread too; if all is well, it is swapped in. Otherwise the last good version stays
and the findings are to be seen in `states`. So a half-written file is never taken. The last good version
is also kept on disk, for a process that is started while its file is broken.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from router.rulesets import last_good as last_good_rules
from router.rulesets.archive import pack
from rules.cases import run_cases
from rules.loader import load_source
from rules.problems import FileError, Mark, Problem
from rules.ruleset import Ruleset, compile_ruleset

LOOK_EVERY_S: Final = 0.25
PREPARE_EVERY_S: Final = 3600.0
"""How often holidays around the present are worked out ahead of the calls that ask for them."""

MOST_FILES: Final = 1000
"""Files of the folder that are looked at; more are reported and left alone."""

_SUFFIXES: Final = frozenset({".yaml", ".yml"})
_log = structlog.get_logger(__name__)


class LoadState(StrEnum):
    """How a ruleset stands: `stale` answers with its last good version, `broken` has none."""

    LOADED = "loaded"
    STALE = "stale"
    BROKEN = "broken"


class RulesetState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one ruleset. `loaded_at_s` is when its version in force was taken."""

    name: str
    file: str
    state: LoadState
    digest: str | None = None
    loaded_at_s: float | None = None
    problems: tuple[Problem, ...] = ()


class Stamp(NamedTuple):
    """By what a change of a file is noticed."""

    size: int
    modified_ns: int
    inode: int


class Loaded(NamedTuple):
    """What came of reading one file."""

    ruleset: Ruleset | None
    problems: tuple[Problem, ...]
    packed: bytes | None = None


Stamps = Mapping[Path, Stamp]
OnChange = Callable[[RulesetState], None]


class Rulesets:
    """All rulesets of a folder by name (the file's stem). `get` is what decisions use."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float],
        on_change: OnChange | None = None,
        *,
        last_good: Path | None = None,
    ) -> None:
        """`clock` tells seconds since the epoch; `on_change` hears of every file that was read.

        `last_good` is the folder for last good versions; None keeps none.
        """
        self._folder = folder
        self._clock = clock
        self._on_change = on_change
        self._last_good = last_good
        self._rulesets: dict[str, Ruleset] = {}
        self._packed: dict[str, bytes | None] = {}
        self._states: dict[str, RulesetState] = {}
        self._taken: dict[Path, Stamp] = {}
        self._lists: dict[Path, frozenset[Path]] = {}
        self._last: Stamps = {}

    def get(self, name: str) -> Ruleset | None:
        """The version in force; None when there never was a good one."""
        return self._rulesets.get(name)

    def packed(self, name: str) -> bytes | None:
        """What the version in force was read from, packed; None when it is too large."""
        return self._packed.get(name)

    @property
    def states(self) -> tuple[RulesetState, ...]:
        """All rulesets, by name."""
        return tuple(self._states[name] for name in sorted(self._states))

    @property
    def in_force(self) -> tuple[Ruleset, ...]:
        """All versions in force."""
        return tuple(self._rulesets.values())

    async def load(self) -> None:
        """Take everything as it stands now: for the start."""
        self._last = await asyncio.to_thread(scan, self._folder)
        await self._take(self._last)

    async def watch(self) -> None:
        """Follow changes until cancelled."""
        prepared_s = self._clock()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()
            if self._clock() - prepared_s > PREPARE_EVERY_S:
                prepared_s = self._clock()
                for ruleset in self.in_force:
                    await asyncio.to_thread(ruleset.prepare, prepared_s)

    async def look(self) -> None:
        """Look once; take what has changed and is the same as at the last look."""
        stamps = await asyncio.to_thread(scan, self._folder)
        still = stamps == self._last
        self._last = stamps
        if still:
            await self._take(stamps)

    async def _take(self, stamps: Stamps) -> None:
        files = [path for path in sorted(stamps) if path.suffix in _SUFFIXES]
        for path in files:
            if self._is_changed(path, stamps):
                loaded = await asyncio.to_thread(load, path, self._clock())
                if loaded.ruleset is None and path.stem not in self._rulesets:
                    await self._restore(path.stem)
                self._swap(path, loaded)
                await self._keep_on_disk(path, loaded)
        for path in [path for path in self._lists if path not in stamps]:
            self._miss(path)
        self._taken = dict(stamps)

    async def _restore(self, name: str) -> None:
        """Have the version that was good when this or another process last saw one."""
        if self._last_good is None:
            return
        restored = await asyncio.to_thread(
            last_good_rules.restore, self._last_good, name, self._clock()
        )
        if restored is not None:
            self._rulesets[name], self._packed[name] = restored
            _log.warning("rules_restored", ruleset=name, digest=restored[0].digest)

    async def _keep_on_disk(self, path: Path, loaded: Loaded) -> None:
        is_in_force = self._rulesets.get(path.stem) is loaded.ruleset
        if self._last_good is not None and loaded.ruleset is not None and is_in_force:
            await asyncio.to_thread(last_good_rules.keep, self._last_good, path.stem, loaded.packed)

    def _is_changed(self, path: Path, stamps: Stamps) -> bool:
        watched = {path, *self._lists.get(path, ())}
        if self._state_of(path) is not LoadState.LOADED:
            watched.update(other for other in stamps if other.suffix not in _SUFFIXES)
        return path not in self._taken or any(
            stamps.get(each) != self._taken.get(each) for each in watched
        )

    def _state_of(self, path: Path) -> LoadState | None:
        state = self._states.get(path.stem)
        return None if state is None or state.file != path.name else state.state

    def _swap(self, path: Path, loaded: Loaded) -> None:
        name, ruleset = path.stem, loaded.ruleset
        other = self._states.get(name)
        if (
            other is not None
            and other.file != path.name
            and (self._folder / other.file) in self._last
        ):
            loaded = Loaded(None, (_problem(path, "duplicate-name", "another file has this name"),))
            _log.warning("rules_not_loaded", ruleset=name, problems=1)
            self._lists[path] = frozenset()
            return
        if ruleset is None:
            self._keep(path, loaded.problems)
            return
        self._lists[path] = frozenset(
            path.parent / each.csv
            for each in ruleset.document.lists.values()
            if each.csv is not None
        )
        self._rulesets[name] = ruleset
        self._packed[name] = loaded.packed
        self._states[name] = RulesetState(
            name=name,
            file=path.name,
            state=LoadState.LOADED,
            digest=ruleset.digest,
            loaded_at_s=self._clock(),
        )
        _log.info("rules_loaded", ruleset=name, digest=ruleset.digest)
        self._tell(self._states[name])

    def _keep(self, path: Path, problems: Iterable[Problem]) -> None:
        """Go on with the last good version, and say what is wrong."""
        name, known = path.stem, self._rulesets.get(path.stem)
        before = self._states.get(name)
        self._states[name] = RulesetState(
            name=name,
            file=path.name,
            state=LoadState.BROKEN if known is None else LoadState.STALE,
            digest=None if known is None else known.digest,
            loaded_at_s=None if before is None else before.loaded_at_s,
            problems=tuple(problems),
        )
        self._lists.setdefault(path, frozenset())
        _log.warning(
            "rules_not_loaded",
            ruleset=name,
            state=self._states[name].state.value,
            problems=len(self._states[name].problems),
        )
        self._tell(self._states[name])

    def _tell(self, state: RulesetState) -> None:
        if self._on_change is not None:
            self._on_change(state)

    def _miss(self, path: Path) -> None:
        del self._lists[path]
        state = self._states.get(path.stem)
        if state is None or state.file != path.name:
            return
        if path.stem in self._rulesets:
            self._keep(path, [_problem(path, "file-missing", "the file is gone")])
            del self._lists[path]
        else:
            del self._states[path.stem]


def scan(folder: Path) -> Stamps:
    """The stamps of all files of a folder; empty when it cannot be read."""
    stamps: dict[Path, Stamp] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(stamps) >= MOST_FILES:
                    break
                if entry.name.startswith(".") or not entry.is_file():
                    continue
                status = entry.stat()
                stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
                stamps[folder / entry.name] = stamp
    except OSError:
        return stamps
    return stamps


def load(path: Path, now_s: float) -> Loaded:
    """Read, compile and run the cases of one file; for a thread, it may take seconds."""
    try:
        document, source = load_source(path)
        ruleset = compile_ruleset(document)
        problems = tuple(run_cases(ruleset))
        ruleset.prepare(now_s)
        packed = pack(source)
    except FileError as error:
        return Loaded(None, tuple(error.problems))
    except Exception as error:  # noqa: BLE001 - a boundary: whatever a file does to us, calls go on
        return Loaded(
            None, (_problem(path, "unreadable", f"cannot be read: {type(error).__name__}"),)
        )
    return Loaded(None if problems else ruleset, problems, packed)


def _problem(path: Path, code: str, message: str) -> Problem:
    return Problem(mark=Mark(path.name, 1, 1), code=code, message=message)
