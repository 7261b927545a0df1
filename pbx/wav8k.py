"""WAV of any usual rate to what Asterisk plays without converting: 8 kHz, mono, 16 bit.

How it works: a windowed-sinc filter, cut into one short filter per output phase (the ratio of two
rates is a fraction, so the phases repeat). Pure Python is fast enough for a prompt that is made once,
but would hold up an event loop: run it as a program of its own (`python -m pbx.wav8k < in > out`).
"""

import array
import io
import math
import struct
import sys
import wave
from operator import mul
from typing import Final

RATE: Final = 8000
_ZERO_CROSSINGS: Final = 12
"""Length of the filter to each side; more is steeper and slower."""
_PASSED: Final = 0.92
"""Share of the band that is kept; the rest is the slope."""
_LOWEST_RATE: Final = 4000
_HIGHEST_RATE: Final = 192_000
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE


class NotSpeechError(Exception):
    """Not a WAV file of 16-bit samples, or an empty one."""


def is_playable(data: bytes) -> bool:
    """Whether Asterisk can play these bytes as they are: 8 kHz, mono, 16 bit, honest lengths."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            params = file.getparams()
            is_whole = len(file.readframes(params.nframes)) == 2 * params.nframes
    except (wave.Error, EOFError):
        return False
    is_telephone = (params.nchannels, params.sampwidth, params.framerate) == (1, 2, RATE)
    return is_telephone and is_whole and params.nframes > 0


def to_8k(data: bytes) -> bytes:
    """The same sound as 8 kHz mono 16-bit WAV. Raises NotSpeechError.

    Lengths in the header are not believed: programs that write into a pipe do not know them.
    """
    rate, channels, samples = _parse(data)
    if channels > 1:
        sums = [sum(samples[i : i + channels]) for i in range(0, len(samples), channels)]
        samples = array.array("h", (value // channels for value in sums))
    resampled = samples if rate == RATE else _resample(samples, rate)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(_little_endian(resampled).tobytes())
    return out.getvalue()


def _parse(data: bytes) -> "tuple[int, int, array.array[int]]":
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise NotSpeechError("not a WAV file")
    rate = channels = bits = 0
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if name == b"fmt " and position + 16 <= len(data):
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, position)
            if kind not in {_PCM, _EXTENSIBLE}:
                raise NotSpeechError("compressed")
        elif name == b"data":
            return rate, channels, _samples(data[position : position + size], rate, channels, bits)
        position += size + size % 2
    raise NotSpeechError("no sound in it")


def _samples(pcm: bytes, rate: int, channels: int, bits: int) -> "array.array[int]":
    if bits != 16 or not 1 <= channels <= 8 or not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise NotSpeechError("not 16-bit sound of a usual rate")
    frame = 2 * channels
    samples = array.array("h", pcm[: len(pcm) // frame * frame])
    if not samples:
        raise NotSpeechError("empty")
    return _little_endian(samples)


def _little_endian(samples: "array.array[int]") -> "array.array[int]":
    if sys.byteorder == "big":
        samples = samples[:]
        samples.byteswap()
    return samples


def _resample(samples: "array.array[int]", rate: int) -> "array.array[int]":
    common = math.gcd(rate, RATE)
    up, down = RATE // common, rate // common
    half = math.ceil(_ZERO_CROSSINGS * max(1.0, rate / RATE))
    phases = [_taps(phase / up, half, rate) for phase in range(up)]
    edge = array.array("h", bytes(2 * half))
    padded = edge + samples + edge
    count = len(samples) * up // down
    out = array.array("h", bytes(2 * count))
    for number in range(count):
        whole, phase = divmod(number * down, up)
        value = sum(map(mul, padded[whole : whole + 2 * half + 1], phases[phase]))
        out[number] = max(-32768, min(32767, round(value)))
    return out


def _taps(offset: float, half: int, rate: int) -> list[float]:
    """The filter for outputs that lie `offset` of an input sample behind one; sums up to 1."""
    cutoff = _PASSED * min(1.0, RATE / rate)
    taps = []
    for number in range(-half, half + 1):
        at = number - offset
        window = 0.5 + 0.5 * math.cos(math.pi * at / (half + 1))
        angle = math.pi * cutoff * at
        taps.append(window * (math.sin(angle) / angle if angle else 1.0))
    total = sum(taps)
    return [tap / total for tap in taps]


def main() -> int:
    try:
        sys.stdout.buffer.write(to_8k(sys.stdin.buffer.read()))
    except NotSpeechError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
