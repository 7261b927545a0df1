"""`make bench-pbx`: calls on a real Asterisk, run by Crosspoint and by Asterisk's own queue, side by side.

One Asterisk, SIPp as callers and phones, all on this machine: the figures compare, they do not size.
A call is answered, hears a menu, keys 2, is queued, an agent's phone rings and answers, both are bridged
and recorded, the caller hangs up. Dialled 100 it is Crosspoint's, dialled 200 it stays in the dialplan of
`OWN_DIALPLAN`: `Read`, `Queue` and MixMonitor, with members, music and recording as near as they get.

Crosspoint is the real `crosspoint pbx` with a Redis of its own; `--in-memory` puts a world in memory in the
store's place and shows what the controller alone costs. What a call costs a controller is measured in turns
with a script written the usual way (`pbx_usual_way`); `--cost N` measures nothing but that, N times.
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
from tests.bench.pbx_service import serving, serving_as_usual
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
USUAL_USER = """\
[usual]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = call,agi,dtmf
write = call,agi,originate
"""
NEEDS = ("app_queue.so",)
COSTS = {10.0: 100, 30.0: 150}
"""Calls a second, and how many: seldom enough that each step of a call wakes the controller, and often enough
that it does several at once."""
COST_TURNS = 2
WARM_RATE, WARM_CALLS = 10.0, 5
"""The first calls make the prompts and teach the store its scripts: they are not counted."""
Control = Callable[[Instance, Sequence[str], Path], AbstractAsyncContextManager[int]]
"""Starts a controller for these agents; a folder of its own; gives its process id."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Who runs the calls."""

    name: str
    called: str
    control: Control | None = None


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


OURS = Side(name="Crosspoint", called="100", control=serving)
IN_MEMORY = Side(name="Crosspoint in memory", called="100", control=controlling)
USUAL = Side(name="the usual way", called="100", control=serving_as_usual)
THEIRS = Side(name="app_queue + dialplan", called="200")


class Bench:
    """One Asterisk, and what can be measured on it."""

    def __init__(
        self,
        asterisk: Instance,
        witness: Witness,
        folder: Path,
        phone_port: int,
    ) -> None:
        self._asterisk = asterisk
        self._witness = witness
        self._folder = folder
        self._port = phone_port
        self._runs = 0
        self.kept = 0

    async def calls(self, side: Side, *, rate: float, calls: int) -> Load:
        """Whole calls at a steady rate."""
        wanted = min(len(AGENTS), 10 + round(rate * 5))
        async with self._ready(side, AGENTS[:wanted]) as (folder, controller):
            await self._call(side, folder, rate=WARM_RATE, calls=WARM_CALLS, says=TALKS)
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
            if side.control is not None:
                controller = side.control(self._asterisk, agents, folder / "controller")
                pid = await stack.enter_async_context(controller)
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
        f"{load.controller_s * 1000:.1f} ms" if side.control else none,
        f"{load.asterisk_s * 1000:.1f} ms",
        _median(ring),
        _median(prompt),
        f"{hold['held']:.0f}",
        f"{hold['asterisk_cpu']:.0%}, {hold['asterisk_mb']:.0f} MB",
        f"{hold['controller_cpu']:.1%}, {hold['controller_mb']:.0f} MB" if side.control else none,
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
async def benches() -> AsyncIterator[Bench]:
    """One Asterisk with everything on it."""
    with tempfile.TemporaryDirectory(prefix="bench-pbx-") as name:
        folder, port = Path(name), free_udp_port()
        free = free_ports()
        ports = Ports(ami=free.ami, sip=free.sip, rtp=20_000, rtp_count=12_000)
        asterisk = Instance(
            folder=folder / "asterisk", ports=ports, phones=dict.fromkeys(AGENTS, port)
        )
        secret = admit(asterisk.etc, events=WITNESSED)
        with (asterisk.etc / "manager_local.conf").open("a") as users:
            users.write(USUAL_USER.format(secret=asterisk.secret))
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
                yield Bench(asterisk, witness, folder, port)


async def run(bench: Bench, side: Side, rates: Sequence[float], held: int) -> Table:
    columns = [await measure(bench, one, rates, held) for one in (side, THEIRS)]
    table = Table(title="Whole calls on one Asterisk (medians; number of samples)")
    for heading in ("", side.name, THEIRS.name):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in zip(ROWS, *columns, strict=True):
        table.add_row(*row)
    return table


async def cost(bench: Bench, side: Side, turns: int) -> Table:
    """What a call costs the controller, ours and the usual one in turns, at each rate.

    The ratio is that of the two loads of a turn: how fast the machine is just then concerns both.
    """
    sides = (side, USUAL)
    table = Table(title="Controller CPU per call, in turns (median)")
    for heading in ("calls/s", side.name, USUAL.name, "ratio", "in full", "Asterisk"):
        table.add_column(heading, justify="right")
    for rate, calls in COSTS.items():
        loads: dict[Side, list[Load]] = {one: [] for one in sides}
        for turn in range(turns):
            for one in sides if turn % 2 == 0 else sides[::-1]:
                load = await bench.calls(one, rate=rate, calls=calls)
                loads[one].append(load)
                say(f"{one.name}: {rate:.0f} calls/s: {_ms(load.controller_s)}, "
                    f"{load.in_full:.1%} in full")  # fmt: skip
        used = [statistics.median(load.controller_s for load in loads[one]) for one in sides]
        ratio = statistics.median(
            ours.controller_s / usual.controller_s
            for ours, usual in zip(*loads.values(), strict=True)
        )
        full = [min(load.in_full for load in loads[one]) for one in sides]
        asterisk = [statistics.median(load.asterisk_s for load in loads[one]) for one in sides]
        table.add_row(
            f"{rate:.0f}",
            *map(_ms, used),
            f"{ratio:.2f}",
            ", ".join(f"{share:.1%}" for share in full),
            ", ".join(map(_ms, asterisk)),
        )
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


async def chosen(arguments: argparse.Namespace) -> list[Table]:
    side = IN_MEMORY if arguments.in_memory else OURS
    async with benches() as bench:
        if arguments.cost:
            return [await cost(bench, side, arguments.cost)]
        table = await run(bench, side, arguments.rates, arguments.held)
        return [table, await cost(bench, side, COST_TURNS)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-pbx")
    parser.add_argument("--rates", type=float, nargs="+", default=[5, 10, 15, 20, 30, 40, 60])
    parser.add_argument("--held", type=int, default=500)
    parser.add_argument("--in-memory", action="store_true", help="no store: the controller alone")
    parser.add_argument(
        "--cost", type=int, metavar="N", help="only the controller's CPU per call, N turns"
    )
    arguments = parser.parse_args()
    if not has_raw_sockets():
        say("SIPp needs CAP_NET_RAW to press keys in many calls at once: run this as root")
        return 2
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    Console(width=100).print(*asyncio.run(chosen(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
