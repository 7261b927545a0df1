"""Records that the journal takes along cost no second look."""

import asyncio
import contextlib
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from pbx.machine.commands import Note
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind
from router.deadline import in_s
from router.store.call_records import Stands
from router.telephony import records
from router.telephony.records import StoreRecords

CALL = CallState(id="c1", kind=Kind.INBOUND, channel=LegId("1"))


async def test_what_the_journal_writes_at_once_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    naps: list[float] = []
    turn = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await turn(0)

    monkeypatch.setattr(records, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": nap}))
    store = AsyncMock()
    kept = StoreRecords(store, "acme", "pbx")
    task = asyncio.create_task(kept.run())
    await turn(0)
    kept.note(CALL, Note(what="decided"))
    assert await kept.write(CALL.id, Stands(b"{}"), in_s(1))
    for _ in range(5):
        await turn(0)
    assert naps == []
    kept.note(CALL, Note(what="beside"))
    for _ in range(5):
        await turn(0)
    assert naps
    assert store.append.await_count == 2
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
