"""Any usual WAV becomes what Asterisk plays, and nothing else becomes anything."""

import array
import io
import math
import struct
import wave

import pytest

from pbx.wav8k import RATE, NotSpeechError, is_playable, to_8k


def tone(
    hz: float, rate: int, *, seconds: float = 0.5, channels: int = 1, level: float = 0.4
) -> bytes:
    step = 2 * math.pi * hz / rate
    one = [int(32767 * level * math.sin(step * i)) for i in range(int(rate * seconds))]
    samples = array.array("h", [value for value in one for _ in range(channels)])
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def amplitude(data: bytes, hz: float) -> float:
    """0 to 1 of full scale."""
    with wave.open(io.BytesIO(data)) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
        step = 2 * math.pi * hz / file.getframerate()
    real = sum(value * math.cos(step * i) for i, value in enumerate(samples))
    imaginary = sum(value * math.sin(step * i) for i, value in enumerate(samples))
    return 2 * math.hypot(real, imaginary) / len(samples) / 32767


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("hz", [300, 1000, 3000])
def test_a_tone_of_the_telephone_band_keeps_its_strength_and_length(rate: int, hz: float):
    out = to_8k(tone(hz, rate))
    assert is_playable(out)
    assert amplitude(out, hz) == pytest.approx(0.4, rel=0.05)
    with wave.open(io.BytesIO(out)) as file:
        assert file.getnframes() / RATE == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize(("rate", "hz"), [(22_050, 5000), (16_000, 7000), (48_000, 6500)])
def test_a_tone_above_the_band_does_not_come_back_as_another(rate: int, hz: float):
    assert amplitude(to_8k(tone(hz, rate)), abs(RATE - hz)) < 0.005


def test_two_channels_become_one():
    out = to_8k(tone(1000, 16_000, channels=2))
    assert amplitude(out, 1000) == pytest.approx(0.4, rel=0.05)


def test_the_lengths_that_a_program_in_a_pipe_makes_up_are_not_believed():
    data = bytearray(tone(500, 8000))
    struct.pack_into("<I", data, 4, 0x7FFFFFFF)
    struct.pack_into("<I", data, 40, 0x7FFFFFFF)
    assert not is_playable(bytes(data))
    assert is_playable(to_8k(bytes(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not found</html>",
        tone(500, 8000)[:44],
        tone(500, 8000)[:30],
        tone(500, 8000).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 7, 1), 1),
        tone(500, 8000).replace(struct.pack("<I", 8000), struct.pack("<I", 1), 1),
    ],
    ids=["empty", "a page", "no samples", "no data", "compressed", "a rate nobody uses"],
)
def test_what_is_no_speech_is_refused(data: bytes):
    assert not is_playable(data)
    with pytest.raises(NotSpeechError):
        to_8k(data)
