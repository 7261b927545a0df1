"""The routing requests that all rows are asked, and the rules and people they are decided with."""

import itertools
import json
import os
from collections.abc import Iterator

import msgspec

from router.platforms.dialpad.signature import sign

TENANT = "bench"
SECRET = "a secret of the bench, long enough for routers"
CALLED = "+12125550100"
RULES = 500
AGENTS = 20_000
"""Enough for half a second of reservations (the shortest lease) at any rate reached here."""

OFFICE = {"hours": {"mon-sun": ["00:00-24:00"]}}
_numbers = itertools.count(int.from_bytes(os.urandom(5), "big") * 1_000_000)


def bodies(count: int, *, signed: bool) -> Iterator[bytes]:
    """Requests of calls that nobody has asked about before: about 510 bytes, signed about 760."""
    for _ in range(count):
        number = next(_numbers)
        caller = f"+1212555{number % 10_000:04}"
        body = msgspec.json.encode(
            {
                "call_id": number,
                "date_started": 1_770_000_000_123,
                "external_number": caller,
                "internal_number": CALLED,
                "contact": {
                    "id": "551200",
                    "name": "Ada Example",
                    "phone": caller,
                    "email": "ada@example.com",
                    "type": "local",
                },
                "master_call_id": None,
                "entry_point_call_id": None,
                "target": {
                    "id": "6001002003004005",
                    "type": "department",
                    "name": "Reception",
                    "email": "",
                    "phone": CALLED,
                    "office_id": "6001002003000000",
                },
                "entry_point_target": {},
                "state": "ringing",
                "direction": "inbound",
                "labels": [],
            }
        )
        yield sign(body, SECRET.encode()) if signed else body


def posts(path: str, count: int, *, signed: bool) -> list[bytes]:
    """The same as whole HTTP requests."""
    kind = "application/jwt" if signed else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: "
    start = head.encode()
    return [b"%b%d\r\n\r\n%b" % (start, len(body), body) for body in bodies(count, signed=signed)]


def static_rules() -> dict[str, object]:
    """A small file as people write it first: decided by caller and called number."""
    return _file(
        {
            "name": "blocked",
            "when": {"caller": ["+16465559998", "+16465559999"]},
            "then": {"end": {"message": "No."}},
        },
        {
            "name": "vip",
            "when": {"caller": ["+16465550001", "+16465550002"]},
            "then": {"route": {"type": "user", "id": "42"}},
        },
        *(
            {
                "name": f"line {n}",
                "when": {"called": f"+1212555{200 + n:04}"},
                "then": {"route": {"type": "department", "id": str(n)}},
            }
            for n in range(6)
        ),
        {
            "name": "main line",
            "when": {"called": CALLED},
            "then": {"route": {"type": "department", "id": "77"}},
        },
    )


def long_rules(last: dict[str, object], count: int = RULES) -> dict[str, object]:
    """Rules for single callers while the office is open; only the last one matches."""
    return _file(
        *(
            {
                "name": f"customer {n}",
                "when": {"calendar": {"office": "open"}, "caller": f"+1646{n:07}"},
                "then": {"route": {"type": "department", "id": str(n)}},
            }
            for n in range(2_000_000, 2_000_000 + count - 1)
        ),
        {
            "name": "everybody else",
            "when": {"calendar": {"office": "open"}, "called": CALLED},
            "then": last,
        },
    )


ROUTE = {"route": {"type": "department", "id": "77"}}
AGENT = {"agent": {"queue": "support", "otherwise": ROUTE}}


def _file(*rules: dict[str, object]) -> dict[str, object]:
    return {
        "version": 1,
        "country": "US",
        "calendars": {"office": OFFICE},
        "rules": list(rules),
        "default": {"route": {"type": "department", "id": "99"}},
    }


def site() -> dict[str, object]:
    """One router per row; the agents are put in beside, there are too many for a file."""
    target = {"type": "department", "id": "1"}
    routers = [
        {"id": name, "name": name, "rules": name, "default_target": target}
        for name in ("static", "calendar", "full")
    ]
    routers[2]["secret"] = {"file": "secrets/full"}
    queue = {"id": "support", "name": "Support", "call_center_id": "8001"}
    return {"version": 1, "tenant": TENANT, "routers": routers, "queues": [queue]}


def as_yaml(document: dict[str, object]) -> str:
    """JSON is YAML."""
    return json.dumps(document, indent=0)
