"""The process that takes calls, kept alive beside the one that serves HTTP (`crosspoint up`)."""

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator
from typing import Final

from router.processes.children import keep_alive
from router.processes.ending import end_with_parent
from router.settings import Settings
from router.tasks import end

STOP_S: Final = 10.0
"""For the calls in progress to be left as they are, to whoever takes over."""


@contextlib.asynccontextmanager
async def pbx_beside(settings: Settings, store_url: str) -> AsyncIterator[None]:
    """Calls are taken as long as the block runs. They survive the death of the process: the next one
    takes them over."""
    spawn = multiprocessing.get_context("spawn")

    def make() -> multiprocessing.process.BaseProcess:
        arguments = (settings, store_url)
        return spawn.Process(target=_take_calls, args=arguments, name="crosspoint-pbx")

    kept = asyncio.create_task(keep_alive(make, stop_s=STOP_S), name="pbx")
    try:
        yield
    finally:
        await end(kept)


def _take_calls(settings: Settings, store_url: str) -> None:
    """The main function of the process."""
    from router.processes.taking_calls import take_calls  # noqa: PLC0415 - only the child needs it

    if end_with_parent():
        take_calls(settings, store_url)
