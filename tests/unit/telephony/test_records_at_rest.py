"""Records that the journal takes along cost no second look; a store that is away costs no flood of words."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from pbx.machine.commands import Note
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind
from router.deadline import in_s
from router.errors import StoreDownError
from router.store.call_records import Stands
from router.telephony import records
from router.telephony.records import StoreRecords

CALL = CallState(id="c1", kind=Kind.INBOUND, channel=LegId("1"))


@contextlib.asynccontextmanager
async def running(kept: StoreRecords) -> AsyncIterator[None]:
    task = asyncio.create_task(kept.run())
    await asyncio.sleep(0)
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_what_the_journal_writes_at_once_wakes_nobody_and_what_is_noted_beside_is_written(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(records, "EVERY_S", 0.01)
    store = AsyncMock()
    kept = StoreRecords(store, "acme", "pbx")
    flushed: list[bool] = []
    flush = kept.flush

    async def look_on() -> bool:
        flushed.append(True)
        return await flush()

    monkeypatch.setattr(kept, "flush", look_on)
    async with running(kept):
        kept.note(CALL, Note(what="decided"))
        assert await kept.write(CALL.id, Stands(b"{}"), in_s(1))
        await asyncio.sleep(0.03)
        assert flushed == []
        kept.note(CALL, Note(what="beside"))
        async with asyncio.timeout(5):
            while store.append.await_count < 2:
                await asyncio.sleep(0.001)
    assert flushed == [True]
    (beside,) = store.append.await_args.args[2]
    assert beside.what == "beside"


async def test_what_the_store_did_not_take_of_the_journal_is_written_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(records, "EVERY_S", 0.01)
    store = AsyncMock()
    store.append.side_effect = StoreDownError()
    kept = StoreRecords(store, "acme", "pbx")
    async with running(kept):
        kept.note(CALL, Note(what="decided"))
        with pytest.raises(StoreDownError):
            await kept.write(CALL.id, Stands(b"{}"), in_s(1))
        store.append.side_effect = None
        async with asyncio.timeout(5):
            while store.append.await_count < 2:
                await asyncio.sleep(0.001)
    (late,) = store.append.await_args.args[2]
    assert late.what == "decided"


async def test_the_end_of_a_call_is_written_without_a_pause():
    store = AsyncMock()
    kept = StoreRecords(store, "acme", "pbx")
    async with running(kept):
        kept.close(CALL, cause=16)
        for _ in range(10):
            await asyncio.sleep(0)
        assert store.append.await_count == 1
    assert store.append.await_args.kwargs["end"].cause == 16


async def test_a_store_that_is_away_is_spoken_of_twice_and_all_is_written_in_the_end():
    store = AsyncMock()
    store.append.side_effect = StoreDownError()
    kept = StoreRecords(store, "acme", "pbx")
    with capture_logs() as said:
        for number in range(3):
            call = replace(CALL, id=f"c{number}")
            kept.note(call, Note(what="decided"))
            assert not await kept.flush()
        store.append.side_effect = None
        assert await kept.flush()
    assert [(one["event"], one["log_level"]) for one in said] == [
        ("call_records_late", "warning"),
        ("call_records_caught_up", "info"),
    ]
    written = {each.args[1].id for each in store.append.await_args_list[-3:]}
    assert written == {"c0", "c1", "c2"}
