"""In line for an agent: placed, matched, phones ringing, answered, whispered to, joined."""

from msgspec.structs import replace

from ivr.hold import Hold
from ivr.prompts import Fixed, Number, Prompt, Sound
from ivr.steps import AskStanding, Music
from pbx.machine.acting import Next, Step, act, begin, drop_dialogue, leave_line
from pbx.machine.commands import (
    Bridge,
    Cancel,
    ConfirmAgent,
    HangUp,
    Note,
    NoteUnanswered,
    ReleaseAgent,
    Ring,
    Say,
    StandInLine,
    WrapUp,
)
from pbx.machine.events import (
    Confirmed,
    Gone,
    LegGone,
    LegPlayed,
    LegUp,
    Matched,
    NotPlaced,
    Placed,
)
from pbx.machine.recording import begin_recording
from pbx.machine.state import CallState, Leg, Phase, without_offer


def placed(state: CallState, event: Placed) -> Next:
    """In line: music, announcements, keys."""
    plan = state.queue
    if plan is None or isinstance(state.dialogue, Hold):
        return state, ()
    return begin(state, Phase.HOLDING, Hold(policy=replace(plan.hold, left_s=event.left_s)))


def not_placed(state: CallState, event: NotPlaced) -> Next:
    plan = state.queue
    if plan is None:
        return state, ()
    state, steps = leave_line(replace(state, in_line=False))
    state, stop = drop_dialogue(state)
    then, more = act(state, plan.otherwise)
    return then, (Note(what=f"queue_{event.because}"), *stop, *steps, *more)


def matched(state: CallState, event: Matched) -> Next:
    """Ring every agent reserved; the caller hears music and keeps the place."""
    plan = state.queue
    if state.offers and event.token == state.token:
        return state, ()
    if plan is None or state.offers:
        return refuse_match(state, event)
    legs = tuple(
        Leg(id=offer.leg, endpoint=offer.endpoint, agent=offer.agent) for offer in event.offers
    )
    told = replace(plan, whisper=_with_wait(plan.whisper, event.waited_s))
    state = replace(state, offers=legs, token=event.token, queue=told)
    steps: list[Step] = []
    if not isinstance(state.dialogue, Hold):
        # Straight from arrival, or out of the callback offer: an agent is better than a promise.
        state, stopped = drop_dialogue(state)
        state, begun = hold_back(*begin(state, Phase.HOLDING, Hold(policy=plan.hold)))
        steps += [*stopped, *begun]
    ring = (
        Ring(leg=leg.id, endpoint=leg.endpoint, ring_s=plan.ring_s, caller_id=state.caller_number)
        for leg in legs
    )
    noted = (Note(what="offered", leg=leg.id, agent=leg.agent) for leg in legs)
    return replace(state, phase=Phase.HOLDING), (*steps, *ring, *noted)


