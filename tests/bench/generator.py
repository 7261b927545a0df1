"""The load: one process, 64 connections kept alive, requests made beforehand.

    python -m tests.bench.generator          # orders and results are lines of JSON

A loop of its own over epoll rather than asyncio: it costs a few microseconds a request, and it can
wait for microseconds, where an event loop's timers count in milliseconds. `closed` sends the next
request as soon as the answer is there: throughput. `open` sends at random (Poisson) moments that do
not care whether answers come, and counts from the moment a request should have been sent: latency.
"""

import collections
import ctypes
import random
import select
import socket
import sys
import time
from collections.abc import Callable

import msgspec

from tests.bench.calls import posts

CONNECTIONS = 64
WARM_S = 0.4
GIVE_UP_S = 2.0
SETTLE_S = 0.3
"""After the last answer: time for what a server does once the answer is out."""

_PR_SET_TIMERSLACK = 29


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. `rate` None is a closed loop; `expect` must be in every answer."""

    port: int
    path: str
    signed: bool
    expect: str
    seconds: float
    most: int
    rate: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Milliseconds; `own_cpu` is the share of its core the generator used."""

    answers: int
    wrong: int
    rate: float
    p50: float
    p99: float
    p999: float
    own_cpu: float
    seconds: float
    total: int = 0
    """Answers with those of the warm-up, which the server has spent time on too."""


class Connection:
    """One request at a time."""

    __slots__ = ("buffer", "since", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.since = 0.0
        self.buffer = b""

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        if self.sock.send(request) != len(request):
            raise OSError("a request did not fit into the socket's buffer")

    def answer(self) -> bytes | None:
        """The whole answer once it is there."""
        data = self.sock.recv(65536)
        if not data:
            raise OSError("the server closed a connection")
        if self.buffer:
            data = self.buffer + data
        end = data.find(b"\r\n\r\n")
        if end > 0:
            head = data[:end].lower()
            at = head.find(b"content-length:") + 15
            line_end = head.find(b"\r", at)
            if len(data) >= end + 4 + int(head[at : line_end if line_end > 0 else end]):
                self.buffer = b""
                return data
        self.buffer = data
        return None


class Load:
    """One order being carried out."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._expect = order.expect.encode()
        self._requests = iter(posts(order.path, order.most, signed=order.signed))
        self._connections = {c.sock.fileno(): c for c in _connect(order.port)}
        self._epoll = select.epoll()
        for fd in self._connections:
            self._epoll.register(fd, select.EPOLLIN)
        self._took: list[float] = []
        self._total = 0
        self._wrong = 0

    def run(self) -> Measured:
        began = time.perf_counter()
        start = began + WARM_S
        cpu = time.process_time()
        end = start + self._order.seconds
        if self._order.rate is None:
            counted_s = self._closed(start, end)
        else:
            counted_s = self._open(began, start, end, self._order.rate)
        own = (time.process_time() - cpu) / (time.perf_counter() - began)
        for connection in self._connections.values():
            connection.sock.close()
        self._epoll.close()
        took = sorted(self._took)
        return Measured(
            answers=len(took),
            wrong=self._wrong,
            rate=len(took) / counted_s,
            p50=_quantile(took, 0.5),
            p99=_quantile(took, 0.99),
            p999=_quantile(took, 0.999),
            own_cpu=own,
            seconds=counted_s,
            total=self._total,
        )

    def _closed(self, start: float, end: float) -> float:
        clock, requests = time.perf_counter, self._requests
        busy = 0
        for connection in self._connections.values():
            connection.send(next(requests), clock())
            busy += 1
        last = clock()
        while busy and clock() < end + GIVE_UP_S:
            for fd, _ in self._epoll.poll(0.1):
                connection = self._connections[fd]
                answer = connection.answer()
                if answer is None:
                    continue
                now = clock()
                self._count(answer, now - connection.since, is_counted=start <= now < end)
                if now < end:
                    last = now
                following = next(requests, None) if now < end else None
                if following is None:
                    busy -= 1
                else:
                    connection.send(following, now)
        self._wrong += busy
        return last - start

    def _open(self, began: float, start: float, end: float, rate: float) -> float:
        clock = time.perf_counter
        due = collections.deque(_moments(began, end, rate))
        free = list(self._connections.values())
        waiting: collections.deque[float] = collections.deque()
        while (due or len(free) < len(self._connections)) and clock() < end + GIVE_UP_S:
            now = clock()
            while due and due[0] <= now:
                waiting.append(due.popleft())
            while waiting and free:
                free.pop().send(next(self._requests), waiting.popleft())
            timeout = max(0.0, due[0] - clock()) if due and free else 0.05
            select.select([self._epoll], [], [], timeout)
            for fd, _ in self._epoll.poll(0):
                connection = self._connections[fd]
                answer = connection.answer()
                if answer is not None:
                    since = connection.since
                    self._count(answer, clock() - since, is_counted=since >= start)
                    free.append(connection)
        self._wrong += len(due) + len(waiting) + len(self._connections) - len(free)
        return end - start

    def _count(self, answer: bytes, took: float, *, is_counted: bool) -> None:
        self._total += 1
        if self._expect not in answer:
            if not self._wrong:
                sys.stderr.write(f"\nunexpected: {answer.decode(errors='replace')}\n")
            self._wrong += 1
        elif is_counted:
            self._took.append(took)


def _connect(port: int) -> list[Connection]:
    return [Connection(port) for _ in range(CONNECTIONS)]


def _moments(began: float, end: float, rate: float) -> list[float]:
    moments, at = [], began
    while (at := at + random.expovariate(rate)) < end:
        moments.append(at)
    return moments


def _quantile(sorted_s: list[float], share: float) -> float:
    if not sorted_s:
        return 0.0  # who gave the order refuses a result without answers
    return sorted_s[min(len(sorted_s) - 1, int(len(sorted_s) * share))] * 1000


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
    decode: Callable[[str], Order] = msgspec.json.Decoder(Order).decode
    for line in sys.stdin:
        load = Load(decode(line))
        sys.stdout.write("ready\n")  # requests are made, connections are open
        sys.stdout.flush()
        sys.stdin.readline()
        result = load.run()
        time.sleep(SETTLE_S)
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
