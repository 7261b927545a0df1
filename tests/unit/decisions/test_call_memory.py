"""What one process remembers of calls by itself."""

from router.decisions.outcome import Level, Outcome
from router.store.memory import CallMemory
from tests.unit.decisions.decide_fakes import NOW_S, asked

QUESTION = Outcome(body=b"{}", level=Level.FULL, rule="ask", asked="pin", round=1)
ANSWER = Outcome(body=b"{}", level=Level.FULL, rule="all", digest="d1")


def test_the_oldest_calls_are_forgotten_and_those_that_come_again_are_kept() -> None:
    memory = CallMemory(most=4)
    for number in range(4):
        memory.keep(asked(call_id=f"c{number}"), ANSWER)
    memory.keep(asked(call_id="c1"), ANSWER)
    memory.keep(asked(call_id="c4"), ANSWER)
    assert len(memory) <= 4
    assert memory.of(asked(call_id="c1")).answers
    assert not memory.of(asked(call_id="c0")).answers


def test_what_a_call_was_asked_is_not_forgotten_as_it_is_asked_more() -> None:
    """Also where room is made in that very moment."""
    for others in range(6):
        memory = CallMemory(most=4)
        memory.keep(asked(call_id="c"), QUESTION)
        for number in range(others):
            memory.keep(asked(call_id=f"c{number}"), ANSWER)
        known = memory.of(asked(call_id="c"))
        memory.keep(asked({"pin": "1"}, call_id="c", now_s=NOW_S + 1), ANSWER)
        after = memory.of(asked(call_id="c"))
        assert known.answers.keys() | {"pin=1"} == after.answers.keys()
        assert after.rounds == known.rounds
        if others < 4:
            assert after.rounds == {"pin": 1}


def test_a_call_of_which_enough_time_has_passed_is_not_known_any_more() -> None:
    memory = CallMemory()
    memory.keep(asked(), ANSWER)
    assert memory.of(asked(now_s=NOW_S + 899)).answers
    assert not memory.of(asked(now_s=NOW_S + 901)).answers
