"""What an operator is told when something is wrong: real processes, embedded stores."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli.house import House
from tests.servers import free_port

MakeHouse = Callable[..., House]


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[MakeHouse]:
    made: list[House] = []

    def make(port: int | None = None) -> House:
        made.append(House(tmp_path / f"house{len(made)}", port or free_port()))
        return made[-1]

    yield make
    for house in made:
        house.down()


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    return make_house()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_houses_do_not_share_a_port(make_house: MakeHouse, workers: str) -> None:
    first = make_house()
    first.env["CROSSPOINT_HTTP__WORKERS"] = workers
    first.up()
    second = make_house(int(first.url.rpartition(":")[2]))
    said = second.run("up", code=2)
    assert "cannot listen" in said
    assert "in use" in said
    first.down()
    second.up()  # at once: what is left of the first one's connections is in nobody's way


def test_a_signed_router_without_its_secret_is_told_at_the_start_and_in_the_list(
    house: House,
) -> None:
    house.change("rules: main,", "rules: main, secret: {env: NOT_SET},")
    banner = house.up()
    assert "WRONG: the environment variable NOT_SET is not set" in banner
    assert "signed, NO SECRET here" in house.run("routers", "list")
    assert "NOT_SET is not set" in house.run("routers", "list", "--json")
    assert "router_secret_missing" in house.log.read_text()
    house.env["NOT_SET"] = "s" * 40
    assert "signed" in house.run("routers", "list")
    assert "NO SECRET" not in house.run("routers", "list")
