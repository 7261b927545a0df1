"""Both talk: hold, transfer, consult, confer, park, supervise, record, and the end of it."""

from collections.abc import Callable

from msgspec.structs import replace

from ivr.prompts import Fixed, Sound
from ivr.steps import Music, SetTimer, TimedOut, Timer
from pbx.machine.acting import Next, Step, act, carry_out, hang_up
from pbx.machine.commands import (
    Bridge,
    BridgeLegs,
    Cancel,
    Confer,
    HangUp,
    Note,
    Ring,
    SetRecording,
    Split,
    Spy,
    WrapUp,
)
from pbx.machine.events import (
    AddParticipant,
    Bridged,
    BridgeOver,
    ChangeRecording,
    CompleteTransfer,
    ConsultWith,
    Gone,
    HoldCall,
    LegGone,
    LegUp,
    ParkCall,
    ResumeCall,
    SplitDone,
    SplitFailed,
    Supervise,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import DialPlan, EndPlan, QueuePlan
from pbx.machine.queueing import look_again
from pbx.machine.state import CallState, Intent, Leg, Phase, Supervision

_LEAVING = frozenset({Intent.TRANSFER, Intent.PARK, Intent.COMPLETE})
"""Why a bridge is taken apart when the agent leaves in any case."""

LONGEST_PARKED_S = 300.0
"""A parked caller whom nobody takes hears an apology after that time, not silence for ever."""


def bridged(state: CallState, _event: Bridged) -> Next:
    noted = Note(what="talking", agent=state.agent.agent if state.agent else None)
    return replace(state, is_joined=True), (noted,)


def bridge_over(state: CallState, _event: BridgeOver) -> Next:
    """The agent hung up; the caller has been served. A leg left over by a failed bridge ends too."""
    if _waits_still(state):
        return _back_in_line(state, hang_up_leg=True)
    return _after_talk(state, hang_up_leg=True)


def _waits_still(state: CallState) -> bool:
    """The agent's phone was lost in the moment of joining: nobody has spoken with the caller yet."""
    return (
        state.phase is Phase.TALKING and not state.is_joined and isinstance(state.plan, QueuePlan)
    )


def _back_in_line(state: CallState, *, hang_up_leg: bool) -> Next:
    state, steps = let_agent_go(state, hang_up_leg=hang_up_leg)
    waiting = replace(state, phase=Phase.PLACING, in_line=True, goes_first=True)
    then, more = look_again(waiting)
    return then, (*steps, Music(on=True), *more)


def _agent_vanished(state: CallState) -> Next:
    """The agent's phone fell silent for good: the caller is not to pay for it."""
    state, steps = let_agent_go(state, has_vanished=True)
    plan = state.plan
    if isinstance(plan, QueuePlan):
        then, more = _back_in_line(state, hang_up_leg=False)
        return then, (*steps, *more)
    if isinstance(plan, DialPlan) and plan.otherwise is not None:
        then, more = act(state, plan.otherwise)
        return then, (*steps, Music(on=True), *more)
    then, more = hang_up(state)
    return then, (*steps, *more)


def _after_talk(state: CallState, *, hang_up_leg: bool) -> Next:
    state, steps = let_agent_go(state, hang_up_leg=hang_up_leg)
    then, more = hang_up(state)
    return then, (*steps, *more)


def let_agent_go(
    state: CallState, *, hang_up_leg: bool = False, has_vanished: bool = False
) -> Next:
    """The agent's part is over: wrap-up, and nobody listens in any more."""
    agent, steps = state.agent, list[Step]()
    if agent is not None:
        if hang_up_leg:
            steps.append(HangUp(leg=agent.id))
        what = "agent_vanished" if has_vanished else "agent_left"
        steps.append(Note(what=what, leg=agent.id, agent=agent.agent))
        if agent.agent is not None:
            steps.append(WrapUp(agent.agent, has_vanished))
    if state.supervision is not None:
        steps.append(HangUp(leg=state.supervision.leg.id))
    return replace(state, agent=None, supervision=None), tuple(steps)


def leg_gone(state: CallState, event: LegGone) -> Next:
    """Somebody other than the caller has left a call that is under way."""
    if state.supervision is not None and event.leg == state.supervision.leg.id:
        return replace(state, supervision=None), (Note(what="supervisor_left", leg=event.leg),)
    if state.third is not None and event.leg == state.third.id:
        return _third_gone(state, event)
    if state.agent is not None and event.leg == state.agent.id:
        if state.phase is Phase.SPLITTING and state.intent in _LEAVING:
            # They were leaving anyway; the split that follows goes on without them.
            return let_agent_go(state, has_vanished=event.why is Gone.VANISHED)
        cancel = (Cancel(state.third.id),) if state.third is not None else ()
        state = replace(state, third=None)
        if event.why is Gone.VANISHED:
            then, steps = _agent_vanished(state)
        else:
            after = _back_in_line if _waits_still(state) else _after_talk
            then, steps = after(state, hang_up_leg=False)
        return then, (*cancel, *steps)
    return state, ()


# --- hold, transfer, park: the bridge is taken apart first ------------------------------------------


def _split(state: CallState, intent: Intent) -> Next:
    if state.agent is None:
        return state, ()
    splitting = replace(state, phase=Phase.SPLITTING, intent=intent)
    return splitting, (Split(state.channel, state.agent.id),)


def hold(state: CallState, _event: HoldCall) -> Next:
    return _split(state, Intent.HOLD)


def transfer(state: CallState, event: TransferTo) -> Next:
    if state.phase is Phase.HELD:
        return _transfer_now(replace(state, action=event.action))
    return _split(replace(state, action=event.action), Intent.TRANSFER)


def park(state: CallState, _event: ParkCall) -> Next:
    return _split(state, Intent.PARK)


def consult(state: CallState, event: ConsultWith) -> Next:
    if state.third is not None:
        return state, (Note(what="consultation_refused"),)
    third = Leg(id=event.leg, endpoint=event.endpoint, agent=event.agent)
    ring = Ring(leg=third.id, endpoint=third.endpoint, ring_s=event.ring_s)
    state = replace(state, third=third)
    if state.phase is Phase.HELD:
        return state, (ring,)
    then, steps = _split(state, Intent.CONSULT)
    return then, (*steps, ring)


def split_done(state: CallState, _event: SplitDone) -> Next:
    act_on: dict[Intent | None, Callable[[CallState], Next]] = {
        Intent.HOLD: _held,
        Intent.CONSULT: _consulted,
        Intent.TRANSFER: _transfer_now,
        Intent.PARK: _park_now,
        Intent.COMPLETE: _complete_now,
        Intent.RECORD: _record_now,
    }
    handle = act_on.get(state.intent)
    return handle(replace(state, intent=None)) if handle is not None else (state, ())


def split_failed(state: CallState, _event: SplitFailed) -> Next:
    failed = Note(what="control_failed")
    if state.agent is None and state.intent in _LEAVING:
        # The agent was quicker: nothing was left to be taken apart.
        then, steps = split_done(state, SplitDone())
        return then, (failed, *steps)
    if state.intent is Intent.COMPLETE:
        return replace(state, phase=Phase.CONSULTING, intent=None), (failed,)
    cancel = (Cancel(state.third.id),) if state.third is not None else ()
    talking = replace(state, phase=Phase.TALKING, intent=None, third=None)
    return talking, (*cancel, failed)


def _held(state: CallState) -> Next:
    state = replace(state, phase=Phase.HELD)
    if state.third is not None and state.third.is_up:
        return _consult_now(state)
    return state, (Music(on=True), Note(what="held"))


def _consulted(state: CallState) -> Next:
    """Apart, to consult; unless the third party has refused while that was done."""
    return _held(state) if state.third is not None else _join_again(state)


def _transfer_now(state: CallState) -> Next:
    action = state.action
    state, steps = let_agent_go(state, hang_up_leg=True)
    if action is None:
        then, more = hang_up(state)
    else:
        then, more = act(replace(state, intent=None), action)
    return then, (Note(what="transferred"), Music(on=True), *steps, *more)


def _park_now(state: CallState) -> Next:
    state, steps = let_agent_go(state, hang_up_leg=True)
    parked = replace(state, phase=Phase.PARKED, intent=None)
    limit = SetTimer(timer=Timer.LONGEST_WAIT, after_s=LONGEST_PARKED_S)
    return parked, (Note(what="parked"), *steps, Music(on=True), limit)


def resume(state: CallState, _event: ResumeCall) -> Next:
    """Off hold. A third party that is rung or consulted goes first; its leaving joins the two."""
    if state.third is not None:
        end = HangUp(leg=state.third.id) if state.third.is_up else Cancel(state.third.id)
        return state, (end,)
    return _join_again(state)


def _join_again(state: CallState) -> Next:
    if state.agent is None:
        return hang_up(state)
    talking = replace(state, phase=Phase.TALKING)
    return talking, (Music(on=False), Bridge(state.agent.id), Note(what="resumed"))


# --- a third party -----------------------------------------------------------------------------------


def third_up(state: CallState, event: LegUp) -> Next:
    """Whoever was rung during the call has answered."""
    if state.supervision is not None and event.leg == state.supervision.leg.id:
        return _spy(state)
    if state.third is None or event.leg != state.third.id:
        return state, (HangUp(leg=event.leg),)
    state = replace(state, third=replace(state.third, is_up=True))
    match state.phase:
        case Phase.HELD:
            return _consult_now(state)
        case Phase.PARKED:
            return _unparked(state)
        case Phase.TALKING | Phase.CONFERENCE:
            return _confer(state)
        case _:
            # The split is still under way; SplitDone goes on from here.
            return state, ()


def _consult_now(state: CallState) -> Next:
    if state.agent is None or state.third is None:
        return hang_up(state)
    consulting = replace(state, phase=Phase.CONSULTING)
    return consulting, (
        Music(on=True),
        BridgeLegs(state.agent.id, state.third.id),
        Note(what="consulting", leg=state.third.id),
    )


def _confer(state: CallState) -> Next:
    members = state.members or ((state.agent,) if state.agent is not None else ())
    third = (state.third,) if state.third is not None else ()
    state = replace(
        state, phase=Phase.CONFERENCE, members=(*members, *third), agent=None, third=None
    )
    legs = tuple(member.id for member in state.members)
    return state, (Confer(legs), Note(what="conference"))


def _unparked(state: CallState) -> Next:
    if state.third is None:
        return state, ()
    return _join_again(replace(state, agent=state.third, third=None))


def _third_gone(state: CallState, event: LegGone) -> Next:
    """No answer, or the end of a consultation: the call itself is unharmed."""
    noted = Note(what=f"third_{event.why}", leg=event.leg)
    state = replace(state, third=None)
    if state.phase in {Phase.HELD, Phase.CONSULTING}:
        then, steps = _join_again(state)
        return then, (noted, *steps)
    return state, (noted,)


def complete(state: CallState, _event: CompleteTransfer) -> Next:
    """The third party is to take the caller. Taken apart first: else it ends with the agent's leg."""
    if state.third is None or state.agent is None:
        return state, ()
    splitting = replace(state, phase=Phase.SPLITTING, intent=Intent.COMPLETE)
    return splitting, (Split(state.agent.id, state.third.id),)


def _complete_now(state: CallState) -> Next:
    """The third party takes the caller; the agent leaves."""
    third = state.third
    if third is None:
        return _join_again(state)
    state, steps = let_agent_go(state, hang_up_leg=True)
    then, more = _join_again(replace(state, agent=third, third=None))
    return then, (Note(what="transferred"), *steps, *more)


def add(state: CallState, event: AddParticipant) -> Next:
    if state.third is not None:
        return state, (Note(what="participant_refused"),)
    third = Leg(id=event.leg, endpoint=event.endpoint, agent=event.agent)
    return replace(state, third=third), (
        Ring(leg=third.id, endpoint=third.endpoint, ring_s=event.ring_s),
    )


def member_gone(state: CallState, event: LegGone) -> Next:
    """One leaves a conference; with nobody left for the caller it is over."""
    gone = next((member for member in state.members if member.id == event.leg), None)
    if gone is None:
        return leg_gone(state, event)
    members = tuple(member for member in state.members if member.id != event.leg)
    state = replace(state, members=members)
    steps: list[Step] = [Note(what="member_left", leg=gone.id, agent=gone.agent)]
    has_vanished = event.why is Gone.VANISHED
    if gone.agent is not None:
        steps.append(WrapUp(gone.agent, has_vanished))
    if members:
        return state, tuple(steps)
    then, more = _agent_vanished(state) if has_vanished else hang_up(state)
    return then, (*steps, *more)


def unpark(state: CallState, event: UnparkTo) -> Next:
    if state.third is not None:
        return state, (Note(what="unpark_refused"),)
    third = Leg(id=event.leg, endpoint=event.endpoint, agent=event.agent)
    return replace(state, third=third), (
        Ring(leg=third.id, endpoint=third.endpoint, ring_s=event.ring_s),
    )


def parked_too_long(state: CallState, event: TimedOut) -> Next:
    if event != TimedOut(Timer.LONGEST_WAIT):
        return state, ()
    cancel = (Cancel(state.third.id),) if state.third is not None else ()
    sorry = EndPlan(prompts=(Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE)))
    then, steps = carry_out(replace(state, third=None), sorry)
    return then, (*cancel, Note(what="parked_too_long"), *steps)


