"""Phone numbers: spellings, anonymity, countries and types."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import numbers
from rules.numbers import (
    COUNTRIES,
    NumberKind,
    can_exist,
    country_of,
    is_anonymous,
    is_normal,
    is_plain_e164,
    normalise,
    parse_number,
    type_of,
)


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("+12125550142", None, "+12125550142"),
        ("12125550142", "US", "+12125550142"),
        ("(212) 555-0142", "US", "+12125550142"),
        ("+1 212 555 0142", None, "+12125550142"),
        ("030 123456", "DE", "+4930123456"),
        ("0049 30 123456", "DE", "+4930123456"),
        ("sip:+12125550142@example.com;transport=tls", None, "+12125550142"),
        ("<tel:+1-212-555-0142>", None, "+12125550142"),
        ("+44 (0)20 7946 0018", None, "+442079460018"),
        ("+4402079460018", None, "+442079460018"),
        ("+112125550142", None, "+12125550142"),
        ("+788121234567", None, "+78121234567"),
        ("+4900301234567", None, "+490301234567"),
        ("+390212345678", None, "+390212345678"),
        ("+11", None, None),
        ("+1112345678901", None, "+1112345678901"),
        ("2125550142", None, None),
        ("555-0142", "US", None),
        ("101", "US", None),
        ("+12125550142 ext. 5", "US", None),
        ("sip:ada@example.com", "US", None),
        ("+" + "1" * 200, "US", None),
        (None, "US", None),
        ("", "US", None),
        ("Anonymous", "US", None),
    ],
)
def test_numbers_become_e164_or_none(text: str | None, country: str | None, expected: str | None):
    assert normalise(text, country) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "anonymous",
        "Anonymous",
        "unknown",
        "Restricted",
        "PRIVATE",
        "unavailable",
        "sip:anonymous@anonymous.invalid",
        "<sip:Anonymous@192.0.2.1:5060;user=phone>",
    ],
)
def test_callers_without_a_number_are_anonymous(text: str | None):
    assert is_anonymous(text)


@pytest.mark.parametrize("text", ["+12125550142", "101", "ada", "sip:ada@example.com", "x" * 1000])
def test_callers_with_something_to_show_are_not_anonymous(text: str):
    assert not is_anonymous(text)


@pytest.mark.parametrize("region", sorted(COUNTRIES))
def test_what_is_normal_at_a_glance_is_what_the_library_leaves_alone(region: str):
    """Numbers as they are, and with what is dialled before them within the country."""
    example = phonenumbers.example_number(region)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    assert example is not None
    assert metadata is not None
    number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    assert is_normal(number) or number == normalise(number, None)
    code = f"+{example.country_code}"
    doubled = f"{code}{metadata.national_prefix or ''}{number.removeprefix(code)}"
    canonical = parse_number(doubled, None)
    assert normalise(doubled, None) == (doubled if canonical is None else canonical)


def test_a_plain_number_never_reaches_the_library(monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object) -> None:
        raise AssertionError(args)

    monkeypatch.setattr(numbers.phonenumbers, "parse", fail)
    assert normalise("+4915112345678", "DE") == "+4915112345678"


def test_files_are_held_to_numbers_that_can_exist():
    assert is_plain_e164("+1212555014")
    assert parse_number("+1212555014", "US") is None
    assert parse_number("+12125550142", "US") == "+12125550142"


def test_countries_and_types_are_libphonenumbers():
    assert country_of("+12125550142") == "US"
    assert country_of("+14165550142") == "CA"
    assert country_of("+4915112345678") == "DE"
    assert country_of("+80012345678") is None
    assert country_of("nobody") is None
    assert type_of("+12125550142") == "fixed_line_or_mobile"
    assert type_of("+4915112345678") == "mobile"
    assert type_of("+18005550142") == "toll_free"
    assert type_of("nobody") is None
    assert "NO" in COUNTRIES


def test_every_type_of_the_library_has_a_name():
    known = {
        numbers.PhoneNumberType.to_string(value).lower()
        for value in numbers.PhoneNumberType.values()
    }
    assert known == set(NumberKind)


def test_caches_are_bounded():
    for cache in (numbers._normalise, numbers.country_of, numbers.type_of):
        assert cache.cache_info().maxsize is not None


@given(st.text(max_size=120), st.sampled_from([None, "US", "DE", "XX"]))
def test_any_text_is_a_number_or_none(text: str, country: str | None):
    result = normalise(text, country)
    assert result is None or is_plain_e164(result) or parse_number(result, None) == result
    country_of(text)
    type_of(text)
    is_anonymous(text)


@given(
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    st.from_regex(r"[0-9]{4,14}", fullmatch=True),
)
def test_a_normal_number_can_exist_exactly_where_libphonenumber_says_so(code: int, rest: str):
    text = f"+{code}{rest}"
    if is_normal(text):
        assert can_exist(text) == (parse_number(text, None) is not None)
