"""A process that is killed while it writes calls down: the record knows whatever the journal knows."""

import asyncio
import random
import sys
from pathlib import Path

from router.deadline import in_s
from router.store.call_records import CallRecords
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.telephony.journal import LiveJournal
from router.telephony.records import StoreRecords
from tests.integration.redis.telephony.switchboard import TENANT

REPO = Path(__file__).resolve().parents[4]
CALLS = 20
KILLS = 5
WRITER = """
import asyncio, sys
from msgspec.structs import replace
from pbx.machine.commands import Note
from router.store.call_records import CallRecords
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.telephony.journal import LiveJournal
from router.telephony.records import StoreRecords
from tests.integration.redis.telephony.switchboard import TENANT, call
from router.deadline import in_s

async def live(journal, records, state):
    for step in range(1, 900):  # fewer than are kept of one call
        records.note(state, Note(what=str(step)))
        state = replace(state, rounds=step)
        await journal.save(state)

async def main():
    async with Links(parse_store_url(sys.argv[1])) as links:
        await links.wait_open(in_s(5))
        records = StoreRecords(CallRecords(links), TENANT, "pbx1")
        journal = LiveJournal(LiveCalls(links), records, TENANT, "pbx1")
        states = [replace(call(), id=f"{sys.argv[3]}-{number}") for number in range(int(sys.argv[2]))]
        await asyncio.gather(*(journal.save(state) for state in states))
        print("begins", flush=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(records.run())
            for state in states:
                tasks.create_task(live(journal, records, state))

asyncio.run(main())
"""


async def killed_after(url: str, seconds: float, run: int) -> None:
    words = (sys.executable, "-c", WRITER, url, str(CALLS), str(run))
    process = await asyncio.create_subprocess_exec(*words, cwd=REPO, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while await process.stdout.readline() != b"begins\n":
            assert not process.stdout.at_eof()
        await asyncio.sleep(seconds)
        assert process.returncode is None
        process.kill()
        await process.wait()


async def test_whatever_the_journal_knows_the_record_knows_whenever_it_is_killed(redis_url: str):
    rng = random.Random(7)
    for run in range(KILLS):
        await killed_after(redis_url, rng.uniform(0.05, 0.25), run)
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(5))
        store = CallRecords(links)
        journal = LiveJournal(LiveCalls(links), StoreRecords(store, TENANT, "x"), TENANT, "pbx1")
        states = await journal.load()
        assert len(states) == KILLS * CALLS
        for state in states:
            record = await store.get(TENANT, state.id, in_s(5))
            assert record is not None
            noted = [int(event.what) for event in record.events]
            assert noted[: state.rounds] == list(range(1, state.rounds + 1)), state.id
            assert len(noted) - state.rounds <= 1  # noted, and written by itself before the state
