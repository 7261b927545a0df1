"""`make bench`: how fast the service is, beside what one could compare it with.

    python -m tests.bench [--rounds 3] [--seconds 2] [--quick] [--only decisions] [--json]

One worker on one core, the load and the store on the other. Figures, not verdicts: goals that are
missed are named and nothing fails.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import platform
import statistics
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import structlog
import uvloop

from tests.bench import bench_link, bench_reserve, bench_rules, targets
from tests.bench.rounds import Generator, Row, measure
from tests.servers import Server, any_server

PARTS = ("decisions", "workers", "rules", "agents", "link")
LIBRARIES = ("aiohttp", "uvloop", "msgspec", "hiredis", "fastapi", "uvicorn", "redis", "PyJWT")
P99_MS = 5.0
FLOOR, USUAL = "bare aiohttp handler (the floor)", "FastAPI, redis-py, PyJWT (the usual way)"
NOTES = """\
  req/s: closed loop, 64 connections. p50, p99, p99.9: Poisson arrivals at half of that, from the
  intended moment. CPU us: the server's user and system time per request, with all it does after the
  answer, and what share of it the floor needs. store: Redis' time per request, us. load: how busy
  the generator kept the core that it shares with the store."""
FULL = "JWT + 500 rules + agent reserved"
STATIC, CALENDAR = "static rules, JSON", "500 rules + calendar, JSON"


def cores() -> tuple[set[int], set[int]]:
    """The core under test, and those of the load and the store."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        sys.stderr.write("one core only: server and load share it, figures say little\n")
    return {first}, set(others[:1]) or {first}


@contextlib.contextmanager
def a_store(on: set[int]) -> Iterator[Server]:
    server = Server(any_server())
    try:
        server.start()
        assert server.process is not None
        os.sched_setaffinity(server.process.pid, on)
        yield server
    finally:
        server.remove()


def rows_of(
    folder: Path, store_url: str, under_test: set[int], stack: contextlib.ExitStack
) -> tuple[list[Row], targets.Service]:
    service = targets.Service(folder / "service", store_url, under_test)
    stack.callback(service.stop)
    floor = targets.python_module("bare_aiohttp", under_test, folder / "floor.log")
    stack.callback(floor.stop)
    usual = targets.python_module("usual_way", under_test, folder / "usual.log", store_url)
    stack.callback(usual.stop)
    for each in (service, floor, usual):
        each.wait_listening()
    asyncio.run(targets.put_agents(store_url))
    asyncio.run(asyncio.sleep(2))  # the service sees the agents within 250 ms, reads them, goes on
    route, user = '"target_id":"77"', '"target_type":"user"'
    return [
        Row(name=FLOOR, target=floor, path="/route/x", signed=False, expect=route),
        Row(name=STATIC, target=service, path="/route/static", signed=False, expect=route),
        Row(name=CALENDAR, target=service, path="/route/calendar", signed=False, expect=route),
        Row(name=FULL, target=service, path="/route/full", signed=True, expect=user),
        Row(name=USUAL, target=usual, path="/route/full", signed=True, expect=user),
    ], service


def decisions(rounds: int, seconds: float) -> list[dict[str, object]]:
    """The one table."""
    under_test, other = cores()
    with targets.folder() as folder, a_store(other) as store, contextlib.ExitStack() as stack:
        rows, service = rows_of(folder, store.url, under_test, stack)
        with Generator(other, store.process) as generator:
            measure(rows, generator, rounds=rounds, seconds=seconds)
        dropped = service.dropped()
    floor = rows[0]
    return [
        {
            "row": row.name,
            "per_s": row.rate,
            "to_floor": row.ratio_to(floor),
            "to_usual": row.ratio_to(rows[-1]),
            "p50_ms": row.open_ms("p50"),
            "p99_ms": row.open_ms("p99"),
            "p99.9_ms": row.open_ms("p999"),
            "cpu_us": statistics.median(row.cpu_us),
            "load_cpu": statistics.median(each.own_cpu for each in row.closed),
            "store_us": statistics.median(row.store_us),
            "wrong": row.wrong,
            "dropped": dropped if row.target is service else 0,
        }
        for row in rows
    ]


