"""What can be asked of a live call, or for a new one, from outside the PBX's process; and asking it.

A command travels through the store to the controller that owns the call. It is carried out at most
once and never late. An answer that does not come leaves two possibilities, and they are told apart:
`PbxAwayError`, nothing happened and nothing will; `OutcomeUnknownError`, it may have happened: look at
the call before asking again.
"""

import asyncio
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

import msgspec

from router.deadline import Deadline, in_s, left_s, sooner
from router.errors import (
    ConflictError,
    CrosspointError,
    Fault,
    InvalidInputError,
    NotFoundError,
    OutcomeUnknownError,
)
from router.store.pbx_commands import Fate, PbxCommands, Sent
from rules.actions import Action

BEGIN_S: Final = 4.0
"""A command that nobody has begun by then is not begun any more."""

FINISH_S: Final = 7.0
"""Whoever asked waits so long for the answer."""

LOOK_S: Final = (0.004, 0.1)
STORE_S: Final = 1.0


class Party(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody to be rung: an agent's phone, or a number. Exactly one of both."""

    agent: str | None = None
    number: str | None = None


class HangUp(msgspec.Struct, frozen=True, kw_only=True, tag="hang_up"):
    call: str


class Hold(msgspec.Struct, frozen=True, kw_only=True, tag="hold"):
    call: str


class Resume(msgspec.Struct, frozen=True, kw_only=True, tag="resume"):
    call: str


class Transfer(msgspec.Struct, frozen=True, kw_only=True, tag="transfer"):
    """To an agent, a number or a queue."""

    call: str
    action: Action


class Consult(msgspec.Struct, frozen=True, kw_only=True, tag="consult"):
    call: str
    party: Party
    ring_s: int = 30


class Complete(msgspec.Struct, frozen=True, kw_only=True, tag="complete"):
    call: str


class Add(msgspec.Struct, frozen=True, kw_only=True, tag="add"):
    call: str
    party: Party
    ring_s: int = 30


class Drop(msgspec.Struct, frozen=True, kw_only=True, tag="drop"):
    """Let one party go; `party` is the id of its leg."""

    call: str
    party: str


class Park(msgspec.Struct, frozen=True, kw_only=True, tag="park"):
    call: str


class Unpark(msgspec.Struct, frozen=True, kw_only=True, tag="unpark"):
    call: str
    party: Party
    ring_s: int = 30


class Supervise(msgspec.Struct, frozen=True, kw_only=True, tag="supervise"):
    call: str
    party: Party
    mode: Literal["listen", "whisper", "barge"]


class Record(msgspec.Struct, frozen=True, kw_only=True, tag="record"):
    call: str
    to: Literal["on", "off", "pause", "resume"]


class ClickToCall(msgspec.Struct, frozen=True, kw_only=True, tag="click_to_call"):
    """Ring the agent, then the number; `call` is the id the new call is to have."""

    call: str
    agent: str
    number: str
    shown: str | None = None
    ring_s: int = 30
    record: bool = False


class PlayMenu(msgspec.Struct, frozen=True, kw_only=True, tag="play_menu"):
    """Call a number; whoever answers gets `action`: a message, or a menu and what it leads to."""

    call: str
    number: str
    action: Action
    shown: str | None = None
    ring_s: int = 30


Command = (
    HangUp
    | Hold
    | Resume
    | Transfer
    | Consult
    | Complete
    | Add
    | Drop
    | Park
    | Unpark
    | Supervise
    | Record
    | ClickToCall
    | PlayMenu
)


class Refusal(StrEnum):
    """Why a controller does not do it."""

    NO_CALL = "no_call"
    NOT_NOW = "not_now"
    NO_PHONE = "no_phone"
    BARRED = "barred"
    AGENT_BUSY = "agent_busy"
    TOO_MANY = "too_many"
    PBX_DOWN = "pbx_down"
    UNREADABLE = "unreadable"


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of it: done, refused (`refusal` says why), or begun without an end in sight."""

    is_done: bool = False
    refusal: Refusal | None = None
    why: str = ""


DONE: Final = Answer(is_done=True)
UNKNOWN: Final = Answer()


class NotNowError(ConflictError):
    """This cannot be done with the call as it is now."""

    code = "not_now"


class AgentBusyError(ConflictError):
    """The agent has a call, or is being offered one."""

    code = "agent_busy"


class BarredError(InvalidInputError):
    """This number may not be dialled, or shown, from here."""

    code = "barred"


class PbxAwayError(CrosspointError):
    """The PBX, or whoever runs it, is not there; nothing was done."""

    code = "pbx_away"
    fault = Fault.UPSTREAM
    safe_to_repeat = True


class PbxFullError(CrosspointError):
    """The PBX takes no more calls or commands at the moment; nothing was done."""

    code = "pbx_full"
    fault = Fault.UPSTREAM
    safe_to_repeat = True


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Command).decode
_answer = msgspec.json.Decoder(Answer).decode


class CallControl:
    """Sends commands and waits for what becomes of them."""

    def __init__(
        self, commands: PbxCommands, *, begin_s: float = BEGIN_S, finish_s: float = FINISH_S
    ) -> None:
        self._commands = commands
        self._begin_s = begin_s
        self._finish_s = finish_s

    async def carry_out(self, tenant: str, pbx: str, command: Command, deadline: Deadline) -> None:
        """Returns when it is done. Errors: see `Refusal`'s, `PbxAwayError`, `OutcomeUnknownError`.

        Never repeats anything: the command carries an id, and is taken once.
        """
        command_id = uuid.uuid4().hex
        until = sooner(deadline, self._finish_s)
        sent = await self._commands.send(
            tenant,
            pbx,
            command_id,
            encode(command),
            begin_by=sooner(until, self._begin_s),
            deadline=sooner(until, STORE_S),
        )
        if sent is Sent.AWAY:
            raise PbxAwayError
        if sent is Sent.CROWDED:
            raise PbxFullError
        text = await self._answer_by(tenant, command_id, Deadline(until - STORE_S))
        _raise_refusal(_answer(text))

    async def _answer_by(self, tenant: str, command_id: str, until: Deadline) -> bytes:
        pause_s, longest_s = LOOK_S
        while left_s(until) > 0:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
            try:
                text = await self._commands.answer_to(tenant, command_id, in_s(STORE_S))
            except CrosspointError:
                continue  # looking is harmless; the time is what ends it
            if text is not None:
                return text
        return await self._give_up(tenant, command_id)

    async def _give_up(self, tenant: str, command_id: str) -> bytes:
        try:
            fate, text = await self._commands.withdraw(tenant, command_id, in_s(STORE_S))
        except CrosspointError as error:
            raise OutcomeUnknownError from error
        if fate is Fate.ANSWERED:
            return text
        if fate is Fate.WITHDRAWN:
            raise PbxAwayError
        raise OutcomeUnknownError


_REFUSALS: Final[Mapping[Refusal, type[CrosspointError]]] = {
    Refusal.NO_CALL: NotFoundError,
    Refusal.NOT_NOW: NotNowError,
    Refusal.NO_PHONE: BarredError,
    Refusal.BARRED: BarredError,
    Refusal.AGENT_BUSY: AgentBusyError,
    Refusal.TOO_MANY: PbxFullError,
    Refusal.PBX_DOWN: PbxAwayError,
    Refusal.UNREADABLE: CrosspointError,
}


def _raise_refusal(answer: Answer) -> None:
    if answer.refusal is not None:
        raise _REFUSALS[answer.refusal](answer.why or None)
    if not answer.is_done:
        raise OutcomeUnknownError(answer.why or None)
