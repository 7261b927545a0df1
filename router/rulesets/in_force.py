"""The rules in force: read from a folder, watched, replaced in one step, never by something worse.

How it works. The folder is looked at once a second, four times while something changes (in a thread: a
slow or network disk must not hold up calls). A file that has changed, and that is, with every list it
names, the same in two looks, is read, compiled and has its cases run, in that thread too; if all is
well, it is swapped in. Otherwise the last good version stays and the findings are to be seen in `states`.
So a half-written file is never taken, and one file that keeps changing holds up no other.

The last good version is also kept on disk, for a process that is started while its file is broken or
gone. A ruleset whose file is gone stays as long as a router uses it, and is forgotten otherwise.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import structlog

from router.rulesets import last_good as last_good_rules
from router.rulesets.archive import Version
from router.rulesets.folder import Folder, Look, Stamps
from router.rulesets.reading import Loaded, load, problem_of
from rules.actions import DEFAULT_RULE
from rules.lint import lint
from rules.problems import MOST_PROBLEMS, Problem
from rules.ruleset import Ruleset

LOOK_EVERY_S: Final = 1.0
LOOK_AGAIN_S: Final = 0.25
"""While a file is not the same in two looks, or waits to be taken."""

PREPARE_EVERY_S: Final = 3600.0
"""How often holidays around the present are worked out ahead of the calls that ask for them."""

MOST_REPLACED: Final = 16
"""Versions that were in force, kept at hand until the store has them: 32 MiB at most."""

_log = structlog.get_logger(__name__)


class LoadState(StrEnum):
    """How a ruleset stands: `stale` answers with its last good version, `broken` has none.

    `gone` is only told: no file has it any more and no router uses it.
    """

    LOADED = "loaded"
    STALE = "stale"
    BROKEN = "broken"
    GONE = "gone"


class RulesetState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one ruleset. `loaded_at_s` is when its version in force was taken.

    `problems` of a loaded one are about other files: those that are ignored because of their names.
    `rules` are the names of those in force, `default` among them.
    """

    name: str
    file: str
    state: LoadState
    digest: str | None = None
    loaded_at_s: float | None = None
    problems: tuple[Problem, ...] = ()
    rules: frozenset[str] = frozenset()


OnChange = Callable[[RulesetState], None]


