"""Call records on a real Redis: written as things happen, complete whoever writes them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from pbx.machine.commands import Note
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind
from router.call_record import QUEUED, CallRecord, Direction, Disposition
from router.deadline import in_s
from router.store import call_records
from router.store.call_records import CallRecords, RecordFilters
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.telephony.records import StoreRecords
from tests.integration.redis.telephony.switchboard import CALLER, DID, TENANT, call
from tests.servers import Server

LEG = LegId("leg-1")


@pytest.fixture
async def links(redis_url: str) -> AsyncIterator[Links]:
    async with Links(parse_store_url(redis_url)) as one:
        await one.wait_open(in_s(5))
        yield one


class Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        self.ms += 1000
        return self.ms


def recorder(links: Links, clock: Callable[[], int] | None = None) -> StoreRecords:
    return StoreRecords(
        CallRecords(links), TENANT, "pbx1", keep_days=36_500, now_ms=clock or Clock()
    )


def talk(records: StoreRecords, state: CallState, *, from_: int = 0, to: int = 6) -> None:
    notes = [
        Note(what="decided", detail="vip"),
        Note(what=QUEUED, detail="support"),
        Note(what="offered", leg=LEG, agent="ada"),
        Note(what="answered", leg=LEG, agent="ada"),
        Note(what="talking", agent="ada"),
        Note(what="recorded", detail="f.wav 0abc"),
    ]
    for note in notes[from_:to]:
        records.note(state, note)


async def read(links: Links, state: CallState) -> CallRecord:
    found = await CallRecords(links).get(TENANT, state.id, in_s(5))
    assert found is not None
    return found


async def test_a_record_has_waits_offers_agents_recordings_and_masked_digits(links: Links):
    records = recorder(links)
    state = call(arrived_ms=1_800_000_000_000, digits={"main": "1", "account": "12345678"})
    talk(records, state)
    records.close(state, cause=16)
    assert await records.flush()
    record = await read(links, state)
    assert (record.caller, record.called, record.cause) == (CALLER, DID, 16)
    assert (record.rules, record.agents) == (("vip",), ("ada",))
    assert record.digits == {"main": "1", "account": "…"}
    (wait,), (offer,) = record.waits, record.offers
    assert (wait.queue, wait.left_ms, wait.outcome) == ("support", record.talking_ms, "talking")
    assert (offer.agent, offer.outcome) == ("ada", "answered")
    assert record.recordings[0].sha256 == "0abc"
    assert record.disposition is Disposition.ANSWERED


async def test_a_crash_leaves_a_record_and_who_takes_over_completes_it(links: Links):
    clock = Clock()
    before, state = recorder(links, clock), call()
    talk(before, state, to=3)
    assert await before.flush()
    half = await read(links, state)
    assert (half.disposition, half.ended_ms) == (Disposition.LIVE, None)
    after = recorder(links, clock)
    talk(after, state, from_=3)
    after.close(state, cause=16)
    assert await after.flush()
    whole = await read(links, state)
    assert [event.what for event in whole.events][:3] == ["decided", QUEUED, "offered"]
    assert (whole.disposition, whole.offers[0].outcome) == (Disposition.ANSWERED, "answered")


async def test_a_batch_written_twice_counts_once_and_the_first_end_stays(links: Links):
    store, records, state = CallRecords(links), recorder(links), call()
    talk(records, state)
    kept = records._open[state.id]
    for _ in range(2):
        given = {"end": None, "keep_ms": 10**12, "deadline": in_s(5)}
        await store.append(TENANT, kept.head, kept.events, **given)
    assert len((await read(links, state)).events) == 6
    records.close(state, cause=16)
    assert await records.flush()
    late = recorder(links)
    late.close(state, cause=34)
    assert await late.flush()
    assert (await read(links, state)).cause == 16


async def test_records_written_while_the_store_is_away_come_later(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with Links(parse_store_url(server.url)) as links:
        await links.wait_open(in_s(5))
        records, state = recorder(links), call()
        server.pause()
        talk(records, state)
        records.close(state, cause=16)
        assert not await records.flush()
        server.resume()
        async with asyncio.timeout(10):
            while not await records.flush():
                await asyncio.sleep(0.01)
        assert (await read(links, state)).disposition is Disposition.ANSWERED
        assert records._open == {}


async def test_records_are_found_by_time_queue_agent_disposition_and_direction(links: Links):
    records, store = recorder(links), CallRecords(links)
    old, new = call(arrived_ms=1_000_000), call(arrived_ms=2_000_000)
    out = replace(call(arrived_ms=3_000_000), kind=Kind.CLICK_TO_CALL)
    talk(records, new)
    for state in (old, new, out):
        records.close(state, cause=16)
    assert await records.flush()

    async def found(**wanted: object) -> list[str]:
        filters = RecordFilters(**wanted)  # type: ignore[arg-type]  # keywords
        return [one.id for one in await store.find(TENANT, filters, in_s(5))]

    assert await found() == [out.id, new.id, old.id]
    assert await found(since_ms=2_000_000, until_ms=3_000_000) == [new.id]
    assert await found(queue="support") == await found(agent="ada") == [new.id]
    assert await found(disposition=Disposition.UNANSWERED) == [out.id, old.id]
    assert await found(direction=Direction.OUTBOUND) == [out.id]
    second = await store.find(TENANT, RecordFilters(), in_s(5), limit=1, before=out.id)
    assert [one.id for one in second] == [new.id]


async def test_what_is_said_of_a_recording_again_counts_once_and_it_stays_in_its_mailbox(
    links: Links,
):
    records, state = recorder(links), call()
    talk(records, state)
    for detail in ("m.wav 0def sales", "f.wav 0abc", "m.wav 0def"):
        records.note(state, Note(what="recorded", detail=detail))
    await records.flush()
    found = [(one.name, one.mailbox) for one in (await read(links, state)).recordings]
    assert found == [("f.wav", None), ("m.wav", "sales")]


async def test_a_very_long_call_is_recorded_as_what_it_became(
    links: Links, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(call_records, "MOST_EVENTS", 10)
    records, state = recorder(links), call()
    for _ in range(20):
        records.note(state, Note(what="offer_no_answer", leg=LEG, agent="ada"))
    talk(records, state)
    records.close(state, cause=16)
    assert await records.flush()
    record = await read(links, state)
    assert record.disposition is Disposition.ANSWERED
    assert (record.agents, record.waits[0].outcome) == (("ada",), "talking")
    assert [one.name for one in record.recordings] == ["f.wav"]
    for _ in range(30):
        records.note(state, Note(what="talking", agent="ada"))
    assert await records.flush()
    assert len((await read(links, state)).events) == 20


async def test_the_attempts_of_a_callback_are_records_of_their_own(links: Links):
    records, store = recorder(links), CallRecords(links)
    attempts = [
        replace(call(arrived_ms=at_ms), kind=Kind.CALLBACK_AGENT_FIRST, callback="cb-1")
        for at_ms in (1_000_000, 2_000_000)
    ]
    for state, cause in zip(attempts, (17, 16), strict=True):
        records.close(state, cause=cause)
    records.close(call(), cause=16)
    assert await records.flush()
    found = await store.find(TENANT, RecordFilters(callback="cb-1"), in_s(5))
    assert [(one.id, one.callback, one.cause) for one in found] == [
        (attempts[1].id, "cb-1", 16),
        (attempts[0].id, "cb-1", 17),
    ]


async def test_old_records_leave_the_list(links: Links):
    store = CallRecords(links)
    records = StoreRecords(store, TENANT, "pbx1", keep_days=1)
    records.close(call(arrived_ms=1_000), cause=16)
    assert await records.flush()
    assert await store.find(TENANT, RecordFilters(), in_s(5)) == []
