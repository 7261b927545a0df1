"""What an operator is told when something is wrong: real processes, embedded stores."""

import json
import shutil
import stat
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from router.site.resources import Kind
from router.store import keys
from router.store.embedded import socket_path
from tests.integration.cli.house import House
from tests.servers import free_port, wait_for

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


def degraded(house: House) -> list[str]:
    with urllib.request.urlopen(f"{house.url}/readyz", timeout=5) as answer:
        return list(json.load(answer)["data"]["degraded"])


def metrics(house: House) -> str:
    with urllib.request.urlopen(f"{house.url}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_site_of_the_wrong_tenant_is_told_writes_nothing_and_leaves_the_commands_as_they_were(
    house: House, workers: str
) -> None:
    house.env["CROSSPOINT_HTTP__WORKERS"] = workers
    house.run("apply")
    house.change("tenant: acme", "tenant: corp")
    assert "WRONG: the site was not applied: the router id main is in use" in house.up()
    (line,) = house.logged("site_not_applied")
    assert "router id main is in use by another tenant; acme has it" in str(line["problem"])
    assert degraded(house) == ["site"]
    assert "service's site: not applied" in house.run("doctor", code=1)
    assert "acme has it" in house.run("apply", code=2)
    assert "acme has it" in house.run("apply", "--dry-run", code=2)
    assert "ada" in house.run("agents", "list")
    house.change("tenant: corp", "tenant: acme")
    house.change("id: ada, name: Ada", "id: ada, name: Ada L.")
    house.run("apply")
    assert "Ada L." in house.run("agents", "list")
    assert degraded(house) == ["site"]  # that of the settings at its start is still not there


def test_the_controller_beside_several_workers_keeps_its_metrics_to_itself(house: House) -> None:
    """Its values would outlive it in the workers' folder."""
    house.env["CROSSPOINT_HTTP__WORKERS"] = "2"
    with (house.folder / "crosspoint.yaml").open("a") as settings:
        settings.write(f"pbx: {{tenant: acme, port: {free_port()}}}\n")
    (house.folder / "data/secrets").mkdir(parents=True)
    (house.folder / "data/secrets/ami").write_text("a" * 40)
    house.up()

    def is_in_charge() -> bool:
        with urllib.request.urlopen(f"{house.url}/readyz", timeout=5) as answer:
            parts = json.load(answer)["data"]["parts"]
        return any(part.get("detail") == "Asterisk is away" for part in parts)

    wait_for(is_in_charge, "the controller to be in charge")
    files = list((house.folder / "data/metrics").rglob("*.db"))
    assert {file.stem.rpartition("_")[2] for file in files} == {"0", "1"}


def test_a_tenant_that_only_the_last_store_had_is_told_and_forgotten_on_demand(
    house: House,
) -> None:
    house.up()
    wait_for((house.folder / "data/directory.json").exists, "the picture to be kept")
    house.down()
    shutil.rmtree(house.folder / "data/store")  # another store
    house.change("tenant: acme", "tenant: corp")
    house.change("id: main", "id: front")
    house.up()
    wait_for(lambda: degraded(house) == ["directory"], "the tenant to be missed")
    said = house.run("doctor", code=1)
    assert "tenant acme" in said
    assert "crosspoint tenants forget acme" in said
    assert "LOST" in house.run("tenants", "list")
    assert "remove those first" in house.run("tenants", "forget", "corp", code=2)
    assert "there is no tenant acne" in house.run("tenants", "forget", "acne", code=2)
    house.run("tenants", "forget", "acme")
    wait_for(lambda: degraded(house) == [], "the tenant to be forgotten")
    assert "crosspoint tenants forget" not in house.run("doctor", code=0)
    assert [
        (one["tenant"], one["is_lost"])
        for one in json.loads(house.run("tenants", "list", "--json"))
    ] == [
        ("acme", False),
        ("corp", False),
    ]


def test_a_site_that_was_not_applied_is_well_once_somebody_has(house: House) -> None:
    house.run("apply")
    second = house.folder / "other.yaml"
    second.write_text("version: 1\ntenant: acme\nagents: [{id: bob, name: Bob, user_id: '5'}]\n")
    house.run("apply", "other.yaml")
    house.change("name: Ada,", "name: Ada, user_id: '5',")
    house.up()
    assert degraded(house) == ["site"]
    second.write_text("version: 1\ntenant: acme\nagents: [{id: bob, name: Bob}]\n")
    house.run("apply", "other.yaml")
    house.run("apply")
    wait_for(lambda: degraded(house) == [], "the site to be there")


