"""The table: which event means what in which phase. Nothing else changes the state of a call."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ivr.steps import (
    Checked,
    Closing,
    Finish,
    HungUp,
    Key,
    Played,
    Recorded,
    Standing,
    StandingUnknown,
    TimedOut,
    Timer,
)
from pbx.machine import controls, dialing, parking, queueing, talking
from pbx.machine.acting import (
    Next,
    Step,
    act,
    ask_rules,
    carry_out,
    drop_dialogue,
    hang_up,
    leave_line,
)
from pbx.machine.commands import Command, Commands, HangUp, KeepMessage, Note, Over, WrapUp
from pbx.machine.dialogues import (
    drop_key,
    finished,
    hear,
    keep_key,
    message_left,
    not_promised,
    promise,
    promised,
)
from pbx.machine.events import (
    AddParticipant,
    Answered,
    Begin,
    Bridged,
    BridgeOver,
    CallbackPromised,
    ChangeRecording,
    CompleteTransfer,
    Confirmed,
    ConsultWith,
    Decided,
    DropParty,
    Event,
    FileBegan,
    Gone,
    HangUpCall,
    HoldCall,
    LegGone,
    LegPlayed,
    LegUp,
    Matched,
    NotPlaced,
    ParkCall,
    Placed,
    Planned,
    RecordingFailed,
    Recovered,
    ResumeCall,
    SplitDone,
    SplitFailed,
    Supervise,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import EndPlan
from pbx.machine.recovering import recovered
from pbx.machine.state import IN_CONFERENCE, CallState, Phase, is_up


def on(state: CallState, event: Event) -> tuple[CallState, Commands]:
    """Take one event. What means nothing in this phase changes nothing; an ended call stays so."""
    if state.phase is Phase.ENDED:
        return state, ()
    then, steps = _handle(state, event)
    said: list[Command] = []
    while True:
        said += [step for step in steps if not isinstance(step, Finish)]
        if not steps or not isinstance(steps[-1], Finish):
            return then, tuple(said)
        # A dialogue has just ended; keys typed ahead may end the next one at once.
        then, steps = finished(then, steps[-1])


def _handle(state: CallState, event: Event) -> Next:
    if isinstance(event, LegGone) and event.leg == state.channel:
        return _caller_gone(state, event)
    if isinstance(event, LegUp) and is_up(state, event.leg):
        # Told twice: by Asterisk, and by whoever has looked after the connection was lost.
        return state, ()
    handle = TRANSITIONS.get((state.phase, type(event))) or EVERYWHERE.get(type(event))
    return handle(state, event) if handle is not None else (state, ())


# --- what is the same in every phase ------------------------------------------------------------------


def _caller_gone(state: CallState, event: LegGone) -> Next:
    """The caller is gone: let everybody go, keep what was said, close the record."""
    if state.phase is Phase.RINGING_CUSTOMER:
        return dialing.customer_not_reached(state, event)
    what = "hung_up_by_us" if _is_hung_up(state) else f"caller_{event.why}"
    steps: list[Step] = [Note(what=what, detail=str(event.cause))]
    if state.dialogue is not None:
        _, ended = state.dialogue.on(HungUp())
        steps += [step for step in ended if not isinstance(step, Finish)]
        steps += _message_so_far(state)
    if state.phase is Phase.PROMISING:
        # Wanted, and with a controller that died perhaps not written down.
        steps.append(promise(state))
    if state.mailbox and event.why is Gone.LOST:
        steps.append(KeepMessage(state.mailbox))  # perhaps begun by a controller that is no more
    state, left = leave_line(state, keep=True)
    steps += left
    for leg in state.legs():
        steps.append(HangUp(leg=leg.id))
        if leg.agent is not None:
            steps.append(WrapUp(leg.agent))
    return replace(state, phase=Phase.ENDED, dialogue=None), (*steps, Over())


def _is_hung_up(state: CallState) -> bool:
    """Whether the end is what we asked for: an end without anything left to say."""
    plan = state.plan
    return state.phase is Phase.ENDING and isinstance(plan, EndPlan) and not plan.prompts


def _hang_up_call(state: CallState, _event: HangUpCall) -> Next:
    """What was said into a mailbox by then is kept, as when the caller hangs up."""
    kept = _message_so_far(state)
    state, left = leave_line(state)
    state, stopped = drop_dialogue(state)
    then, steps = hang_up(replace(state, mailbox=kept[0].mailbox if kept else state.mailbox))
    return then, (Note(what="hung_up_by_control"), *stopped, *left, *kept, *steps)


def _message_so_far(state: CallState) -> tuple[KeepMessage, ...]:
    if state.dialogue is None:
        return ()
    _, ended = state.dialogue.on(HungUp())
    return message_left(state, ended[-1]) if isinstance(ended[-1], Finish) else ()


def _nobody_waits_for(state: CallState, event: LegUp) -> Next:
    return state, (HangUp(leg=event.leg),)


def _note_failed_recording(state: CallState, event: RecordingFailed) -> Next:
    if event.file != state.recording_file:
        return state, ()  # that of a talk before; it is on record already
    failed = replace(state, recording=False, is_muted=False)
    return failed, (Note(what="recording_failed"),)


def _file_began(state: CallState, event: FileBegan) -> Next:
    if event.of == "message":
        return replace(state, message_file=event.file), ()
    if not state.recording:
        return state, ()  # ended already
    return replace(state, recording_file=event.file), ()


# --- arriving -----------------------------------------------------------------------------------------


def _answered(state: CallState, _event: Answered) -> Next:
    state = replace(state, is_up=True)
    if state.plan is not None:
        return carry_out(state, state.plan)
    return act(state, state.action) if state.action is not None else ask_rules(state)


def _decided(state: CallState, event: Decided) -> Next:
    then, steps = act(replace(state, rule=event.rule), event.action)
    return then, (Note(what="decided", detail=event.decision), *steps)


def _promise_kept(state: CallState, event: CallbackPromised) -> Next:
    return promised(state) if event.ok else not_promised(state)


def _hang_up_again(state: CallState, event: TimedOut) -> Next:
    if event != TimedOut(Timer.LONGEST_WAIT) or not isinstance(state.plan, EndPlan):
        return state, ()
    return hang_up(state, state.plan.cause)


# Any: the table pairs each handler with the one kind of event that its signature names.
Handler = Callable[[CallState, Any], Next]

_DIALOGUE = (Key, Played, TimedOut, Standing, StandingUnknown, Recorded, Checked, Closing)
_IN_DIALOGUE = (
    Phase.ASKING,
    Phase.CONSENT,
    Phase.HOLDING,
    Phase.OFFERING_CALLBACK,
    Phase.VOICEMAIL,
    Phase.LOGIN,
)
_IN_LINE = (Phase.PLACING, Phase.HOLDING, Phase.OFFERING_CALLBACK)
_WITH_AGENT = (Phase.TALKING, Phase.SPLITTING, Phase.HELD, Phase.CONSULTING, Phase.PARKED)

_RECORDED = (Phase.TALKING, Phase.SPLITTING, Phase.HELD, Phase.CONSULTING, *IN_CONFERENCE)
_DROPPED_FROM = (Phase.TALKING, Phase.HELD, Phase.CONSULTING, Phase.PARKED, *IN_CONFERENCE)

TRANSITIONS: dict[tuple[Phase, type[object]], Handler] = {
    (Phase.NEW, Begin): dialing.begin_call,
    (Phase.RINGING_AGENT, LegUp): dialing.first_agent_up,
    (Phase.RINGING_AGENT, Confirmed): dialing.first_agent_confirmed,
    (Phase.RINGING_AGENT, LegGone): dialing.first_agent_gone,
    (Phase.RINGING_AGENT, HangUpCall): dialing.called_off,
    (Phase.RINGING_CUSTOMER, LegUp): dialing.customer_up,
    (Phase.RINGING_CUSTOMER, LegGone): dialing.first_agent_gone,
    (Phase.ANSWERING, Answered): _answered,
    (Phase.DECIDING, Decided): _decided,
    (Phase.DECIDING, Planned): parking.planned,  # a feature number: no rules are asked
    (Phase.PLANNING, Planned): parking.planned,
    **{(phase, kind): hear for phase in _IN_DIALOGUE for kind in _DIALOGUE},
    (Phase.PLACING, Placed): queueing.placed,
    (Phase.HOLDING, Placed): queueing.placed,
    (Phase.PLACING, NotPlaced): queueing.not_placed,
    (Phase.HOLDING, NotPlaced): queueing.not_placed,
    **{(phase, Matched): queueing.matched for phase in _IN_LINE},
    (Phase.HOLDING, LegUp): queueing.offer_up,
    (Phase.HOLDING, LegGone): queueing.offer_gone,
    (Phase.CONNECTING, Confirmed): queueing.confirmed,
    (Phase.CONNECTING, LegPlayed): queueing.whispered,
    (Phase.CONNECTING, LegGone): queueing.agent_gone_before_joined,
    (Phase.DIALING, LegUp): dialing.dialed_up,
    (Phase.DIALING, LegGone): dialing.dialed_gone,
    (Phase.DIALING, Answered): dialing.caller_up,
    (Phase.PROMISING, CallbackPromised): _promise_kept,
    (Phase.PROMISING, Played): hear,
    (Phase.TALKING, Bridged): talking.bridged,
    (Phase.TALKING, BridgeOver): talking.bridge_over,
    (Phase.TALKING, SplitDone): talking.apart_after_all,
    **{(phase, LegUp): talking.third_up for phase in (*_WITH_AGENT, *IN_CONFERENCE)},
    **{(phase, LegGone): talking.leg_gone for phase in _WITH_AGENT},
    (Phase.CONSENT, LegGone): talking.left_while_asked,
    **{(phase, LegGone): talking.member_gone for phase in IN_CONFERENCE},
    **{(phase, Key): drop_key for phase in (*_WITH_AGENT, *IN_CONFERENCE, Phase.ENDING)},
    (Phase.TALKING, HoldCall): controls.hold,
    (Phase.CONFERENCE, HoldCall): controls.hold_in_conference,
    (Phase.CONFERENCE_HELD, SplitDone): controls.held_in_conference,
    (Phase.CONFERENCE_HELD, SplitFailed): controls.not_held_in_conference,
    (Phase.CONFERENCE_HELD, ResumeCall): controls.back_to_conference,
    (Phase.TALKING, TransferTo): controls.transfer,
    (Phase.HELD, TransferTo): controls.transfer,
    (Phase.TALKING, ParkCall): controls.park,
    (Phase.TALKING, ConsultWith): controls.consult,
    (Phase.HELD, ConsultWith): controls.consult,
    (Phase.TALKING, AddParticipant): controls.add,
    **{(phase, AddParticipant): controls.add for phase in IN_CONFERENCE},
    **{(phase, DropParty): controls.drop for phase in _DROPPED_FROM},
    **{(phase, Supervise): controls.supervise for phase in (Phase.TALKING, *IN_CONFERENCE)},
    **{(phase, ChangeRecording): controls.change_recording for phase in _RECORDED},
    (Phase.SPLITTING, SplitDone): controls.split_done,
    (Phase.SPLITTING, SplitFailed): controls.split_failed,
    (Phase.HELD, ResumeCall): controls.resume,
    (Phase.CONSULTING, ResumeCall): controls.resume,
    (Phase.CONSULTING, CompleteTransfer): controls.complete,
    (Phase.PARKED, UnparkTo): parking.unpark,
    (Phase.PARKED, TimedOut): parking.parked_too_long,
    (Phase.ENDING, Played): hear,
    (Phase.ENDING, TimedOut): _hang_up_again,
    (Phase.ENDING, LegPlayed): dialing.agent_told,
    (Phase.ENDING, LegGone): dialing.agent_gone_at_end,
}
"""Every pair that means something. Events of no meaning in a phase fall to `EVERYWHERE`."""

EVERYWHERE: dict[type[object], Handler] = {
    HangUpCall: _hang_up_call,
    Key: keep_key,
    LegUp: _nobody_waits_for,
    Matched: queueing.refuse_match,
    FileBegan: _file_began,
    RecordingFailed: _note_failed_recording,
    Recovered: recovered,
}
"""What an event means where the table says nothing else."""
