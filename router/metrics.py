"""Every metric there is, with labels from closed sets; no number, name or call ever is a label.

A decision costs half a microsecond here: it is tallied in plain lists and handed to prometheus_client
once a second (`Observer.flush`) and before every scrape. Several workers on one port keep the values in
files (`router/metrics_files.py`), so that `/metrics` is complete whichever worker answers, and at most a
second behind for the others: the folder has to be in their environment before this module is imported.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from router.deadline import in_s
from router.decisions.outcome import ErrorCode, Level
from router.metrics_files import OnlyWhatThereIs
from router.rule_hits import OTHER, RULE_HITS, RuleHits

# What it leaves out is a second series for each counter, which several workers do not have.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own

DECISION_BUCKETS_S: Final = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0,
)  # fmt: skip
"""Seconds: fine where answers normally are, then up to the usual budgets of 800 ms and 2 s."""

MOST_RULES: Final = 5_000
"""Series of rule hits; further rules are counted together as `other`."""

ALL_OTHERS: Final = "other"
MOST_ROUTERS: Final = 500
"""Routers with series of their own; the rest is left out of the per-router gauges, and counted together
as `other`."""

MOST_RULESETS: Final = 1_000
"""Rulesets with series of their own; so many are read from a folder at once."""

FLUSH_S: Final = 1.0
LAG_S: Final = 0.25
"""How often the loop's lag is measured."""


class Reservation(StrEnum):
    """What came of wanting an agent."""

    RESERVED = "reserved"
    NOBODY_FREE = "nobody_free"
    STORE_DOWN = "store_down"
    UNKNOWN = "unknown"
    GIVEN_BACK = "given_back"


