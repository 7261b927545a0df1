"""Readers for single texts: what a field of a file can hold, and what is allowed there.

Each is a small value with the JSON Schema of what it takes, so that the schema editors use and the
parser cannot drift apart. Schemas also admit what YAML makes of an unquoted text (`id: 3001`).
"""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from rules.fields import Value, one_of

E = TypeVar("E", bound=StrEnum)

Schema = dict[str, object]

_CHARACTERS_OF_A_NAME = 100


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Any text of `least` to `most` characters."""

    least: int = 1
    most: int = 2000
    pattern: str | None = None
    expected: str = "text"

    def __call__(self, value: Value) -> str:
        text = value.text(self.expected)
        if not self.least <= len(text) <= self.most:
            allowed = f"{self.least} to {self.most} characters"
            found = f"{len(text)} characters"
            value.fail("wrong-length", "this text is too short or too long", allowed, found=found)
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            message = f"this is not {self.expected}"
            value.fail("wrong-value", message, self.expected)
        return text

    @property
    def schema(self) -> Schema:
        schema: Schema = {
            "type": ["string", "number", "boolean"],
            "minLength": self.least,
            "maxLength": self.most,
        }
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema


def name(expected: str = "a name") -> Text:
    """One line of 1 to 100 characters without space at either end."""
    return Text(
        most=_CHARACTERS_OF_A_NAME,
        pattern=r"[^\s](?:[^\r\n\t]*[^\s])?",
        expected=f"{expected} (1 to {_CHARACTERS_OF_A_NAME} characters, one line)",
    )


class Integer(msgspec.Struct, frozen=True):
    """A whole number from `least` to `most`, both included, in plain decimal digits."""

    least: int
    most: int

    def __call__(self, value: Value) -> int:
        expected = f"a whole number from {self.least} to {self.most}"
        text = value.text(expected)
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            value.fail("wrong-type", "this is not a whole number", expected)
        number = int(text)
        if not self.least <= number <= self.most:
            value.fail("out-of-range", "this number is out of range", expected)
        return number

    @property
    def schema(self) -> Schema:
        return {
            "type": ["integer", "string"],
            "minimum": self.least,
            "maximum": self.most,
            "pattern": "^-?[0-9]{1,18}$",
        }


class Decimal(msgspec.Struct, frozen=True):
    """A number from `least` to `most`, both included, with at most 6 decimals."""

    least: float
    most: float

    def __call__(self, value: Value) -> float:
        expected = f"a number from {self.least:g} to {self.most:g}"
        text = value.text(expected)
        if not re.fullmatch(_DECIMAL, text):
            value.fail("wrong-type", "this is not a number", expected)
        number = float(text)
        if not self.least <= number <= self.most:
            value.fail("out-of-range", "this number is out of range", expected)
        return number

    @property
    def schema(self) -> Schema:
        return {
            "type": ["number", "string"],
            "minimum": self.least,
            "maximum": self.most,
            "pattern": f"^{_DECIMAL}$",
        }


class Boolean(msgspec.Struct, frozen=True):
    """`true` or `false`, nothing else."""

    def __call__(self, value: Value) -> bool:
        text = value.text("true or false")
        if text not in ("true", "false"):
            value.fail("wrong-type", "this is not true or false", "true or false")
        return text == "true"

    @property
    def schema(self) -> Schema:
        return {"enum": [True, False, "true", "false"]}


class OneOf(msgspec.Struct, Generic[E], frozen=True):
    """A member of a closed set, as its value is spelled."""

    members: type[E]

    def __call__(self, value: Value) -> E:
        return self.members(Choice(tuple(self.members))(value))

    @property
    def schema(self) -> Schema:
        return {"enum": [member.value for member in self.members]}


class Choice(msgspec.Struct, frozen=True):
    """One of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: Value) -> str:
        text = value.text(one_of(self.words))
        if text not in self.words:
            value.fail("unknown-value", "unknown value", one_of(self.words), known=self.words)
        return text

    @property
    def schema(self) -> Schema:
        return {"enum": list(self.words)}


class NameOf(msgspec.Struct, frozen=True):
    """A name that something in the file or site has; `noun` is what it names (`calendar`)."""

    known: Collection[str]
    noun: str

    def __call__(self, value: Value) -> str:
        text = value.text(f"the name of a {self.noun}")
        if text not in self.known:
            expected = (
                one_of(sorted(self.known))
                if self.known
                else f"a {self.noun}, of which there is none"
            )
            value.fail("unknown-name", f"unknown {self.noun}", expected, known=self.known)
        return text


class Duration(msgspec.Struct, frozen=True):
    """`30s`, `5m`, `2h`, `14d` as whole seconds, from `least_s` to `most_s`, both included."""

    least_s: int = 0
    most_s: int = 366 * 86400

    def __call__(self, value: Value) -> int:
        expected = f"a duration from {in_words(self.least_s)} to {in_words(self.most_s)}"
        text = value.text(expected)
        seconds = duration_s(text)
        if seconds is None:
            value.fail("wrong-type", "this is not a duration", f"{expected}, such as 30s 5m 2h 14d")
        if not self.least_s <= seconds <= self.most_s:
            value.fail("out-of-range", "this duration is out of range", expected)
        return seconds

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{_DURATION}$"}


_DECIMAL = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_DURATION = "[0-9]{1,9}[smhd]"
_UNITS_S: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> int | None:
    """Seconds of `30s`, `5m`, `2h`, `14d`; None if it is none."""
    if not re.fullmatch(_DURATION, text):
        return None
    return int(text[:-1]) * _UNITS_S[text[-1]]


def in_words(seconds: int) -> str:
    """The shortest duration text for that many seconds."""
    for unit, factor in sorted(_UNITS_S.items(), key=lambda item: -item[1]):
        if seconds and seconds % factor == 0:
            return f"{seconds // factor}{unit}"
    return "0s"
