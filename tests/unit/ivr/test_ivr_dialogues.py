"""Waiting on hold, the callback offer, voicemail, consent, logging in."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr import callback_offer, hold, login, voicemail
from ivr.callback_offer import CallbackOffer
from ivr.consent import consent_dialogue, is_consent
from ivr.hold import Hold, HoldPolicy, announcement
from ivr.login import Login
from ivr.prompts import Fixed, Number, Sound, Spelled
from ivr.steps import (
    AskStanding,
    CancelTimer,
    Checked,
    CheckNumber,
    CheckPin,
    Closing,
    Event,
    Finish,
    HungUp,
    Key,
    Music,
    Outcome,
    Play,
    Played,
    Record,
    Recorded,
    SetTimer,
    Standing,
    StandingUnknown,
    Started,
    Steps,
    StopPlay,
    TimedOut,
    Timer,
)
from ivr.voicemail import Voicemail
from tests.ivr_walk import EVENTS, running

# A dialogue of any kind: what the tests below need is `on` and `phase`.
AnyDialogue = Any

POLICY = HoldPolicy(callback_key="9", callback_threshold=5)
SILENT = HoldPolicy(longest_wait_s=90, left_s=90)


def after(dialogue: AnyDialogue, *events: Event) -> tuple[AnyDialogue, Steps]:
    steps: Steps = ()
    for event in events:
        dialogue, steps = dialogue.on(event)
    return dialogue, steps


def typed(keys: str) -> list[Event]:
    return [Key(key) for key in keys]


# --- hold -------------------------------------------------------------------------------------


def test_a_caller_on_hold_hears_music_and_is_told_where_they_stand() -> None:
    now, steps = after(Hold(policy=POLICY), Started())
    assert steps == (
        Music(on=True),
        SetTimer(timer=Timer.LONGEST_WAIT, after_s=900),
        AskStanding(),
    )
    _, steps = now.on(Standing(position=3, waiting=3, wait_s=61))
    assert steps == (
        Play(
            play=1,
            prompts=(
                Fixed(Sound.POSITION_IS),
                Number(3),
                Fixed(Sound.WAIT_ABOUT),
                Number(2),
                Fixed(Sound.MINUTES),
                Fixed(Sound.ESCAPE_HINT),
                Spelled("*"),
            ),
        ),
    )


def test_music_comes_back_after_an_announcement_and_the_next_one_is_due_after_the_interval() -> (
    None
):
    now, steps = after(Hold(policy=POLICY), Started(), Standing(position=1, waiting=1), Played(1))
    assert steps == (Music(on=True), SetTimer(timer=Timer.ANNOUNCE, after_s=120))
    assert now.on(TimedOut(Timer.ANNOUNCE))[1] == (AskStanding(),)


def test_a_queue_with_a_short_longest_wait_announces_nothing() -> None:
    now, steps = after(Hold(policy=SILENT), Started())
    assert steps == (Music(on=True), SetTimer(timer=Timer.LONGEST_WAIT, after_s=90))
    assert now.on(Key("*"))[1][-1] == Finish(outcome=Outcome.ESCAPED)


@pytest.mark.parametrize(
    ("wait_s", "said"),
    [
        (5, (Fixed(Sound.WAIT_UNDER_A_MINUTE),)),
        (60, (Fixed(Sound.WAIT_ABOUT), Number(1), Fixed(Sound.MINUTES))),
        (61, (Fixed(Sound.WAIT_ABOUT), Number(2), Fixed(Sound.MINUTES))),
        (1800, (Fixed(Sound.WAIT_ABOUT), Number(30), Fixed(Sound.MINUTES))),
        (1801, (Fixed(Sound.WAIT_OVER), Number(30), Fixed(Sound.MINUTES))),
        (None, ()),
    ],
)
def test_the_wait_is_told_in_whole_minutes_rounded_up_and_capped(
    wait_s: float | None, said: tuple[object, ...]
) -> None:
    policy = HoldPolicy(announce_position=False, escape_key=None)
    assert announcement(policy, Standing(position=2, waiting=4, wait_s=wait_s)) == said


def test_the_callback_key_works_only_while_the_line_is_longer_than_the_threshold() -> None:
    long, steps = after(Hold(policy=POLICY), Started(), Standing(position=1, waiting=6))
    assert Fixed(Sound.CALLBACK_HINT) in steps[0].prompts
    pressed, steps = long.on(Key("9"))
    assert steps == (AskStanding(),)  # whatever was said: what counts is the line of this moment
    assert pressed.on(Standing(position=1, waiting=6))[1] == (
        CancelTimer(Timer.LONGEST_WAIT),
        StopPlay(),
        Finish(outcome=Outcome.CALLBACK_WANTED),
    )
    for answer in (Standing(position=1, waiting=5), StandingUnknown()):
        refused, steps = pressed.on(answer)
        assert (refused, steps) == (long, ())
        assert refused.on(Key("9"))[1] == (AskStanding(),)


def test_the_callback_key_works_where_nothing_is_announced() -> None:
    policy = HoldPolicy(
        longest_wait_s=60, left_s=60, callback_key="9", callback_threshold=0, escape_key=None
    )
    now, steps = after(Hold(policy=policy), Started(), Key("9"))
    assert steps == (AskStanding(),)
    assert now.on(Key("9"))[1] == ()  # it is being looked up
    assert now.on(Standing(position=1, waiting=1))[1] == (
        CancelTimer(Timer.LONGEST_WAIT),
        Finish(outcome=Outcome.CALLBACK_WANTED),
    )


def test_a_callback_key_pressed_while_the_line_is_looked_at_is_answered_by_that_look() -> None:
    now, steps = after(Hold(policy=POLICY), Started(), Key("9"))
    assert steps == ()
    assert now.on(Standing(position=1, waiting=6))[1][-1].outcome is Outcome.CALLBACK_WANTED
    _, steps = now.on(Standing(position=1, waiting=5))
    assert isinstance(steps[0], Play)


def test_a_line_that_cannot_be_looked_at_is_looked_at_again_after_the_interval() -> None:
    now, steps = after(Hold(policy=POLICY), Started(), StandingUnknown())
    assert steps == (SetTimer(timer=Timer.ANNOUNCE, after_s=120),)
    assert now.on(TimedOut(Timer.ANNOUNCE))[1] == (AskStanding(),)


def test_the_longest_wait_ends_the_hold_in_any_phase() -> None:
    for events in (
        [],
        [Standing(position=1, waiting=1)],
        [Standing(position=1, waiting=1), Played(1)],
    ):
        now, _ = after(Hold(policy=POLICY), Started(), *events)
        assert now.on(TimedOut(Timer.LONGEST_WAIT))[1][-1].outcome is Outcome.WAITED_TOO_LONG


def test_closing_time_ends_the_hold_for_those_who_may_not_stay() -> None:
    now, _ = after(Hold(policy=POLICY), Started())
    assert now.on(Closing())[1][-1] == Finish(outcome=Outcome.CLOSED)


# --- callback offer ---------------------------------------------------------------------------

OFFER = CallbackOffer(number="+12125550142")


def test_a_caller_confirms_their_own_number_and_accepts() -> None:
    now, steps = after(OFFER, Started())
    choice = Fixed(Sound.CALLBACK_CHOICE)  # or nobody knows that nothing is promised yet
    assert steps[0].prompts == (Fixed(Sound.CALLBACK_CONFIRM), Spelled("12125550142"), choice)
    now, steps = now.on(Key("1"))
    assert steps == (StopPlay(), CheckNumber("+12125550142"))
    _, steps = now.on(Checked(ok=True))
    assert steps == (Finish(outcome=Outcome.ACCEPTED, value="+12125550142"),)


def test_a_caller_keys_in_another_number_and_a_bad_one_is_asked_for_again() -> None:
    now, steps = after(OFFER, Started(), Key("2"), *typed("999#"))
    assert steps[-1] == CheckNumber("999")
    now, steps = now.on(Checked(ok=False))
    assert steps[-1].prompts == (Fixed(Sound.CALLBACK_UNDIALABLE), Fixed(Sound.CALLBACK_KEY_NUMBER))
    assert after(now, *typed("2125550143#"))[1][-1] == CheckNumber("2125550143")


def test_too_many_bad_numbers_leave_the_caller_in_line() -> None:
    now, _ = after(CallbackOffer(number=None, tries=2), Started())
    for _ in range(2):
        now, steps = after(now, *typed("999#"), Checked(ok=False))
    assert steps == (Finish(outcome=Outcome.REFUSED),)


def test_a_withheld_number_is_asked_for_at_once() -> None:
    _, steps = after(CallbackOffer(number=None), Started())
    assert steps[0].prompts == (Fixed(Sound.CALLBACK_KEY_NUMBER),)


def test_hanging_up_before_the_number_was_checked_promises_nothing() -> None:
    assert after(OFFER, Started(), Key("1"), HungUp())[1][-1].outcome is Outcome.HUNG_UP


def test_silence_leaves_the_caller_in_line() -> None:
    now, _ = after(OFFER, Started())
    for play in (1, 2, 3):
        now, steps = after(now, Played(play), TimedOut(Timer.FIRST_KEY))
    assert steps == (Finish(outcome=Outcome.REFUSED),)


# --- voicemail --------------------------------------------------------------------------------


def test_a_message_is_recorded_after_the_greeting_and_saved() -> None:
    now, steps = after(Voicemail(), Started(), Played(1))
    assert steps == (Record(longest_s=180),)
    now, steps = now.on(Recorded(duration_s=4, ended_by="#"))
    assert steps == (Play(play=2, prompts=(Fixed(Sound.VOICEMAIL_SAVED),)),)
    assert now.on(Played(2))[1] == (Finish(outcome=Outcome.SAVED),)


def test_the_greeting_can_be_skipped() -> None:
    _, steps = after(Voicemail(), Started(), Key("#"))
    assert steps == (StopPlay(), Record(longest_s=180))


def test_a_message_too_short_is_none() -> None:
    _, steps = after(Voicemail(), Started(), Played(1), Recorded(duration_s=0.4))
    assert steps == (Finish(outcome=Outcome.EMPTY),)


def test_hanging_up_while_recording_leaves_a_message_but_not_before() -> None:
    failed = Recorded(duration_s=0.2, has_failed=True)
    assert after(Voicemail(), Started(), Played(1), failed)[1][-1].outcome is Outcome.FAILED
    assert after(Voicemail(), Started(), HungUp())[1][-1].outcome is Outcome.HUNG_UP
    _, steps = after(Voicemail(), Started(), Played(1), HungUp())
    assert steps == (Finish(outcome=Outcome.SAVED),)


# --- consent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "agreed"),
    [
        ([Key("1")], True),
        ([Key("2")], False),
        ([HungUp()], False),
        ([Played(1), TimedOut(Timer.FIRST_KEY), Played(2), TimedOut(Timer.FIRST_KEY)], False),
        ([Key("7"), Key("7")], False),
    ],
)
def test_only_the_key_for_yes_is_consent(events: list[Event], agreed: bool) -> None:
    _, steps = after(consent_dialogue(), Started(), *events)
    assert is_consent(steps[-1]) is agreed


# --- log-in -----------------------------------------------------------------------------------


def test_an_agent_logs_in_with_number_and_pin() -> None:
    now, steps = after(Login(), Started(), *typed("1001#"))
    assert steps[-1].prompts == (Fixed(Sound.LOGIN_PIN),)
    now, steps = after(now, *typed("4711#"))
    assert steps[-1] == CheckPin(agent="1001", pin="4711")
    now, steps = now.on(Checked(ok=True))
    assert steps[0].prompts == (Fixed(Sound.LOGGED_IN),)
    assert now.on(HungUp())[1][-1] == Finish(outcome=Outcome.ACCEPTED, value="1001")


def test_three_wrong_pairs_end_the_log_in() -> None:
    now, _ = after(Login(), Started())
    for _ in range(3):
        now, steps = after(now, *typed("1001#"), *typed("0000#"), Checked(ok=False))
    assert steps[0].prompts == (Fixed(Sound.LOGIN_REFUSED),)
    assert now.on(Played(steps[0].play))[1] == (Finish(outcome=Outcome.REFUSED),)


def test_number_and_pin_may_be_typed_ahead() -> None:
    assert after(Login(), Started("1001#4711#"))[1][-1] == CheckPin(agent="1001", pin="4711")


# --- all of them ------------------------------------------------------------------------------

KINDS: list[tuple[str, Callable[[], AnyDialogue], Any]] = [
    ("hold", lambda: Hold(policy=POLICY), hold),
    ("silent hold", lambda: Hold(policy=SILENT), hold),
    ("callback offer", lambda: OFFER, callback_offer),
    ("callback offer without number", lambda: CallbackOffer(number=None), callback_offer),
    ("voicemail", Voicemail, voicemail),
    ("login", Login, login),
]
kinds = pytest.mark.parametrize(
    ("make", "module"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS]
)


@kinds
@given(data=st.data())
def test_any_walk_ends_once_says_nothing_afterwards_and_leaves_nothing_running(
    make: Callable[[], AnyDialogue], module: Any, data: st.DataObject
) -> None:
    now, steps = make().on(Started())
    said: list[Any] = list(steps)
    for event in [*data.draw(st.lists(st.sampled_from(EVENTS), max_size=50)), HungUp()]:
        was_done = now.phase is module.Phase.DONE
        in_table = (now.phase, type(event)) in module.TRANSITIONS
        then, steps = now.on(event)
        if was_done or not in_table:
            assert (then, steps) == (now, ())
        now = then
        said += [event, *steps]
    assert [type(step) for step in said].count(Finish) == 1
    assert now.phase is module.Phase.DONE
    assert running(said) == set()


@kinds
def test_every_phase_ends_with_the_hang_up(make: Callable[[], AnyDialogue], module: Any) -> None:
    phases = {phase for phase, kind in module.TRANSITIONS if kind is HungUp}
    assert phases == set(module.Phase) - {module.Phase.DONE}
