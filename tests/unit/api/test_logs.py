"""Logs: nothing private leaves, nothing waits."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from router import logs

NUMBER = "+12125550142"


@pytest.fixture
def written() -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    before = logging.getLogger().handlers[:]
    pipe = logs.configure("debug", write=lines.append)
    yield lines
    pipe.close()
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()


def flushed(lines: list[bytes]) -> list[dict[str, object]]:
    """What was written; whatever is queued is written first."""
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logs._Foreign)
    handler._pipe.close()
    return [json.loads(line) for line in b"".join(lines).splitlines()]


def test_a_line_is_one_json_object_with_event_level_and_time(written: list[bytes]):
    structlog.get_logger().info("router_disabled", router="main", count=11)
    (line,) = flushed(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "router_disabled", "router": "main", "count": 11, "level": "info"}


@pytest.mark.parametrize(
    "fields",
    [
        {"caller": NUMBER},
        {"digits": "4711"},
        {"private_note": "4711"},
        {"detail": f"call from {NUMBER} refused"},
        {"detail": "call from (212) 555-0142"},
        {"detail": "212.555.0142"},
        {"contact": {"name": "Ada"}},
        {"inner": {"phone": NUMBER, "deep": [{"text": NUMBER}]}},
        {"items": [NUMBER, {"token": "abc"}]},
        {"call_id": NUMBER},
        {"object": Exception(NUMBER)},
        {"token": "eyJhbGciOi", "secret": "hunter2", "authorization": "Bearer x"},
    ],
)
def test_no_number_name_or_secret_leaves(written: list[bytes], fields: dict[str, object]):
    structlog.get_logger().warning("something", **fields)
    flushed(written)
    text = b"".join(written).decode()
    digits = "".join(ch for ch in text.partition('"timestamp"')[0] if ch.isdigit())
    for private in ("2125550142", "4711", "Ada", "hunter2", "eyJ", "Bearer", "abc"):
        assert private not in text.replace("-", "").replace(".", "")
    assert "5550142" not in digits


def test_ids_and_figures_stay_readable(written: list[bytes]):
    structlog.get_logger().info("x", call_id="5123456789012345", ms=12345678, digest="a1" * 20)
    (line,) = flushed(written)
    assert line["call_id"] == "5123456789012345"
    assert line["ms"] == 12345678
    assert line["digest"] == "a1" * 20


def test_an_exception_is_logged_by_kind_and_place_without_its_private_text(written: list[bytes]):
    def dial() -> None:
        raise ValueError(f"cannot dial {NUMBER}")

    try:
        dial()
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    (line,) = flushed(written)
    assert line["error"] == "ValueError"
    assert line["error_text"] == "cannot dial [private]"
    assert "test_logs.py" in str(line["where"])


def test_messages_of_libraries_are_stripped_too(written: list[bytes]):
    logging.getLogger("aiohttp.server").error("Error handling %s", NUMBER)
    broken = logging.LogRecord("aiohttp.server", logging.ERROR, "f", 1, "broken %d", ("x",), None)
    logging.getLogger().handlers[0].emit(broken)
    first, second = flushed(written)
    assert first["text"] == "Error handling [private]"
    assert second["text"] == "unreadable message"


def test_an_error_that_quotes_a_request_is_told_by_its_kind_only(written: list[bytes]):
    error = ValueError("Invalid header token: b'Authorization : Bearer eyJhbGciOi'")
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
    (line,) = flushed(written)
    assert (line["error"], "eyJ" in str(line)) == ("ValueError", False)


def test_levels_below_the_wanted_one_are_not_written():
    lines: list[bytes] = []
    before = logging.getLogger().handlers[:]
    pipe = logs.configure("warning", write=lines.append)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    pipe.close()
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()
    assert [json.loads(line)["event"] for line in lines] == ["loud"]


def test_a_stuck_stderr_holds_nobody_up_and_drops_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "MOST_QUEUED", 100)
    stuck, reached = threading.Event(), threading.Event()

    def write(_text: bytes) -> None:
        reached.set()
        stuck.wait(10)

    pipe = logs.LogPipe(write)
    pipe.put(b"first\n")
    assert reached.wait(5)
    for _ in range(250):
        pipe.put(b"line\n")
    assert pipe.dropped == 150
    assert len(pipe._lines) == 100
    stuck.set()
    pipe.close()


def test_a_broken_stderr_does_not_end_the_thread_and_what_it_loses_is_counted():
    seen: list[bytes] = []

    def write(text: bytes) -> None:
        seen.append(text)
        if len(seen) == 1:
            raise BrokenPipeError

    pipe = logs.LogPipe(write)
    pipe.put(b"one\n")
    while not seen:
        threading.Event().wait(0.001)
    pipe.put(b"two\n")
    pipe.close()
    assert b"".join(seen) == b"one\ntwo\n"
    assert pipe.dropped == 1
