"""Metrics: complete, cheap, and closed in their labels."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from router import metrics, metrics_files
from router.decisions.outcome import ErrorCode, Level
from router.metrics import AfterAnswer, ForeignAsk, Observer, PlatformEvent, Reload, Reservation

Samples = dict[str, float]


def samples(observer: Observer) -> Samples:
    observer.flush()
    return read(observer.exposition().decode())


def read(text: str) -> Samples:
    return {
        sample.name + "".join(f",{k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_one_worker_has_the_series_of_several():
    observer = Observer()
    everything(observer)
    assert not [name for name in samples(observer) if "_created" in name]


def test_decisions_are_counted_by_level_and_rule():
    observer = Observer()
    for _ in range(3):
        observer.decided(Level.FULL, 0.0015, "acme", "vip")
    observer.decided(Level.DISABLED, 0.0001, None, None)
    found = samples(observer)
    assert found["crosspoint_decision_seconds_count,level=full"] == 3
    assert found["crosspoint_decision_seconds_count,level=disabled"] == 1
    assert found["crosspoint_rule_hits_total,rule=vip,ruleset=acme"] == 3


def test_unsigned_requests_are_counted_by_router_and_beyond_a_bound_together(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(metrics, "MOST_ROUTERS", 2)
    observer = Observer()
    for router in ("a", "b", "a", "c", "d"):
        observer.refused(router)
    found = samples(observer)
    counts = {name: n for name, n in found.items() if name.startswith("crosspoint_unsigned")}
    assert counts == {
        "crosspoint_unsigned_requests_total,router=a": 2,
        "crosspoint_unsigned_requests_total,router=b": 1,
        "crosspoint_unsigned_requests_total,router=other": 2,
    }
    assert samples(observer) == found


def test_flushing_twice_counts_once():
    observer = Observer()
    observer.decided(Level.FULL, 0.002, "acme", "vip")
    assert samples(observer) == samples(observer)


def test_tallies_give_the_same_histogram_as_observing_one_by_one():
    observer, registry = Observer(), CollectorRegistry()
    plain = Histogram("x", "x", buckets=metrics.DECISION_BUCKETS_S, registry=registry)
    for seconds in (0.0, 0.0004, 0.0005, 0.00050001, 0.0031, 0.8, 1.99, 2.0, 2.1, 99.0):
        observer.decided(Level.FULL, seconds, None, None)
        plain.observe(seconds)
    expected = {
        sample.labels["le"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "x_bucket"
    }
    found = samples(observer)
    for bound, value in expected.items():
        assert found[f"crosspoint_decision_seconds_bucket,le={bound},level=full"] == value


def test_rules_beyond_the_cap_are_counted_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "MOST_RULES", 10)
    observer = Observer()
    for round_ in range(3):
        for number in range(10):
            observer.decided(Level.FULL, 0.001, "acme", f"r{round_}-{number}")
        observer.flush()
    hits = {k: v for k, v in samples(observer).items() if k.startswith("crosspoint_rule_hits")}
    assert len(hits) == 11
    assert sum(hits.values()) == 30


def test_routers_beyond_the_cap_have_no_series(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "MOST_ROUTERS", 5)
    observer = Observer()
    for start in (0, 100):
        observer.routers({f"r{start + n:03}": n for n in range(10)}, disabled=2)
    windows = [key for key in samples(observer) if key.startswith("crosspoint_router_error_window")]
    assert len(windows) == 5


def test_what_is_gone_leaves_no_series_and_takes_no_room_from_others(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(metrics, "MOST_ROUTERS", 2)
    monkeypatch.setattr(metrics, "MOST_RULESETS", 2)
    observer = Observer()
    for day in range(9):
        observer.refused(f"router {day}")
        observer.flush()
        observer.routers({f"router {day}": 4}, disabled=1)
        observer.rules_reload(Reload.LOADED, f"rules {day}", 5.0)
        if day < 8:
            observer.ruleset_removed(f"rules {day}")
    observer.ruleset_removed("never seen")
    labelled = {
        name: value
        for name, value in samples(observer).items()
        if re.search(r",(router|ruleset)=", name)
    }
    assert labelled == {
        "crosspoint_unsigned_requests_total,router=router 8": 1,
        "crosspoint_router_error_window,router=router 8": 4,
        "crosspoint_ruleset_loaded_timestamp_seconds,ruleset=rules 8": 5,
        "crosspoint_ruleset_stale,ruleset=rules 8": 0,
    }


def everything(observer: Observer) -> None:
    for level in Level:
        observer.decided(level, 0.001, "acme", "default")
    for reservation in Reservation:
        observer.reservation(reservation)
    for ask in ForeignAsk:
        observer.foreign_ask(ask)
    for event in PlatformEvent:
        observer.platform_event(event)
    for code in ErrorCode:
        observer.router_error(code)
    for what in AfterAnswer:
        observer.dropped(what)
    observer.rules_reload(Reload.LOADED, "acme", 1_700_000_000.0)
    observer.rules_reload(Reload.REFUSED, "acme", 1_700_000_000.0)
    observer.routers({"main": 3}, disabled=0)
    observer.link(is_open=False)
    observer.store_refuses_writes(is_so=True)
    observer.rulesets_missing(1)
    observer.log_lines_dropped(0)


def test_every_label_is_of_a_known_kind():
    observer = Observer()
    everything(observer)
    observer.flush()
    labels = {
        name
        for family in text_string_to_metric_families(observer.exposition().decode())
        for sample in family.samples
        for name in sample.labels
    }
    known = {"level", "le", "ruleset", "rule", "outcome", "kind", "what", "router"}
    assert labels <= known


def test_rules_that_are_no_longer_in_force_are_neither_shown_nor_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(metrics, "MOST_RULES", 10)
    observer = Observer()
    for version in range(20):
        observer.rules_in_force("acme", frozenset({f"gen {version}", "default"}))
        observer.decided(Level.FULL, 0.001, "acme", f"gen {version}")
        observer.decided(Level.FULL, 0.001, "acme", "default")
    assert hits_of(samples(observer)) == {
        "rule=default,ruleset=acme": 20,
        "rule=gen 19,ruleset=acme": 1,
    }
    observer.decided(Level.FULL, 0.001, "acme", "gen 18")  # was under way
    observer.ruleset_removed("acme")
    assert hits_of(samples(observer)) == {"rule=other,ruleset=other": 1}


def hits_of(found: Samples) -> Samples:
    name = "crosspoint_rule_hits_total,"
    return {k.removeprefix(name): v for k, v in found.items() if k.startswith(name)}


def test_a_refused_reload_marks_the_ruleset_stale_and_a_good_one_clears_it():
    observer = Observer()
    observer.rules_reload(Reload.REFUSED, "acme", 5.0)
    assert samples(observer)["crosspoint_ruleset_stale,ruleset=acme"] == 1
    observer.rules_reload(Reload.LOADED, "acme", 9.0)
    found = samples(observer)
    assert found["crosspoint_ruleset_stale,ruleset=acme"] == 0
    assert found["crosspoint_ruleset_loaded_timestamp_seconds,ruleset=acme"] == 9


WORKER = """
import sys, json
from pathlib import Path
from router.metrics import Observer
from router.metrics_files import count_in
from router.decisions.outcome import Level
count_in(sys.argv.pop(1))
observer = Observer(shared_in=Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    observer.decided(Level.FULL, 0.001, "acme", "vip")
observer.decided(Level.FULL, 0.001, "acme", "renamed")
observer.rules_in_force("acme", frozenset(sys.argv[3:]))
observer.routers({"main": int(sys.argv[2])}, disabled=0)
observer.flush()
print(json.dumps(observer.exposition().decode()))
"""


def in_place(folder: Path, place: str, script: str, *arguments: str) -> Samples:
    """What a worker in that place shows at the end of its life."""
    done = subprocess.run(
        [sys.executable, "-c", script, place, str(folder), *arguments],
        env={**os.environ, metrics_files.DIRECTORY_VARIABLE: str(folder)},
        check=True,
        capture_output=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    return read(json.loads(done.stdout))


def worker(folder: Path, place: str, count: str, *rules: str) -> Samples:
    return in_place(folder, place, WORKER, count, *rules)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with metrics_files.folder_of_service(tmp_path) as made:
        yield made


def test_with_several_workers_whichever_answers_knows_all(folder: Path):
    texts = [
        worker(folder, place, count, *rules)
        for place, count, *rules in (("0", "3", "vip", "renamed"), ("1", "4", "vip"))
    ]
    assert texts[0]["crosspoint_decision_seconds_count,level=full"] == 4
    assert texts[1]["crosspoint_decision_seconds_count,level=full"] == 9
    assert hits_of(texts[0]) == {"rule=vip,ruleset=acme": 3, "rule=renamed,ruleset=acme": 1}
    assert hits_of(texts[1]) == {"rule=vip,ruleset=acme": 7}


DAYS = """
import sys, json
from pathlib import Path
from router.metrics import Observer, Reload
from router.metrics_files import count_in
from router.decisions.outcome import Level
count_in(sys.argv.pop(1))
observer = Observer(shared_in=Path(sys.argv[1]))
for day in sys.argv[2:]:
    observer.refused("router " + day)
    observer.flush()
    observer.routers({"router " + day: 4}, disabled=1)
    observer.rules_reload(Reload.LOADED, "rules " + day, 5.0)
    observer.rules_in_force("rules " + day, frozenset({"vip"}))
    observer.decided(Level.FULL, 0.001, "rules " + day, "vip")
    if day != sys.argv[-1]:
        observer.ruleset_removed("rules " + day)
observer.rules_reload(Reload.REFUSED, "broken", None)
observer.rules_in_force("broken", frozenset())
observer.flush()
print(json.dumps(observer.exposition().decode()))
"""


def test_with_several_workers_what_is_gone_is_not_shown_either(folder: Path):
    in_place(folder, "0", DAYS, "1", "2")
    labelled = {
        name: value
        for name, value in in_place(folder, "1", DAYS, "2", "3").items()
        if re.search(r",(router|ruleset)=", name)
    }
    assert labelled == {
        "crosspoint_unsigned_requests_total,router=router 3": 1,
        "crosspoint_router_error_window,router=router 3": 4,
        "crosspoint_ruleset_loaded_timestamp_seconds,ruleset=rules 3": 5,
        "crosspoint_ruleset_stale,ruleset=rules 3": 0,
        "crosspoint_ruleset_stale,ruleset=broken": 1,
        "crosspoint_rule_hits_total,rule=vip,ruleset=rules 3": 1,
    }


def test_workers_that_die_again_and_again_leave_no_files_and_lose_no_counts(folder: Path):
    worker(folder, "1", "2", "vip")
    for life in range(3):
        shown = worker(folder, "0", "2", "vip")
        assert shown["crosspoint_decision_seconds_count,level=full"] == 3 + 3 * (life + 1)
        metrics_files.worker_ended(folder, "0")
    assert sorted(file.name for file in folder.iterdir()) == [
        "counter_0.db",
        "counter_1.db",
        "gauge_livemax_1.db",
        "histogram_0.db",
        "histogram_1.db",
    ]


def test_services_in_one_data_folder_leave_each_others_metrics_alone(tmp_path: Path):
    with metrics_files.folder_of_service(tmp_path) as first:
        (first / "counter_0.db").write_bytes(b"x")
        with metrics_files.folder_of_service(tmp_path) as second:
            assert second != first
            assert list(second.iterdir()) == []
        assert not second.exists()
        assert (first / "counter_0.db").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from router.metrics_files import folder_of_service
with folder_of_service(Path(sys.argv[1])) as folder:
    (folder / "counter_0.db").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_service_has_left_is_removed_at_the_next_start(tmp_path: Path):
    root = Path(__file__).parents[3]
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=root)
    assert died.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "metrics").iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    with metrics_files.folder_of_service(tmp_path) as folder:
        assert list((tmp_path / "metrics").iterdir()) == [folder]


def test_no_metric_is_made_outside_the_one_file():
    root = Path(__file__).parents[3]
    importers = [
        path.name
        for path in (root / "router").rglob("*.py")
        if re.search(r"^(from|import) prometheus_client", path.read_text(), re.MULTILINE)
    ]
    assert sorted(importers) == [
        "metrics.py",
        "metrics_files.py",
        "rule_hits.py",
    ]  # the others make none
