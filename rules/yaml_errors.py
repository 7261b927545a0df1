"""What is wrong with text that is no YAML: libyaml's finding, with where it began and what may help.

libyaml tells what it missed at the place where it gave up. Somebody who writes rules has rather opened
something further up, or begun a text with a sign that means something in YAML.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
import yaml

UNUSUAL_SPACE: Final = re.compile("[\u00a0\u1680\u2000-\u200f\u202f\u205f\u2060\u3000]")
"""Looks like a space or like nothing, and is to YAML a letter: what is copied from a page brings it along."""

_QUOTED: Final = re.compile("[\"']")
_QUOTES: Final = "while scanning a quoted scalar"
_BEGINNINGS: Final = (
    "while scanning a block scalar",
    "while scanning an alias",
    "while scanning an anchor",
    "while scanning a tag",
)
_BEGINS_NOTHING: Final = "found character that cannot start any token"
_HINTS: Final[Mapping[str, str]] = {
    "mapping values are not allowed": "quotes around a text with a colon and a space in it, and keys "
    "that belong together in one column",
    "did not find expected key": "keys that belong together in one column, and nothing after "
    "closing quotes or brackets",
    "did not find expected '-' indicator": "items that belong together in one column",
    "found unexpected ':'": "a space after the colon",
    "found a tab character": "spaces, not tabs",
}


class SyntaxProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Line and column count from 0, as libyaml's do."""

    line: int
    column: int
    message: str
    found: str | None = None
    expected: str | None = None


def syntax_problem(error: yaml.MarkedYAMLError, text: str) -> SyntaxProblem:
    """What to tell of an error that libyaml has met in `text`. Of the text one character at most."""
    context, problem = error.context or "", error.problem or ""
    message = ", ".join(part for part in (context, problem) if part)
    place, began = error.problem_mark or error.context_mark, error.context_mark
    if place is None:
        return SyntaxProblem(line=0, column=0, message=message)
    if began is None:
        began = place
    if unusual := _unusual_space(text, place.line):
        return unusual
    expected = next((hint for words, hint in _HINTS.items() if words in problem), None)
    if context == _QUOTES and "end of stream" in problem:
        place, expected = began, "quotes that end the text too"
    elif context in _BEGINNINGS or problem == _BEGINS_NOTHING:
        place = place if problem == _BEGINS_NOTHING else began
        return _sign(place, message, text[place.index : place.index + 1])
    if began.line < place.line:
        message += f"; it began on line {began.line + 1}"
    return SyntaxProblem(line=place.line, column=place.column, message=message, expected=expected)


def _unusual_space(text: str, line: int) -> SyntaxProblem | None:
    """The first one on that line, or on the one before it, before anything in quotes."""
    lines = text.splitlines()[: line + 1]
    for at in range(max(0, len(lines) - 2), len(lines)):
        if sign := UNUSUAL_SPACE.search(_QUOTED.split(lines[at], 1)[0]):
            return SyntaxProblem(
                line=at,
                column=sign.start(),
                message="a space of another kind",
                found=in_code(sign[0]),
                expected="ordinary spaces",
            )
    return None


def in_code(sign: str) -> str:
    """A character that does not show as itself: `U+00A0`."""
    return f"U+{ord(sign):04X}"


def _sign(place: yaml.Mark, message: str, sign: str) -> SyntaxProblem:
    """A text begins with a sign that means something in YAML, or nothing at all."""
    expected = "spaces, not tabs" if sign == "\t" else "quotes around a text that begins so"
    return SyntaxProblem(
        line=place.line, column=place.column, message=message, found=sign, expected=expected
    )
