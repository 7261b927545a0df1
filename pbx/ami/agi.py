"""AGI commands as values and their results: quoting out, `200 result=...` in.

`wakes`: async AGI looks for commands only when a frame arrives, or every 100 ms. A hook flash that we have the
channel receive wakes it at once; afterwards, once the call is answered, media does. A key would wake it too, but
not do: Asterisk spins until the key has lasted its 80 ms (half of all it needs for a call), and of one that is
pressed while it answers it forgets the end; an agent who is joined at once then hears that key and nothing else.
`enters_bridge`: the command itself joins a bridge, so joining one does not end it.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from pbx.ami import values
from pbx.errors import AgiRefusedError, UnsafeValueError

_OK = 200
_RESULT = re.compile(
    r"(?P<status>\d{3})[ -](?:result=(?P<result>\S*))?(?:\s+\((?P<data>.*)\))?(?:\s+endpos=(?P<endpos>\d+))?",
    re.DOTALL,
)


class AgiCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One command, ready to be sent."""

    text: str
    wakes: bool = False
    enters_bridge: bool = False


class AgiResult(msgspec.Struct, frozen=True, kw_only=True):
    """`200 result=53 endpos=16640` -> result "53", end_sample 16640; `200 result=1 (x)` -> data "x"."""

    result: str
    data: str | None = None
    end_sample: int | None = None  # 8000 a second: how far a prompt was played

    @property
    def key(self) -> str | None:
        """The key that ended a prompt or a wait."""
        code = self.number
        return chr(code) if code is not None and 0 < code < 128 else None

    @property
    def number(self) -> int | None:
        """The result as a number; negative when the command failed or the caller hung up."""
        return int(self.result) if re.fullmatch(r"-?\d{1,9}", self.result) else None

    @property
    def has_failed(self) -> bool:
        """The command could not be carried out, or the caller hung up meanwhile."""
        return self.result.startswith("-")

    @property
    def digits(self) -> str:
        """What GET DATA collected."""
        return "" if self.has_failed else self.result

    @property
    def is_timeout(self) -> bool:
        """GET DATA ended because no further key came."""
        return self.data == "timeout"


def parse_result(text: str) -> AgiResult:
    """Read the decoded `Result` header. Raises AgiRefusedError for anything but 200."""
    found = _RESULT.match(text.strip())
    if found is None:
        raise AgiRefusedError(status=0)
    status = int(found["status"])
    if status != _OK:
        raise AgiRefusedError(f"AGI answered {status}", status=status)
    end = found["endpos"]
    return AgiResult(
        result=found["result"] or "", data=found["data"], end_sample=int(end) if end else None
    )


def answer() -> AgiCommand:
    """Pick up. Takes up to half a second when the caller sends no media yet; keys are kept meanwhile."""
    return AgiCommand(text="ANSWER")


def noop() -> AgiCommand:
    """Do nothing: is the channel still ours?"""
    return AgiCommand(text="NOOP", wakes=True)


def hangup() -> AgiCommand:
    """End the channel of this AGI."""
    return AgiCommand(text="HANGUP", wakes=True)


def stream_file(sound: str, *, escape: str = "") -> AgiCommand:
    """Play a sound; a key of `escape` ends it and is the result. A missing sound ends async AGI: ask first."""
    keys = values.digits(escape)
    return AgiCommand(
        text=f"STREAM FILE {values.quoted(values.sound(sound))} {values.quoted(keys)}",
    )


def playback(sounds: Sequence[str]) -> AgiCommand:
    """Play sounds one after the other; a missing one is left out. Nothing ends it but a hang-up."""
    joined = "&".join(map(values.sound, sounds))
    return AgiCommand(text=f"EXEC Playback {values.quoted(joined)}")


def get_data(sound: str, *, first_digit_ms: int, max_digits: int) -> AgiCommand:
    """Play a sound and collect up to `max_digits` keys (1 to 32), `#` ends; barge-in.

    `first_digit_ms` (0 to 120000) also separates the keys.
    """
    if not (0 <= first_digit_ms <= 120_000 and 1 <= max_digits <= 32):
        raise UnsafeValueError("GET DATA waits 0 to 120 s for 1 to 32 keys")
    text = f"GET DATA {values.quoted(values.sound(sound))} {first_digit_ms} {max_digits}"
    return AgiCommand(text=text)