# --- supervisor and recording --------------------------------------------------------------------------


def supervise(state: CallState, event: Supervise) -> Next:
    known = state.supervision
    if known is not None and known.leg.is_up:
        return _spy(replace(state, supervision=replace(known, mode=event.mode)))
    if known is not None:
        return state, (Note(what="supervision_refused"),)
    leg = Leg(id=event.leg, endpoint=event.endpoint, agent=event.agent)
    state = replace(state, supervision=Supervision(leg=leg, mode=event.mode))
    return state, (Ring(leg=leg.id, endpoint=leg.endpoint, ring_s=30),)


def _spy(state: CallState) -> Next:
    known, on = state.supervision, state.agent
    if known is None or on is None:
        return state, ()
    up = replace(known, leg=replace(known.leg, is_up=True))
    state = replace(state, supervision=up)
    return state, (
        Spy(leg=known.leg.id, on=on.id, mode=known.mode),
        Note(what=f"supervisor_{known.mode}", leg=known.leg.id),
    )


def change_recording(state: CallState, event: ChangeRecording) -> Next:
    """On demand; pausing needs a recording, and nothing starts without the caller's consent.

    A recording can only be started on a channel that is ours, so the bridge is taken apart for the
    few milliseconds that takes.
    """
    noted = (SetRecording(to=event.to), Note(what=f"recording_{event.to}"))
    match event.to:
        case "on" if not state.recording and state.consent is not False:
            return _split(state, Intent.RECORD)
        case "off" if state.recording:
            return replace(state, recording=False, is_muted=False), noted
        case "pause" if state.recording and not state.is_muted:
            return replace(state, is_muted=True), noted
        case "resume" if state.is_muted:
            return replace(state, is_muted=False), noted
        case _:
            return state, (Note(what="recording_refused"),)


def _record_now(state: CallState) -> Next:
    if state.agent is None:
        return hang_up(state)
    recording = replace(state, phase=Phase.TALKING, recording=True)
    return recording, (
        SetRecording(to="on"),
        Bridge(state.agent.id),
        Note(what="recording_on"),
    )
