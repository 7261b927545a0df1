"""Secrets in use: renewed from where they are kept, and taken back by whoever deletes the file.

What cannot be read (a file that somebody writes just now, a disk that is away, a folder that is not
mounted) tells nothing of what its owner wants: the text stays in use. A file that is gone from a folder
that is there was deleted; after `GONE_S`, time enough for one that is only exchanged, its secret counts
no more.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from router.errors import InvalidInputError
from router.site.secret_refs import SecretGoneError, SecretRef

RENEW_EVERY_S: Final = 10.0
"""How often files with secrets are read: they may be exchanged under a running process."""

GONE_S: Final = 15.0

SecretSource = Callable[[SecretRef], str]
"""Turns a reference into the secret's text; raises InvalidInputError when it is not to be had."""


class Held(msgspec.Struct, frozen=True):
    """A secret's text in use. `gone_since_s` (of the monotonic clock): its file is no longer there."""

    text: str
    gone_since_s: float | None = None

    def __repr__(self) -> str:
        return "Held()"


def hold(
    reference: SecretRef, source: SecretSource, before: Held | None
) -> tuple[Held | None, str | None]:
    """The secret to use from now on, and what is wrong with it (never what it is).

    `before` is the one in use until now. May read a file: off the event loop.
    """
    try:
        return Held(source(reference)), None
    except SecretGoneError as error:
        problem = str(error)
    except InvalidInputError as error:
        return None if before is None else Held(before.text), str(error)
    now_s = time.monotonic()
    since_s = now_s if before is None or before.gone_since_s is None else before.gone_since_s
    if before is None or now_s - since_s >= GONE_S:
        return None, problem
    return Held(before.text, since_s), problem
