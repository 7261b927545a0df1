"""One call from the first ring to the recording, on a real Asterisk: `make pbx-demo`.

Fetches Asterisk, starts it with the configuration beside this file, starts Crosspoint with the rules of
`demo/`, and has SIP phones call each other through both. What is shown comes from Asterisk's own events,
not from what Crosspoint thinks; the recording is measured for both voices at the end.

Exit code 0: all of it happened. 1: something did not, and the last lines say what.
"""

# ruff: noqa: INP001, T201, ASYNC240 - a program of its own that talks to the terminal and waits for nobody

import argparse
import asyncio
import contextlib
import re
import shutil
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from deploy.asterisk.instance import HERE, TREE, Instance, free_ports, free_udp_port
from deploy.asterisk.witness import Fact, Witness, admit, listening
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.phones import caller, phone

TOP = HERE.parent.parent
DIALLED, CALLER = "+12125550100", "+12125550142"
CALLER_HZ, AGENT_HZ, MUSIC_HZ = 700, 1100, 330
KEYS_AFTER_S = 2.5
"""The caller keys in the middle of the menu: nobody listens to the end."""
CALL_S = 24.0
MUSIC_S = 2.0
CALLER_CHANNEL, AGENT_CHANNEL = "PJSIP/trunk-", "PJSIP/6001-"
UP, RINGING = "6", "5"
START_S = 30.0


class DemoFailedError(Exception):
    """A step did not happen."""


