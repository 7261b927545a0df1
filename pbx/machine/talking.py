"""Both talk, or a third with them: who hears whom, and what becomes of the call when one of them leaves."""

from msgspec.structs import replace

from ivr.prompts import Fixed, Sound
from ivr.steps import CancelTimer, Music, Timer
from pbx.machine.acting import Next, Step, act, drop_dialogue, hang_up, say_and_hang_up
from pbx.machine.commands import (
    Bridge,
    BridgeLegs,
    Cancel,
    Commands,
    Confer,
    EnterConference,
    HangUp,
    LeaveConference,
    Note,
    Ring,
    Split,
    Spy,
    WrapUp,
)
from pbx.machine.events import (
    AddParticipant,
    Bridged,
    BridgeOver,
    ConsultWith,
    Gone,
    LegGone,
    LegUp,
    SplitDone,
    UnparkTo,
)
from pbx.machine.plans import DialPlan, EndPlan, QueuePlan
from pbx.machine.queueing import join, look_again
from pbx.machine.recording import end_pause, end_recording
from pbx.machine.state import CallState, Intent, Leg, Phase

LEAVING = frozenset({Intent.TRANSFER, Intent.PARK, Intent.COMPLETE})
"""Why a bridge is taken apart when the agent leaves in any case."""


def bridged(state: CallState, _event: Bridged) -> Next:
    noted = Note(what="talking", agent=state.agent.agent if state.agent else None)
    return replace(state, is_joined=True), (noted,)


def bridge_over(state: CallState, _event: BridgeOver) -> Next:
    """The agent hung up; the caller has been served. A leg left over by a failed bridge ends too."""
    is_to_go_on = _waits_still(state)
    state, left = let_agent_go(state, hang_up_leg=True)
    then, steps = serve_anew(state) if is_to_go_on else hang_up(state)
    return then, (*left, *steps)


def leg_gone(state: CallState, event: LegGone) -> Next:
    """Somebody other than the caller has left a call that is under way."""
    if state.supervision is not None and event.leg == state.supervision.leg.id:
        left = Note(what="supervisor_left", leg=event.leg, agent=state.supervision.leg.agent)
        return replace(state, supervision=None), (left,)
    if state.third is not None and event.leg == state.third.id:
        return _third_gone(state, event)
    if state.agent is None or event.leg != state.agent.id:
        return state, ()
    has_vanished = event.why is Gone.VANISHED
    if state.phase is Phase.SPLITTING and state.intent in LEAVING:
        # They were leaving anyway; the split that follows goes on without them.
        return let_agent_go(state, has_vanished=has_vanished)
    return _agent_gone(state, has_vanished=has_vanished)


def _agent_gone(state: CallState, *, has_vanished: bool) -> Next:
    """Hung up after the talk that is the end of the call; otherwise the caller is not to pay for it."""
    third = state.third
    if state.phase is Phase.CONSULTING and third is not None and not has_vanished:
        # How a transfer is completed at a desk phone.
        state, steps = let_agent_go(state)
        then, more = take_over(state, third, returns=True)
        return then, (*steps, *more)
    cancel = (Cancel(third.id),) if third is not None else ()
    state = replace(state, third=None)
    is_to_go_on = has_vanished or _is_apart(state) or _waits_still(state)
    state, left = let_agent_go(state, has_vanished=has_vanished)
    then, steps = serve_anew(state) if is_to_go_on else hang_up(state)
    return then, (*cancel, *left, *steps)


def _is_apart(state: CallState) -> bool:
    """The caller hears music, or is about to."""
    if state.phase is Phase.SPLITTING:
        return state.intent in {Intent.HOLD, Intent.CONSULT, Intent.KEEP_HELD}
    return state.phase in {Phase.HELD, Phase.CONSULTING}


