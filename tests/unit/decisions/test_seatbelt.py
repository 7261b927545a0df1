"""Blocks of code that overrun their deadline are ended, and nobody else."""

import asyncio

import pytest

from router.deadline import Deadline, in_s
from router.decisions.seatbelt import Seatbelts


async def waits_until(belts: Seatbelts, deadline: Deadline) -> str:
    try:
        with belts.until(deadline):
            await asyncio.Event().wait()
    except TimeoutError:
        return "ended"
    return "impossible"


async def test_what_overruns_is_ended_at_its_own_deadline():
    belts, loop = Seatbelts(), asyncio.get_running_loop()
    ended: dict[float, float] = {}

    async def one(seconds: float) -> None:
        deadline = in_s(seconds)
        assert await waits_until(belts, deadline) == "ended"
        ended[seconds] = loop.time() - deadline

    async with asyncio.TaskGroup() as group:
        for seconds in (0.06, 0.02, 0.04, 0.02, -1.0):  # earlier ones come after later ones
            group.create_task(one(seconds))
    assert list(ended) == [-1.0, 0.02, 0.04, 0.06]
    assert min(ended.values()) >= -0.001


async def test_what_is_over_in_time_is_left_alone():
    belts = Seatbelts()
    with belts.until(in_s(0.005)):
        await asyncio.sleep(0)
    deadline = in_s(0.02)
    assert await waits_until(belts, deadline) == "ended"  # and not when the first one's time was up
    assert asyncio.get_running_loop().time() >= deadline - 0.001


async def test_a_task_goes_on_after_its_block_was_ended():
    belts = Seatbelts()
    assert await waits_until(belts, in_s(0)) == "ended"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await waits_until(belts, in_s(0.005)) == "ended"


async def test_who_is_cancelled_by_somebody_else_stays_cancelled():
    task = asyncio.create_task(waits_until(Seatbelts(), in_s(10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_at_the_deadline_too_stays_cancelled():
    belts = Seatbelts()
    task = asyncio.create_task(waits_until(belts, in_s(0.01)))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    belt = next(iter(belts._worn))
    belt.cut()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_inside_comes_out_as_it_is():
    with pytest.raises(ValueError, match="inside"), Seatbelts().until(in_s(1)):
        raise ValueError("inside")
