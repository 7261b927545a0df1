"""`make bench-pbx`: calls on a real Asterisk, run by Crosspoint and by Asterisk's own queue, side by side.

One Asterisk, SIPp as callers and phones, all on this machine: the figures compare, they do not size.
A call is answered, hears a menu, keys 2, is queued, an agent's phone rings and answers, both are bridged
and recorded, the caller hangs up. Dialled 100 it is Crosspoint's, dialled 200 it stays in the dialplan of
`OWN_DIALPLAN`: `Read`, `Queue` and MixMonitor, with members, music and recording as near as they get.

Crosspoint is the real `crosspoint pbx` with a Redis of its own; `--in-memory` puts a world in memory in the
store's place and shows what the controller alone costs. `--cost N` measures nothing but CPU per call, N times.
"""

import argparse
import asyncio
import contextlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.asterisk.instance import Instance, Ports, free_ports, free_udp_port, write_tone
from deploy.asterisk.witness import Fact, Witness, admit, listening
from tests.bench.pbx_load import call_in, controlling, cpu_s, memory_mb, phones
from tests.bench.pbx_service import serving
from tests.integration.asterisk.capture import Part, Silence, Tone, keys
from tests.integration.asterisk.phones import has_raw_sockets

AGENTS = [f"a{number:03}" for number in range(250)]
LASTS_MS = 3500
WAITS_MS = 14_000
TALKS: Sequence[Part] = [Silence(0.6), *keys("2"), Tone(700, 2.6)]
KEYS_WRONG: Sequence[Part] = [part for _ in range(5) for part in (Silence(0.8), *keys("9"))]
WITNESSED = "Newchannel|Newstate|Newexten|DTMFEnd|AGIExecStart|BridgeEnter|Hangup"
QUIET_S = 10.0
IDLE_RATE = 2.0
SLOWER = 1.5
"""Answers that take so much longer than at idle: the load is too high."""
SLACK_S = 0.01
"""What this machine's scheduler is forgiven: a plain dialplan answers in less than a millisecond."""
OWN_DIALPLAN = """\
[crosspoint-in](+)
exten => 200,1,Answer()
 same => n(menu),Read(KEY,{sounds}/menu,1,,1,5)
 same => n,GotoIf($["${{KEY}}"="2"]?queue)
 same => n,Playback({sounds}/short)
 same => n,Goto(menu)
 same => n(queue),Queue(support)
 same => n,Hangup()
"""
QUEUES = """\
[general]
autofill = yes
[support]
strategy = leastrecent
timeout = 15
retry = 1
ringinuse = no
wrapuptime = 0
joinempty = yes
announce-frequency = 0
monitor-format = wav
monitor-type = MixMonitor
"""
NEEDS = ("app_queue.so",)
COST_RATES, COST_CALLS = (10.0, 30.0), 150
"""Seldom enough that each step of a call wakes the controller, and often enough that it does several at once."""
WARM_CALLS = 5
"""The first calls make the prompts and teach the store its scripts: they are not counted."""
Control = Callable[[Instance, Sequence[str], Path], AbstractAsyncContextManager[int]]
"""Starts a controller for these agents; a folder of its own; gives its process id."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Who runs the calls."""

    name: str
    called: str
    is_ours: bool


@dataclass(frozen=True, kw_only=True)
class Load:
    """What became of one load. Times in seconds, `in_full` is a share."""

    answers: list[float]
    in_full: float
    asterisk_s: float
    controller_s: float

    @property
    def answer_s(self) -> float:
        return statistics.median(self.answers) if self.answers else float("inf")


OURS = Side(name="Crosspoint", called="100", is_ours=True)
THEIRS = Side(name="app_queue + dialplan", called="200", is_ours=False)


