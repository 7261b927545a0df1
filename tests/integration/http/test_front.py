"""The layer before aiohttp's request queue changes nothing but the speed."""

import asyncio
import re

import pytest

from router.http import front
from tests.integration.http.conftest import Running, Start, apply, until

QUESTIONS = [
    b'{"call_id":%d,"external_number":"+12125550142"}',
    b'{"call_id":%d,"external_number":"+12125550133"}',
    b'{"call_id":%d,"external_number":"+12125550122"}',
    b"null%d",
]
CHANGING = re.compile(rb"(Server-Timing|Date|Server): [^\r]*\r\n")


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def talk(at_work: Running, *pieces: bytes) -> bytes:
    """Send the pieces one by one, end, and read everything."""
    host, port = at_work.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        text = await reader.read()
    writer.close()
    return b"\r\n".join(sorted(CHANGING.sub(b"", text).split(b"\r\n")))


async def test_both_ways_answer_alike(
    start: Start, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_front = await start(redis_url)
    await apply(with_front.service)
    without = await start(redis_url)
    await until(lambda: without.service.directory.router("main"))
    for number, question in enumerate([*QUESTIONS, *QUESTIONS]):
        requests = [
            post("/route/main", question % number),
            post("/route/main?x=1", question % number),
            post("/route/nobody", question % number),
            post("/route/signed", question % number),
            post("/route/norules", question % number),
        ]
        faster = await talk(with_front, *requests)
        with monkeypatch.context() as patched:
            patched.setattr(front, "_NEEDED", ("not there",))
            slower = await talk(without, *requests)
        assert strip_ids(faster) == strip_ids(slower)


def strip_ids(text: bytes) -> bytes:
    """Without what is different in every answer of the application."""
    return re.sub(rb'(X-Request-Id: |"request_id":")[^"\r]*', b"", text)


@pytest.mark.parametrize("size", [1, 7, 60, 1000])
async def test_a_request_in_pieces_is_answered_like_one_in_one_piece(
    main: Running, size: int
) -> None:
    whole = b"".join(post("/route/main", QUESTIONS[n % 3] % n) for n in range(6))
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert strip_ids(await talk(main, *pieces)) == strip_ids(await talk(main, whole))


async def test_answers_stay_in_order_when_a_slow_one_is_followed_by_fast_ones(
    main: Running,
) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(20):
        slow = post("/route/main", b'{"call_id":1,"external_number":"+12125550122"}')
        fast = post("/route/norules", b'{"call_id":2}')
        writer.write(slow)
        await writer.drain()
        writer.write(fast)
        levels = []
        async with asyncio.timeout(5):
            for _ in range(2):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"Content-Length: (\d+)", head, re.IGNORECASE)
                assert length is not None
                await reader.readexactly(int(length[1]))
                levels.append("default" if "Level: default" in head else "full")
        assert levels == ["full", "default"]
    writer.close()


async def test_a_client_that_expects_a_100_gets_it(main: Running) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"call_id":1}'
    head = f"POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_client_that_never_reads_costs_bounded_memory(main: Running) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    request = post("/route/main", b'{"call_id":1}') * 50

    async def pour() -> None:
        while True:
            writer.write(request)
            await writer.drain()

    pouring = asyncio.create_task(pour())
    finished, _ = await asyncio.wait([pouring], timeout=1.0)
    assert not finished, "the service should have stopped reading"
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    writer.transport.abort()
    assert (await main.call()).status == 200


async def test_an_aiohttp_that_is_built_otherwise_is_left_alone() -> None:
    handler = object()
    assert front.put_before(handler, object()) is handler  # type: ignore[arg-type]
