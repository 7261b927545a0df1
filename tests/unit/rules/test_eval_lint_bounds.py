"""Lint takes a bounded amount of work, and says nothing that it has not shown within that."""

import difflib
from functools import partial

import pytest

from rules import lint_dialogues
from rules.actions import Ask, End, Enqueue, Menu
from rules.conditions import Condition
from rules.document import Document, Rule
from rules.implication import Names, Prover
from rules.lint import KnownNames, lint
from rules.ruleset import compile_ruleset
from tests.rule_builders import (
    ALWAYS,
    DEFAULT,
    attribute,
    digits,
    digits_absent,
    document,
    every,
    rule,
)


def codes(checked: Document, known: KnownNames | None = None) -> set[str]:
    return {problem.code for problem in lint(compile_ruleset(checked), known)}


def asking(name: str, when: Condition) -> Rule:
    return rule(name, when, Ask(name=name, prompt="?", otherwise=DEFAULT))


def test_the_work_of_proving_is_bounded_for_a_file_and_not_for_each_of_its_questions(
    monkeypatch: pytest.MonkeyPatch,
):
    made: list[Prover] = []

    def prover(names: Names) -> Prover:
        made.append(Prover(names))
        return made[-1]

    def count(questions: int) -> int:
        made.clear()
        choices = {str(n): Menu(name=f"q{n}", prompt="?", choices={"1": End()}, otherwise=End())
                   for n in range(questions)}  # fmt: skip
        menu = Menu(name="top", prompt="?", choices=choices, otherwise=End())
        codes(document(rule("menu", every(*(attribute("a", str(n)) for n in range(9))), menu)))
        return len(made)

    monkeypatch.setattr(lint_dialogues, "Prover", prover)
    assert count(questions=50) == count(questions=1)


@pytest.mark.parametrize(("steps", "found"), [(500_000, {"ask-again"}), (1, set())])
def test_what_could_not_be_shown_for_want_of_steps_is_not_said(
    monkeypatch: pytest.MonkeyPatch, steps: int, found: set[str]
):
    monkeypatch.setattr(lint_dialogues, "Prover", partial(Prover, most_steps=steps))
    reads = rule("read", every(attribute("a", "1"), digits("language", "1")))
    asks = asking("language", every(attribute("a", "2"), attribute("b", "1")))
    checked = document(asks, reads)
    assert codes(checked) == found


def test_a_rule_that_asks_once_is_never_said_to_ask_again_for_want_of_steps(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(lint_dialogues, "Prover", partial(Prover, most_steps=1))
    reads = rule("read", digits("language", "1"))
    once = asking("language", every(attribute("a", "2"), digits_absent("language")))
    assert "ask-again" not in codes(document(once, reads))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pairs of characters that names were compared by."""
    costs: list[int] = []
    really = difflib.get_close_matches

    def counted(word: str, among: dict[str, str], **given: float) -> list[str]:
        costs.append(len(word) * sum(map(len, among)))
        return really(word, among, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    return costs


@pytest.mark.parametrize("kind", ["digits", "queue"])
def test_looking_for_nearest_names_is_bounded_for_the_whole_file(kind: str, compared: list[int]):
    there = [f"{n:03}" + "x" * 47 for n in range(500)]
    if kind == "digits":
        rules = [asking(name, ALWAYS) for name in there]
        rules += [rule(f"read{n}", digits("y" * 50, "1")) for n in range(30)]
        found = codes(document(*rules))
    else:
        queues = KnownNames(queues=frozenset(there))
        rules = [rule(f"r{n}", attribute("a", str(n)), Enqueue(queue="y" * 50)) for n in range(30)]
        found = codes(document(*rules), queues)
    assert {"digits-never-asked", "unknown-queue"} & found
    assert 0 < sum(compared) <= 20_000_000