class Bench:
    """One Asterisk, and what can be measured on it."""

    def __init__(
        self,
        asterisk: Instance,
        witness: Witness,
        folder: Path,
        phone_port: int,
        *,
        control: Control,
    ) -> None:
        self._asterisk = asterisk
        self._control = control
        self._witness = witness
        self._folder = folder
        self._port = phone_port
        self._runs = 0
        self.kept = 0

    async def calls(self, side: Side, *, rate: float, calls: int) -> Load:
        """Whole calls at a steady rate."""
        wanted = min(len(AGENTS), 10 + round(rate * 5))
        async with self._ready(side, AGENTS[:wanted]) as (folder, controller):
            await self._call(side, folder, rate=COST_RATES[0], calls=WARM_CALLS, says=TALKS)
            before = cpu_s(self._asterisk.pid), cpu_s(controller) if controller else 0.0
            facts = await self._call(side, folder, rate=rate, calls=calls, says=TALKS)
            asterisk_s = cpu_s(self._asterisk.pid) - before[0]
            controller_s = cpu_s(controller) - before[1] if controller else 0.0
        bridged = sum(1 for fact in facts if is_pair(fact))
        return Load(
            answers=answer_times(facts),
            in_full=bridged / calls,
            asterisk_s=asterisk_s / calls,
            controller_s=controller_s / calls,
        )

    async def free_to_ring(self, side: Side) -> list[float]:
        """Twelve callers for two agents: from an agent's hang-up to the ringing of that phone."""
        async with self._ready(side, AGENTS[:2], talk_ms=800) as (folder, _):
            facts = await self._call(side, folder, rate=20, calls=12, says=TALKS, lasts_ms=WAITS_MS)
        return free_to_ring_times(facts)

    async def key_to_prompt(self, side: Side) -> list[float]:
        """From a key in a menu to the beginning of the prompt that follows."""
        async with self._ready(side, AGENTS[:1]) as (folder, _):
            facts = await self._call(side, folder, rate=1, calls=6, says=KEYS_WRONG, lasts_ms=6000)
        return key_to_prompt_times(facts)

    async def on_hold(self, side: Side, callers: int) -> dict[str, float]:
        """Callers who hear music: what that costs, and how soon one more is answered."""
        async with self._ready(side, []) as (folder, controller):
            pids = [self._asterisk.pid, *([controller] if controller else [])]
            holding = asyncio.create_task(
                self._call(
                    side, folder, rate=50, calls=callers, says=[], lasts_ms=callers * 20 + 16_000
                )
            )
            await asyncio.sleep(callers / 50 + 6)
            before, began_s = [cpu_s(pid) for pid in pids], time.monotonic()
            await asyncio.sleep(5)
            took_s = time.monotonic() - began_s
            used = [(cpu_s(pid) - was) / took_s for pid, was in zip(pids, before, strict=True)]
            memory = [memory_mb(pid) for pid in pids]
            listed = self._asterisk.command("core show channels count")
            facts = await holding
        return {
            "held": float(listed.split()[0]),
            "asterisk_cpu": used[0],
            "asterisk_mb": memory[0],
            "controller_cpu": used[1] if controller else 0.0,
            "controller_mb": memory[1] if controller else 0.0,
            "answer_s": statistics.median(answer_times(facts)[-50:]),
        }

    @contextlib.asynccontextmanager
    async def _ready(
        self, side: Side, agents: Sequence[str], *, talk_ms: int | None = None
    ) -> AsyncIterator[tuple[Path, int | None]]:
        """Phones, and whoever runs the calls; a folder, and the controller's process."""
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        (folder / "phones").mkdir(parents=True)
        members = "".join(f"member => PJSIP/{agent}\n" for agent in agents)
        (self._asterisk.etc / "queues.conf").write_text(QUEUES + members)
        self._asterisk.command("queue reload all")
        self._asterisk.forget_controller()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(phones(folder / "phones", self._port, talk_ms=talk_ms))
            pid = None
            if side.is_ours:
                control = self._control(self._asterisk, agents, folder / "controller")
                pid = await stack.enter_async_context(control)
            yield folder, pid
        await self._until_quiet()

    async def _call(
        self,
        side: Side,
        folder: Path,
        *,
        rate: float,
        calls: int,
        says: Sequence[Part],
        lasts_ms: int = LASTS_MS,
    ) -> list[Fact]:
        first = len(self._witness.facts)
        await call_in(
            self._asterisk,
            folder,
            called=side.called,
            rate=rate,
            calls=calls,
            lasts_ms=lasts_ms,
            says=says,
        )
        await self._until_quiet()
        facts = self._witness.facts[first:]
        self._witness.facts.clear()
        return facts

    async def _until_quiet(self) -> None:
        """Wait until all calls are over; channels that Asterisk itself never lets go of are counted."""
        until_s = time.monotonic() + QUIET_S
        while (live := self._live_channels()) > self.kept and time.monotonic() < until_s:
            await asyncio.sleep(0.2)
        self.kept = live

    def _live_channels(self) -> int:
        return int(self._asterisk.command("core show channels count").split()[0])


