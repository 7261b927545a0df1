"""Dial out: ring phones for a caller, or place a call that begins with us."""

from msgspec.structs import replace

from ivr.prompts import Fixed, Sound
from pbx.causes import NO_WAY_OUT
from pbx.machine.acting import Next, act, ask_rules, carry_out, hang_up, settle_recording
from pbx.machine.commands import (
    Answer,
    Cancel,
    ConfirmAgent,
    HangUp,
    Note,
    NoteUnanswered,
    Over,
    ReleaseAgent,
    Ring,
    Ringback,
    Say,
    WrapUp,
)
from pbx.machine.events import (
    Answered,
    Begin,
    Confirmed,
    Gone,
    HangUpCall,
    LegGone,
    LegPlayed,
    LegUp,
)
from pbx.machine.plans import DialPlan, EndPlan
from pbx.machine.queueing import agent_let_down, join
from pbx.machine.state import CallState, Kind, Phase, without_offer
from pbx.machine.talking import serve_anew

CAUSES = {
    Gone.BUSY: 17,
    Gone.DECLINED: 21,
    Gone.NO_ANSWER: 19,
    Gone.UNREACHABLE: 20,
}
"""Q.850 cause passed on to a caller whose call could not be put through."""

TRUNK_UNREACHABLE = "trunk_unreachable"
"""Noted of a call whose customer nobody has dialled: it did not get as far."""

AGENT_FIRST = frozenset({Kind.CALLBACK_AGENT_FIRST, Kind.CLICK_TO_CALL})


# --- phones rung for a caller ---------------------------------------------------------------------


def dialed_up(state: CallState, event: LegUp) -> Next:
    taken = next((offer for offer in state.offers if offer.id == event.leg), None)
    if taken is None:
        return state, (HangUp(leg=event.leg),)
    others = tuple(Cancel(offer.id) for offer in state.offers if offer.id != taken.id)
    state = replace(state, agent=replace(taken, is_up=True), offers=())
    noted = Note(what="answered", leg=taken.id, agent=taken.agent)
    if not state.is_up:
        return state, (*others, noted, Answer())
    then, steps = join(state)
    return then, (*others, noted, *steps)


def caller_up(state: CallState, _event: Answered) -> Next:
    return join(replace(state, is_up=True))


def dialed_gone(state: CallState, event: LegGone) -> Next:
    if state.agent is not None and event.leg == state.agent.id:
        return hang_up(replace(state, agent=None))
    lost = next((offer for offer in state.offers if offer.id == event.leg), None)
    if lost is None:
        return state, ()
    state = without_offer(state, event.leg)
    noted = Note(what=f"dial_{event.why}", leg=lost.id, agent=lost.agent)
    if state.offers:
        return state, (noted,)
    plan = state.plan
    after = plan.otherwise if isinstance(plan, DialPlan) else None
    if after is not None:
        then, steps = act(state, after)
    elif state.is_up:
        then, steps = serve_anew(state)
    else:
        then, steps = carry_out(state, EndPlan(cause=CAUSES.get(event.why, 31)))
    return then, (noted, *steps)


# --- calls that begin with us ---------------------------------------------------------------------


def begin_call(state: CallState, _event: Begin) -> Next:
    """An inbound call asks the rules; one of ours rings the agent, or the customer, first."""
    if state.kind is Kind.INBOUND:
        return ask_rules(state)
    if state.kind in AGENT_FIRST and state.agent is not None:
        ring = Ring(
            leg=state.agent.id,
            endpoint=state.agent.endpoint,
            ring_s=state.ring_s,
            caller_id=state.caller_number,
        )
        noted = Note(what="offered", leg=state.agent.id, agent=state.agent.agent)
        return replace(state, phase=Phase.RINGING_AGENT), (ring, noted)
    return _ring_customer(state)


def _ring_customer(state: CallState) -> Next:
    ring = Ring(
        leg=state.channel,
        endpoint=state.customer_endpoint,
        ring_s=state.ring_s,
        caller_id=state.shown_number,
    )
    return replace(state, phase=Phase.RINGING_CUSTOMER), (ring,)


def first_agent_up(state: CallState, event: LegUp) -> Next:
    """The agent is there and hears ringing while the customer's phone is rung."""
    agent = state.agent
    if agent is None or event.leg != agent.id:
        return state, (HangUp(leg=event.leg),)
    state = replace(state, agent=replace(agent, is_up=True))
    noted = Note(what="answered", leg=agent.id, agent=agent.agent)
    if agent.agent is not None and state.token:
        return state, (noted, ConfirmAgent(agent=agent.agent, token=state.token))
    then, steps = _ring_customer(state)
    return then, (noted, Ringback(agent.id), *steps)


