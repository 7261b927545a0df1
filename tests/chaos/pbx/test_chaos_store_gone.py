"""Redis is gone for 10 s under the real `crosspoint pbx`: callers hear music, then go on, or their queue's fallback."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from pbx.machine.state import Phase
from router.call_record import CallRecord, Disposition
from tests.chaos.pbx.conftest import Fate
from tests.chaos.pbx.house import until_asterisk_is_empty
from tests.chaos.pbx.lines import AGENTS, FIRST, KEYS, NEW, SECOND, TALKS, Lines
from tests.chaos.pbx.switchboard import MENU_HZ, Switchboard, Watch, eventually
from tests.integration.asterisk.whole_calls import MUSIC_HZ
from tests.servers import Server

pytestmark = [pytest.mark.chaos]
GONE_S, PATIENCE_S = 10.0, 6
"""For how long, and what a caller's patience is then: over for who came at its beginning alone."""
WHO = {
    TALKS: "talking, hangs up meanwhile",
    FIRST: "first in line",
    SECOND: "second in line",
    KEYS: "chooses the queue meanwhile",
    NEW: "calls meanwhile",
}


@pytest.fixture
def store(new_server: Callable[..., Server]) -> Server:
    """It keeps what it was told, as in production."""
    return new_server("--appendonly", "yes", memory=False)


@pytest.fixture
async def board(asterisk: Instance, store: Server, tmp_path: Path) -> AsyncIterator[Switchboard]:
    folder = tmp_path / "board"
    async with Switchboard(asterisk, store.url, folder, patience_s=PATIENCE_S) as one:
        yield one


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
async def test_without_a_store_nobody_is_dropped_and_all_go_on_when_it_is_back(
    board: Switchboard, store: Server, phones_folder: Path, fates: list[Fate], *, is_killed: bool
):
    async with contextlib.AsyncExitStack() as stack:
        process = board.process()
        await process.apply()
        await stack.enter_async_context(process)
        await process.until("reconciled")
        lines = await stack.enter_async_context(Lines(board, phones_folder))
        states = await board.calls()
        kept = {str(states[number].channel) for number in (FIRST, SECOND, KEYS)}
        async with Watch(board, kept) as watch:
            if is_killed:
                store.kill()
            else:
                store.pause()
            began = time.monotonic()
            await _meanwhile(lines, str(states[TALKS].channel))
            await asyncio.sleep(began + GONE_S - time.monotonic())
            if is_killed:
                await asyncio.to_thread(store.start)
            else:
                store.resume()
            await board.store_is_back()
            await watch.looks_again()
        assert watch.missing == set()
        back = time.monotonic()
        await lines.joined(FIRST, "ada")  # who had talked with the caller that hung up meanwhile
        took_s = time.monotonic() - back
        lines.ids[NEW] = (await board.call_in(NEW, Phase.HOLDING)).id
        assert {number: state.id for number, state in (await board.calls()).items()} == {
            number: lines.ids[number] for number in (FIRST, SECOND, KEYS, NEW)
        }
        await lines.line_is(SECOND, NEW)
        for number, agent in ((SECOND, "eve"), (NEW, "fay")):
            await board.duty(agent)
            await lines.joined(number, agent)
        for state in (await board.calls()).values():
            await board.hang_up(state.channel)
        records = await _all_is_well(lines)
        await process.stop()
    _complete(records, lines)
    how = "killed, back with its log" if is_killed else "stopped"
    fault = f"Redis {how} after {GONE_S:.0f} s"
    for number, record in records.items():
        became = ", ".join(event.what for event in record.events)
        fates.append(Fate(fault=fault, call=WHO[number], became=became))
    fates.append(Fate(fault=fault, call="(an agent for the first)", became=f"after {took_s:.1f} s"))


async def _meanwhile(lines: Lines, talking: str) -> None:
    """A talk ends, one waits until the patience is over, one calls: all of it without a store."""
    await lines.ears[KEYS].press("1", lines.board.folder)
    await lines.those_who_need_nobody_hear_what_they_should()
    await lines.board.hang_up(talking)
    await lines.phones[TALKS].ended()
    await lines.ears[KEYS].until_hears(MUSIC_HZ, never=(MENU_HZ,))
    await lines.ears[KEYS].until_hears(MENU_HZ, never=(MUSIC_HZ,), limit_s=15)
    await lines.calls(NEW)
    for waiting in (FIRST, SECOND, NEW):
        await lines.ears[waiting].until_hears(MUSIC_HZ, never=(MENU_HZ,))


async def _all_is_well(lines: Lines) -> dict[str, CallRecord]:
    """Every call has its end on record; nobody and nothing is left over anywhere."""
    board = lines.board
    for number in (TALKS, FIRST, SECOND, KEYS, NEW):
        await lines.phones[number].ended()

    async def are_complete() -> bool:
        found = await board.records()
        recorded = all(found[number].recordings for number in (TALKS, FIRST, SECOND, NEW))
        ended = all(record.ended_ms is not None for record in found.values())
        return recorded and ended and not await board.calls()

    await eventually(are_complete, "every call to have its end and its recording on record")
    for agent in AGENTS:

        async def is_free(agent: str = agent) -> bool:
            return await board.state_of(agent) in {"available", "off_duty"}

        await eventually(is_free, f"{agent} to be free")
    assert await board.waiting_keys() == []
    await until_asterisk_is_empty(board.asterisk)
    return await board.records()


def _complete(records: dict[str, CallRecord], lines: Lines) -> None:
    assert {number: record.id for number, record in records.items()} == lines.ids
    for number, agent in {TALKS: "ada", FIRST: "ada", SECOND: "eve", NEW: "fay"}.items():
        record = records[number]
        assert record.disposition is Disposition.ANSWERED
        assert record.agents == (agent,)
        assert [wait.outcome for wait in record.waits] == ["talking"]
        words = {event.what for event in record.events}
        assert "recorded" in words
        assert words & {"caller_hung_up", "hung_up_by_us"}  # by whose leg was seen to end first
    assert records[KEYS].digits == {"main": "1"}
    assert "queue_store_down" in [event.what for event in records[KEYS].events]
