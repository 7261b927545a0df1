"""Structured logs on stderr: one JSON object per line, from static event names and fields.

Two promises. Nothing private leaves: fields named in PRIVATE_FIELDS, or beginning with `private_`,
are blanked, and whatever looks like a phone number is blanked wherever it stands, exception texts
included. And nothing waits: a log call appends to a bounded queue that one thread writes out; when
stderr is stuck, lines are dropped and counted, the event loop is never held up.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

MOST_QUEUED: Final = 10_000
"""Lines that wait for stderr; more are dropped and counted."""

LONGEST_TEXT: Final = 2_000
"""Characters of one field."""

BLANK: Final = "[private]"

PRIVATE_FIELDS: Final = frozenset(
    {
        "authorization",
        "body",
        "called",
        "caller",
        "contact",
        "digits",
        "email",
        "external_number",
        "internal_number",
        "name",
        "number",
        "password",
        "phone",
        "phone_number",
        "secret",
        "token",
    }
)

_ID_FIELDS: Final = frozenset({"call_id", "callback", "digest", "request_id", "timestamp"})
"""Fields whose long digits are ids; they are cut to what an id may be, never read as a number."""

_QUOTES_REQUESTS: Final = "aiohttp."
"""Loggers of a library whose errors quote what a client sent: a refused line may hold its token."""

_NUMBER: Final = re.compile(r"\+?\d(?:[ ().-]?\d){6,}")
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# structlog's own types: an event is a mapping of whatever the caller gave, hence Any.
_Event = MutableMapping[str, Any]


class LogPipe:
    """A bounded queue of lines and the one thread that writes them."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        self._lines: deque[bytes] = deque(maxlen=MOST_QUEUED)
        self._wake = threading.Event()
        self._is_closing = False
        self._write = write or _write_stderr
        self._crowded_out = 0
        self._unwritten = 0
        self._thread = threading.Thread(target=self._drain, name="logs", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that nobody will read: there was no room for them, or they could not be written."""
        return self._crowded_out + self._unwritten  # each is counted by one thread

    def put(self, line: bytes) -> None:
        """Queue a line; never waits. When the queue is full the oldest line makes room."""
        if len(self._lines) >= MOST_QUEUED:
            self._crowded_out += 1
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, for at most that long."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _drain(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._lines:
                # Only this thread takes lines out, and a full queue stays full: these many are there.
                batch = [self._lines.popleft() for _ in range(min(100, len(self._lines)))]
                try:
                    self._write(b"".join(batch))
                except (OSError, ValueError):  # nobody reads stderr any more, or its disk is full
                    self._unwritten += len(batch)
            if self._is_closing:
                return


def configure(
    level: str = "info", *, as_json: bool = True, write: Callable[[bytes], object] | None = None
) -> LogPipe:
    """Set up structlog and the standard library's logging for this process; close the pipe at its end."""
    pipe = LogPipe(write)
    least = logging.getLevelNamesMapping()[level.upper()]
    render = _render_json if as_json else _render_plain

    def enqueue(_logger: object, _method: str, event: _Event) -> str:
        pipe.put(render(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            add_exception,
            strip_private,
            add_timestamp,
            enqueue,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,  # tests and workers configure anew
    )
    root = logging.getLogger()
    root.handlers[:] = [_Foreign(render, pipe)]
    root.setLevel(max(least, logging.WARNING))
    return pipe


def strip_private(_logger: object, _method: str, event: _Event) -> _Event:
    """Blank what is private: by the field's name, and by what a text looks like."""
    for key, value in event.items():
        event[key] = _stripped(key, value)
    return event


def add_exception(_logger: object, _method: str, event: _Event) -> _Event:
    """Turn `exc_info` into the kind of error and where it was raised; texts are stripped later."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else None
    if given and error is None:
        error = sys.exc_info()[1]
    if error is not None:
        event["error"] = type(error).__name__
        event["error_text"] = str(error)
        event["where"] = _where(error)
    return event


def add_timestamp(_logger: object, _method: str, event: _Event) -> _Event:
    """RFC 3339, UTC."""
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


class _Foreign(logging.Handler):
    """Messages of libraries: stripped like our own fields, since nobody checked what is in them."""

    def __init__(self, render: Callable[[_Event], bytes], pipe: LogPipe) -> None:
        super().__init__()
        self._render_line = render
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's broken log call must not break us
            text = "unreadable message"
        event: _Event = {
            "event": "library_message",
            "logger": record.name,
            "level": record.levelname.lower(),
            "text": text,
            "exc_info": record.exc_info[1] if record.exc_info else None,
        }
        event = add_exception(None, "", event)
        if record.name.startswith(_QUOTES_REQUESTS):
            event.pop("error_text", None)
        event = strip_private(None, "", event)
        self._pipe.put(self._render_line(add_timestamp(None, "", event)))


def _stripped(key: str, value: object) -> object:
    if key in PRIVATE_FIELDS or key.startswith("private_"):
        return None if value is None else BLANK
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(name): _stripped(str(name), item) for name, item in list(value.items())[:50]}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_stripped(key, item) for item in list(value)[:50]]
    text = str(value)[:LONGEST_TEXT]
    if key in _ID_FIELDS and not text.startswith("+") and _ID.fullmatch(text):
        return text
    return _NUMBER.sub(BLANK, text)


def _where(error: BaseException) -> list[str]:
    """The innermost places, without source lines: those may quote what was being worked on."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames]  # noqa: PTH119 - a name, no file access


def _render_json(event: _Event) -> bytes:
    return json.dumps(event, default=str, ensure_ascii=False).encode(errors="replace") + b"\n"


def _render_plain(event: _Event) -> bytes:
    head = f"{event.pop('timestamp', '')} {event.pop('level', '')} {event.pop('event', '')}"
    fields = " ".join(f"{key}={value!r}" for key, value in event.items())
    return f"{head} {fields}\n".encode(errors="replace")


def _write_stderr(text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[os.write(2, left) :]
