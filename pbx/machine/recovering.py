"""A controller has taken over: go on with what was being done when the last state was written down.

Who took over has already fed what happened meanwhile: `LegGone` for legs that are no more, `LegUp`
for phones that have answered. What may have been carried out already is asked for again only where
doing it twice does no harm; no phone is rung twice.
"""

from collections.abc import Callable

from msgspec.structs import replace

from ivr.callback_offer import CallbackOffer
from ivr.collect import Collect
from ivr.hold import Hold
from ivr.login import Login
from ivr.steps import Music, SetTimer, Timer
from ivr.voicemail import Voicemail, go_on
from pbx.machine import controls, parking, queueing, talking
from pbx.machine.acting import Next, act, ask_rules, begin, carry_out, hang_up
from pbx.machine.commands import (
    Answer,
    Bridge,
    BridgeLegs,
    Confer,
    ConfirmAgent,
    EnterConference,
    KeepMessage,
    LeaveConference,
    Ringback,
    SetRecording,
    StandInLine,
)
from pbx.machine.dialing import begin_call
from pbx.machine.dialogues import promise
from pbx.machine.events import Begin, Bridged, Recovered, SplitDone, SplitFailed
from pbx.machine.plans import EndPlan
from pbx.machine.state import CallState, Intent, Phase


def recovered(state: CallState, event: Recovered) -> Next:
    resume = RESUME.get(state.phase)
    if resume is None:
        return state, ()
    was_recorded, is_muted = state.recording, state.is_muted
    then, steps = resume(state, event)
    if state.was_recorded:
        # Whoever has written that down has perhaps not lived to tell Asterisk.
        return then, (SetRecording(to="off"), *steps)
    if not (was_recorded and then.recording):
        return then, steps
    # Asterisk knows whether it records silence, unless that was asked for just as nobody could ask.
    return then, (SetRecording(to="pause" if is_muted else "resume"), *steps)


def _begin(state: CallState, _event: Recovered) -> Next:
    return begin_call(state, Begin())


def _answer(state: CallState, _event: Recovered) -> Next:
    return state, (Answer(),)


def _decide(state: CallState, _event: Recovered) -> Next:
    return ask_rules(state)


def _plan(state: CallState, _event: Recovered) -> Next:
    return act(state, state.action) if state.action is not None else ask_rules(state)


def _talk_again(state: CallState, _event: Recovered) -> Next:
    """Begin the dialogue anew: what the caller heard and keyed meanwhile is not known."""
    match state.dialogue:
        case Collect() as asked:
            fresh = Collect(question=asked.question, lost=asked.lost, play=asked.play)
            return begin(state, state.phase, fresh)
        case CallbackOffer() as offer:
            return begin(state, state.phase, CallbackOffer(number=offer.number))
        case Voicemail() as message:
            # Asterisk goes on recording what the caller says, whoever is connected to it.
            if state.message_file and (going_on := go_on(message)):
                return replace(state, dialogue=going_on[0]), going_on[1]
            return begin(state, state.phase, Voicemail(longest_s=message.longest_s))
        case Login() as login:
            return begin(state, state.phase, Login(confirmation=login.confirmation))
        case _:
            return carry_out(state, state.plan) if state.plan is not None else ask_rules(state)


def _line_again(state: CallState, _event: Recovered) -> Next:
    """The same place, music again; with a phone ringing nothing is said until it stops."""
    if state.queue is None:
        return ask_rules(state)
    if state.offers:
        held = state.dialogue
        policy = held.policy if isinstance(held, Hold) else state.queue.hold
        return queueing.hold_back(*begin(state, Phase.HOLDING, Hold(policy=policy)))
    waiting = replace(state, phase=Phase.PLACING, dialogue=None, in_line=True)
    return waiting, (Music(on=True), StandInLine(state.queue))


def _connect(state: CallState, _event: Recovered) -> Next:
    return _confirm_again(state) or queueing.whisper(state)


def _first_agent(state: CallState, _event: Recovered) -> Next:
    """Still rung, or there already and in doubt whether the call may go on."""
    return _confirm_again(state) or (state, ())


