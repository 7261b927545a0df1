"""Where a secret is to be had, and its text from there."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.errors import InvalidInputError
from router.site import texts

SECRET_LEAST_CHARACTERS: Final = 32
"""Dialpad's own minimum for a call router's secret."""

EnvName = Annotated[str, Meta(pattern=texts.ENV_NAME)]
FileName = Annotated[str, Meta(min_length=1, max_length=1024, pattern=texts.FILE_NAME)]


class SecretRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a secret is to be had: exactly one of an environment variable, a file, or the value.

    `env` and `file` are for `site.yaml` and `crosspoint.yaml`; a relative `file` is looked for in the
    data folder of the process that reads it. `value` is only ever written (management API) and never
    shown: public forms go through `public_form`, and the repr hides it.
    """

    env: EnvName | None = None
    file: FileName | None = None
    value: Annotated[str, Meta(min_length=32, max_length=1024)] | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.env, self.file, self.value)) != 1:
            message = "exactly one of env, file and value is wanted"
            raise ValueError(message)

    def __repr__(self) -> str:
        return f"SecretRef({self.public()})"

    def public(self) -> str:
        """What may be shown of it: where it comes from."""
        if self.env is not None:
            return f"env {self.env}"
        return f"file {self.file}" if self.file is not None else "value"


class SecretGoneError(InvalidInputError):
    """The secret's file is not there, and its folder is."""


def resolve_secret(
    reference: SecretRef, env: Mapping[str, str], read_file: Callable[[str], str]
) -> str:
    """The secret's text, or InvalidInputError saying why it is not to be had (never what it is).

    `read_file` raises FileNotFoundError only where somebody has taken the file away: SecretGoneError.
    """
    if reference.value is not None:
        return checked_secret(reference.value, "secret")
    if reference.env is not None:
        if reference.env not in env:
            message = f"the environment variable {reference.env} is not set"
            raise InvalidInputError(message, field="secret")
        return checked_secret(env[reference.env], "secret")
    path = reference.file or ""
    try:
        text = read_file(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        is_gone = isinstance(error, FileNotFoundError)
        kind = SecretGoneError if is_gone else InvalidInputError
        raise kind(f"the file {path} cannot be read: {reason}", field="secret") from error
    return checked_secret(text.strip("\r\n"), "secret")


def checked_secret(text: str, field: str) -> str:
    """The text of a secret, if it can be one; InvalidInputError names the field and no part of it."""
    if len(text) < SECRET_LEAST_CHARACTERS:
        message = (
            f"a secret has at least {SECRET_LEAST_CHARACTERS} characters, this one {len(text)}"
        )
        raise InvalidInputError(message, field=field)
    if "\n" in text or "\r" in text:
        raise InvalidInputError("a secret is one line", field=field)
    return text
