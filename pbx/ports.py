"""What the PBX needs of the outside. Each method ends within its implementer's own time limits.

None of them raises for an outside that is down: each says in its answer what a caller should get
then, so that a call never ends in an exception.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Protocol

import msgspec

from ivr.prompts import Prompt
from ivr.steps import Standing
from pbx.machine.commands import Note
from pbx.machine.events import Decided, Gone, Matched, NotPlaced, Placed, Planned
from pbx.machine.plans import Plan, QueuePlan
from pbx.machine.state import CallState
from pbx.phones import PhoneState
from rules.actions import Action


class Deciding(Protocol):
    """The rules, or somebody else's routing URL."""

    async def decide(self, state: CallState) -> Decided | Planned:
        """Where the call goes; the fallback where nothing can be decided in time.

        A plan at once for a number that no rules are asked about.
        """

    async def plan(self, state: CallState, action: Action) -> Plan:
        """What the action means on this PBX."""


class Queueing(Protocol):
    """Agents and the line."""

    async def stand_in_line(
        self, state: CallState, plan: QueuePlan
    ) -> Matched | Placed | NotPlaced:
        """An agent, a place, or neither. Asked again, the call keeps its place."""

    async def leave_line(self, state: CallState, *, keep: bool) -> None: ...

    async def standing(self, state: CallState) -> Standing | None:
        """Where the call stands; None when that is not known."""

    async def confirm(self, state: CallState, agent: str, token: str) -> bool | None:
        """Whether the agent is this call's now; None: the store did not say (the lease decides)."""

    async def unanswered(self, state: CallState, agent: str, token: str, why: Gone) -> None: ...

    async def release(self, agent: str, token: str) -> None: ...

    async def wrap_up(self, agent: str, *, has_vanished: bool = False) -> None:
        """The agent's call is over. `has_vanished`: the phone fell silent; it is left alone for a while."""

    def wakes(self) -> AsyncIterator[str]:
        """Ids of calls of this PBX that should ask for an agent again, as it becomes known."""


class Promises(Protocol):
    """Callbacks, PINs, messages."""

    async def may_call_back(self, state: CallState, digits: str) -> bool: ...

    async def promise_callback(self, state: CallState, queue: str, number: str) -> bool:
        """Written down for good, or not."""

    async def log_in(self, state: CallState, number: str, pin: str, *, on: bool) -> bool:
        """With the right PIN log the agent of this number in at the phone that calls, or out."""

    async def keep_message(self, state: CallState, mailbox: str, file: PurePosixPath) -> None: ...


class Journal(Protocol):
    """The live calls as last written down."""

    async def owner(self) -> str:
        """A word for whoever shares what is written down here: the same for all of them, nobody else's."""

    async def save(self, state: CallState) -> None:
        """Write the state down; when the store is away, as soon as it is back (latest state only)."""

    async def forget(self, call_id: str) -> None: ...

    async def load(self) -> Sequence[CallState]: ...


class Records(Protocol):
    """Call records, written as things happen. Never waits."""

    def note(self, state: CallState, note: Note) -> None: ...

    def close(self, state: CallState, *, cause: int) -> None: ...


class SpokenPrompt(msgspec.Struct, frozen=True):
    """Sound files without extension, in order."""

    sounds: tuple[str, ...]


class Speech(Protocol):
    """Prompts to sound files."""

    async def speak(self, prompts: tuple[Prompt, ...], language: str) -> SpokenPrompt:
        """Files that exist; a prompt that cannot be had is left out and reported, never an error."""


class RecordingStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Where Asterisk is to write: `folder/name.wav`; the name cannot be guessed.

    `is_momentary`: it was over as soon as it began (somebody hung up), so that there may be nothing in it.
    """

    folder: PurePosixPath
    name: str
    is_momentary: bool = False


class Phones(Protocol):
    """Whoever wants to know where phones stand. Never waits."""

    def know(self, phones: Mapping[str, PhoneState]) -> None:
        """Endpoint -> state of all there are, after a connect: what was known before may be wrong."""

    def learn(self, endpoint: str, state: PhoneState) -> None:
        """One of them stands otherwise now."""


class Recordings(Protocol):
    """Recording files from Asterisk's folder to their final place."""

    def begin(self, state: CallState) -> RecordingStarted: ...

    async def finish(self, state: CallState, started: RecordingStarted) -> bool:
        """Hand the file over; False: missing or empty."""


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, for whoever carries calls out."""

    deciding: Deciding
    queueing: Queueing
    promises: Promises
    journal: Journal
    records: Records
    speech: Speech
    recordings: Recordings
    phones: Phones
