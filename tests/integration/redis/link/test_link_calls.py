"""What a caller of the link can rely on, with a healthy server."""

import asyncio
import time
from pathlib import Path

import pytest

from router.deadline import in_s
from router.errors import OutcomeUnknownError, RefusalKind, StoreDownError, StoreRefusedError
from router.store.link import RedisLink
from router.store.scripts import load_script, make_script, run_script
from router.store.wire import MAX_UNSENT_BYTES
from tests.servers import OpenLink, Server, until

SLEEP = "local t = redis.call('TIME'); local e = t[1] * 1e6 + t[2] + ARGV[1] * 1e3; repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] >= e; return ARGV[2]"
WITHIN = """
local t = redis.call('TIME')
if t[1] * 1000 + t[2] / 1000 > tonumber(ARGV[1]) then return 'EXPIRED' end
return redis.call('INCR', KEYS[1])
"""


async def test_replies_come_in_the_order_of_the_calls(link: RedisLink):
    calls = [link.call("ECHO", str(n), deadline=in_s(5)) for n in range(2000)]
    assert await asyncio.gather(*calls) == [str(n).encode() for n in range(2000)]


async def test_calls_of_one_turn_go_out_together(link: RedisLink):
    async def processed() -> int:
        info = await link.call("INFO", "stats", deadline=in_s(5))
        assert isinstance(info, bytes)
        fields = dict(line.split(b":") for line in info.splitlines() if b":" in line)
        return int(fields[b"total_reads_processed"])

    before = await processed()
    await asyncio.gather(*(link.call("INCR", "n", deadline=in_s(5)) for _ in range(500)))
    assert await processed() - before < 20


async def test_every_kind_of_reply_arrives_as_it_is(link: RedisLink):
    script = "return {1, 'two', false, {'deep', {3}}, '\\0\\r\\n\\255'}"
    reply = await link.call("EVAL", script, 0, deadline=in_s(5))
    assert reply == [1, b"two", None, [b"deep", [3]], b"\x00\r\n\xff"]


async def test_arguments_are_bytes_text_and_numbers(link: RedisLink):
    reply = await link.call(
        "EVAL", "return ARGV", 0, b"\xff\r\n", "ü", 7, 1.5, "", deadline=in_s(5)
    )
    assert reply == [b"\xff\r\n", "ü".encode(), b"7", b"1.5", b""]


@pytest.mark.parametrize("size", [0, 1, 65_535, 3_000_000])
async def test_big_values_pass_both_ways_among_small_ones(link: RedisLink, size: int):
    value = b"v" * size
    link.call("SET", "big", value, deadline=in_s(10))
    before, big, after = await asyncio.gather(
        link.call("ECHO", "before", deadline=in_s(10)),
        link.call("GET", "big", deadline=in_s(10)),
        link.call("ECHO", "after", deadline=in_s(10)),
    )
    assert (before, big, after) == (b"before", value, b"after")


async def test_a_command_that_is_too_big_is_refused_and_nothing_else_suffers(link: RedisLink):
    with pytest.raises(StoreDownError, match="too much"):
        await link.call("SET", "big", b"v" * (MAX_UNSENT_BYTES + 1), deadline=in_s(5))
    assert await link.call("PING", deadline=in_s(5)) == b"PONG"


async def test_an_error_reply_belongs_to_its_call_alone(link: RedisLink):
    await link.call("SET", "text", "x", deadline=in_s(5))
    wrong = link.call("LPUSH", "text", "x", deadline=in_s(5))
    right = link.call("GET", "text", deadline=in_s(5))
    with pytest.raises(StoreRefusedError) as refusal:
        await wrong
    assert refusal.value.kind is RefusalKind.WRONG_TYPE
    assert await right == b"x"


async def test_an_error_never_repeats_what_was_sent(link: RedisLink):
    with pytest.raises(StoreRefusedError) as refusal:
        await link.call("NOSUCHCOMMAND", "+12125550142", deadline=in_s(5))
    assert "2125550142" not in str(refusal.value)


async def test_a_deadline_that_has_passed_sends_nothing(link: RedisLink):
    with pytest.raises(StoreDownError, match="deadline had passed"):
        await link.call("SET", "x", "1", deadline=in_s(-0.001))
    assert await link.call("EXISTS", "x", deadline=in_s(5)) == 0


async def test_a_call_that_expires_leaves_its_neighbours_their_replies(link: RedisLink):
    slow = link.call("EVAL", SLEEP, 0, 40, "slow", deadline=in_s(0.015))
    neighbour = link.call("ECHO", "neighbour", deadline=in_s(5))
    with pytest.raises(OutcomeUnknownError):
        await slow
    assert await neighbour == b"neighbour"
    assert link.stats.expired == 1


async def test_a_late_reply_is_handed_to_the_hook(link: RedisLink):
    late: list[object] = []
    slow = link.call("EVAL", SLEEP, 0, 30, "token", deadline=in_s(0.01), on_late=late.append)
    with pytest.raises(OutcomeUnknownError):
        await slow
    await until(lambda: late, "the late reply")
    assert late == [b"token"]
    assert link.stats.late == 1


async def test_the_reply_of_a_cancelled_call_is_late_too(link: RedisLink):
    late: list[object] = []
    call = link.call("ECHO", "token", deadline=in_s(5), on_late=late.append)
    call.cancel()
    await until(lambda: late, "the late reply")
    assert late == [b"token"]


async def test_a_hook_that_fails_does_not_hurt_the_link(link: RedisLink):
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    def fail(_: object) -> None:
        raise ZeroDivisionError

    link.call("ECHO", "x", deadline=in_s(5), on_late=fail).cancel()
    assert await link.call("PING", deadline=in_s(5)) == b"PONG"
    await until(lambda: seen, "the loop to report it")


