"""What is odd about the questions of a rules file: answers that nobody reads, or that cannot be given."""

from collections.abc import Iterator, Mapping

from rules.actions import Action, Ask, Callback, Menu, ReserveAgent
from rules.conditions import DigitsAre
from rules.document import Document, Rule
from rules.implication import Names, Prover
from rules.problems import NearestNames, Problem
from rules.wording import leaves_of


def odd_dialogues(document: Document, names: Names) -> Iterator[Problem]:
    """`ask-unread`, `ask-again`, `choices-lost`, `choices-loop`, `digits-never-asked`, `digits-too-many`."""
    readers: dict[str, int] = {}
    for position, rule in enumerate(document.rules):
        for leaf in leaves_of(rule.when):
            if isinstance(leaf, DigitsAre) and not leaf.absent:
                readers.setdefault(leaf.name, position)
    prover = Prover(names)
    asked: dict[str, int] = {}
    for position, rule in enumerate(document.rules):
        for question, above in _questions(rule.then, ()):
            asked[question.name] = max(asked.get(question.name, 0), _most_digits(question))
            if question.name in above:
                yield _loop(rule, question.name)
            if isinstance(question, Ask):
                first_reader = readers.get(question.name)
                yield from _odd_asking(rule, position, question, first_reader, prover)
            elif _needs_absence(rule, question.name, prover):
                yield _lost(rule, question.name)
    yield from _never_read(document, asked)


def _odd_asking(
    rule: Rule, position: int, question: Ask, first_reader: int | None, prover: Prover
) -> Iterator[Problem]:
    if first_reader is None:
        yield _unread(rule, question.name)
    elif first_reader < position:
        return
    if not _needs_absence(rule, question.name, prover) and not prover.is_used_up:
        yield _again(rule, question.name)


def _needs_absence(rule: Rule, question: str, prover: Prover) -> bool:
    """Whether the rule is known to hold only as long as the question has no answer."""
    is_absent = DigitsAre(name=question, absent=True, mark=rule.mark)
    return prover.is_implied(is_absent, rule.when)


def _most_digits(question: Ask | Menu) -> int:
    return question.digits if isinstance(question, Ask) else max(map(len, question.choices))


def _never_read(document: Document, asked: Mapping[str, int]) -> Iterator[Problem]:
    """Digits that rules read and nobody asks for; `asked` is how many at most, by name."""
    nearest = NearestNames()
    for rule in document.rules:
        for leaf in leaves_of(rule.when):
            if not isinstance(leaf, DigitsAre):
                continue
            if leaf.name not in asked:
                yield Problem(
                    mark=leaf.mark,
                    code="digits-never-asked",
                    message=f"rule {rule.name!r} reads digits that no `ask` or `menu` asks for",
                    found=leaf.name,
                    nearest=nearest.to(leaf.name, asked),
                )
            elif (read := _digits_read(leaf)) > (most := asked[leaf.name]):
                yield Problem(
                    mark=leaf.mark,
                    code="digits-too-many",
                    message=f"rule {rule.name!r} reads {read} digits of {leaf.name!r}, and {most} "
                    "are asked for at most",
                    expected=f"an `ask` with `digits: {read}`",
                )


def _digits_read(leaf: DigitsAre) -> int:
    """How many digits a condition wants at most; 0: any number of them, or none."""
    return max(leaf.lengths or map(len, leaf.values or ("",)))


def _unread(rule: Rule, name: str) -> Problem:
    return Problem(
        mark=rule.mark,
        code="ask-unread",
        message=f"no rule reads the answer {name!r} that rule {rule.name!r} asks for",
    )


def _lost(rule: Rule, name: str) -> Problem:
    return Problem(
        mark=rule.mark,
        code="choices-lost",
        message=f"rule {rule.name!r} holds only while {name!r} has no answer: a phone system that brings the key "
        "in a second request gets none of the choices; a menu needs no such condition",
    )


def _again(rule: Rule, name: str) -> Problem:
    return Problem(
        mark=rule.mark,
        code="ask-again",
        message=f"rule {rule.name!r} asks for {name!r} again when the caller has answered: "
        "no rule before it reads the answer",
        expected=f"`digits: {{{name}: absent}}` in its condition",
    )


def _loop(rule: Rule, name: str) -> Problem:
    return Problem(
        mark=rule.mark,
        code="choices-loop",
        message=f"a choice in rule {rule.name!r} leads back to a question of the same name, {name!r}",
    )


def _questions(
    action: Action, above: tuple[str, ...]
) -> Iterator[tuple[Ask | Menu, tuple[str, ...]]]:
    """Every question in an action with the names of those it comes after."""
    match action:
        case Ask():
            yield action, above
            yield from _questions(action.otherwise, (*above, action.name))
        case Menu():
            yield action, above
            for choice in (*action.choices.values(), action.otherwise):
                yield from _questions(choice, (*above, action.name))
        case ReserveAgent() | Callback():
            yield from _questions(action.otherwise, above)
        case _:
            return
