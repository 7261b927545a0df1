"""An open-loop load of signed routing requests, and what became of each of them."""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import jwt

ACTIONS = {
    "route": {"target_type", "target_id"},
    "forward": {"forward_to"},
    "ask": {"message", "hint_name", "num_digits"},
    "end": set(),
}
"""What a decision on the wire must hold besides its `action`."""

CLIENT_GIVES_UP_S = 10.0


@dataclass(frozen=True)
class Sample:
    """One request: seconds on the monotonic clock, and how it ended."""

    sent_at: float
    done_at: float
    status: int
    level: str
    valid: bool
    error: str = ""

    @property
    def took_s(self) -> float:
        return self.done_at - self.sent_at


@dataclass
class Fault:
    """What was injected, between which moments."""

    name: str
    began_at: float = 0.0
    ended_at: float = 0.0


@dataclass
class Outcome:
    """All that is known after one fault under load."""

    fault: Fault
    budget_s: float
    samples: list[Sample] = field(default_factory=list)
    service_rss_mb: float = 0.0

    @property
    def answered(self) -> int:
        return sum(1 for s in self.samples if s.status == 200 and s.valid)

    @property
    def in_budget(self) -> int:
        return sum(
            1 for s in self.samples if s.status == 200 and s.valid and s.took_s <= self.budget_s
        )

    @property
    def slowest_s(self) -> float:
        return max((s.took_s for s in self.samples), default=0.0)

    @property
    def degraded(self) -> int:
        return sum(1 for s in self.samples if s.status == 200 and s.level != "full")

    @property
    def back_after_s(self) -> float:
        """Seconds from the end of the fault until the last answer that was not `full`."""
        late = [
            s.done_at for s in self.samples if s.level != "full" and s.sent_at > self.fault.ended_at
        ]
        return max(late, default=self.fault.ended_at) - self.fault.ended_at


class Load:
    """Calls arrive at `rate` a second, whether or not earlier ones were answered."""

    def __init__(self, url: str, secret: str, *, rate: float, budget_s: float) -> None:
        self.url = url
        self.secret = secret
        self.rate = rate
        self.budget_s = budget_s
        self.samples: list[Sample] = []
        self._ids = itertools.count(random.randrange(10**9, 10**12))
        self._tasks: set[asyncio.Task[None]] = set()

    def body(self) -> bytes:
        """One signed request, as the platform would send it."""
        call_id = next(self._ids)
        claims = {
            "call_id": call_id,
            "date_started": int(time.time() * 1000),
            "external_number": f"+1212555{call_id % 10_000:04d}",
            "internal_number": "+12125550100",
            "contact": {"id": str(call_id), "type": "local", "name": "Example", "email": ""},
        }
        return jwt.encode(claims, self.secret, algorithm="HS256").encode()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Requests flow for as long as the block runs; all of them have ended after it."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=CLIENT_GIVES_UP_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            generator = asyncio.create_task(self._generate(session))
            try:
                yield self
            finally:
                generator.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await generator
                await asyncio.gather(*self._tasks)

    async def _generate(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += random.expovariate(self.rate)
            await asyncio.sleep(max(0.0, due - loop.time()))
            task = asyncio.create_task(self._one(session))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, session: aiohttp.ClientSession) -> None:
        body = self.body()
        sent_at = time.monotonic()
        status, level, valid, error = 0, "", False, ""
        try:
            async with session.post(self.url, data=body) as response:
                status = response.status
                level = response.headers.get("X-Crosspoint-Level", "")
                valid = is_decision(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            error = type(failure).__name__
        self.samples.append(Sample(sent_at, time.monotonic(), status, level, valid, error))


def is_decision(body: bytes) -> bool:
    """Whether these bytes are an answer that the platform can carry out."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    needed = ACTIONS.get(answer.get("action")) if isinstance(answer, dict) else None
    return needed is not None and needed <= answer.keys()
