"""Error code -> HTTP status. Domain errors know nothing of HTTP; a test keeps this table complete.

A code that is not here is answered 500: what nobody classified is ours.
"""

from collections.abc import Mapping
from typing import Final

from router.errors import CrosspointError, Fault

STATUSES: Final[Mapping[str, int]] = {
    "internal": 500,
    "invalid": 400,
    "bad_json": 400,
    "unreadable": 400,
    "unauthenticated": 401,
    "token_refused": 401,
    "bad_signature": 401,
    "forbidden": 403,
    "not_found": 404,
    "timeout": 408,
    "conflict": 409,
    "line_full": 409,
    "not_now": 409,
    "agent_busy": 409,
    "barred": 400,
    "queue_closed": 409,
    "callback_duplicate": 409,
    "callbacks_full": 409,
    "too_large": 413,
    "too_many_requirements": 422,
    "foreign": 502,
    "store_down": 503,
    "store_refused": 503,
    "store_late": 503,
    "pbx_away": 503,
    "pbx_full": 503,
    "requirement_unregistered": 503,
    "outcome_unknown": 504,
}


def status_of(error: CrosspointError) -> int:
    """The HTTP status an error is answered with."""
    return STATUSES.get(error.code, 500)


def public_message(error: CrosspointError) -> str:
    """What the client is told: our own faults keep their details to themselves."""
    if error.fault is Fault.OURS:
        return "Something went wrong here; the request id helps to find it."
    return str(error)