def left_while_asked(state: CallState, event: LegGone) -> Next:
    """Somebody leaves while the caller is asked or told about the recording of a talk."""
    if state.agent is None or event.leg != state.agent.id:
        return leg_gone(state, event)
    if state.is_joined or not isinstance(state.plan, QueuePlan):
        state, stopped = drop_dialogue(state)
        then, steps = leg_gone(state, event)
        return then, (*stopped, *steps)
    # A callback whose agent was there first: afterwards the customer waits for the next, before all others.
    return let_agent_go(replace(state, goes_first=True), has_vanished=event.why is Gone.VANISHED)


def _waits_still(state: CallState) -> bool:
    """The agent's phone was lost in the moment of joining: nobody has spoken with the caller yet."""
    return state.phase is Phase.TALKING and not state.is_joined


def has_elsewhere(state: CallState) -> bool:
    """Whether `serve_anew` has more for the caller than a word."""
    plan = state.plan
    return state.queue is not None or (isinstance(plan, DialPlan) and plan.otherwise is not None)


def serve_anew(state: CallState) -> Next:
    """A caller without anybody, in the middle of a call: to what comes when nobody answers, to the head of
    the line that the call came from, or at the least a word."""
    state, ended = end_recording(state)
    plan = state.plan
    if isinstance(plan, DialPlan) and plan.otherwise is not None:
        then, steps = act(state, plan.otherwise)
        return then, (*ended, Music(on=True), *steps)
    if state.queue is not None:
        waiting = replace(state, plan=state.queue, in_line=True, goes_first=True)
        then, steps = look_again(replace(waiting, phase=Phase.PLACING))
        return then, (*ended, Music(on=True), *steps)
    sorry = EndPlan(prompts=(Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE)))
    then, steps = say_and_hang_up(state, sorry)
    return then, (*ended, *steps)


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
    return replace(state, agent=None, supervision=None, is_joined=False), tuple(steps)


def ring_third(
    state: CallState, wanted: ConsultWith | AddParticipant | UnparkTo
) -> tuple[CallState, Ring]:
    """Ring somebody else for this call."""
    third = Leg(id=wanted.leg, endpoint=wanted.endpoint, agent=wanted.agent)
    ring = Ring(
        leg=third.id, endpoint=third.endpoint, ring_s=wanted.ring_s, caller_id=wanted.caller_id
    )
    return replace(state, third=third), ring


def end_third(state: CallState) -> tuple[CallState, Commands]:
    """Rung for an agent who hands the caller on: whoever has the caller next has not asked for them."""
    if state.third is None:
        return state, ()
    return replace(state, third=None), (end_leg(state.third),)


def end_leg(leg: Leg) -> HangUp | Cancel:
    return HangUp(leg=leg.id) if leg.is_up else Cancel(leg.id)


def take_over(state: CallState, other: Leg, *, returns: bool = False) -> Next:
    """Somebody else has the caller from now on; a pause of the talk before was not theirs."""
    state, resumed = end_pause(state)
    then, steps = join(replace(state, agent=other, third=None), returns=returns)
    return then, (Note(what="transferred"), *resumed, *steps)


def join_again(state: CallState) -> Next:
    if state.agent is None:
        return serve_anew(state)
    talking = replace(state, phase=Phase.TALKING)
    return talking, (Music(on=False), Bridge(state.agent.id), Note(what="resumed"))


def apart_after_all(state: CallState, _event: SplitDone) -> Next:
    """Asterisk has taken them apart when that was given up: they go on talking."""
    return join_again(state)


def third_up(state: CallState, event: LegUp) -> Next:
    """Whoever was rung during the call has answered."""
    if state.supervision is not None and event.leg == state.supervision.leg.id:
        return spy(state)
    if state.third is None or event.leg != state.third.id:
        return state, (HangUp(leg=event.leg),)
    state = replace(state, third=replace(state.third, is_up=True))
    match state.phase:
        case Phase.HELD:
            return consult_now(state)
        case Phase.PARKED:
            return _unparked(state)
        case Phase.TALKING | Phase.CONFERENCE | Phase.CONFERENCE_HELD:
            return confer(state)
        case _:
            # The split is still under way; SplitDone goes on from here.
            return state, ()


