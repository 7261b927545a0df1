"""How long one decision by rules takes: files of 10 to 5,000 rules whose last rule matches.

Run as `python -m tests.bench.bench_rules`. Figures of one process on this machine; they vary.
"""

import statistics
from collections.abc import Callable
from time import perf_counter_ns

from rules.conditions import CalendarState, Condition, Not, QueueFact, TimeIn
from rules.facts import CallFacts, QueueFacts
from rules.ruleset import Ruleset, compile_ruleset
from tests.rule_builders import (
    MARK,
    NOON_S,
    attribute,
    calendar_is,
    caller,
    caller_in,
    caller_prefix,
    digits,
    document,
    every,
    office,
    percent,
    queue,
)

SIZES = (10, 100, 500, 1000, 5000)
LIVE = {"support": QueueFacts(waiting=3, estimated_wait_s=30.0, agents_idle=1)}
CALL = CallFacts(
    call_id="4711",
    caller="+12125550142",
    called="+12125550100",
    router="main",
    digits={"language": "2"},
    attributes={"plan": "gold", "region": "north"},
)

_OPEN = calendar_is("office", CalendarState.OPEN)


def _not_caller(n: int) -> Condition:
    return Not(condition=caller(CALL.caller or "", f"+1212{n:07}"))


def _mixed(n: int) -> Condition:
    kinds = (_not_caller, _time, _queue, _percent)
    return kinds[n % len(kinds)](n)


def _time(n: int) -> Condition:
    return TimeIn(spans=((n % 700, n % 700 + 10),), mark=MARK)


def _queue(n: int) -> Condition:
    return queue("support", QueueFact.WAITING, f">{n + 10}")


def _percent(_: int) -> Condition:
    return percent(0.0)


# What every rule but the last is made of; none of them holds for CALL.
INDEXED: dict[str, Callable[[int], Condition]] = {
    "caller": lambda n: caller(f"+1646{n:07}"),
    "caller + calendar": lambda n: every(_OPEN, caller(f"+1646{n:07}")),
    "attribute": lambda n: attribute("plan", f"p{n}"),
    "one attribute each": lambda n: attribute(f"key{n}", "gold"),
    "digits": lambda n: digits("language", f"1{n}"),
    "caller in list": lambda n: caller_in(f"list{n % 20}"),
    "caller prefix": lambda n: caller_prefix(f"+1646{n:05}"),
}
NOT_INDEXED: dict[str, Callable[[int], Condition]] = {
    "not caller": _not_caller,
    "time": _time,
    "queue": _queue,
    "percent": _percent,
    "calendar + not": lambda n: every(_OPEN, _not_caller(n)),
    "not, time, queue, percent": _mixed,
}


def ruleset_of(make: Callable[[int], Condition], size: int) -> Ruleset:
    """The last rule is for the caller of CALL, the others are not."""
    return compile_ruleset(
        document(
            *(make(n) for n in range(size - 1)),
            caller(CALL.caller or ""),
            calendars={"office": office()},
            lists={f"list{n}": [f"+1917{n:07}"] for n in range(20)},
        )
    )


def measure(ruleset: Ruleset, *, live: bool) -> tuple[float, float]:
    """Median and 99th percentile of one evaluation, in microseconds."""
    facts = LIVE if live else None
    size = len(ruleset.document.rules)
    rounds = max(50, 100_000 // max(size, 50))
    taken = []
    for _ in range(rounds):
        start = perf_counter_ns()
        ruleset.evaluate(CALL, NOON_S, facts)
        taken.append(perf_counter_ns() - start)
    return statistics.median(taken) / 1000, statistics.quantiles(taken, n=100)[98] / 1000


def main() -> None:
    print(f"{'every rule but the last':28}" + "".join(f"{size:>16,}" for size in SIZES))
    print(f"{'(median / p99, µs)':28}")
    for title, kinds in (("indexed", INDEXED), ("not indexable", NOT_INDEXED)):
        print(title)
        for name, make in kinds.items():
            ways = (True, False) if name == "queue" else (True,)
            for live in ways:
                label = name if live else f"{name}, facts not given"
                cells = [measure(ruleset_of(make, size), live=live) for size in SIZES]
                row = "".join(f"{median:>9.1f} /{p99:>5.0f}" for median, p99 in cells)
                print(f"  {label:26}{row}")


if __name__ == "__main__":
    main()
