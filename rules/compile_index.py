"""Which rules can match at all: a dictionary look-up per fact instead of a question per rule.

How it works. An entry is one equality: this caller, that digit, a member of that list. A rule is
filed under a set of entries when it cannot match unless at least one of them is true of the call:
any single part of an `all` will do for that, and an `any` needs all its parts. Of the parts the one
is taken whose entries are shared with the fewest rules, so that a call finds few candidates. Rules
without such a part are not filed and have to be asked.

A filed rule that is found is still asked as a whole; the index only leaves rules out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    Condition,
    ContactIs,
    DigitsAre,
    NumberIn,
    NumberIs,
    NumberPrefix,
    RouterIs,
)
from rules.evaluation import Evaluation, text_of

Fact = Literal["number", "list", "prefix", "contact", "router", "digits", "attribute"]

Entry = tuple[Fact, str, str]
"""A kind of fact, which of its kind (`caller`, a field's or key's name), and the value."""

Positions = tuple[int, ...]


class Index:
    """Finds the filed rules whose entries are true of a call."""

    __slots__ = (
        "_attributes",
        "_called",
        "_caller",
        "_contact",
        "_digits",
        "_lists",
        "_prefixes",
        "_router",
    )

    def __init__(
        self, filed: Mapping[int, AbstractSet[Entry]], lists: Mapping[str, frozenset[str]]
    ) -> None:
        by_entry: dict[Entry, list[int]] = {}
        for position in sorted(filed):
            for entry in filed[position]:
                by_entry.setdefault(entry, []).append(position)
        tables: dict[tuple[Fact, str], dict[str, Positions]] = {}
        for (fact, which, value), positions in by_entry.items():
            tables.setdefault((fact, which), {})[value] = tuple(positions)

        def of(fact: Fact) -> dict[str, dict[str, Positions]]:
            return {which: table for (each, which), table in tables.items() if each == fact}

        self._router = of("router").get("", {})
        self._caller = of("number").get("caller", {})
        self._called = of("number").get("called", {})
        self._contact = tuple(of("contact").items())
        self._digits = of("digits")
        self._attributes = of("attribute")
        self._lists = tuple(
            (which, lists[name], positions)
            for which, table in of("list").items()
            for name, positions in table.items()
        )
        self._prefixes = tuple(
            (which, length, table)
            for which, values in of("prefix").items()
            for length, table in _by_length(values)
        )

    def candidates(self, e: Evaluation) -> Sequence[int]:
        """Positions of filed rules that may match, in order, each once."""
        found: list[Positions] = []
        self._find_by_number(e, found)
        self._find_by_text(e, found)
        if len(found) > 1:
            return sorted(set().union(*found))
        return found[0] if found else ()

    def _find_by_number(self, e: Evaluation, found: list[Positions]) -> None:
        if e.caller is not None and (positions := self._caller.get(e.caller)):
            found.append(positions)
        if e.called is not None and (positions := self._called.get(e.called)):
            found.append(positions)
        for which, members, positions in self._lists:
            if getattr(e, which) in members:
                found.append(positions)
        for which, length, table in self._prefixes:
            number = getattr(e, which)
            if number is not None and (positions := table.get(number[:length])):
                found.append(positions)

    def _find_by_text(self, e: Evaluation, found: list[Positions]) -> None:
        if positions := self._router.get(e.call.router):
            found.append(positions)
        for field, table in self._contact:
            if positions := table.get(getattr(e.contact, field)):
                found.append(positions)
        if self._digits:
            found.extend(_found_in(self._digits, e.call.digits))
        if self._attributes:
            keys = self._attributes.keys() & e.call.attributes.keys()  # walks the shorter one
            found.extend(
                _found_in(self._attributes, {k: text_of(e.call.attributes[k]) for k in keys})
            )


def choose_entries(conditions: Sequence[Condition]) -> dict[int, AbstractSet[Entry]]:
    """For every rule that can be filed (by position in `conditions`) what it is filed under."""
    uses: Counter[Entry] = Counter()
    for condition in conditions:
        uses.update({entry for part in _parts(condition) for entry in part})
    chosen = ((position, _choose(each, uses)) for position, each in enumerate(conditions))
    return {position: entries for position, entries in chosen if entries is not None}


def _parts(condition: Condition) -> Iterable[AbstractSet[Entry]]:  # noqa: C901  a case each
    """Every set of entries one of which has to be true for the condition to be true."""
    match condition:
        case AllOf():
            for each in condition.conditions:
                yield from _parts(each)
        case AnyOf():
            alternatives = [next(iter(_parts(each)), None) for each in condition.conditions]
            if None not in alternatives:
                yield frozenset().union(*(each for each in alternatives if each is not None))
        case NumberIs():
            yield {("number", condition.of.value, value) for value in condition.values}
        case NumberIn():
            yield {("list", condition.of.value, name) for name in condition.lists}
        case NumberPrefix():
            yield {("prefix", condition.of.value, prefix) for prefix in condition.prefixes}
        case ContactIs():
            yield {("contact", condition.field, value) for value in condition.values}
        case RouterIs():
            yield {("router", "", value) for value in condition.values}
        case DigitsAre() if condition.values is not None:
            yield {("digits", condition.name, value) for value in condition.values}
        case AttributeIs():
            yield {("attribute", condition.key, value) for value in condition.values}
        case _:
            return


def _choose(condition: Condition, uses: Counter[Entry]) -> AbstractSet[Entry] | None:
    return min(
        _parts(condition),
        key=lambda entries: max((uses[entry] for entry in entries), default=0),
        default=None,
    )


def _found_in(
    tables: Mapping[str, Mapping[str, Positions]], facts: Mapping[str, str | None]
) -> Iterable[Positions]:
    for key, value in facts.items():
        if (table := tables.get(key)) and value is not None and (positions := table.get(value)):
            yield positions


def _by_length(values: Mapping[str, Positions]) -> Iterable[tuple[int, dict[str, Positions]]]:
    for length in sorted({len(value) for value in values}):
        yield length, {value: p for value, p in values.items() if len(value) == length}