# --- reading the facts ------------------------------------------------------------------------------


def is_pair(fact: Fact) -> bool:
    return fact.name == "BridgeEnter" and fact.get("BridgeNumChannels") == "2"


def answer_times(facts: Sequence[Fact]) -> list[float]:
    """From the INVITE to the answer, of every caller."""
    came: dict[str, float] = {}
    took: list[float] = []
    for fact in facts:
        if not fact.is_of("PJSIP/trunk-"):
            continue
        if fact.name == "Newchannel":
            came[fact.get("Uniqueid")] = fact.at_s
        elif fact.name == "Newstate" and fact.get("ChannelState") == "6":
            began_s = came.pop(fact.get("Uniqueid"), None)
            if began_s is not None:
                took.append(fact.at_s - began_s)
    return took


def free_to_ring_times(facts: Sequence[Fact]) -> list[float]:
    """From the end of an agent's call to the ringing of that phone for the next."""
    freed: dict[str, float] = {}
    took: list[float] = []
    for fact in facts:
        agent = fact.get("Channel").partition("-")[0]
        if not agent.startswith("PJSIP/a"):
            continue
        if fact.name == "Hangup":
            freed[agent] = fact.at_s
        elif fact.name == "Newstate" and fact.get("ChannelState") == "5" and agent in freed:
            took.append(fact.at_s - freed.pop(agent))
    return took


def key_to_prompt_times(facts: Sequence[Fact]) -> list[float]:
    """From the end of a key to the application or command that plays next on that channel."""
    keyed: dict[str, float] = {}
    took: list[float] = []
    for fact in facts:
        channel = fact.get("Channel")
        if fact.name == "DTMFEnd" and fact.get("Digit") == "9":
            keyed.setdefault(channel, fact.at_s)
        elif is_prompt(fact) and channel in keyed:
            took.append(fact.at_s - keyed.pop(channel))
    return took


def is_prompt(fact: Fact) -> bool:
    if fact.name == "AGIExecStart":
        return fact.get("Command").startswith("STREAM FILE")
    return fact.name == "Newexten" and fact.get("Application") == "Playback"


# --- the table --------------------------------------------------------------------------------------


async def most_calls(bench: Bench, side: Side, rates: Sequence[float]) -> tuple[float, float, Load]:
    """The highest rate at which answers stay near those at idle; the idle answer; that load."""
    idle = await bench.calls(side, rate=IDLE_RATE, calls=10)
    best_rate, best = IDLE_RATE, idle
    for rate in rates:
        load = await bench.calls(side, rate=rate, calls=max(20, round(rate * 4)))
        say(f"{side.name}: {rate:.0f} calls/s: answered in {load.answer_s * 1000:.0f} ms, "
            f"{load.in_full:.1%} in full")  # fmt: skip
        if load.answer_s > idle.answer_s * SLOWER + SLACK_S or load.in_full < 0.99:
            break
        best_rate, best = rate, load
    return best_rate, idle.answer_s, best


async def measure(bench: Bench, side: Side, rates: Sequence[float], held: int) -> list[str]:
    """One column."""
    kept = bench.kept
    ring = await bench.free_to_ring(side)
    prompt = await bench.key_to_prompt(side)
    rate, idle_s, load = await most_calls(bench, side, rates)
    hold = await bench.on_hold(side, held)
    none = "—"
    return [
        f"{'at least ' if rate == rates[-1] else ''}{rate:.0f}",
        f"{idle_s * 1000:.0f} ms",
        f"{load.controller_s * 1000:.1f} ms" if side.is_ours else none,
        f"{load.asterisk_s * 1000:.1f} ms",
        _median(ring),
        _median(prompt),
        f"{hold['held']:.0f}",
        f"{hold['asterisk_cpu']:.0%}, {hold['asterisk_mb']:.0f} MB",
        f"{hold['controller_cpu']:.1%}, {hold['controller_mb']:.0f} MB" if side.is_ours else none,
        f"{bench.kept - kept}",
    ]


