"""What phone systems see of agents and their calls, told to the store: it has happened, whatever we believed.

One Lua operation per method; copies, disorder and what never comes do no harm.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from router.acd.agents import AgentState
from router.deadline import Deadline
from router.errors import NotFoundError
from router.store import keys
from router.store.link import Reply
from router.store.operations import Operations, dated, list_of, text_of
from router.store.reserving import MAX_GROUP, check

LONGEST_CALL_MS: Final = 4 * 3_600_000
"""A call whose end is never reported holds its agent for so long."""
LONGEST_WRAP_UP_MS: Final = 3_600_000
RING_MS: Final = 60_000
"""How long a phone that a platform reports as ringing may ring before we stop believing it."""
UNANSWERED_LIMIT: Final = 3


class CallSeen(StrEnum):
    """What a phone system reports of a call of an agent."""

    RINGING = "ringing"
    CONNECTED = "connected"
    HANGUP = "hangup"
    MISSED = "missed"


class StatusSeen(StrEnum):
    """What a phone system reports of an agent; `unavailable` is off duty."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    OCCUPIED = "occupied"
    BUSY = "busy"
    WRAPUP = "wrapup"


class PhoneSeen(StrEnum):
    """What a PBX sees of an agent's phone; `busy` is with a call that is none of ours."""

    LOST = "lost"
    BUSY = "busy"
    FREE = "free"


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a report changed anything (late ones and copies do not), and where the agent is now."""

    applied: bool
    state: AgentState


class AgentsSeen(Operations):
    """Reports about the agents of all tenants."""

    async def observe_call(
        self,
        tenant: str,
        agent: str,
        *,
        seen: CallSeen,
        calls: Sequence[str],
        at_ms: int | None,
        deadline: Deadline,
        caller: str | None = None,
        queue: str | None = None,
        wrap_up_ms: int = 0,
        ring_ms: int = RING_MS,
        longest_call_ms: int = LONGEST_CALL_MS,
        limit: int = UNANSWERED_LIMIT,
        pause_ms: int | None = None,
    ) -> Observed | None:
        """Apply a call event; None: no such agent. Copies, late and missing events do no harm.

        `calls` are all ids that belong together, this leg's own first; `at_ms` is the event's time on
        the reporter's clock, None where it told none: it is now, then. A connected call confirms the agent's reservation for it. `queue`,
        `caller` and `wrap_up_ms` are used where there was no reservation to say so.
        """
        check(1 <= len(calls) <= MAX_GROUP, "calls", f"1 to {MAX_GROUP} ids")
        args: list[str | int] = [keys.prefix(tenant), agent, seen.value, dated(at_ms), caller or ""]
        args += ["" if queue is None else keys.queue_id(queue), wrap_up_ms, ring_ms]
        args += [longest_call_ms, LONGEST_WRAP_UP_MS, limit, pause_ms or 0, *calls]
        key_names = [keys.agent(tenant, agent), keys.call_over(tenant, calls[0])]
        return _observed(await self._run(tenant, "agent_observe_call", key_names, args, deadline))

    async def observe_status(
        self,
        tenant: str,
        agent: str,
        *,
        status: StatusSeen,
        at_ms: int | None,
        deadline: Deadline,
        do_not_disturb: bool | None = None,
        reason: str | None = None,
        longest_wrap_up_ms: int = LONGEST_WRAP_UP_MS,
    ) -> Observed | None:
        """Apply an agent status event; None: no such agent. `do_not_disturb` None: not known.

        `at_ms` as for a call.
        """
        dnd = "" if do_not_disturb is None else str(int(do_not_disturb))
        args = (
            *(keys.prefix(tenant), agent, status.value, dated(at_ms), dnd, reason or ""),
            *(LONGEST_CALL_MS, longest_wrap_up_ms),
        )
        key_names = [keys.agent(tenant, agent)]
        return _observed(await self._run(tenant, "agent_observe_status", key_names, args, deadline))

    async def observe_phone(
        self, tenant: str, agent: str, *, seen: PhoneSeen, pbx: str, deadline: Deadline
    ) -> AgentState:
        """Apply what a PBX sees of the agent's phone; the last report holds. `NotFoundError`."""
        args = (keys.prefix(tenant), agent, seen.value, pbx, LONGEST_CALL_MS)
        key_names = [keys.agent(tenant, agent)]
        reply = await self._run(tenant, "agent_phone", key_names, args, deadline)
        if reply is None:
            raise NotFoundError("there is no such agent")
        return AgentState(text_of(reply))


def _observed(reply: Reply) -> Observed | None:
    if reply is None:
        return None
    applied, state = list_of(reply)
    return Observed(applied=applied == 1, state=AgentState(text_of(state)))
