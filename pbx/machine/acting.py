"""Set out on an action: ask, answer first where needed, plan, begin what the plan says."""

from typing import assert_never

from msgspec.structs import replace

from ivr.callback_offer import CallbackOffer
from ivr.collect import Collect, Question
from ivr.consent import consent_dialogue
from ivr.login import Login
from ivr.prompts import Fixed, Prompt, Sound, Speech
from ivr.steps import Finish, HungUp, Music, Play, SetTimer, Started, Timer
from ivr.voicemail import Voicemail
from pbx.machine.commands import (
    Answer,
    AskRules,
    Cancel,
    Command,
    Commands,
    HangUp,
    LeaveLine,
    MakePlan,
    Note,
    ReleaseAgent,
    Ring,
    Ringback,
    StandInLine,
)
from pbx.machine.plans import (
    CallbackPlan,
    DialPlan,
    EndPlan,
    LoginPlan,
    Plan,
    QueuePlan,
    VoicemailPlan,
)
from pbx.machine.recording import may_record, recording_policy
from pbx.machine.state import CallState, Dialogue, Leg, Phase
from rules.actions import Action, Ask, End, Menu

Step = Command | Finish
Next = tuple[CallState, tuple[Step, ...]]
"""A state and what to do. A `Finish` in the last place is a dialogue that has just ended; the table
acts on it before anybody else sees it."""

MOST_ROUNDS = 20
"""Questions one call may be asked: rules that ask in a circle must not hold a caller for ever."""

REPEAT_KEY, BACK_KEY = "*", "#"
"""In a menu, unless a choice has the same key."""

HANG_UP_S = 10.0
"""A hang-up that has not happened by then is asked for again."""


def act(state: CallState, action: Action) -> Next:
    """Set out on an action of the rules."""
    if isinstance(action, Ask | Menu):
        return _ask(state, action)
    return replace(state, phase=Phase.PLANNING, action=action, plan=None), (MakePlan(action),)


def ask_rules(state: CallState) -> Next:
    return replace(state, phase=Phase.DECIDING, action=None, plan=None), (AskRules(),)


def carry_out(state: CallState, plan: Plan) -> Next:  # noqa: PLR0911 - one per plan
    """Begin what the plan says, answering the caller and settling the recording first."""
    if isinstance(plan, DialPlan):
        settled = settle_recording(replace(state, plan=plan)) if state.is_up else None
        return settled or _dial(state, plan)
    if isinstance(plan, EndPlan):
        return _end(state, plan)
    if not state.is_up:
        return replace(state, phase=Phase.ANSWERING, plan=plan), (Answer(),)
    match plan:
        case QueuePlan():
            return settle_recording(replace(state, plan=plan)) or _stand_in_line(state, plan)
        case VoicemailPlan():
            return begin(
                replace(state, plan=plan), Phase.VOICEMAIL, Voicemail(longest_s=plan.longest_s)
            )
        case CallbackPlan():
            return offer_callback(replace(state, plan=plan))
        case LoginPlan():
            said = Sound.LOGGED_IN if plan.on else Sound.LOGGED_OUT
            return begin(replace(state, plan=plan), Phase.LOGIN, Login(confirmation=said))
        case _:
            assert_never(plan)


def _end(state: CallState, plan: EndPlan) -> Next:
    if not plan.prompts:
        return hang_up(state, plan.cause)
    if not state.is_up:
        return replace(state, phase=Phase.ANSWERING, plan=plan), (Answer(),)
    return say_and_hang_up(state, plan)


def begin(state: CallState, phase: Phase, dialogue: Dialogue) -> Next:
    """Begin a dialogue; keys typed ahead are used by it or thrown away.

    Nobody agrees to a question that was not put yet: there they are always thrown away.
    """
    begun, steps = dialogue.on(Started("" if phase is Phase.CONSENT else state.typed))
    return replace(state, phase=phase, dialogue=begun, typed=""), steps


def drop_dialogue(state: CallState) -> tuple[CallState, Commands]:
    """Stop whatever the dialogue has running; nobody awaits its outcome any more."""
    if state.dialogue is None:
        return state, ()
    _, steps = state.dialogue.on(HungUp())
    running: list[Command] = [step for step in steps if not isinstance(step, Finish)]
    return replace(state, dialogue=None), tuple(running)