class ForeignAsk(StrEnum):
    """What came of asking somebody else's routing_url."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    STATUS = "status"
    UNREADABLE = "unreadable"
    REFUSED = "refused"


class Reload(StrEnum):
    """What came of reading a changed rules file."""

    LOADED = "loaded"
    REFUSED = "refused"


class AfterAnswer(StrEnum):
    """Work that is done after the answer and may have to be dropped."""

    DECISION_LOG = "decision_log"
    ERROR_COUNT = "error_count"
    MEMORY = "memory"
    RELEASE = "release"


class PlatformEvent(StrEnum):
    """What became of an event that the platform sent."""

    DONE = "done"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    UNAUTHENTICATED = "unauthenticated"
    FAILED = "failed"


class Observer:
    """What the service tells about itself. One per process; calls neither block nor fail.

    `shared_in` is the workers' common folder (`folder_of_service`), None when there is one process.
    There nothing can be removed: what is gone keeps its place, and is left out of what is shown.
    """

    def __init__(self, *, shared_in: Path | None = None) -> None:
        self.shared_in = shared_in
        self._seen_routers: set[str] = set()
        self._seen_rulesets: set[str] = set()
        self._routers: frozenset[str] | None = None
        self._rulesets: set[str] | None = None
        self.registry = CollectorRegistry()
        self._make_metrics()
        self._tallies = {level: [0] * (len(DECISION_BUCKETS_S) + 1) for level in Level}
        self._sums = dict.fromkeys(Level, 0.0)
        self._reservation_counts = dict.fromkeys(Reservation, 0)
        self._refused: dict[str, int] = {}

    def _make_metrics(self) -> None:
        prefix, registry = "crosspoint_", self.registry
        self._decision = Histogram(
            prefix + "decision_seconds",
            "Time from a routing request's arrival to its answer, by level",
            ["level"],
            buckets=DECISION_BUCKETS_S,
            registry=registry,
        )
        self._rule_hits = RuleHits(
            self._counter(RULE_HITS.removeprefix(prefix), "Decisions by rule", "ruleset", "rule"),
            most=MOST_RULES,
            is_shared=self.shared_in is not None,
        )
        self._reservations = self._counter("reservations", "Reservations by outcome", "outcome")
        self._errors = self._counter("router_errors", "Errors of routers by kind", "kind")
        self._unsigned = self._counter(
            "unsigned_requests", "Routing requests not signed as the router demands", "router"
        )
        self._foreign = self._counter("foreign_asks", "Foreign routing_urls asked", "outcome")
        self._reloads = self._counter("rules_reloads", "Rules files read", "outcome")
        self._dropped = self._counter("after_answer_dropped", "Dropped after the answer", "what")
        self._events = self._counter("platform_events", "Events of the platform", "outcome")
        # Several workers report the same facts of the store; the largest is the newest or the worst.
        self._window = self._gauge("router_error_window", "Errors in the past hour", "router")
        self._pbx_ready = self._gauge("pbx_ready", "1 while calls of the PBX are taken")
        self._pbx_calls = self._gauge("pbx_calls", "Calls that go on at the PBX")
        self._disabled = self._gauge("routers_disabled", "Routers that are switched off")
        self._secrets_missing = self._gauge(
            "routers_refusing_all", "Signed routers without any secret: all requests are refused"
        )
        self._secrets_unreadable = self._gauge(
            "routers_secret_unreadable",
            "Signed routers that go on with the secrets they still have",
        )
        self._ruleset_loaded = self._gauge(
            "ruleset_loaded_timestamp_seconds", "When the ruleset in force was loaded", "ruleset"
        )
        self._ruleset_stale = self._gauge(
            "ruleset_stale",
            "1: the file on disk is refused, an older version is in force",
            "ruleset",
        )
        self._rulesets_missing = self._gauge(
            "rulesets_missing",
            "Rulesets that routers name and there are none of: these answer their default target",
        )
        self._link_down = self._gauge("store_link_down", "1: some worker has no link to the store")
        self._writes_refused = self._gauge(
            "store_refuses_writes", "1: the store answers, and refuses to write (full, a replica)"
        )
        self._lag = self._gauge("event_loop_lag_seconds", "Worst of the last second")
        self._logs_dropped = self._gauge("log_lines_dropped", "Log lines that were dropped")
        self._reservation_children = {
            outcome: self._reservations.labels(outcome.value) for outcome in Reservation
        }
        self._decision_children = {level: self._decision.labels(level.value) for level in Level}

    def decided(self, level: Level, seconds: float, ruleset: str | None, rule: str | None) -> None:
        """One routing request was answered, `seconds` after it arrived. The hot one."""
        self._tallies[level][bisect_left(DECISION_BUCKETS_S, seconds)] += 1
        self._sums[level] += seconds
        if rule is not None:
            self._rule_hits.add((ruleset or "", rule))

    def reservation(self, outcome: Reservation) -> None:
        self._reservation_counts[outcome] += 1

    def router_error(self, kind: ErrorCode) -> None:
        self._errors.labels(kind.value).inc()

    def refused(self, router_id: str) -> None:
        """A routing request was not signed as its router, one of the directory's, demands."""
        self._refused[router_id] = self._refused.get(router_id, 0) + 1

    def secrets(self, *, missing: int, unreadable: int) -> None:
        """Signed routers that refuse all requests, and those that go on with what they have."""
        self._secrets_missing.set(missing)
        self._secrets_unreadable.set(unreadable)

    def foreign_ask(self, outcome: ForeignAsk) -> None:
        self._foreign.labels(outcome.value).inc()

    def platform_event(self, outcome: PlatformEvent) -> None:
        self._events.labels(outcome.value).inc()

    def dropped(self, what: AfterAnswer, count: int = 1) -> None:
        """Work that there was no room or time for after the answer."""
        self._dropped.labels(what.value).inc(count)

    def rules_reload(self, outcome: Reload, ruleset: str, loaded_at_s: float | None) -> None:
        """A rules file was read; `loaded_at_s` (epoch) is the age of the version now in force."""
        self._reloads.labels(outcome.value).inc()
        self._rulesets = {ruleset} if self._rulesets is None else self._rulesets | {ruleset}
        if ruleset not in self._seen_rulesets and len(self._seen_rulesets) >= MOST_RULESETS:
            return
        self._seen_rulesets.add(ruleset)
        if loaded_at_s is not None:
            self._ruleset_loaded.labels(ruleset).set(loaded_at_s)
        self._ruleset_stale.labels(ruleset).set(outcome is Reload.REFUSED)

    def ruleset_removed(self, ruleset: str) -> None:
        """A ruleset is no longer in force."""
        self._rule_hits.in_force(ruleset, frozenset())
        self._rulesets = (self._rulesets or set()) - {ruleset}
        if ruleset not in self._seen_rulesets or self.shared_in is not None:
            return
        for gauge in (self._ruleset_loaded, self._ruleset_stale):
            gauge.remove(ruleset)
        self._seen_rulesets.remove(ruleset)

    def rulesets_missing(self, count: int) -> None:
        """How many rulesets routers name that there are none of."""
        self._rulesets_missing.set(count)

    def rules_in_force(self, ruleset: str, rules: frozenset[str]) -> None:
        """The names of a ruleset's rules, `default` among them; others are counted no more."""
        self._rule_hits.in_force(ruleset, rules)

    def routers(self, error_counts: Mapping[str, int], disabled: int) -> None:
        """The error windows of all routers there are, and how many are switched off."""
        self._routers = frozenset(error_counts)
        if self.shared_in is None:
            for gone in self._seen_routers - error_counts.keys():
                self._window.remove(gone)
                self._unsigned.remove(gone)
            self._seen_routers &= error_counts.keys()
        room = MOST_ROUTERS - len(self._seen_routers)
        self._seen_routers.update(sorted(error_counts.keys() - self._seen_routers)[:room])
        for router_id in self._seen_routers:
            self._window.labels(router_id).set(error_counts.get(router_id, 0))
        self._disabled.set(disabled)

    def link(self, *, is_open: bool) -> None:
        """Whether the store can be asked."""
        self._link_down.set(not is_open)

    def store_refuses_writes(self, *, is_so: bool) -> None:
        """Whether the store answers, and refuses what is to be written."""
        self._writes_refused.set(is_so)

    def log_lines_dropped(self, total: int) -> None:
        self._logs_dropped.set(total)

    def flush(self) -> None:
        """Hand the tallies to prometheus_client."""
        for level, tally in self._tallies.items():
            child = self._decision_children[level]
            for index, count in enumerate(tally):
                if count:
                    # What observe() does, for many at once; a test compares the two.
                    child._buckets[index].inc(count)  # noqa: SLF001 - there is no public bulk call
                    tally[index] = 0
            if self._sums[level]:
                child._sum.inc(self._sums[level])  # noqa: SLF001 - as above
                self._sums[level] = 0.0
        for outcome, count in self._reservation_counts.items():
            if count:
                self._reservation_children[outcome].inc(count)
                self._reservation_counts[outcome] = 0
        refused, self._refused = self._refused, {}
        for router_id, count in refused.items():
            self._unsigned.labels(self._router_label(router_id)).inc(count)
        self._rule_hits.flush()

    def _router_label(self, router_id: str) -> str:
        if router_id not in self._seen_routers:
            if len(self._seen_routers) >= MOST_ROUTERS:
                return ALL_OTHERS
            self._seen_routers.add(router_id)
        return router_id

    def pbx(self, *, is_ready: bool, calls: int) -> None:
        """How it stands with the PBX of the settings."""
        self._pbx_ready.set(int(is_ready))
        self._pbx_calls.set(calls)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format. Reads files with several workers: off the loop then."""
        registry = self.registry
        if self.shared_in is not None:
            registry = CollectorRegistry()
            registry.register(OnlyWhatThereIs(self.shared_in, self._is_there))
        return generate_latest(registry)

    def _is_there(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is of a router and of rules that there are; all are until that is known."""
        router, ruleset, rule = (labels.get(name) for name in ("router", "ruleset", "rule"))
        if router is not None:
            return self._routers is None or router in self._routers or router == ALL_OTHERS
        if ruleset is None or (ruleset, rule) == OTHER:
            return True
        is_known = self._rulesets is None or ruleset in self._rulesets
        return is_known and (rule is None or self._rule_hits.is_shown((ruleset, rule)))

    async def run(self) -> None:
        """Measure the loop's lag and flush, until cancelled. Belongs into the process's TaskGroup."""
        loop = asyncio.get_running_loop()
        worst, flush_at = 0.0, loop.time() + FLUSH_S
        while True:
            wake_at = loop.time() + LAG_S
            await asyncio.sleep(LAG_S)
            worst = max(worst, loop.time() - wake_at)
            if loop.time() >= flush_at:
                self._lag.set(worst)
                self.flush()
                worst, flush_at = 0.0, loop.time() + FLUSH_S

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter("crosspoint_" + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(
            "crosspoint_" + name,
            text,
            labels,
            registry=self.registry,
            multiprocess_mode="livemax",
        )


def routes(observer: Observer) -> list[web.RouteDef]:
    """`/metrics`."""

    async def metrics(_request: web.Request) -> web.Response:
        observer.flush()
        if observer.shared_in is not None:
            async with asyncio.timeout_at(in_s(5.0)):
                text = await asyncio.to_thread(observer.exposition)
        else:
            text = observer.exposition()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", metrics)]
