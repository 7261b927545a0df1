"""Whether the store takes writes: one that is full, a replica or cannot save still answers questions."""

from router.deadline import Deadline
from router.store import keys
from router.store.link import Link


async def need_writes(link: Link, tenant: str, deadline: Deadline) -> None:
    """Ask for a write that changes nothing where the tenant has its keys. StoreRefusedError says why not.

    It is refused like any other write; once the key is there, nothing is written down anywhere.
    """
    await link.call("SET", keys.writable(tenant), 1, "NX", deadline=deadline)
