"""Which call ids are legs of one conversation.

No single id spans all legs: a call center's leg knows its master and its operator's leg, the
operator's leg only the call center's. Each event names some pairs; here they are united.
"""

from collections.abc import Sequence
from typing import Final

from router.deadline import Deadline
from router.store import keys
from router.store.operations import Operations, dated, texts_of

LEGS_KEPT_MS: Final = 6 * 3_600_000
"""How long legs are remembered after the last event about them; longer than the longest call."""


class Legs(Operations):
    """The legs of all tenants' calls."""

    async def unite(
        self,
        tenant: str,
        calls: Sequence[str],
        *,
        at_ms: int | None,
        begins: bool,
        deadline: Deadline,
        agent: str | None = None,
    ) -> tuple[str, ...]:
        """All ids known to belong together with `calls` (1 to 4, the leg's own first), at most 16.

        `agent` is whose leg it is. Of a leg that ends after a later leg of the same conversation to the
        same agent has begun, only its own id is returned: it has nothing to say about that one.
        """
        key_names = [keys.legs(tenant, call) for call in calls]
        args: list[str | int] = [keys.prefix(tenant), LEGS_KEPT_MS, agent or ""]
        args += ["1" if begins else "0", dated(at_ms), *calls]
        reply = await self._run(tenant, "legs_unite", key_names, args, deadline)
        return tuple(texts_of(reply))
