"""Tasks: one that goes on for ever, and ending one without losing that one is ended oneself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

AGAIN_S: Final = 1.0

Work = Callable[
    [], Coroutine[Any, Any, None]
]  # Any: what a coroutine is sent is asyncio's business

_log = structlog.get_logger(__name__)


async def forever(work: Work) -> None:
    """Do work that is never to end, until cancelled: when it fails, or ends, it is begun again.

    What stands behind answers and calls must not take them down with it.
    """
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - a boundary: the process' own tasks
            _log.error("background_work_failed", work=work.__qualname__, exc_info=True)
        await asyncio.sleep(AGAIN_S)


async def end(task: "asyncio.Future[None]") -> None:
    """Cancel a task and wait until it has ended; what it failed with is raised.

    To await a cancelled task and suppress its CancelledError would also suppress one that is meant
    for the caller, who would then go on for ever.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
