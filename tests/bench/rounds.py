"""Rows measured side by side: in every round each of them once, so that a busy moment hits all alike."""

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Self

import msgspec

from tests.bench.generator import Measured, Order
from tests.bench.targets import Process, cpu_s_of

MOST_A_SECOND = 45_000
"""Requests made beforehand for a closed loop, per second: more than anything here answers."""


class Row(msgspec.Struct, kw_only=True):
    """A line of the table, and what was measured for it so far."""

    name: str
    target: Process
    path: str
    signed: bool
    expect: str
    closed: list[Measured] = []
    open: list[Measured] = []
    cpu_us: list[float] = []
    store_us: list[float] = []

    @property
    def rate(self) -> float:
        return statistics.median(each.rate for each in self.closed)

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in [*self.closed, *self.open])

    def open_ms(self, field: str) -> float:
        return statistics.median(getattr(each, field) for each in self.open)

    def ratio_to(self, other: "Row") -> float:
        """Median of the rounds' own ratios."""
        pairs = zip(self.closed, other.closed, strict=True)
        return statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)


class Generator:
    """The process that loads, on cores of its own."""

    def __init__(self, cores: set[int], store: "subprocess.Popen[bytes] | None" = None) -> None:
        """`store` is looked at for the time it uses."""
        self._store = store
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 - one call
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(
        self, row: Row, seconds: float, rate: float | None = None
    ) -> tuple[Measured, float, float]:
        """The result, and the server's and the store's CPU time per request in microseconds."""
        most = int((rate or MOST_A_SECOND) * (seconds + 1.0) * 1.2) + 100
        order = Order(
            port=row.target.port,
            path=row.path,
            signed=row.signed,
            expect=row.expect,
            seconds=seconds,
            most=most,
            rate=rate,
        )
        self._say(msgspec.json.encode(order).decode())
        self._hear()  # ready
        before, store_before = row.target.cpu_s(), self._store_s()
        self._say("go")
        measured = msgspec.json.decode(self._hear(), type=Measured)
        if not measured.answers:
            raise SystemExit(f"{row.name}: no answer within {seconds} s")
        millions = max(measured.total, 1) / 1e6
        cpu_s, store_s = row.target.cpu_s() - before, self._store_s() - store_before
        return measured, cpu_s / millions, store_s / millions

    def _store_s(self) -> float:
        return 0.0 if self._store is None else cpu_s_of(self._store.pid)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended; see above")
        return line


def measure(rows: Sequence[Row], generator: Generator, *, rounds: int, seconds: float) -> None:
    """Throughput first, then latency at half of what each row reached."""
    with _progress(len(rows) * rounds * 2) as step:
        for _ in range(rounds):
            for row in rows:
                step(f"{row.name}, as much as possible")
                measured, cpu_us, store_us = generator.run(row, seconds)
                row.closed = [*row.closed, measured]
                row.cpu_us = [*row.cpu_us, cpu_us]
                row.store_us = [*row.store_us, store_us]
        for _ in range(rounds):
            for row in rows:
                step(f"{row.name}, half of that")
                measured, *_ = generator.run(row, seconds, row.rate / 2)
                row.open = [*row.open, measured]


@contextlib.contextmanager
def _progress(steps: int) -> Iterator["Step"]:
    yield Step(steps)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


class Step:
    def __init__(self, steps: int) -> None:
        self._steps, self._at = steps, 0

    def __call__(self, what: str) -> None:
        self._at += 1
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{self._at}/{self._steps} {what}")
            sys.stderr.flush()
