"""What was worked out with a tenant's names, and is good until there are others.

A directory is replaced as a whole, and holds every agent there is: nothing here may outlive it by long.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from router.decisions.outcome import Names

_T = TypeVar("_T")


class KeptByNames(Generic[_T]):
    """At most `most` things, by tenant and by a key: the id of what each was worked out from.

    An id is good as long as its object lives: keep the object beside what is kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._kept: dict[str, tuple[Names, dict[Hashable, _T]]] = {}

    def get(self, tenant: str, names: Names, key: Hashable) -> _T | None:
        """What was put for these very names."""
        of_tenant = self._kept.get(tenant)
        return None if of_tenant is None or of_tenant[0] is not names else of_tenant[1].get(key)

    def put(self, tenant: str, names: Names, key: Hashable, thing: _T) -> None:
        """Keep it; what was kept for other names of the tenant is forgotten."""
        if self._count >= self._most:
            self._kept.clear()
            self._count = 0
        of_tenant = self._kept.get(tenant)
        if of_tenant is None or of_tenant[0] is not names:
            self._count -= 0 if of_tenant is None else len(of_tenant[1])
            of_tenant = self._kept[tenant] = (names, {})
        kept = of_tenant[1]
        self._count += key not in kept
        kept[key] = thing

    def __len__(self) -> int:
        return self._count
