"""The process that takes calls, kept alive beside the one that serves HTTP (`crosspoint up`)."""

import asyncio
import contextlib
import multiprocessing
import sys
from collections.abc import AsyncIterator
from typing import Final

import structlog

from router import metrics_files
from router.errors import InvalidInputError
from router.logs import configure
from router.processes.children import keep_alive
from router.processes.ending import end_with_parent
from router.settings import LogFormat, Settings
from router.tasks import end

UNUSABLE: Final = 2
STOP_S: Final = 10.0
"""For the calls in progress to be left as they are, to whoever takes over."""


@contextlib.asynccontextmanager
async def pbx_beside(settings: Settings, store_url: str) -> AsyncIterator[None]:
    """Calls are taken as long as the block runs. They survive the death of the process: the next one
    takes them over."""
    spawn = multiprocessing.get_context("spawn")

    def make() -> multiprocessing.process.BaseProcess:
        metrics_files.share(None)
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

    if not end_with_parent():
        return
    try:
        take_calls(settings, store_url)
    except InvalidInputError as error:
        # Not for a traceback: somebody has to mend the settings or a secret. Said with every new try.
        pipe = configure(settings.log.level.value, as_json=settings.log.format is LogFormat.JSON)
        structlog.get_logger(__name__).error("pbx_not_started", reason=str(error))
        pipe.close()
        sys.exit(UNUSABLE)
