"""What a PBX needs of the line beyond `Line`: look after its own waiting calls, leave cleanly."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from router.deadline import Deadline
from router.store import keys
from router.store.agents_seen import LONGEST_WRAP_UP_MS
from router.store.operations import Operations, int_of, list_of, text_of, texts_of

MOST_LOOKED_AFTER: Final = 500
"""Calls looked after in one round trip."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """`ask`: calls that should ask again; `agents`: ready for some of the calls; `again_in_s`: when
    the next one gets ready by time, None: nobody does."""

    again_in_s: float | None
    ask: tuple[str, ...]
    agents: tuple[str, ...]


class Took(StrEnum):
    """What became of taking an agent by name."""

    TAKEN = "TAKEN"
    BUSY = "BUSY"
    UNKNOWN = "UNKNOWN"


class PbxLine(Operations):
    """Operations by call id, so that a controller that took a call over can use them too."""

    async def look(self, tenant: str, calls: Sequence[str], deadline: Deadline) -> Seen:
        """Look after at most 500 waiting calls; those whose time has come ask for less by then."""
        args = (keys.prefix(tenant), *calls[:MOST_LOOKED_AFTER])
        key_names = [keys.relax_due(tenant)]
        reply = list_of(await self._run(tenant, "line_look", key_names, args, deadline))
        again_ms, ask, agents = reply
        return Seen(
            again_in_s=None if int_of(again_ms) < 0 else int_of(again_ms) / 1000,
            ask=tuple(texts_of(ask)),
            agents=tuple(texts_of(agents)),
        )

    async def abandon(
        self,
        tenant: str,
        call: str,
        deadline: Deadline,
        *,
        keep_place_ms: int = 0,
        keep_for: str = "",
    ) -> int | None:
        """Leave the line and give back whoever is reserved; when the call arrived, None: it was not there.

        The place is kept for the caller, or for the number `keep_for`.
        """
        key_names = [
            keys.waiting_call(tenant, call),
            keys.tried(tenant, call),
            keys.request(tenant, call),
        ]
        args = (keys.prefix(tenant), call, keep_place_ms, keep_for)
        reply = await self._run(tenant, "line_abandon", key_names, args, deadline)
        arrival = text_of(list_of(reply)[1])
        return int(arrival) if arrival else None

    async def arrival(self, tenant: str, call: str, deadline: Deadline) -> int | None:
        """When the call began to wait, ms on the store's clock; None: it does not wait."""
        key, link = keys.waiting_call(tenant, call), self._links.link_for(tenant)
        reply = await link.call("HGET", key, "arrival", deadline=deadline)
        return None if reply is None else int_of(reply)

    async def keep_place(
        self, tenant: str, queue: str, caller: str, arrival_ms: int, deadline: Deadline
    ) -> None:
        """Whoever calls with that number within ten seconds has arrived then."""
        key = keys.kept_place(tenant, keys.queue_id(queue), caller)
        link = self._links.link_for(tenant)
        await link.call("SET", key, arrival_ms, "PX", 10_000, deadline=deadline)

    async def take_agent(
        self,
        tenant: str,
        agent: str,
        call: str,
        *,
        token: str,
        lease_ms: int,
        deadline: Deadline,
        ends_wrap_up: bool = False,
    ) -> Took:
        """Reserve this agent for this call, from no queue; then as with any reservation.

        Idempotent per token; another token for the same call takes the reservation over. With
        `ends_wrap_up` the agent is not in wrap-up any more when the call has come to nothing.
        """
        args = (keys.prefix(tenant), agent, call, token, lease_ms, int(ends_wrap_up))
        key_names = [keys.agent(tenant, agent)]
        return Took(text_of(await self._run(tenant, "agent_take", key_names, args, deadline)))

    async def agent_left(
        self,
        tenant: str,
        agent: str,
        call: str,
        *,
        wrap_up_ms: int,
        deadline: Deadline,
        pause_ms: int | None = None,
    ) -> bool:
        """The agent's part of the call is over. False: the agent is not on that call.

        `pause_ms`: no call for so long, 0 until enabled; None for who left as one does.
        """
        key_names = [keys.agent(tenant, agent)]
        pause = "" if pause_ms is None else pause_ms
        args = (keys.prefix(tenant), agent, call, wrap_up_ms, LONGEST_WRAP_UP_MS, pause)
        return await self._run(tenant, "agent_left_call", key_names, args, deadline) == 1
