"""Versions of rules files in the store, by digest: what the decision log is explained with."""

from typing import Final

from router.deadline import Deadline
from router.store import keys
from router.store.link import Link
from router.store.scripts import load_script, run_script

KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long a version is kept after it was last in force."""

MOST_VERSIONS: Final = 100
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of one tenant; beyond, those that were in force longest ago go."""


async def keep_version(
    link: Link, tenant: str, digest: str, packed: bytes, deadline: Deadline
) -> bool:
    """Keep a version, or keep it longer. With `packed` empty: False when it has to be brought."""
    args = (digest, keys.prefix(tenant), KEPT_MS, MOST_VERSIONS, MOST_BYTES, packed)
    names = [keys.rules_versions(tenant), keys.rules_version(tenant, digest)]
    return await run_script(link, load_script("rules_archive"), names, args, deadline) == 1


async def get_version(link: Link, tenant: str, digest: str, deadline: Deadline) -> bytes | None:
    """A version, packed; None: it was never kept, or is gone."""
    reply = await link.call("GET", keys.rules_version(tenant, digest), deadline=deadline)
    return reply if isinstance(reply, bytes) else None
