"""One rules file from disk to a ruleset whose cases pass, or to what is wrong with it."""

from pathlib import Path
from typing import NamedTuple

from router.rulesets.archive import pack
from router.rulesets.folder import Stamp, Stamps, stamp_of
from rules.cases import run_cases
from rules.loader import load_source
from rules.problems import FileError, Mark, Problem
from rules.ruleset import Ruleset, compile_ruleset


class Loaded(NamedTuple):
    """What came of reading one file. `stamps` are those of the file and of every list it names.

    They are from before each was read: what changes while it is read is noticed at the next look.
    """

    ruleset: Ruleset | None
    problems: tuple[Problem, ...]
    stamps: Stamps
    packed: bytes | None = None


def load(path: Path, now_s: float) -> Loaded:
    """Read, compile and run the cases of one file; for a thread, it may take seconds."""
    stamps: dict[Path, Stamp | None] = {path: stamp_of(path)}

    def on_csv(name: str) -> None:
        stamps[path.parent / name] = stamp_of(path.parent / name)

    try:
        document, source = load_source(path, on_csv)
        ruleset = compile_ruleset(document)
        problems = tuple(run_cases(ruleset))
        ruleset.prepare(now_s)
        packed = pack(source)
    except FileError as error:
        return Loaded(None, tuple(error.problems), stamps)
    except Exception as error:  # noqa: BLE001 - a boundary: whatever a file does to us, calls go on
        message = f"cannot be read: {type(error).__name__}"
        return Loaded(None, (problem_of(path, "unreadable", message),), stamps)
    return Loaded(None if problems else ruleset, problems, stamps, packed)


def problem_of(path: Path, code: str, message: str) -> Problem:
    """Something wrong with a file as a whole."""
    return Problem(mark=Mark(path.name, 1, 1), code=code, message=message)
