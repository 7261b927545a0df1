"""A full house: a call in every state at once, and what is expected of each after a fault."""

import asyncio
import contextlib
from pathlib import Path
from typing import Self

from deploy.asterisk.instance import Instance
from ivr.steps import Closing
from pbx.ami.actions import new_channel_id
from pbx.controller import Controller
from pbx.machine.events import (
    AddParticipant,
    ConsultWith,
    Decided,
    HangUpCall,
    HoldCall,
    ParkCall,
    ResumeCall,
)
from pbx.machine.plans import LegId, RecordingPolicy
from pbx.machine.state import CallState, Phase
from pbx.session import Session
from rules.actions import Action, End, Menu, Target, TargetType, Voicemail
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import Phone, caller, phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    SUPPORT,
    THIRD_HZ,
    channels_of,
    until,
)

MENU = Menu(
    name="main", prompt="menu", choices={"1": SUPPORT}, otherwise=End(), timeout_s=30, tries=3
)
MAIL = Voicemail(target=Target(type=TargetType.DEPARTMENT, id="1"))
AGENTS = {
    "ada": "6001",
    "eve": "6002",
    "fay": "6003",
    "gus": "6004",
    "hal": "6005",
    "ben": "6006",
    "joe": "6007",
}
THIRDS = ("6008", "6009")
NUMBERS = (*AGENTS.values(), *THIRDS)
PHASES = {
    "talking": Phase.TALKING,
    "held": Phase.HELD,
    "conference": Phase.CONFERENCE,
    "consulting": Phase.CONSULTING,
    "parked": Phase.PARKED,
    "ringing": Phase.HOLDING,
    "waiting 1": Phase.HOLDING,
    "waiting 2": Phase.HOLDING,
    "waiting 3": Phase.HOLDING,
    "menu": Phase.ASKING,
    "message": Phase.VOICEMAIL,
}
LASTS_S, SAYS_S = 110, 80
"""The longest fault, and what comes before and after it."""
CALLED = {name: str(201 + number) for number, name in enumerate(PHASES)}


class Town(World):
    """The number called says what the rules say; the rest is as in every test."""

    def __init__(self, sounds: Path, recordings: Path) -> None:
        super().__init__(SUPPORT, sounds, recordings)
        self.endpoints = {agent: f"PJSIP/{number}" for agent, number in AGENTS.items()}
        self.recording = RecordingPolicy(record=True, allow_pause=True)
        self.ring_s = 100
        self.left_s = 300.0
        self.actions: dict[str, Action] = {CALLED["menu"]: MENU, CALLED["message"]: MAIL}

    async def decide(self, state: CallState) -> Decided:
        return Decided(rule="r", action=self.actions.get(state.called_number or "", SUPPORT))


