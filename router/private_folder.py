"""Folders that are made readable by us only, with all those above them that have to be made."""

import contextlib
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make it where it is not there; one that is there keeps its mode. OSError. Touches the disk."""
    for each in (*reversed(folder.parents), folder):  # mkdir's mode is not for the parents it makes
        if not each.exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                each.mkdir(mode=0o700)
    folder.mkdir(exist_ok=True)  # FileExistsError: it is no folder
