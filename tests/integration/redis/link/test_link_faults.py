"""What a caller of the link can rely on when the server stalls, dies, is slow or lies."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import router.store.link
import router.store.wire
from router.deadline import in_s
from router.errors import CrosspointError, OutcomeUnknownError, StoreDownError
from router.store.endpoints import parse_store_url, resolver
from router.store.link import RedisLink
from router.store.wire import MAX_IN_FLIGHT, MAX_UNSENT_BYTES, Wire
from tests.servers import OpenLink, Proxy, Server, until

BUDGET_S = 0.05
WITHIN = """
local t = redis.call('TIME')
if t[1] * 1000 + t[2] / 1000 > tonumber(ARGV[1]) then return 'EXPIRED' end
return redis.call('INCR', KEYS[1])
"""


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.socket) as running:
        yield running


@pytest.fixture
async def far_link(proxy: Proxy) -> AsyncIterator[RedisLink]:
    """A link through the proxy."""
    async with RedisLink(resolver(parse_store_url(proxy.url))) as link:
        await link.wait_open(in_s(5))
        yield link


async def echo(link: RedisLink, text: str, budget_s: float = BUDGET_S) -> str:
    """What became of the call: right, crossed, unknown, down."""
    try:
        reply = await link.call("ECHO", text, deadline=in_s(budget_s))
    except OutcomeUnknownError:
        return "unknown"
    except StoreDownError:
        return "down"
    return "right" if reply == text.encode() else "crossed"


async def test_a_paused_server_is_refused_at_once_and_resumes_on_the_same_connection(
    server: Server, open_link: OpenLink
):
    async with open_link(server.url) as link:
        server.pause()
        first = await asyncio.gather(*(echo(link, f"first {n}") for n in range(20)))
        assert set(first) == {"unknown"}
        assert not link.is_open
        refused = [link.call("PING", deadline=in_s(BUDGET_S)) for _ in range(100)]
        assert all(isinstance(call.exception(), StoreDownError) for call in refused)
        server.resume()
        await until(lambda: link.is_open, "the link to open")
        after = await asyncio.gather(*(echo(link, f"after {n}", 5) for n in range(50)))
        assert set(after) == {"right"}
        assert link.stats.connects == 1


async def test_a_server_that_wakes_up_does_nothing_for_callers_who_have_left(
    server: Server, open_link: OpenLink
):
    async with open_link(server.url) as link:
        server.pause()
        calls = []
        for _ in range(20):
            deadline = in_s(BUDGET_S)
            told = link.redis_deadline_ms(deadline)
            calls.append(link.call("EVAL", WITHIN, 1, "ghosts", told, deadline=deadline))
        await asyncio.gather(*calls, return_exceptions=True)
        server.resume()
        await until(lambda: link.is_open and link.stats.late >= 20, "the late replies")
        assert await link.call("GET", "ghosts", deadline=in_s(5)) is None


async def test_a_long_stall_ends_in_a_new_connection(
    server: Server, open_link: OpenLink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(router.store.wire, "KEEP_STALLED_S", 0.1)
    async with open_link(server.url) as link:
        server.pause()
        assert await echo(link, "x") == "unknown"
        await until(lambda: link.stats.last_error is not None, "the connection to be dropped")
        assert "did not answer" in str(link.stats.last_error)
        server.resume()
        await until(lambda: link.is_open, "the link to open")
        assert await echo(link, "again", 5) == "right"
        assert link.stats.connects == 2


async def test_a_killed_server_is_refused_at_once_and_found_again_after_its_restart(
    server: Server, open_link: OpenLink
):
    async with open_link(server.url) as link:
        server.pause()  # so that a call is in flight when it dies
        in_flight = link.call("PING", deadline=in_s(30))
        await until(lambda: link.stats.in_flight == 1, "the call to be in flight")
        await asyncio.sleep(0)
        server.kill()
        with pytest.raises(OutcomeUnknownError):
            await in_flight
        assert not link.is_open
        with pytest.raises(StoreDownError):
            link.call("PING", deadline=in_s(BUDGET_S)).result()
        server.start()
        await until(lambda: link.is_open, "the link to open")
        assert await echo(link, "again", 5) == "right"


async def test_a_call_that_was_not_written_yet_is_known_not_to_have_happened(
    server: Server, open_link: OpenLink
):
    async with open_link(server.url) as link:
        call = link.call("SET", "x", "1", deadline=in_s(5))
        assert link._wire is not None
        link._wire.connection_lost(None)  # in the same turn of the loop, before the write
        with pytest.raises(StoreDownError):
            await call


async def test_a_connection_reset_in_the_middle_of_a_reply_crosses_nothing(
    proxy: Proxy, far_link: RedisLink
):
    await far_link.call("SET", "big", b"v" * 100_000, deadline=in_s(5))
    proxy.cut_after = 1000
    broken = far_link.call("GET", "big", deadline=in_s(5))
    behind = far_link.call("ECHO", "behind", deadline=in_s(5))
    for call in (broken, behind):
        with pytest.raises(OutcomeUnknownError):
            await call
    await until(lambda: far_link.is_open, "the link to open")
    assert await far_link.call("GET", "big", deadline=in_s(5)) == b"v" * 100_000
    assert await echo(far_link, "after", 5) == "right"


async def test_a_slow_network_expires_calls_and_crosses_nothing(proxy: Proxy, far_link: RedisLink):
    proxy.delay_s = 0.08
    seen = [await echo(far_link, f"slow {n}", 0.02) for n in range(20)]
    assert set(seen) <= {"unknown", "down"}
    proxy.delay_s = 0.0
    await until(lambda: far_link.is_open and far_link.stats.in_flight == 0, "the backlog to end")
    assert {await echo(far_link, f"fast {n}", 5) for n in range(20)} == {"right"}
    assert far_link.stats.connects == 1


async def test_a_connection_that_went_silent_is_noticed_without_any_caller(
    proxy: Proxy, far_link: RedisLink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(router.store.wire, "KEEP_STALLED_S", 0.1)
    proxy.silent = True
    await until(lambda: not far_link.is_open, "the heartbeat to miss its answer")
    proxy.silent = False
    await until(lambda: far_link.stats.connects == 2 and far_link.is_open, "a new connection")
    assert await echo(far_link, "again", 5) == "right"


async def test_buffers_stay_bounded_before_a_stalled_server(server: Server, open_link: OpenLink):
    value = b"v" * 10_000
    async with open_link(server.url) as link:
        server.pause()
        accepted = []
        for _ in range(3 * MAX_IN_FLIGHT):
            call = link.call("SET", "x", value, deadline=in_s(60))
            if not call.done():
                accepted.append(call)
            if len(accepted) % 16 == 0:
                await asyncio.sleep(0)
        assert len(accepted) * len(value) < 2 * MAX_UNSENT_BYTES
        small = [link.call("PING", deadline=in_s(60)) for _ in range(2 * MAX_IN_FLIGHT)]
        assert link.stats.in_flight <= MAX_IN_FLIGHT
        assert any(call.done() for call in small)
        server.resume()
        assert set(await asyncio.gather(*accepted)) == {b"OK"}


async def test_what_does_not_speak_redis_is_said_so():
    async def http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    web = await asyncio.start_server(http, "127.0.0.1", 0)
    port = web.sockets[0].getsockname()[1]
    async with RedisLink(resolver(parse_store_url(f"redis://127.0.0.1:{port}"))) as link:
        with pytest.raises(StoreDownError, match=r"lost|protocol|closed"):
            await link.wait_open(in_s(0.3))
    web.close()


async def test_a_reply_that_nobody_asked_for_drops_the_connection(
    server: Server, open_link: OpenLink
):
    async with open_link(server.url) as link:
        assert link._wire is not None
        link._wire.data_received(b"+SURPRISE\r\n")
        await until(lambda: link.stats.connects == 2, "a new connection")
        assert await echo(link, "after", 5) == "right"


async def test_no_server_at_all_is_said_so(tmp_path: Path):
    async with RedisLink(resolver(parse_store_url(f"unix://{tmp_path}/none"))) as link:
        with pytest.raises(StoreDownError, match="No such file"):
            await link.wait_open(in_s(0.2))
        with pytest.raises(StoreDownError, match="No such file"):
            await link.call("PING", deadline=in_s(1))


async def test_a_host_name_that_cannot_be_one_does_not_end_the_link():
    async with RedisLink(resolver(parse_store_url(f"redis://{'x' * 70}.example"))) as link:
        for _ in range(2):
            with pytest.raises(StoreDownError, match="cannot connect"):
                await link.wait_open(in_s(0.1))
        assert link._task is not None
        assert not link._task.done()


async def crossed_replies(link: RedisLink) -> tuple[int, int]:
    """Cancel calls at random moments; how many replies were right, how many another caller's."""
    chance = random.Random(7)
    right = crossed = 0

    async def caller(name: int) -> None:
        nonlocal right, crossed
        for n in range(60):
            text = f"{name}:{n}"
            try:
                async with asyncio.timeout(chance.uniform(0, 0.004)):
                    reply = await link.call("ECHO", text, deadline=in_s(chance.uniform(0.0005, 1)))
            except (TimeoutError, CrosspointError):
                continue
            right += reply == text.encode()
            crossed += reply != text.encode()

    await asyncio.gather(*(caller(name) for name in range(48)))
    return right, crossed


async def test_random_cancelling_crosses_no_replies(server: Server, open_link: OpenLink):
    async with open_link(server.url) as link:
        right, crossed = await crossed_replies(link)
        assert crossed == 0
        assert right > 100
        assert link.stats.late > 0  # it did happen that a reply came for nobody
        assert link.stats.connects == 1


class ForgetfulWire(Wire):
    """Broken on purpose: drops the dead from the line, so that their replies reach the living."""

    def _resolve_head(self, reply: object) -> None:
        while self._line and self._line[0][0].done():
            self._line.popleft()
        super()._resolve_head(reply)


async def test_a_link_without_tombstones_would_be_caught(
    server: Server, open_link: OpenLink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(router.store.link, "Wire", ForgetfulWire)
    async with open_link(server.url) as link:
        _, crossed = await crossed_replies(link)
        assert crossed > 0
