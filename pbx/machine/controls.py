"""What an agent, a supervisor or an API client asks for during a talk: hold, transfer, park, a third, record."""

from collections.abc import Callable

from msgspec.structs import replace

from ivr.steps import Music
from pbx.machine.acting import Next, act, hang_up, settle_recording
from pbx.machine.commands import (
    Cancel,
    EnterConference,
    LeaveConference,
    Note,
    Ring,
    SetRecording,
    Split,
)
from pbx.machine.events import (
    AddParticipant,
    ChangeRecording,
    CompleteTransfer,
    ConsultWith,
    DropParty,
    HoldCall,
    ParkCall,
    ResumeCall,
    SplitDone,
    SplitFailed,
    Supervise,
    TransferTo,
)
from pbx.machine.parking import park_now
from pbx.machine.queueing import join
from pbx.machine.recording import end_recording, may_interrupt
from pbx.machine.state import CallState, Intent, Leg, Phase, Supervision
from pbx.machine.talking import (
    LEAVING,
    confer,
    consult_now,
    end_leg,
    end_third,
    join_again,
    let_agent_go,
    ring_third,
    spy,
    take_over,
)

MOST_MEMBERS = 10
"""Of a conference, besides the caller."""


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
    state, ring = ring_third(state, event)
    if state.phase is Phase.HELD:
        return state, (ring,)
    then, steps = _split(state, Intent.CONSULT)
    return then, (*steps, ring)


def complete(state: CallState, _event: CompleteTransfer) -> Next:
    """The third party is to take the caller. Taken apart first: else it ends with the agent's leg."""
    if state.third is None or state.agent is None:
        return state, ()
    splitting = replace(state, phase=Phase.SPLITTING, intent=Intent.COMPLETE)
    return splitting, (Split(state.agent.id, state.third.id),)


def resume(state: CallState, _event: ResumeCall) -> Next:
    """Off hold. A third party that is rung or consulted goes first; its leaving joins the two."""
    if state.third is not None:
        return state, (end_leg(state.third),)
    return join_again(state)


def add(state: CallState, event: AddParticipant) -> Next:
    if state.third is not None or len(state.members) >= MOST_MEMBERS:
        return state, (Note(what="participant_refused"),)
    state, ring = ring_third(state, event)
    return state, (ring,)


def drop(state: CallState, event: DropParty) -> Next:
    """What becomes of the call without them is decided when they are gone, as if they had hung up."""
    supervisor = state.supervision.leg if state.supervision is not None else None
    for leg in (*state.members, state.third, supervisor):
        if leg is not None and leg.id == event.leg:
            return state, (end_leg(leg), Note(what="dropped", leg=leg.id, agent=leg.agent))
    return state, ()


def supervise(state: CallState, event: Supervise) -> Next:
    known = state.supervision
    if known is not None and known.leg.is_up and known.leg.agent == event.agent:
        return spy(replace(state, supervision=replace(known, mode=event.mode)))
    if known is not None:
        return state, (Note(what="supervision_refused"),)
    leg = Leg(id=event.leg, endpoint=event.endpoint, agent=event.agent)
    state = replace(state, supervision=Supervision(leg=leg, mode=event.mode))
    ring = Ring(leg=leg.id, endpoint=leg.endpoint, ring_s=30, caller_id=event.caller_id)
    return state, (ring,)


def change_recording(state: CallState, event: ChangeRecording) -> Next:
    """On demand, told or asked as the policy wants; paused and ended only where the policy allows that.

    A recording can only be started on a channel that is ours, so the bridge is taken apart for the
    few milliseconds that takes, or until the caller was told or has answered.
    """
    if event.to in {"off", "pause"} and state.recording and not may_interrupt(state):
        return state, (Note(what="recording_must_go_on"),)
    noted = (SetRecording(to=event.to), Note(what=f"recording_{event.to}"))
    match event.to:
        case "on" if _may_begin(state):
            return _split(state, Intent.RECORD)
        case "off" if state.recording:
            return end_recording(state)
        case "pause" if state.recording and not state.is_muted:
            return replace(state, is_muted=True), noted
        case "resume" if state.is_muted:
            return replace(state, is_muted=False), noted
        case _:
            return state, (Note(what="recording_refused"),)


def _may_begin(state: CallState) -> bool:
    """Whether a recording can begin now; with a third party on the way there is no moment for questions."""
    is_free = state.phase is Phase.TALKING and state.third is None
    return is_free and not state.recording and state.consent is not False


# --- the bridge is taken apart first ------------------------------------------------------------------


