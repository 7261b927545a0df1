"""Work that never ends, and ending it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from router import tasks


async def test_work_that_fails_or_ends_is_begun_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "AGAIN_S", 0)
    begun = 0
    goes_on = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise RuntimeError("+12125550142")
        if begun == 3:
            goes_on.set()
            await asyncio.Event().wait()

    with capture_logs() as said:
        task = asyncio.create_task(tasks.forever(work))
        async with asyncio.timeout(5):
            await goes_on.wait()
    assert [one["event"] for one in said] == ["background_work_failed"]
    await tasks.end(task)
    assert task.cancelled()


async def test_what_a_task_fails_with_as_it_ends_is_raised():
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("at the end")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="at the end"):
        await tasks.end(task)


async def test_who_is_cancelled_while_ending_a_task_ends_as_well():
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.cancel()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    ending = asyncio.create_task(tasks.end(task))
    await asyncio.wait([ending], timeout=5)
    assert ending.cancelled()
