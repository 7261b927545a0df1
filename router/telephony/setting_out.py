"""What an action of the rules means on this PBX: queues, phones, trunk, mailboxes. Pure."""

import uuid
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from ivr.hold import HoldPolicy
from ivr.prompts import Fixed, Prompt, Sound, Speech
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
from pbx.machine.state import CallState, Kind
from router.site.directory import Directory, QueueEntry
from router.site.hours import is_open
from router.site.resources import AgentConfig, QueueConfig
from router.telephony.numbers import Dialable, own_number
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

NO_ROUTE: Final = 3
"""Q.850 "no route to destination"."""
BARRED: Final = 52
"""Q.850 "outgoing calls barred"."""
DIAL_RING_S: Final = 30

_log = structlog.get_logger(__name__)


class Trunk(msgspec.Struct, frozen=True, kw_only=True):
    """The way out: `endpoint` holds `{number}`, `caller_id` is shown where the call brings none of ours."""

    endpoint: str | None
    dialable: Dialable
    caller_id: str | None = None

    def way_to(self, number: str | None) -> str | None:
        """The endpoint that dials a number; None: it may not be dialled."""
        allowed = self.dialable.check(number)
        if self.endpoint is None or allowed is None:
            return None
        return self.endpoint.replace("{number}", allowed)