class Story:
    """Tells the steps as they happen; each must come after the one before."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._began_s = time.monotonic()
        self._next = 0

    async def step(
        self, says: str, fits: Callable[[Fact], bool], *, limit_s: float = 20, stays: bool = False
    ) -> Fact:
        """Wait for one fact and tell it. `stays`: it may come before or after the next one."""
        try:
            at, fact = await self._witness.until(fits, after=self._next, limit_s=limit_s)
        except TimeoutError:
            raise DemoFailedError(f"did not happen in {limit_s:.0f} s: {says}") from None
        self._next = self._next if stays else at + 1
        self.tell(says.format(fact=fact, sound=_sound(fact)), fact.at_s)
        return fact

    def tell(self, says: str, at_s: float | None = None) -> None:
        at_s = time.monotonic() if at_s is None else at_s
        print(f"{at_s - self._began_s:7.2f} s  {says}", flush=True)


def plays(channel: str) -> Callable[[Fact], bool]:
    return lambda fact: (
        fact.name == "AGIExecStart"
        and fact.is_of(channel)
        and fact.get("Command").startswith(("STREAM FILE", "EXEC Playback"))
    )


def is_state(channel: str, state: str) -> Callable[[Fact], bool]:
    return lambda fact: (
        fact.name == "Newstate" and fact.is_of(channel) and fact.get("ChannelState") == state
    )


def is_event(name: str, channel: str = "") -> Callable[[Fact], bool]:
    return lambda fact: fact.name == name and fact.is_of(channel)


async def tell(story: Story, free_agent: Callable[[], "asyncio.Future[None]"]) -> None:
    """The call, step by step. Raises DemoFailedError at the first that does not happen."""
    await story.step(
        f"{CALLER} calls {DIALLED}; the dialplan hands the call over",
        is_event("AsyncAGIStart", CALLER_CHANNEL),
    )
    await story.step("the caller is answered", is_state(CALLER_CHANNEL, UP))
    await story.step("the menu is read out{sound}", plays(CALLER_CHANNEL))
    await story.step(
        "the caller keys {fact.values[digit]} into it",
        lambda fact: fact.name == "DTMFEnd" and fact.get("Direction") == "Received",
    )
    await story.step("nobody is free: music", is_event("MusicOnHoldStart", CALLER_CHANNEL))
    await story.step("the music stops for an announcement{sound}", plays(CALLER_CHANNEL))
    await story.step("and goes on", is_event("MusicOnHoldStart", CALLER_CHANNEL))
    await asyncio.sleep(MUSIC_S)
    story.tell("Ada switches her do-not-disturb off")
    await free_agent()
    await story.step("Ada's phone rings", is_state(AGENT_CHANNEL, RINGING))
    await story.step("Ada answers", is_state(AGENT_CHANNEL, UP))
    await story.step("she alone hears who comes{sound}", plays(AGENT_CHANNEL))
    await story.step("the recording begins", is_event("MixMonitorStart"), stays=True)
    await story.step(
        "both are on the line and talk",
        lambda fact: fact.name == "BridgeEnter" and fact.get("BridgeNumChannels") == "2",
    )
    await story.step("the caller hangs up", is_event("HangupRequest", CALLER_CHANNEL), limit_s=60)
    await story.step("Ada's phone is hung up", is_event("Hangup", AGENT_CHANNEL))


def _sound(fact: Fact) -> str:
    """How long the sounds are that a command plays."""
    found = re.match(r'(?:STREAM FILE|EXEC Playback) "?([^" ]+)', fact.get("Command"))
    files = [Path(f"{name}.wav") for name in found[1].split("&")] if found else []
    if not files or not all(file.exists() for file in files):
        return ""
    return f" ({sum(map(_length_s, files)):.1f} s)"


def _length_s(file: Path) -> float:
    with wave.open(str(file)) as sound:
        return sound.getnframes() / sound.getframerate()


# --- the parts --------------------------------------------------------------------------------------


async def fetch() -> None:
    """Asterisk, the test phones and a voice, once; no root needed."""
    if not (TREE / "packages").exists():
        print("fetching Asterisk 22 from Debian (about 90 MB, once) ...", flush=True)
    process = await asyncio.create_subprocess_exec(str(HERE / "fetch.sh"))
    if await process.wait() != 0:
        raise DemoFailedError("Asterisk could not be fetched, see above")


class Crosspoint:
    """The service as everybody starts it: `crosspoint up`."""

    def __init__(self, folder: Path, asterisk: Instance) -> None:
        self.recordings = folder / "recordings"
        self._config = folder / "crosspoint.yaml"
        self._log = folder / "crosspoint.log"
        self._config.write_text(_settings(folder, asterisk), encoding="utf-8")
        self._process: asyncio.subprocess.Process | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started and ready while the block runs."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, "up", "--port", "0",
                cwd=TOP, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        try:
            await self._until_ready()
            yield
        finally:
            if self._process.returncode is None:
                self._process.terminate()
            try:
                async with asyncio.timeout(15):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def run(self, *arguments: str) -> str:
        """A command beside the running service; what it prints. Raises DemoFailedError."""
        process = await asyncio.create_subprocess_exec(
            *self._command, *arguments, cwd=TOP,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await process.communicate()
        if process.returncode != 0:
            raise DemoFailedError(f"crosspoint {' '.join(arguments)}: {printed.decode().strip()}")
        return printed.decode()

    def last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "router", "-c", str(self._config)]

    async def _until_ready(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        try:
            async with asyncio.timeout(START_S):
                while line := await self._process.stdout.readline():
                    if b"listens on" in line:
                        return
        except TimeoutError:
            pass
        raise DemoFailedError(f"Crosspoint did not start:\n{self.last_words()}")


def _settings(folder: Path, asterisk: Instance) -> str:
    """The settings file, for whoever wants to read what the demo runs."""
    secret = folder / "secrets" / "ami"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(asterisk.secret, encoding="utf-8")
    secret.chmod(0o600)
    demo = HERE / "demo"
    return f"""\
# Written by `make pbx-demo`.
data_dir: {folder / "data"}
rules_dir: {demo / "rules"}
site: {demo / "site.yaml"}
recordings_dir: {folder / "recordings"}
log: {{level: info, format: json}}
pbx:
  tenant: acme
  port: {asterisk.ports.ami}
  secret: {{file: {secret}}}
  country: US
  spool_dir: {asterisk.recordings}
  sounds_dir: {asterisk.sounds}
  core_sounds_dir: {TREE / "root/usr/share/asterisk/sounds"}
  speech_dir: {folder / "speech"}
  speech_command: ["{TREE / "run"}", espeak-ng, --stdin, --stdout, -v, "{{voice}}"]
