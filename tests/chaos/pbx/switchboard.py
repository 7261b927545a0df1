"""The real command, `crosspoint pbx`, on a Redis and an Asterisk, and what can be seen of its calls from outside."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import msgspec

from deploy.asterisk.instance import Instance, write_tone
from pbx.machine.state import CallState, Phase
from router.call_record import CallRecord
from router.deadline import in_s
from router.errors import CrosspointError
from router.store import keys as names
from router.store.agents import Agents
from router.store.call_records import CallRecords, RecordFilters
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.store.operations import list_of, text_of
from router.store.pbx_commands import PbxCommands
from router.telephony.call_control import CallControl, Command
from tests.integration.asterisk.capture import keys, write_capture
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.play import play

REPO = Path(__file__).resolve().parents[3]
TENANT, PBX = "acme", "pbx"
QUEUE_NUMBER, MENU_NUMBER = "+12125550100", "+12125550101"
MENU_HZ = 900
LEASE_S = 2
SETTINGS = """
data_dir: data
rules_dir: rules
site: site.yaml
store: {{url: "{store}"}}
pbx:
  tenant: acme
  port: {ami}
  country: US
  default_router: line
  secret: {{env: AMI_SECRET}}
  spool_dir: {spool}
  speech_dir: {sounds}
  speech_command: [cat, "{prompt}"]
  lease_seconds: {lease}
  store_patience_seconds: {patience}
"""
SITE = """
version: 1
tenant: acme
routers:
  - {id: line, name: Line, rules: line, default_target: {type: user, id: "1"},
     phone_numbers: ["+12125550100"]}
  - {id: menu, name: Menu, rules: menu, default_target: {type: user, id: "1"},
     phone_numbers: ["+12125550101"]}
queues:
  - id: support
    name: Support
    ring_seconds: 20
    wrap_up_seconds: 0
    hold_queue: {announce_position: false, announce_estimated_wait_time: false}
    recording: {inbound: true, announce: false}
agents:
  - {id: ada, name: Ada, endpoint: PJSIP/6001, queues: {support: {}}}
  - {id: eve, name: Eve, endpoint: PJSIP/6002, queues: {support: {}}}
  - {id: fay, name: Fay, endpoint: PJSIP/6003, queues: {support: {}}}
  - {id: gus, name: Gus, endpoint: PJSIP/6004, queues: {support: {}}}
  - {id: ida, name: Ida, endpoint: PJSIP/6010, queues: {support: {}}}
"""
LINE = """
version: 1
rules: [{name: all, when: {}, then: {queue: support}}]
default: {end: {}}
"""
MENU = """
version: 1
rules:
  - name: all
    when: {}
    then:
      menu:
        name: main
        prompt: One for support.
        choices: {"1": {queue: support}}
        otherwise: {end: {}}
        timeout: 10s
        tries: 3
