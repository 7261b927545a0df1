"""Callbacks in the store: promised once per number and queue, owned by one PBX at a time.

An attempt is counted before the number is dialled. After a crash the callback is still `dialling`:
whoever takes it over knows that an attempt of unknown outcome was made, and does not repeat it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from router.deadline import Deadline
from router.errors import ConflictError, NotFoundError
from router.store import keys
from router.store.operations import HasLinks, Operations, int_of, list_of, text_of, texts_of
from router.store.scripts import Script
from rules.actions import Relax

MOST_OPEN: Final = 10_000
MOST_CALLS: Final = 100
"""Of so many calls made for a callback it knows the ids."""
_DAY_MS: Final = 24 * 3_600_000
MOST_KEPT_MS: Final = 30 * _DAY_MS
"""How long a callback that is over can be seen at most. Its id alone stays as long as that in any case."""
ID_PREFIX: Final = "cb-"
"""What the id of every callback begins with: it stands in line like a call's."""

_encode = msgspec.json.Encoder().encode


class DuplicateCallbackError(ConflictError):
    """This number is to be called back from this queue already."""

    code = "callback_duplicate"


class TooManyCallbacksError(ConflictError):
    """As many callbacks are open as may be."""

    code = "callbacks_full"


class Status(StrEnum):
    WAITING = "waiting"
    DIALLING = "dialling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was promised; never changes. `number` is E.164, `call` the call it was promised in."""

    id: str
    queue: str
    number: str
    agent_first: bool = True
    priority: int = 0
    skills: dict[str, int] = {}
    relax: tuple[Relax, ...] = ()
    call: str | None = None
    called: str | None = None


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as it stands. Times in ms since the epoch; `arrival_ms` is its place in line.

    `calls` are the ids of the calls begun to keep it, the last ones. An attempt counts when the customer
    was dialled, so there may be more of them than `attempts`.
    """

    about: About
    status: Status
    attempts: int
    arrival_ms: int
    created_ms: int
    reason: str = ""
    due_ms: int | None = None
    calls: tuple[str, ...] = ()


_about = msgspec.json.Decoder(About).decode


class Callbacks(Operations):
    """All callbacks of all tenants."""

    def __init__(
        self,
        links: HasLinks,
        scripts: Mapping[str, Script] | None = None,
        *,
        keep_days: int = 90,
    ) -> None:
        """One that is over is kept no longer than the records of its calls, which are for `keep_days`."""
        super().__init__(links, scripts)
        self._keep_ms = min(keep_days * _DAY_MS, MOST_KEPT_MS)

    async def create(
        self, tenant: str, about: About, deadline: Deadline, *, arrival_ms: int | None = None
    ) -> None:
        """Promise it; `DuplicateCallbackError`, `TooManyCallbacksError`. Idempotent per id."""
        key_names = [
            keys.callback(tenant, about.id),
            keys.callbacks(tenant),
            keys.callback_numbers(tenant),
            keys.callbacks_due(tenant),
        ]
        arrival = "" if arrival_ms is None else arrival_ms
        args = (about.id, _number(about), _encode(about), arrival, MOST_OPEN)
        reply = list_of(await self._run(tenant, "callback_create", key_names, args, deadline))
        if reply[0] == b"DUPLICATE":
            raise DuplicateCallbackError
        if reply[0] == b"FULL":
            raise TooManyCallbacksError

    async def find_open(
        self, tenant: str, queue: str, number: str, deadline: Deadline
    ) -> str | None:
        """The id of the open callback to that number from that queue."""
        field = f"{queue} {number}"
        key = keys.callback_numbers(tenant)
        reply = await self._links.link_for(tenant).call("HGET", key, field, deadline=deadline)
        return None if reply is None else text_of(reply)

    async def due(self, tenant: str, now_ms: int, deadline: Deadline, *, limit: int) -> list[str]:
        """Ids of those somebody has to see to by now (`now_ms` on the store's clock)."""
        words = ("ZRANGEBYSCORE", keys.callbacks_due(tenant), "-inf", now_ms, "LIMIT", 0, limit)
        reply = await self._links.link_for(tenant).call(*words, deadline=deadline)
        return texts_of(reply)

    async def claim(
        self, tenant: str, callback_id: str, *, owner: str, lease_ms: int, deadline: Deadline
    ) -> Callback | None:
        """See to it for `lease_ms`, or go on to; None: it is somebody else's, or over."""
        key_names = [keys.callback(tenant, callback_id), keys.callbacks_due(tenant)]
        args = (callback_id, owner, lease_ms)
        reply = await self._run(tenant, "callback_claim", key_names, args, deadline)
        if reply is None:
            return None
        about, status, attempts, arrival, created = list_of(reply)
        return Callback(
            about=_about(text_of(about)),
            status=Status(text_of(status)),
            attempts=int_of(attempts),
            arrival_ms=int_of(arrival),
            created_ms=int_of(created),
        )

    async def attempt(
        self, tenant: str, callback_id: str, call: str, *, owner: str, most: int, deadline: Deadline
    ) -> bool:
        """Count an attempt, which is `call`, before it is made; False: it must not be made."""
        key_names = [keys.callback(tenant, callback_id)]
        args = (owner, most, call, MOST_CALLS)
        count = await self._run(tenant, "callback_attempt", key_names, args, deadline)
        return int_of(count) > 0

    async def settle(
        self,
        tenant: str,
        about: About,
        status: Status,
        *,
        owner: str,
        deadline: Deadline,
        reason: str = "",
        due_in_ms: int = 0,
        is_uncounted: bool = False,
    ) -> bool:
        """Back to waiting (again in `due_in_ms`), or over. False: not ours, or over already."""
        key_names = [
            keys.callback(tenant, about.id),
            keys.callbacks_due(tenant),
            keys.callback_numbers(tenant),
            keys.callbacks(tenant),
        ]
        args = (
            *(about.id, owner, status.value, reason, due_in_ms, _number(about), self._keep_ms),
            *("1" if is_uncounted else "0", MOST_KEPT_MS),
        )
        return await self._run(tenant, "callback_settle", key_names, args, deadline) == 1

    async def cancel(self, tenant: str, callback_id: str, deadline: Deadline) -> None:
        """Give it up; `NotFoundError`, `ConflictError` (it is over, or being dialled)."""
        found = await self.get(tenant, callback_id, deadline)
        if found is None:
            raise NotFoundError(f"there is no callback {callback_id}")
        is_over = await self.settle(
            tenant, found.about, Status.CANCELLED, owner="", deadline=deadline
        )
        if not is_over:
            raise ConflictError("the callback is over, or being made at this moment")

    async def get(self, tenant: str, callback_id: str, deadline: Deadline) -> Callback | None:
        (found,) = await self._read(tenant, [callback_id], deadline)
        return found

    async def find(
        self,
        tenant: str,
        deadline: Deadline,
        *,
        queue: str | None = None,
        status: Status | None = None,
        skip: int = 0,
        limit: int = 100,
    ) -> list[Callback]:
        """Oldest first; looks at `limit` (1000) of them from `skip` on and leaves out what does not fit."""
        key, last = keys.callbacks(tenant), skip + min(limit, 1000) - 1
        link = self._links.link_for(tenant)
        reply = await link.call("ZRANGE", key, skip, last, deadline=deadline)
        found = await self._read(tenant, texts_of(reply), deadline)
        return [
            one
            for one in found
            if one is not None
            and (queue is None or one.about.queue == queue)
            and (status is None or one.status is status)
        ]

    async def _read(self, tenant: str, ids: list[str], deadline: Deadline) -> list[Callback | None]:
        link = self._links.link_for(tenant)
        fields = ("about", "status", "attempts", "arrival", "created", "reason", "due", "calls")
        asked = [
            link.call("HMGET", keys.callback(tenant, one), *fields, deadline=deadline)
            for one in ids
        ]
        found: list[Callback | None] = []
        for answer in asked:
            about, status, attempts, arrival, created, reason, due, calls = list_of(await answer)
            if about is None:
                found.append(None)
                continue
            found.append(
                Callback(
                    about=_about(text_of(about)),
                    status=Status(text_of(status)),
                    attempts=int_of(attempts),
                    arrival_ms=int_of(arrival),
                    created_ms=int_of(created),
                    reason=text_of(reason),
                    due_ms=int_of(due),
                    calls=() if calls is None else tuple(text_of(calls).split()),
                )
            )
        return found


def _number(about: About) -> str:
    return f"{about.queue} {about.number}"
