"""Whatever bytes come to `/route/…`: no 5xx, no traceback, and the service goes on."""

import asyncio
import logging

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.platforms.dialpad.signature import sign
from tests.integration.http.conftest import SECRET, Running

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        ["call_id", "external_number", "internal_number", "contact", "hints", "exp", "nbf", "x.y"]
    )
    | st.text(max_size=8),
    JSON,
)
BODIES = (
    st.binary(max_size=2000)
    | FIELDS.map(msgspec.json.encode)
    | FIELDS.map(lambda fields: sign(msgspec.json.encode(fields), SECRET.encode()))
)
HOSTILE = [
    b"[" * 60_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"call_id":' + b"9" * 60_000 + b"}",
    b'{"call_id":1e400}',
    rb'{"external_number":"\ud800"}',
    b'{"hints":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    b'{"' + b"k" * 60_000 + b'":1}',
    b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(5000)) + b"}",
    b'"' * 65_536,
    b"." * 8192,
]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(router=st.sampled_from(["main", "signed", "quick", "norules"]), body=BODIES)
async def test_any_body_gets_a_decision_or_a_refusal(
    main: Running, caplog: pytest.LogCaptureFixture, router: str, body: bytes
) -> None:
    got = await main.post(router, body)
    assert got.status in ({200, 401} if router == "signed" else {200})
    if got.status == 200:
        assert got.body["action"] in {"route", "ask", "end", "forward"}
    assert "Traceback" not in caplog.text


async def test_hostile_bodies_are_answered_at_once(
    main: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for body in HOSTILE:
            assert (await main.post("main", body)).status == 200
            assert (await main.post("signed", body)).status == 401
    assert main.service.budget.pending() == {}
    assert "Traceback" not in caplog.text


async def raw(main: Running, data: bytes, *, then_eof: bool = True) -> bytes:
    host, port = main.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        if then_eof:
            writer.write_eof()
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /route/main HTTP/1.0\r\n\r\n",
        b"POST /route/main HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /route/main HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /route/main?a=b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HEAD /route/main HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /route/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /route/%2e%2e/main HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /route/main HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GARBAGE\r\n\r\n",
        b"POST /route/" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=lambda head: head[:30],
)
async def test_any_http_gets_an_answer_that_is_no_5xx(main: Running, head: bytes) -> None:
    answer = await raw(main, head)
    assert answer == b"" or answer.split(b" ")[1][:1] in {b"2", b"4"}, answer[:80]
    assert (await main.call()).status == 200


TOKEN = b"eyJhbGciOiJIUzI1NiJ9"
NO_HTTP = [
    b"GET /api/v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer " + TOKEN + b"\r\n\r\n",
    b"GET /api/v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN + b"\0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Name: " + TOKEN * 1000 + b"\r\n\r\n",
    b"POST /route/main HTTP/1.1\r\nHost : " + TOKEN + b"\r\n\r\n",
]


@pytest.mark.parametrize("head", NO_HTTP, ids=lambda head: head[:60])
async def test_what_is_no_http_is_refused_in_our_words_and_never_repeated(
    main: Running, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    with structlog.testing.capture_logs() as told, caplog.at_level(logging.INFO):
        answers = [await raw(main, head, then_eof=False) for _ in range(20)]
    for answer in answers:
        fields, _, body = answer.partition(b"\r\n\r\n")
        assert fields.partition(b" ")[2].startswith(b"400 ")
        assert b"Server: crosspoint" in fields
        assert msgspec.json.decode(body)["data"]["code"] == "bad_http"
        assert TOKEN[:10] not in answer
    assert TOKEN.decode()[:10] not in f"{told}{caplog.text}"
    assert [(one["event"], one["log_level"], one["count"]) for one in told] == [
        ("requests_malformed", "info", 1)
    ]
    assert caplog.records == []


async def test_an_expectation_that_nobody_knows_is_refused_in_our_words(main: Running) -> None:
    head = (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: " + TOKEN + b"\r\nConnection: close\r\n\r\n"
    )
    fields, _, body = (await raw(main, head, then_eof=False)).partition(b"\r\n\r\n")
    assert fields.startswith(b"HTTP/1.1 417 ")
    assert b"Server: crosspoint" in fields
    assert msgspec.json.decode(body)["status"] == "error"
    assert TOKEN not in body


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/api/v1/agents", "/metrics"])
async def test_no_answer_names_the_versions_of_libraries(main: Running, path: str) -> None:
    async with main.session.get(main.url + path) as got:
        assert got.headers["Server"] == "crosspoint"
    async with main.session.get(f"{main.url}/route/main") as got:  # not answered by the fast way
        assert (got.status, got.headers["Server"]) == (405, "crosspoint")


async def test_a_gigabyte_is_refused_without_being_read(main: Running) -> None:
    host, port = main.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /route/main HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
    sent = 0

    async def pour() -> None:
        nonlocal sent
        while sent < 2**30:
            writer.write(b" " * 2**20)
            sent += 2**20
            await writer.drain()

    pouring = asyncio.create_task(pour())
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    writer.transport.abort()
    assert sent < 2**30
