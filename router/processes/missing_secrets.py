"""Which routers lack a secret: told once per change in the log, and in /readyz and the metrics meanwhile.

A signed router without its secret refuses every call, correctly signed ones too; nobody but the phone
system would notice.
"""

from typing import Final

import structlog

from router.http import health
from router.metrics import Observer
from router.site.directory import Directory, RouterEntry

MOST_TOLD: Final = 20
"""Lines per change; a data folder that is gone concerns all routers at once."""

_log = structlog.get_logger(__name__)


class MissingSecrets:
    """Looks at every new directory; one per process."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._wanting: dict[str, RouterEntry] = {}
        self._missing = 0

    def look(self, directory: Directory) -> None:
        """Take the new picture; what has changed since the last one is logged."""
        before, self._wanting = self._wanting, _wanting(directory)
        self._missing = sum(entry.refuses_all for entry in self._wanting.values())
        self._observer.secrets(missing=self._missing, unreadable=len(self._wanting) - self._missing)
        news = [entry for entry in self._wanting.values() if _differs(entry, before)]
        for entry in news[:MOST_TOLD]:
            level = _log.error if entry.refuses_all else _log.warning
            level(
                "router_secret_missing",
                router=entry.config.id,
                refuses_all=entry.refuses_all,
                reason=entry.secret_problem,
            )
        found = [name for name in before if name not in self._wanting and directory.router(name)]
        for name in found[:MOST_TOLD]:
            _log.info("router_secret_found", router=name)
        if (untold := max(len(news), len(found)) - MOST_TOLD) > 0:
            _log.warning("router_secrets_untold", routers=untold)

    def part(self, of_tokens: str | None) -> health.Part:
        """What /readyz tells: `missing` ones refuse every request, `unreadable` ones go on with what
        they still have. `of_tokens` is what is wrong with the API's."""
        unreadable = len(self._wanting) - self._missing
        words = [
            f"{self._missing} missing" if self._missing else "",
            f"{unreadable} unreadable" if unreadable else "",
            of_tokens or "",
        ]
        detail = ", ".join(word for word in words if word)
        return health.Part(name="secrets", is_well=not detail, detail=detail or None)


def _wanting(directory: Directory) -> dict[str, RouterEntry]:
    entries = directory.routers.items()
    return {name: entry for name, entry in entries if entry.secret_problem is not None}


def _differs(entry: RouterEntry, before: dict[str, RouterEntry]) -> bool:
    known = before.get(entry.config.id)
    return known is None or (known.secret_problem, known.refuses_all) != (
        entry.secret_problem,
        entry.refuses_all,
    )
