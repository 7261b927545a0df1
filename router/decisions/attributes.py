"""A call's attributes: whatever a request carries that has no name of its own, flattened.

Nested objects become `target.type`, lists are dropped. At most 64 attributes, names up to 64 and texts
up to 256 characters, four levels deep; what does not fit is left out.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Final, TypeGuard

from rules.facts import Scalar

MOST_ATTRIBUTES: Final = 64
LONGEST_KEY: Final = 64
LONGEST_TEXT: Final = 256
DEEPEST: Final = 4


_late_kinds: Final[set[type]] = set()


class LateAttributes(Mapping[str, Scalar]):
    """Attributes that are flattened when the first of them is asked for: most rules ask for none."""

    __slots__ = ("_flat",)

    def __init_subclass__(cls) -> None:
        _late_kinds.add(cls)

    def __init__(self) -> None:
        self._flat: Mapping[str, Scalar] | None = None

    @abstractmethod
    def flat(self) -> Mapping[str, Scalar]:
        """All of them."""

    @abstractmethod
    def nested(self, *, is_masked: bool) -> object:
        """The same as a JSON object that `flatten` makes them of again; masked as the log masks."""

    def __getitem__(self, key: str) -> Scalar:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, Scalar]:
        if self._flat is None:
            self._flat = self.flat()
        return self._flat


def is_late(attributes: Mapping[str, Scalar]) -> TypeGuard[LateAttributes]:
    """As isinstance, which would ask the abstract base classes, at ten times the cost."""
    return type(attributes) in _late_kinds


def flatten(
    fields: Mapping[str, object],
    prefix: str = "",
    found: dict[str, Scalar] | None = None,
    depth: int = 1,
    known: frozenset[str] = frozenset(),
) -> dict[str, Scalar]:
    """Add the fields to `found`, but for those `known` by other means."""
    # By exact type, the commonest first: the decoder makes no subclasses, and this runs for many calls.
    found = {} if found is None else found
    for name, value in fields.items():
        if name in known:
            continue
        kind = type(value)
        if kind is dict:
            if value and depth < DEEPEST:
                flatten(value, f"{prefix}{name}.", found, depth + 1)  # type: ignore[arg-type]
            continue
        key = prefix + name
        if len(key) > LONGEST_KEY or len(found) >= MOST_ATTRIBUTES:
            continue
        if kind is str:
            if len(value) <= LONGEST_TEXT:  # type: ignore[arg-type]
                found[key] = value  # type: ignore[assignment]
        elif value is None or kind is bool or _is_storable(value):
            found[key] = value  # type: ignore[assignment]
    return found


def _is_storable(value: object) -> TypeGuard[int | float]:
    """Whether a number fits JSON as everybody else reads it."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, float) and math.isfinite(value)
