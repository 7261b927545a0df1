"""An Asterisk for the chaos, and one table of what was injected and what became of every call."""

import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from deploy.asterisk.instance import TREE, Instance, free_ports
from tests import tables
from tests.chaos.pbx.house import NUMBERS, Town
from tests.chaos.pbx.switchboard import Switchboard
from tests.integration.asterisk.conftest import MISSING
from tests.integration.asterisk.phones import move
from tests.integration.asterisk.whole_calls import end_calls, new_world
from tests.servers import Server

SILENT = "6010"
"""A phone whose silence is noticed after `SILENT_S` seconds, not after those of `pjsip.conf`."""
SILENT_S = 2
PHONES = dict.fromkeys((*NUMBERS, SILENT), 0)
"""Where they are in this test."""
RTP_PORTS = 590
"""Two a call: enough for 200 callers at once and their agents."""


@dataclasses.dataclass(kw_only=True)
class Fate:
    """What became of one call, or of `count` calls alike."""

    fault: str
    call: str
    became: str
    count: int = 1


TABLE = "what was injected, and what became of every call"


@pytest.fixture
def fates(request: pytest.FixtureRequest) -> Iterator[list[Fate]]:
    """Where a test writes down what became of its calls."""
    known: list[Fate] = []
    yield known
    for one in known:
        row = f"{one.fault:<44} {one.count:>4} x {one.call:<28} {one.became}"
        tables.write(request.node, TABLE, row)


@pytest.fixture(scope="session")
def shared_asterisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    if not (TREE / "packages").exists():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("chaos-asterisk")
    ports = free_ports(rtp_count=RTP_PORTS)
    with Instance(
        folder=folder, ports=ports, phones=dict.fromkeys(PHONES, 0), silent_s={SILENT: SILENT_S}
    ) as instance:
        yield instance


@pytest.fixture
def asterisk(shared_asterisk: Instance) -> Iterator[Instance]:
    """Running at the beginning, whatever the test before did; without channels at the end."""
    shared_asterisk.forget_controller()
    move(shared_asterisk, PHONES, PHONES)
    yield shared_asterisk
    end_calls(shared_asterisk)


@pytest.fixture
def town(asterisk: Instance) -> Town:
    new_world(asterisk)
    return Town(asterisk.sounds, asterisk.recordings)


@pytest.fixture
def phones_folder(tmp_path: Path) -> Path:
    return tmp_path / "phones"


@pytest.fixture
async def board(
    asterisk: Instance, new_server: Callable[..., Server], tmp_path: Path
) -> AsyncIterator[Switchboard]:
    async with Switchboard(asterisk, new_server().url, tmp_path / "board") as one:
        yield one
