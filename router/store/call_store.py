"""What a decision needs of the store, and what is to be cleared up after the answer."""

import asyncio
import contextlib
import secrets
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final

from router.deadline import Deadline
from router.decisions.dialogue import NOTHING_KNOWN, MadeBy, Memory
from router.decisions.kept import KeptByNames
from router.decisions.outcome import Asked, Taken
from router.errors import NotFoundError, StoreRefusedError
from router.store import keys
from router.store.agents import Agents
from router.store.callbacks import ID_PREFIX, Callbacks
from router.store.facts import queue_facts
from router.store.link import Reply
from router.store.links import Links
from router.store.memory import read_memory, remembering, scope_of
from router.store.reserving import Asker, Reserving, Wanted, Wish
from rules.actions import ReserveAgent, Strategy
from rules.facts import LiveFacts
from rules.requirements import Requirement

MOST_KNOWN: Final = 4096
"""Actions of all rulesets whose wish is kept written down."""


def callback_id(request_id: str) -> str:
    """The id of the callback that a routing request has asked for: asked twice it is promised once."""
    return f"{ID_PREFIX}{request_id}"


def _taken_of(reply: Sequence[Reply]) -> Taken:
    _, token, agent, *_ = reply
    if isinstance(agent, bytes) and isinstance(token, bytes):
        return Taken(agent.decode(), token.decode())
    raise StoreRefusedError("a reservation is unreadable")


class CallStore:
    """`router.decisions.needed.Store` over the fast links; `lease_ms` is how long an unconfirmed agent is kept."""

    def __init__(self, links: Links, agents: Agents, *, lease_ms: int) -> None:
        self._links = links
        self._agents = agents
        self._callbacks = Callbacks(links)
        self._lease_ms = lease_ms
        self._known: KeptByNames[tuple[ReserveAgent, Wanted]] = KeptByNames(MOST_KNOWN)
        self._sealed = blake2b(key=secrets.token_bytes(16), digest_size=16)

    def is_open(self, tenant: str) -> bool:
        """False when asking would fail at once."""
        return self._links.link_for(tenant).is_open

    async def look_up(
        self, asked: Asked, queues: Collection[str], deadline: Deadline
    ) -> tuple[Memory, LiveFacts]:
        """The call's memory and live facts: all commands go out in one write."""
        tenant, link = asked.router.tenant, self._links.link_for(asked.router.tenant)
        if not asked.call.call_id:
            return NOTHING_KNOWN, await queue_facts(link, tenant, queues, deadline)
        scope, call = scope_of(asked), asked.call.call_id
        recalled = asyncio.gather(
            link.call("HGETALL", keys.call_memory(tenant, scope, call), deadline=deadline),
            link.call("GET", keys.call_answer(tenant, scope, call), deadline=deadline),
        )
        try:
            facts = await queue_facts(link, tenant, queues, deadline)
        except BaseException:
            if not recalled.cancel() and not recalled.cancelled():
                recalled.exception()  # it has failed as well; nobody has to be told twice
            raise
        return read_memory(*await recalled), facts

    def reserve(
        self,
        asked: Asked,
        wanted: ReserveAgent,
        request_id: str,
        deadline: Deadline,
        /,
        *,
        first: MadeBy | None,
    ) -> Reserving[Taken]:
        """Begin to reserve one agent whom this platform can reach."""
        call = asked.call
        asker = Asker(
            request_id,
            call.call_id or request_id,
            self._token(request_id),
            call.caller,
            None if first is None else remembering(asked, first, wanted.queue),
        )
        return self._agents.begin(self._wanted(asked, wanted), asker, deadline, _taken_of)

    async def cancel(self, tenant: str, request_id: str, deadline: Deadline) -> None:
        """Take back a reservation of which nobody knows whether it happened."""
        token = self._token(request_id)
        await self._agents.cancel(tenant, request_id=request_id, token=token, deadline=deadline)

    async def give_back(self, tenant: str, taken: Taken, deadline: Deadline) -> None:
        """Release an agent who was of no use, with the old place in the line of the idle."""
        await self._agents.release(
            tenant, taken.agent, taken.token, keep_place=True, deadline=deadline
        )

    async def withdraw(self, tenant: str, request_id: str, deadline: Deadline) -> None:
        """Give up a callback of which nobody knows whether it was promised."""
        with contextlib.suppress(NotFoundError):  # it was not
            await self._callbacks.cancel(tenant, callback_id(request_id), deadline)

    def _wanted(self, asked: Asked, wanted: ReserveAgent) -> Wanted:
        """What an action asks of the store; it stays so until rules, directory or phones change."""
        tenant, names = asked.router.tenant, asked.names
        exclude = names.unreachable(wanted.queue, asked.dialect.address)
        known = self._known.get(tenant, names, id(wanted))
        if known is not None and known[0] is wanted and known[1].wish.exclude is exclude:
            return known[1]
        found = self._agents.want(self._wish(asked, wanted, exclude))
        self._known.put(tenant, names, id(wanted), (wanted, found))
        return found

    def _wish(self, asked: Asked, wanted: ReserveAgent, exclude: tuple[str, ...]) -> Wish:
        queue = asked.names.queue(wanted.queue)
        strategy = wanted.strategy or (queue.strategy if queue else Strategy.LONGEST_IDLE)
        if strategy is Strategy.SIMULTANEOUS:
            strategy = Strategy.LONGEST_IDLE  # a platform that can be told one user only
        return Wish(
            tenant=asked.router.tenant,
            requirement=Requirement.of(wanted.queue, wanted.skills),
            strategy=strategy,
            lease_ms=self._lease_ms,
            sticky_s=wanted.sticky_s or 0,
            wrap_up_ms=queue.wrap_up_seconds * 1000 if queue else 0,
            exclude=exclude,
        )

    def _token(self, request_id: str) -> str:
        """Made from the request, so that it can be taken back without having been written down."""
        token = self._sealed.copy()
        token.update(request_id.encode())
        return token.hexdigest()
