"""A real Asterisk of its own: configuration rendered into a folder, started without root, stopped cleanly.

Tests, the demo and the bench share it. The configuration is `deploy/asterisk/etc`, the very files an operator
copies; only the values that differ per instance (ports, folders, secret, phones) are replaced.
"""

# ruff: noqa: INP001, S603 - a script's neighbour, not a package; every argument of the processes is ours

import array
import math
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pbx.claim import VARIABLE

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent / ".asterisk"
ASTERISK_TREE = Path(os.environ.get("CROSSPOINT_ASTERISK_TREE", TREE))
"""Where Asterisk itself is taken from: another one, fetched into a folder of its own, to be tried."""
SAMPLES_PER_S = 8000
BOOT_LIMIT_S = 30.0
STOP_LIMIT_S = 25.0  # Asterisk itself waits 15 s for a leaked channel


class AsteriskMissingError(Exception):
    """No Asterisk has been fetched."""


class AsteriskFailedError(Exception):
    """Asterisk did not start, or ended by itself."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where an instance listens, all on 127.0.0.1. `rtp` is the first of `rtp_count` ports."""

    ami: int
    sip: int
    rtp: int
    rtp_count: int = 400
    ami_tls: int = 0


@dataclass(kw_only=True)
class Instance:
    """One Asterisk below `folder`; use it as a context manager, or `start` and `stop`."""

    folder: Path
    ports: Ports
    name: str = "pbx1"
    user: str = "crosspoint"
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    phones: Mapping[str, int] = field(
        default_factory=dict
    )  # endpoint -> SIP port of that phone; 0: it registers
    silent_s: Mapping[str, int] = field(default_factory=dict)  # endpoint -> its own `rtp_timeout`
    trunk_port: int = 5060  # where calls to the outside are sent
    tls_file: Path | None = None  # certificate and key of the manager interface
    tree: Path = ASTERISK_TREE
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def sounds(self) -> Path:
        """Prompts go here; play them by absolute path without extension."""
        return self.folder / "sounds"

    @property
    def recordings(self) -> Path:
        """Where a recording with a relative name ends up."""
        return self.folder / "spool" / "monitor"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AsteriskFailedError("not started")
        return self._process.pid

    def start(self) -> None:
        """Render, start and wait until fully booted. Raises AsteriskMissingError, AsteriskFailedError."""
        run = self.tree / "run"
        if not (self.tree / "packages").exists():
            raise AsteriskMissingError(f"no Asterisk in {self.tree}: run deploy/asterisk/fetch.sh")
        self.render()
        with (self.folder / "log" / "console").open("ab") as console:
            self._process = subprocess.Popen(
                [run, "asterisk", "-f", "-C", self.etc / "asterisk.conf"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,  # Ctrl-C of the demo is not Asterisk's
            )
        try:
            self._wait_until_booted()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End all calls and Asterisk; kill it when it has not gone in time."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the process without a word to anybody, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop the process from running, as a black hole does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def forget_controller(self) -> None:
        """Whoever controlled it has gone for good: the next one need not wait to be sure (`pbx.claim`)."""
        self.command(f'dialplan set global {VARIABLE} ""')

    def command(self, line: str) -> str:
        """Run one line of the console and return what it prints."""
        done = subprocess.run(
            [self.tree / "run", "asterisk", "-C", self.etc / "asterisk.conf", "-rx", line],
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        return done.stdout

    def render(self) -> None:
        """Write the configuration and the folders; keeps recordings and logs of an earlier run."""
        for name in ("etc", "var", "spool/monitor", "run", "log", "sounds", "moh"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for template in sorted((HERE / "etc").glob("*.conf")):
            text = template.read_text(encoding="utf-8")
            (self.etc / template.name).write_text(
                _replaced(text, self._values(template.name), template.name), encoding="utf-8"
            )
        for name in ("pjproject.conf", "udptl.conf", "acl.conf", "ccss.conf", "cel.conf"):
            (self.etc / name).touch()
        (self.etc / "pjsip_local.conf").write_text(self._local_sip(), encoding="utf-8")
        if not any((self.folder / "moh").iterdir()):
            write_tone(self.folder / "moh" / "music.wav", hz=330, seconds=10)
        # The sounds of the packages stay where they are; ours stand beside them.
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        (data / "sounds" / "en").mkdir(parents=True)
        shared = self.tree / "root" / "usr" / "share" / "asterisk"
        for entry in shared.iterdir():
            if entry.name != "sounds":
                (data / entry.name).symlink_to(entry)
        for entry in (shared / "sounds" / "en_US_f_Allison").iterdir():
            (data / "sounds" / "en" / entry.name).symlink_to(entry)
        (data / "sounds" / "en" / "crosspoint").symlink_to(self.sounds)
        if not (self.sounds / "sorry.wav").exists():
            write_tone(self.sounds / "sorry.wav", hz=620, seconds=1)

    def _values(self, file: str) -> dict[str, str]:
        """The values that differ per instance: key -> value, each standing exactly once in the file."""
        folder, ports = self.folder, self.ports
        modules = next((self.tree / "root" / "usr" / "lib").glob("**/asterisk/modules"))
        return {
            "asterisk.conf": {
                "astetcdir": str(self.etc),
                "astmoddir": str(modules),
                "astvarlibdir": str(folder / "var"),
                "astdbdir": str(folder / "var"),
                "astkeydir": str(folder / "var"),
                "astdatadir": str(folder / "data"),
                "astagidir": str(folder / "var"),
                "astspooldir": str(folder / "spool"),
                "astrundir": str(folder / "run"),
                "astlogdir": str(folder / "log"),
                "systemname": self.name,
            },
            "manager.conf": {"port": str(ports.ami), "secret": self.secret} | self._tls(),
            "pjsip.conf": {"bind": f"127.0.0.1:{ports.sip}", "match": "127.0.0.1"}
            | {"contact": f"sip:127.0.0.1:{self.trunk_port}"},
            "rtp.conf": {"rtpstart": str(ports.rtp), "rtpend": str(ports.rtp + ports.rtp_count)},
            "musiconhold.conf": {"directory": str(folder / "moh")},
        }.get(file, {})

    def _tls(self) -> dict[str, str]:
        if self.tls_file is None:
            return {}
        return {
            "; tlsenable": "yes",
            "; tlsbindaddr": f"127.0.0.1:{self.ports.ami_tls}",
            "; tlscertfile": str(self.tls_file),
        }

    def _local_sip(self) -> str:
        """Phones without passwords, and media that stays on this machine."""
        media = "media_address = 127.0.0.1\nbind_rtp_to_media_address = yes\n"
        parts = [f"[trunk](+type=endpoint)\n{media}"]
        parts += [
            f"[{phone}](phone)\naors = {phone}\n{media}{self._silence(phone)}\n"
            f"[{phone}]\ntype = aor\n{_where(phone, port)}\n"
            for phone, port in self.phones.items()
        ]
        return "\n".join(parts)

    def _silence(self, phone: str) -> str:
        return f"rtp_timeout = {self.silent_s[phone]}\n" if phone in self.silent_s else ""

    def _wait_until_booted(self) -> None:
        limit = time.monotonic() + BOOT_LIMIT_S
        login = f"Action: Login\r\nUsername: {self.user}\r\nSecret: {self.secret}\r\n\r\n".encode()
        while time.monotonic() < limit:
            if self._process is None or self._process.poll() is not None:
                raise AsteriskFailedError(f"Asterisk ended at once:\n{self._last_words()}")
            try:
                with socket.create_connection(("127.0.0.1", self.ports.ami), timeout=1) as ami:
                    ami.sendall(login)
                    ami.settimeout(max(0.1, limit - time.monotonic()))
                    if _reads_fully_booted(ami):
                        return
            except OSError:
                time.sleep(0.02)
        raise AsteriskFailedError(
            f"Asterisk was not ready after {BOOT_LIMIT_S:.0f} s:\n{self._last_words()}"
        )

    def _last_words(self) -> str:
        console = self.folder / "log" / "console"
        return console.read_text(encoding="utf-8", errors="replace")[-2000:]


def _where(phone: str, port: int) -> str:
    if not port:
        return "max_contacts = 1\nremove_existing = yes"
    return f"contact = sip:{phone}@127.0.0.1:{port}"


def free_ports(*, rtp_count: int = 400) -> Ports:
    """Ports nobody uses now: two for TCP, one for UDP, and a run of UDP ports for media."""
    rtp = (
        20000 + secrets.randbelow(20) * 600
    )  # below the range from which the system picks ports itself
    return Ports(
        ami=_free_port(socket.SOCK_STREAM),
        ami_tls=_free_port(socket.SOCK_STREAM),
        sip=free_udp_port(),
        rtp=rtp,
        rtp_count=rtp_count,
    )


def free_udp_port() -> int:
    """A port for a phone."""
    return _free_port(socket.SOCK_DGRAM)


def write_tone(path: Path, *, hz: float, seconds: float, level: float = 0.3) -> None:
    """A sine as 8 kHz mono 16-bit WAV, the format every prompt has."""
    count = int(SAMPLES_PER_S * seconds)
    step = 2 * math.pi * hz / SAMPLES_PER_S
    samples = array.array("h", (int(32767 * level * math.sin(step * i)) for i in range(count)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLES_PER_S)
        file.writeframes(samples.tobytes())


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _replaced(text: str, values: Mapping[str, str], file: str) -> str:
    for key, value in values.items():
        pattern = re.compile(rf"^{re.escape(key)}(\s*=>?\s*)[^\s;]+", re.MULTILINE)
        count = len(pattern.findall(text))
        line = key.removeprefix("; ")
        text = pattern.sub(rf"{line}\g<1>{value}", text)
        if count != 1:
            raise AsteriskFailedError(f"{file} holds {key!r} {count} times instead of once")
    return text


def _reads_fully_booted(ami: socket.socket) -> bool:
    seen = b""
    while b"Event: FullyBooted" not in seen:
        data = ami.recv(4096)
        if not data or b"Authentication failed" in seen:
            return False
        seen += data
    return True
