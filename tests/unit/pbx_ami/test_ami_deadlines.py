"""One timer ends whatever nothing else has ended in time."""

import asyncio

import pytest

from pbx.ami.deadlines import Deadlines
from pbx.errors import OutcomeUnknownError
from tests.unit.pbx_ami.fake_ami import soon


def future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def in_ms(milliseconds: float) -> float:
    return asyncio.get_running_loop().time() + milliseconds / 1000


async def test_each_ends_at_its_own_deadline_and_who_is_dropped_does_not():
    deadlines, late, later, dropped = Deadlines(), future(), future(), future()
    deadlines.put(later, in_ms(40), OutcomeUnknownError)
    deadlines.put(late, in_ms(10), OutcomeUnknownError)  # comes second and ends first
    deadlines.put(dropped, in_ms(5), OutcomeUnknownError)
    deadlines.drop(dropped)
    async with asyncio.timeout_at(soon()):
        with pytest.raises(OutcomeUnknownError):
            await late
        assert not later.done()
        with pytest.raises(OutcomeUnknownError):
            await later
    assert not dropped.done()
    assert len(deadlines) == 0


async def test_one_timer_is_made_for_many(monkeypatch: pytest.MonkeyPatch):
    loop, made = asyncio.get_running_loop(), list[float]()
    call_at = loop.call_at

    def counted(when: float, *rest: object) -> asyncio.TimerHandle:
        made.append(when)
        return call_at(when, *rest)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(loop, "call_at", counted)
    deadlines, many = Deadlines(), [future() for _ in range(50)]
    for number, one in enumerate(many):
        deadlines.put(one, in_ms(1000 + number), OutcomeUnknownError)
        deadlines.drop(one)
    deadlines.close()
    assert len(made) == 1


async def test_what_has_ended_by_itself_is_left_alone():
    deadlines, answered, other = Deadlines(), future(), future()
    deadlines.put(answered, in_ms(5), OutcomeUnknownError)
    deadlines.put(other, in_ms(10), OutcomeUnknownError)
    answered.set_result(None)
    async with asyncio.timeout_at(soon()):
        with pytest.raises(OutcomeUnknownError):
            await other
    assert answered.exception() is None
