"""The process that takes calls, kept alive beside the one that serves HTTP (`crosspoint up`)."""

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess
from typing import Final, Self

import structlog

from router.settings import Settings

BACKOFF_S: Final = (0.1, 5.0)
STEADY_S: Final = 30.0
STOP_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1

_log = structlog.get_logger(__name__)


class PbxBeside:
    """Runs as long as the block; when the process dies it is started again, slower each time.

    The calls survive that: the next one takes them over.
    """

    def __init__(self, settings: Settings, store_url: str) -> None:
        self._settings = settings
        self._store_url = store_url
        self._context = multiprocessing.get_context("spawn")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep(), name="pbx")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        loop, backoff_s = asyncio.get_running_loop(), BACKOFF_S[0]
        while True:
            began = loop.time()
            process = self._context.Process(
                target=_take_calls, args=(self._settings, self._store_url), name="crosspoint-pbx"
            )
            process.start()
            try:
                await _ended(process)
            finally:
                await _stop(process)
            _log.error("pbx_died", pid=process.pid, exit_code=process.exitcode)
            backoff_s = BACKOFF_S[0] if loop.time() - began > STEADY_S else backoff_s * 2
            await asyncio.sleep(min(backoff_s, BACKOFF_S[1]))


async def _stop(process: BaseProcess) -> None:
    if process.is_alive():
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await _ended(process)
    if process.is_alive():
        process.kill()
    process.join()


async def _ended(process: BaseProcess) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)


def _take_calls(settings: Settings, store_url: str) -> None:
    """The main function of the process; it ends with its parent."""
    from router.serve import stop_signal  # noqa: PLC0415 - serve imports this module
    from router.taking_calls import take_calls  # noqa: PLC0415 - only the child needs all of it

    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        take_calls(settings, store_url, stop_signal)
