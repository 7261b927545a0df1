"""The outside of the PBX, in memory: one queue, agents who are free or not, everything remembered.

It outlives the controllers of a test, as a store does. `is_down` makes it a store that cannot be reached.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from ivr.hold import HoldPolicy
from ivr.prompts import Fixed, Prompt, Sound, Speech
from ivr.steps import Closing, Standing
from pbx.ami.actions import new_channel_id
from pbx.machine.commands import Note
from pbx.machine.events import Decided, Gone, Matched, NotPlaced, NotPlacedBecause, Placed
from pbx.machine.plans import (
    CallbackPlan,
    DialPlan,
    EndPlan,
    LegId,
    Offer,
    Plan,
    QueuePlan,
    RecordingPolicy,
    VoicemailPlan,
)
from pbx.machine.state import CallState
from pbx.phones import PhoneState
from pbx.ports import Outside, RecordingStarted, SpokenPrompt
from pbx.session import Session
from rules.actions import (
    Action,
    Ask,
    Callback,
    End,
    Enqueue,
    Forward,
    Menu,
    ReserveAgent,
    Route,
    Target,
    TargetType,
    Voicemail,
)

NOWHERE = Target(type=TargetType.DEPARTMENT, id="1")


class World:
    """Implements every port. `free` are agents who take calls, in order; `action` is what the rules say.

    `busy` are agents who are reserved for a call or talk: agent -> call. `frees_itself`: an agent is
    free again as soon as a call is over. `answers_in_s`: how slow the store is.
    """

    def __init__(self, action: Action, sounds: Path, recordings: Path) -> None:
        self.action = action
        self.sounds = sounds
        self.folder = recordings
        self.name = "tests"  # one for all of them: they follow each other on one Asterisk
        self.free: list[str] = []
        self.line: list[str] = []
        self.endpoints = {"ada": "PJSIP/6001", "ben": "PJSIP/6002", "eve": "PJSIP/6003"}
        self.hold = HoldPolicy(announce_position=False, announce_wait=False)
        self.recording = RecordingPolicy()
        self.ring_s = 8
        self.at_once = 1
        self.left_s = 60.0
        self.frees_itself = False
        self.is_down = False
        self.patience_s = 10.0
        self.answers_in_s = 0.0
        self.is_full = False
        self.target = "PJSIP/6003"
        self.otherwise: Action = End()
        self.busy: dict[str, str] = {}
        self.began: set[str] = set()
        self.order: list[str] = []
        self.whisper: tuple[Prompt, ...] = ()
        self.notes: list[tuple[str, str]] = []
        self.said: list[Prompt] = []
        self.unanswered_agents: list[tuple[str, Gone]] = []
        self.wrapped_up: list[str] = []
        self.kept_messages: list[PurePosixPath] = []
        self.finished: list[Path] = []
        self.saved: dict[str, CallState] = {}
        self.closed: list[str] = []
        self.tokens: dict[str, str] = {}
        self.phones: dict[str, PhoneState] = {}
        self._wakes: asyncio.Queue[str] = asyncio.Queue()
        self._matches: dict[str, Matched] = {}
        self._down_since: dict[str, float] = {}

    def outside(self) -> Outside:
        return Outside(
            deciding=self,
            queueing=self,
            promises=self,
            journal=self,
            records=self,
            speech=self,
            recordings=self,
            phones=self,
        )

    def know(self, phones: Mapping[str, PhoneState]) -> None:
        self.phones = dict(phones)

    def learn(self, endpoint: str, state: PhoneState) -> None:
        self.phones[endpoint] = state

    def set_free(self, agent: str) -> None:
        self.free.append(agent)
        self._wake_first()

    def close_queue(self, session: Session) -> None:
        """Closing time, and those who wait may not stay."""
        session.post(Closing())

    def _wake_first(self) -> None:
        if self.free and self.line:
            self._wakes.put_nowait(self.line[0])

    def what(self, call_id: str | None = None) -> list[str]:
        """What was noted, of one call or of all."""
        return [what for noted, what in self.notes if call_id in {None, noted}]

    async def _store(self) -> None:
        await asyncio.sleep(self.answers_in_s)

    async def until_noted(self, what: str, limit_s: float = 15) -> None:
        async with asyncio.timeout(limit_s):
            while what not in self.what():
                await asyncio.sleep(0.005)

    # --- Deciding

    async def decide(self, state: CallState) -> Decided:
        return Decided(rule="r", action=self.action)

    async def plan(self, state: CallState, action: Action) -> Plan:
        match action:
            case Enqueue() | ReserveAgent():
                return QueuePlan(
                    queue=action.queue,
                    otherwise=self.otherwise,
                    hold=self.hold,
                    ring_s=self.ring_s,
                    whisper=self.whisper,
                    recording=self.recording,
                    escape=Voicemail(target=NOWHERE),
                )
            case Voicemail():
                return VoicemailPlan(mailbox="1", longest_s=20)
            case Callback():
                return CallbackPlan(queue=action.queue, otherwise=action.otherwise)
            case Forward():
                leg = LegId(new_channel_id())
                return DialPlan(offers=(Offer(endpoint=self.target, leg=leg),), ring_s=self.ring_s)
            case End():
                return EndPlan(prompts=(Fixed(Sound.GOODBYE),) if action.message else ())
            case Route(target=Target(type=TargetType.USER, id=agent)) if agent in self.endpoints:
                rung = Offer(
                    endpoint=self.endpoints[agent], leg=LegId(new_channel_id()), agent=agent
                )
                mailbox = Voicemail(target=action.target)
                return DialPlan(offers=(rung,), ring_s=self.ring_s, otherwise=mailbox)
            case Route() | Ask() | Menu():
                return EndPlan()

    # --- Queueing

    async def stand_in_line(
        self, state: CallState, plan: QueuePlan
    ) -> Matched | Placed | NotPlaced:
        await self._store()
        if self.is_down:
            now = asyncio.get_running_loop().time()
            since = self._down_since.setdefault(state.id, now)
            if state.id not in self.line and now - since >= self.patience_s:
                return NotPlaced(NotPlacedBecause.STORE_DOWN)
            asyncio.get_running_loop().call_later(0.2, self._wakes.put_nowait, state.id)
            return Placed(left_s=self.left_s)
        if self.is_full:
            return NotPlaced(NotPlacedBecause.FULL)
        known = self._matches.get(state.id)
        if known is not None and known.token in self.tokens.values():
            return known  # asked again before it has heard the answer
        self._take_place(state.id)
        if self.line[0] == state.id and self.free:
            return self._reserve(state)
        if plan.only_now:
            self.line.remove(state.id)
            return NotPlaced(NotPlacedBecause.NOBODY_FREE)
        return Placed(left_s=self.left_s)

    def _take_place(self, call_id: str) -> None:
        """The old place, if it had one: the line is in the order in which they first came."""
        if call_id not in self.order:
            self.order.append(call_id)
        if call_id not in self.line:
            self.line.append(call_id)
            self.line.sort(key=self.order.index)

    def _reserve(self, state: CallState) -> Matched:
        agents, self.free = self.free[: self.at_once], self.free[self.at_once :]
        self.line.remove(state.id)
        token = new_channel_id()
        offers = tuple(
            Offer(agent=agent, endpoint=self.endpoints[agent], leg=LegId(new_channel_id()))
            for agent in agents
        )
        for agent in agents:
            self.tokens[agent] = token
            self.busy[agent] = state.id
        self._wake_first()
        match = self._matches[state.id] = Matched(offers=offers, token=token)
        return match

    async def leave_line(self, state: CallState, *, keep: bool) -> None:
        await self._store()
        if state.id in self.line:
            self.line.remove(state.id)
        self._wake_first()

    async def standing(self, state: CallState) -> Standing | None:
        if self.is_down or state.id not in self.line:
            return None
        return Standing(position=self.line.index(state.id) + 1, waiting=len(self.line))

    async def confirm(self, state: CallState, agent: str, token: str) -> bool | None:
        await self._store()
        if self.is_down:
            # On the call all the same: the store is told when it is back.
            self.tokens.pop(agent, None)
            return None
        if self.tokens.get(agent) != token:
            return False
        for other in [other for other, held in self.tokens.items() if held == token]:
            del self.tokens[other]
            if other != agent:
                self._let_go(other, is_free=True)
        return True

    async def unanswered(self, state: CallState, agent: str, token: str, why: Gone) -> None:
        self.unanswered_agents.append((agent, why))
        if self.tokens.get(agent) == token:
            del self.tokens[agent]
            self._let_go(agent, is_free=self.frees_itself)

    async def release(self, agent: str, token: str) -> None:
        if self.tokens.get(agent) == token:
            del self.tokens[agent]
            self._let_go(agent, is_free=True)

    async def wrap_up(self, agent: str, *, has_vanished: bool = False) -> None:
        if agent in self.tokens:
            return  # reserved, not talking: another call's, or nobody's any more
        self.wrapped_up.append(agent)
        self._let_go(agent, is_free=self.frees_itself and not has_vanished)

    def _let_go(self, agent: str, *, is_free: bool) -> None:
        self.busy.pop(agent, None)
        self.tokens.pop(agent, None)
        if is_free and agent not in self.free:
            self.set_free(agent)

    async def wakes(self) -> AsyncIterator[str]:
        while True:
            yield await self._wakes.get()

    # --- Promises

    async def may_call_back(self, state: CallState, digits: str) -> bool:
        return len(digits) > 4

    async def promise_callback(self, state: CallState, queue: str, number: str) -> bool:
        self.notes.append((state.id, f"callback to {number}"))
        if state.id in self.line:
            self.line.remove(state.id)  # the promise has the place now
        return True

    async def log_in(self, state: CallState, number: str, pin: str, *, on: bool) -> bool:
        return pin == "4711"

    async def keep_message(self, state: CallState, mailbox: str, file: PurePosixPath) -> None:
        self.kept_messages.append(file)

    # --- Journal

    async def save(self, state: CallState) -> None:
        self.began.add(state.id)
        self.saved[state.id] = msgspec.json.decode(msgspec.json.encode(state), type=CallState)

    async def forget(self, call_id: str) -> None:
        self.saved.pop(call_id, None)

    async def owner(self) -> str:
        return self.name

    async def load(self) -> Sequence[CallState]:
        return list(self.saved.values())

    # --- Records

    def note(self, state: CallState, note: Note) -> None:
        self.notes.append((state.id, note.what))

    def close(self, state: CallState, *, cause: int) -> None:
        self.closed.append(state.id)

    # --- Speech

    async def speak(self, prompts: tuple[Prompt, ...], language: str) -> SpokenPrompt:
        self.said += prompts
        return SpokenPrompt(tuple(self._sound(prompt) for prompt in prompts))

    def _sound(self, prompt: Prompt) -> str:
        name = prompt.text if isinstance(prompt, Speech) else "short"
        return str(self.sounds / name)

    # --- Recordings

    def begin(self, state: CallState) -> RecordingStarted:
        folder = PurePosixPath(self.folder)
        return RecordingStarted(folder=folder, name=f"{state.id}-{len(self.notes)}")

    async def finish(self, state: CallState, started: RecordingStarted) -> bool:
        file = Path(started.folder) / f"{started.name}.wav"
        self.finished.append(file)
        for _ in range(100):  # Asterisk closes it a moment after the hang-up
            if file.exists() and file.stat().st_size > 44:
                return True
            await asyncio.sleep(0.02)
        return False
