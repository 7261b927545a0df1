"""Texts of a fixed form: the pattern, and the words in which an operator is told it.

`(?!\\n)$`: what is searched with `$` alone may end in a line break.
"""

from collections.abc import Mapping
from typing import Final

ID: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(?!\n)$"
PLATFORM_ID: Final = r"^[0-9A-Za-z_-]{1,64}(?!\n)$"
ONE_LINE: Final = r"^[^\x00-\x1f\x7f]+(?!\n)$"
ONE_LINE_OR_NOTHING: Final = r"^[^\x00-\x1f\x7f]*(?!\n)$"
E164: Final = r"^\+[1-9][0-9]{1,14}(?!\n)$"
WRITTEN_NUMBER: Final = r"^\+?[0-9 ().-]+(?!\n)$"
KEYED_NUMBER: Final = r"^[0-9]{1,12}(?!\n)$"
FEATURE_NUMBER: Final = r"^[+*0-9][*#0-9]{1,30}(?!\n)$"
ENDPOINT: Final = r"^[A-Za-z0-9]+/[A-Za-z0-9_.@:-]{1,100}(?!\n)$"
TRUNK_ENDPOINT: Final = r"^[A-Za-z0-9]+/[A-Za-z0-9_.@:/{}+-]{1,100}(?!\n)$"
ENV_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}(?!\n)$"
FILE_NAME: Final = r"^[^\x00]+$"
COUNTRY: Final = r"^[A-Z]{2}(?!\n)$"
LANGUAGE: Final = r"^[a-z]{2}(-[A-Za-z]{2,4})?(?!\n)$"

_WORDS: Final[Mapping[str, str]] = {
    ID: "1 to 64 letters, digits, '_', '.' or '-', the first a letter or digit, like main-line",
    PLATFORM_ID: "an id of the platform: 1 to 64 letters, digits, '_' or '-', like 6001002003004005",
    ONE_LINE: "one line without control characters",
    ONE_LINE_OR_NOTHING: "one line without control characters",
    E164: "a number in full: + and 2 to 15 digits, like +12125550142",
    WRITTEN_NUMBER: "a number: digits, spaces and ( ) . - after an optional +, like +1 212 555 0142",
    KEYED_NUMBER: "1 to 12 digits, like 1001",
    FEATURE_NUMBER: "2 to 31 of the digits, * and #, like *45",
    ENDPOINT: "TECHNOLOGY/NAME, like PJSIP/1001",
    TRUNK_ENDPOINT: "TECHNOLOGY/NAME, like PJSIP/{number}@trunk",
    ENV_NAME: "a variable's name: letters, digits and '_', like MAIN_ROUTER_SECRET",
    FILE_NAME: "a path, like secrets/main",
    COUNTRY: "two capital letters, like US",
    LANGUAGE: "a language, like en or pt-BR",
}


def form_in_words(pattern: str) -> str:
    """What a text of that form is, with an example; a test holds that ours all have words."""
    return _WORDS.get(pattern, pattern)


def form_wanted_by(message: str) -> str | None:
    """The words for the pattern that msgspec's message quotes; None when it quotes none of ours."""
    return next((words for form, words in _WORDS.items() if repr(form) in message), None)
