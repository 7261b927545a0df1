"""Labels that people put on calls, live or over; kept as long as call records are."""

from collections.abc import Sequence

import msgspec

from router.deadline import Deadline
from router.store import keys
from router.store.operations import HasLinks, Operations

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


class CallLabels(Operations):
    """All labels of all tenants."""

    def __init__(self, links: HasLinks, *, keep_days: int) -> None:
        super().__init__(links)
        self._keep_ms = keep_days * 24 * 3_600_000

    async def put(self, tenant: str, call: str, labels: Sequence[str], deadline: Deadline) -> None:
        """Replace the labels of a call. Repeating it does no harm."""
        key, link = keys.call_labels(tenant, call), self._links.link_for(tenant)
        if labels:
            await link.call(
                "SET", key, _encode(list(labels)), "PX", self._keep_ms, deadline=deadline
            )
        else:
            await link.call("DEL", key, deadline=deadline)

    async def get(
        self, tenant: str, calls: Sequence[str], deadline: Deadline
    ) -> list[tuple[str, ...]]:
        """The labels of each call, in the order of `calls`."""
        link = self._links.link_for(tenant)
        asked = [
            link.call("GET", keys.call_labels(tenant, call), deadline=deadline) for call in calls
        ]
        found = [await answer for answer in asked]
        return [_decode(one) if isinstance(one, bytes) else () for one in found]
