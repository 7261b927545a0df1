"""Call records in the store: appended to while calls go on, listed by time."""

from collections.abc import Sequence
from typing import Final

import msgspec

from router.call_record import (
    CallRecord,
    Direction,
    Disposition,
    End,
    Happened,
    Head,
    fold,
    says_how_it_went,
)
from router.deadline import Deadline
from router.store import keys
from router.store.operations import Operations, list_of, texts_of
from router.store.wire import Word

MOST_EVENTS: Final = 1000
"""Events kept of one call: a caller who keys and waits for days writes no book. What says how the call
went has as much room again."""

MOST_LISTED: Final = 200
MOST_LOOKED_AT: Final = 5_000
"""Records one listing reads at most; rare matches further back need a narrower time."""

_PAGE: Final = 100
_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(Head).decode
_event = msgspec.json.Decoder(Happened).decode
_end = msgspec.json.Decoder(End).decode


class Stands(msgspec.Struct, frozen=True):
    """Where a live call stands, to be kept for who takes it over; None: it goes on no more."""

    state: bytes | None


class RecordFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to list, newest first; times in ms since the epoch, `until_ms` exclusive."""

    since_ms: int | None = None
    until_ms: int | None = None
    queue: str | None = None
    agent: str | None = None
    disposition: Disposition | None = None
    direction: Direction | None = None
    callback: str | None = None

    def lets(self, record: CallRecord) -> bool:
        """Whether a record is wanted, but for its time."""
        return (
            (self.queue is None or any(wait.queue == self.queue for wait in record.waits))
            and (
                self.agent is None
                or self.agent in record.agents
                or any(offer.agent == self.agent for offer in record.offers)
            )
            and (self.disposition is None or record.disposition is self.disposition)
            and (self.direction is None or record.direction is self.direction)
            and (self.callback is None or record.callback == self.callback)
        )


class CallRecords(Operations):
    """All call records of all tenants."""

    async def append(
        self,
        tenant: str,
        head: Head,
        events: Sequence[Happened],
        *,
        end: End | None,
        keep_ms: int,
        deadline: Deadline,
        stands: Stands | None = None,
    ) -> None:
        """Write events down, and where the call stands at once with them; None: that stays as it was.

        A batch written twice counts once: events carry their own number.
        """
        key_names = [
            keys.call_record(tenant, head.id),
            keys.call_events(tenant, head.id),
            keys.call_records(tenant),
            keys.live_calls(tenant, head.pbx),
        ]
        state = None if stands is None else stands.state
        what = "" if stands is None else "forget" if state is None else "stands"
        args: list[Word] = [head.id, head.began_ms, keep_ms, _encode(head)]
        args += [b"" if end is None else _encode(end), MOST_EVENTS, what, state or b""]
        for event in events:
            args += ["1" if says_how_it_went(event) else "0", _encode(event)]
        await self._run(tenant, "call_record_append", key_names, args, deadline)

    async def get(self, tenant: str, call: str, deadline: Deadline) -> CallRecord | None:
        """One record; None: there is none (any more)."""
        (record,) = await self._read(tenant, [call], deadline)
        return record

    async def find(
        self,
        tenant: str,
        filters: RecordFilters,
        deadline: Deadline,
        *,
        limit: int = 50,
        before: str | None = None,
    ) -> list[CallRecord]:
        """The newest records that fit, at most `limit` (200); `before` is the last one already seen."""
        link, index = self._links.link_for(tenant), keys.call_records(tenant)
        newest = "+inf" if filters.until_ms is None else f"({filters.until_ms}"
        oldest = "-inf" if filters.since_ms is None else str(filters.since_ms)
        found: list[CallRecord] = []
        skip, passed = 0, before is None
        while len(found) < min(limit, MOST_LISTED) and skip < MOST_LOOKED_AT:
            words = ("ZREVRANGEBYSCORE", index, newest, oldest, "LIMIT", skip, _PAGE)
            ids = texts_of(await link.call(*words, deadline=deadline))
            if not ids:
                break
            skip += len(ids)
            if not passed:
                passed = before in ids
                ids = ids[ids.index(before) + 1 :] if before in ids else []
            read = await self._read(tenant, ids, deadline)
            found += [one for one in read if one is not None and filters.lets(one)]
        return found[:limit]

    async def _read(
        self, tenant: str, calls: Sequence[str], deadline: Deadline
    ) -> list[CallRecord | None]:
        link = self._links.link_for(tenant)
        asked = [
            (
                link.call(
                    "HMGET", keys.call_record(tenant, call), "head", "end", deadline=deadline
                ),
                link.call("LRANGE", keys.call_events(tenant, call), 0, -1, deadline=deadline),
            )
            for call in calls
        ]
        found: list[CallRecord | None] = []
        for whole, events in asked:
            head, end = list_of(await whole)
            happened = [_event(one) for one in list_of(await events) if isinstance(one, bytes)]
            if not isinstance(head, bytes):
                found.append(None)
                continue
            found.append(fold(_head(head), happened, _end(end) if isinstance(end, bytes) else None))
        return found