def leave_line(state: CallState, *, keep: bool = False) -> tuple[CallState, Commands]:
    """Give up the place and whoever rings for it."""
    steps: list[Command] = []
    for offer in state.offers:
        steps.append(Cancel(offer.id))
        if offer.agent is not None and state.token:
            steps.append(ReleaseAgent(agent=offer.agent, token=state.token))
    if state.in_line:
        steps.append(LeaveLine(keep=keep))
    left = replace(
        state,
        offers=(),
        token="",
        in_line=False,
        goes_first=False,
        queue=None,
        standing_due=False,
    )
    return left, tuple(steps)


def offer_callback(state: CallState) -> Next:
    """A caller who shows a word and no number, such as `Restricted`, is asked for one at once."""
    shown = state.caller_number or ""
    is_number = bool(shown) and not any(map(str.isalpha, shown))
    offer = CallbackOffer(number=shown if is_number else None)
    return begin(state, Phase.OFFERING_CALLBACK, offer)


def say_and_hang_up(state: CallState, plan: EndPlan) -> Next:
    play = state.play + 1
    ending = replace(state, phase=Phase.ENDING, plan=plan, play=play, dialogue=None)
    return ending, (Play(play=play, prompts=plan.prompts),)


def hang_up(state: CallState, cause: int = 16) -> Next:
    """Ask for the end of the caller's channel; the call is over when it is gone."""
    plan = EndPlan(cause=cause)
    again = SetTimer(timer=Timer.LONGEST_WAIT, after_s=HANG_UP_S)
    return replace(state, phase=Phase.ENDING, plan=plan, dialogue=None), (
        HangUp(cause=cause),
        again,
    )


def _ask(state: CallState, action: Ask | Menu) -> Next:
    if state.rounds >= MOST_ROUNDS:
        then, steps = (
            act(state, action.otherwise) if not _asks(action.otherwise) else (act(state, End()))
        )
        return then, (Note(what="too_many_rounds"), *steps)
    if not state.is_up:
        return replace(state, phase=Phase.ANSWERING, action=action, plan=None), (Answer(),)
    state = replace(state, asking=action, action=action, plan=None, rounds=state.rounds + 1)
    return begin(state, Phase.ASKING, Collect(question=_question(action)))


def _asks(action: Action) -> bool:
    return isinstance(action, Ask | Menu)


def _question(action: Ask | Menu) -> Question:
    prompts: tuple[Prompt, ...] = (Speech(action.prompt, action.locale),)
    if isinstance(action, Menu):
        return Question(
            prompts=prompts,
            choices=frozenset(action.choices),
            tries=action.tries,
            first_key_s=action.timeout_s,
            repeat_key=REPEAT_KEY,
            back_key=BACK_KEY,
        )
    return Question(
        prompts=prompts, longest=action.digits, tries=action.tries, first_key_s=action.timeout_s
    )


def settle_recording(state: CallState) -> Next | None:
    """Tell or ask the caller before a recording, once a call; None when there is nothing to do."""
    policy = recording_policy(state)
    if not policy.record or state.consent is False or may_record(state):
        return None
    if policy.ask_consent:
        then, steps = begin(state, Phase.CONSENT, consent_dialogue())
        return then, (Note(what="recording_consent_asked"), *steps)
    play = state.play + 1
    telling = replace(state, phase=Phase.CONSENT, dialogue=None, play=play)
    return telling, (Play(play=play, prompts=(Fixed(Sound.RECORDING_NOTICE),)),)


def _stand_in_line(state: CallState, plan: QueuePlan) -> Next:
    placing = replace(
        state, phase=Phase.PLACING, plan=plan, queue=plan, in_line=True, dialogue=None
    )
    return placing, (StandInLine(plan),)


def _dial(state: CallState, plan: DialPlan) -> Next:
    legs = tuple(
        Leg(id=offer.leg, endpoint=offer.endpoint, agent=offer.agent) for offer in plan.offers
    )
    ring = tuple(
        Ring(leg=leg.id, endpoint=leg.endpoint, ring_s=plan.ring_s, caller_id=plan.caller_id)
        for leg in legs
    )
    heard = Music(on=True) if state.is_up else Ringback()
    dialing = replace(state, phase=Phase.DIALING, plan=plan, offers=legs, token="", dialogue=None)
    noted = (Note(what="offered", leg=leg.id, agent=leg.agent) for leg in legs)
    return dialing, (heard, *ring, *noted)
