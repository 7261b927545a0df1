"""Child processes that are kept alive: one that dies is started again, slower each time."""

import asyncio
import contextlib
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Final

import structlog

BACKOFF_S: Final = (0.1, 5.0)
"""Before the first new start, and at most."""

STEADY_S: Final = 30.0
"""Who lived this long is started again as after the first death."""

_log = structlog.get_logger(__name__)


async def keep_alive(
    make: Callable[[], BaseProcess],
    *,
    stop_s: float,
    on_end: Callable[[BaseProcess], None] = lambda _: None,
) -> None:
    """Until cancelled; then the process is asked to end, and killed after `stop_s`.

    `make` makes a process, which is started at once. `on_end` is told of each one that has ended.
    """
    loop, backoff_s = asyncio.get_running_loop(), BACKOFF_S[0]
    while True:
        began_s, process = loop.time(), make()
        process.start()
        try:
            await readable(process.sentinel)
        finally:
            await _end(process, stop_s)
            on_end(process)
        _log.error(
            "process_died", process=process.name, pid=process.pid, exit_code=process.exitcode
        )
        backoff_s = BACKOFF_S[0] if loop.time() - began_s > STEADY_S else backoff_s * 2
        await asyncio.sleep(min(backoff_s, BACKOFF_S[1]))


async def readable(descriptor: int) -> None:
    """Wait until there is something to read, or the end, on a file descriptor."""
    seen, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(descriptor, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(descriptor)


async def _end(process: BaseProcess, stop_s: float) -> None:
    if process.is_alive():
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(stop_s):
                await readable(process.sentinel)
    if process.is_alive():
        process.kill()
    process.join()
