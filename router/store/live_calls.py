"""Live calls of one PBX in the store: the state of each as last written, and who runs the PBX."""

import secrets

from router.deadline import Deadline
from router.errors import StoreRefusedError
from router.store import keys
from router.store.link import Reply
from router.store.operations import Operations, list_of, text_of


class LiveCalls(Operations):
    """States are opaque bytes here; written whole, the latest wins."""

    async def save(
        self, tenant: str, pbx: str, states: dict[str, bytes | None], deadline: Deadline
    ) -> None:
        """Write some calls down, and forget those that are None. Repeating it does no harm."""
        link, key = self._links.link_for(tenant), keys.live_calls(tenant, pbx)
        kept = [
            part for call, state in states.items() if state is not None for part in (call, state)
        ]
        gone = [call for call, state in states.items() if state is None]
        # Both go out in one write; the link answers in order.
        asked = [link.call("HSET", key, *kept, deadline=deadline)] if kept else []
        asked += [link.call("HDEL", key, *gone, deadline=deadline)] if gone else []
        failed: Exception | None = None
        for answer in asked:
            try:
                await answer
            except Exception as error:  # noqa: BLE001 - each answer is awaited; the first failure counts
                failed = failed or error
        if failed is not None:
            raise failed

    async def load(self, tenant: str, pbx: str, deadline: Deadline) -> dict[str, bytes]:
        """All calls of that PBX as last written."""
        key = keys.live_calls(tenant, pbx)
        reply = await self._links.link_for(tenant).call("HGETALL", key, deadline=deadline)
        parts = list_of(reply)
        return {
            text_of(call): _bytes_of(state)
            for call, state in zip(parts[::2], parts[1::2], strict=True)
        }

    async def get(self, tenant: str, pbx: str, call: str, deadline: Deadline) -> bytes | None:
        """One call of that PBX as last written; None: it is not going on."""
        key = keys.live_calls(tenant, pbx)
        found = await self._links.link_for(tenant).call("HGET", key, call, deadline=deadline)
        return None if found is None else _bytes_of(found)

    async def owner(self, tenant: str, pbx: str, deadline: Deadline) -> str:
        """A word that all controllers of this PBX share, and those of no other store or PBX."""
        key, made = keys.pbx_owner(tenant, pbx), secrets.token_hex(8)
        link = self._links.link_for(tenant)
        found = await link.call("SET", key, made, "NX", "GET", deadline=deadline)
        return made if found is None else text_of(found)

    async def lead(
        self, tenant: str, pbx: str, *, token: str, lease_ms: int, deadline: Deadline
    ) -> bool:
        """Begin or go on to run the PBX; False: somebody else does. `lease_ms` 0 gives it up."""
        key = [keys.pbx_lease(tenant, pbx)]
        return await self._run(tenant, "pbx_lead", key, (token, lease_ms), deadline) == 1


def _bytes_of(reply: Reply) -> bytes:
    if isinstance(reply, bytes):
        return reply
    raise StoreRefusedError("a reply of the store is unreadable")