def consult_now(state: CallState) -> Next:
    if state.agent is None or state.third is None:
        return hang_up(state)
    consulting = replace(state, phase=Phase.CONSULTING)
    return consulting, (
        Music(on=True),
        BridgeLegs(state.agent.id, state.third.id),
        Note(what="consulting", leg=state.third.id, agent=state.third.agent),
    )


def confer(state: CallState) -> Next:
    """The third joins; those of a conference, of whom the caller may be on hold, only hear the new voice."""
    agent, third = state.agent, state.third
    if third is None:
        return state, ()
    state = replace(state, third=None)
    noted = Note(what="conference", leg=third.id, agent=third.agent)
    if agent is None:
        return replace(state, members=(*state.members, third)), (EnterConference(third.id), noted)
    state = replace(state, phase=Phase.CONFERENCE, members=(agent, third), agent=None)
    return state, (Confer((agent.id, third.id)), noted)


def _unparked(state: CallState) -> Next:
    if state.third is None:
        return state, ()
    then, steps = join(replace(state, agent=state.third, third=None, parker=""))
    return then, (CancelTimer(Timer.LONGEST_WAIT), *steps, Note(what="resumed"))


def _third_gone(state: CallState, event: LegGone) -> Next:
    """No answer, or the end of a consultation: the call itself is unharmed."""
    agent = state.third.agent if state.third is not None else None
    noted = Note(what=f"third_{event.why}", leg=event.leg, agent=agent)
    state = replace(state, third=None)
    if state.phase in {Phase.HELD, Phase.CONSULTING}:
        then, steps = join_again(state)
        return then, (noted, *steps)
    return state, (noted,)


def member_gone(state: CallState, event: LegGone) -> Next:
    """One leaves a conference: with one left for the caller it is a talk as any other, with none over."""
    gone = next((member for member in state.members if member.id == event.leg), None)
    if gone is None:
        return leg_gone(state, event)
    has_vanished = event.why is Gone.VANISHED
    steps: list[Step] = [Note(what="member_left", leg=gone.id, agent=gone.agent)]
    if gone.agent is not None:
        steps.append(WrapUp(gone.agent, has_vanished))
    if gone == state.talks_to:
        state, without = _without_first_member(state)
        steps += without
    left = tuple(member for member in state.members if member.id != event.leg)
    state = replace(state, members=left)
    if len(left) > 1:
        return state, tuple(steps)
    if left:
        is_held = state.phase is Phase.CONFERENCE_HELD
        then, more = _one_left(state, left[0], is_held=is_held)
        return then, (*steps, *more)
    then, more = serve_anew(state) if has_vanished else hang_up(state)
    return then, (*steps, *more)


def _one_left(state: CallState, other: Leg, *, is_held: bool) -> Next:
    """A talk of two again, or an ordinary hold."""
    intent = Intent.KEEP_HELD if is_held else Intent.REJOIN
    two = replace(state, phase=Phase.SPLITTING, intent=intent, agent=other, members=())
    apart = LeaveConference(other.id) if is_held else Split(state.channel, other.id)
    return two, (apart,)


def _without_first_member(state: CallState) -> tuple[CallState, Commands]:
    """Whom the supervisor heard, and who could ask for a pause of the recording, has left."""
    state, resumed = end_pause(state)
    known = state.supervision
    heard = (HangUp(leg=known.leg.id),) if known is not None else ()
    return replace(state, supervision=None), (*resumed, *heard)


def spy(state: CallState) -> Next:
    known, on = state.supervision, state.talks_to
    if known is None or on is None:
        return state, ()
    up = replace(known, leg=replace(known.leg, is_up=True))
    state = replace(state, supervision=up)
    return state, (
        Spy(leg=known.leg.id, on=on.id, mode=known.mode),
        Note(what=f"supervisor_{known.mode}", leg=known.leg.id, agent=known.leg.agent),
    )
