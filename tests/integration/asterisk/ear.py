"""What a phone hears: a UDP port that takes the RTP Asterisk sends it and tells which tones are in it."""

import array
import asyncio
import math
from typing import Self

SAMPLES_PER_S = 8000
RTP_HEADER = 12
LOUD = 0.04
_KEPT_S = 2


def _decoded(byte: int) -> int:
    """One G.711 mu-law byte as a 16-bit sample."""
    byte = ~byte & 0xFF
    sample = (((byte & 0x0F) << 3) + 0x84) << ((byte & 0x70) >> 4)
    return 0x84 - sample if byte & 0x80 else sample - 0x84


_SAMPLES = [_decoded(byte) for byte in range(256)]


class Ear(asyncio.DatagramProtocol):
    """Give it to a phone; as a context manager it closes its port. Keeps the last two seconds."""

    def __init__(self) -> None:
        self.port = 0
        self.packets = 0
        self._heard: array.array[int] = array.array("h")

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if len(data) <= RTP_HEADER or data[1] & 0x7F:
            return  # not mu-law audio
        self.packets += 1
        self._heard.extend(_SAMPLES[byte] for byte in data[RTP_HEADER:])
        del self._heard[: -_KEPT_S * SAMPLES_PER_S]

    def loudness(self, hz: float, last_s: float = 0.2) -> float:
        """How strong a tone is in what was heard last, 0 to 1 of full scale."""
        part = self._heard[-int(last_s * SAMPLES_PER_S) :]
        if not part:
            return 0.0
        step = 2 * math.pi * hz / SAMPLES_PER_S
        real = sum(value * math.cos(step * i) for i, value in enumerate(part))
        imaginary = sum(value * math.sin(step * i) for i, value in enumerate(part))
        return 2 * math.hypot(real, imaginary) / len(part) / 32767

    async def until_hears(self, *tones: float, never: tuple[float, ...] = (), limit_s: float = 8):
        """Wait until all these tones are heard at once, and at that moment none of `never`."""
        try:
            async with asyncio.timeout(limit_s):
                while not self._hears(tones, never):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            levels = {hz: round(self.loudness(hz), 3) for hz in (*tones, *never)}
            raise AssertionError(f"wanted {tones} without {never}, heard {levels}") from None

    def _hears(self, tones: tuple[float, ...], never: tuple[float, ...]) -> bool:
        wanted = all(self.loudness(hz) > LOUD for hz in tones)
        return wanted and not any(self.loudness(hz) > LOUD for hz in never)

    async def listen(self, seconds: float) -> None:
        """Take in so much audio from now on."""
        packets = self.packets + int(seconds / 0.02)
        async with asyncio.timeout(seconds + 5):
            while self.packets < packets:
                await asyncio.sleep(0.01)
