"""One controller per Asterisk: who holds the lease works, the others wait.

The lease is renewed three times in its time. A controller that cannot renew it in time (the store is
away, this process was stalled) stays in charge as long as nobody else can have it: when the store is
gone, nobody can take it. Only when the store says that somebody else has it does it stop, at once.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable

import structlog

from router.deadline import in_s
from router.errors import CrosspointError
from router.store.live_calls import LiveCalls
from router.tasks import end

_log = structlog.get_logger(__name__)


class Leading:
    """Runs work while this process is the one in charge; begins again when it is again."""

    def __init__(self, store: LiveCalls, tenant: str, pbx: str, *, lease_s: float = 10.0) -> None:
        self._store = store
        self._tenant = tenant
        self._pbx = pbx
        self._lease_ms = int(lease_s * 1000)
        self._pause_s = lease_s / 3
        self.token = secrets.token_hex(16)
        self.is_leading = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait to be in charge, work, stop when somebody else is; until cancelled."""
        while True:
            await self._until_ours()
            _log.info("pbx_taken", pbx=self._pbx)
            self.is_leading = True
            task = asyncio.ensure_future(work())
            try:
                await self._while_ours(task)
            finally:
                self.is_leading = False
                await end(task)

    async def give_up(self) -> None:
        """Let the next one begin at once; otherwise the lease lapses."""
        with contextlib.suppress(CrosspointError):
            await self._lead(lease_ms=0)

    async def _until_ours(self) -> None:
        while not await self._is_ours(when_unknown=False):  # noqa: ASYNC110 - the other one is a process
            await asyncio.sleep(self._pause_s)

    async def _while_ours(self, task: "asyncio.Future[None]") -> None:
        while not task.done():
            await asyncio.wait([task], timeout=self._pause_s)
            if not await self._is_ours(when_unknown=True):
                _log.warning("pbx_lost", pbx=self._pbx)
                return
        task.result()

    async def _is_ours(self, *, when_unknown: bool) -> bool:
        try:
            return await self._lead(lease_ms=self._lease_ms)
        except CrosspointError:
            return when_unknown

    async def _lead(self, *, lease_ms: int) -> bool:
        return await self._store.lead(
            self._tenant,
            self._pbx,
            token=self.token,
            lease_ms=lease_ms,
            deadline=in_s(self._pause_s),
        )
