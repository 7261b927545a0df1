"""Who shares a port with whom: workers and processes of one store, and nobody with a store of its own."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.errors import InvalidInputError
from router.processes import port as ports
from router.processes.port import alone_on, hold_port
from tests.servers import free_port

HOLDS = """
import asyncio, sys
from router.processes.port import alone_on
async def main():
    async with alone_on("127.0.0.1", int(sys.argv[1])):
        print("alone", flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "PREDECESSOR_S", 0.0)


@pytest.fixture
def port() -> int:
    return free_port()


@contextlib.contextmanager
def listening(port: int, host: str = "127.0.0.1", *, is_shared: bool = True) -> Iterator[None]:
    with hold_port(host, port, is_shared=is_shared) as sock:
        sock.listen(8)
        yield


async def refuses(host: str, port: int) -> None:
    with pytest.raises(InvalidInputError, match="in use"):
        async with alone_on(host, port):
            pass


@pytest.fixture
def other(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that is alone on the port, and does not listen."""
    command = [sys.executable, "-c", HOLDS, str(port)]
    root = str(Path(__file__).parents[3])
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"alone\n"
        yield process
        process.kill()


@pytest.mark.parametrize("is_shared", [True, False])
async def test_a_port_where_somebody_listens_is_refused(port: int, is_shared: bool) -> None:
    with listening(port, is_shared=is_shared):
        for host in ("127.0.0.1", "0.0.0.0", "localhost"):
            await refuses(host, port)
    async with alone_on("127.0.0.1", port):
        pass


async def test_of_two_who_begin_at_once_and_do_not_listen_yet_one_is_refused(
    port: int, other: "subprocess.Popen[bytes]"
) -> None:
    await refuses("127.0.0.1", port)
    async with alone_on("127.0.0.1", free_port()):  # another one is not
        pass
    other.kill()
    await asyncio.to_thread(other.wait)
    async with alone_on("127.0.0.1", port):
        pass


async def test_workers_of_one_who_is_alone_share_its_port(port: int) -> None:
    async with alone_on("127.0.0.1", port):
        with hold_port("127.0.0.1", port), listening(port), listening(port):
            pass


async def test_one_alone_begins_again_at_once_though_old_connections_linger(port: int) -> None:
    async with alone_on("127.0.0.1", port):
        with hold_port("127.0.0.1", port, is_shared=False) as sock:
            sock.listen(8)
            with socket.create_connection(("127.0.0.1", port)) as client:
                sock.setblocking(True)
                server_side, _ = sock.accept()
                server_side.close()  # the server closes first: TIME_WAIT stays with the port
                assert client.recv(1) == b""
    async with alone_on("127.0.0.1", port):
        with listening(port, is_shared=False):
            pass


async def test_one_that_is_ending_is_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "PREDECESSOR_S", 10.0)
    with contextlib.ExitStack() as old:
        old.enter_context(listening(port))
        asyncio.get_running_loop().call_later(0.1, old.close)
        async with alone_on("127.0.0.1", port):
            pass


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6 on this machine")
async def test_all_addresses_of_both_kinds_are_one_port(port: int) -> None:
    with listening(port):
        await refuses("::", port)


async def test_any_free_port_is_nobody_elses() -> None:
    async with alone_on("127.0.0.1", 0), alone_on("127.0.0.1", 0):
        pass


def test_an_address_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(InvalidInputError, match=r"nosuchhost\.invalid"):
        hold_port("nosuchhost.invalid", 0)
