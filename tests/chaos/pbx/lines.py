"""Callers and agents' phones on a switchboard: one talks, two wait in order, one is in a menu."""

import asyncio
import contextlib
from pathlib import Path
from typing import Self

from pbx.machine.state import Phase
from tests.chaos.pbx.conftest import PHONES
from tests.chaos.pbx.switchboard import (
    MENU_HZ,
    MENU_NUMBER,
    QUEUE_NUMBER,
    Keypad,
    Switchboard,
    eventually,
)
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.phones import Phone, caller, phone
from tests.integration.asterisk.whole_calls import AGENT_HZ, CALLER_HZ, MUSIC_HZ

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

    async def line_is(self, *numbers: str) -> None:
        """Wait until these callers stand in line, in this order."""
        wanted = [self.ids[number] for number in numbers]

        async def so() -> bool:
            return await self.board.line() == wanted

        await eventually(so, f"the line to be {numbers}")