def _split(state: CallState, intent: Intent) -> Next:
    if state.agent is None:
        return state, ()
    splitting = replace(state, phase=Phase.SPLITTING, intent=intent)
    return splitting, (Split(state.channel, state.agent.id),)


# --- hold in a conference -----------------------------------------------------------------------------


def hold_in_conference(state: CallState, _event: HoldCall) -> Next:
    """The caller alone leaves for the music. With `intent` until that is done."""
    leaving = replace(state, phase=Phase.CONFERENCE_HELD, intent=Intent.HOLD)
    return leaving, (LeaveConference(state.channel),)


def held_in_conference(state: CallState, _event: SplitDone) -> Next:
    if state.intent is not Intent.HOLD:
        return state, ()
    return replace(state, intent=None), (Music(on=True), Note(what="held"))


def not_held_in_conference(state: CallState, _event: SplitFailed) -> Next:
    if state.intent is not Intent.HOLD:
        # Late: the connection was lost meanwhile, and whoever came back has looked.
        return state, ()
    return replace(state, phase=Phase.CONFERENCE, intent=None), (Note(what="control_failed"),)


def back_to_conference(state: CallState, _event: ResumeCall) -> Next:
    together = replace(state, phase=Phase.CONFERENCE, intent=None)
    return together, (Music(on=False), EnterConference(state.channel), Note(what="resumed"))


# --- taken apart --------------------------------------------------------------------------------------


def split_done(state: CallState, _event: SplitDone) -> Next:
    act_on: dict[Intent | None, Callable[[CallState], Next]] = {
        Intent.HOLD: _held,
        Intent.CONSULT: _consulted,
        Intent.TRANSFER: _transfer_now,
        Intent.PARK: park_now,
        Intent.COMPLETE: _complete_now,
        Intent.RECORD: _record_now,
        Intent.REJOIN: _rejoin_now,
        Intent.KEEP_HELD: _held,
    }
    handle = act_on.get(state.intent)
    return handle(replace(state, intent=None)) if handle is not None else (state, ())


def split_failed(state: CallState, _event: SplitFailed) -> Next:
    failed = Note(what="control_failed")
    if state.agent is None and state.intent in LEAVING:
        # The agent was quicker: nothing was left to be taken apart.
        then, steps = split_done(state, SplitDone())
        return then, (failed, *steps)
    if state.intent is Intent.COMPLETE:
        if state.third is None:  # gone meanwhile, and the agent waits with nobody
            then, steps = join_again(replace(state, intent=None))
            return then, (failed, *steps)
        return replace(state, phase=Phase.CONSULTING, intent=None), (failed,)
    if state.intent is Intent.KEEP_HELD:
        # The caller hears music, whatever became of the other one.
        then, steps = _held(replace(state, intent=None))
        return then, (failed, *steps)
    cancel = (Cancel(state.third.id),) if state.third is not None else ()
    talking = replace(state, phase=Phase.TALKING, intent=None, third=None)
    return talking, (*cancel, failed)


def _held(state: CallState) -> Next:
    state = replace(state, phase=Phase.HELD)
    if state.third is not None and state.third.is_up:
        return consult_now(state)
    return state, (Music(on=True), Note(what="held"))


def _consulted(state: CallState) -> Next:
    """Apart, to consult; unless the third party has refused while that was done."""
    return _held(state) if state.third is not None else join_again(state)


def _transfer_now(state: CallState) -> Next:
    action = state.action
    state, ended = end_recording(state)
    state, stopped = end_third(state)
    state, steps = let_agent_go(state, hang_up_leg=True)
    if action is None:
        then, more = hang_up(state)
    else:
        then, more = act(replace(state, intent=None), action)
    return then, (Note(what="transferred"), *ended, *stopped, Music(on=True), *steps, *more)


def _complete_now(state: CallState) -> Next:
    """The third party takes the caller; the agent leaves."""
    third = state.third
    if third is None:
        return join_again(state)
    state, steps = let_agent_go(state, hang_up_leg=True)
    then, more = take_over(state, third)
    return then, (*steps, *more)


def _rejoin_now(state: CallState) -> Next:
    """Two are left of a conference: an ordinary talk again, unless a third has answered meanwhile."""
    if state.third is not None and state.third.is_up:
        return confer(state)
    return join_again(state)


def _record_now(state: CallState) -> Next:
    if state.agent is None:
        return hang_up(state)
    wanted = replace(state, on_demand=True)
    return settle_recording(wanted) or join(wanted)
