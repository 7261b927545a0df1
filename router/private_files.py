"""Folders and files that are readable by us only."""

import contextlib
import os
import tempfile
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there; one that is there keeps its mode.

    OSError. Touches the disk.
    """
    for each in (*reversed(folder.parents), folder):  # mkdir's mode is not for the parents it makes
        if not each.exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                each.mkdir(mode=0o700)
    folder.mkdir(exist_ok=True)  # FileExistsError: it is no folder


def write_private(file: Path, data: bytes) -> None:
    """Write a file whole or not at all, in a folder that is made if need be. OSError. Touches the disk."""
    make_private(file.parent)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mkstemp: mode 0600
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
