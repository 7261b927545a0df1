"""An AMI server on a real socket that does as it is told: answers, cuts, stalls, splits."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from pbx.ami import events
from pbx.ami.actions import Agi, Originate, SendFlash
from pbx.ami.client import Client, LinkState

SECRET = "right"
YES = {one.action: one.yes for one in (Agi, Originate, SendFlash)}
Connect = Callable[..., Awaitable[Client]]


class FakeAmi:
    """Accepts logins; `answers[action]` makes the reply, None keeps silent. Every action is kept in `seen`."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.logins = 0
        self.connects = 0
        self.raw = b""
        self.answers: dict[str, Callable[[dict[str, str]], str | None]] = {}
        self.is_booted = True
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def cut(self) -> None:
        """Break every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def say(self, *messages: str | bytes) -> None:
        """Send messages to everybody; lines are separated by a bare newline here."""
        for message in messages:
            data = message if isinstance(message, bytes) else wire(message)
            for writer in self._writers:
                writer.write(data)

    async def until(self, is_true: Callable[[], bool], limit_s: float = 5) -> None:
        """Wait until something holds; looked at whenever an action arrives."""
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(is_true)

    def count(self, action: str) -> int:
        return sum(1 for one in self.seen if one.get("action") == action)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connects += 1
        self._writers.append(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                self.raw += raw
                await self._handle(raw.decode(), writer)
        writer.close()

    async def _handle(self, raw: str, writer: asyncio.StreamWriter) -> None:
        pairs = (line.partition(": ") for line in raw.strip().split("\r\n"))
        action = {name.lower(): value for name, _, value in pairs}
        async with self._changed:
            self.seen.append(action)
            self._changed.notify_all()
        reply = self._reply(action)
        if reply is not None and not writer.is_closing():
            writer.write(wire(reply.replace("@ID", action.get("actionid", ""))))
            if "Authentication failed" in reply:
                writer.close()  # as Asterisk does

    def _reply(self, action: dict[str, str]) -> str | None:
        name = action["action"]
        if name in self.answers:
            return self.answers[name](action)
        if name == "Login":
            if action.get("secret") != SECRET:
                return "Response: Error\nActionID: @ID\nMessage: Authentication failed"
            self.logins += 1
            booted = "\n\nEvent: FullyBooted\nUptime: 1" if self.is_booted else ""
            return f"Response: Success\nActionID: @ID\nMessage: Authentication accepted{booted}"
        return f"Response: Success\nActionID: @ID\nMessage: {YES.get(name, 'fine')}"


def wire(message: str) -> bytes:
    return message.replace("\n", "\r\n").encode() + b"\r\n\r\n"


class Seen:
    """What a client reported, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.states: list[LinkState] = []
        self._changed = asyncio.Event()

    def event(self, event: events.Event) -> None:
        self.events.append(event)
        self._changed.set()

    def state(self, state: LinkState) -> None:
        self.states.append(state)
        self._changed.set()

    async def until(self, is_true: Callable[[], bool], limit_s: float = 5) -> None:
        async with asyncio.timeout(limit_s):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()

    def of(self, kind: type[events.Event]) -> list[events.Event]:
        return [event for event in self.events if isinstance(event, kind)]


def soon(seconds: float = 5) -> float:
    """A deadline."""
    return asyncio.get_running_loop().time() + seconds
