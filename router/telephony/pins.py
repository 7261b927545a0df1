"""PINs are kept as salted scrypt hashes: slow on purpose, since a PIN has few digits. Off the loop."""

import base64
import hashlib
import hmac
import secrets
from typing import Final

_SALT_BYTES: Final = 16


def hash_pin(pin: str) -> str:
    """`salt$hash`, both Base64. Takes some 50 ms: for a thread."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{_text(salt)}${_text(_hashed(pin, salt))}"


def is_pin(pin: str, kept: str) -> bool:
    """Whether it is the PIN whose hash is kept. For a thread."""
    salt, _, digest = kept.partition("$")
    expected = base64.b64decode(digest)
    return hmac.compare_digest(_hashed(pin, base64.b64decode(salt)), expected)


def _hashed(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=2**14, r=8, p=1, maxmem=64 * 1024 * 1024)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