def _median(times: Sequence[float]) -> str:
    if not times:
        return "none seen"
    return f"{statistics.median(times) * 1000:.0f} ms ({len(times)})"


ROWS = (
    "calls/s in full, answers near idle",
    "answer at idle",
    "controller CPU per call",
    "Asterisk CPU per call",
    "agent free to phone ringing (goal 30 ms)",
    "key to next prompt (goal 150 ms)",
    "callers on hold at once",
    "  Asterisk meanwhile (of a core)",
    "  controller meanwhile (of a core)",
    "channels that Asterisk never let go of",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def benches(control: Control) -> AsyncIterator[Bench]:
    """One Asterisk with everything on it."""
    with tempfile.TemporaryDirectory(prefix="bench-pbx-") as name:
        folder, port = Path(name), free_udp_port()
        free = free_ports()
        ports = Ports(ami=free.ami, sip=free.sip, rtp=20_000, rtp_count=12_000)
        asterisk = Instance(
            folder=folder / "asterisk", ports=ports, phones=dict.fromkeys(AGENTS, port)
        )
        secret = admit(asterisk.etc, events=WITNESSED)
        local = OWN_DIALPLAN.format(sounds=asterisk.sounds)
        (asterisk.etc / "extensions_local.conf").write_text(local)
        (asterisk.etc / "queues.conf").write_text(QUEUES)
        asterisk.sounds.mkdir(parents=True)
        write_tone(asterisk.sounds / "menu.wav", hz=900, seconds=3)
        write_tone(asterisk.sounds / "short.wav", hz=500, seconds=0.3)
        with asterisk:
            for module in NEEDS:
                asterisk.command(f"module load {module}")
            async with listening(ports.ami, secret) as witness:
                yield Bench(asterisk, witness, folder, port, control=control)


async def run(bench: Bench, rates: Sequence[float], held: int) -> Table:
    columns = [await measure(bench, side, rates, held) for side in (OURS, THEIRS)]
    table = Table(title="Whole calls on one Asterisk (medians; number of samples)")
    for heading in ("", OURS.name, THEIRS.name):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in zip(ROWS, *columns, strict=True):
        table.add_row(*row)
    return table


async def cost(bench: Bench, runs: int) -> Table:
    """What a call costs, several times, at each rate."""
    table = Table(title=f"CPU per call, {COST_CALLS} calls a run")
    for heading in ("calls/s", "run", "controller", "Asterisk", "in full"):
        table.add_column(heading, justify="right")
    loads: dict[float, list[Load]] = {rate: [] for rate in COST_RATES}
    for _ in range(runs):
        for rate in COST_RATES:
            loads[rate].append(await bench.calls(OURS, rate=rate, calls=COST_CALLS))
    for rate, found in loads.items():
        for number, load in enumerate(found, 1):
            used = map(_ms, (load.controller_s, load.asterisk_s))
            table.add_row(f"{rate:.0f}", str(number), *used, f"{load.in_full:.1%}")
        medians = (statistics.median(values) for values in zip(
            *((load.controller_s, load.asterisk_s) for load in found), strict=True
        ))  # fmt: skip
        table.add_row(f"{rate:.0f}", "median", *map(_ms, medians), "")
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


async def chosen(arguments: argparse.Namespace) -> Table:
    async with benches(controlling if arguments.in_memory else serving) as bench:
        if arguments.cost:
            return await cost(bench, arguments.cost)
        return await run(bench, arguments.rates, arguments.held)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-pbx")
    parser.add_argument("--rates", type=float, nargs="+", default=[5, 10, 15, 20, 30, 40, 60])
    parser.add_argument("--held", type=int, default=500)
    parser.add_argument("--in-memory", action="store_true", help="no store: the controller alone")
    parser.add_argument("--cost", type=int, metavar="N", help="only CPU per call, N times")
    arguments = parser.parse_args()
    if not has_raw_sockets():
        say("SIPp needs CAP_NET_RAW to press keys in many calls at once: run this as root")
        return 2
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    Console(width=100).print(asyncio.run(chosen(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
