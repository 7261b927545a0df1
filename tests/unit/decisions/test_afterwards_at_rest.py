"""What is done after the answers costs nothing while there are none."""

import asyncio
import contextlib
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from router.decisions.error_budget import ErrorBudget
from router.http.decisions import afterwards
from router.http.decisions.afterwards import Afterwards
from router.store.link import Link
from router.store.memory import CallMemory


class NoLinks:
    def link_for(self, tenant: str) -> Link:
        raise AssertionError(tenant)


async def test_nobody_wakes_up_while_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch):
    naps: list[float] = []
    turn = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await turn(0)

    monkeypatch.setattr(afterwards, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": nap}))
    work = Afterwards(
        links=NoLinks(),
        clears_up=Mock(),
        calls=CallMemory(),
        budget=ErrorBudget("here"),
        observer=Mock(),
        clock=lambda: 0.0,
        kept=10,
        with_full_numbers=False,
    )
    task = asyncio.create_task(work.run())
    for _ in range(20):
        await turn(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert naps == []
