"""Parked callers: they hear music until somebody takes the call, or come back to who has parked it."""

from msgspec.structs import replace

from ivr.steps import Music, SetTimer, TimedOut, Timer
from pbx.machine.acting import Next, act, ask_rules, carry_out
from pbx.machine.commands import Note
from pbx.machine.events import Planned, UnparkTo
from pbx.machine.plans import DialPlan
from pbx.machine.recording import end_recording
from pbx.machine.state import CallState, Kind, Phase
from pbx.machine.talking import end_third, has_elsewhere, let_agent_go, ring_third, serve_anew
from rules.actions import Route, Target, TargetType

LONGEST_PARKED_S = 300.0
"""A parked caller whom nobody takes by then comes back to whoever has parked the call."""


def park_now(state: CallState) -> Next:
    parker = state.agent.agent if state.agent is not None else None
    state, ended = end_recording(state)
    state, stopped = end_third(state)
    state, steps = let_agent_go(state, hang_up_leg=True)
    parked = replace(state, phase=Phase.PARKED, intent=None, parker=parker or "")
    limit = SetTimer(timer=Timer.LONGEST_WAIT, after_s=LONGEST_PARKED_S)
    return parked, (Note(what="parked"), *ended, *stopped, *steps, Music(on=True), limit)


def unpark(state: CallState, event: UnparkTo) -> Next:
    if state.third is not None:
        return state, (Note(what="unpark_refused"),)
    state, ring = ring_third(state, event)
    return state, (ring,)


def parked_too_long(state: CallState, event: TimedOut) -> Next:
    """Back to who has parked the caller, to where callers go without anybody, or to what the rules say."""
    if event != TimedOut(Timer.LONGEST_WAIT):
        return state, ()
    state, stopped = end_third(state)
    if state.parker:
        then, steps = act(state, Route(target=Target(type=TargetType.USER, id=state.parker)))
    elif has_elsewhere(state) or state.kind is not Kind.INBOUND:
        then, steps = serve_anew(state)
    else:
        then, steps = ask_rules(state)
    return then, (*stopped, Note(what="parked_too_long"), *steps)


def planned(state: CallState, event: Planned) -> Next:
    """Begin what was planned. A parker who is not there leaves the caller to the line that the call came from."""
    plan, is_coming_back = event.plan, bool(state.parker)
    state = replace(state, parker="")
    if not is_coming_back or state.queue is None:
        return carry_out(state, plan)
    if isinstance(plan, DialPlan):
        return carry_out(state, replace(plan, otherwise=None))
    return serve_anew(replace(state, plan=None))
