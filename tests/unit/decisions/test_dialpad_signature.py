"""The verifier of our own gives PyJWT's verdict, or a stricter one where that is documented."""

import base64
import binascii
import hmac
import json
import random
import time

import jwt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from router.platforms.dialpad.signature import (
    LONGEST_TOKEN,
    BadSignatureError,
    payload_of,
    sign,
    unsigned_payload_of,
    verify,
)

SECRET = b"0123456789abcdef0123456789abcdef-a"
OTHER = b"0123456789abcdef0123456789abcdef-b"
CLAIMS = {"call_id": 4611686018427000, "external_number": "+12125550142", "hints": {"pin": "4821"}}
TOKEN = sign(json.dumps(CLAIMS).encode(), SECRET)
NOW_S = 1_770_000_000.0

ORACLE_OPTIONS = {
    "verify_exp": True,
    "verify_nbf": True,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def resigned(header: object, payload: bytes, secret: bytes = SECRET) -> bytes:
    """A token whose signature is right whatever the header and the payload are."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = segment(head) + b"." + segment(payload)
    mac = hmac.digest(secret, signed, "sha256")
    return signed + b"." + segment(mac)


def ours(token: bytes) -> dict[str, object] | None:
    try:
        return dict(verify(token, [SECRET], time.time()))
    except BadSignatureError:
        return None


def pyjwts(token: bytes) -> dict[str, object] | None:
    try:
        return jwt.decode(token, SECRET, algorithms=["HS256"], options=ORACLE_OPTIONS)
    except jwt.InvalidTokenError:
        return None
    except (ValueError, RecursionError, TypeError):
        return None  # PyJWT lets some of its inputs escape as these


def test_a_token_that_pyjwt_signed_is_accepted_and_vice_versa() -> None:
    theirs = jwt.encode(CLAIMS, SECRET, algorithm="HS256").encode()
    assert verify(theirs, [SECRET], NOW_S) == CLAIMS
    assert pyjwts(TOKEN) == CLAIMS


def test_every_byte_replaced_by_any_of_ten_characters_is_refused() -> None:
    for at in range(len(TOKEN)):
        for letter in b"Aa0-_.=+/\x00":
            mutant = TOKEN[:at] + bytes([letter]) + TOKEN[at + 1 :]
            if mutant != TOKEN:
                assert ours(mutant) is None, (at, letter)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_token_gets_the_same_verdict_as_from_pyjwt(data: st.DataObject) -> None:
    mutant = bytearray(TOKEN)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(mutant) - 1)))
        what = data.draw(st.sampled_from(["set", "cut", "insert", "truncate", "swap"]))
        if what == "set" and mutant:
            mutant[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del mutant[at : at + 1]
        elif what == "insert":
            mutant.insert(at, data.draw(st.integers(0, 255)))
        elif what == "truncate":
            del mutant[at:]
        else:
            mutant[at : at + 2] = mutant[at : at + 2][::-1]
    mine, theirs = ours(bytes(mutant)), pyjwts(bytes(mutant))
    if theirs is not None and mine is None:
        assert is_another_spelling(bytes(mutant)), bytes(mutant)
    else:
        assert mine == theirs


def is_another_spelling(token: bytes) -> bool:
    """The documented exception: the same bytes, spelled in non-canonical base64."""
    head, _, tail = token.rpartition(b".")
    decoded = base64.urlsafe_b64decode(tail + b"=" * (-len(tail) % 4))
    return head + b"." + segment(decoded) == TOKEN and token != TOKEN


HEADERS = [
    {"alg": "HS256"},
    {"alg": "HS256", "typ": "at+jwt", "kid": "a"},
    {"alg": "HS256", "kid": 7},
    {"alg": "HS256", "kid": None},
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "hs256"},
    {"alg": "HS512"},
    {"alg": "HS384"},
    {"alg": "RS256"},
    {"alg": ["HS256"]},
    {"alg": None},
    {"typ": "JWT"},
    {"alg": "HS256", "crit": ["exp"]},
    {"alg": "HS256", "crit": []},
    {"alg": "HS256", "crit": ["b64"], "b64": False},
    {"alg": "HS256", "b64": False},
    {"alg": "HS256", "b64": True},
    {"alg": "HS256", "jku": "https://example.test/keys"},
    [],
    "HS256",
    None,
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 3000,
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: repr(h)[:40])
def test_a_header_gets_the_same_verdict_as_from_pyjwt(header: object) -> None:
    token = resigned(header, json.dumps(CLAIMS).encode())
    assert ours(token) == pyjwts(token)


def times() -> list[object]:
    now = time.time()
    return [
        *(now + step for step in (-3600, -2, 60, 3600)),
        *(int(now) + step for step in (-3600, -2, 60, 3600)),
        *(str(int(now) + step) for step in (-60, 60)),
        *("", "soon", " 12 ", None, True, False, [], {}, -1, 0, 10**30, 1e300, "9" * 5000),
    ]


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_claim_gets_the_same_verdict_as_from_pyjwt(claim: str) -> None:
    for value in times():
        token = resigned({"alg": "HS256"}, json.dumps({**CLAIMS, claim: value}).encode())
        if len(token) <= LONGEST_TOKEN:
            assert ours(token) == pyjwts(token), value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80) | st.text(max_size=40).map(lambda t: json.dumps(t).encode()))
def test_a_signed_payload_gets_the_same_verdict_as_from_pyjwt(payload: bytes) -> None:
    token = resigned({"alg": "HS256"}, payload)
    assert ours(token) == pyjwts(token)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        '{"a": 1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a": 1}',
        rb'{"a": "\ud800"}',
        b'{"a": 1e999}',
    ],
)
def test_pyjwt_is_laxer_only_about_json_that_is_no_json(payload: bytes) -> None:
    token = resigned({"alg": "HS256"}, payload)
    assert pyjwts(token) is not None
    assert ours(token) is None


def test_pyjwt_is_laxer_about_several_spellings_of_one_signature() -> None:
    spellings = [TOKEN[:-1] + bytes([letter]) for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]
    padded = [*spellings, TOKEN + b"=", TOKEN + b"\n", TOKEN + b"!"]
    lax = [token for token in padded if token != TOKEN and pyjwts(token) is not None]
    assert lax
    assert [token for token in lax if ours(token) is not None] == []


@settings(deadline=None)
@given(st.binary(max_size=24).map(segment), st.integers(0, 32), st.binary(max_size=2))
@example(b"eyJhIjoxfQ", 3, b"+")
@example(b"eyJhIjoxfQ", 3, b"/")
@example(b"eyJhIjoxfQ", 10, b"==")
@example(b"eyJhIjoxfQ", 4, b"\n")
def test_a_payload_is_of_base64url_and_nothing_else(text: bytes, at: int, more: bytes) -> None:
    """As the strict decoder of the standard library reads it, in the alphabet of RFC 4648, section 5."""
    spelled = text[:at] + more + text[at:]
    token = segment(b'{"alg":"HS256"}') + b"." + spelled
    token += b"." + segment(hmac.digest(SECRET, token, "sha256"))
    try:
        wanted = strictly_decoded(spelled)
    except ValueError:
        wanted = None
    for read in (lambda: payload_of(token, [SECRET]), lambda: unsigned_payload_of(token)):
        if wanted is None:
            with pytest.raises(BadSignatureError):
                read()
        else:
            assert read() == wanted


def strictly_decoded(text: bytes) -> bytes:
    if set(text) & set(b"+/=."):
        raise ValueError
    standard = text.translate(bytes.maketrans(b"-_", b"+/"))
    return binascii.a2b_base64(standard + b"=" * (-len(text) % 4), strict_mode=True)


def test_either_of_two_secrets_is_good_during_a_rotation() -> None:
    old, new = sign(b'{"a":1}', OTHER), sign(b'{"a":2}', SECRET)
    assert verify(old, [SECRET, OTHER], NOW_S) == {"a": 1}
    assert verify(new, [SECRET, OTHER], NOW_S) == {"a": 2}
    with pytest.raises(BadSignatureError):
        verify(old, [SECRET], NOW_S)


def test_a_token_over_eight_kibibytes_is_refused_although_its_signature_is_right() -> None:
    fits = sign(b'{"a":"' + b"x" * 6000 + b'"}', SECRET)
    long = sign(b'{"a":"' + b"x" * 6200 + b'"}', SECRET)
    assert len(fits) <= LONGEST_TOKEN < len(long)
    assert verify(fits, [SECRET], NOW_S)
    with pytest.raises(BadSignatureError):
        verify(long, [SECRET], NOW_S)


def test_without_a_secret_nothing_is_accepted() -> None:
    with pytest.raises(BadSignatureError):
        verify(TOKEN, [], NOW_S)


def test_a_refusal_says_nothing_of_the_token() -> None:
    with pytest.raises(BadSignatureError) as refusal:
        verify(TOKEN[:-3], [SECRET], NOW_S)
    assert "4821" not in str(refusal.value)


def test_ten_thousand_made_up_headers_are_not_all_remembered() -> None:
    from router.platforms.dialpad import signature  # noqa: PLC0415 - looks inside on purpose

    rng = random.Random(1)
    for _ in range(1000):
        token = resigned({"alg": "HS256", "kid": str(rng.random())}, b"{}")
        assert ours(token) == {}
    assert len(signature._known_headers) <= signature._MOST_KNOWN_HEADERS
