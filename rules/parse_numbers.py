"""Readers for phone numbers and for what is asked about them."""

import msgspec

from rules.fields import UnreadableError, Value
from rules.numbers import COUNTRIES, parse_number
from rules.scalars import Schema, Text


class PhoneNumber(msgspec.Struct, frozen=True):
    """A number as E.164; without `+` it belongs to `country`.

    `is_country_unreadable`: the file names a country, but not one we know. That is one problem, not
    one more for every number.
    """

    country: str | None
    is_country_unreadable: bool = False

    def __call__(self, value: Value) -> str:
        text = value.text("a phone number")
        number = parse_number(text, self.country)
        if number is None:
            if self.is_country_unreadable and not text.startswith("+"):
                raise UnreadableError
            where = f" or a number of {self.country}" if self.country else ""
            value.fail("not-a-number", "this is not a phone number", f"+ and digits{where}")
        return number

    @property
    def schema(self) -> Schema:
        return {"type": ["string", "integer"]}


class Country(msgspec.Struct, frozen=True):
    """An ISO 3166-1 alpha-2 code of a country with phone numbers."""

    def __call__(self, value: Value) -> str:
        expected = "a country's two capital letters, such as US"
        text = value.text(expected)
        if text not in COUNTRIES:
            # Only a wrong case is a likely slip: any two letters are near some other country's.
            known = {text.upper()} & COUNTRIES
            value.fail("unknown-country", "unknown country", expected, known=known)
        return text

    @property
    def schema(self) -> Schema:
        return {"enum": sorted(COUNTRIES)}


PREFIX = Text(most=16, pattern=r"\+[1-9][0-9]{0,14}", expected="+ and the first digits of a number")
