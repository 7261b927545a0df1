"""Ask whether a call may be recorded: no consent, no recording.

It is one question of two keys; silence and wrong keys are a no.
"""

from ivr.collect import Collect, Question
from ivr.prompts import Fixed, Sound
from ivr.steps import Finish, Outcome

YES, NO = "1", "2"


def consent_dialogue() -> Collect:
    """The question, ready for `Started`."""
    question = Question(
        prompts=(Fixed(Sound.RECORDING_CONSENT),), choices=frozenset({YES, NO}), tries=2
    )
    return Collect(question=question)


def is_consent(answer: Finish) -> bool:
    """Whether the caller agreed."""
    return answer.outcome is Outcome.CHOSEN and answer.value == YES
