"""What all operations on agents and lines have in common: a script, its keys, a deadline on Redis' clock."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from router.deadline import Deadline
from router.errors import ConflictError, RememberedError, StoreRefusedError
from router.store.link import Link, OnLate, Reply
from router.store.scripts import Script, load_script, run_script
from router.store.wire import Word

MAX_REQUIREMENTS: Final = 500
"""Requirements one tenant may have, each queue's own included: bounds every change of an agent."""


class HasLinks(Protocol):
    """Where a tenant's keys are to be had."""

    def link_for(self, tenant: str) -> Link: ...


class ExpiredError(StoreRefusedError):
    """The deadline had passed on the store's clock; nothing was done."""

    code = "store_late"


class UnregisteredError(StoreRefusedError):
    """The requirement is not registered; nothing was done."""

    code = "requirement_unregistered"


class TooManyRequirementsError(StoreRefusedError):
    """The tenant has 500 requirements (queues with minimum skill levels) already; nothing was done."""

    code = "too_many_requirements"
    safe_to_repeat = False


class LineFullError(ConflictError):
    """As many calls wait in this queue as may."""

    code = "line_full"


class Operations:
    """Runs scripts by name for one kind of object; the base of `Agents` and `Line`."""

    def __init__(self, links: HasLinks, scripts: Mapping[str, Script] | None = None) -> None:
        """`scripts` stand in for those of the same name: tests put broken ones there."""
        self._links = links
        self._replaced = scripts or {}

    async def _run(  # noqa: PLR0917 - private, in the order of run_script
        self,
        tenant: str,
        name: str,
        keys: Sequence[str],
        args: Sequence[Word],
        deadline: Deadline,
        on_late: OnLate | None = None,
    ) -> Reply:
        link = self._links.link_for(tenant)
        script = self._script(name)
        limit_ms = link.redis_deadline_ms(deadline)
        reply = await run_script(link, script, keys, (limit_ms, *args), deadline, on_late)
        if isinstance(reply, bytes):
            raise_refusal(reply)
        return reply

    def _script(self, name: str) -> Script:
        return self._replaced.get(name) or load_script(name)


def raise_refusal(reply: bytes) -> None:
    """What a script says instead of a result, as an error."""
    if reply == b"EXPIRED":
        raise ExpiredError
    if reply == b"UNREGISTERED":
        raise UnregisteredError
    if reply == b"FULL":
        raise TooManyRequirementsError
    if reply == b"LINE_FULL":
        raise LineFullError
    if reply == b"REMEMBERED":
        raise RememberedError


def dated(at_ms: int | None) -> str | int:
    """A time as scripts take it: without one they say what time it is on the store's clock."""
    return "" if at_ms is None else at_ms


def text_of(reply: Reply) -> str:
    """A reply that has to be text."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, int):
        return str(reply)
    raise StoreRefusedError("a reply of the store is unreadable")


def bytes_of(reply: Reply) -> bytes:
    """A reply that has to be text, as it came."""
    if isinstance(reply, bytes):
        return reply
    raise StoreRefusedError("a reply of the store is unreadable")


def texts_of(reply: Reply) -> list[str]:
    """A reply that has to be a list of texts."""
    return [text_of(item) for item in list_of(reply)]


def int_of(reply: Reply) -> int:
    """A reply that has to be a whole number."""
    if isinstance(reply, (bytes, int)):
        return int(reply)
    raise StoreRefusedError("a reply of the store is unreadable")


def list_of(reply: Reply) -> list[Reply]:
    """A reply that has to be a list."""
    if isinstance(reply, list):
        return reply
    raise StoreRefusedError("a reply of the store is unreadable")
