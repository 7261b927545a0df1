"""The controller's side of remote control: takes commands from the store and gives them to the calls.

How it works. A message on a channel says that there is a command; once a second there is a look anyway,
which also shows that this controller is there. Before a control is posted, the pure state table is
asked what it would mean: what means nothing now is refused at once, with nothing done. Then the state
of the call is watched until what was asked for has come about, and that is the answer.
"""

import asyncio
import contextlib
import time
from typing import Final, Protocol, TypeVar, assert_never

import msgspec
import structlog
from msgspec import MsgspecError

from pbx.machine.events import (
    AddParticipant,
    ChangeRecording,
    CompleteTransfer,
    ConsultWith,
    Control,
    DropParty,
    HangUpCall,
    HoldCall,
    ParkCall,
    ResumeCall,
    TransferTo,
    UnparkTo,
)
from pbx.machine.events import Supervise as SuperviseCall
from pbx.machine.plans import DialPlan, LegId, RecordingPolicy
from pbx.machine.state import CallState, Kind, Leg
from pbx.session import Session
from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.store import keys
from router.store.announcements import Announcements
from router.store.pbx_commands import DeposedError, PbxCommands, TakenCommand
from router.store.pbx_line import Took
from router.telephony.by_name import ByName
from router.telephony.call_control import (
    DONE,
    UNKNOWN,
    Add,
    Answer,
    ClickToCall,
    Command,
    Complete,
    Consult,
    Drop,
    HangUp,
    Hold,
    Park,
    Party,
    PlayMenu,
    Record,
    Refusal,
    Resume,
    Supervise,
    Transfer,
    Unpark,
    decode,
    encode,
)
from router.telephony.effects import Watch, effect_of, means_nothing
from router.telephony.setting_out import DIAL_RING_S, Planner, Trunk, new_leg
from rules.actions import Action, Enqueue, Forward, Menu, Route, TargetType

LOOK_S: Final = 1.0
STORE_S: Final = 1.0
MOST_AT_ONCE: Final = 50
FINISH_S: Final = 5.0
"""A control that shows no effect for so long is answered as of unknown outcome."""

SUPERVISOR_RING_S: Final = 30
_log = structlog.get_logger(__name__)


Rings = TypeVar("Rings", ConsultWith, AddParticipant, UnparkTo)


class Calls(Protocol):
    """`pbx.controller.Controller`, as far as it matters here."""

    @property
    def is_ready(self) -> bool:
        """Whether Asterisk is there and what it does is known."""

    def find(self, call_id: str) -> Session | None: ...

    def begin(self, state: CallState) -> Session | None: ...


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An agent whom a control is to ring; `is_ahead`: as soon as the call's next plan says so."""

    agent: str
    leg: LegId
    ring_s: int
    is_ahead: bool = False


