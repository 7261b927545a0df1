"""Both talk, or a third with them: who hears whom, and what becomes of the call when one of them leaves."""

from msgspec.structs import replace

from ivr.steps import Music
from pbx.machine.acting import Next, Step, act, drop_dialogue, hang_up
from pbx.machine.commands import (
    Bridge,
    BridgeLegs,
    Cancel,
    Confer,
    HangUp,
    Note,
    Spy,
    WrapUp,
)
from pbx.machine.events import (
    Bridged,
    BridgeOver,
    Gone,
    LegGone,
    LegUp,
)
from pbx.machine.plans import DialPlan, QueuePlan
from pbx.machine.queueing import look_again
from pbx.machine.state import CallState, Intent, Phase

LEAVING = frozenset({Intent.TRANSFER, Intent.PARK, Intent.COMPLETE})
"""Why a bridge is taken apart when the agent leaves in any case."""


def bridged(state: CallState, _event: Bridged) -> Next:
    noted = Note(what="talking", agent=state.agent.agent if state.agent else None)
    return replace(state, is_joined=True), (noted,)


def bridge_over(state: CallState, _event: BridgeOver) -> Next:
    """The agent hung up; the caller has been served. A leg left over by a failed bridge ends too."""
    if _waits_still(state):
        return _back_in_line(state, hang_up_leg=True)
    return _after_talk(state, hang_up_leg=True)


def leg_gone(state: CallState, event: LegGone) -> Next:
    """Somebody other than the caller has left a call that is under way."""
    if state.supervision is not None and event.leg == state.supervision.leg.id:
        return replace(state, supervision=None), (Note(what="supervisor_left", leg=event.leg),)
    if state.third is not None and event.leg == state.third.id:
        return _third_gone(state, event)
    if state.agent is not None and event.leg == state.agent.id:
        if state.phase is Phase.SPLITTING and state.intent in LEAVING:
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
    return replace(state, agent=None, supervision=None, is_joined=False), tuple(steps)


def join_again(state: CallState) -> Next:
    if state.agent is None:
        return hang_up(state)
    talking = replace(state, phase=Phase.TALKING)
    return talking, (Music(on=False), Bridge(state.agent.id), Note(what="resumed"))


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
        case Phase.TALKING | Phase.CONFERENCE:
            return _confer(state)
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
    return join_again(replace(state, agent=state.third, third=None))


def _third_gone(state: CallState, event: LegGone) -> Next:
    """No answer, or the end of a consultation: the call itself is unharmed."""
    noted = Note(what=f"third_{event.why}", leg=event.leg)
    state = replace(state, third=None)
    if state.phase in {Phase.HELD, Phase.CONSULTING}:
        then, steps = join_again(state)
        return then, (noted, *steps)
    return state, (noted,)


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


def spy(state: CallState) -> Next:
    known, on = state.supervision, state.agent
    if known is None or on is None:
        return state, ()
    up = replace(known, leg=replace(known.leg, is_up=True))
    state = replace(state, supervision=up)
    return state, (
        Spy(leg=known.leg.id, on=on.id, mode=known.mode),
        Note(what=f"supervisor_{known.mode}", leg=known.leg.id),
    )
