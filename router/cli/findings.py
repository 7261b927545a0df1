"""What `doctor` has looked at, one thing at a time."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from router.errors import CrosspointError

if TYPE_CHECKING:
    from router.site.secret_refs import SecretRef


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `todo` says what to do; None: it is as it should be."""

    what: str
    found: str
    todo: str | None = None


def secret_finding(
    what: str, source: "Callable[[SecretRef], str]", reference: "SecretRef"
) -> Finding:
    """Whether a secret can be read and is long enough."""
    try:
        source(reference)
    except CrosspointError as error:
        todo = (
            "`crosspoint up` makes missing files in the data folder; one that is there has to be"
            " readable for the user that runs crosspoint; set variables by hand"
        )
        return Finding(what=what, found=str(error), todo=todo)
    return Finding(what=what, found="there")