class House:
    """As a context manager: everybody is there when it begins, and every process is gone at its end."""

    def __init__(
        self,
        asterisk: Instance,
        town: Town,
        controller: Controller,
        phones: dict[str, int],
        folder: Path,
    ) -> None:
        self.asterisk = asterisk
        self.town = town
        self.controller = controller
        self.phones: dict[str, Phone] = {}
        self.ears: dict[str, Ear] = {}
        self.ids: dict[str, str] = {}
        self.noted_before = 0
        self.after: dict[str, Phase] = {}
        self._ports = phones
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

    def session(self, name: str) -> Session:
        found = self._find(name)
        assert found is not None, f"the call {name!r} is lost"
        return found

    def _find(self, name: str) -> Session | None:
        sessions = self.controller.sessions.values()
        return next((s for s in sessions if s.state.called_number == CALLED[name]), None)

    async def until_in(self, name: str, *phases: Phase) -> Session:
        def there() -> bool:
            session = self._find(name)
            return session is not None and session.state.phase in phases

        await until(there, f"{name} in {phases}")
        return self.session(name)

    # --- who is there ---------------------------------------------------------------------------------

    async def _fill(self) -> None:
        for number in NUMBERS:
            hz = THIRD_HZ if number in THIRDS else AGENT_HZ
            scenario = "phone_rings_on" if number == AGENTS["ben"] else "phone_answers"
            await self._phone(number, scenario, hz)
        await self._calls("menu")
        await self._calls("message")
        talks = ("talking", "held", "conference", "consulting", "parked")
        for name, agent in zip(talks, ("ada", "eve", "fay", "gus", "hal"), strict=True):
            self.town.free = [agent]
            await self._calls(name)
            session = await self.until_in(name, Phase.TALKING)
            await until(lambda session=session: session.state.is_joined, f"{name} to talk")
        self.session("held").post(HoldCall())
        self.session("parked").post(ParkCall())
        conference, consulting = (LegId(new_channel_id()) for _ in range(2))
        self.session("conference").post(
            AddParticipant(endpoint=f"PJSIP/{THIRDS[0]}", leg=conference)
        )
        self.session("consulting").post(ConsultWith(endpoint=f"PJSIP/{THIRDS[1]}", leg=consulting))
        self.town.free = ["ben"]
        await self._calls("ringing")
        await until(lambda: self.session("ringing").state.offers, "a phone to ring")
        for name in ("waiting 1", "waiting 2", "waiting 3"):
            await self._calls(name)
            await self.until_in(name, Phase.HOLDING)
        for name, phase in PHASES.items():
            self.ids[name] = (await self.until_in(name, phase)).state.id
        await self.everybody_hears_what_they_should()
        self.noted_before = len(self.town.notes)

    async def _phone(self, number: str, scenario: str, hz: float) -> None:
        ear = self.ears[number] = await self._stack.enter_async_context(Ear())
        port = self._ports[number]
        one = phone(
            self._folder, scenario, port=port, says=[Tone(hz, SAYS_S)], ear=ear, limit_s=LASTS_S
        )
        self.phones[number] = await self._stack.enter_async_context(one)

    async def _calls(self, name: str) -> None:
        ear = self.ears[name] = await self._stack.enter_async_context(Ear())
        one = caller(
            self.asterisk,
            self._folder,
            called=CALLED[name],
            says=[Tone(CALLER_HZ, SAYS_S)],
            ear=ear,
            limit_s=LASTS_S,
        )
        self.phones[name] = await self._stack.enter_async_context(one)
        await until(lambda: self._find(name), f"{name} to arrive")

    # --- what must hold -------------------------------------------------------------------------------

    async def talkers_hear_each_other(self) -> None:
        """Whatever becomes of us."""
        await self.ears["talking"].listen(0.3)
        await self.ears["talking"].until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await self.ears[AGENTS["ada"]].until_hears(CALLER_HZ)
        await self.ears["conference"].until_hears(AGENT_HZ, THIRD_HZ)

    async def everybody_hears_what_they_should(self) -> None:
        await self.talkers_hear_each_other()
        for name in (
            "held",
            "consulting",
            "parked",
            "ringing",
            "waiting 1",
            "waiting 2",
            "waiting 3",
        ):
            await self.ears[name].until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        await self.ears[AGENTS["gus"]].until_hears(THIRD_HZ, never=(CALLER_HZ,))

    async def nobody_was_dropped(self) -> None:
        """Every call is what it was, the same one, in the same place, and hears the same."""
        line = [self.ids[name] for name in ("waiting 1", "waiting 2", "waiting 3")]
        for name, phase in PHASES.items():
            session = await self.until_in(name, phase)
            assert session.state.id == self.ids[name], f"{name} became another call"
            self.after[name] = session.state.phase
        await until(lambda: self.town.line == line, "the line as it was")
        assert self.session("ringing").state.offers
        assert self.town.unanswered_agents == []
        assert self.town.closed == []
        await self.everybody_hears_what_they_should()

    async def everybody_goes_on(self) -> None:
        """Off hold, the next agent for the first in line; then all are let go."""
        self.session("held").post(ResumeCall())
        await self.ears["held"].until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        self.town.set_free("joe")
        await self.ears["waiting 1"].until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await self.until_in("waiting 2", Phase.HOLDING)
        self.session("waiting 3").post(Closing())
        for name in PHASES:
            session = self._find(name)
            if session is not None and name != "waiting 3":
                session.post(HangUpCall())
        await all_is_well(self.asterisk, self.town, self.controller, calls=len(PHASES))
        self._recordings_are_whole()

    def _recordings_are_whole(self) -> None:
        assert "recording_failed" not in self.town.what()
        files = {file for file in self.town.finished if file.name.startswith(self.ids["talking"])}
        (talk,) = files
        assert audio.hears(talk, CALLER_HZ)
        assert audio.hears(talk, AGENT_HZ)
        recorded = {file.name.split("-")[0] for file in self.town.finished}
        talked = ("talking", "held", "conference", "consulting", "parked", "waiting 1")
        assert {self.ids[name] for name in talked} <= recorded

    def became(self, name: str) -> str:
        """What became of the call since the fault: its phase after it, and what was noted."""
        noted = [
            what for id_, what in self.town.notes[self.noted_before :] if id_ == self.ids[name]
        ]
        phase = self.after.get(name)
        return f"{f'still {phase}; ' if phase else ''}{', '.join(noted)}"


async def all_is_well(
    asterisk: Instance, town: World, controller: Controller, *, calls: int, limit_s: float = 20
) -> None:
    """Every call has an end in the records; nobody and nothing is left over, here or in Asterisk."""
    await until(lambda: len(set(town.closed)) >= calls, f"{calls} ends in the records", limit_s)
    await until(lambda: not controller.sessions, "the sessions to end")
    assert set(town.closed) == town.began
    assert town.saved == {}
    await until(lambda: not town.busy, f"no agent to be stuck, {town.busy} are")
    assert town.line == []
    await until(lambda: len(controller.channels) == 0, "us to know of no channel")
    await until_asterisk_is_empty(asterisk)
    # What is left: the test, the controller's own, a proxy's.
    await until(lambda: len(asyncio.all_tasks()) < 16, f"tasks to end: {len(asyncio.all_tasks())}")


async def until_asterisk_is_empty(asterisk: Instance, limit_s: float = 10) -> None:
    try:
        async with asyncio.timeout(limit_s):
            while await asyncio.to_thread(channels_of, asterisk):
                await asyncio.sleep(0.1)
    except TimeoutError:
        left = asterisk.command("core show channels concise")
        raise AssertionError(f"Asterisk has channels left:\n{left}") from None
