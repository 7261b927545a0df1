"""A call read again from the log, where what the caller is known by is masked.

What is left of a fact often suffices: a number of another length is not in the list, a masked entry
was no single key. Where it does not, a condition can have several values, and the reading says which;
nothing is guessed.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

import msgspec

from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    Condition,
    ContactIs,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberIn,
    NumberIs,
    NumberPrefix,
    NumberType,
)
from rules.document import Document
from rules.numbers import countries_sharing
from rules.plain_reading import Outcome, PlainReading
from rules.problems import Mark
from rules.wording import HIDDEN, LONGEST_OPEN_DIGITS, Leaf, mask

_NOWHERE = Mark("", 0, 0)
_OPEN = frozenset({Outcome.TRUE, Outcome.FALSE})
_WIDE_OPEN = frozenset(Outcome)
_TRUE = frozenset({Outcome.TRUE})
_FALSE = frozenset({Outcome.FALSE})
_AboutNumber = NumberIs | NumberIn | NumberPrefix | NumberCountry | NumberType | NumberAnonymous


Learned = Mapping[object, frozenset[Outcome]]
"""`key_of` a condition -> the values it can have had, as far as that is known otherwise."""


def key_of(leaf: Leaf, document: Document) -> object:
    """The same for conditions that ask the same, wherever they stand."""
    bare = msgspec.structs.replace(leaf, mark=_NOWHERE)
    lists = leaf.lists if isinstance(leaf, NumberIn) else ()
    return bare, document.country, tuple(document.lists[name].numbers for name in lists)


class MaskedReading(PlainReading):
    """Like PlainReading, of facts that `router.decisions.log` has masked."""

    is_masked = True
    learned: Learned = MappingProxyType({})

    def values_of(self, condition: Condition, rule: str) -> frozenset[Outcome]:
        if not isinstance(condition, Not | AllOf | AnyOf):
            possible = self._possible(condition)
            if possible is not None:
                return possible
        return super().values_of(condition, rule)

    def look(self, leaf: Leaf, rule: str) -> tuple[Outcome, str | None]:
        possible = self._possible(leaf)
        if possible is None:
            return super().look(leaf, rule)
        found = f"{self._shown(leaf)} (masked)"
        return (next(iter(possible)) if len(possible) == 1 else Outcome.UNKNOWN), found

    def open_leaves(self, condition: Condition, rule: str) -> Iterable[Leaf]:
        """The conditions that have several values left: masked, or live facts that were not logged."""
        match condition:
            case Not():
                yield from self.open_leaves(condition.condition, rule)
            case AllOf() | AnyOf():
                for each in condition.conditions:
                    yield from self.open_leaves(each, rule)
            case _ if len(self.values_of(condition, rule)) > 1:
                yield condition
            case _:
                return

    def hides(self, leaf: Leaf) -> bool:
        """Whether the condition asks for something masked."""
        return self._by_mask(leaf) is not None

    def _possible(self, leaf: Leaf) -> frozenset[Outcome] | None:
        """Every value the condition can have; None: it asks for nothing that is masked."""
        possible = self._by_mask(leaf)
        if possible is None or not self.learned:
            return possible
        learned = self.learned.get(key_of(leaf, self.document), possible)
        return possible & learned or possible

    def _by_mask(self, leaf: Leaf) -> frozenset[Outcome] | None:
        shown = self._shown(leaf)
        if shown is None or HIDDEN not in shown:
            return None
        match leaf:
            case (
                NumberIs()
                | NumberIn()
                | NumberPrefix()
                | NumberCountry()
                | NumberType()
                | NumberAnonymous()
            ):
                return self._possible_of_number(leaf, shown)
            case DigitsAre():
                return _possible_of_digits(leaf)
            case _:
                return _OPEN

    def _shown(self, leaf: Leaf) -> str | None:
        """What the log shows of the fact a condition asks for, if it can be masked."""
        match leaf:
            case (
                NumberIs()
                | NumberIn()
                | NumberPrefix()
                | NumberCountry()
                | NumberType()
                | NumberAnonymous()
            ):
                shown: str | None = getattr(self.call, leaf.of.value)
                return shown
            case DigitsAre():
                return self.call.digits.get(leaf.name)
            case AttributeIs():
                value = self.call.attributes.get(leaf.key)
                return value if isinstance(value, str) else None
            case ContactIs():
                contact = self.call.contact
                return None if contact is None else getattr(contact, leaf.field)
            case _:
                return None

    def _possible_of_number(  # noqa: PLR0911  a case each
        self, leaf: _AboutNumber, shown: str
    ) -> frozenset[Outcome]:
        head = shown.partition(HIDDEN)[0]
        match leaf:
            case NumberAnonymous():  # words like `anonymous` are never masked
                return _FALSE if leaf.anonymous else _TRUE
            case NumberType():
                return _WIDE_OPEN
            case NumberCountry():
                return _possible_of_country(countries_sharing(head), leaf.countries)
            case _ if not head:  # not spelled in E.164: it could be any number
                return _OPEN
            case NumberIs():
                return _OPEN if shown in _masks_of(leaf.values) else _FALSE
            case NumberIn():
                lists = [self.document.lists[name].numbers for name in leaf.lists]
                return _OPEN if any(shown in _masks_of(numbers) for numbers in lists) else _FALSE
            case NumberPrefix():
                if any(head.startswith(prefix) for prefix in leaf.prefixes):
                    return _TRUE
                is_open = any(prefix.startswith(head) for prefix in leaf.prefixes)
                return _OPEN if is_open else _FALSE


@lru_cache(16)
def _masks_of(numbers: frozenset[str]) -> frozenset[str]:
    return frozenset(map(mask, numbers))


def _possible_of_country(sharing: frozenset[str], wanted: frozenset[str]) -> frozenset[Outcome]:
    """Of a country code that several countries share, a number may also belong to none."""
    if not sharing:
        return _WIDE_OPEN
    if sharing <= wanted:
        return _TRUE if len(sharing) == 1 else frozenset({Outcome.TRUE, Outcome.UNKNOWN})
    if sharing.isdisjoint(wanted):
        return _FALSE if len(sharing) == 1 else frozenset({Outcome.FALSE, Outcome.UNKNOWN})
    return _WIDE_OPEN


def _possible_of_digits(leaf: DigitsAre) -> frozenset[Outcome] | None:
    if leaf.absent or leaf.any:
        return None
    lengths = leaf.lengths if leaf.lengths is not None else map(len, leaf.values or ())
    return _OPEN if any(length > LONGEST_OPEN_DIGITS for length in lengths) else _FALSE
