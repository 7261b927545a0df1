"""Whether a talk is recorded: the policy of where the call came from, and whether the caller was told and agrees.

A recording belongs to one talk. When the caller is handed on it ends, and the next talk is recorded by the
policy that holds then: neither the music in between nor a pause that somebody else asked for goes further.
"""

from msgspec.structs import replace

from pbx.machine.commands import Commands, Note, SetRecording
from pbx.machine.plans import DialPlan, QueuePlan, RecordingPolicy
from pbx.machine.state import CallState


def recording_policy(state: CallState) -> RecordingPolicy:
    """Of the plan, or of the call itself where a recording was asked for during the talk."""
    policy = _planned(state)
    return replace(policy, record=True) if state.on_demand else policy


def _planned(state: CallState) -> RecordingPolicy:
    """Whoever is dialled without a policy belongs to the queue that the call came from."""
    plan = state.plan
    if isinstance(plan, QueuePlan):
        return plan.recording
    if isinstance(plan, DialPlan) and plan.recording is not None:
        return plan.recording
    return state.queue.recording if state.queue is not None else RecordingPolicy()


def may_record(state: CallState) -> bool:
    """No recording without what the policy wants first, and none after a no, whoever asked."""
    policy = recording_policy(state)
    if state.consent is False:
        return False
    if policy.ask_consent:
        return state.consent is True
    return state.is_told or not policy.announce


def may_interrupt(state: CallState) -> bool:
    """Whether a recording may be paused or ended: one that a queue wants only if the queue allows it."""
    policy = _planned(state)
    return policy.allow_pause or not policy.record


def begin_recording(state: CallState) -> tuple[CallState, Commands]:
    """Record the talk that begins now, if that is wanted and allowed."""
    policy = recording_policy(state)
    if state.recording or not policy.record or not may_record(state):
        return state, ()
    noted = (Note(what="recording_on"),) if state.on_demand else ()
    on = SetRecording(to="on", stereo=policy.stereo)
    return replace(state, recording=True, was_recorded=False), (on, *noted)


def end_recording(state: CallState) -> tuple[CallState, Commands]:
    """The talk that is recorded is over, or is recorded no more; the caller goes on."""
    state = replace(state, on_demand=False)
    if not state.recording:
        return state, ()
    ended = replace(state, recording=False, was_recorded=True, is_muted=False, recording_file="")
    return ended, (SetRecording(to="off"), Note(what="recording_off"))


def end_pause(state: CallState) -> tuple[CallState, Commands]:
    """Nobody is left who has asked for the silence."""
    if not state.is_muted:
        return state, ()
    resumed = SetRecording(to="resume"), Note(what="recording_resume")
    return replace(state, is_muted=False), resumed