"""


# --- the proof --------------------------------------------------------------------------------------


async def recording_in(folder: Path, limit_s: float = 15) -> Path:
    """The one recording, once it has been handed over. Raises DemoFailedError."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        found = sorted(folder.rglob("*.wav")) if folder.exists() else []
        if found:
            return found[-1]
        await asyncio.sleep(0.05)
    raise DemoFailedError(f"no recording came to {folder}")


def prove(recording: Path) -> list[str]:
    """What is heard in it. Raises DemoFailedError unless that is both voices, and no music."""
    heard = {hz: audio.hears(recording, hz) for hz in (CALLER_HZ, AGENT_HZ, MUSIC_HZ)}
    told = [
        f"the caller's voice ({CALLER_HZ} Hz): {'heard' if heard[CALLER_HZ] else 'MISSING'}",
        f"the agent's voice ({AGENT_HZ} Hz): {'heard' if heard[AGENT_HZ] else 'MISSING'}",
        f"the music ({MUSIC_HZ} Hz): {'HEARD, but has no business there' if heard[MUSIC_HZ] else 'not in it'}",
    ]
    if heard != {CALLER_HZ: True, AGENT_HZ: True, MUSIC_HZ: False}:
        raise DemoFailedError("\n".join(told))
    return told


async def run(folder: Path) -> Path:
    """The whole demo below `folder`; the recording. Raises DemoFailedError."""
    await fetch()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ports = {"6001": free_udp_port()}
    asterisk = Instance(folder=folder / "asterisk", ports=free_ports(rtp_count=100), phones=ports)
    secret = admit(asterisk.etc)
    service = Crosspoint(folder, asterisk)
    with asterisk:
        print(f"Asterisk is up (manager interface on port {asterisk.ports.ami})")
        try:
            async with listening(asterisk.ports.ami, secret) as witness, service.running():
                print("Crosspoint is up; Ada is on duty and does not want to be disturbed\n")
                await service.run("agents", "set", "ada", "--on-duty", "--dnd")
                await _call(asterisk, witness, service, folder / "phones", ports["6001"])
                recording = await recording_in(service.recordings)
        except DemoFailedError:
            print(f"--- the service's last words\n{service.last_words()}", file=sys.stderr)
            raise
    left = folder / "recording.wav"
    shutil.copyfile(recording, left)
    print(f"\nThe recording, {audio.seconds_of(left):.1f} s: {_shown(left)}")
    for line in prove(left):
        print(f"  {line}")
    return left


async def _call(
    asterisk: Instance, witness: Witness, service: Crosspoint, folder: Path, port: int
) -> None:
    customer_says = [Silence(KEYS_AFTER_S), *keys("2"), Tone(CALLER_HZ, CALL_S)]
    agent_says = [Tone(AGENT_HZ, CALL_S)]
    async with (
        phone(folder, "phone_answers", port=port, ring_ms=1500, says=agent_says) as agent,
        caller(
            asterisk, folder, "caller_hangs_up", called=DIALLED, number=CALLER,
            says=customer_says, hold_ms=int(CALL_S * 1000),
        ) as customer,
    ):  # fmt: skip

        async def free_agent() -> None:
            await service.run("agents", "set", "ada", "--no-dnd")

        await tell(Story(witness), free_agent)
        await customer.ended()
        await agent.ended()


def _shown(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make pbx-demo", description=__doc__)
    folder = TOP / "build" / "pbx-demo"
    parser.add_argument("folder", nargs="?", type=Path, default=folder, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        asyncio.run(run(arguments.folder.absolute()))
    except (DemoFailedError, OSError, AssertionError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("All of it happened.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
