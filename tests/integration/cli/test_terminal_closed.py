"""A terminal that is closed while Crosspoint runs in it: it ends in order; under `nohup` it stays."""

import contextlib
import os
import pty
import select
import signal
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.integration.cli.house import House
from tests.servers import free_port, wait_for

STARTS_S = 60.0
ENDS_S = 20.0


class Window:
    """`crosspoint up` in a terminal of its own."""

    def __init__(self, house: House, *before: str) -> None:
        command = [*before, sys.executable, "-m", "router", "up"]
        self._house = house
        self._code: int | None = None
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(house.folder)
            os.execvpe(command[0], command, house.env)
        self._is_shut = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for(self.answers, "the service to answer", STARTS_S)
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        self.store = [int(pid) for pid in listed.split()]

    def shut(self) -> None:
        self._is_shut.set()
        self._reader.join()
        os.close(self._terminal)

    def answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self._house.url}/readyz", timeout=1) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def code(self) -> int | None:
        """The exit code; None while it runs."""
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code

    def remove(self) -> None:
        if not self._is_shut.is_set():
            self.shut()
        if self.code() is None:
            os.kill(self.pid, signal.SIGTERM)
        wait_for(lambda: self.code() is not None, "the service to end", ENDS_S)

    def _read(self) -> None:
        while not self._is_shut.is_set():
            readable, _, _ = select.select([self._terminal], [], [], 0.05)
            with contextlib.suppress(OSError):  # nobody in there has it open any more
                if readable and not os.read(self._terminal, 65536):
                    return


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, free_port())


def test_with_its_terminal_it_ends_in_order(house: House) -> None:
    window = Window(house)
    try:
        assert window.store
        window.shut()
        wait_for(lambda: window.code() is not None, "the service to end", ENDS_S)
        assert window.code() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in window.store)
    finally:
        window.remove()


def test_under_nohup_it_stays(house: House) -> None:
    window = Window(house, "nohup")
    try:
        window.shut()
        os.kill(window.pid, signal.SIGHUP)  # the kernel's own goes to whoever leads the session
        assert window.answers()
        assert window.code() is None
    finally:
        window.remove()
    assert window.code() == 0