def wait_for_digit(limit_ms: int) -> AgiCommand:
    """Wait for one key, up to `limit_ms`."""
    return AgiCommand(text=f"WAIT FOR DIGIT {int(limit_ms)}")


def say_number(number: int, *, escape: str = "") -> AgiCommand:
    """Speak a number in the language of the channel."""
    return AgiCommand(text=f"SAY NUMBER {int(number)} {values.quoted(values.digits(escape))}")


def say_digits(digits: str, *, escape: str = "") -> AgiCommand:
    """Speak digit by digit."""
    return AgiCommand(
        text=f"SAY DIGITS {values.quoted(values.digits(digits))} {values.quoted(values.digits(escape))}"
    )


def music(*, on: bool, of_class: str = "default") -> AgiCommand:
    """Start hold music (and return at once), or stop it. Every prompt stops it: start it again afterwards."""
    return AgiCommand(text=f"SET MUSIC {'ON' if on else 'OFF'} {values.word(of_class)}")


def record_file(path: PurePosixPath, *, limit_ms: int, silence_s: int = 0) -> AgiCommand:
    """Record the caller as WAV until `#`, hang-up, `limit_ms`, or `silence_s` of silence (0: never); beep first."""
    name = values.quoted(values.sound(str(path)))
    text = f'RECORD FILE {name} wav "#" {int(limit_ms)} BEEP'
    return AgiCommand(text=text + (f" s={int(silence_s)}" if silence_s else ""))


def set_variable(name: str, value: str) -> AgiCommand:
    """Set a variable or a function such as `TIMEOUT(absolute)`; the value is taken literally."""
    text = f"SET VARIABLE {values.variable(name)} {values.quoted(value)}"
    return AgiCommand(text=text, wakes=True)


def ringing() -> AgiCommand:
    """Let the caller's phone show ringing, without answering."""
    return AgiCommand(text="EXEC Ringing", wakes=True)


def progress() -> AgiCommand:
    """Open early media: what is played from now on is heard before the call is answered."""
    return AgiCommand(text="EXEC Progress", wakes=True)


def bridge(channel: values.ChannelName, *, keeps_other: bool = False) -> AgiCommand:
    """Join that channel; returns when it hangs up, and the caller is still ours. Stop music first.

    When the caller hangs up the other one is hung up too; with `keeps_other` it comes back to us.
    """
    joined = str(values.channel(channel))
    if keeps_other:
        joined = values.quoted(f"{joined},F(crosspoint^agi^1)")
    return AgiCommand(text=f"EXEC Bridge {joined}", enters_bridge=True)


def conference(room: str) -> AgiCommand:
    """Enter a conference; returns when the channel leaves it."""
    return AgiCommand(text=f"EXEC ConfBridge {values.word(room)}", enters_bridge=True)


def spy(channel: values.ChannelName, *, mode: str = "") -> AgiCommand:
    """Listen to a channel: keys 4 listen, 5 whisper, 6 barge. `mode`: "", "w" (whisper) or "B" (barge)."""
    if mode not in {"", "w", "B"}:
        raise UnsafeValueError("not a mode of ChanSpy")
    return AgiCommand(text=f"EXEC ChanSpy {values.quoted(f'{values.channel(channel)},qdE{mode}')}")


def mix_monitor(
    folder: PurePosixPath,
    name: str,
    *,
    per_side: bool = False,
    only_bridged: bool = False,
    id_variable: str = "CROSSPOINT_MIX",
) -> AgiCommand:
    """Record to `folder/name.wav`; `per_side` also writes name-in.wav (the channel says) and name-out.wav (hears).

    The id for StopMixMonitor is left in the channel variable `id_variable`. Asterisk reports success even when
    the file cannot be written: check the file.
    """
    base = values.sound(f"{folder}/{values.file_name(name)}")
    options = f"i({values.variable(id_variable)})"
    if per_side:
        options += f"r({base}-in.wav)t({base}-out.wav)"
    if only_bridged:
        options += "b"
    return AgiCommand(text=f"EXEC MixMonitor {values.quoted(f'{base}.wav,{options}')}")
