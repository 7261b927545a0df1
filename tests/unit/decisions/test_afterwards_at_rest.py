"""What is done after the answers costs nothing while there are none, and keeps up when there are many."""

import asyncio
import contextlib
from collections.abc import Sequence
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from router.deadline import in_s
from router.decisions.error_budget import ErrorBudget
from router.decisions.outcome import Level, Outcome
from router.http.decisions import afterwards
from router.http.decisions.afterwards import AT_ONCE, BATCH, Afterwards, HasLinks
from router.store.link import Link
from router.store.memory import CallMemory
from tests.unit.decisions.decide_fakes import asked


class NoLinks:
    def link_for(self, tenant: str) -> Link:
        raise AssertionError(tenant)


def afterwards_with(links: HasLinks) -> Afterwards:
    return Afterwards(
        links=links,
        clears_up=Mock(),
        calls=CallMemory(),
        budget=ErrorBudget("here"),
        observer=Mock(),
        clock=lambda: 0.0,
        kept=10,
        with_full_numbers=False,
    )


async def test_nobody_wakes_up_while_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch):
    naps: list[float] = []
    turn = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await turn(0)

    monkeypatch.setattr(afterwards, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": nap}))
    work = afterwards_with(NoLinks())
    task = asyncio.create_task(work.run())
    for _ in range(20):
        await turn(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert naps == []


async def test_who_is_behind_has_several_batches_under_way_and_the_rest_in_line(
    monkeypatch: pytest.MonkeyPatch,
):
    sizes: list[int] = []
    is_over = asyncio.Event()

    async def slow(_link: object, _tenant: str, lines: Sequence[object], **_: object) -> None:
        sizes.append(len(lines))
        await is_over.wait()

    monkeypatch.setattr(afterwards.decisions, "append_decisions", slow)
    work = afterwards_with(Mock(link_for=lambda _: Mock(is_open=True)))
    answer = Outcome(body=b"{}", level=Level.FULL)
    for _ in range((AT_ONCE + 2) * BATCH):
        work.put(asked(), answer, 0.001, is_late=False)
    task = asyncio.create_task(work.run())
    end = asyncio.get_running_loop().time() + 5
    while len(sizes) < AT_ONCE and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert sizes == [BATCH] * AT_ONCE
    assert len(work) == 2 * BATCH
    is_over.set()
    while len(work) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.001)
    assert sizes == [BATCH] * (AT_ONCE + 2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_what_is_under_way_at_the_end_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    is_over = asyncio.Event()

    async def slow(*_: object, **__: object) -> None:
        await is_over.wait()

    monkeypatch.setattr(afterwards.decisions, "append_decisions", slow)
    work = afterwards_with(Mock(link_for=lambda _: Mock(is_open=True)))
    task = asyncio.create_task(work.run())
    work.put(asked(), Outcome(body=b"{}", level=Level.FULL), 0.001, is_late=False)
    while len(work):
        await asyncio.sleep(0.001)
    task.cancel()
    closing = asyncio.create_task(work.close(in_s(5)))
    await asyncio.sleep(0.02)
    assert not closing.done()
    is_over.set()
    await asyncio.wait_for(closing, 1)
