"""The base of every failure: a stable code and a verdict (whose fault, is repeating safe).

Domain errors know nothing of HTTP; `router/http/error_replies.py` maps codes to statuses and a test
keeps that table complete.
"""

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose fault a failure is; what nobody classified is ours, so that it shows up."""

    CLIENT = "client"
    OURS = "ours"
    STORE = "store"
    UPSTREAM = "upstream"
    UNKNOWN = "unknown"


class CrosspointError(Exception):
    """An unexpected failure."""

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = Fault.OURS
    safe_to_repeat: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


def with_notes(error: CrosspointError) -> str:
    """The message and what was noted on its way, for operators."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])


class InvalidInputError(CrosspointError):
    """The input is not valid."""

    code = "invalid"
    fault = Fault.CLIENT
    safe_to_repeat = True

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(CrosspointError):
    """There is no such thing."""

    code = "not_found"
    fault = Fault.CLIENT
    safe_to_repeat = True


class ConflictError(CrosspointError):
    """This cannot be done in the present state."""

    code = "conflict"
    fault = Fault.CLIENT
    safe_to_repeat = True


class RememberedError(ConflictError):
    """This call was answered before; nothing was done."""


class UnauthenticatedError(CrosspointError):
    """Who is asking could not be established."""

    code = "unauthenticated"
    fault = Fault.CLIENT
    safe_to_repeat = True


class ForbiddenError(CrosspointError):
    """This caller may not do that."""

    code = "forbidden"
    fault = Fault.CLIENT
    safe_to_repeat = True


class StoreDownError(CrosspointError):
    """The store is not reachable; nothing was sent."""

    code = "store_down"
    fault = Fault.STORE
    safe_to_repeat = True


class RefusalKind(StrEnum):
    """Why the store refused a command."""

    READ_ONLY = "read_only"
    LOADING = "loading"
    MOVED = "moved"
    CLUSTER_DOWN = "cluster_down"
    OUT_OF_MEMORY = "out_of_memory"
    NO_SCRIPT = "no_script"
    BUSY = "busy"
    NOT_SAVING = "not_saving"
    NOT_ALLOWED = "not_allowed"
    WRONG_TYPE = "wrong_type"
    OTHER = "other"


class StoreRefusedError(CrosspointError):
    """The store answered with an error; nothing was changed."""

    code = "store_refused"
    fault = Fault.STORE
    safe_to_repeat = True

    def __init__(
        self, message: str | None = None, *, kind: RefusalKind = RefusalKind.OTHER
    ) -> None:
        super().__init__(message)
        self.kind = kind


class OutcomeUnknownError(CrosspointError):
    """No answer in time: it may have happened."""

    code = "outcome_unknown"
    fault = Fault.UNKNOWN
    safe_to_repeat = False
