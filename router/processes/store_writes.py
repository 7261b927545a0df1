"""Whether the store takes writes: one that is full, a replica or cannot save refuses them all.

It still answers questions, so that the link to it is open and the picture fresh; but no agent is reserved
and no decision written down. So it is asked for a write that changes nothing.
"""

from collections.abc import Iterable
from typing import Final

import structlog

from router.deadline import in_s
from router.errors import RefusalKind, StoreRefusedError
from router.metrics import Observer
from router.store.links import Links
from router.store.writable import need_writes

_LONGEST_S: Final = 2.0

_log = structlog.get_logger(__name__)


class StoreWrites:
    """Asks now and then; one per process."""

    def __init__(self, links: Links, observer: Observer) -> None:
        self._links = links
        self._observer = observer
        self._refusal: RefusalKind | None = None

    @property
    def detail(self) -> str | None:
        """For /readyz: why nothing is written. None: it is."""
        return None if self._refusal is None else f"refuses writes: {self._refusal.value}"

    async def look(self, tenants: Iterable[str]) -> None:
        """Ask where these have their keys. What does not answer at all says nothing about writes."""
        refusal: RefusalKind | None = None
        for tenant in tenants:
            try:
                await need_writes(self._links.link_for(tenant), tenant, in_s(_LONGEST_S))
            except StoreRefusedError as error:
                refusal = error.kind
        self._observer.store_refuses_writes(is_so=refusal is not None)
        if refusal is self._refusal:
            return
        self._refusal = refusal
        if refusal is None:
            _log.info("store_takes_writes")
        else:
            _log.error("store_refuses_writes", kind=refusal.value)
