"""Live calls written down, and the lease on a PBX, on a real Redis."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pbx.machine.commands import Note
from pbx.machine.state import CallState, Phase
from router.call_record import CallRecord
from router.deadline import in_s
from router.store.call_records import CallRecords
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.store.scripts import load_script, make_script
from router.telephony.journal import LiveJournal
from router.telephony.leading import Leading
from router.telephony.records import StoreRecords
from tests.integration.redis.telephony.switchboard import TENANT, call
from tests.servers import Server

ID = "pbx1"


def journal_of(links: Links, records: StoreRecords | None = None) -> LiveJournal:
    return LiveJournal(LiveCalls(links), records or records_of(links), TENANT, ID)


def records_of(links: Links) -> StoreRecords:
    return StoreRecords(CallRecords(links), TENANT, ID)


async def recorded(links: Links, state: CallState) -> CallRecord:
    found = await CallRecords(links).get(TENANT, state.id, in_s(5))
    assert found is not None
    return found


async def loaded(links: Links) -> dict[str, Phase]:
    states = await journal_of(links).load()
    return {state.id: state.phase for state in states}


async def test_the_latest_state_of_each_call_is_read_back_and_ended_calls_are_gone(redis_url: str):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        heard: list[CallState] = []
        journal = LiveJournal(
            LiveCalls(links), records_of(links), TENANT, ID, on_loaded=heard.extend
        )
        stays, ends = call(), call()
        await journal.save(stays)
        await journal.save(ends)
        await journal.save(replace(stays, phase=Phase.HOLDING))
        await journal.forget(ends.id)
        assert await loaded(links) == {stays.id: Phase.HOLDING}
        assert [state.id for state in await journal.load()] == [stays.id]
        assert [state.id for state in heard] == [stays.id]


async def test_what_happens_while_the_store_is_away_is_written_when_it_is_back(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with Links(parse_store_url(server.url)) as links:
        await links.wait_open(in_s(5))
        journal = journal_of(links)
        before, during, ended = call(), call(), call()
        await journal.save(before)
        await journal.save(ended)
        server.pause()
        try:
            for phase in (Phase.ASKING, Phase.PLACING, Phase.HOLDING):
                await journal.save(replace(before, phase=phase))
            await journal.save(during)
            await journal.forget(ended.id)
            assert len(journal) == 3
        finally:
            server.resume()
        writing = asyncio.create_task(journal.run())
        async with asyncio.timeout(15):
            while len(journal):
                await asyncio.sleep(0.01)
        writing.cancel()
        assert await loaded(links) == {before.id: Phase.HOLDING, during.id: Phase.NEW}


async def test_what_was_noted_is_in_the_record_as_soon_as_the_state_is_written_down(redis_url: str):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        records, state = records_of(links), call()
        journal = journal_of(links, records)
        records.note(state, Note(what="decided", detail="vip"))
        await journal.save(replace(state, phase=Phase.HOLDING))  # and then it is killed
        record = await recorded(links, state)
        assert ([event.what for event in record.events], record.ended_ms) == (["decided"], None)
        assert await loaded(links) == {state.id: Phase.HOLDING}


async def test_the_end_of_a_record_is_written_in_one_with_forgetting_the_call(redis_url: str):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        records, state = records_of(links), call()
        journal = journal_of(links, records)
        await journal.save(state)
        records.close(state, cause=16)
        records.note(state, Note(what="recorded", detail="f.wav 0abc"))
        await journal.forget(state.id)
        record = await recorded(links, state)
        assert (record.cause, record.recordings[0].sha256) == (16, "0abc")
        assert await loaded(links) == {}


async def test_nothing_is_kept_of_a_call_that_noted_something_after_its_end_was_written(
    redis_url: str,
):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        records, state = records_of(links), call()
        records.close(state, cause=16)
        assert await records.flush()
        records.note(state, Note(what="recorded", detail="f.wav 0abc"))
        assert await records.flush()
        await journal_of(links, records).forget(state.id)
        assert records._open == {}
        assert len((await recorded(links, state)).events) == 1


async def test_a_state_that_the_store_did_not_take_comes_later_with_what_was_noted_in_order(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with Links(parse_store_url(server.url)) as links:
        await links.wait_open(in_s(5))
        records, state = records_of(links), call()
        journal = journal_of(links, records)
        server.pause()
        for number in range(120):  # more than one write takes
            records.note(state, Note(what=f"keyed {number}"))
            if number % 50 == 0:
                await journal.save(replace(state, phase=Phase.ASKING))
        assert len(journal) == 1
        server.resume()
        async with asyncio.timeout(15):
            while not await journal.flush():
                await asyncio.sleep(0.01)
        record = await recorded(links, state)
        assert [event.what for event in record.events] == [f"keyed {n}" for n in range(120)]
        assert await loaded(links) == {state.id: Phase.ASKING}


async def test_a_state_of_another_version_does_not_stop_the_others(redis_url: str):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        journal = journal_of(links)
        state = call()
        await journal.save(state)
        await LiveCalls(links).save(TENANT, ID, {"old": b'{"id": 1}'}, in_s(5))
        assert await loaded(links) == {state.id: Phase.NEW}


class Work:
    """Counts how many are at work at a time."""

    def __init__(self) -> None:
        self.at_work = 0
        self.most = 0
        self.begun = 0

    async def run(self) -> None:
        self.begun += 1
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await asyncio.Event().wait()
        finally:
            self.at_work -= 1

    async def until(self, begun: int) -> None:
        async with asyncio.timeout(10):
            while self.begun < begun:
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("is_broken", [False, True])
async def test_the_second_controller_waits_until_the_first_is_gone(redis_url: str, is_broken: bool):
    source = load_script("pbx_lead").source
    weak = source.replace("if holder and holder ~= ARGV[2] then return 0 end --@holder", "")
    scripts = {"pbx_lead": make_script("pbx_lead", weak)} if is_broken else None
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        store, work = LiveCalls(links, scripts), Work()
        first, second = (Leading(store, TENANT, ID, lease_s=0.6) for _ in range(2))
        one = asyncio.create_task(first.run(work.run))
        await work.until(1)
        two = asyncio.create_task(second.run(work.run))
        if is_broken:
            await work.until(2)
            assert work.most == 2
        else:
            await asyncio.wait([two], timeout=1)  # longer than the lease
            assert (work.most, second.is_leading) == (1, False)
            one.cancel()  # without a word: as if killed
            await work.until(2)
            assert (work.most, second.is_leading) == (1, True)
        for task in (one, two):
            task.cancel()
        await asyncio.gather(one, two, return_exceptions=True)


async def take_away(store: LiveCalls, leading: Leading) -> None:
    """Somebody else has the lease now, however often it is renewed meanwhile."""
    while not await store.lead(TENANT, ID, token="b", lease_ms=5000, deadline=in_s(5)):
        await store.lead(TENANT, ID, token=leading.token, lease_ms=0, deadline=in_s(5))


async def test_who_lost_the_lease_stops(redis_url: str):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        store, work = LiveCalls(links), Work()
        leading = Leading(store, TENANT, ID, lease_s=0.3)
        task = asyncio.create_task(leading.run(work.run))
        await work.until(1)
        await take_away(store, leading)
        async with asyncio.timeout(5):
            while work.at_work:
                await asyncio.sleep(0.005)
        assert not leading.is_leading
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_is_ended_while_the_work_ends_does_not_go_on_waiting_for_the_lease(
    redis_url: str,
):
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        store, begun = LiveCalls(links), asyncio.Event()
        leading = Leading(store, TENANT, ID, lease_s=0.3)

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()

        task = asyncio.create_task(leading.run(work))
        await begun.wait()
        await take_away(store, leading)
        await asyncio.wait([task], timeout=3)
        assert task.cancelled()


async def test_without_a_store_the_controller_in_charge_goes_on(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with Links(parse_store_url(server.url)) as links:
        await links.wait_open(in_s(5))
        work = Work()
        task = asyncio.create_task(Leading(LiveCalls(links), TENANT, ID, lease_s=0.3).run(work.run))
        await work.until(1)
        server.pause()
        await asyncio.wait([task], timeout=1)
        assert work.at_work == 1
        server.resume()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
