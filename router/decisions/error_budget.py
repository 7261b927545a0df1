"""Errors of a router within the past hour, and when they switch it off.

More than ten disable the router; it then answers its default target until somebody enables it again.
Enabling does not clear the count, so the next error disables it again; resetting the count does.

The truth is in the store and reaches every process with the directory. This window is what one
process knows on its own: it counts at once, disables at once, works while the store is away, and what
it holds is handed over (`pending`, `handed_over`) when the store is there again.
"""

from collections import deque
from collections.abc import Container, Mapping, Sequence
from typing import Final

import msgspec

from router.decisions.outcome import ErrorCode

LIMIT: Final = 10
"""More errors than this in WINDOW_S disable the router."""

WINDOW_S: Final = 3600.0
LAST_SHOWN: Final = 20
"""This many of a router's last errors can be seen."""

MOST_KEPT: Final = 100
"""Errors kept per router and per process while the store is away; more would change nothing."""

UNTIL_SEEN_S: Final = 2.0
"""How long this process trusts the store's verdict before the directory has brought it (250 ms)."""


class RouterError(msgspec.Struct, frozen=True):
    """One error of a router; `at_ms` is milliseconds since the epoch, `key` tells it from others."""

    at_ms: int
    code: ErrorCode
    key: str = ""


class RouterHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A router's state as the store has it: errors in the past hour, the last of them, newest first."""

    is_enabled: bool = True
    error_count: int = 0
    last_errors: tuple[RouterError, ...] = ()
    disabled_at_ms: int | None = None


class ErrorBudget:
    """One process' view. `shared` brings the counts that the store last reported."""

    def __init__(self, name: str) -> None:
        """`name` is no other process' name."""
        self._name = name
        self._counted = 0
        self._pending: dict[str, deque[RouterError]] = {}
        self._shared: dict[str, int] = {}
        self._disabled: dict[str, float | None] = {}

    def is_disabled(self, router_id: str, now_s: float) -> bool:
        """Whether this process has switched the router off on its own knowledge."""
        if router_id not in self._disabled:
            return False
        until_s = self._disabled[router_id]
        if until_s is not None and until_s <= now_s:
            del self._disabled[router_id]
            return False
        return True

    def record(self, router_id: str, code: ErrorCode, now_s: float) -> bool:
        """Count an error; True when it has just disabled the router."""
        errors = self._pending.setdefault(router_id, deque(maxlen=MOST_KEPT))
        self._counted += 1
        errors.append(RouterError(int(now_s * 1000), code, f"{self._name}{self._counted}"))
        if self.count(router_id, now_s) <= LIMIT:
            return False
        was_disabled = self.is_disabled(router_id, now_s)
        self._disabled[router_id] = None
        return not was_disabled

    def count(self, router_id: str, now_s: float) -> int:
        """Errors in the past hour as far as this process knows."""
        oldest_ms = (now_s - WINDOW_S) * 1000
        own = sum(error.at_ms > oldest_ms for error in self._pending.get(router_id, ()))
        return own + self._shared.get(router_id, 0)

    def pending(self) -> Mapping[str, Sequence[RouterError]]:
        """What the store has not been told yet."""
        return {router_id: tuple(errors) for router_id, errors in self._pending.items() if errors}

    def handed_over(
        self, router_id: str, errors: Sequence[RouterError], health: RouterHealth, now_s: float
    ) -> None:
        """The store has counted `errors` and answered with the router's state: its word counts."""
        left = self._pending.get(router_id)
        for _ in range(min(len(errors), len(left or ()))):
            if left and left[0] in errors:
                left.popleft()
        if not left:
            self._pending.pop(router_id, None)
        self.shared(router_id, health.error_count)
        if not health.is_enabled:
            self._disabled[router_id] = now_s + UNTIL_SEEN_S
        elif not left:  # else it has judged without errors of which it does not know yet
            self._disabled.pop(router_id, None)

    def forget_others(self, routers: Container[str]) -> None:
        """Only these routers are left: nobody asks for the others, or has to be told of them."""
        for known in (self._pending, self._shared, self._disabled):
            for router_id in [each for each in known if each not in routers]:
                known.pop(router_id)

    def shared(self, router_id: str, error_count: int) -> None:
        """What the store counts for this router, without what is pending here."""
        if error_count:
            self._shared[router_id] = error_count
        else:
            self._shared.pop(router_id, None)
