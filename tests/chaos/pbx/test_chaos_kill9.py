"""`kill -9` of the real `crosspoint pbx` on a real Redis and a real Asterisk: nobody is dropped."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import pytest

from deploy.asterisk.instance import Instance
from pbx.machine.state import Phase
from router.call_record import CallRecord, Disposition
from tests.chaos.pbx.conftest import PHONES, Fate
from tests.chaos.pbx.house import until_asterisk_is_empty
from tests.chaos.pbx.switchboard import (
    MENU_HZ,
    MENU_NUMBER,
    QUEUE_NUMBER,
    Keypad,
    Switchboard,
    Watch,
    eventually,
)
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.phones import Phone, caller, phone
from tests.integration.asterisk.whole_calls import AGENT_HZ, CALLER_HZ, MUSIC_HZ, until
from tests.servers import Server

pytestmark = [pytest.mark.chaos]
AGENTS = {"ada": "6001", "eve": "6002", "fay": "6003", "gus": "6004"}
TALKS, FIRST, SECOND, KEYS, NEW = (f"+1212555014{number}" for number in range(5))
WHO = {
    TALKS: "talking, recorded",
    FIRST: "first in line",
    SECOND: "second in line",
    KEYS: "in a menu",
    NEW: "calls meanwhile",
}
CALLS_TAKEN = {"ada": 2}


class Lines:
    """The callers and the agents' phones; every process is gone at its end."""

    def __init__(self, board: Switchboard, folder: Path) -> None:
        self.board = board
        self.phones: dict[str, Phone] = {}
        self.ears: dict[str, Keypad] = {}
        self.agents: dict[str, Ear] = {}
        self.ids: dict[str, str] = {}
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._fill()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def calls(self, number: str, called: str = QUEUE_NUMBER) -> None:
        ear = self.ears[number] = await self._stack.enter_async_context(Keypad())
        says = [Tone(CALLER_HZ, 60)] if number != KEYS else []
        one = caller(
            self.board.asterisk, self._folder, called=called, number=number, says=says, ear=ear
        )
        self.phones[number] = await self._stack.enter_async_context(one)

    async def _fill(self) -> None:
        """One talks, two wait in order, one is asked to choose."""
        for agent, number in AGENTS.items():
            ear = self.agents[agent] = await self._stack.enter_async_context(Ear())
            one = phone(
                self._folder,
                port=PHONES[number],
                says=[Tone(AGENT_HZ, 60)],
                ear=ear,
                count=CALLS_TAKEN.get(agent, 1),
            )
            self.phones[agent] = await self._stack.enter_async_context(one)
        await self.board.duty("ada")
        await self.calls(TALKS)
        await self.board.call_in(TALKS, Phase.TALKING, agent="ada")
        await self.calls(FIRST)
        await self.board.call_in(FIRST, Phase.HOLDING)
        await self.calls(SECOND)
        await self.board.call_in(SECOND, Phase.HOLDING)
        await self.calls(KEYS, MENU_NUMBER)
        await self.board.call_in(KEYS, Phase.ASKING)
        self.ids = {number: state.id for number, state in (await self.board.calls()).items()}
        assert await self.board.line() == [self.ids[FIRST], self.ids[SECOND]]
        await self.ears[KEYS].until_hears(MENU_HZ)
        await self.those_who_need_nobody_hear_what_they_should()

    async def those_who_need_nobody_hear_what_they_should(self) -> None:
        """Whether a controller is there or not."""
        await asyncio.gather(*(self.ears[one].listen(0.3) for one in (TALKS, FIRST, SECOND)))
        await self.ears[TALKS].until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await self.agents["ada"].until_hears(CALLER_HZ)
        for waiting in (FIRST, SECOND):
            await self.ears[waiting].until_hears(MUSIC_HZ, never=(AGENT_HZ,))

    async def joined(self, number: str, agent: str) -> None:
        await self.board.call_in(number, Phase.TALKING, agent=agent)
        await self.ears[number].until_hears(AGENT_HZ, never=(MUSIC_HZ,))


@pytest.fixture
async def board(
    asterisk: Instance, new_server: Callable[..., Server], tmp_path: Path
) -> AsyncIterator[Switchboard]:
    async with Switchboard(asterisk, new_server().url, tmp_path / "board") as one:
        yield one


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
    await _line_is(lines, FIRST, SECOND, NEW)
    await lines.those_who_need_nobody_hear_what_they_should()


async def _everybody_goes_on(lines: Lines) -> None:
    """Whoever comes on duty gets the next in line; at last an agent who has talked all the time does."""
    board = lines.board
    await lines.ears[KEYS].press("1", board.folder)
    await board.call_in(KEYS, Phase.HOLDING)
    await _line_is(lines, FIRST, SECOND, NEW, KEYS)
    left = [FIRST, SECOND, NEW, KEYS]
    for agent in ("eve", "fay", "gus"):
        await board.duty(agent)
        await lines.joined(left.pop(0), agent)
        await _line_is(lines, *left)
    talking = (await board.calls())[TALKS]
    assert talking.agent is not None
    await board.hang_up(talking.agent.id)
    await lines.joined(KEYS, "ada")
    for state in (await board.calls()).values():
        await board.hang_up(state.channel)


async def _line_is(lines: Lines, *numbers: str) -> None:
    wanted = [lines.ids[number] for number in numbers]

    async def so() -> bool:
        return await lines.board.line() == wanted

    await eventually(so, f"the line to be {numbers}")


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
