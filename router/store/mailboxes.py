"""Messages left for mailboxes, and the PINs of agents who log in by phone."""

from typing import Final

import msgspec

from router.deadline import Deadline
from router.store import keys
from router.store.operations import HasLinks, Operations, list_of, text_of

MOST_MESSAGES: Final = 1000
"""Per mailbox; the oldest entries go first."""
WRONG_PINS: Final = 5
LOCKED_MS: Final = 15 * 60_000


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message: `file` is its name in the recordings folder, `at_ms` since the epoch."""

    call: str
    at_ms: int
    file: str
    sha256: str
    caller: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class Mailboxes(Operations):
    """All mailboxes of all tenants."""

    def __init__(self, links: HasLinks, *, keep_days: int = 90) -> None:
        """A message is listed for `keep_days`, as long as its file is kept."""
        super().__init__(links)
        self._keep_ms = keep_days * 24 * 3_600_000

    async def add(self, tenant: str, mailbox: str, message: Message, deadline: Deadline) -> None:
        key = [keys.messages(tenant, mailbox)]
        args = (_encode(message), self._keep_ms, MOST_MESSAGES)
        await self._run(tenant, "message_add", key, args, deadline)

    async def find(
        self, tenant: str, mailbox: str, deadline: Deadline, *, limit: int = 100
    ) -> list[Message]:
        """Newest first."""
        words = ("LRANGE", keys.messages(tenant, mailbox), 0, limit - 1)
        reply = await self._links.link_for(tenant).call(*words, deadline=deadline)
        return [_decode(text_of(one)) for one in list_of(reply)]


class Pins(Operations):
    """Hashes of PINs; who tries too often is kept waiting."""

    async def set(self, tenant: str, agent: str, digest: str | None, deadline: Deadline) -> None:
        """Keep the hash of an agent's PIN; None: no logging in by phone."""
        link, key = self._links.link_for(tenant), keys.pins(tenant)
        if digest is None:
            await link.call("HDEL", key, agent, deadline=deadline)
        else:
            await link.call("HSET", key, agent, digest, deadline=deadline)

    async def begin(self, tenant: str, agent: str, deadline: Deadline) -> str | None:
        """The hash to check against; counts as a wrong try until `succeeded`."""
        key_names = [keys.pins(tenant), keys.pin_tries(tenant, agent)]
        args = (agent, WRONG_PINS, LOCKED_MS)
        reply = await self._run(tenant, "pin_try", key_names, args, deadline)
        return None if reply is None else text_of(reply)

    async def succeeded(self, tenant: str, agent: str, deadline: Deadline) -> None:
        key = keys.pin_tries(tenant, agent)
        await self._links.link_for(tenant).call("DEL", key, deadline=deadline)
