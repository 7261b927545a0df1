"""redis-py as we set it up: bounded, and nothing is ever repeated."""

import pytest

from router.deadline import in_s
from router.errors import (
    OutcomeUnknownError,
    RefusalKind,
    StoreDownError,
    StoreRefusedError,
)
from router.store.clients import Admin
from router.store.endpoints import parse_store_url
from tests.servers import Proxy, Server


async def test_a_paused_server_ends_in_our_error_by_the_deadline(server: Server):
    async with Admin(parse_store_url(server.url)) as admin:
        assert await admin.ask(lambda client: client.ping(), in_s(5))
        server.pause()
        with pytest.raises(StoreDownError):
            await admin.ask(lambda client: client.get("x"), in_s(0.05))
        with pytest.raises(OutcomeUnknownError):
            await admin.ask(lambda client: client.incr("x"), in_s(0.05), changes=True)
        server.resume()
        assert await admin.ask(lambda client: client.ping(), in_s(5))


async def test_a_lost_answer_is_not_asked_for_again(server: Server):
    async with Proxy(server.socket) as proxy, Admin(parse_store_url(proxy.url)) as admin:
        await admin.ask(lambda client: client.ping(), in_s(5))
        proxy.cut_after = 1
        with pytest.raises(OutcomeUnknownError):
            await admin.ask(lambda client: client.incr("x"), in_s(5), changes=True)
        proxy.cut_after = None
        assert await admin.ask(lambda client: client.get("x"), in_s(5)) == b"1"


async def test_an_error_reply_has_a_kind(redis_url: str):
    async with Admin(parse_store_url(redis_url)) as admin:
        await admin.ask(lambda client: client.set("x", "text"), in_s(5))
        with pytest.raises(StoreRefusedError) as refusal:
            await admin.ask(lambda client: client.lpush("x", "y"), in_s(5))
        assert refusal.value.kind is RefusalKind.WRONG_TYPE


async def test_no_server_is_our_error(server: Server):
    server.stop()
    async with Admin(parse_store_url(server.url)) as admin:
        with pytest.raises(StoreDownError):
            await admin.ask(lambda client: client.ping(), in_s(5))
