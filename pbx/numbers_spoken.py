"""Numbers as the words that Asterisk's own English sounds are recordings of."""

from typing import Final

LARGEST: Final = 999_999_999
_SCALES: Final = ((1_000_000, "million"), (1000, "thousand"))
_KEYS: Final = {"*": "star", "#": "pound"}


def quantity(value: int) -> tuple[str, ...] | None:
    """The sounds of a whole number, below `digits/`; None where there are none (negative, too large)."""
    if not 0 <= value <= LARGEST:
        return None
    said: list[str] = []
    rest = value
    for size, name in _SCALES:
        if rest >= size:
            said += [*_below_thousand(rest // size), name]
            rest %= size
    if rest or not said:
        said += _below_thousand(rest)
    return tuple(said)


def key(character: str) -> str | None:
    """The sound of one key, below `digits/`; None where there is none."""
    if len(character) == 1 and character in "0123456789":
        return character
    return _KEYS.get(character)


def _below_thousand(value: int) -> list[str]:
    hundreds, rest = divmod(value, 100)
    said = [str(hundreds), "hundred"] if hundreds else []
    if rest > 20 and rest % 10:
        return [*said, str(rest - rest % 10), str(rest % 10)]
    return [*said, str(rest)] if rest or not said else said