class Rulesets:
    """All rulesets of a folder by name (the file's stem). `get` is what decisions use."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float],
        on_change: OnChange | None = None,
        *,
        in_use: Callable[[], frozenset[str]] = frozenset,
        last_good: Path | None = None,
    ) -> None:
        """`clock` tells seconds since the epoch; `on_change` hears of every file that was read.

        `in_use` names the rulesets that routers use; `last_good` is the folder for last good
        versions, None keeps none.
        """
        self._path = folder
        self._folder = Folder(folder)
        self._clock = clock
        self._on_change = on_change
        self._in_use = in_use
        self._last_good = last_good
        self._rulesets: dict[str, Ruleset] = {}
        self._packed: dict[str, bytes | None] = {}
        self._replaced: deque[tuple[str, Version]] = deque(maxlen=MOST_REPLACED)
        self._states: dict[str, RulesetState] = {}
        self._findings: dict[str, tuple[str, tuple[Problem, ...]]] = {}
        self._taken: dict[Path, Stamps] = {}
        self._sought: frozenset[str] = frozenset()
        self._last = Look()
        self._is_settled = False

    def get(self, name: str) -> Ruleset | None:
        """The version in force; None when there never was a good one."""
        return self._rulesets.get(name)

    def versions(self, name: str) -> tuple[Version, ...]:
        """Those that the version in force has replaced lately, oldest first, and it itself last."""
        replaced = (version for of, version in self._replaced if of == name)
        ruleset = self._rulesets.get(name)
        if ruleset is None:
            return tuple(replaced)
        return (*replaced, Version(ruleset.digest, self._packed.get(name)))

    async def findings(self, name: str) -> tuple[Problem, ...]:
        """What is odd about the version in force; looked for when first asked, for up to seconds."""
        ruleset = self._rulesets.get(name)
        if ruleset is None:
            return ()
        digest, found = self._findings.get(name, ("", ()))
        if digest != ruleset.digest:
            found = tuple((await asyncio.to_thread(lint, ruleset))[:MOST_PROBLEMS])
            self._findings[name] = ruleset.digest, found
        return found

    @property
    def states(self) -> tuple[RulesetState, ...]:
        """All rulesets, by name."""
        return tuple(self._state(name) for name in sorted(self._states))

    def missing(self, names: Iterable[str]) -> frozenset[str]:
        """Those of which there is no file, and no last good version either."""
        return frozenset(names) - self._states.keys()

    @property
    def in_force(self) -> tuple[Ruleset, ...]:
        """All versions in force."""
        return tuple(self._rulesets.values())

    @property
    def left_out(self) -> int:
        """How many rules files are too many to be looked at."""
        return self._last.left_out

    async def load(self) -> None:
        """Take everything as it stands now: for the start."""
        look = await self._look()
        for path in sorted(look.files):
            await self._take(path, await asyncio.to_thread(load, path, self._clock()))
        await self._miss(self._in_use() - look.names)

    async def watch(self) -> None:
        """Follow changes until cancelled."""
        prepared_s = self._clock()
        while True:
            await asyncio.sleep(LOOK_EVERY_S if self._is_settled else LOOK_AGAIN_S)
            await self.look()
            if self._clock() - prepared_s > PREPARE_EVERY_S:
                prepared_s = self._clock()
                for ruleset in self.in_force:
                    await asyncio.to_thread(ruleset.prepare, prepared_s)

    async def look(self) -> None:
        """Look once; take what has changed and is the same as at the last look."""
        before, was_settled = self._last, self._is_settled
        look = await self._look()
        if look is not before or not was_settled:
            await self._follow(before, look)
        known = self._states.keys() | self._in_use()
        await self._miss(known - look.names - before.names)

    async def _follow(self, before: Look, look: Look) -> None:
        for path, stamps in sorted(look.files.items()):
            if stamps != self._taken.get(path) and stamps == before.files.get(path):
                loaded = await asyncio.to_thread(load, path, self._clock())
                if loaded.stamps.keys() <= stamps.keys():
                    await self._take(path, loaded)
                else:  # it names lists that nobody has looked at: have them looked at twice too
                    self._taken[path] = dict.fromkeys(loaded.stamps)
        self._taken = {path: self._taken[path] for path in look.files if path in self._taken}
        self._is_settled = look is before and self._taken == look.files

    async def _look(self) -> Look:
        before = self._last
        self._last = look = await asyncio.to_thread(self._folder.look, self._taken)
        for name in look.ignored.keys() - before.ignored.keys():
            _log.warning("rules_file_ignored", ruleset=name, file=look.ignored[name].name)
        if look.problem is not None and look.problem != before.problem:
            _log.error("rules_folder_unreadable", folder=str(self._path), reason=look.problem)
        if look.left_out and not before.left_out:
            _log.warning("rules_files_left_out", count=look.left_out, most=len(look.files))
        return look

    async def _take(self, path: Path, loaded: Loaded) -> None:
        name = path.stem
        self._taken[path] = loaded.stamps
        if loaded.ruleset is None:
            await self._restore(name)
            self._keep(name, path.name, loaded.problems)
            return
        if name in self._rulesets:
            self._replaced.append((name, self.versions(name)[-1]))
        self._rulesets[name] = loaded.ruleset
        self._packed[name] = loaded.packed
        self._states[name] = RulesetState(
            name=name,
            file=path.name,
            state=LoadState.LOADED,
            digest=loaded.ruleset.digest,
            loaded_at_s=self._clock(),
            rules=_names_in(loaded.ruleset),
        )
        _log.info("rules_loaded", ruleset=name, digest=loaded.ruleset.digest)
        self._tell(self._states[name])
        if self._last_good is not None:
            await asyncio.to_thread(last_good_rules.keep, self._last_good, name, loaded.packed)

    async def _restore(self, name: str) -> None:
        """Have the version that was good when this or another process last saw one, if there is none."""
        if self._last_good is None or name in self._rulesets:
            return
        restored = await asyncio.to_thread(
            last_good_rules.restore, self._last_good, name, self._clock()
        )
        if restored is not None:
            self._rulesets[name], self._packed[name] = restored
            _log.warning("rules_restored", ruleset=name, digest=restored[0].digest)

    def _keep(self, name: str, file: str, problems: Iterable[Problem]) -> None:
        """Go on with the last good version, and say what is wrong."""
        known, before = self._rulesets.get(name), self._states.get(name)
        self._states[name] = state = RulesetState(
            name=name,
            file=file,
            state=LoadState.BROKEN if known is None else LoadState.STALE,
            digest=None if known is None else known.digest,
            loaded_at_s=None if before is None else before.loaded_at_s,
            problems=tuple(problems),
            rules=frozenset() if known is None else _names_in(known),
        )
        first = state.problems[0]
        _log.warning(
            "rules_not_loaded",
            ruleset=name,
            state=state.state.value,
            problems=len(state.problems),
            code=first.code,
            file=first.mark.file,
            line=first.mark.line,
            # What a failed case looked at comes after the semicolon: an example, but it may be true.
            message=first.message.partition(";")[0],
        )
        self._tell(state)

    async def _miss(self, names: Iterable[str]) -> None:
        """Rulesets without a file: what a router uses goes on, the rest is forgotten."""
        in_use = self._in_use()
        self._sought &= in_use
        for name in sorted(names):
            if name in in_use:
                await self._go_on_without_file(name)
            elif name in self._states:
                self._forget(name)
                if self._last_good is not None:
                    await asyncio.to_thread(last_good_rules.keep, self._last_good, name, None)

    async def _go_on_without_file(self, name: str) -> None:
        if name not in self._rulesets and name not in self._sought:
            self._sought |= {name}
            await self._restore(name)
            if name not in self._rulesets:
                _log.error("rules_missing", ruleset=name)
        ruleset, state = self._rulesets.get(name), self._states.get(name)
        if ruleset is None:
            if state is not None:
                self._forget(name)
            return
        if state is None or state.problems[:1] != (_missing(state.file),):
            file = Path(ruleset.document.file).name
            self._keep(name, file, [_missing(file)])

    def _forget(self, name: str) -> None:
        state = self._states.pop(name)
        self._rulesets.pop(name, None)
        self._packed.pop(name, None)
        self._findings.pop(name, None)
        _log.info("rules_forgotten", ruleset=name)
        self._tell(msgspec.structs.replace(state, state=LoadState.GONE))

    def _state(self, name: str) -> RulesetState:
        state, ignored = self._states[name], self._last.ignored.get(name)
        if ignored is None:
            return state
        message = f"this file is ignored: {state.file} has this name too"
        problem = problem_of(ignored, "duplicate-name", message)
        return msgspec.structs.replace(state, problems=(*state.problems, problem))

    def _tell(self, state: RulesetState) -> None:
        if self._on_change is not None:
            self._on_change(state)


def _names_in(ruleset: Ruleset) -> frozenset[str]:
    return frozenset({DEFAULT_RULE, *(rule.name for rule in ruleset.document.rules)})


def _missing(file: str) -> Problem:
    return problem_of(Path(file), "file-missing", "the file is gone")
