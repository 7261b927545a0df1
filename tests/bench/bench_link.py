"""The link against redis-py: the same script, the same server, interleaved rounds.

Run `python tests/bench/bench_link.py`. Figures vary by machine; the ratio is what to look at.
"""

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import redis.asyncio
import uvloop

from router.deadline import in_s
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.scripts import make_script, run_script
from tests.servers import any_server, running

CALLERS = 64
SECONDS = 1.5
ROUNDS = 4
SCRIPT = make_script(
    "pick",
    """
local best = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('ZADD', KEYS[1], best[2] + 1000, best[1])
return best[1]
""",
)


async def measure(run: Callable[[], Awaitable[object]]) -> tuple[float, float, float]:
    """Calls per second, CPU microseconds per call, median latency in microseconds."""
    end = time.perf_counter() + SECONDS
    took: list[float] = []

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await run()
            took.append(time.perf_counter() - began)

    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return len(took) / wall, cpu / len(took) * 1e6, statistics.median(took) * 1e6


async def main(url: str) -> None:
    read = parse_store_url(url)
    usual = redis.asyncio.Redis.from_url(url)
    async with Links(read) as links:
        await links.wait_open(in_s(5))
        await usual.zadd("cp:{t}:ready", {f"a{n}": n for n in range(1000)})
        await usual.script_load(SCRIPT.source)
        keys = ["cp:{t}:ready"]
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "redis-py, defaults": lambda: usual.evalsha(SCRIPT.sha, 1, *keys),
            "link": lambda: run_script(links.link_for("t"), SCRIPT, keys, [], in_s(5)),
        }
        rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                rows[name].append(await measure(way))
        floor = statistics.median(row[0] for row in rows["redis-py, defaults"])
        print(f"{'way':<20} {'calls/s':>9} {'ratio':>6} {'cpu us':>7} {'p50 us':>7}")
        for name, found in rows.items():
            rate, cpu, p50 = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{name:<20} {rate:>9.0f} {rate / floor:>6.2f} {cpu:>7.1f} {p50:>7.0f}")
    await usual.aclose()


if __name__ == "__main__":
    with running(any_server()) as server:
        uvloop.run(main(server.url))
