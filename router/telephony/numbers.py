"""Which numbers may be dialled: a guard against fraud, asked before every call out."""

from collections.abc import Collection
from typing import Final

from rules.numbers import NumberKind, country_of, normalise, type_of

NEVER_DIALLED: Final = frozenset({NumberKind.PREMIUM_RATE.value, NumberKind.SHARED_COST.value})


def own_number(written: str) -> str:
    """A call router's number, however the site spells it, as the number of a call is spelled."""
    return normalise(written, None) or written


class Dialable:
    """Numbers of the countries that are allowed, but none that cost extra."""

    def __init__(self, country: str | None, allowed: Collection[str] = ()) -> None:
        """`country` is where numbers without `+` belong; without `allowed` only it may be called."""
        self._country = country
        self._allowed = frozenset(allowed) or frozenset({country} if country else ())

    def e164(self, text: str | None) -> str | None:
        """E.164 of a number in any spelling; None: no number."""
        return normalise(text, self._country)

    def check(self, text: str | None) -> str | None:
        """The number as it may be dialled; None: it may not."""
        number = self.e164(text)
        if number is None or country_of(number) not in self._allowed:
            return None
        return None if type_of(number) in NEVER_DIALLED else number
