"""The dialogue with the caller inside the call: pass events to it, act on how it ends."""

from msgspec.structs import replace

from ivr.consent import is_consent
from ivr.prompts import Fixed, Sound
from ivr.steps import Event as DialogueEvent
from ivr.steps import Finish, Key, Outcome, Play, Played, Standing
from pbx.machine.acting import (
    Next,
    act,
    ask_rules,
    carry_out,
    hang_up,
    leave_line,
    offer_callback,
    say_and_hang_up,
)
from pbx.machine.commands import KeepMessage, Note, PromiseCallback, StandInLine
from pbx.machine.plans import CallbackPlan, EndPlan, QueuePlan, VoicemailPlan
from pbx.machine.queueing import hold_back, join
from pbx.machine.state import CallState, Phase
from rules.actions import Ask, Menu

MOST_TYPED = 32
"""Keys kept that no dialogue has asked for."""


def hear(state: CallState, event: DialogueEvent) -> Next:
    """Give an event to the dialogue."""
    if state.dialogue is None:
        return _without_dialogue(state, event)
    if isinstance(event, Standing) and state.offers:
        return replace(state, standing_due=True), ()  # a phone rings since that was asked
    dialogue, steps = state.dialogue.on(event)
    return hold_back(replace(state, dialogue=dialogue), steps)


def keep_key(state: CallState, event: Key) -> Next:
    """Remember a key that nobody asked for yet."""
    return replace(state, typed=(state.typed + event.key)[:MOST_TYPED]), ()


def drop_key(state: CallState, _event: Key) -> Next:
    """A key of a talk, such as a card number for the agent's machine, is none of our business."""
    return state, ()


def _without_dialogue(state: CallState, event: DialogueEvent) -> Next:
    if event != Played(state.play):
        return keep_key(state, event) if isinstance(event, Key) else (state, ())
    if state.phase is Phase.ENDING and isinstance(state.plan, EndPlan):
        return hang_up(state, state.plan.cause)
    if state.phase is Phase.CONSENT:
        then, steps = _settled(replace(state, is_told=True))
        return then, (Note(what="recording_announced"), *steps)
    return no_callback(state) if state.phase is Phase.PROMISING else (state, ())


def finished(state: CallState, end: Finish) -> Next:  # noqa: PLR0911 - one per phase
    """Act on how the dialogue of this phase has ended."""
    state = replace(state, dialogue=None, typed=end.typed)
    match state.phase:
        case Phase.ASKING:
            return _asked(state, end)
        case Phase.CONSENT:
            return _consented(state, end)
        case Phase.HOLDING:
            return _held(state, end)
        case Phase.OFFERING_CALLBACK:
            return _offered(state, end)
        case Phase.VOICEMAIL:
            return _messaged(state, end)
        case Phase.LOGIN:
            return _login_over(state, end)
        case _:
            return state, ()


def _asked(state: CallState, end: Finish) -> Next:
    asked = state.asking
    if asked is None:
        return ask_rules(state)
    if end.outcome is Outcome.CHOSEN:
        state = replace(state, digits={**state.digits, asked.name: end.value})
        if isinstance(asked, Ask):
            return ask_rules(state)
        return act(replace(state, menus=(*state.menus, asked)[-8:]), asked.choices[end.value])
    if end.outcome is Outcome.BACK:
        return _back(state, asked)
    then, steps = act(state, asked.otherwise)
    return then, (Note(what=f"menu_{end.outcome}"), *steps)


def _back(state: CallState, asked: Ask | Menu) -> Next:
    """To the menu before this one; in the first menu, hear it again."""
    if not state.menus:
        return act(state, asked)
    *rest, previous = state.menus
    return act(replace(state, menus=tuple(rest)), previous)


def _consented(state: CallState, end: Finish) -> Next:
    agreed = is_consent(end)
    noted = Note(what="recording_consent" if agreed else "recording_refused")
    then, steps = _settled(replace(state, is_told=True, consent=agreed))
    return then, (noted, *steps)


def _settled(state: CallState) -> Next:
    """The recording is settled: go on, to the agent if one waits already (for a callback, or on demand)."""
    if state.agent is not None:
        return join(state)
    return carry_out(state, state.plan) if state.plan is not None else hang_up(state)


def _held(state: CallState, end: Finish) -> Next:
    plan = state.queue
    if plan is None:
        return hang_up(state)
    if end.outcome is Outcome.CALLBACK_WANTED:
        return offer_callback(state)
    left, steps = leave_line(state)
    after = plan.escape if end.outcome is Outcome.ESCAPED and plan.escape else plan.otherwise
    then, more = act(left, after)
    return then, (Note(what=f"queue_{end.outcome}"), *steps, *more)


def _offered(state: CallState, end: Finish) -> Next:
    if end.outcome is Outcome.ACCEPTED:
        state = replace(state, phase=Phase.PROMISING, callback_number=end.value)
        return state, (promise(state),)
    return no_callback(state)


def promise(state: CallState) -> PromiseCallback:
    """To be written down. Asked for again it is promised once."""
    queue = state.queue or state.plan
    name = queue.queue if isinstance(queue, QueuePlan | CallbackPlan) else ""
    return PromiseCallback(queue=name, number=state.callback_number)


def not_promised(state: CallState) -> Next:
    """Whoever has agreed to be called back, and will not be, is to know that before the line goes on."""
    play = state.play + 1
    sorry = Play(play=play, prompts=(Fixed(Sound.CALLBACK_REFUSED),))
    return replace(state, play=play), (Note(what="callback_not_promised"), sorry)


def no_callback(state: CallState) -> Next:
    """Back into the line, or to what the rules say where there is none."""
    if state.in_line and state.queue is not None:
        return replace(state, phase=Phase.PLACING), (StandInLine(state.queue),)
    if isinstance(state.plan, CallbackPlan):
        return act(state, state.plan.otherwise)
    return hang_up(state)


def promised(state: CallState) -> Next:
    """The callback is written down: say so and let the caller go."""
    state, steps = leave_line(replace(state, in_line=False))
    said = (Fixed(Sound.CALLBACK_ACCEPTED), Fixed(Sound.GOODBYE))
    then, more = say_and_hang_up(state, EndPlan(prompts=said))
    return then, (Note(what="callback_promised"), *steps, *more)


def _messaged(state: CallState, end: Finish) -> Next:
    if end.outcome is Outcome.FAILED:
        sorry = EndPlan(prompts=(Fixed(Sound.TRY_LATER), Fixed(Sound.GOODBYE)))
        then, steps = say_and_hang_up(state, sorry)
        return then, (Note(what="message_lost"), *steps)
    kept = message_left(state, end)
    mailbox = kept[0].mailbox if kept else ""
    then, steps = hang_up(replace(state, mailbox=mailbox))
    return then, (*kept, *steps)


def _login_over(state: CallState, end: Finish) -> Next:
    """A good pair was acted on before it was confirmed; all that is left is to hang up."""
    then, steps = hang_up(state)
    if end.outcome is Outcome.ACCEPTED:
        return then, steps
    return then, (Note(what="login_refused"), *steps)


def message_left(state: CallState, end: Finish) -> tuple[KeepMessage, ...]:
    """What to do about the message of a voicemail dialogue that has ended so."""
    if end.outcome is Outcome.SAVED and isinstance(state.plan, VoicemailPlan):
        return (KeepMessage(state.plan.mailbox),)
    return ()
