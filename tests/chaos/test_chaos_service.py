"""Rules that break, a loop that stands still, hostile clients, signals: every call is answered in time."""

import asyncio
import base64
import json
import os
import signal
import time

import aiohttp
import jwt
import pytest

from tests.chaos.conftest import Chaos, assert_all_well
from tests.chaos.service import RULES, SECRET, Service

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules replaced by a broken file", "version: 1\nrules: [{when: }"),
        (
            "rules replaced by a file whose case fails",
            RULES.replace("rule: default", "rule: blocked"),
        ),
        ("rules replaced by an empty file", ""),
        ("rules removed", None),
    ],
)
async def test_bad_rules_never_go_live(chaos: Chaos, name: str, text: str | None) -> None:
    file = chaos.service.rules / "main.yaml"
    async with chaos.fault(name):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        await asyncio.sleep(2)
        file.write_text(RULES)
    assert_all_well(chaos)
    assert chaos.outcome.degraded == 0


async def test_a_loop_that_stands_still_is_late_but_in_budget(chaos: Chaos) -> None:
    async with chaos.fault("service stopped for 200 ms, 5 times (SIGSTOP)"):
        for _ in range(5):
            chaos.service.send(signal.SIGSTOP)
            await asyncio.sleep(0.2)
            chaos.service.send(signal.SIGCONT)
            await asyncio.sleep(0.3)
    assert_all_well(chaos)


async def test_half_a_body_holds_nobody_up(chaos: Chaos) -> None:
    async with chaos.fault("50 clients that send half a body and wait"):
        clients = [await half_a_body(chaos.service) for _ in range(50)]
        await asyncio.sleep(1)
        for writer in clients:
            writer.transport.abort()
    assert_all_well(chaos)


async def half_a_body(service: Service) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = "POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
    writer.write(head.encode() + b'{"call_id": 1, "exter')
    await writer.drain()
    return writer


async def test_bodies_of_a_gigabyte_are_refused_and_cost_nothing(chaos: Chaos) -> None:
    async with chaos.fault("4 bodies of 1 GB"):
        statuses = await asyncio.gather(*(huge_body(chaos.service) for _ in range(4)))
    assert all(status in {413, None} for status in statuses)  # None: refused by closing
    assert_all_well(chaos)


async def huge_body(service: Service) -> int | None:
    """Send until told to stop; the status of the refusal, or None when the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    piece = b"x" * 65536
    try:
        for _ in range(1_000_000_000 // len(piece)):
            writer.write(piece)
            await writer.drain()
            if reader.at_eof():
                break
    except ConnectionError:
        pass
    try:
        line = await asyncio.wait_for(reader.readline(), 5)
    except (ConnectionError, TimeoutError):
        return None
    finally:
        writer.transport.abort()
    return int(line.split()[1]) if line else None


def forged_tokens() -> dict[str, bytes]:
    claims = {"call_id": 1, "external_number": "+12125550142"}
    good = jwt.encode(claims, SECRET, algorithm="HS256").encode()
    _head, payload, _signature = good.split(b".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=")
    return {
        "unsigned": json.dumps(claims).encode(),
        "wrong secret": jwt.encode(claims, "x" * 40, algorithm="HS256").encode(),
        "alg none": none + b"." + payload + b".",
        "alg HS512": jwt.encode(claims, SECRET * 2, algorithm="HS512").encode(),
        "expired": jwt.encode(claims | {"exp": 1}, SECRET, algorithm="HS256").encode(),
        "not yet": jwt.encode(claims | {"nbf": 2**33}, SECRET, algorithm="HS256").encode(),
        "cut": good[:-3],
        "oversized": jwt.encode(claims | {"x": "y" * 20_000}, SECRET, algorithm="HS256").encode(),
        "empty": b"",
        "garbage": bytes(range(256)),
    }


async def test_forged_tokens_are_refused_under_load(chaos: Chaos) -> None:
    statuses: dict[str, set[int]] = {}
    async with chaos.fault("forged, unsigned, expired, oversized tokens"):
        async with aiohttp.ClientSession() as session:
            for _ in range(30):
                for name, body in forged_tokens().items():
                    async with session.post(chaos.service.route, data=body) as answer:
                        statuses.setdefault(name, set()).add(answer.status)
    refused = {name: {401} for name in forged_tokens()}
    assert statuses == refused
    assert_all_well(chaos)


async def test_sigterm_answers_what_it_has_taken_and_ends(chaos: Chaos) -> None:
    """After SIGTERM no new connection is taken; whatever was taken is answered."""
    async with chaos.fault("SIGTERM in the middle") as load:
        chaos.service.send(signal.SIGTERM)
        code = await chaos.service.ended()
        ended_at = time.monotonic()
    assert code == 0
    before = [s for s in load.samples if s.done_at <= chaos.outcome.fault.began_at]
    assert before
    # Refused connections were never taken; anything else would be a caller without an answer.
    broken = [s for s in load.samples if s.status != 200 and s.error != "ClientConnectorError"]
    assert not broken
    assert all(s.valid for s in load.samples if s.status == 200)
    assert ended_at - chaos.outcome.fault.began_at < 15


async def test_a_killed_worker_is_replaced_and_the_other_goes_on(chaos_of_two: Chaos) -> None:
    """A request that the killed worker had taken is lost with it; all others are answered."""
    chaos = chaos_of_two
    _, first, *_ = chaos.service.processes()
    async with chaos.fault("1 of 2 workers killed (SIGKILL)") as load:
        os.kill(first, signal.SIGKILL)
        await asyncio.sleep(1)
    lost = [s for s in load.samples if s.status != 200]
    assert len(lost) < 100 * 0.2
    late = [s for s in load.samples if s.sent_at > chaos.outcome.fault.ended_at + 2]
    assert late
    assert all(s.status == 200 for s in late)
    assert len(chaos.service.processes()) >= 3
