"""The files that several workers on one port keep their metrics in, so that each can tell of all.

How it works. Each service has a folder of its own below `data_dir/metrics`, locked as long as its
supervisor lives (the kernel unlocks it, however that ends): one service may take over from another in the
same data folder, and neither touches the other's files. Whoever starts removes the folders that nobody
holds. In it the files are those of a worker's place, not of its process: whoever is started in a dead
one's place counts on.

prometheus_client writes the files, where DIRECTORY_VARIABLE is set before it is imported. It never takes a
series out of them: what there is no more is left out of what is shown (`OnlyWhatThereIs`).
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from router.private_files import make_private

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_MOST_TRIES: Final = 100


@contextlib.contextmanager
def folder_of_service(data_dir: Path) -> Iterator[Path]:
    """A new folder for the workers' metrics, nobody else's as long as the block runs.

    For the supervisor, before the first worker starts. OSError. Touches the disk.
    """
    above = data_dir / "metrics"
    make_private(above)
    for left in above.iterdir():
        _remove_if_nobodys(left)
    folder, lock = _new_folder(above)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new_folder(above: Path) -> tuple[Path, int]:
    """A folder and what holds its lock."""
    for _ in range(_MOST_TRIES):
        folder = Path(tempfile.mkdtemp(dir=above, prefix=f"{os.getpid()}-"))
        if (lock := _locked(folder)) is not None:
            if folder.exists():
                return folder, lock
            os.close(lock)  # somebody found it before it was locked, and took it for left behind
    message = f"somebody else keeps removing what is in {above}"
    raise OSError(message)


def _remove_if_nobodys(folder: Path) -> None:
    lock = _locked(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """What holds the lock; None: somebody else does, or there is no such folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def share(folder: Path | None) -> None:
    """Have a process that is started now keep its values in this folder; None: to itself.

    Of whoever is no worker nobody would take them out again.
    """
    if folder is None:
        os.environ.pop(DIRECTORY_VARIABLE, None)
    else:
        os.environ[DIRECTORY_VARIABLE] = str(folder)


def count_in(place: str) -> None:
    """Keep this worker's values in the files of its place. Before the first metric is made.

    No two processes may be in one place at a time. By process there would be files of everyone who ever
    died, all read at every scrape.
    """
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]  # the library's


def worker_ended(folder: Path, place: str) -> None:
    """Forget the live gauges of a worker that ended; its counts stay."""
    mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]  # the library's


class OnlyWhatThereIs(Collector):
    """What all workers of a folder count, without the series of what there is no more.

    `is_there` is asked about a series by its labels. Reads files: off the loop.
    """

    def __init__(self, folder: Path, is_there: Callable[[Mapping[str, str]], bool]) -> None:
        self._inner = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]  # the library's
        self._is_there = is_there

    def collect(self) -> Iterable[Metric]:
        for metric in self._inner.collect():  # type: ignore[no-untyped-call]  # the library's
            metric.samples = [sample for sample in metric.samples if self._is_there(sample.labels)]
            yield metric
