"""Commands to the controller of a PBX: a bounded inbox in the store, and what became of each.

Whoever sends one (an HTTP worker, the command line) learns one of four things: it was done, it was
refused, it never happens (nobody took it in time, and nobody will), or it may have happened. The
controller takes each command once, and never after its time, which is a moment of the store's clock.
"""

from enum import StrEnum
from typing import Final

import msgspec

from router.deadline import Deadline, in_s
from router.store import keys
from router.store.operations import Operations, int_of, list_of, text_of

MOST_IN_INBOX: Final = 200
GONE_AFTER_MS: Final = 5_000
"""A controller looks into its inbox every second; one that did not for so long is gone."""

KEPT_MS: Final = 60_000
"""How long a command and its answer can be looked up."""


class Sent(StrEnum):
    """What became of sending."""

    SENT = "SENT"
    AWAY = "AWAY"
    CROWDED = "CROWDED"


class Fate(StrEnum):
    """What became of a command that is not waited for any longer."""

    WITHDRAWN = "WITHDRAWN"
    TAKEN = "TAKEN"
    ANSWERED = "ANSWERED"


class TakenCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command to be carried out within `left_s` seconds; `text` is JSON."""

    id: str
    text: bytes
    left_s: float


class DeposedError(Exception):
    """Another controller runs this PBX now."""


class PbxCommands(Operations):
    """All PBXs of all tenants."""

    # whoever sends

    async def send(
        self,
        tenant: str,
        pbx: str,
        command_id: str,
        text: bytes,
        *,
        begin_by: Deadline,
        deadline: Deadline,
    ) -> Sent:
        """Put a command into the inbox; it is not begun after `begin_by`. Idempotent per id."""
        key_names = [
            keys.pbx_command(tenant, command_id),
            keys.pbx_inbox(tenant, pbx),
            keys.pbxs(tenant),
        ]
        begin_by_ms = self._links.link_for(tenant).redis_deadline_ms(begin_by)
        args = (command_id, pbx, text, begin_by_ms, KEPT_MS, GONE_AFTER_MS, MOST_IN_INBOX)
        told = keys.pbx_told(tenant, pbx)
        reply = await self._run(tenant, "pbx_command_send", key_names, (*args, told), deadline)
        return Sent(text_of(reply))

    async def answer_to(self, tenant: str, command_id: str, deadline: Deadline) -> bytes | None:
        """The controller's answer, None while there is none."""
        key = keys.pbx_command(tenant, command_id)
        found = await self._links.link_for(tenant).call("HGET", key, "answer", deadline=deadline)
        return found if isinstance(found, bytes) else None

    async def withdraw(
        self, tenant: str, command_id: str, deadline: Deadline
    ) -> tuple[Fate, bytes]:
        """Wait no longer: what nobody has taken never happens. With ANSWERED comes the answer."""
        key = [keys.pbx_command(tenant, command_id)]
        reply = list_of(await self._run(tenant, "pbx_command_withdraw", key, (), deadline))
        answer = text_of(reply[1]).encode() if len(reply) > 1 else b""
        return Fate(text_of(reply[0])), answer

    async def pbxs(self, tenant: str, deadline: Deadline) -> dict[str, int]:
        """Every PBX this tenant had, and when its controller last looked (ms on the store's clock)."""
        words = ("ZRANGE", keys.pbxs(tenant), 0, -1, "WITHSCORES")
        reply = list_of(await self._links.link_for(tenant).call(*words, deadline=deadline))
        return {
            text_of(name): int(float(text_of(score)))
            for name, score in zip(reply[::2], reply[1::2], strict=True)
        }

    async def pbxs_at_work(self, tenant: str, deadline: Deadline) -> list[str]:
        """Those whose controller is there."""
        now_ms = self._links.link_for(tenant).redis_deadline_ms(in_s(0))
        found = await self.pbxs(tenant, deadline)
        return [name for name, looked_ms in found.items() if looked_ms >= now_ms - GONE_AFTER_MS]

    async def forget(self, tenant: str, pbx: str, deadline: Deadline) -> None:
        """A PBX that there is no more; one whose controller looks again is known again."""
        link = self._links.link_for(tenant)
        await link.call("ZREM", keys.pbxs(tenant), pbx, deadline=deadline)

    # the controller

    async def take(
        self, tenant: str, pbx: str, *, token: str, deadline: Deadline
    ) -> TakenCommand | None:
        """The next command; `DeposedError` when a `token` (if any) no longer holds the PBX's lease."""
        key_names = [
            keys.pbx_inbox(tenant, pbx),
            keys.pbxs(tenant),
            keys.pbx_lease(tenant, pbx),
        ]
        args = (keys.prefix(tenant), pbx, token)
        reply = await self._run(tenant, "pbx_command_take", key_names, args, deadline)
        if reply is None:
            return None
        if reply == b"DEPOSED":
            raise DeposedError
        command_id, text, left_ms = list_of(reply)
        return TakenCommand(
            id=text_of(command_id), text=text_of(text).encode(), left_s=int_of(left_ms) / 1000
        )

    async def answer(self, tenant: str, command_id: str, text: bytes, deadline: Deadline) -> None:
        """Say what became of a command that was taken."""
        key = [keys.pbx_command(tenant, command_id)]
        await self._run(tenant, "pbx_command_answer", key, (text,), deadline)
