"""Management tokens: who asks, for which tenant, as what. The only importer of PyJWT.

A token is HS256 with our own secret, or RS256/ES256 with a public key from a JWKS file. The
algorithm chooses the kind of key, never the token: a public key can not be used as an HMAC secret,
and `alg: none` has no key at all. `sub`, `tenant_id`, `role` and `exp` are required.
"""

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import jwt
import msgspec
from msgspec import Meta

from router.errors import InvalidInputError, UnauthenticatedError
from router.site.resources import Id

LONGEST_TOKEN: Final = 8 * 1024
"""Characters; a longer token is refused before anything is computed."""

SHORTEST_SECRET: Final = 32
"""Characters of the HS256 secret."""

LARGEST_JWKS: Final = 256 * 1024
"""Bytes of the JWKS file."""

LOOK_AGAIN_S: Final = 5.0
"""Seconds between two looks at the JWKS file; a removed key is refused that much later at most."""

LATEST_EXP_S: Final = 253_402_300_799
"""The end of the year 9999 in seconds: beyond it an `exp` is no date."""

LONGEST_TTL_S: Final = 366 * 86_400
"""Seconds a token that we make may live."""


class Role(StrEnum):
    """What somebody is; `router/http/roles.py` says what each may do."""

    PLATFORM_ADMIN = "platform_admin"
    ADMIN = "admin"
    SUPERVISOR = "supervisor"
    AGENT = "agent"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who a valid token speaks for; for the role agent `sub` is the agent's id. `exp` in seconds."""

    sub: str
    tenant_id: Id
    role: Role
    exp: Annotated[int, Meta(ge=0, le=LATEST_EXP_S)]


class TokenRefusedError(UnauthenticatedError):
    """A valid bearer token is needed."""

    code = "token_refused"


class Keys(msgspec.Struct, frozen=True):
    """The public keys of one reading of the JWKS file, by algorithm; `stamp` tells readings apart."""

    stamp: tuple[int, int, int] | None = None
    by_algorithm: Mapping[str, tuple[jwt.PyJWK, ...]] = {}