def _with_wait(whisper: tuple[Prompt, ...], waited_s: float) -> tuple[Prompt, ...]:
    """What the agent is told, with the wait in whole minutes in place of that of an earlier offer."""
    if Fixed(Sound.WHISPER_WAITED) in whisper:
        whisper = whisper[: whisper.index(Fixed(Sound.WHISPER_WAITED))]
    minutes = int(waited_s // 60)
    if not whisper or minutes < 1:
        return whisper
    return (*whisper, Fixed(Sound.WHISPER_WAITED), Number(minutes), Fixed(Sound.MINUTES))


def hold_back(state: CallState, steps: tuple[Step, ...]) -> Next:
    """While phones ring the caller hears only music; what was to be said comes when they have stopped."""
    if not state.offers or AskStanding() not in steps:
        return state, steps
    rest = tuple(step for step in steps if not isinstance(step, AskStanding))
    return replace(state, standing_due=True), rest


def refuse_match(state: CallState, event: Matched) -> Next:
    """An agent for a call that does not wait any more: give the agent back untouched."""
    return state, tuple(
        ReleaseAgent(agent=offer.agent, token=event.token)
        for offer in event.offers
        if offer.agent is not None
    )


def offer_up(state: CallState, event: LegUp) -> Next:
    """The first phone that answers takes the call."""
    taken = next((offer for offer in state.offers if offer.id == event.leg), None)
    if taken is None:
        return state, (HangUp(leg=event.leg),)
    others = tuple(Cancel(offer.id) for offer in state.offers if offer.id != taken.id)
    agent = replace(taken, is_up=True)
    state = replace(state, phase=Phase.CONNECTING, agent=agent, offers=())
    noted = Note(what="answered", leg=agent.id, agent=agent.agent)
    if agent.agent is not None and state.token:
        return state, (*others, noted, ConfirmAgent(agent=agent.agent, token=state.token))
    then, steps = whisper(state)
    return then, (*others, noted, *steps)


def offer_gone(state: CallState, event: LegGone) -> Next:
    """One phone less; when none is left the next agent is looked for at once."""
    lost = next((offer for offer in state.offers if offer.id == event.leg), None)
    if lost is None:
        return state, ()
    state = without_offer(state, event.leg)
    steps: list[Step] = [Note(what=f"offer_{event.why}", leg=lost.id, agent=lost.agent)]
    if lost.agent is not None:
        steps.append(NoteUnanswered(agent=lost.agent, token=state.token, why=event.why))
    if not state.offers:
        then, more = look_again(state)
        return then, (*steps, *more)
    return state, tuple(steps)


def look_again(state: CallState) -> Next:
    """Ask for the next agent; the announcement that was held back comes now."""
    plan = state.queue
    if plan is None:
        return state, ()
    due = (AskStanding(),) if state.standing_due else ()
    state = replace(state, token="", standing_due=False)
    return state, (StandInLine(plan), *due)


def confirmed(state: CallState, event: Confirmed) -> Next:
    """The reservation holds: tell the agent who is there, then join; else hold on."""
    if state.agent is None or event.agent != state.agent.agent or not state.token:
        return state, ()  # or confirmed already: whoever takes over asks again, perhaps twice
    if event.ok:
        return whisper(replace(state, token="", in_line=False))
    lost = Note(what="reservation_lost", agent=event.agent)
    steps = (lost, HangUp(leg=state.agent.id))
    then, more = _wait_again(replace(state, agent=None))
    return then, (*steps, *more)


def _wait_again(state: CallState) -> Next:
    """Out of `CONNECTING`, where the dialogue was told nothing: it begins anew, or would miss its timers."""
    state, stopped = drop_dialogue(replace(state, standing_due=False))
    then, steps = look_again(replace(state, phase=Phase.PLACING))
    return then, (*stopped, Music(on=True), *steps)


def whisper(state: CallState) -> Next:
    prompts = state.queue.whisper if state.queue is not None else ()
    if state.agent is None or not prompts:
        return join(state)
    return state, (Say(leg=state.agent.id, prompts=prompts),)


def whispered(state: CallState, event: LegPlayed) -> Next:
    if state.agent is None or event.leg != state.agent.id:
        return state, ()
    return join(state)


def join(state: CallState, *, returns: bool = False) -> Next:
    """Music off (or the caller hears it for the whole call), recording on, both together.

    `returns`: see `Bridge`.
    """
    agent = state.agent
    if agent is None:
        return state, ()
    state, stopped = drop_dialogue(state)
    state, record = begin_recording(state)
    joined = replace(
        state,
        phase=Phase.TALKING,
        in_line=False,
        goes_first=False,
        standing_due=False,
        typed="",
    )
    return joined, (*stopped, Music(on=False), *record, Bridge(agent.id, returns))


def agent_gone_before_joined(state: CallState, event: LegGone) -> Next:
    """The agent hung up before both were joined: the caller goes on waiting in the same place."""
    agent = state.agent
    if agent is None or event.leg != agent.id:
        return state, ()
    state = replace(state, agent=None)
    steps: list[Step] = [Note(what="agent_left_early", leg=agent.id, agent=agent.agent)]
    if agent.agent is not None:
        steps += agent_let_down(agent.agent, state.token, event.why)
    # A reservation that was confirmed has taken the call out of the line.
    then, more = _wait_again(replace(state, in_line=True, goes_first=True))
    return then, (*steps, *more)


def agent_let_down(agent: str, token: str, why: Gone) -> tuple[Step, ...]:
    """What an agent is told to the store who answered and has left again.

    With a token the confirmation is under way. Whichever way it ends, one of the two means something:
    a reservation that was not confirmed is unanswered, one that was is a call that is over.
    """
    unanswered = (NoteUnanswered(agent=agent, token=token, why=why),) if token else ()
    return (*unanswered, WrapUp(agent))
