"""Phone numbers: any spelling to E.164, and what libphonenumber knows about a number.

A number that is E.164 already costs one regular expression and never reaches libphonenumber. What
does is remembered in caches of bounded size, so that a busy caller is looked up once.
"""

import re
from enum import StrEnum
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType, ValidationResult

COUNTRIES: frozenset[str] = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""ISO 3166-1 alpha-2 codes that numbers can belong to."""


class NumberKind(StrEnum):
    """libphonenumber's types. Where a country does not tell, it is `fixed_line_or_mobile` (US)."""

    FIXED_LINE = "fixed_line"
    MOBILE = "mobile"
    FIXED_LINE_OR_MOBILE = "fixed_line_or_mobile"
    TOLL_FREE = "toll_free"
    PREMIUM_RATE = "premium_rate"
    SHARED_COST = "shared_cost"
    VOIP = "voip"
    PERSONAL_NUMBER = "personal_number"
    PAGER = "pager"
    UAN = "uan"
    VOICEMAIL = "voicemail"
    UNKNOWN = "unknown"


_REMEMBERED = 8192
_LONGEST_SPELLING = 100
_SPELLED = re.compile(r"\+[1-9][0-9]{6,14}")
# What people dial first within a country does not follow its calling code: the 0 of +44 0 20 7946 0018.
_DIALLED_WITHIN = (
    "1[01]|78|(?:370|375|993)8|6921"
    "|(?:2[07]|3[1236]|4[013469]|5[134578]|6[0-46]|8[1246]|9[0-58])0"
    "|(?:2[1-689]|3[578]|42|5[09]|6[789]|8[0578]|9[679])[0-9]0"
)
_E164 = re.compile(rf"\+(?!{_DIALLED_WITHIN})[1-9][0-9]{{6,14}}")
_LONGEST_CALLING_CODE = 3
_START = 1 + _LONGEST_CALLING_CODE
"""Characters by which it is known which calling code a number has."""

_REGIONS = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
_NO_COUNTRY = "001"  # international toll-free and the like
_URI = re.compile(r"<?(?:sips?|tel):([^@;>]*)[^>]*>?", re.IGNORECASE)
_ANONYMOUS = frozenset(
    {"", "anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"}
)


def preload() -> None:
    """Read the facts about all countries now (0.1 s), not at the first call from each."""
    phonenumbers.PhoneMetadata.load_all()


def is_plain_e164(text: str) -> bool:
    """Whether this is spelled `+` and 7 to 15 digits; it need not be a number anybody has."""
    return _SPELLED.fullmatch(text) is not None


def is_normal(text: str) -> bool:
    """Whether normalising would leave it as it is, as far as can be told at a glance."""
    return _E164.fullmatch(text) is not None


def is_anonymous(text: str | None) -> bool:
    """Whether a caller shows no number: None, nothing, or a word such as `Anonymous`, in a URI too."""
    if text is None:
        return True
    if text[:1] == "+" or len(text) > _LONGEST_SPELLING:
        return False
    return _user_part(text).lower() in _ANONYMOUS


def normalise(text: str | None, country: str | None) -> str | None:
    """E.164 of a number in any spelling, or None: anonymous, or not a phone number.

    `country` (alpha-2) is where a number without `+` belongs; without one only `+` will do. What is
    spelled like E.164 and cannot be a number stays as it is.
    """
    if text is None:
        return None
    if _E164.fullmatch(text):
        return text
    return None if len(text) > _LONGEST_SPELLING else _normalise(text, country)


def can_exist(e164: str) -> bool:
    """Whether there can be such a number (a normal one): it is as long as those of its country are.

    Costs a look into a table for those that can; libphonenumber is asked about the others.
    """
    return len(e164) in _lengths(e164[:_START]) or parse_number(e164, None) is not None


def length_wanted(e164: str) -> str:
    """How a number that begins so goes on, in words."""
    lengths = sorted(_lengths(e164[:_START]))
    if not lengths:
        return "+ and a calling code that there is"
    code = _calling_code(e164[:_START])
    some = " or ".join(str(length - 1 - len(code)) for length in lengths)
    return f"+{code} and {some} digits"


def parse_number(text: str, country: str | None) -> str | None:
    """Like `normalise`, for numbers in files: also None where no such number can exist."""
    return None if len(text) > _LONGEST_SPELLING else _to_e164(text, country)


@lru_cache(_REMEMBERED)
def country_of(e164: str) -> str | None:
    """The alpha-2 code of the country a number belongs to; None: not known, or no country's."""
    number = _parsed(e164, None)
    country = None if number is None else phonenumbers.region_code_for_number(number)
    return None if country == _NO_COUNTRY else country


@lru_cache(_REMEMBERED)
def countries_sharing(start: str) -> frozenset[str]:
    """The countries that numbers which begin so (in E.164) can belong to; none: too short to tell."""
    code = _calling_code(start)
    return frozenset(_REGIONS[int(code)] if code else ()) - {_NO_COUNTRY}


def _calling_code(start: str) -> str:
    """The digits of the calling code that numbers which begin so have; none: there is none, or not yet."""
    for length in range(1, min(_LONGEST_CALLING_CODE, len(start) - 1) + 1):
        code = start[1 : 1 + length]
        if code.isdigit() and int(code) in _REGIONS:
            return code
    return ""


@lru_cache(_REMEMBERED)
def _lengths(start: str) -> frozenset[int]:
    """How long numbers that begin so (`_START` characters) can be, `+` included; none: there are none."""
    code = _calling_code(start)
    if not code:
        return frozenset()
    facts = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(
        int(code), _REGIONS[int(code)][0]
    )
    general = None if facts is None else facts.general_desc
    possible = () if general is None else general.possible_length
    return frozenset(1 + len(code) + length for length in possible if length > 0)


@lru_cache(_REMEMBERED)
def type_of(e164: str) -> str | None:
    """The NumberKind of a number; None when it is no number at all."""
    number = _parsed(e164, None)
    if number is None:
        return None
    return PhoneNumberType.to_string(phonenumbers.number_type(number)).lower()


@lru_cache(_REMEMBERED)
def _normalise(text: str, country: str | None) -> str | None:
    if is_anonymous(text):
        return None
    return _to_e164(_user_part(text), country) or (text if _SPELLED.fullmatch(text) else None)


def _user_part(text: str) -> str:
    uri = _URI.fullmatch(text.strip())
    return uri[1] if uri else text.strip()


def _to_e164(text: str, country: str | None) -> str | None:
    number = _parsed(text, country)
    if number is None or number.extension is not None:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _parsed(text: str, country: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, country)
    except NumberParseException:
        return None
