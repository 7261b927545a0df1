"""What a SIPp phone says: tones, silence and keys as a packet capture that `play_pcap_audio` plays.

Keys are RFC 4733 events (payload type 101), everything else is PCMU in packets of 20 ms.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLES_PER_S = 8000
SAMPLES_PER_PACKET = 160
PACKET_S = SAMPLES_PER_PACKET / SAMPLES_PER_S
EVENT_PAYLOAD_TYPE = 101
KEYS = "0123456789*#ABCD"
ULAW_SILENCE = 0xFF


@dataclass(frozen=True)
class Tone:
    hz: float
    seconds: float
    level: float = 0.25  # of full scale


@dataclass(frozen=True)
class Silence:
    seconds: float


@dataclass(frozen=True)
class Key:
    digit: str
    seconds: float = 0.1
    pause_s: float = 0.1  # silence behind it


Part = Tone | Silence | Key


def keys(digits: str) -> list[Part]:
    """One key after the other."""
    return [Key(digit) for digit in digits]


def write_capture(path: Path, parts: Sequence[Part]) -> Path:
    """Write the parts one after the other as a capture file."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))  # linktype: Ethernet
        for number, (at_s, rtp) in enumerate(_packets(parts)):
            frame = _frame(rtp, number)
            micros = round(at_s * 1_000_000)
            seconds, micros = divmod(micros, 1_000_000)
            file.write(
                struct.pack("<IIII", 1_700_000_000 + seconds, micros, len(frame), len(frame))
            )
            file.write(frame)
    return path


def seconds_of(parts: Sequence[Part]) -> float:
    """How long the parts take together."""
    return sum(part.seconds + (part.pause_s if isinstance(part, Key) else 0) for part in parts)


def _packets(parts: Sequence[Part]) -> Iterator[tuple[float, bytes]]:
    sequence, start = 0, 0  # RTP sequence number; samples since the beginning
    for part in parts:
        if isinstance(part, Key):
            for offset, payload, has_marker in _key_payloads(part):
                rtp = _rtp(sequence, start, EVENT_PAYLOAD_TYPE, payload, has_marker=has_marker)
                yield (start + offset) / SAMPLES_PER_S, rtp
                sequence += 1
            start += _whole_packets(part.seconds) * SAMPLES_PER_PACKET
            tone = Silence(part.pause_s)
        else:
            tone = part
        for payload in _audio_payloads(tone):
            yield start / SAMPLES_PER_S, _rtp(sequence, start, 0, payload, has_marker=sequence == 0)
            sequence += 1
            start += SAMPLES_PER_PACKET


def _key_payloads(key: Key) -> Iterator[tuple[int, bytes, bool]]:
    """Sample offset, payload, marker; the last packet is sent three times, as the RFC asks."""
    event = KEYS.index(key.digit)
    count = _whole_packets(key.seconds)
    for number in range(count):
        lasted = (number + 1) * SAMPLES_PER_PACKET
        yield number * SAMPLES_PER_PACKET, struct.pack("!BBH", event, 10, lasted), number == 0
    for _ in range(3):
        payload = struct.pack("!BBH", event, 0x80 | 10, count * SAMPLES_PER_PACKET)
        yield (count - 1) * SAMPLES_PER_PACKET + 8, payload, False


def _audio_payloads(part: Tone | Silence) -> Iterator[bytes]:
    count = _whole_packets(part.seconds)
    if isinstance(part, Silence):
        yield from [bytes([ULAW_SILENCE]) * SAMPLES_PER_PACKET] * count
        return
    step = 2 * math.pi * part.hz / SAMPLES_PER_S
    for number in range(count):
        first = number * SAMPLES_PER_PACKET
        yield bytes(
            _ulaw(round(32767 * part.level * math.sin(step * i)))
            for i in range(first, first + SAMPLES_PER_PACKET)
        )


def _whole_packets(seconds: float) -> int:
    return max(1, round(seconds / PACKET_S))


def _rtp(
    sequence: int, timestamp: int, payload_type: int, payload: bytes, *, has_marker: bool
) -> bytes:
    head = struct.pack(
        "!BBHII",
        0x80,
        payload_type | (0x80 if has_marker else 0),
        sequence & 0xFFFF,
        timestamp,
        0x0C05501,
    )
    return head + payload


def _frame(rtp: bytes, number: int) -> bytes:
    """Ethernet, IPv4 and UDP around it; SIPp replaces addresses and ports."""
    udp = struct.pack("!HHHH", 6000, 6000, 8 + len(rtp), 0) + rtp
    ip = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(udp),
        number & 0xFFFF,
        0,
        64,
        17,
        0,
        b"\x7f\0\0\1",
        b"\x7f\0\0\1",
    )
    return b"\0" * 12 + b"\x08\x00" + ip + udp


def _ulaw(sample: int) -> int:
    """One G.711 byte."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(sign | (exponent << 4) | mantissa) & 0xFF