default: {end: {}}
"""


async def eventually(
    is_true: Callable[[], Awaitable[object]], what: str, limit_s: float = 15
) -> None:
    """Wait until something holds that has to be asked for."""
    try:
        async with asyncio.timeout(limit_s):
            while not await is_true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {limit_s} s in vain for {what}") from None


class Process:
    """One `crosspoint pbx`. As a context manager it is killed at the end, if it still runs."""

    def __init__(self, folder: Path, log: Path, secret: str) -> None:
        self.log = log
        self._folder = folder
        self._environment = {**os.environ, "AMI_SECRET": secret, "PYTHONPATH": str(REPO)}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = await self._start("pbx", log.fileno())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM; it has to end well."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(15):
            assert await self._process.wait() == 0, self.log.read_text()

    async def until(self, word: str) -> None:
        """Wait until its log holds the word."""

        async def is_there() -> bool:
            assert self._process is not None
            text = self.log.read_text()
            assert self._process.returncode is None, text
            return word in text

        await eventually(is_there, f"{word} in the log", 25)

    async def apply(self) -> None:
        """`crosspoint apply`: the site comes into the store."""
        process = await self._start("apply", asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(20):
            assert await process.wait() == 0

    async def _start(self, command: str, stderr: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "router", "-c", str(self._folder / "crosspoint.yaml"), command),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
        )


class Switchboard:
    """Settings, rules and site in a folder; calls, agents and records as the store has them."""

    def __init__(
        self, asterisk: Instance, store_url: str, folder: Path, *, patience_s: int = 30
    ) -> None:
        """`patience_s`: so long a new caller waits for a store that is away."""
        self.asterisk = asterisk
        self.folder = folder
        self._count = 0
        (folder / "rules").mkdir(parents=True)
        (folder / "rules" / "line.yaml").write_text(LINE)
        (folder / "rules" / "menu.yaml").write_text(MENU)
        (folder / "site.yaml").write_text(SITE)
        write_tone(folder / "prompt.wav", hz=MENU_HZ, seconds=0.6)
        settings = SETTINGS.format(
            store=store_url,
            ami=asterisk.ports.ami,
            spool=asterisk.recordings,
            sounds=asterisk.sounds / "spoken",
            prompt=folder / "prompt.wav",
            lease=LEASE_S,
            patience=patience_s,
        )
        (folder / "crosspoint.yaml").write_text(settings)
        self._links = Links(parse_store_url(store_url))
        self.agents = Agents(self._links)

    async def __aenter__(self) -> Self:
        self._links.start()
        await self._links.wait_open(in_s(5))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._links.close()

    async def store_is_back(self) -> None:
        """Wait until the store answers us, too."""

        async def answers() -> bool:
            with contextlib.suppress(CrosspointError):
                await self.line()
                return True
            return False

        await eventually(answers, "the store to answer")

    def process(self) -> Process:
        self._count += 1
        return Process(self.folder, self.folder / f"log-{self._count}", self.asterisk.secret)

    # --- calls ----------------------------------------------------------------------------------------

    async def calls(self) -> dict[str, CallState]:
        """Live calls as written down, by the caller's number."""
        found = await LiveCalls(self._links).load(TENANT, PBX, in_s(5))
        states = [msgspec.json.decode(written, type=CallState) for written in found.values()]
        return {state.caller_number or "": state for state in states}

    async def call_in(self, number: str, phase: Phase, *, agent: str | None = None) -> CallState:
        """The call of that number once it is in that phase; with an agent: once the two hear each other."""

        async def there() -> bool:
            state = (await self.calls()).get(number)
            if state is None or state.phase is not phase:
                return False
            with_whom = state.agent.agent if state.agent is not None else None
            return agent is None or (with_whom == agent and state.is_joined)

        await eventually(there, f"{number} in {phase} with {agent}")
        return (await self.calls())[number]

    async def ask(self, command: Command) -> None:
        """Have a controller do something with a call."""
        await CallControl(PbxCommands(self._links)).carry_out(TENANT, PBX, command, in_s(10))

    async def line(self) -> list[str]:
        """Calls in the line of support, the next one first."""
        return await self._list("ZRANGE", names.line(TENANT, "support"), 0, -1)

    async def waiting_keys(self) -> list[str]:
        """Every key that stands for somebody who waits."""
        left = await self._list("KEYS", "*")
        return [key for key in left if ":waiting" in key or ":line:" in key or ":arrivals:" in key]

    async def _list(self, *words: str | int) -> list[str]:
        reply = await self._links.link_for(TENANT).call(*words, deadline=in_s(5))
        return [text_of(one) for one in list_of(reply)]

    async def records(self) -> dict[str, CallRecord]:
        """Every call record there is, by the caller's number; two of one caller are a failure."""
        found = await CallRecords(self._links).find(TENANT, RecordFilters(), in_s(5))
        by_number = {record.caller or "": record for record in found}
        assert len(by_number) == len(found), "a call has two records"
        return by_number

    # --- agents ---------------------------------------------------------------------------------------

    async def duty(self, agent: str) -> None:
        async def is_known() -> bool:
            return await self.agents.get(TENANT, agent, in_s(5)) is not None

        await eventually(is_known, f"{agent} to be in the store")
        await self.agents.set_duty(TENANT, agent, on=True, deadline=in_s(5))

    async def state_of(self, agent: str) -> str:
        view = await self.agents.get(TENANT, agent, in_s(5))
        assert view is not None
        return str(view.effective.state)

    # --- Asterisk -------------------------------------------------------------------------------------

    async def channels(self) -> dict[str, str]:
        """What Asterisk itself lists: unique id -> name of the channel."""
        text = await asyncio.to_thread(self.asterisk.command, "core show channels concise")
        rows = [row.split("!") for row in text.splitlines() if "!" in row]
        return {row[-1]: row[0] for row in rows}

    async def hang_up(self, channel: str) -> None:
        """End a channel as a phone does that hangs up."""
        name = (await self.channels())[channel]
        await asyncio.to_thread(self.asterisk.command, f"channel request hangup {name}")


class Watch:
    """Looks at Asterisk's channels all the time; `missing` are those that were gone at any look."""

    def __init__(self, board: Switchboard, wanted: set[str]) -> None:
        self.looks = 0
        self.missing: set[str] = set()
        self._board = board
        self._wanted = wanted

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def looks_again(self) -> None:
        """Wait for a look that begins after this moment."""
        enough = self.looks + 2

        async def enough_looks() -> bool:
            return self.looks >= enough

        await eventually(enough_looks, "a look at the channels")

    async def _look(self) -> None:
        while True:
            self.missing |= self._wanted - set(await self._board.channels())
            self.looks += 1


class Keypad(Ear):
    """An ear that can press keys as well: it knows the port that Asterisk talks from."""

    def datagram_received(self, data: bytes, addr: object) -> None:
        super().datagram_received(data, addr)
        assert isinstance(addr, tuple)
        self._far_port = int(addr[1])

    async def press(self, digits: str, folder: Path) -> None:
        capture = write_capture(folder / "pressed.pcap", keys(digits))
        await asyncio.to_thread(play, capture, self._far_port)