async def test_a_short_deadline_of_one_caller_does_not_close_the_link_for_all(link: RedisLink):
    hasty = [link.call("ECHO", str(n), deadline=in_s(0.00001)) for n in range(50)]
    await asyncio.gather(*hasty, return_exceptions=True)
    assert link.is_open


async def test_a_blocked_loop_reads_the_answers_before_it_expires_calls(link: RedisLink):
    calls = [link.call("ECHO", str(n), deadline=in_s(0.05)) for n in range(10)]
    asyncio.get_running_loop().call_later(0.001, time.sleep, 0.2)
    assert await asyncio.gather(*calls) == [str(n).encode() for n in range(10)]
    assert link.is_open
    assert link.stats.expired == 0


async def test_a_deadline_on_redis_clock_is_never_later_than_the_real_one(
    server: Server, open_link: OpenLink
):
    async with open_link(server.url) as link:
        loop = asyncio.get_running_loop()
        for _ in range(50):
            deadline = in_s(0)
            sent = loop.time()
            reply = await link.call("TIME", deadline=in_s(5))
            seconds, micros = map(int, reply)
            now_ms = seconds * 1000 + micros / 1000  # read on Redis between `sent` and now
            round_trip_ms = (loop.time() - sent) * 1000
            told = link.redis_deadline_ms(deadline)
            assert told <= now_ms
            assert told > now_ms - round_trip_ms - 50


async def test_a_script_refuses_by_redis_own_clock(link: RedisLink):
    script = make_script("within", WITHIN)
    past = link.redis_deadline_ms(in_s(-0.1))
    assert await run_script(link, script, ["n"], [past], in_s(5)) == b"EXPIRED"
    soon = link.redis_deadline_ms(in_s(2))
    assert await run_script(link, script, ["n"], [soon], in_s(5)) == 1


async def test_a_script_is_sent_again_after_a_flush_and_runs_once(link: RedisLink):
    script = make_script("incr", "return redis.call('INCR', KEYS[1])")
    assert await run_script(link, script, ["n"], [], in_s(5)) == 1
    await link.call("SCRIPT", "FLUSH", deadline=in_s(5))
    assert await run_script(link, script, ["n"], [], in_s(5)) == 2
    assert await link.call("EVALSHA", script.sha, 1, "n", deadline=in_s(5)) == 3


async def test_many_who_find_a_script_missing_have_it_sent_once(link: RedisLink):
    script = make_script("large", f"return redis.call('INCR', KEYS[1]) -- {'x' * 30_000}")
    await link.call("SCRIPT", "FLUSH", deadline=in_s(5))
    await link.call("CONFIG", "RESETSTAT", deadline=in_s(5))
    runs = [run_script(link, script, ["n"], [], in_s(5)) for _ in range(500)]
    assert sorted(await asyncio.gather(*runs)) == list(range(1, 501))
    stats = str(await link.call("INFO", "commandstats", deadline=in_s(5)))
    assert "cmdstat_script|load:calls=1," in stats
    assert "cmdstat_eval:" not in stats


async def test_scripts_flushed_under_load_are_no_error(link: RedisLink):
    script = make_script("incr2", "return redis.call('INCR', KEYS[1])")
    runs = []
    for n in range(200):
        if n % 20 == 0:
            link.call("SCRIPT", "FLUSH", deadline=in_s(5))
        runs.append(run_script(link, script, ["n"], [], in_s(5)))
    assert sorted(await asyncio.gather(*runs)) == list(range(1, 201))


SHIPPED = sorted(
    path.stem
    for path in (Path(__file__).parents[4] / "router/store/lua").glob("*.lua")
    if path.stem != "_common"
)


@pytest.mark.parametrize("name", SHIPPED)
async def test_every_shipped_script_compiles_and_has_the_servers_digest(link: RedisLink, name: str):
    script = load_script(name)
    loaded = await link.call("SCRIPT", "LOAD", script.source, deadline=in_s(5))
    assert loaded == script.sha.encode()


async def test_an_error_in_a_script_is_not_repeated(link: RedisLink):
    script = make_script("bad", "redis.call('INCR', KEYS[1]) return nil + 1")
    with pytest.raises(StoreRefusedError) as refusal:
        await run_script(link, script, ["n"], [], in_s(5))
    assert refusal.value.kind is RefusalKind.OTHER
    assert await link.call("GET", "n", deadline=in_s(5)) == b"1"


async def test_a_full_server_refuses_writes_and_still_reads(server: Server, open_link: OpenLink):
    script = make_script("set", "return redis.call('SET', KEYS[1], 'x')")
    async with open_link(server.url) as link:
        await link.call("SET", "x", "1", deadline=in_s(5))
        await link.call("CONFIG", "SET", "maxmemory", "1", deadline=in_s(5))
        for write in (
            link.call("SET", "y", "1", deadline=in_s(5)),
            run_script(link, script, ["y"], [], in_s(5)),
        ):
            with pytest.raises(StoreRefusedError) as refusal:
                await write
            assert refusal.value.kind is RefusalKind.OUT_OF_MEMORY
        assert await link.call("GET", "x", deadline=in_s(5)) == b"1"
        await link.call("CONFIG", "SET", "maxmemory", "0", deadline=in_s(5))
        assert await run_script(link, script, ["y"], [], in_s(5)) == b"OK"


async def test_closing_waits_for_the_replies_that_are_due(redis_url: str, open_link: OpenLink):
    async with open_link(redis_url) as link:
        due = link.call("EVAL", SLEEP, 0, 50, "done", deadline=in_s(5))
        await link.close()
        assert due.done()
        assert due.result() == b"done"
        with pytest.raises(StoreDownError, match="closed"):
            await link.call("PING", deadline=in_s(5))
