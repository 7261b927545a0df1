"""Work on files is gathered: one visit of a thread for all who have any."""

import asyncio
import threading

import pytest

from router.telephony import visits
from router.telephony.visits import Visits


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(visits, "GATHER_S", 0.01)


async def test_what_several_want_is_done_in_one_visit_in_order_and_what_fails_is_one_s_own(
    monkeypatch: pytest.MonkeyPatch,
):
    loop, done = asyncio.get_running_loop(), list[int]()
    entered = list[object]()
    run = loop.run_in_executor

    def look_on(pool: None, work: object, *args: object) -> asyncio.Future[object]:
        entered.append(work)
        return run(pool, work, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "run_in_executor", look_on)

    def work(number: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        done.append(number)
        if number == 1:
            raise OSError("no such disk")
        return number

    together = Visits()
    results = await asyncio.gather(
        *(together.do(lambda number=number: work(number)) for number in range(3)),
        return_exceptions=True,
    )
    assert [results[0], results[2]] == [0, 2]
    assert isinstance(results[1], OSError)
    assert done == [0, 1, 2]
    assert len(entered) == 1
    assert await together.do(lambda: work(4)) == 4
    assert len(entered) == 2


async def test_what_is_not_to_be_done_yet_waits_for_a_later_visit():
    loop, together = asyncio.get_running_loop(), Visits()
    began = loop.time()
    later = asyncio.create_task(together.do(loop.time, after_s=0.05))
    assert await together.do(loop.time) < began + 0.05
    assert not later.done()
    assert await later >= began + 0.05


async def test_who_waits_no_more_has_nothing_done():
    done, together = list[str](), Visits()
    gone = asyncio.create_task(together.do(lambda: done.append("gone")))
    await asyncio.sleep(0)
    stays = asyncio.create_task(together.do(lambda: done.append("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert done == ["stays"]
