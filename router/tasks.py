"""Ending a task without losing that one is ended oneself."""

import asyncio


async def end(task: "asyncio.Future[None]") -> None:
    """Cancel a task and wait until it has ended; what it failed with is raised.

    To await a cancelled task and suppress its CancelledError would also suppress one that is meant
    for the caller, who would then go on for ever.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
