"""The decision log in the store: one bounded stream per tenant.

An entry stands where it was written, and says when it was decided: earlier by as long as the store was
away, or as two clocks differ. How long that was at most is noted with the log, so that a search by time
knows how far to look.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from router.deadline import Deadline
from router.decisions.log import Filters, LoggedDecision, read
from router.errors import InvalidInputError, NotFoundError
from router.store import keys
from router.store.link import Link, Reply
from router.store.operations import int_of, list_of, text_of
from router.store.scripts import load_script, run_script

MOST_LISTED: Final = 200
MOST_LOOKED_AT: Final = 10_000
"""Entries one listing reads at most; a rare match further back needs a narrower time or `before`."""

_NEAR_MS: Final = 5_000
"""Entries written so close to when they were decided need no note: what a store takes to answer, and
clocks that are kept."""

_PAGE: Final = 500
_PER_SCRIPT: Final = 128


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions newest first. `next_before` continues; None when there are no more."""

    decisions: tuple[LoggedDecision, ...]
    next_before: str | None = None


class Line(msgspec.Struct, frozen=True, gc=False):
    """An entry as it was `written`, and when it was decided, in seconds since the epoch."""

    at_s: float
    text: bytes


async def append_decisions(
    link: Link, tenant: str, lines: Sequence[Line], *, kept: int, deadline: Deadline
) -> None:
    """Write entries, oldest first, many per operation; the log keeps about `kept`."""
    script = load_script("decisions_append")
    for start in range(0, len(lines), _PER_SCRIPT):
        part = lines[start : start + _PER_SCRIPT]
        times_s = [line.at_s for line in part]
        await run_script(
            link,
            script,
            [keys.decisions(tenant), keys.decisions_off(tenant)],
            [kept, _NEAR_MS, min(times_s) * 1e3, max(times_s) * 1e3, *[line.text for line in part]],
            deadline,
        )


async def list_decisions(
    link: Link, tenant: str, filters: Filters, *, limit: int, deadline: Deadline
) -> Page:
    """At most `limit` (1 to MOST_LISTED) decisions that the filters let through, newest first."""
    limit = max(1, min(limit, MOST_LISTED))
    oldest, newest = await _bounds(link, tenant, filters, deadline)
    found: list[LoggedDecision] = []
    for _ in range(MOST_LOOKED_AT // _PAGE):
        reply = await link.call(
            "XREVRANGE", keys.decisions(tenant), newest, oldest, "COUNT", _PAGE, deadline=deadline
        )
        page = list_of(reply)
        for decision in _entries(page):
            if filters.lets(decision.entry):
                found.append(decision)
                if len(found) == limit:
                    return Page(decisions=tuple(found), next_before=decision.id)
        if len(page) < _PAGE:
            return Page(decisions=tuple(found))
        newest = f"({text_of(list_of(page[-1])[0])}"
    return Page(decisions=tuple(found), next_before=newest[1:])


async def count_decisions(link: Link, tenant: str, deadline: Deadline) -> int:
    """How many decisions the log holds."""
    return int_of(await link.call("XLEN", keys.decisions(tenant), deadline=deadline))


async def get_decision(
    link: Link, tenant: str, decision_id: str, deadline: Deadline
) -> LoggedDecision:
    """One decision; NotFoundError when the log has no such id (any more)."""
    if not _is_id(decision_id):
        raise NotFoundError("there is no such decision in the log")
    key = keys.decisions(tenant)
    reply = await link.call("XRANGE", key, decision_id, decision_id, deadline=deadline)
    for decision in _entries(list_of(reply)):
        return decision
    raise NotFoundError("there is no such decision in the log")


async def _bounds(link: Link, tenant: str, filters: Filters, deadline: Deadline) -> tuple[str, str]:
    """Between which ids all wanted entries stand, both inclusive, as the stream spells it."""
    if filters.before is not None and not _is_id(filters.before):
        raise InvalidInputError("`before` is not the id of a decision", field="before")
    oldest, newest = "-", "+"
    if filters.since_s is not None or filters.until_s is not None:
        late_ms, early_ms = await _off(link, tenant, deadline)
        if filters.since_s is not None:
            oldest = str(max(0, int(filters.since_s * 1000) - early_ms))
        if filters.until_s is not None:
            newest = str(max(0, int(filters.until_s * 1000) + 1 + late_ms))
    if filters.before is not None:
        newest = f"({filters.before}"
    return oldest, newest


async def _off(link: Link, tenant: str, deadline: Deadline) -> tuple[int, int]:
    """How many milliseconds after and before its `at_s` an entry was written at most."""
    fields = ("late", "late_id", "early", "early_id")
    reply = await link.call("HMGET", keys.decisions_off(tenant), *fields, deadline=deadline)
    noted = [None if part is None else int(text_of(part)) for part in list_of(reply)]
    log = await link.call("XRANGE", keys.decisions(tenant), "-", "+", "COUNT", 1, deadline=deadline)
    for first in list_of(log):
        first_ms = int(text_of(list_of(first)[0]).partition("-")[0])
        late, early = (
            off if off is not None and id_ms is not None and id_ms >= first_ms else 0
            for off, id_ms in (noted[:2], noted[2:])
        )
        return max(late, _NEAR_MS), max(early, _NEAR_MS)
    return _NEAR_MS, _NEAR_MS


def _is_id(text: str) -> bool:
    ms, dash, number = text.partition("-")
    parts = (ms, number) if dash else (ms,)
    return all(part.isascii() and part.isdigit() and len(part) <= 19 for part in parts)


def _entries(reply: Sequence[Reply]) -> Iterator[LoggedDecision]:
    """Entries of a stream; one that another version wrote and this one cannot read is left out."""
    for item in reply:
        match item:
            case [bytes(entry_id), [b"e", bytes(text)]]:
                try:
                    yield LoggedDecision(id=entry_id.decode(), entry=read(text))
                except msgspec.MsgspecError:
                    continue
            case _:
                continue
