"""Which phone numbers an answer shows whole."""

from typing import Any, Final

from router.http.v1.endpoints import Asked
from router.tokens import Role
from rules.wording import mask

_SEE_NUMBERS: Final = frozenset({Role.ADMIN, Role.PLATFORM_ADMIN})


def shows_numbers(asked: Asked[Any]) -> bool:
    """Admins see whole numbers; others only where the settings say so."""
    return asked.service.telephony.shows_numbers or asked.who.role in _SEE_NUMBERS


def number_shown(asked: Asked[Any], number: str | None) -> str | None:
    """The number, or most of it hidden."""
    return number if number is None or shows_numbers(asked) else mask(number)
