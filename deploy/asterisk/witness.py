"""What Asterisk itself says of the calls on it: a second manager session that only listens.

The demo and the bench believe it rather than the service they look at.
"""

# ruff: noqa: INP001 - a script's neighbour, not a package

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

USER = "witness"
MOST_EVENTS = 200_000


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One event as Asterisk sent it; `at_s` is the monotonic clock when it came."""

    at_s: float
    values: dict[str, str]

    @property
    def name(self) -> str:
        return self.values.get("event", "")

    def get(self, key: str) -> str:
        return self.values.get(key.lower(), "")

    def is_of(self, channel: str) -> bool:
        """Whether it is about a channel whose name begins so."""
        return self.get("Channel").startswith(channel)


@dataclass
class Witness:
    """Facts in the order in which they came."""

    facts: list[Fact] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(
        self, fits: Callable[[Fact], bool], *, after: int = 0, limit_s: float = 30
    ) -> tuple[int, Fact]:
        """The first fact from number `after` on that fits, and its number. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while True:
                while after < len(self.facts):
                    if fits(self.facts[after]):
                        return after, self.facts[after]
                    after += 1
                self._news.clear()
                await self._news.wait()

    def take(self, message: bytes) -> None:
        """One message as it came from the wire."""
        lines = message.decode(errors="replace").split("\r\n")
        values = {
            key.lower(): value
            for key, found, value in (line.partition(": ") for line in lines)
            if found
        }
        if "event" in values and len(self.facts) < MOST_EVENTS:
            self.facts.append(Fact(at_s=time.monotonic(), values=values))
            self._news.set()


def admit(etc: Path, *, events: str = "") -> str:
    """Give the witness a user in an instance's configuration, before it starts; its secret.

    `events`: a pattern that names of events must match; empty: all.
    """
    secret = secrets.token_urlsafe(18)
    lines = [f"[{USER}]", f"secret = {secret}", "deny = 0.0.0.0/0.0.0.0"]
    lines += [
        "permit = 127.0.0.1/255.255.255.255",
        "read = call,agi,dtmf,agent,dialplan",
        "write =",
    ]
    if events:
        lines.append(f"eventfilter = Event: ({events})")
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "manager_local.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return secret


@contextlib.asynccontextmanager
async def listening(port: int, secret: str) -> AsyncIterator[Witness]:
    """A witness while the block runs."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(f"Action: Login\r\nUsername: {USER}\r\nSecret: {secret}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while b"Response: Success" not in await reader.readuntil(b"\r\n\r\n"):
            pass
    witness = Witness()
    task = asyncio.create_task(_read(reader, witness))
    try:
        yield witness
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, witness: Witness) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            witness.take(await reader.readuntil(b"\r\n\r\n"))
