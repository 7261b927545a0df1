"""Menus and digit collection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.collect import TRANSITIONS, Collect, Phase, Question
from ivr.prompts import Fixed, Sound, Speech
from ivr.steps import (
    AskStanding,
    CancelTimer,
    Event,
    Finish,
    HungUp,
    Key,
    Outcome,
    Play,
    Played,
    SetTimer,
    Started,
    Steps,
    StopPlay,
    TimedOut,
    Timer,
)
from tests.ivr_walk import EVENTS, running

MENU = Question(prompts=(Speech("sales 1, support 2"),), choices=frozenset({"1", "2", "21", "0"}))
PIN = Question(prompts=(Speech("your number"),), longest=4, shortest=2, tries=2)


def after(question: Question, *events: Event) -> tuple[Collect, Steps]:
    """The dialogue after these events, and what the last of them asked for."""
    now, steps = Collect(question=question), ()
    for event in events:
        now, steps = now.on(event)
    return now, steps


def typed(keys: str) -> list[Event]:
    return [Key(key) for key in keys]


def test_a_menu_starts_by_playing_its_prompt() -> None:
    assert after(MENU, Started())[1] == (Play(play=1, prompts=MENU.prompts, until_key=True),)


def test_a_key_stops_the_prompt_and_an_unambiguous_choice_is_taken_at_once() -> None:
    assert after(MENU, Started(), Key("1"))[1] == (
        StopPlay(),
        Finish(outcome=Outcome.CHOSEN, value="1"),
    )


def test_a_choice_that_may_grow_waits_for_the_next_key() -> None:
    now, steps = after(MENU, Started(), Key("2"))
    assert steps == (StopPlay(), SetTimer(timer=Timer.NEXT_KEY, after_s=MENU.next_key_s))
    assert now.on(Key("1"))[1] == (
        CancelTimer(Timer.NEXT_KEY),
        Finish(outcome=Outcome.CHOSEN, value="21"),
    )
    assert now.on(TimedOut(Timer.NEXT_KEY))[1] == (Finish(outcome=Outcome.CHOSEN, value="2"),)
    assert now.on(Key("#"))[1][-1] == Finish(outcome=Outcome.CHOSEN, value="2")


def test_a_wrong_key_costs_a_try_and_the_prompt_is_played_again_after_a_word() -> None:
    now, steps = after(MENU, Started(), Key("9"))
    assert steps == (
        StopPlay(),
        Play(play=2, prompts=(*MENU.invalid, *MENU.prompts), until_key=True),
    )
    assert now.lost == 1


def test_silence_costs_a_try_and_the_last_try_ends_the_question() -> None:
    now, _ = after(PIN, Started(), Played(1))
    now, steps = now.on(TimedOut(Timer.FIRST_KEY))
    assert steps == (Play(play=2, prompts=(Fixed(Sound.NO_INPUT), *PIN.prompts), until_key=True),)
    now, _ = now.on(Played(2))
    assert now.on(TimedOut(Timer.FIRST_KEY))[1] == (Finish(outcome=Outcome.NO_INPUT),)


def test_digits_end_at_their_number_at_the_terminator_and_at_a_pause() -> None:
    assert after(PIN, Started(), *typed("1234"))[1][-1].value == "1234"
    assert after(PIN, Started(), *typed("12#"))[1][-1].value == "12"
    assert after(PIN, Started(), *typed("123"), TimedOut(Timer.NEXT_KEY))[1][-1].value == "123"


def test_too_few_digits_are_invalid() -> None:
    now, steps = after(PIN, Started(), *typed("1#"))
    assert now.lost == 1
    assert isinstance(steps[-1], Play)


def test_a_terminator_alone_is_no_input() -> None:
    _, steps = after(PIN, Started(), Key("#"))
    assert steps[-1] == Play(play=2, prompts=(*PIN.no_input, *PIN.prompts), until_key=True)


def test_keys_typed_ahead_answer_without_a_prompt_and_the_rest_is_handed_on() -> None:
    assert after(MENU, Started("137"))[1] == (
        Finish(outcome=Outcome.CHOSEN, value="1", typed="37"),
    )


def test_keys_typed_ahead_are_bounded() -> None:
    _, steps = after(MENU, Started("1" * 10_000))
    assert len(steps[-1].typed) < 40


def test_a_wrong_key_typed_ahead_throws_the_rest_away() -> None:
    now, steps = after(MENU, Started("911"))
    assert now.phase is Phase.PLAYING
    assert steps == (Play(play=1, prompts=(*MENU.invalid, *MENU.prompts), until_key=True),)


def test_the_repeat_key_replays_without_costing_a_try_but_not_for_ever() -> None:
    question = Question(prompts=MENU.prompts, choices=MENU.choices, repeat_key="*", tries=2)
    now, _ = after(question, Started())
    for _ in range(5):
        now, steps = now.on(Key("*"))
        assert steps[-1].prompts == question.prompts
        assert now.lost == 0
    assert now.on(Key("*"))[0].lost == 1


def test_the_back_key_ends_the_question_with_back() -> None:
    question = Question(prompts=MENU.prompts, choices=MENU.choices, back_key="#")
    assert after(question, Started(), Key("#"))[1][-1] == Finish(outcome=Outcome.BACK)


def test_a_choice_of_the_same_key_wins_over_repeat_and_back() -> None:
    question = Question(prompts=(), choices=frozenset("*#"), repeat_key="*", back_key="#")
    assert after(question, Started(), Key("*"))[1][-1].value == "*"
    assert after(question, Started(), Key("#"))[1][-1].value == "#"


def test_the_late_end_of_an_earlier_prompt_means_nothing() -> None:
    now, _ = after(MENU, Started(), Key("9"))
    assert now.on(Played(1)) == (now, ())


PHASES = {
    Phase.NEW: Collect(question=MENU),
    Phase.PLAYING: after(MENU, Started())[0],
    Phase.WAITING: after(MENU, Started(), Played(1))[0],
    Phase.BETWEEN: after(MENU, Started(), Key("2"))[0],
    Phase.DONE: after(MENU, Started(), Key("1"))[0],
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_every_cell_of_the_table_does_what_the_table_says(phase: Phase, event: Event) -> None:
    now = PHASES[phase]
    then, steps = now.on(event)
    if phase is Phase.DONE:
        assert (then, steps) == (now, ())
    elif isinstance(event, HungUp):
        assert steps[-1] == Finish(outcome=Outcome.HUNG_UP)
    elif (phase, type(event)) not in TRANSITIONS:
        assert (then, steps) == (now, ())


@given(
    events=st.lists(st.sampled_from(EVENTS), max_size=60),
    question=st.sampled_from([MENU, PIN]),
    ahead=st.text("0123456789*#", max_size=8),
)
def test_any_walk_ends_at_most_once_and_leaves_nothing_running(
    events: list[Event], question: Question, ahead: str
) -> None:
    now, steps = Collect(question=question).on(Started(ahead))
    said = list(steps)
    for event in [*events, HungUp()]:
        now, steps = now.on(event)
        said += [event, *steps]
    assert [type(step) for step in said].count(Finish) == 1
    assert now.lost <= question.tries
    assert AskStanding() not in said
    plays = [step.play for step in said if isinstance(step, Play)]
    assert plays == sorted(set(plays))
    assert running(said) == set()
