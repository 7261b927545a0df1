"""Management tokens: what is accepted, and everything that is not."""

import json
import os
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router import tokens
from router.errors import InvalidInputError
from router.http.envelope import timestamp
from router.tokens import Principal, Role, TokenRefusedError, Tokens

SECRET = "s" * 32
FAR = 4_000_000_000
CLAIMS = {"sub": "ada", "tenant_id": "acme", "role": "agent", "exp": FAR}


def signed(claims: dict[str, object], key: object = SECRET, **more: object) -> str:
    return jwt.encode(claims, key, **{"algorithm": "HS256", **more})


async def test_a_made_token_says_who_it_was_made_for():
    tokens = Tokens(secret=SECRET)
    token = tokens.make({"sub": "ada", "tenant_id": "acme", "role": "supervisor"}, ttl_s=60)
    who = await tokens.verify(token)
    assert (who.sub, who.tenant_id, who.role) == ("ada", "acme", Role.SUPERVISOR)


@pytest.mark.parametrize("missing", ["sub", "tenant_id", "role", "exp"])
async def test_every_one_of_the_four_claims_is_required(missing: str):
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    with pytest.raises(TokenRefusedError):
        await Tokens(secret=SECRET).verify(signed(claims))


@pytest.mark.parametrize(
    "claims",
    [
        {**CLAIMS, "exp": 1},
        {**CLAIMS, "role": "root"},
        {**CLAIMS, "role": ["admin"]},
        {**CLAIMS, "tenant_id": "a{b}"},
        {**CLAIMS, "tenant_id": ""},
        {**CLAIMS, "sub": 7},
        {**CLAIMS, "nbf": FAR},
        {**CLAIMS, "aud": "somebody else"},
        {**CLAIMS, "exp": "tomorrow"},
        {**CLAIMS, "exp": 253_402_300_800},  # the year 10000
        {**CLAIMS, "exp": 2_534_023_008_000},
        {**CLAIMS, "exp": 2**63},
        {**CLAIMS, "exp": 10**30},
    ],
)
async def test_claims_that_do_not_fit_are_refused(claims: dict[str, object]):
    with pytest.raises(TokenRefusedError):
        await Tokens(secret=SECRET).verify(signed(claims))


async def test_an_end_with_a_fraction_of_a_second_is_a_date():
    assert (await Tokens(secret=SECRET).verify(signed({**CLAIMS, "exp": FAR + 0.5}))).exp == FAR
    for odd in (1.5, float("inf"), float("nan"), 1e300):
        with pytest.raises(TokenRefusedError):
            await Tokens(secret=SECRET).verify(signed({**CLAIMS, "exp": odd}))


async def test_a_token_made_where_the_clock_is_ahead_is_good_at_once():
    made = {**CLAIMS, "iat": int(time.time()) + 120}
    assert (await Tokens(secret=SECRET).verify(signed(made))).sub == "ada"


async def test_the_last_moment_that_is_a_date_is_taken_and_shown():
    latest = signed({**CLAIMS, "exp": tokens.LATEST_EXP_S})
    who = await Tokens(secret=SECRET).verify(latest)
    shown = timestamp(who.exp * 1000)
    assert shown is not None
    assert shown.year == 9999


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "." * 9000,
        signed(CLAIMS, None, algorithm="none"),
        signed(CLAIMS, "t" * 32),
        signed(CLAIMS, "s" * 64, algorithm="HS512"),
        signed(CLAIMS)[:-2] + "AA",
        signed({**CLAIMS, "pad": "x" * 9000}),
    ],
)
async def test_forged_unsigned_and_oversized_tokens_are_refused(token: str):
    with pytest.raises(TokenRefusedError):
        await Tokens(secret=SECRET).verify(token)


async def test_without_a_secret_and_keys_every_token_is_refused():
    with pytest.raises(TokenRefusedError):
        await Tokens().verify(signed(CLAIMS))


async def test_the_previous_secret_stays_valid_beside_the_new_one():
    both = Tokens(secret="n" * 32, previous_secret=SECRET)
    assert (await both.verify(signed(CLAIMS))).sub == "ada"
    assert (await both.verify(signed(CLAIMS, "n" * 32))).sub == "ada"


async def test_issuer_and_audience_are_demanded_when_set():
    strict = Tokens(secret=SECRET, issuer="https://id.example", audience="crosspoint")
    good = {**CLAIMS, "iss": "https://id.example", "aud": "crosspoint"}
    assert (await strict.verify(signed(good))).sub == "ada"
    for name in ("iss", "aud"):
        with pytest.raises(TokenRefusedError):
            await strict.verify(signed({**good, name: "other"}))
        with pytest.raises(TokenRefusedError):
            await strict.verify(signed({k: v for k, v in good.items() if k != name}))
    made = strict.make({"sub": "x", "tenant_id": "acme", "role": "admin"}, ttl_s=5)
    assert (await strict.verify(made)).sub == "x"


@pytest.mark.parametrize("ttl_s", [0, -1, 10**9])
def test_a_token_lives_a_second_to_a_year(ttl_s: int):
    with pytest.raises(InvalidInputError):
        Tokens(secret=SECRET).make({"sub": "a", "tenant_id": "t", "role": "admin"}, ttl_s=ttl_s)