def _confirm_again(state: CallState) -> Next | None:
    """Whether the reservation has become a call was asked by who is no more; asked twice it does no harm."""
    agent = state.agent
    if agent is None or not agent.is_up or agent.agent is None or not state.token:
        return None
    return state, (ConfirmAgent(agent=agent.agent, token=state.token),)


def _dial(state: CallState, _event: Recovered) -> Next:
    if state.agent is not None and not state.is_up:
        return state, (Answer(),)  # the far end has answered, and waits for the caller
    return state, (Music(on=True) if state.is_up else Ringback(),)


def _talk(state: CallState, event: Recovered) -> Next:
    if state.agent is None:
        return hang_up(state)
    if {state.channel, state.agent.id} <= event.bridged:
        # They may have been joined while nobody saw it.
        return (state, ()) if state.is_joined else talking.bridged(state, Bridged())
    return state, (Music(on=False), Bridge(state.agent.id))


def _split(state: CallState, event: Recovered) -> Next:
    if state.intent is Intent.COMPLETE:
        third = state.third
        if third is not None and third.id in event.bridged:
            return replace(state, phase=Phase.CONSULTING, intent=None), ()
    if state.intent is Intent.KEEP_HELD and state.agent is not None:
        legs = [state.agent.id, *({state.channel} & event.bridged)]
        return state, tuple(map(LeaveConference, legs))
    if state.channel in event.bridged:
        return controls.split_failed(state, SplitFailed())
    return controls.split_done(state, SplitDone())


def _confer(state: CallState, event: Recovered) -> Next:
    legs = tuple(member.id for member in state.members)
    together = {state.channel, *legs} <= event.bridged
    return state, (() if together else (Confer(legs),))


def _confer_held(state: CallState, event: Recovered) -> Next:
    """The caller hears music; whoever was about to enter is in the conference."""
    enter = (EnterConference(one.id) for one in state.members if one.id not in event.bridged)
    if state.channel in event.bridged:
        leaving = replace(state, intent=Intent.HOLD)
        return leaving, (LeaveConference(state.channel), *enter)
    return replace(state, intent=None), (Music(on=True), *enter)


def _hold(state: CallState, _event: Recovered) -> Next:
    return state, (Music(on=True),)


def _consult(state: CallState, event: Recovered) -> Next:
    if state.agent is None or state.third is None:
        return hang_up(state)
    if state.third.id in event.bridged:
        return state, (Music(on=True),)
    return state, (Music(on=True), BridgeLegs(state.agent.id, state.third.id))


def _park(state: CallState, _event: Recovered) -> Next:
    limit = SetTimer(timer=Timer.LONGEST_WAIT, after_s=parking.LONGEST_PARKED_S)
    return state, (Music(on=True), limit)


def _promise(state: CallState, _event: Recovered) -> Next:
    # Whether it was written down is not known; whoever writes it down looks for it first.
    return state, (promise(state),)


def _end(state: CallState, _event: Recovered) -> Next:
    kept = (KeepMessage(state.mailbox),) if state.mailbox else ()
    then, steps = hang_up(state, state.plan.cause if isinstance(state.plan, EndPlan) else 16)
    return then, (*kept, *steps)


RESUME: dict[Phase, Callable[[CallState, Recovered], Next]] = {
    Phase.NEW: _begin,
    Phase.RINGING_AGENT: _first_agent,
    Phase.ANSWERING: _answer,
    Phase.DECIDING: _decide,
    Phase.PLANNING: _plan,
    Phase.ASKING: _talk_again,
    Phase.CONSENT: _talk_again,
    Phase.OFFERING_CALLBACK: _talk_again,
    Phase.VOICEMAIL: _talk_again,
    Phase.LOGIN: _talk_again,
    Phase.PLACING: _line_again,
    Phase.HOLDING: _line_again,
    Phase.CONNECTING: _connect,
    Phase.DIALING: _dial,
    Phase.PROMISING: _promise,
    Phase.TALKING: _talk,
    Phase.SPLITTING: _split,
    Phase.HELD: _hold,
    Phase.CONSULTING: _consult,
    Phase.CONFERENCE: _confer,
    Phase.CONFERENCE_HELD: _confer_held,
    Phase.PARKED: _park,
    Phase.ENDING: _end,
}
"""Phases that are not here go on by themselves: their next event is on its way."""
