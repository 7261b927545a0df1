"""The last good version of each ruleset on this machine's disk, for a process that starts anew.

Without it a worker that is started again while a rules file is broken would know no rules at all,
and would answer otherwise than those beside it that have been running all along.
"""

from pathlib import Path
from typing import Final

import structlog

from router.private_files import write_private
from router.rulesets.archive import LARGEST_PACKED, unpack
from rules.cases import run_cases
from rules.loader import parse_source
from rules.ruleset import Ruleset, compile_ruleset

LAST_GOOD_RULES: Final = "last_good_rules"
"""Folder below the data folder."""

_SUFFIX: Final = ".packed"
_log = structlog.get_logger(__name__)


def keep(folder: Path, name: str, packed: bytes | None) -> None:
    """Put a version in the place of the one before, whole or not at all; None (too large): none.

    Touches the disk: for a thread. A disk that cannot be written is logged, and no more.
    """
    file = folder / f"{name}{_SUFFIX}"
    try:
        if packed is None:
            file.unlink(missing_ok=True)
        elif not file.exists() or file.read_bytes() != packed:
            write_private(file, packed)
    except OSError as error:
        _log.warning("last_good_rules_not_kept", ruleset=name, reason=error.strerror)


def kept_names(folder: Path) -> frozenset[str]:
    """The names of the rulesets that a version is kept of."""
    return frozenset(path.stem for path in folder.glob(f"*{_SUFFIX}"))


def restore(folder: Path, name: str, now_s: float) -> tuple[Ruleset, bytes] | None:
    """The version that was kept, its cases passed, and its packed form; None if there is none."""
    try:
        with (folder / f"{name}{_SUFFIX}").open("rb") as file:
            packed = file.read(LARGEST_PACKED + 1)
    except OSError:
        return None
    source = unpack(packed)
    if source is None or source.name != name:
        return None
    try:
        ruleset = compile_ruleset(parse_source(source))
        if run_cases(ruleset):
            return None
        ruleset.prepare(now_s)
    except Exception:  # noqa: BLE001 - a boundary: whatever the file does to us, the start goes on
        return None
    return ruleset, packed
