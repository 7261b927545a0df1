"""Routers' errors and switches in the store: what all processes share.

Keys of their own, so that nobody who writes a router's configuration touches them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from router.deadline import Deadline
from router.decisions.error_budget import (
    LAST_SHOWN,
    LIMIT,
    MOST_KEPT,
    WINDOW_S,
    RouterError,
    RouterHealth,
)
from router.decisions.outcome import ErrorCode
from router.errors import StoreRefusedError
from router.store import keys
from router.store.link import Link, Reply
from router.store.scripts import load_script, run_script

_WINDOW_MS: Final = int(WINDOW_S * 1000)
_ROUTERS_AT_ONCE: Final = 200
_CODES: Final = frozenset(code.value for code in ErrorCode)


async def record_errors(
    link: Link,
    tenant: str,
    router: str,
    errors: Sequence[RouterError],
    deadline: Deadline,
    *,
    now_ms: int,
) -> RouterHealth:
    """Count errors (telling them twice counts once) and return the router's state since then.

    `now_ms` is of the clock that the errors were dated by; the store keeps them by its own.
    """
    words = [f"{error.at_ms} {error.code.value} {error.key}" for error in errors]
    reply = await run_script(
        link,
        load_script("errors_record"),
        [
            keys.router_errors(tenant, router),
            keys.routers_disabled(tenant),
            keys.router_resets(tenant),
        ],
        [router, LIMIT, _WINDOW_MS, MOST_KEPT, now_ms, *words],
        deadline,
    )
    match reply:
        case [int(count), int(disabled_at_ms), int()]:
            pass
        case _:
            raise StoreRefusedError("the count of errors is unreadable")
    return RouterHealth(
        is_enabled=disabled_at_ms == 0,
        error_count=count,
        disabled_at_ms=disabled_at_ms or None,
    )


async def set_enabled(
    link: Link, tenant: str, router: str, deadline: Deadline, *, enabled: bool
) -> None:
    """Switch a router on or off. Switching it on clears no error."""
    script = load_script("errors_switch")
    args = [router, "1" if enabled else "0"]
    await run_script(link, script, [keys.routers_disabled(tenant)], args, deadline)


async def reset_error_count(link: Link, tenant: str, router: str, deadline: Deadline) -> None:
    """Forget a router's errors. Does not switch it on."""
    script = load_script("errors_reset")
    key_names = [keys.router_errors(tenant, router), keys.router_resets(tenant)]
    await run_script(link, script, key_names, [router], deadline)


async def read_health(
    link: Link, tenant: str, routers: Iterable[str], deadline: Deadline
) -> Mapping[str, RouterHealth]:
    """The state of routers with their last errors; a round trip for some hundred of them."""
    names = list(routers)
    disabled = link.call("HGETALL", keys.routers_disabled(tenant), deadline=deadline)
    clock = link.call("TIME", deadline=deadline)
    since_ms = _now_ms(await clock) - _WINDOW_MS
    switched_off = _pairs(await disabled)
    health: dict[str, RouterHealth] = {}
    for start in range(0, len(names), _ROUTERS_AT_ONCE):
        some = names[start : start + _ROUTERS_AT_ONCE]
        lists = [
            link.call(
                "LRANGE", keys.router_errors(tenant, name), 0, MOST_KEPT - 1, deadline=deadline
            )
            for name in some
        ]
        for name, reply in zip(some, lists, strict=True):
            errors = [error for error in _errors(await reply) if error.at_ms > since_ms]
            errors.sort(key=lambda error: -error.at_ms)
            health[name] = RouterHealth(
                is_enabled=name not in switched_off,
                error_count=len(errors),
                last_errors=tuple(errors[:LAST_SHOWN]),
                disabled_at_ms=switched_off.get(name),
            )
    return health


def _now_ms(reply: Reply) -> int:
    if isinstance(reply, list) and len(reply) == 2:
        seconds, micros = reply
        if isinstance(seconds, bytes) and isinstance(micros, bytes):
            return int(seconds) * 1000 + int(micros) // 1000
    raise StoreRefusedError("the store's clock is unreadable")


def _pairs(reply: Reply) -> dict[str, int]:
    fields = [part for part in reply if isinstance(part, bytes)] if isinstance(reply, list) else []
    return {name.decode(): int(at) for name, at in zip(fields[::2], fields[1::2], strict=False)}


def _errors(reply: Reply) -> Iterable[RouterError]:
    for entry in reply if isinstance(reply, list) else ():
        if isinstance(entry, bytes):
            at_ms, code, key = entry.decode().split(" ", 2)
            if code in _CODES:
                yield RouterError(int(at_ms), ErrorCode(code), key)
