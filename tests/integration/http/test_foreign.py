"""Somebody else's routing_url, asked over real sockets: slow, huge, redirecting, broken and good."""

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from router.deadline import in_s
from router.decisions.needed import ForeignError
from router.decisions.outcome import ErrorCode
from router.platforms.dialpad.foreign import ForeignRouters
from router.platforms.dialpad.signature import verify
from router.site.resources import RouterConfig
from rules.actions import Route, Target, TargetType
from tests.integration.http.conftest import DEFAULT, Running, apply
from tests.unit.decisions.decide_fakes import asked

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
GOOD = {"action": "route", "target_type": "department", "target_id": "9"}
SECRET = b"0123456789abcdef0123456789abcdef"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve a handler on a port of its own; gives the URL."""
    runners = []

    async def begin(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}/route"

    yield begin
    for runner in runners:
        await runner.cleanup()


async def ask(url: str, *, budget_s: float = 2.0, **changes: object) -> object:
    foreign = ForeignRouters(allowed=LOOPBACK)
    try:
        return await foreign.ask(asked(routing_url=url, **changes), in_s(budget_s))
    finally:
        await foreign.close()


async def code_of(url: str, **kwargs: Any) -> ErrorCode:
    with pytest.raises(ForeignError) as failure:
        await ask(url, **kwargs)
    return failure.value.error


def good(seen: list[bytes]) -> Handler:
    """Gives a good answer to every question, and keeps it."""

    async def answer(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return web.json_response(GOOD)

    return answer


async def test_a_good_answer_is_taken_and_the_question_looks_like_the_platforms(
    serve: Serve,
) -> None:
    seen: list[bytes] = []
    answer = await ask(await serve(good(seen)))
    assert answer == Route(target=Target(type=TargetType.DEPARTMENT, id="9"))
    assert json.loads(seen[0])["external_number"] == "+12125550142"


async def test_with_a_secret_the_question_is_signed(serve: Serve) -> None:
    seen: list[bytes] = []
    await ask(await serve(good(seen)), secrets=(SECRET,), signs=True)
    assert verify(seen[0], [SECRET], 0)["call_id"] == "c1"


async def test_without_the_secret_that_it_has_to_be_signed_with_nobody_is_asked(
    serve: Serve,
) -> None:
    seen: list[bytes] = []
    assert await code_of(await serve(good(seen)), signs=True) is ErrorCode.CONNECT
    assert seen == []


async def test_a_slow_server_costs_the_budget_and_no_more(serve: Serve) -> None:
    gone = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        await gone.wait()
        return web.json_response(GOOD)

    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await code_of(await serve(slow), budget_s=0.1) is ErrorCode.TIMEOUT
    assert loop.time() - began < 1
    gone.set()


async def test_a_server_that_drips_its_answer_costs_the_budget_and_no_more(serve: Serve) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    assert await code_of(await serve(drip), budget_s=0.15) is ErrorCode.TIMEOUT


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_huge_answer_is_cut_off(serve: Serve, is_chunked: bool) -> None:
    async def huge(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not is_chunked:
            response.content_length = 10 * 2**20
        await response.prepare(request)
        for _ in range(160):
            await response.write(b" " * 65536)
        return response

    assert await code_of(await serve(huge)) is ErrorCode.UNREADABLE


async def test_a_redirect_is_not_followed(serve: Serve) -> None:
    followed: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.json_response(GOOD)

    target = await serve(elsewhere)

    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    assert await code_of(await serve(redirect)) is ErrorCode.STATUS
    assert followed == []


@pytest.mark.parametrize("status", [199 + 5, 400, 404, 500, 503])
async def test_only_a_2xx_with_an_answer_counts(serve: Serve, status: int) -> None:
    async def other(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    expected = ErrorCode.UNREADABLE if status < 300 else ErrorCode.STATUS
    assert await code_of(await serve(other)) is expected


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b'{"action":"menu"}', b"\xff" * 100, b"[" * 9999]
)
async def test_garbage_is_refused(serve: Serve, body: bytes) -> None:
    async def garbage(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    assert await code_of(await serve(garbage)) is ErrorCode.UNREADABLE


async def test_a_reset_and_a_closed_port_are_connection_failures() -> None:
    async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await code_of(f"http://127.0.0.1:{port}/") is ErrorCode.CONNECT
    server.close()
    await server.wait_closed()
    assert await code_of(f"http://127.0.0.1:{port}/") is ErrorCode.CONNECT


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
    ],
)
async def test_addresses_that_are_not_outside_are_never_connected_to(
    serve: Serve, host: str
) -> None:
    asked_for: list[str] = []

    async def inside(request: web.Request) -> web.Response:
        asked_for.append(request.path)
        return web.json_response(GOOD)

    port = (await serve(inside)).rpartition(":")[2].partition("/")[0]
    foreign = ForeignRouters()
    with pytest.raises(ForeignError) as failure:
        await foreign.ask(asked(routing_url=f"http://{host}:{port}/"), in_s(1))
    await foreign.close()
    assert failure.value.error is ErrorCode.CONNECT
    assert asked_for == []


async def test_a_name_that_resolves_inside_is_refused_when_connecting(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def inside(_request: web.Request) -> web.Response:
        return web.json_response(GOOD)

    port = int((await serve(inside)).rpartition(":")[2].partition("/")[0])

    def rebound(*_: object, **__: object) -> list[object]:
        where = ("127.0.0.1", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    foreign = ForeignRouters()
    with pytest.raises(ForeignError) as failure:
        await foreign.ask(asked(routing_url=f"http://outside.test:{port}/"), in_s(1))
    await foreign.close()
    assert failure.value.error is ErrorCode.CONNECT


async def test_a_failing_foreign_router_is_disabled_by_the_same_rule(
    main: Running, serve: Serve
) -> None:
    async def failing(_request: web.Request) -> web.Response:
        return web.Response(status=500)

    router = RouterConfig(
        id="theirs",
        name="Theirs",
        default_target=Target(type=TargetType.OFFICE, id="1"),
        routing_url=await serve(failing),
    )
    await apply(main.service, router)
    answers = [await main.call("theirs", call_id=n) for n in range(13)]
    assert [answer.level for answer in answers] == ["default"] * 11 + ["disabled"] * 2
    assert {msgspec.json.encode(answer.body) for answer in answers} == {
        msgspec.json.encode(DEFAULT)
    }
