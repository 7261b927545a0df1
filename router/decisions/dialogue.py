"""Questions to the caller over several requests: what to do when a rule says `ask` or `menu`. Pure.

The platform asks again after each question. Whether it repeats itself (a retry: the same answer, no
new round) or the caller stayed silent (a new round) is told by an empty entry for the question's name
where it sends one, and otherwise by time: a prompt and its time-out cannot be over sooner than the
time-out alone.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from router.decisions.outcome import Level, Why
from rules.actions import Action, Ask, Menu
from rules.facts import CallFacts

MOST_ROUNDS: Final = 10
"""Questions to one caller in one call, whatever the rules say; a setting's default."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer given earlier in this call. `at_s` is seconds since the epoch.

    Where the store remembered it as it reserved an agent (of `queue`), the body is empty: it follows.
    """

    body: bytes
    level: Level
    at_s: float
    rule: str | None = None
    digest: str | None = None
    agent: str | None = None
    queue: str | None = None
    asked: str | None = None
    again_after_s: float = 0.0


class MadeBy(msgspec.Struct, frozen=True, gc=False):
    """What an answer was made by: a rule, of this version of the rules."""

    rule: str | None
    digest: str


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call's earlier requests: answers by fingerprint, rounds and digits by name."""

    answers: Mapping[str, Remembered] = {}
    rounds: Mapping[str, int] = {}
    digits: Mapping[str, str] = {}

    def merged(self, other: "Memory") -> "Memory":
        """Both memories of one call; the later answer and the higher count win."""
        if not self.answers:
            return other
        if not other.answers:
            return self
        answers = dict(self.answers)
        for fingerprint, answer in other.answers.items():
            mine = answers.get(fingerprint)
            if mine is None or mine.at_s < answer.at_s:
                answers[fingerprint] = answer
        rounds = dict(self.rounds)
        for name, count in other.rounds.items():
            rounds[name] = max(count, rounds.get(name, 0))
        return Memory(answers=answers, rounds=rounds, digits={**self.digits, **other.digits})


NOTHING_KNOWN: Final = Memory()


def fingerprint(digits: Mapping[str, str], silent: frozenset[str]) -> str:
    """Stands for what the caller keyed in and where they were silent; empty for nothing at all."""
    if not digits and not silent:
        return ""
    keyed = [f"{name}={digits[name]}" for name in sorted(digits)]
    return "&".join([*keyed, *(f"{name}!" for name in sorted(silent))])


def repeated(
    memory: Memory, fingerprint: str, silent: frozenset[str], now_s: float
) -> Remembered | None:
    """The earlier answer that this request has to get again; None when it is a new round."""
    earlier = memory.answers.get(fingerprint)
    if earlier is None or earlier.asked is None:
        return earlier
    if earlier.asked in silent:
        return None
    return earlier if now_s - earlier.at_s < earlier.again_after_s else None


def with_earlier_digits(call: CallFacts, silent: frozenset[str], memory: Memory) -> CallFacts:
    """The call with what was keyed in before, for platforms that send only the latest answer."""
    earlier = {
        name: keys
        for name, keys in memory.digits.items()
        if name not in call.digits and name not in silent
    }
    if not earlier:
        return call
    return msgspec.structs.replace(call, digits={**earlier, **call.digits})


def next_step(
    action: Ask | Menu, digits: Mapping[str, str], rounds: Mapping[str, int], most_rounds: int
) -> tuple[Action, Why]:
    """What an `ask` or `menu` comes to: itself (put the question), a choice, or its `otherwise`."""
    if isinstance(action, Menu):
        chosen = action.choices.get(digits.get(action.name, ""))
        if chosen is not None:
            return chosen, Why.CHOSEN
    if sum(rounds.values()) >= most_rounds:
        return action.otherwise, Why.ROUNDS_USED_UP
    if rounds.get(action.name, 0) >= action.tries:
        return action.otherwise, Why.NO_INPUT
    return action, Why.ASKED


def most_digits(menu: Menu) -> int:
    """How many keys the longest choice of a menu has."""
    return max(map(len, menu.choices), default=1)