class Tokens:
    """Verifies and makes management tokens.

    `secret` (at least 32 characters) allows HS256, and `previous_secret` beside it during a rotation;
    `jwks_file` allows RS256 and ES256; with neither, every token is refused. `issuer` is demanded
    when set. Without an `audience`, tokens that name one are meant for somebody else and refused.
    """

    def __init__(
        self,
        *,
        secret: str | None = None,
        previous_secret: str | None = None,
        jwks_file: Path | None = None,
        issuer: str | None = None,
        audience: str | None = None,
    ) -> None:
        self._secrets: tuple[str, ...] = ()
        self.renew([text for text in (secret, previous_secret) if text is not None])
        self._issuer = issuer
        self._jwks_file = jwks_file
        self._audience = audience
        self._keys = Keys()
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    @property
    def can_verify(self) -> bool:
        """Whether there is anything to verify a token with."""
        return bool(self._secrets) or self._jwks_file is not None

    def renew(self, secrets: Sequence[str]) -> None:
        """Verify with these secrets from now on, and sign with the first."""
        if any(len(text) < SHORTEST_SECRET for text in secrets):
            raise InvalidInputError(
                f"a token secret has at least {SHORTEST_SECRET} characters", field="secret"
            )
        self._secrets = tuple(secrets)

    async def verify(self, token: str) -> Principal:
        """Who the token speaks for; TokenRefusedError without a reason, which would help forgers."""
        if len(token) > LONGEST_TOKEN:
            raise TokenRefusedError
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefusedError from None
        algorithm = header.get("alg")
        if algorithm == "HS256":
            return self._verified(token, self._secrets, "HS256")
        if algorithm not in {"RS256", "ES256"} or self._jwks_file is None:
            raise TokenRefusedError
        await self._look_at_jwks()
        wanted = header.get("kid")
        keys = self._keys.by_algorithm.get(algorithm, ())
        fitting = tuple(key for key in keys if wanted is None or key.key_id == wanted)
        return self._verified(token, fitting, algorithm)

    def make(self, claims: Mapping[str, object], *, ttl_s: int) -> str:
        """A token over `claims` that lives `ttl_s` seconds (1 to 366 days), signed with our secret."""
        if not self._secrets:
            raise InvalidInputError("tokens are made with a secret, and none is set")
        if not 1 <= ttl_s <= LONGEST_TTL_S:
            raise InvalidInputError(f"a token lives 1 to {LONGEST_TTL_S} seconds", field="ttl")
        now = int(time.time())
        try:
            principal = msgspec.convert({**claims, "exp": now + ttl_s}, Principal)
        except msgspec.ValidationError as error:
            raise InvalidInputError(f"these claims cannot be signed: {error}") from error
        payload = {"iat": now, **msgspec.to_builtins(principal)}
        if self._issuer is not None:
            payload["iss"] = self._issuer
        if self._audience is not None:
            payload["aud"] = self._audience
        return jwt.encode(payload, self._secrets[0], algorithm="HS256")

    def _verified(self, token: str, keys: Sequence[str | jwt.PyJWK], algorithm: str) -> Principal:
        for key in keys:
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    options={
                        "require": ["sub", "tenant_id", "role", "exp"],
                        # When it was made is no condition, and who makes it may have a clock that is
                        # a little ahead of ours: a new token would be refused for a moment.
                        "verify_iat": False,
                    },
                )
                if isinstance(claims["exp"], float):  # RFC 7519 lets a date have a fraction
                    claims["exp"] = math.floor(claims["exp"])
                return msgspec.convert(claims, Principal)
            except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError, TypeError):
                continue
        raise TokenRefusedError

    async def _look_at_jwks(self) -> None:
        """Read the JWKS file when it changed, on a thread; an unreadable one has no keys."""
        loop = asyncio.get_running_loop()
        if self._jwks_file is None or loop.time() - self._looked_at < LOOK_AGAIN_S:
            return
        async with self._looking:
            if loop.time() - self._looked_at >= LOOK_AGAIN_S:
                self._keys = await asyncio.to_thread(read_keys, self._jwks_file, self._keys)
                self._looked_at = loop.time()


def sign_as_platform(claims: Mapping[str, object], secret: str) -> str:
    """A bare HS256 JWT over `claims`, as the platform sends routing requests and events."""
    return jwt.encode(dict(claims), secret, algorithm="HS256")


def read_keys(path: Path, known: Keys) -> Keys:
    """The keys in a JWKS file; `known` again when it did not change. Blocks on the file system.

    Symmetric keys, private keys and kinds we do not use are passed over. A file that is missing, too
    large or broken has no keys: to go on trusting what is no longer written there would be worse.
    """
    try:
        facts = path.stat()
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if stamp == known.stamp:
            return known
        with path.open("rb") as file:
            text = file.read(LARGEST_JWKS + 1)
        if len(text) > LARGEST_JWKS:
            return Keys(stamp)
        listed = json.loads(text)["keys"]
        if not isinstance(listed, list):
            return Keys(stamp)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Keys()
    return Keys(stamp, _by_algorithm(listed))


_KINDS: Final[Sequence[tuple[object, object, str]]] = (
    ("RSA", None, "RS256"),
    ("EC", "P-256", "ES256"),
)


def _by_algorithm(listed: list[object]) -> dict[str, tuple[jwt.PyJWK, ...]]:
    found: dict[str, tuple[jwt.PyJWK, ...]] = {}
    for entry in listed:
        if not isinstance(entry, dict) or "d" in entry or entry.get("use", "sig") != "sig":
            continue
        algorithm = _algorithm_of(entry)
        if algorithm is None or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        found[algorithm] = (*found.get(algorithm, ()), key)
    return found


def _algorithm_of(entry: Mapping[str, object]) -> str | None:
    for kind, curve, algorithm in _KINDS:
        if entry.get("kty") == kind and entry.get("crv") == curve:
            return algorithm
    return None