def test_the_tenant_of_the_site_is_meant_where_there_are_several(house: House) -> None:
    house.run("apply")
    other = house.folder / "other.yaml"
    other.write_text("version: 1\ntenant: corp\nagents: [{id: bob, name: Bob}]\n")
    house.run("apply", "other.yaml")
    assert "ada" in house.run("agents", "list")
    assert "bob" in house.run("agents", "list", "--tenant", "corp")
    assert "there is no tenant nope: acme, corp" in house.run(
        "agents", "list", "--tenant", "nope", code=2
    )
    house.change("site: site.yaml", "", "crosspoint.yaml")
    assert "say which tenant with --tenant: acme, corp" in house.run("agents", "list", code=2)
    other.write_text("version: 1\ntenant: corp\n")
    house.run("apply", "other.yaml", "--prune")
    assert "ada" in house.run("agents", "list")  # who has nothing any more is not meant


def test_the_doctor_tells_what_the_service_says_and_what_is_in_the_store(house: House) -> None:
    house.up()
    assert "WRONG" not in house.run("doctor")
    house.post(
        "/api/v1/routers",
        {
            "id": "made",
            "name": "Made",
            "rules": "nope",
            "default_target": {"type": "office", "id": "1"},
        },
    )
    wait_for(lambda: degraded(house) == ["rules"], "the service to know the router")
    wait_for(lambda: "\ncrosspoint_rulesets_missing 1.0\n" in metrics(house), "the metric")
    said = house.run("doctor", code=1)
    assert "WRONG  service's rules: 1 missing" in said
    assert "WRONG  router made: its rules nope are not in" in said
    found = json.loads(house.run("doctor", "--json", code=1))
    assert [one["what"] for one in found if one["todo"]] == ["service's rules", "router made"]


@pytest.mark.parametrize(
    ("before", "named", "after"),
    [
        ("{id: support, name: Support", 'call_center_id: "8001"', "{id: help, name: Support"),
        ("{id: ada, name: Ada", 'user_id: "3001"', "{id: adah, name: Ada"),
        ("{id: ada, name: Ada", 'number: "1001"', "{id: adah, name: Ada"),
    ],
)
def test_what_was_renamed_is_told_before_anything_is_written(
    house: House, before: str, named: str, after: str
) -> None:
    house.change(before, f"{before}, {named}")
    house.run("apply")
    house.change(before, after)
    house.change("queues: {support:", "queues: {help:" if "help" in after else "queues: {support:")
    house.change(
        "routers:\n",
        "routers:\n  - {id: new, name: New, rules: main, default_target: {type: office, id: '1'}}\n",
    )
    for arguments in (("apply", "--dry-run"), ("apply",)):
        said = house.run(*arguments, code=2)
        assert f"the {named.partition(':')[0]} of" in said
        assert "--prune" in said
    assert "new" not in house.run("routers", "list")
    house.run("apply", "--prune")
    assert "new" in house.run("routers", "list")


def test_the_doctor_tells_of_a_router_that_was_renamed_and_has_kept_its_number(
    house: House,
) -> None:
    house.change("rules: main,", 'rules: main, phone_numbers: ["+12125550100"],')
    house.run("apply")
    house.change("{id: main,", "{id: front,")
    house.run("apply")
    said = house.run("doctor", code=1)
    assert "WRONG  router main: its phone number +12125550100 is that of front too" in said
    house.run("apply", "--prune")
    assert "is that of" not in house.run("doctor", code=1)  # the rest: nothing serves here


def test_a_store_that_answers_and_takes_no_writes_is_told(house: House) -> None:
    house.up()
    store = redis.Redis(unix_socket_path=str(socket_path(house.folder / "data/store")))
    store.config_set("maxmemory-policy", "noeviction")
    store.config_set("maxmemory", "1")
    wait_for(lambda: degraded(house) == ["store"], "the store to be told full")
    assert "\ncrosspoint_store_refuses_writes 1.0\n" in metrics(house)
    said = house.run("doctor", code=1)
    assert "WRONG  service's store: refuses writes: out_of_memory" in said
    assert "WRONG  store: refuses to write: OOM" in said
    store.config_set("maxmemory", "0")
    wait_for(lambda: degraded(house) == [], "the store to be well again")
    store.config_set("requirepass", "secret")
    assert "-> it is there: mend what it says" in house.run("doctor", code=1)
    store.auth("secret")
    store.config_set("requirepass", "")
    assert "\ncrosspoint_store_refuses_writes 0.0\n" in metrics(house)
    assert house.log.read_text().count("store_refuses_writes") == 1


def test_the_doctor_tells_of_a_budget_that_leaves_no_time_to_decide(house: House) -> None:
    house.change("rules: main,", "rules: main, budget_ms: 100,")
    house.run("apply")
    house.env["CROSSPOINT_HTTP__RESERVE_MS"] = "99"
    assert "leaves no time" not in house.run("doctor", code=1)
    house.env["CROSSPOINT_HTTP__RESERVE_MS"] = "100"
    said = house.run("doctor", code=1)
    assert "WRONG  router main: its budget of 100 ms leaves no time to decide" in said