class Planner:
    """Plans for one tenant, from the directory of the moment."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        tenant: str,
        trunk: Trunk,
        *,
        is_stereo: bool = False,
        message_s: int = 180,
        placed: Callable[[AgentConfig], AgentConfig] = lambda agent: agent,
    ) -> None:
        """`placed` gives an agent the phone at which they have logged in."""
        self._directory = directory
        self._tenant = tenant
        self._trunk = trunk
        self._is_stereo = is_stereo
        self._message_s = message_s
        self._placed = placed

    def plan(self, state: CallState, action: Action) -> Plan:  # noqa: PLR0911 - one per action
        """The plan; what cannot be carried out here ends the call with a word and a fitting cause."""
        match action:
            case Enqueue():
                return self._enqueue(state, action)
            case ReserveAgent():
                return self._agent(state, action)
            case Route():
                return self._route(state, action.target)
            case Forward():
                return self._dial_out(state, action.number)
            case Voicemail():
                return VoicemailPlan(mailbox=_mailbox(action.target), longest_s=self._message_s)
            case Callback():
                if self.queue(action.queue) is None or self._trunk.endpoint is None:
                    return self.plan_simply(state, action.otherwise)
                return CallbackPlan(queue=action.queue, otherwise=action.otherwise)
            case End():
                return _end(action)
            case Ask() | Menu():
                # Questions are put before anything is planned.
                return self.plan_simply(state, action.otherwise)

    def plan_simply(self, state: CallState, action: Action) -> Plan:
        """Plan an alternative; one more question on the way is not worth asking."""
        while isinstance(action, Ask | Menu):
            action = action.otherwise
        return self.plan(state, action)

    def queue(self, queue_id: str) -> QueueEntry | None:
        """A queue by our id, or by the platform's."""
        directory = self._directory()
        found = directory.queue(self._tenant, queue_id)
        return found or directory.queue_by_call_center_id(self._tenant, queue_id)

    def is_closed(self, queue_id: str, now_s: float) -> bool:
        """Whether a queue takes no caller at that moment: out of hours, or removed from the site.

        One that is not there while the site is not known yet says nothing of that.
        """
        entry = self.queue(queue_id)
        if entry is None:
            return self._tenant in self._directory().tenants
        return not is_open(entry.calendar, now_s)

    def sends_away(self, queue_id: str, now_s: float) -> bool:
        """Whether those leave who wait in a queue already: it is closed, and lets nobody stay."""
        entry = self.queue(queue_id)
        stays = entry is not None and entry.config.hold_queue.stay_in_queue_after_closing
        return not stays and self.is_closed(queue_id, now_s)

    def agent(self, agent_id: str) -> AgentConfig | None:
        """An agent by our id, or by the platform's, with the phone where they are now."""
        directory = self._directory()
        found = directory.agent(self._tenant, agent_id)
        found = found or directory.agent_by_user_id(self._tenant, agent_id)
        return None if found is None else self._placed(found)

    def shown_number(self, state: CallState) -> str | None:
        """What whom we call out sees: the number that was called, if it is ours; else the setting's."""
        called = self._trunk.dialable.e164(state.called_number)
        ours = (
            own_number(number)
            for router in self._directory().routers_of(self._tenant)
            for number in router.config.phone_numbers
        )
        return called if called is not None and called in set(ours) else self._trunk.caller_id

    # --- queues -----------------------------------------------------------------------------------

    def _enqueue(self, state: CallState, action: Enqueue) -> Plan:
        entry = self.queue(action.queue)
        if entry is None:
            return _nowhere("queue")
        leave_message = Voicemail(target=_target_of(entry.config))
        return msgspec.structs.replace(
            self._queue_plan(state, entry.config),
            otherwise=leave_message,
            escape=leave_message,
            priority=action.priority,
            skills=dict(action.skills),
            relax=action.relax,
        )

    def _agent(self, state: CallState, action: ReserveAgent) -> Plan:
        entry = self.queue(action.queue)
        if entry is None:
            return self.plan_simply(state, action.otherwise)
        plan = self._queue_plan(state, entry.config)
        return msgspec.structs.replace(
            plan,
            otherwise=action.otherwise,
            skills=dict(action.skills),
            strategy=action.strategy or plan.strategy,
            sticky_s=action.sticky_s,
            only_now=True,
        )

    def _queue_plan(self, state: CallState, queue: QueueConfig) -> QueuePlan:
        return QueuePlan(
            queue=queue.id,
            otherwise=End(),
            hold=self._hold_policy(state, queue),
            ring_s=queue.ring_seconds,
            strategy=queue.strategy,
            whisper=whisper(queue),
            recording=self._recording(state, queue),
        )

    def _hold_policy(self, state: CallState, queue: QueueConfig) -> HoldPolicy:
        hold = queue.hold_queue
        callable_back = self._trunk.endpoint is not None and state.kind is Kind.INBOUND
        return HoldPolicy(
            longest_wait_s=hold.max_hold_seconds,
            left_s=hold.max_hold_seconds,
            announce_position=hold.announce_position,
            announce_wait=hold.announce_estimated_wait_time,
            longest_announced_min=hold.estimated_wait_time_max,
            interval_s=hold.announcement_interval_seconds,
            escape_key=hold.queue_escape_dtmf,
            callback_key=hold.queue_callback_dtmf
            if hold.allow_queue_callback and callable_back
            else None,
            callback_threshold=hold.queue_callback_threshold,
        )

    def _recording(self, state: CallState, queue: QueueConfig) -> RecordingPolicy:
        wanted = queue.recording
        is_wanted = wanted.inbound if state.kind is Kind.INBOUND else wanted.outbound
        return RecordingPolicy(
            record=is_wanted,
            announce=wanted.announce,
            ask_consent=wanted.ask_consent,
            allow_pause=wanted.allow_pause,
            stereo=self._is_stereo,
        )

    # --- phones -----------------------------------------------------------------------------------

    def _route(self, state: CallState, target: Target) -> Plan:
        if target.type is TargetType.PHONE:
            return self._dial_out(state, target.number)
        if target.type is TargetType.USER:
            return self._ring(state, target.id or "")
        queue = self.queue(target.id or "")
        if queue is None:
            return _nowhere(target.type.value)
        return self._enqueue(state, Enqueue(queue=queue.config.id))

    def _ring(self, state: CallState, agent_id: str) -> Plan:
        agent = self.agent(agent_id)
        if agent is None:
            return _nowhere("user")
        mailbox = Voicemail(target=Target(type=TargetType.USER, id=agent.id))
        if agent.endpoint is None:
            return self.plan(state, mailbox)  # not logged in at any phone
        offer = Offer(endpoint=agent.endpoint, leg=new_leg(), agent=agent.id)
        return DialPlan(
            offers=(offer,),
            ring_s=DIAL_RING_S,
            caller_id=state.caller_number,
            otherwise=mailbox,
        )

    def _dial_out(self, state: CallState, number: str | None) -> Plan:
        endpoint = self._trunk.way_to(number)
        if endpoint is None:
            _log.warning("number_not_dialled", has_trunk=self._trunk.endpoint is not None)
            return EndPlan(prompts=(Fixed(Sound.TRY_LATER),), cause=BARRED)
        offer = Offer(endpoint=endpoint, leg=new_leg())
        return DialPlan(offers=(offer,), ring_s=DIAL_RING_S, caller_id=self.shown_number(state))


def new_leg() -> LegId:
    """A channel id that no other one starts with."""
    return LegId(str(uuid.uuid4()))


def whisper(queue: QueueConfig) -> tuple[Prompt, ...]:
    """What an agent hears before the caller: from which queue. The wait is added when it is known."""
    return (Fixed(Sound.WHISPER_QUEUE), Speech(queue.name))


def _end(action: End) -> EndPlan:
    return EndPlan(prompts=(Speech(action.message, action.locale),) if action.message else ())


def _nowhere(kind: str) -> EndPlan:
    _log.warning("no_such_destination", kind=kind)
    return EndPlan(prompts=(Fixed(Sound.TRY_LATER),), cause=NO_ROUTE)


def _target_of(queue: QueueConfig) -> Target:
    return Target(type=TargetType.CALLCENTER, id=queue.id, name=queue.name)


def _mailbox(target: Target) -> str:
    return f"{target.type.value}-{target.id or target.number}"
