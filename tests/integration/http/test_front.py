"""The layer before aiohttp's request queue changes nothing but the speed."""

import asyncio
import re

import pytest

from router.http import front
from router.store.call_store import CallStore
from tests.integration.http.conftest import DEFAULT, Running, Start, apply, until
from tests.unit.decisions.decide_fakes import hanging

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
    """Send the pieces one by one, each to arrive by itself, end, and read everything."""
    host, port = at_work.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        for _ in range(10):  # the service runs in this loop, and reads in one of its turns
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


KNOWN = post("/route/main", QUESTIONS[0] % 10)
BEGUN = b"POST /route/norules HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [KNOWN, KNOWN, KNOWN],
        [KNOWN, KNOWN + KNOWN, KNOWN],
        [KNOWN, BEGUN + b"X-Pad: ", KNOWN, KNOWN],
        [KNOWN, BEGUN + b"Content-Length: %d\r\n\r\n" % len(KNOWN), KNOWN, KNOWN],
        [KNOWN, BEGUN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: ", KNOWN, KNOWN],
        [KNOWN, KNOWN[:-1], b"}" + KNOWN, KNOWN],
        [KNOWN, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", KNOWN],
        [KNOWN, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + BEGUN, b"X: ", KNOWN, KNOWN],
        [KNOWN, KNOWN.replace(b"Host: x", b"Connection: close"), KNOWN],
        [KNOWN, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + BEGUN + b"X: ", KNOWN, KNOWN],
    ],
)
async def test_a_known_head_is_one_only_where_a_request_begins(
    main: Running, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    await talk(main, KNOWN)
    with_heads = await talk(main, *pieces)
    monkeypatch.setattr(front.Heads, "read", lambda *_: None)
    assert strip_ids(with_heads) == strip_ids(await talk(main, *pieces))


async def test_a_known_head_is_not_parsed_again(
    main: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[str] = []
    learn = front.Heads.learn

    def noted(heads: front.Heads, data: bytes, path: str) -> None:
        learned.append(path)
        learn(heads, data, path)

    monkeypatch.setattr(front.Heads, "learn", noted)
    await talk(main, *[post(f"/route/main?x={n % 2}", QUESTIONS[0] % n) for n in range(9)])
    assert learned == ["/route/main?x=0", "/route/main?x=1"]


def test_only_so_many_heads_are_known() -> None:
    heads = front.Heads()
    for n in range(2000):
        request = post(f"/route/{n}", b"null")
        heads.learn(request, f"/route/{n}")
        assert heads.read(request) == (f"/route/{n}", b"null")
        assert heads.read(request + b" ") is None
    long = post("/route/main", b"null", "X: " + 2000 * "x")
    heads.learn(long, "/route/main")
    assert heads.read(long) is None
    known = sum(heads.read(post(f"/route/{n}", b"null")) is not None for n in range(2000))
    assert 1 <= known <= 512


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


async def test_a_store_that_is_never_heard_of_again_costs_the_budget_and_no_more(
    main: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallStore, "reserve", hanging)  # not even its own deadline ends it
    answer = await asyncio.wait_for(main.call(external_number="+12125550111"), 5)
    assert (answer.body, answer.level) == (DEFAULT, "default")
    monkeypatch.undo()
    answer = await main.call(call_id=18, external_number="+12125550111")
    assert answer.level == "full", "the connection goes on"


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
    assert front.put_before(handler, object(), front.Heads()) is handler  # type: ignore[arg-type]
