"""`kill -9` of the real `crosspoint pbx` on a real Redis and a real Asterisk: nobody is dropped."""

import contextlib
import time
from pathlib import Path

import pytest

from pbx.machine.state import Phase
from router.call_record import CallRecord, Disposition
from tests.chaos.pbx.conftest import Fate
from tests.chaos.pbx.house import until_asterisk_is_empty
from tests.chaos.pbx.lines import AGENTS, FIRST, KEYS, NEW, SECOND, TALKS, WHO, Lines
from tests.chaos.pbx.switchboard import (
    MENU_HZ,
    Switchboard,
    Watch,
    eventually,
)
from tests.integration.asterisk import audio
from tests.integration.asterisk.whole_calls import AGENT_HZ, CALLER_HZ, until

pytestmark = [pytest.mark.chaos]


@pytest.mark.parametrize("is_waiting", [False, True], ids=["started again", "a second one waits"])
async def test_a_killed_process_drops_nobody(
    board: Switchboard, phones_folder: Path, fates: list[Fate], is_waiting: bool
):
    async with contextlib.AsyncExitStack() as stack:
        first, second = board.process(), board.process()
        await first.apply()
        await stack.enter_async_context(first)
        await first.until("reconciled")
        if is_waiting:
            await stack.enter_async_context(second)
        lines = await stack.enter_async_context(Lines(board, phones_folder))
        async with Watch(board, await _channels(board)) as watch:
            if is_waiting:
                assert "pbx_taken" not in second.log.read_text()
            killed = time.time()
            await first.kill()
            await lines.those_who_need_nobody_hear_what_they_should()
            await lines.calls(NEW)
            menu = lines.ears[KEYS]
            heard = menu.packets  # of the question as it was asked before
            if not is_waiting:
                await stack.enter_async_context(second)
            await second.until("pbx_taken")
            await until(lambda: menu.packets > heard + 15, "the question to be asked again")
            taken_s = time.time() - killed
            await _everybody_is_where_they_were(lines)
            await watch.looks_again()
        assert watch.missing == set()
        await _everybody_goes_on(lines)
        records = await _all_is_well(lines)
        await second.stop()
    _complete(records, lines)
    fault = "kill -9, a second one waits" if is_waiting else "kill -9, started again"
    for number, record in records.items():
        since = [event.what for event in record.events if event.at_ms >= killed * 1000]
        became = f"{', '.join(since)}; with {', '.join(record.agents)}"
        fates.append(Fate(fault=fault, call=WHO[number], became=became))
    fates.append(Fate(fault=fault, call="(nobody in charge)", became=f"for {taken_s:.1f} s"))


async def _channels(board: Switchboard) -> set[str]:
    """The legs of every call: four callers and an agent."""
    states = (await board.calls()).values()
    legs = {leg for state in states for leg in (state.channel, *(one.id for one in state.legs()))}
    assert len(legs) == 5
    return {str(leg) for leg in legs}


async def _everybody_is_where_they_were(lines: Lines) -> None:
    board = lines.board
    await lines.ears[KEYS].until_hears(MENU_HZ)
    lines.ids[NEW] = (await board.call_in(NEW, Phase.HOLDING)).id
    await board.call_in(TALKS, Phase.TALKING, agent="ada")
    for number in (FIRST, SECOND):
        await board.call_in(number, Phase.HOLDING)
    await board.call_in(KEYS, Phase.ASKING)
    assert {number: state.id for number, state in (await board.calls()).items()} == lines.ids
    await lines.line_is(FIRST, SECOND, NEW)
    await lines.those_who_need_nobody_hear_what_they_should()


async def _everybody_goes_on(lines: Lines) -> None:
    """Whoever comes on duty gets the next in line; at last an agent who has talked all the time does."""
    board = lines.board
    await lines.ears[KEYS].press("1", board.folder)
    await board.call_in(KEYS, Phase.HOLDING)
    await lines.line_is(FIRST, SECOND, NEW, KEYS)
    left = [FIRST, SECOND, NEW, KEYS]
    for agent in ("eve", "fay", "gus"):
        await board.duty(agent)
        await lines.joined(left.pop(0), agent)
        await lines.line_is(*left)
    talking = (await board.calls())[TALKS]
    assert talking.agent is not None
    await board.hang_up(talking.agent.id)
    await lines.joined(KEYS, "ada")
    for state in (await board.calls()).values():
        await board.hang_up(state.channel)


async def _all_is_well(lines: Lines) -> dict[str, CallRecord]:
    """Every call has its end and its recording on record; nobody and nothing is left over anywhere."""
    board = lines.board
    for one in lines.phones.values():
        await one.ended()

    async def are_complete() -> bool:
        found = (await board.records()).values()
        return all(record.ended_ms is not None and record.recordings for record in found)

    await eventually(are_complete, "every call to have its end and its recording on record")
    for agent in AGENTS:

        async def is_free(agent: str = agent) -> bool:
            return await board.state_of(agent) == "available"

        await eventually(is_free, f"{agent} to be free")
    assert await board.calls() == {}
    assert await board.waiting_keys() == []
    await until_asterisk_is_empty(board.asterisk)
    return await board.records()


def _complete(records: dict[str, CallRecord], lines: Lines) -> None:
    """One record a call, that of before; what was recorded goes from the first word to the last."""
    assert {number: record.id for number, record in records.items()} == lines.ids
    with_whom = {TALKS: "ada", FIRST: "eve", SECOND: "fay", NEW: "gus", KEYS: "ada"}
    for number, agent in with_whom.items():
        record = records[number]
        assert record.disposition is Disposition.ANSWERED
        assert record.agents == (agent,)
        assert [(offer.agent, offer.outcome) for offer in record.offers] == [(agent, "answered")]
        assert [wait.outcome for wait in record.waits] == ["talking"]
        assert len(record.recordings) == 1
    assert records[KEYS].digits == {"main": "1"}
    file = lines.board.folder / "data" / "recordings" / records[TALKS].recordings[0].name
    whole_s = audio.seconds_of(file)
    talking_ms, ended_ms = records[TALKS].talking_ms, records[TALKS].ended_ms
    assert talking_ms is not None
    assert ended_ms is not None
    assert whole_s > (ended_ms - talking_ms) / 1000 - 1
    for start_s in (0.0, whole_s / 2, whole_s - 1):
        for hz in (CALLER_HZ, AGENT_HZ):
            assert audio.hears(file, hz, start_s=start_s, end_s=start_s + 0.8)
