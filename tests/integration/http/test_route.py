"""`/route/{router_id}` over real sockets: a valid answer whatever comes."""

import asyncio
import json

import msgspec
import pytest

from router.acd.agents import AgentState
from router.deadline import in_s
from router.decisions.log import Filters
from router.platforms.dialpad.signature import sign
from router.store.decisions import list_decisions
from tests.integration.http.conftest import (
    DEFAULT,
    OLD_SECRET,
    SECRET,
    TENANT,
    Running,
    until,
)

SALES = {"action": "route", "target_type": "department", "target_id": "60"}
BODY = {"call_id": 17, "external_number": "+12125550142"}


async def test_a_call_is_decided_by_the_rules(main: Running) -> None:
    got = await main.call()
    assert (got.status, got.body, got.level) == (200, SALES, "full")
    assert got.headers["Content-Type"] == "application/json"
    assert "decide;dur=" in got.headers["Server-Timing"]


async def test_an_unknown_router_is_404_and_another_method_405(main: Running) -> None:
    assert (await main.call("nobody")).status == 404
    async with main.session.get(f"{main.url}/route/main") as got:
        assert (got.status, got.headers["Allow"]) == (405, "POST")
        assert "error" in json.loads(await got.read())


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
@pytest.mark.parametrize("form", ["%s", '"%s"', " %s\n"])
@pytest.mark.parametrize("kind", ["application/json", "application/jwt", "text/plain", "x"])
async def test_a_signed_router_takes_either_secret_in_any_form_and_content_type(
    main: Running, secret: str, form: str, kind: str
) -> None:
    token = sign(msgspec.json.encode(BODY), secret.encode()).decode()
    got = await main.post("signed", (form % token).encode(), headers={"Content-Type": kind})
    assert (got.status, got.body) == (200, SALES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        msgspec.json.encode(BODY),
        sign(msgspec.json.encode(BODY), b"another secret that is long enough"),
        sign(msgspec.json.encode({**BODY, "exp": 1}), SECRET.encode()),
        sign(msgspec.json.encode({**BODY, "nbf": 9_999_999_999}), SECRET.encode()),
        sign(b'{"x":"' + b"y" * 9000 + b'"}', SECRET.encode()),
        b"eyJhbGciOiJub25lIn0.eyJjYWxsX2lkIjoxfQ.",
    ],
    ids=["empty", "null", "unsigned", "forged", "expired", "early", "oversized", "none"],
)
async def test_a_signed_router_refuses_the_rest_with_401(main: Running, body: bytes) -> None:
    assert (await main.post("signed", body)).status == 401


async def test_a_router_without_a_secret_takes_a_token_for_what_it_says(main: Running) -> None:
    got = await main.post("main", sign(msgspec.json.encode(BODY), b"whatever"))
    assert (got.status, got.body) == (200, SALES)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"\xff\xfe", b"<xml/>", b"a.b.c"])
async def test_what_cannot_be_read_gets_the_default_target(main: Running, body: bytes) -> None:
    got = await main.post("main", body)
    assert (got.status, got.body, got.level) == (200, DEFAULT, "default")


async def test_a_body_of_64_kib_is_taken_and_a_longer_one_is_413(main: Running) -> None:
    fits = b'{"x":"' + b"y" * (65536 - 8) + b'"}'
    assert (await main.post("main", fits)).status == 200
    assert (await main.post("main", fits + b" ")).status == 413


async def test_an_agent_is_reserved_once_however_often_the_call_is_asked(main: Running) -> None:
    await main.service.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    user = {"action": "route", "target_type": "user", "target_id": "3001"}
    queue = {"action": "route", "target_type": "callcenter", "target_id": "8001"}
    first = await main.call(external_number="+12125550111")
    again = await main.call(external_number="+12125550111")
    other = await main.call(external_number="+12125550111", call_id=18)
    assert (first.body, again.body, other.body) == (user, user, queue)


async def test_an_agent_without_a_platform_user_is_never_answered(main: Running) -> None:
    await main.service.agents.set_duty(TENANT, "bob", on=True, deadline=in_s(5))
    got = await main.call(external_number="+12125550111")
    assert got.body["target_type"] == "callcenter"

    async def is_free() -> bool:
        now = await main.service.agents.get(TENANT, "bob", in_s(5))
        return now is not None and now.effective.state is AgentState.AVAILABLE

    await until(is_free)


async def test_live_facts_decide(main: Running) -> None:
    await main.service.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    got = await main.call(external_number="+12125550122")
    assert (got.body["target_id"], got.level) == ("62", "full")


async def test_a_menu_goes_over_several_requests(main: Running) -> None:
    asked = await main.call(external_number="+12125550133")
    assert asked.body["hint_name"] == "language"
    wrong = await main.call(external_number="+12125550133", hints={"language": "9"})
    assert wrong.body["action"] == "ask"
    chosen = await main.call(external_number="+12125550133", hints={"language": "2"})
    assert chosen.body["target_id"] == "62"


async def test_a_half_body_does_not_hold_anything_and_is_408(main: Running) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b'POST /route/quick HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"call')
    async with asyncio.timeout(3):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408")
    writer.close()
    assert (await main.call()).status == 200


async def test_a_body_that_breaks_off_harms_nobody(main: Running) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    for _ in range(20):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b'POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"ca')
        await writer.drain()
        writer.transport.abort()
    assert (await main.call()).status == 200


async def test_pipelined_requests_are_answered_in_order(main: Running) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    bodies = [b'{"call_id":1}', b"null", b'{"call_id":2}']
    for body in bodies:
        head = f"POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
    levels = []
    async with asyncio.timeout(5):
        for _ in bodies:
            head_bytes = await reader.readuntil(b"\r\n\r\n")
            lines = dict(
                line.split(": ", 1) for line in head_bytes.decode().strip().split("\r\n")[1:]
            )
            await reader.readexactly(int(lines["Content-Length"]))
            levels.append(lines["X-Crosspoint-Level"])
    assert levels == ["full", "default", "full"]
    writer.close()


async def test_every_decision_is_logged_masked_and_can_be_found(main: Running) -> None:
    await main.call(call_id=4711, contact={"name": "Ada Example", "email": "ada@example.test"})
    link = main.service.links.link_for(TENANT)

    found: list[object] = []

    async def is_found() -> bool:
        filters = Filters(call_id="4711", router="main")
        page = await list_decisions(link, TENANT, filters, limit=5, deadline=in_s(5))
        found[:] = page.decisions
        return bool(found)

    await until(is_found)
    text = msgspec.json.encode(found).decode()
    assert '"rule":"default"' in text
    assert "5550142" not in text
    assert "Example" not in text
    assert "ada@" not in text


async def test_other_paths_go_to_the_application(main: Running) -> None:
    async with main.session.get(f"{main.url}/healthz") as got:
        assert got.status == 200
    await until(lambda: main.service.links.is_open)
    async with main.session.get(f"{main.url}/readyz") as got:
        assert got.status == 200
