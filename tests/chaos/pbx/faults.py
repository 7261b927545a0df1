"""What stands between us and Asterisk, and can be hurt: the manager connection, and SIP over a bad line."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Self


class AmiProxy:
    """Before Asterisk's manager port. `cut` breaks every connection; `open` False refuses new ones;
    `silent` swallows everything both ways, as a black hole does."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.is_open = True
        self.silent = False
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        while self._writers:
            await asyncio.sleep(0.005)

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self.is_open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        finally:
            for one in both:
                one.transport.abort()
            self._writers -= both

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()


class BadLine:
    """SIP between one caller and Asterisk that loses a share of the packets, each way. Seeded."""

    def __init__(self, target_port: int, *, lost: float, seed: int = 1) -> None:
        self.port = 0
        self.dropped = self.passed = 0
        self._target = ("127.0.0.1", target_port)
        self._lost = lost
        self._random = random.Random(seed)
        self._near: tuple[str, int] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._door, _ = await loop.create_datagram_endpoint(
            lambda: _Side(self._from_near), local_addr=("127.0.0.1", 0)
        )
        self._out, _ = await loop.create_datagram_endpoint(
            lambda: _Side(self._from_far), local_addr=("127.0.0.1", 0)
        )
        self.port = self._door.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._door.close()
        self._out.close()

    def _is_lost(self) -> bool:
        lost = self._random.random() < self._lost
        self.dropped += lost
        self.passed += not lost
        return lost

    def _from_near(self, data: bytes, address: tuple[str, int]) -> None:
        self._near = address
        if not self._is_lost():
            self._out.sendto(data, self._target)

    def _from_far(self, data: bytes, address: tuple[str, int]) -> None:
        if self._near is not None and not self._is_lost():
            self._door.sendto(data, self._near)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr)