def test_what_another_version_wrote_stops_no_start_and_is_told(house: House) -> None:
    house.up()
    of_another = '{"id": "ben", "name": 7}'
    with redis.Redis(unix_socket_path=str(socket_path(house.folder / "data/store"))) as client:
        client.hset(keys.resources("acme", Kind.AGENTS), "ben", of_another)
    house.down()
    house.up()
    wait_for(lambda: degraded(house) == ["directory"], "the service to have seen it")
    said = house.run("doctor", code=1)
    assert "service's directory: fresh, 1 unreadable" in said
    assert "tenant acme: written by another version, unreadable here: agents:ben" in said
    lines = house.logged("resource_unreadable")
    assert {(line["kind"], line["id"]) for line in lines} == {("agents", "ben")}


def test_an_agent_whose_state_was_lost_is_told_and_can_be_put_right(house: House) -> None:
    """As by a store that evicts, or a removal that was killed halfway."""
    house.up()
    with redis.Redis(unix_socket_path=str(socket_path(house.folder / "data/store"))) as client:
        assert client.delete(keys.agent("acme", "ada"))
    assert "agents without a state, who get no calls: ada" in house.run("doctor", code=1)
    house.run("apply", "--force")
    assert "WRONG" not in house.run("doctor")
    assert "ada is available" in house.run("agents", "set", "ada", "--on-duty")


def test_the_doctor_knows_when_another_house_answers(make_house: MakeHouse) -> None:
    first = make_house()
    first.up()
    second = make_house(int(first.url.rpartition(":")[2]))
    assert "a service with another store.url" in second.run("doctor", code=1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTP__HOST", "nosuchhost.invalid", "WRONG  service: "),
        ("HTTP__HOST", "192.0.2.1", "cannot listen on 192.0.2.1"),
        ("DATA_DIR", "/proc/x", "/proc cannot be written"),
        ("STORE__URL", "redis://[bad", "WRONG  store"),
    ],
)
def test_the_doctor_goes_on_after_a_check_that_fails(
    house: House, name: str, value: str, said: str
) -> None:
    house.env[f"CROSSPOINT_{name}"] = value
    told = house.run("doctor", code=1)
    assert said in told
    for what in ("data folder", "rules main", "site", "secret for tokens", "store"):
        assert f"  {what}" in told


def test_why_an_agent_is_off_duty_is_a_line_that_is_shown(house: House) -> None:
    house.run("apply")
    house.run("agents", "set", "ada", "--off-duty", "--reason", "x" * 100)
    for reason in ("x" * 101, "two\nlines", "\x1b[2J"):
        said = house.run("agents", "set", "ada", "--off-duty", "--reason", reason, code=2)
        assert "one line of at most 100 characters" in said
    assert "--reason goes with" in house.run(
        "agents", "set", "ada", "--on-duty", "--reason", "x", code=2
    )
    assert f"off_duty ({'x' * 100})" in house.run("agents", "list")
    house.run("agents", "set", "ada", "--off-duty", "--reason", "lunch", "--dnd")
    assert "lunch" in house.run("agents", "list")


def test_a_queue_that_is_closed_is_listed_as_closed(house: House) -> None:
    house.change("name: Support", "name: Support, calendar: {hours: {}}")
    house.change("queues:\n", "queues:\n  - {id: sales, name: Sales}\n")
    house.run("apply")
    listed = {line.split()[0]: line for line in house.run("queues", "list").splitlines()}
    assert "closed" in listed["support"]
    assert "open" in listed["sales"]
    told = json.loads(house.run("queues", "list", "--json"))
    assert {one["id"]: one["is_open"] for one in told} == {"sales": True, "support": False}


def test_an_agent_cannot_be_left_alone_by_a_queue_of_others(house: House) -> None:
    house.change("queues:\n", "queues:\n  - {id: sales, name: Sales}\n")
    house.run("apply")
    for flag in ("--dnd", "--no-dnd"):
        said = house.run("agents", "set", "ada", flag, "--queue", "sales", code=2)
        assert "ada is no member of sales" in said
    house.run("agents", "set", "ada", "--dnd", "--queue", "support")
    assert "support (do_not_disturb)" in house.run("agents", "list")


@pytest.mark.parametrize(
    "flags", [("--on-duty", "--off-duty"), ("--no-dnd", "--dnd"), ("--disable", "--enable")]
)
def test_of_two_flags_that_exclude_each_other_none_wins(
    house: House, flags: tuple[str, str]
) -> None:
    assert "exclude each other" in house.run("agents", "set", "ada", *flags, code=2)


def test_what_is_made_below_the_data_folder_is_readable_by_us_only(house: House) -> None:
    house.env["CROSSPOINT_HTTP__WORKERS"] = "2"
    house.change("rules: main,", "rules: main, secret: {file: secrets/main},")
    house.up()
    data = house.folder / "data"
    wait_for((data / "last_good_rules").exists, "the last good rules to be kept")
    folders = [path for path in (data, *data.iterdir()) if path.is_dir()]
    names = {path.name for path in folders}
    assert names >= {"data", "last_good_rules", "metrics", "secrets", "store"}
    assert {path.name for path in folders if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()


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
