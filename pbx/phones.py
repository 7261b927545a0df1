"""Where the phones of an Asterisk stand: from its device states to what matters for offering calls."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class PhoneState(StrEnum):
    """`LOST`: switched off, unplugged or not registered; nothing can be rung there."""

    FREE = "free"
    BUSY = "busy"
    LOST = "lost"


_OF: Final[Mapping[str, PhoneState]] = {
    "NOT_INUSE": PhoneState.FREE,
    "INUSE": PhoneState.BUSY,
    "BUSY": PhoneState.BUSY,
    "ONHOLD": PhoneState.BUSY,
    "RINGINUSE": PhoneState.BUSY,
    "UNAVAILABLE": PhoneState.LOST,
    "INVALID": PhoneState.LOST,
}


def phone_state(device_state: str) -> PhoneState | None:
    """None: that says nothing (`UNKNOWN`), or only for a moment (`RINGING`)."""
    return _OF.get(device_state)
