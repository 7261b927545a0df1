"""How long Redis works on one reservation, by number of agents and strategy.

    .venv/bin/python -m tests.bench.bench_reserve [--most 100000] [--json]

Server time per operation from Redis' own slow log (threshold 0), one request at a time: no network,
no client. Every agent has a random level in the queue, a random order and random levels of two
skills. "busy top": the better half of the agents is on calls, what the ranked strategies like least.
"""

import argparse
import asyncio
import contextlib
import json
import platform
import random
import statistics
import sys
from collections.abc import AsyncIterator, Iterator

import redis

from router.acd.agents import Membership
from router.deadline import Deadline, in_s
from router.store import keys
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.scripts import load_script
from rules.actions import Strategy
from rules.requirements import Requirement
from tests.servers import Server, any_server

TENANT = "bench"
SIZES = (10, 100, 1_000, 10_000, 100_000)
ROUNDS = 300
REQUIREMENTS = {
    "all": Requirement("q"),
    "two skills": Requirement.of("q", {"spanish": 50, "billing": 50}),
    "no match": Requirement.of("q", {"spanish": 100, "billing": 100, "absent": 1}),
}


def soon() -> Deadline:
    return in_s(30)


async def fill(agents: Agents, size: int, dice: random.Random) -> None:
    """Put that many agents on duty, with all requirements registered."""
    for requirement in REQUIREMENTS.values():
        await agents.register(TENANT, requirement, soon())
    for start in range(0, size, 500):
        await asyncio.gather(
            *(
                agents.put(
                    TENANT,
                    f"a{number:06}",
                    queues={
                        "q": Membership(
                            skill_level=dice.randint(0, 100), order=dice.randrange(size)
                        )
                    },
                    skills={"spanish": dice.randint(0, 100), "billing": dice.randint(0, 100)},
                    deadline=soon(),
                    on_duty=True,
                )
                for number in range(start, min(start + 500, size))
            )
        )


def server_us(client: "redis.Redis", script: str) -> list[int]:
    """What the slow log says of that script's runs since it was reset."""
    sha = load_script(script).sha.encode()
    return [
        entry["duration"]
        for entry in client.slowlog_get(2 * ROUNDS)
        if sha in entry["command"].split()[:2]
    ]


async def measure(
    agents: Agents, client: "redis.Redis", requirement: Requirement, strategy: Strategy, run: str
) -> list[int]:
    client.slowlog_reset()
    for number in range(ROUNDS):
        await agents.reserve(
            TENANT,
            request_id=f"{run}-{number}",
            requirement=requirement,
            strategy=strategy,
            lease_ms=2,  # lapses by itself: the agents stay as idle as they were
            count=5,
            deadline=soon(),
        )
    return server_us(client, "agent_reserve")


def make_top_busy(client: "redis.Redis") -> None:
    """The better half of the queue by level gets on the phone."""
    ranked = client.zrange(keys.rank(TENANT, "level", "q"), 0, -1)
    far = dict.fromkeys(ranked[: len(ranked) // 2], 4000000000000)
    client.zadd(keys.ready(TENANT, "q"), far)


@contextlib.contextmanager
def a_server() -> Iterator[Server]:
    server = Server(any_server(), "--slowlog-log-slower-than", "0", "--slowlog-max-len", "2000")
    try:
        yield server.start()
    finally:
        server.remove()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Links]:
    links = Links(parse_store_url(url))
    links.start()
    try:
        await links.wait_open(in_s(5))
        yield links
    finally:
        await links.close()


async def rows(most: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    with a_server() as server, redis.Redis.from_url(server.url) as client:
        for size in [size for size in SIZES if size <= most]:
            client.flushall()
            async with connected(server.url) as links:
                agents = Agents(links)
                await fill(agents, size, random.Random(size))
                for shape in (*REQUIREMENTS, "busy top"):
                    if shape == "busy top":
                        make_top_busy(client)
                    requirement = REQUIREMENTS.get(shape, REQUIREMENTS["all"])
                    for strategy in Strategy:
                        us = await measure(
                            agents, client, requirement, strategy, f"{size}{shape}{strategy}"
                        )
                        found.append(_row(size, shape, strategy, us))
    return found


def _row(size: int, shape: str, strategy: Strategy, us: list[int]) -> dict[str, object]:
    us = sorted(us)
    return {
        "agents": size,
        "shape": shape,
        "strategy": strategy.value,
        "median_us": statistics.median(us),
        "p99_us": us[int(len(us) * 0.99) - 1],
    }


def show(most: int) -> None:
    """Measure and print."""
    found = asyncio.run(rows(most))
    print(f"server time of one reservation, µs: median (p99); {platform.processor() or 'one'} core")
    head = ["agents", "shape", *(strategy.value for strategy in Strategy)]
    print(" | ".join(head))
    for size in dict.fromkeys(row["agents"] for row in found):
        for shape in dict.fromkeys(row["shape"] for row in found):
            cells = [
                f"{row['median_us']:.0f} ({row['p99_us']})"
                for row in found
                if row["agents"] == size and row["shape"] == shape
            ]
            print(" | ".join([f"{size:>6}", f"{shape:<10}", *cells]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest number of agents")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.json:
        json.dump(asyncio.run(rows(options.most)), sys.stdout, indent=1)
    else:
        show(options.most)


if __name__ == "__main__":
    main()