def test_a_token_for_an_unknown_role_is_not_made():
    with pytest.raises(InvalidInputError, match="role"):
        Tokens(secret=SECRET).make({"sub": "a", "tenant_id": "t", "role": "king"}, ttl_s=5)


def test_a_short_secret_is_refused():
    with pytest.raises(InvalidInputError):
        Tokens(secret="short")


def jwk_of(key: object, kid: str, algorithm: str) -> dict[str, object]:
    maker = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}[algorithm]
    return {**maker.to_jwk(key.public_key(), as_dict=True), "kid": kid}  # type: ignore[attr-defined]


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def write_jwks(path: Path, *keys: dict[str, object]) -> None:
    path.write_text(json.dumps({"keys": list(keys)}))


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
async def test_keys_of_a_jwks_file_verify_rs256_and_es256(
    tmp_path: Path, key: object, algorithm: str
):
    file = tmp_path / "jwks.json"
    write_jwks(file, jwk_of(RSA, "r", "RS256"), jwk_of(EC, "e", "ES256"))
    token = signed(CLAIMS, key, algorithm=algorithm)
    assert await Tokens(jwks_file=file).verify(token) == Principal(
        sub="ada", tenant_id="acme", role=Role.AGENT, exp=FAR
    )


async def test_a_public_key_is_no_hmac_secret(tmp_path: Path):
    """The classic confusion: sign with HS256, using the published key as the secret."""
    file = tmp_path / "jwks.json"
    write_jwks(file, jwk_of(RSA, "r", "RS256"))
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}')
    payload = jwt.utils.base64url_encode(json.dumps(CLAIMS).encode())
    import hashlib  # noqa: PLC0415 - only this test forges by hand
    import hmac  # noqa: PLC0415

    mac = hmac.digest(pem, header + b"." + payload, hashlib.sha256)
    token = (header + b"." + payload + b"." + jwt.utils.base64url_encode(mac)).decode()
    with pytest.raises(TokenRefusedError):
        await Tokens(jwks_file=file, secret=SECRET).verify(token)


async def test_a_symmetric_or_private_key_in_the_jwks_file_is_not_used(tmp_path: Path):
    file = tmp_path / "jwks.json"
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA))
    write_jwks(file, {"kty": "oct", "k": "c3Nzc3Nzc3Nzc3Nzc3Nzcw", "alg": "HS256"}, private)
    for token in (signed(CLAIMS, b"ssssssssssssssss" * 2), signed(CLAIMS, RSA, algorithm="RS256")):
        with pytest.raises(TokenRefusedError):
            await Tokens(jwks_file=file).verify(token)


async def test_a_key_id_that_is_not_in_the_file_is_refused(tmp_path: Path):
    file = tmp_path / "jwks.json"
    write_jwks(file, jwk_of(RSA, "r", "RS256"))
    with pytest.raises(TokenRefusedError):
        await Tokens(jwks_file=file).verify(
            signed(CLAIMS, RSA, algorithm="RS256", headers={"kid": "other"})
        )


async def test_a_changed_jwks_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens, "LOOK_AGAIN_S", 0.0)
    file = tmp_path / "jwks.json"
    write_jwks(file, jwk_of(EC, "e", "ES256"))
    verifier, token = Tokens(jwks_file=file), signed(CLAIMS, RSA, algorithm="RS256")
    with pytest.raises(TokenRefusedError):
        await verifier.verify(token)
    write_jwks(file, jwk_of(RSA, "r", "RS256"))
    assert (await verifier.verify(token)).sub == "ada"
    file.unlink()
    with pytest.raises(TokenRefusedError):
        await verifier.verify(token)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '{"keys": 3}', '{"keys": [3, {"kty": []}, {"kty": "RSA", "n": 1}]}', "[" * 5000,
        '{"keys": ["' + "x" * 300_000 + '"]}',
    ],
)  # fmt: skip
async def test_a_broken_jwks_file_has_no_keys(tmp_path: Path, text: str):
    file = tmp_path / "jwks.json"
    file.write_text(text)
    with pytest.raises(TokenRefusedError):
        await Tokens(jwks_file=file).verify(signed(CLAIMS, RSA, algorithm="RS256"))


def test_only_one_module_imports_pyjwt():
    root = Path(__file__).parents[3]
    importers = [
        path.relative_to(root)
        for package in ("router", "pbx", "ivr", "rules")
        for path in (root / package).rglob("*.py")
        if "import jwt" in (text := path.read_text()) or "from jwt" in text
    ]
    assert importers == [Path("router/tokens.py")]


def test_reading_keys_gives_the_known_ones_when_the_file_did_not_change(tmp_path: Path):
    file = tmp_path / "jwks.json"
    write_jwks(file, jwk_of(EC, "e", "ES256"))
    first = tokens.read_keys(file, tokens.Keys())
    assert tokens.read_keys(file, first) is first
    os.utime(file, (1, 1))
    assert tokens.read_keys(file, first) is not first