def first_agent_confirmed(state: CallState, event: Confirmed) -> Next:
    agent = state.agent
    if agent is None:
        return state, ()
    if not event.ok:
        return _give_up(state, Note(what="reservation_lost", agent=agent.agent))
    then, steps = _ring_customer(replace(state, token=""))
    return then, (Ringback(agent.id), *steps)


def first_agent_gone(state: CallState, event: LegGone) -> Next:
    """The agent did not take it, or has left while the customer's phone rang."""
    agent = state.agent
    if agent is None or event.leg != agent.id:
        return state, ()
    if state.phase is Phase.RINGING_CUSTOMER:
        noted = Note(what="agent_left", leg=agent.id, agent=agent.agent)
        left = (WrapUp(agent.agent),) if agent.agent is not None else ()
        return replace(state, agent=None), (noted, *left, Cancel(state.channel))
    what = "agent_left_early" if agent.is_up else f"offer_{event.why}"
    noted = Note(what=what, leg=agent.id, agent=agent.agent)
    then, more = _give_up(replace(state, agent=None), noted)
    if agent.agent is None:
        return then, more
    if agent.is_up:
        return then, (*agent_let_down(agent.agent, state.token, event.why), *more)
    if state.token:
        return then, (NoteUnanswered(agent=agent.agent, token=state.token, why=event.why), *more)
    return then, more


def called_off(state: CallState, _event: HangUpCall) -> Next:
    """There is no customer's channel yet whose end would end the call: the agent's is all there is."""
    agent = state.agent
    then, steps = _give_up(state, Note(what="hung_up_by_control"))
    if agent is None or agent.agent is None:
        return then, steps
    # While the confirmation is under way one of the two means something; see `agent_let_down`.
    given = (ReleaseAgent(agent=agent.agent, token=state.token),) if state.token else ()
    return then, (*given, WrapUp(agent.agent), *steps)


def _give_up(state: CallState, noted: Note) -> Next:
    """Nobody has dialled the customer."""
    steps = tuple(HangUp(leg=leg.id) for leg in state.legs())
    return replace(state, phase=Phase.ENDED), (noted, *steps, Over())


def customer_up(state: CallState, event: LegUp) -> Next:
    if event.leg != state.channel:
        return state, (HangUp(leg=event.leg),)
    state = replace(state, is_up=True)
    noted = Note(what="customer_answered", leg=event.leg)
    if state.agent is not None:
        # The agent goes on hearing it ring while the customer is told or asked.
        then, steps = settle_recording(state) or join(state)
    elif state.kind in AGENT_FIRST:
        then, steps = hang_up(state)
    elif state.action is not None:
        then, steps = act(state, state.action)
    else:
        then, steps = ask_rules(state)
    return then, (noted, *steps)


def customer_not_reached(state: CallState, event: LegGone) -> Next:
    """Busy, no answer, gone: tell the agent who waits, and end with the reason on record."""
    has_failed = event.why is Gone.UNREACHABLE and event.cause in NO_WAY_OUT
    is_out = event.has_rung or not has_failed
    what = f"customer_{event.why}" if is_out else TRUNK_UNREACHABLE
    noted = Note(what=what, leg=state.channel)
    agent = state.agent
    if agent is None:
        return replace(state, phase=Phase.ENDED), (noted, Over())
    told = Say(leg=agent.id, prompts=(Fixed(Sound.TRY_LATER),))
    return replace(state, phase=Phase.ENDING), (noted, told)


def agent_told(state: CallState, event: LegPlayed) -> Next:
    agent = state.agent
    if agent is None or event.leg != agent.id or state.is_up:
        return state, ()
    return state, (HangUp(leg=agent.id),)


def agent_gone_at_end(state: CallState, event: LegGone) -> Next:
    """The last leg of a call whose customer was not reached."""
    agent = state.agent
    if agent is None or event.leg != agent.id:
        return state, ()
    state = replace(state, agent=None)
    wrapped = (WrapUp(agent.agent),) if agent.agent is not None else ()
    if state.is_up:
        return state, wrapped
    return replace(state, phase=Phase.ENDED), (*wrapped, Over())
