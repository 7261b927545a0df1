"""Since when: an option of commands that look back."""

import contextlib
import re
import time
from datetime import datetime
from typing import Final

import click

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def since_s(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:  # noqa: ARG001
    """A click callback: seconds since the epoch of `24h` or of a time with its zone."""
    from rules.parse_times import EARLIEST_S, LATEST_S  # noqa: PLC0415 - start-up time

    if value is None:
        return None
    if match := re.fullmatch(r"([0-9]{1,6})([smhd])", value):
        return max(EARLIEST_S, time.time() - int(match[1]) * _UNITS_S[match[2]])
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None and EARLIEST_S <= moment.timestamp() < LATEST_S:
            return moment.timestamp()
    raise click.BadParameter(f"{value} is neither like 24h nor like 2026-12-01T10:00:00-05:00")
