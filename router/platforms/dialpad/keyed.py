"""What the caller keyed in, out of whatever shape the platform sends it in.

Nobody has seen the platform's container for earlier answers, so names and shapes stand in tables
here and the reading is lenient: a map by name, a list of objects, or one flat pair; values as text,
number, list or object. Empty means that the caller was asked and said nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

CONTAINERS: Final = ("hints", "hint", "hint_values", "answers", "digits", "inputs", "responses")
"""Fields of a request that may hold the answers; all that are there are read, earlier ones win."""

NAME_FIELDS: Final = ("hint_name", "name", "key")
VALUE_FIELDS: Final = ("value", "digits", "answer", "input", "hint_value")

MOST_NAMES: Final = 32
LONGEST_NAME: Final = 100  # as in a rules file
LONGEST_DIGITS: Final = 64

_KEYS: Final = frozenset("0123456789*#")
_FIELDS: Final = frozenset((*CONTAINERS, "hint_name"))
_LARGEST: Final = 10**LONGEST_DIGITS
_EXACT: Final = 2**53
_BETWEEN: Final = str.maketrans("", "", " -.,")


class Keyed(NamedTuple):
    """Digits by name, and the names that were asked for without any input."""

    digits: Mapping[str, str]
    silent: frozenset[str]


NOTHING: Final = Keyed({}, frozenset())


def read_keyed(body: Mapping[str, object]) -> Keyed:
    """Everything keyed in that a request carries; at most 32 names, the rest is dropped."""
    if _FIELDS.isdisjoint(body):
        return NOTHING
    digits: dict[str, str] = {}
    silent: set[str] = set()
    for name, value in _pairs(body):
        if len(digits) + len(silent) >= MOST_NAMES:
            break
        if not name or len(name) > LONGEST_NAME or name in digits or name in silent:
            continue
        keys = _digits_of(value)
        if keys:
            digits[name] = keys
        else:
            silent.add(name)
    return Keyed(digits, frozenset(silent)) if digits or silent else NOTHING


def _pairs(body: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for container in CONTAINERS:
        if container not in body:
            continue
        content = body[container]
        if isinstance(content, dict):
            named = _named(content)
            yield from [named] if named else content.items()
        elif isinstance(content, list):
            for item in content:
                if isinstance(item, dict) and (named := _named(item)):
                    yield named
    flat = body.get("hint_name")
    if isinstance(flat, str):
        values = (body[field] for field in VALUE_FIELDS if field in body)
        yield flat, next((v for v in values if not isinstance(v, dict)), None)


def _named(item: dict[str, object]) -> tuple[str, object] | None:
    """The pair that an object like {"hint_name": "pin", "value": "4821"} stands for."""
    for name_field in NAME_FIELDS:
        name = item.get(name_field)
        if isinstance(name, str):
            for value_field in VALUE_FIELDS:
                if value_field in item:
                    return name, item[value_field]
    return None


def _digits_of(value: object) -> str:
    """The keys in a value; empty for silence and for what are no keys (`timeout`, `none`)."""
    match value:
        case str():
            text = value.translate(_BETWEEN)
        case bool():
            text = ""
        case int():
            text = str(value) if 0 <= value < _LARGEST else ""
        case float():
            text = str(int(value)) if value.is_integer() and 0 <= value < _EXACT else ""
        case list():
            text = _digits_of_list(value)
        case dict():
            inner = next((value[field] for field in VALUE_FIELDS if field in value), None)
            text = "" if isinstance(inner, dict | list) else _digits_of(inner)
        case _:
            text = ""
    return text if len(text) <= LONGEST_DIGITS and _KEYS.issuperset(text) else ""


def _digits_of_list(values: list[object]) -> str:
    """Single keys one after the other, or several answers, of which the last counts."""
    keys = [_digits_of(item) for item in values[:LONGEST_DIGITS] if not isinstance(item, list)]
    if keys and all(len(key) == 1 for key in keys):
        return "".join(keys)
    return next((key for key in reversed(keys) if key), "")
