"""Stock panoramisk 1.4 does what `pbx/ami/connection.py` says it does: without each mend, this is what would happen.

When one of these fails after an update, the mend of that number may go.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from panoramisk import Manager

from tests.unit.pbx_ami.fake_ami import SECRET, FakeAmi, soon, wire

Stock = Callable[..., Awaitable[Any]]


@pytest.fixture
async def stock(server: FakeAmi) -> AsyncIterator[Stock]:
    managers: list[Any] = []

    async def start(*, secret: str = SECRET, reconnect_s: float = 0.02) -> Any:
        manager = Manager(port=server.port, username="crosspoint", secret=secret)
        manager.loop = asyncio.get_running_loop()
        manager.reconnect_timeout = reconnect_s
        managers.append(manager)
        await manager.connect()
        await server.until(lambda: server.count("Login") >= 1)
        while manager.authenticated_future is not None:
            await asyncio.sleep(0)
        return manager

    yield start
    for manager in managers:
        manager.connect = lambda: None  # it would connect again for ever
        manager.connection_lost = lambda _: None
        manager.close()


def test_only_the_connection_knows_panoramisk():
    top = Path(__file__).parents[3]
    sources = [
        one for folder in ("router", "pbx", "ivr", "rules") for one in (top / folder).rglob("*.py")
    ]
    users = [
        str(one.relative_to(top))
        for one in sources
        if "import panoramisk" in (text := one.read_text()) or "from panoramisk" in text
    ]
    assert users == ["pbx/ami/connection.py"]


async def hangs(future: Awaitable[object]) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(soon(0.1)):
            await future
        return False
    return True


async def test_fault_1_the_result_of_an_agi_command_never_comes(stock: Stock, server: FakeAmi):
    queued = "Response: Success\nActionID: @ID\nMessage: Added AGI command to queue"
    server.answers["AGI"] = lambda _: queued
    manager = await stock()
    future = manager.send_agi_command("A", "NOOP")
    await server.until(lambda: server.count("AGI") == 1)
    command_id = server.seen[-1]["commandid"]
    server.say(
        f"Event: AsyncAGIExec\nChannel: A\nCommandId: {command_id}\nResult: 200%20result%3D0%0A",
        "Event: AsyncAGIEnd\nChannel: A",
    )
    await manager.send_action({"Action": "Ping"})
    assert await hangs(asyncio.shield(future))


async def test_fault_2_a_line_break_starts_another_action(stock: Stock, server: FakeAmi):
    manager = await stock()
    manager.send_action(
        {"Action": "Setvar", "Value": "x\r\n\r\nAction: Originate\r\nChannel: evil"}
    )
    await server.until(lambda: server.count("Originate") == 1)


async def test_fault_3_a_callback_that_raises_drops_the_connection(stock: Stock, server: FakeAmi):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    manager = await stock()

    def explode(*_: object) -> None:
        raise ZeroDivisionError

    manager.register_event("Hangup", explode)
    server.say("Event: Hangup\nChannel: A")
    await server.until(lambda: server.logins == 2)


async def test_fault_4_an_unanswered_originate_is_repeated(stock: Stock, server: FakeAmi):
    server.answers["Originate"] = lambda _: None
    manager = await stock()
    manager.send_action({"Action": "Originate", "Channel": "PJSIP/6001"})
    await server.until(lambda: server.count("Originate") == 1)
    server.cut()
    await server.until(lambda: server.count("Originate") == 2)


async def test_fault_4_a_list_that_was_begun_hangs_after_a_break(stock: Stock, server: FakeAmi):
    begun = "Response: Success\nActionID: @ID\nEventList: start\nMessage: will follow"
    server.answers["CoreShowChannels"] = lambda _: begun
    manager = await stock()
    future = manager.send_action({"Action": "CoreShowChannels"})
    await manager.send_action({"Action": "Ping"})
    server.cut()
    await server.until(lambda: server.logins == 2)
    assert await hangs(asyncio.shield(future))


async def test_fault_5_a_silent_peer_is_never_left(stock: Stock, server: FakeAmi):
    server.answers["Ping"] = lambda _: None
    manager = await stock()
    manager.pinger.cancel()
    manager.ping_interval = 0.01
    manager.ping()
    await server.until(lambda: server.count("Ping") >= 10)
    assert server.connects == 1
    assert len(manager.protocol.responses) >= 10


async def test_fault_6_a_wrong_password_is_tried_again_and_again(stock: Stock, server: FakeAmi):
    manager = await stock(secret="wrong")
    await server.until(lambda: server.count("Login") >= 3)
    assert manager.authenticated is False


async def test_fault_7_a_closed_manager_connects_again(stock: Stock, server: FakeAmi):
    manager = await stock()
    lost = asyncio.Event()
    manager.on_disconnect = lambda *_: lost.set()
    server.cut()
    async with asyncio.timeout(5):
        await lost.wait()
    manager.close()
    await server.until(lambda: server.logins == 2)


async def test_fault_8_a_character_in_two_reads_is_lost(stock: Stock):
    manager = await stock()
    names: list[str] = []
    manager.register_event("Newchannel", lambda _, event: names.append(event.calleridname))
    data = wire("Event: Newchannel\nCallerIDName: Müller")
    middle = data.index("ü".encode()) + 1
    manager.protocol.encoding = "utf8"
    manager.protocol.data_received(data[:middle])
    manager.protocol.data_received(data[middle:])
    assert names == ["Mller"]


async def test_fault_9_a_list_that_is_refused_hangs(stock: Stock, server: FakeAmi):
    server.answers["CoreShowChannels"] = lambda _: "Response: Error\nActionID: @ID\nMessage: no"
    manager = await stock()
    future = manager.send_action({"Action": "CoreShowChannels"}, as_list=True)
    await manager.send_action({"Action": "Ping"})
    assert await hangs(asyncio.shield(future))


async def test_fault_10_what_is_not_answered_is_kept_without_a_limit(stock: Stock, server: FakeAmi):
    server.answers["Hangup"] = lambda _: None
    manager = await stock()
    for _ in range(6_000):
        manager.send_action({"Action": "Hangup", "Channel": "A"})
    assert len(manager.protocol.responses) >= 6_000
