"""The fixtures themselves: other tests lean on them."""

from collections.abc import Callable
from pathlib import Path

import redis

from tests.servers import Server


def test_redis_url_is_a_real_and_empty_server(redis_url: str):
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_url_is_empty_again_in_the_next_test(redis_url: str):
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_a_server_of_each_kind_starts_and_stops(
    server_kind: Path, new_server: Callable[..., Server]
):
    server = new_server(binary=server_kind)
    assert server.command("PING") == b"+PONG\r\n"
    server.stop()
    assert server.command("PING") == b""