def workers(rounds: int, seconds: float) -> list[dict[str, object]]:
    """The full decision with one and two workers; all processes share all cores."""
    every = set().union(*cores())
    with targets.folder() as folder, a_store(every) as store, contextlib.ExitStack() as stack:
        rows, url = [], store.url
        for count in (1, 2):
            service = targets.Service(folder / f"service{count}", url, every, workers=count)
            stack.callback(service.stop)
            service.wait_listening()
            rows.append(
                Row(
                    name=str(count),
                    target=service,
                    path="/route/full",
                    signed=True,
                    expect='"target_type":"user"',
                )
            )
        asyncio.run(targets.put_agents(url))
        asyncio.run(asyncio.sleep(2))
        with Generator(every, store.process) as generator:
            measure(rows, generator, rounds=rounds, seconds=seconds)
    return [
        {
            "workers": row.name,
            "per_s": row.rate,
            "p50_ms": row.open_ms("p50"),
            "p99_ms": row.open_ms("p99"),
            "cpu_us": statistics.median(row.cpu_us),
            "wrong": row.wrong,
        }
        for row in rows
    ]


def print_table(rows: list[dict[str, object]]) -> None:
    head = ("req/s", "x floor", "x usual", "p50 ms", "p99 ms", "p99.9", "CPU us", "x floor")
    head = (*head, "store", "load")
    print(f"{'':42}" + "".join(f"{title:>9}" for title in head))
    for row in rows:
        cells = (
            f"{row['per_s']:,.0f}",
            f"{row['to_floor']:.2f}",
            f"{row['to_usual']:.2f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['p99.9_ms']:.2f}",
            f"{row['cpu_us']:.1f}",
            f"{rows[0]['cpu_us'] / row['cpu_us']:.2f}",
            f"{row['store_us']:.1f}",
            f"{row['load_cpu']:.0%}",
        )
        print(f"{row['row']:42}" + "".join(f"{cell:>9}" for cell in cells))
    for row in rows:
        if row["wrong"]:
            print(f"  {row['row']}: {row['wrong']} answers were wrong or missing")
    if rows[1]["dropped"]:
        print(
            f"  the service dropped {rows[1]['dropped']} log entries or memories after the answer"
        )
    print(NOTES)


def print_goals(rows: list[dict[str, object]]) -> None:
    by_name = {row["row"]: row for row in rows}
    goals = [
        (f"{FULL}: at least 0.6 of the floor", by_name[FULL]["to_floor"], 0.6),
        (f"{FULL}: at least 4 times the usual way", by_name[FULL]["to_usual"], 4.0),
        (f"{STATIC}: at least 0.8 of the floor", by_name[STATIC]["to_floor"], 0.8),
        (f"{CALENDAR}: at least 0.8 of the floor", by_name[CALENDAR]["to_floor"], 0.8),
    ]
    print()
    for text, value, least in goals:
        print(f"  {'met   ' if value >= least else 'MISSED'}  {text}: {value:.2f}")
    p99 = by_name[FULL]["p99_ms"]
    print(
        f"  {'met   ' if p99 < P99_MS else 'MISSED'}  {FULL}: p99 under {P99_MS} ms: {p99:.2f} ms"
    )


def print_machine() -> None:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    print(f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}")
    print(f"Python {platform.python_version()}, {libraries}")
    print("Figures vary with the machine and what else it does: compare ratios, and CPU us.\n")


def print_workers(rows: list[dict[str, object]]) -> None:
    print(f"\n{FULL}, by workers (server, store and load share all cores)")
    print(f"{'workers':>9}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}")
    for row in rows:
        cells = f"{row['per_s']:>10,.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
        print(f"{row['workers']:>9}{cells}{row['cpu_us']:>9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of every load")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", action="store_true", help="the decisions' figures as JSON")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    parts = (options.only,) if options.only else PARTS
    if options.json:
        json.dump(decisions(rounds, seconds), sys.stdout, indent=1)
        return
    print_machine()
    if "decisions" in parts:
        rows = decisions(rounds, seconds)
        print_table(rows)
        print_goals(rows)
    if "workers" in parts:
        print_workers(workers(rounds, seconds))
    if "rules" in parts:
        print("\nOne evaluation by number of rules")
        bench_rules.main()
    if "agents" in parts:
        print("\nOne reservation by number of agents")
        bench_reserve.show(10_000 if options.quick else bench_reserve.SIZES[-1])
    if "link" in parts:
        print("\nOne script in Redis from here, by client")
        with a_store(cores()[1]) as store:
            uvloop.run(bench_link.main(store.url))


if __name__ == "__main__":
    main()