class RemoteControl:
    """`run` is a task of the process that has the calls of one PBX."""

    def __init__(
        self,
        *,
        calls: Calls,
        commands: PbxCommands,
        by_name: ByName,
        announcements: Announcements,
        planner: Planner,
        trunk: Trunk,
        tenant: str,
        pbx: str,
        token: str = "",
        finish_s: float = FINISH_S,
    ) -> None:
        """With `token` (of the PBX's lease) nothing is taken that another controller should have."""
        self._calls = calls
        self._commands = commands
        self._by_name = by_name
        self._announcements = announcements
        self._planner = planner
        self._trunk = trunk
        self._tenant = tenant
        self._pbx = pbx
        self._token = token
        self._finish_s = finish_s
        self._look_soon = asyncio.Event()
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._watch = Watch()

    async def run(self) -> None:
        """Take and carry out, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                await self._take_all(tasks)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._look_soon.wait()
                self._look_soon.clear()

    async def _listen(self) -> None:
        async for _ in self._announcements.listen((keys.pbx_told(self._tenant, self._pbx),)):
            self._look_soon.set()

    async def _take_all(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._room.acquire()
            taken = None
            try:
                taken = await self._commands.take(
                    self._tenant, self._pbx, token=self._token, deadline=in_s(STORE_S)
                )
            except DeposedError:
                _log.info("commands_are_not_ours", pbx=self._pbx)
            except CrosspointError as error:
                _log.info("commands_not_read", reason=error.code)
            if taken is None:
                self._room.release()
                return
            tasks.create_task(self._carry_out(taken))

    async def _carry_out(self, taken: TakenCommand) -> None:
        try:
            answer = await self._answer(taken)
            await self._commands.answer(self._tenant, taken.id, encode(answer), in_s(STORE_S))
        except CrosspointError as error:
            _log.info("command_not_answered", reason=error.code)
        finally:
            self._room.release()

    async def _answer(self, taken: TakenCommand) -> Answer:
        until = in_s(self._finish_s)
        try:
            command = decode(taken.text)
        except MsgspecError:
            return Answer(refusal=Refusal.UNREADABLE)
        if not self._calls.is_ready:
            return Answer(refusal=Refusal.PBX_DOWN)
        try:
            return await self.obey(command, until)
        except _RefusedError as refused:
            return Answer(refusal=refused.refusal, why=refused.why)
        except CrosspointError as error:
            _log.info("command_failed", command=type(command).__name__, reason=error.code)
            return UNKNOWN
        except Exception:  # noqa: BLE001 - the boundary: nobody may be left waiting, or end the task group
            _log.error("command_failed", command=type(command).__name__, exc_info=True)
            return UNKNOWN

    async def obey(self, command: Command, until: Deadline) -> Answer:
        """Carry one command out; how far it came by `until`."""
        match command:
            case ClickToCall():
                return await self._click_to_call(command, until)
            case PlayMenu():
                return self._play_menu(command)
            case _:
                session = self._calls.find(command.call)
                if session is None:
                    raise _RefusedError(Refusal.NO_CALL, "this call is not going on")
                control = self._control(command, session.state)
                asked = self._agent_asked(session.state, control)
                if asked is None:
                    return await self._post(session, control, until)
                return await self._post_with_agent(session, control, asked, until)

    # --- controls -----------------------------------------------------------------------------------

    def _control(self, command: Command, state: CallState) -> Control:  # noqa: C901, PLR0911, PLR0912 - one case per command
        match command:
            case HangUp():
                return HangUpCall()
            case Hold():
                return HoldCall()
            case Resume():
                return ResumeCall()
            case Transfer(action=action):
                self._check(action)
                return TransferTo(action)
            case Consult(party=party, ring_s=ring_s):
                return self._ringing(ConsultWith, party, ring_s, state)
            case Complete():
                return CompleteTransfer()
            case Add(party=party, ring_s=ring_s):
                return self._ringing(AddParticipant, party, ring_s, state)
            case Drop(party=party):
                return DropParty(LegId(party))
            case Park():
                return ParkCall()
            case Unpark(party=party, ring_s=ring_s):
                return self._ringing(UnparkTo, party, ring_s, state)
            case Supervise(party=party, mode=mode):
                endpoint = self._phone_of(party)
                return SuperviseCall(
                    endpoint=endpoint,
                    leg=new_leg(),
                    mode=mode,
                    agent=party.agent,
                    caller_id=self._shown_to(party, state),
                )
            case Record(to=to):
                return ChangeRecording(to)
            case ClickToCall() | PlayMenu():
                raise AssertionError("these begin a call")
            case _:
                assert_never(command)

    def _ringing(self, control: type[Rings], party: Party, ring_s: int, state: CallState) -> Rings:
        return control(
            endpoint=self._phone_of(party),
            leg=new_leg(),
            ring_s=ring_s,
            agent=party.agent,
            caller_id=self._shown_to(party, state),
        )

    def _agent_asked(self, state: CallState, control: Control) -> _Asked | None:
        """Who is to be rung by this, and under which leg; for a transfer one that does not come to be."""
        match control:
            case ConsultWith(agent=str(agent), leg=leg, ring_s=ring_s):
                return _Asked(agent=agent, leg=leg, ring_s=ring_s)
            case AddParticipant(agent=str(agent), leg=leg, ring_s=ring_s):
                return _Asked(agent=agent, leg=leg, ring_s=ring_s)
            case UnparkTo(agent=str(agent), leg=leg, ring_s=ring_s):
                return _Asked(agent=agent, leg=leg, ring_s=ring_s)
            case SuperviseCall(agent=str(agent), leg=leg) if state.supervision is None:
                return _Asked(agent=agent, leg=leg, ring_s=SUPERVISOR_RING_S)
            case TransferTo(action=Route(target=target)) if target.type is TargetType.USER:
                known = self._planner.agent(target.id or "")
                if known is not None:
                    return _Asked(agent=known.id, leg=new_leg(), ring_s=DIAL_RING_S, is_ahead=True)
        return None

    async def _post_with_agent(
        self, session: Session, control: Control, asked: _Asked, until: Deadline
    ) -> Answer:
        """Keep the agent first, and give back whoever is not rung after all."""
        _refuse_meaningless(session, control)
        take = self._by_name.take_ahead if asked.is_ahead else self._by_name.take
        call = session.state.id
        took = await take(asked.agent, call, asked.leg, ring_s=asked.ring_s, deadline=until)
        if took is Took.BUSY:
            raise _RefusedError(Refusal.AGENT_BUSY)
        try:
            answer = await self._post(session, control, until)
        except _RefusedError:
            await self._by_name.give_back(asked.agent, call, asked.leg)
            raise
        if answer.refusal is not None:
            await self._by_name.give_back(asked.agent, call, asked.leg)
        return answer

    async def _post(self, session: Session, control: Control, until: Deadline) -> Answer:
        _refuse_meaningless(session, control)
        with self._watch.awaiting(session, effect_of(control, session.state)) as answer:
            posted = session.post_control(control, until)
            if posted is None:
                raise _RefusedError(Refusal.NOT_NOW, "the call is too busy")
            try:
                async with asyncio.timeout_at(until):
                    return await answer
            except TimeoutError:
                # Asterisk has gone away, and what was not begun by now never will be.
                return UNKNOWN if posted.has_begun else Answer(refusal=Refusal.PBX_DOWN)

    # --- calls that begin here ----------------------------------------------------------------------

    async def _click_to_call(self, command: ClickToCall, until: Deadline) -> Answer:
        if self._calls.find(command.call) is not None:
            return DONE
        endpoint, shown = self._way_to(command.number), self._shown(command.shown)
        agent = Leg(
            id=new_leg(),
            endpoint=self._phone_of(Party(agent=command.agent)),
            agent=command.agent,
        )
        took = await self._by_name.take(
            command.agent,
            command.call,
            agent.id,
            ring_s=command.ring_s,
            deadline=until,
            ends_wrap_up=True,
        )
        if took is Took.BUSY:
            raise _RefusedError(Refusal.AGENT_BUSY)
        state = CallState(
            id=command.call,
            kind=Kind.CLICK_TO_CALL,
            channel=new_leg(),
            customer_endpoint=endpoint,
            caller_number=self._trunk.dialable.e164(command.number),
            called_number=shown,
            shown_number=shown,
            arrived_ms=_now_ms(),
            ring_s=command.ring_s,
            agent=agent,
            token=agent.id if took is Took.TAKEN else "",
            plan=DialPlan(
                offers=(),
                ring_s=command.ring_s,
                recording=RecordingPolicy(record=command.record, allow_pause=True),
            ),
        )
        try:
            return self._begin(state)
        except _RefusedError:
            await self._by_name.give_back(command.agent, command.call, agent.id)
            raise

    def _play_menu(self, command: PlayMenu) -> Answer:
        if self._calls.find(command.call) is not None:
            return DONE
        shown = self._shown(command.shown)
        if isinstance(command.action, Menu):
            for choice in (*command.action.choices.values(), command.action.otherwise):
                self._check(choice)
        return self._begin(
            CallState(
                id=command.call,
                kind=Kind.OUTBOUND_IVR,
                channel=new_leg(),
                customer_endpoint=self._way_to(command.number),
                caller_number=self._trunk.dialable.e164(command.number),
                called_number=shown,
                shown_number=shown,
                arrived_ms=_now_ms(),
                ring_s=command.ring_s,
                action=command.action,
            )
        )

    def _begin(self, state: CallState) -> Answer:
        if self._calls.begin(state) is None:
            raise _RefusedError(Refusal.TOO_MANY)
        return DONE

    # --- numbers and phones -------------------------------------------------------------------------

    def _check(self, action: Action) -> None:
        """Nobody is to be left with a caller, or with a key to press, who can go nowhere."""
        match action:
            case Forward(number=number):
                self._way_to(number)
            case Route(target=target) if target.type is TargetType.USER:
                self._phone_of(Party(agent=target.id))
            case Enqueue(queue=queue) if self._planner.queue(queue) is None:
                raise _RefusedError(Refusal.NO_PHONE, "there is no such queue")

    def _phone_of(self, party: Party) -> str:
        if party.agent is None:
            return self._way_to(party.number)
        known = self._planner.agent(party.agent)
        if known is None:
            raise _RefusedError(Refusal.NO_PHONE, "there is no such agent")
        if known.endpoint is None:
            raise _RefusedError(Refusal.NO_PHONE, "this agent has no phone here")
        return known.endpoint

    def _way_to(self, number: str | None) -> str:
        endpoint = self._trunk.way_to(number)
        if endpoint is None:
            raise _RefusedError(Refusal.BARRED, "this number may not be dialled from here")
        return endpoint

    def _shown_to(self, party: Party, state: CallState) -> str | None:
        """An agent sees who calls; whoever is dialled outside one of our own numbers, as the trunk wants it."""
        if party.agent is not None:
            return state.caller_number
        return self._planner.shown_number(state)

    def _shown(self, wanted: str | None) -> str | None:
        """The caller id: one of the tenant's own numbers; by default the setting's."""
        if wanted is None:
            return self._trunk.caller_id
        asked = CallState(id="", kind=Kind.CLICK_TO_CALL, channel=LegId(""), called_number=wanted)
        number = self._planner.shown_number(asked)
        if number is None or number != self._trunk.dialable.e164(wanted):
            raise _RefusedError(Refusal.BARRED, "this caller id is not one of yours")
        return number


class _RefusedError(Exception):
    """Ends a command; nothing was done."""

    def __init__(self, refusal: Refusal, why: str = "") -> None:
        super().__init__(refusal)
        self.refusal = refusal
        self.why = why


def _refuse_meaningless(session: Session, control: Control) -> None:
    if why := means_nothing(session.state, control):
        raise _RefusedError(Refusal.NOT_NOW, why)


def _now_ms() -> int:
    return int(time.time() * 1000)
