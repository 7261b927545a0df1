"""Hear what is in a recording: how strong a tone is in a stretch of a WAV file."""

import array
import math
import wave
from pathlib import Path


def seconds_of(path: Path) -> float:
    """How long the recording is."""
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def strength(path: Path, hz: float, *, start_s: float = 0, end_s: float | None = None) -> float:
    """The amplitude of a tone in a stretch, 0 to 1 of full scale."""
    samples, rate = _samples(path)
    part = samples[int(start_s * rate) : None if end_s is None else int(end_s * rate)]
    if not part:
        return 0.0
    step = 2 * math.pi * hz / rate
    real = sum(value * math.cos(step * i) for i, value in enumerate(part))
    imaginary = sum(value * math.sin(step * i) for i, value in enumerate(part))
    return 2 * math.hypot(real, imaginary) / len(part) / 32767


def hears(path: Path, hz: float, *, start_s: float = 0, end_s: float | None = None) -> bool:
    """Whether the tone is in the stretch, in windows of 100 ms: the loudest one decides."""
    end_s = seconds_of(path) if end_s is None else end_s
    count = max(1, int((end_s - start_s) * 10))
    windows = (start_s + i / 10 for i in range(count))
    return max(strength(path, hz, start_s=at, end_s=at + 0.1) for at in windows) > 0.05


def _samples(path: Path) -> "tuple[array.array[int], int]":
    with wave.open(str(path)) as file:
        if (file.getsampwidth(), file.getnchannels()) != (2, 1):
            raise ValueError(f"{path.name} is not 16-bit mono")
        return array.array("h", file.readframes(file.getnframes())), file.getframerate()


def loudness(path: Path) -> list[float]:
    """The peak of each tenth of a second, 0 to 1."""
    samples, rate = _samples(path)
    tenth = rate // 10
    starts = range(0, len(samples) - tenth, tenth)
    return [max(map(abs, samples[at : at + tenth])) / 32768 for at in starts]


def longest_silence_s(loud: list[float]) -> float:
    """In seconds; `loud` as `loudness` gives it."""
    longest = run = 0
    for level in loud:
        run = run + 1 if level < 0.01 else 0
        longest = max(longest, run)
    return longest / 10
