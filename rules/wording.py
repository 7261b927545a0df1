"""Conditions in words for people, with what callers are known by masked."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    CalendarIs,
    Condition,
    ContactIs,
    DateIn,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberIn,
    NumberIs,
    NumberPrefix,
    NumberType,
    Percent,
    QueueCompares,
    RouterIs,
    TimeIn,
    WeekdayIn,
)

Leaf = (
    NumberIs
    | NumberIn
    | NumberPrefix
    | NumberCountry
    | NumberType
    | NumberAnonymous
    | ContactIs
    | RouterIs
    | CalendarIs
    | TimeIn
    | WeekdayIn
    | DateIn
    | DigitsAre
    | QueueCompares
    | AttributeIs
    | Percent
)
"""A condition that asks for one fact."""


def leaves_of(condition: Condition) -> Iterator[Leaf]:
    """Every condition inside that asks for one fact."""
    match condition:
        case Not():
            yield from leaves_of(condition.condition)
        case AllOf() | AnyOf():
            for each in condition.conditions:
                yield from leaves_of(each)
        case _:
            yield condition


_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOST_LISTED = 5


HIDDEN = "…"
"""Stands for what is masked."""

LONGEST_OPEN_DIGITS = 2
"""A choice of one or two keys is no secret; anything longer may be an account or a PIN."""


LONGEST_ID = 64
_JOINTS = str.maketrans("", "", "-_")


def mask(text: str) -> str:
    """Hide most of a number, `+1212…42`, and all of anything else."""
    if text[:1] == "+" and len(text) > 9:
        return f"{text[:-7]}{HIDDEN}{text[-2:]}"
    return HIDDEN


@functools.lru_cache(maxsize=2048)
def mask_if_telling(text: str) -> str:
    """Mask what looks like a number or an address; leave words and flags as they are."""
    is_telling = "@" in text or (len(text) > 4 and sum(map(str.isdigit, text)) > 4)
    return mask(text) if is_telling else text


def mask_unless_id(text: str) -> str:
    """Leave what looks like an id of a platform; mask what could be a number or an address."""
    if len(text) > LONGEST_ID or not text.isascii():
        return mask(text)
    return text if text.isalnum() or text.translate(_JOINTS).isalnum() else mask(text)


def mask_digits(digits: str) -> str:
    return digits if len(digits) <= LONGEST_OPEN_DIGITS else HIDDEN


def as_it_is(text: str) -> str:
    return text


Masking = Callable[[str], str]


def masking_of(leaf: Leaf, *, unmasked: bool) -> Masking:
    """How to show the values of the fact that a condition asks for."""
    if unmasked:
        return as_it_is
    match leaf:
        case NumberIs() | NumberIn():
            return mask
        case ContactIs():
            return as_it_is if leaf.field == "type" else mask
        case DigitsAre():
            return mask_digits
        case NumberPrefix() | AttributeIs():
            return mask_if_telling
        case _:
            return as_it_is


def phrase(condition: Condition, *, unmasked: bool = False) -> str:
    """A whole condition in words, cut where it is long."""
    match condition:
        case Not():
            return f"not ({phrase(condition.condition, unmasked=unmasked)})"
        case AllOf() | AnyOf():
            if not condition.conditions:
                return "always" if isinstance(condition, AllOf) else "never"
            word = " and " if isinstance(condition, AllOf) else " or "
            return _listed(
                (phrase(c, unmasked=unmasked) for c in condition.conditions), separator=word
            )
        case _:
            return f"{subject_of(condition)} {wanted_of(condition, unmasked=unmasked)}"


def subject_of(leaf: Leaf) -> str:  # noqa: PLR0911  a case each
    """Which fact a condition asks for, as the rules file spells it."""
    match leaf:
        case ContactIs():
            return f"contact.{leaf.field}"
        case CalendarIs():
            return f"calendar.{leaf.calendar}"
        case DigitsAre():
            return f"digits.{leaf.name}"
        case QueueCompares():
            return f"queue.{leaf.queue}.{leaf.fact.value}"
        case AttributeIs():
            return f"attributes.{leaf.key}"
        case RouterIs() | TimeIn() | WeekdayIn() | DateIn() | Percent():
            return str(leaf.__struct_config__.tag)
        case _:
            return leaf.of.value


def wanted_of(leaf: Leaf, *, unmasked: bool = False) -> str:  # noqa: C901, PLR0911, PLR0912  a case each
    """What a condition wants its fact to be."""
    show = masking_of(leaf, unmasked=unmasked)
    match leaf:
        case NumberIs() | ContactIs() | RouterIs() | AttributeIs():
            return _listed(map(show, sorted(leaf.values)))
        case NumberIn():
            return "in " + _listed(leaf.lists)
        case NumberPrefix():
            return "prefix " + _listed(map(show, leaf.prefixes))
        case NumberCountry():
            return "country " + _listed(sorted(leaf.countries))
        case NumberType():
            return "type " + _listed(sorted(leaf.types))
        case NumberAnonymous():
            return "anonymous" if leaf.anonymous else "not anonymous"
        case CalendarIs():
            return _listed(sorted(leaf.states))
        case TimeIn():
            return _listed(f"{clock(start)}-{clock(end)}" for start, end in leaf.spans)
        case WeekdayIn():
            return _listed(weekday(day) for day in sorted(leaf.days))
        case DateIn():
            return _listed(f"{first}..{last}" for first, last in leaf.spans)
        case DigitsAre():
            return _wanted_digits(leaf, show)
        case QueueCompares():
            return _listed(f"{each.operator}{each.value:g}" for each in leaf.comparisons)
        case Percent():
            return f"{leaf.share:g}"
        case _:
            assert_never(leaf)


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def weekday(day: int) -> str:
    """The name of a weekday, 0 is Monday."""
    return _WEEKDAYS[day]


def _wanted_digits(leaf: DigitsAre, show: Masking) -> str:
    if leaf.absent:
        return "absent"
    if leaf.any:
        return "any"
    if leaf.lengths is not None:
        return "length " + _listed(str(length) for length in sorted(leaf.lengths))
    return _listed(map(show, sorted(leaf.values or ())))


def _listed(texts: Iterable[str], separator: str = " or ") -> str:
    every = list(texts)
    if len(every) > _MOST_LISTED:
        every[_MOST_LISTED:] = [f"… ({len(every) - _MOST_LISTED} more)"]
    return separator.join(every)
