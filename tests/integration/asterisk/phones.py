"""SIPp as callers and phones: one process per call, its scenario in `sipp/`, its verdict the exit code.

A scenario is named after its role and what it expects. `@NAME@` in it is replaced per call: CALLER, CALLER_NAME,
PLAY (says a capture), HOLD_MS, RING_MS, STATUS, PATIENCE_MS.
"""

import asyncio
import contextlib
import functools
import itertools
import secrets
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from deploy.asterisk.instance import TREE, Instance, free_udp_port
from tests.integration.asterisk.capture import Part, Silence, write_capture
from tests.integration.asterisk.ear import Ear

SCENARIOS = Path(__file__).parent / "sipp"
PLAYER = Path(__file__).parent / "play.py"
LIMIT_S = 40
_numbers = itertools.count(secrets.randbelow(500))
"""Of phones; their sound comes from a port each. Two runs at once begin at different ones."""


class SippError(AssertionError):
    """A caller or phone saw something else than its scenario expects."""


class Phone:
    """One SIPp process: a caller or a phone. As a context manager it is stopped at the end, whatever happened."""

    def __init__(self, arguments: Sequence[str], scenario: str, folder: Path, limit_s: int) -> None:
        self.scenario = scenario
        self._limit_s = limit_s
        self._arguments = arguments
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            str(TREE / "run"),
            *self._arguments,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def ended(self) -> None:
        """Wait until the call is over. Raises SippError when it went otherwise than the scenario says."""
        assert self._process is not None
        async with asyncio.timeout(self._limit_s + 5):
            code = await self._process.wait()
        if code != 0:
            errors = self._folder / "errors.log"
            told = errors.read_text(errors="replace")[-1500:] if errors.exists() else ""
            raise SippError(f"{self.scenario}: SIPp ended with {code}\n{told}")

    def messages(self) -> str:
        """Every SIP message it sent and received."""
        return (self._folder / "messages.log").read_text(errors="replace")

    def vanish(self) -> None:
        """End without a word, as a phone does that loses its power."""
        assert self._process is not None
        self._process.kill()


def move(asterisk: Instance, phones: dict[str, int], names: Iterable[str]) -> None:
    """These phones are where none has been before.

    A phone that was ended in the middle of a call is sent the end of that call for half a minute. At the
    same port the next test's phone would get it, take it for its own call, and be gone.
    """
    for name in names:
        phones[name] = free_udp_port()
        register(asterisk, name, phones[name])


def register(asterisk: Instance, name: str, port: int, *, expires_s: int = 300) -> None:
    """The phone `name` is at this port from now on; `expires_s` 0: nowhere any more."""
    here = f"127.0.0.1:{port}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", asterisk.ports.sip))
        via = f"127.0.0.1:{sock.getsockname()[1]};branch=z9hG4bK{next(_numbers)}"
        lines = (
            f"REGISTER sip:127.0.0.1:{asterisk.ports.sip} SIP/2.0",
            f"Via: SIP/2.0/UDP {via}",
            "Max-Forwards: 70",
            f"From: <sip:{name}@127.0.0.1>;tag=1",
            f"To: <sip:{name}@127.0.0.1>",
            f"Call-ID: register-{next(_numbers)}@127.0.0.1",
            "CSeq: 1 REGISTER",
            f"Contact: <sip:{name}@{here}>;expires={expires_s}",
            "Content-Length: 0",
            "",
            "",
        )
        sock.send("\r\n".join(lines).encode())
        answer = sock.recv(4096)
    assert answer.startswith(b"SIP/2.0 200"), answer


def caller(
    asterisk: Instance,
    folder: Path,
    scenario: str = "caller_is_hung_up",
    *,
    called: str = "100",
    number: str = "+4930111",
    name: str = "Frau Suess",
    says: Sequence[Part] = (),
    hold_ms: int = 500,
    status: int = 486,
    is_raw: bool | None = None,
    ear: Ear | None = None,
    sip_port: int | None = None,
    lost: float = 0.0,
    count: int = 1,
    limit_s: int = LIMIT_S,
) -> Phone:
    """A call to `called` through the trunk, or through something before it that listens on `sip_port`.

    `lost`: the share of what it says that never arrives. `count`: so many callers, all at once.
    `limit_s`: however it goes, all is over then.
    """
    values = {"CALLER": number, "CALLER_NAME": name, "HOLD_MS": hold_ms, "STATUS": status}
    where = [f"127.0.0.1:{sip_port or asterisk.ports.sip}", "-s", called]
    return _sipp(
        folder, scenario, where, values, says, is_raw, ear, lost=lost, count=count, limit_s=limit_s
    )


def phone(
    folder: Path,
    scenario: str = "phone_answers",
    *,
    port: int,
    says: Sequence[Part] = (),
    ring_ms: int = 100,
    hold_ms: int | tuple[int, int] = 500,
    status: int = 486,
    is_raw: bool | None = None,
    ear: Ear | None = None,
    count: int = 1,
    limit_s: int = LIMIT_S,
) -> Phone:
    """A phone that listens on `port` and takes `count` calls, one after the other or several at once.

    `hold_ms`: the time until it hangs up, or between what it lies, another one for every call.
    """
    values = {"RING_MS": ring_ms, "HOLD_MS": hold_ms, "STATUS": status}
    where = ["-p", str(port)]
    return _sipp(folder, scenario, where, values, says, is_raw, ear, count=count, limit_s=limit_s)


@functools.cache
def has_raw_sockets() -> bool:
    """Whether SIPp can play captures itself: it needs CAP_NET_RAW for that."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        return False
    return True


def _play(capture: Path, *, is_raw: bool, lost: float) -> str:
    if is_raw and not lost:
        return f'play_pcap_audio="{capture}"'
    return f'command="{sys.executable} {PLAYER} {capture} [$media_port] {lost} &amp;"'


def _sipp(
    folder: Path,
    scenario: str,
    where: list[str],
    values: dict[str, object],
    says: Sequence[Part],
    is_raw: bool | None,
    ear: Ear | None,
    *,
    lost: float = 0.0,
    count: int = 1,
    limit_s: int,
) -> Phone:
    number = next(_numbers)
    own = folder / f"{scenario}-{number}"
    own.mkdir(parents=True)
    capture = write_capture(own / "says.pcap", says or [Silence(0.2)])
    text = (SCENARIOS / f"{scenario}.xml").read_text()
    play = _play(capture, is_raw=has_raw_sockets() if is_raw is None else is_raw, lost=lost)
    if isinstance(hold := values["HOLD_MS"], tuple):
        any_time = f'distribution="uniform" min="{hold[0]}" max="{hold[1]}"'
        text = text.replace('milliseconds="@HOLD_MS@"', any_time)
    for key, value in (values | {"PLAY": play, "PATIENCE_MS": limit_s * 1000}).items():
        text = text.replace(f"@{key}@", str(value))
    if ear is not None:
        text = text.replace("m=audio [media_port]", f"m=audio {ear.port}")
    (own / "scenario.xml").write_text(text)
    arguments = ["sipp", *where, "-sf", str(own / "scenario.xml"), "-m", str(count)]
    arguments += ["-r", str(count), "-l", str(count)]
    arguments += ["-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin"]
    arguments += ["-min_rtp_port", str(32000 + number % 500 * 4), "-max_rtp_port", "36000"]
    arguments += ["-timeout", f"{limit_s}s", "-timeout_error", "-trace_err"]
    arguments += ["-error_file", str(own / "errors.log")]
    arguments += ["-trace_msg", "-message_file", str(own / "messages.log")]
    return Phone(arguments, scenario, own, limit_s)
