"""What stands in the folder of rules: one file per ruleset, and by what its changes are noticed.

A look costs one `stat` for each rules file and each list it names, wherever below the folder that
stands, and nothing for whatever else lies around. Where all of them say the same as at the last look,
that is all it costs.
"""

import heapq
import os
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

MOST_FILES: Final = 1000
"""Rules files that are looked at; more are reported and left alone."""

_MOST_COUNTED: Final = 100_000

SUFFIXES: Final = (".yaml", ".yml")
"""Of two files of one name the one with the first suffix counts, in every process alike."""


class Stamp(NamedTuple):
    """By what a change of a file is noticed; `changed_ns` tells that it may be read now."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int


Stamps = Mapping[Path, Stamp | None]
"""A rules file and the lists it names; None: there is no such file."""


class Look(NamedTuple):
    """One look at the folder: `files` has one file per ruleset.

    `ignored` has files whose name another one has, by that name; `left_out` counts rules files beyond
    MOST_FILES. `problem` says why the folder cannot be read: then it has no files.
    """

    files: Mapping[Path, Stamps] = {}
    ignored: Mapping[str, Path] = {}
    left_out: int = 0
    problem: str | None = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(path.stem for path in self.files)


class Folder:
    """A folder that is looked at again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._glance: object = None
        self._last = Look()

    def look(self, known: Mapping[Path, Collection[Path]]) -> Look:
        """See `look_at`; the very same Look as the last time where nothing has changed."""
        # Before the look: what changes meanwhile shows next time.
        glance = _glance_at(self._path, known)
        if glance != self._glance:
            self._last, self._glance = look_at(self._path, known), glance
        return self._last


def look_at(folder: Path, known: Mapping[Path, Collection[Path]]) -> Look:
    """Look once; `known` tells what belongs to each rules file. Touches the disk: for a thread."""
    names = list(islice(_rules_files(folder), _MOST_COUNTED))
    # Those that are known come first: a flood of new files must not push them out.
    chosen = heapq.nsmallest(MOST_FILES, names, key=lambda name: (folder / name not in known, name))
    files: dict[Path, Stamps] = {}
    ignored: dict[str, Path] = {}
    by_name: set[str] = set()
    for path in sorted(map(folder.joinpath, chosen), key=lambda path: SUFFIXES.index(path.suffix)):
        if path.stem in by_name:
            ignored[path.stem] = path
            continue
        by_name.add(path.stem)
        files[path] = {each: stamp_of(each) for each in {path, *known.get(path, ())}}
    return Look(files, ignored, len(names) - len(chosen), _problem_of(folder))


def _problem_of(folder: Path) -> str | None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        return error.strerror or "it cannot be read"
    return None


def stamp_of(path: str | Path) -> Stamp | None:
    """A file's stamp as it is now; None when it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of a thousand files: a Path is half of what it costs
    except (OSError, ValueError):  # ValueError: no file can have such a name
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _glance_at(folder: Path, known: Mapping[Path, Collection[Path]]) -> object:
    """All that a look depends on, cheaply: names, sizes and times."""
    names = sorted(islice(_rules_files(folder), _MOST_COUNTED))
    start = f"{folder}{os.sep}"
    files = [(name, stamp_of(start + name)) for name in names]
    lists = [
        (each, stamp_of(each)) for path, stamps in known.items() for each in stamps if each != path
    ]
    return files, lists, len(known)


def _rules_files(folder: Path) -> Iterator[str]:
    """Names of the rules files; hidden ones are an editor's business.

    One that cannot be shown (not UTF-8, a control character) no router can name, nor a metric.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                is_ours = name.endswith(SUFFIXES) and name[0] != "." and name.isprintable()
                if is_ours and _is_file(entry):
                    yield name
    except OSError:
        return


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, a file of a disk that is gone: one that is not there
        return False
