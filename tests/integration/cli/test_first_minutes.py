"""The example as a user meets it: real processes, embedded store, signed calls, questions, the log."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "deploy/example"
CLOSED = 'closed: ["12-25", "01-01"]'


class Example:
    """A copy of the example with a data folder of its own, and the running service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "example"
        shutil.copytree(EXAMPLE, self.folder)
        self._open_today()
        self.data = folder / "data"
        self.env = {
            **{name: value for name, value in os.environ.items() if "CROSSPOINT" not in name},
            "CROSSPOINT_DATA_DIR": str(self.data),
            "CROSSPOINT_CONFIG": str(self.folder / "crosspoint.yaml"),
        }
        self.process: subprocess.Popen[str] | None = None
        self.banner = ""

    def _open_today(self) -> None:
        """The days on which the support line is closed are long past, whatever day it is."""
        for name in ("rules/main.yaml", "site.yaml"):
            file = self.folder / name
            text = file.read_text()
            assert CLOSED in text
            text = text.replace(CLOSED, 'closed: ["2001-01-01"]')
            file.write_text(text.replace('"2027-01-01T', '"2001-01-01T'))  # a case of the rules

    def up(self) -> None:
        """Start it and read what it prints until the commands to try."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "router", "up", "--port", "0"],
            env=self.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        timer = threading.Timer(60, self.process.kill)
        timer.start()
        assert self.process.stdout is not None
        self.banner = ""
        for line in self.process.stdout:
            self.banner += line
            if "agents list" in line:
                break
        timer.cancel()
        found = re.search(r"listens on (http://\S+)", self.banner)
        assert found is not None, self.banner
        self.url = found[1]

    def down(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "router", *arguments],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def call(self, router: str, *arguments: str, code: int = 0) -> str:
        caller = () if "--caller" in arguments else ("--caller", "+12125550142")
        return self.run("call", router, *caller, "--url", self.url, *arguments, code=code)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    example = Example(tmp_path_factory.mktemp("first"))
    example.up()
    yield example
    assert example.down() == 0


def test_the_start_says_what_it_listens_on_and_what_to_try(example: Example) -> None:
    assert f"POST {example.url}/route/main" in example.banner
    assert f"POST {example.url}/route/partners  (signed)" in example.banner
    assert "call main --caller +12125550142" in example.banner
    assert len(example.banner.splitlines()) <= 15


def test_missing_secrets_are_made_for_this_machine_only(example: Example) -> None:
    for name in ("tokens", "partners"):
        path = example.data / "secrets" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(path.read_text().strip()) >= 32
    assert "made the secret" in example.banner


def test_a_caller_who_speaks_spanish_reaches_a_free_agent(example: Example) -> None:
    told = example.call("main", "--digits", "language=2", "--agent-free", "ada")
    assert "For English press 1" in told
    assert "answer    route to user 3001" in told
    assert "rule      spanish speakers (main)" in told
    assert "reasons   reserved:ada" in told
    assert "level     full" in told
    assert re.search(r"time +[0-9.]+ ms, [0-9.]+ ms", told)


def test_a_caller_who_keys_nothing_ends_where_the_rule_says(example: Example) -> None:
    told = json.loads(example.call("main", "--json"))
    assert [one["answer"]["action"] for one in told["rounds"]] == ["ask", "ask", "route"]
    assert told["rounds"][-1]["answer"]["target_id"] == "6001002003004005"
    assert told["decision"]["rule"] == "ask for the language"


def test_an_important_customer_and_a_blocked_number_are_known(example: Example) -> None:
    assert "rule      very important" in example.call("main", "--caller", "+442079460018")
    assert "cannot be reached" in example.call("main", "--caller", "+12125550199")


def test_a_signed_router_answers_the_platform_and_nobody_else(
    example: Example, tmp_path: Path
) -> None:
    assert "all other partners" in example.call("partners", "--digits", "partner=4711")
    # Another machine knows the router and signs with another secret: the service never reads that.
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/partners").write_text("x" * 40)
    shutil.copy(example.data / "directory.json", tmp_path)
    example.env["CROSSPOINT_DATA_DIR"] = str(tmp_path)
    try:
        assert "401" in example.call("partners", code=1)
    finally:
        example.env["CROSSPOINT_DATA_DIR"] = str(example.data)


def test_a_router_that_is_not_there_is_said_to_be_so(example: Example) -> None:
    assert "404" in example.call("nobody", code=1)


def test_a_disabled_router_answers_its_default_target(example: Example) -> None:
    example.run("routers", "disable", "main")
    try:
        _until_level(example, "disabled")
        told = example.call("main")
        assert "answer    route to department 6001002003004005" in told
        assert "DISABLED" in example.run("routers", "list")
        assert "routers enable" in example.run("doctor", code=1)
    finally:
        example.run("routers", "enable", "main")
    _until_level(example, "full")
    example.run("routers", "reset-errors", "main")


def test_the_log_explains_a_decision_later(example: Example) -> None:
    told = json.loads(example.call("main", "--digits", "language=1", "--json"))
    listed = json.loads(example.run("decisions", "--call", told["call_id"], "--json"))
    assert listed[0]["id"] == told["decision"]["id"]
    assert told["call_id"] in example.run("decisions", "--since", "1h", "--level", "full")
    assert "no such decisions" in example.run(
        "decisions", "--call", told["call_id"], "--level", "default"
    )
    explained = example.run("decisions", "--explain", listed[0]["id"])
    assert "ask for the language" in explained
    assert "+12125550142" not in explained
    assert "no such decision" in example.run("decisions", "--explain", "1-1", code=2)


def test_a_call_whose_id_speaks_to_terminals_is_shown_and_explained(example: Example) -> None:
    example.call("main", "--call-id", "1\x1b[2J\nanswer    mine")
    listed = example.run("decisions", "--limit", "5")
    decision = next(line.split()[0] for line in listed.splitlines() if r"1\x1b[2J" in line)
    explained = example.run("decisions", "--explain", decision)
    assert r"call 1\x1b[2J\nanswer    mine" in explained
    assert "\x1b" not in listed + explained


def test_a_terminal_that_lacks_a_letter_is_told_all_the_rest(example: Example) -> None:
    example.call("main")
    example.env["PYTHONIOENCODING"] = "ascii"
    try:
        assert "Para espa?ol" in example.run("decisions")
    finally:
        del example.env["PYTHONIOENCODING"]


def test_agents_go_on_and_off_duty(example: Example) -> None:
    assert "grace is available" in example.run("agents", "set", "grace", "--on-duty")
    lunch = json.loads(
        example.run("agents", "set", "grace", "--off-duty", "--reason", "lunch", "--json")
    )
    assert (lunch["state"]["state"], lunch["live"]["reason"]) == ("off_duty", "lunch")
    assert "no such agent" in example.run("agents", "set", "nobody", "--on-duty", code=2)
    assert "grace" in example.run("agents", "list")
    queues = json.loads(example.run("queues", "list", "--json"))
    assert [one["id"] for one in queues] == ["billing", "sales", "support"]


def test_digits_that_nobody_asks_for_are_told(example: Example) -> None:
    words = (
        "call",
        "main",
        "--caller",
        "anonymous",
        "--url",
        example.url,
        "--digits",
        "langauge=2",
    )
    done = subprocess.run(
        [sys.executable, "-m", "router", *words],
        env=example.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == "nobody asked for langauge\n"


def test_what_is_not_set_is_spelled_out_for_machines(example: Example) -> None:
    told = json.loads(
        example.call("main", "--caller", "anonymous", "--digits", "language=1", "--json")
    )
    (listed,) = json.loads(example.run("decisions", "--limit", "1", "--json"))
    assert {"agent", "error", "live", "reasons", "rule", "digest"} <= listed.keys()
    assert listed.keys() == told["decision"].keys()
    queues = json.loads(example.run("queues", "list", "--json"))
    assert all({"ring_seconds", "calendar", "hold_queue"} <= one.keys() for one in queues)
    agents = json.loads(example.run("agents", "list", "--json"))
    assert all({"number", "skills", "queues"} <= one.keys() for one in agents)


def test_off_duty_is_told_of_an_agent_who_is_at_a_call(example: Example) -> None:
    digits = ("--digits", "language=2", "--agent-free", "chloe", "--json")
    agent = json.loads(example.call("main", *digits))["decision"]["agent"]
    said = example.run("agents", "set", agent, "--off-duty", "--reason", "lunch")
    assert f"{agent} is reserved, then off_duty" in said
    assert "reserved, then off_duty (lunch)" in example.run("agents", "list")


def test_the_doctor_finds_nothing(example: Example) -> None:
    port = example.url.rpartition(":")[2]
    example.env["CROSSPOINT_HTTP__PORT"] = port
    try:
        assert "crosspoint serves, ready" in example.run("doctor")
    finally:
        del example.env["CROSSPOINT_HTTP__PORT"]


def test_applying_again_changes_nothing_and_pruning_says_what_it_would_do(
    example: Example, tmp_path: Path
) -> None:
    assert "12 unchanged" in example.run("apply")
    smaller = tmp_path / "site.yaml"
    smaller.write_text("version: 1\ntenant: acme\nqueues: [{id: support, name: Help}]\n")
    told = json.loads(example.run("apply", str(smaller), "--prune", "--dry-run", "--json"))
    assert told["counts"]["remove"] == 11
    assert "12 unchanged" in example.run("apply")


def test_the_data_outlives_the_service(tmp_path: Path) -> None:
    example = Example(tmp_path)
    example.up()
    try:
        example.call("main", "--agent-free", "ada")
        assert example.down() == 0
        # Nobody serves now: the command starts the store for itself.
        agents = json.loads(example.run("agents", "list", "--json"))
        assert [one["live"]["on_duty"] for one in agents if one["id"] == "ada"] == [True]
        example.up()
        assert "made the secret" not in example.banner
        assert "rule" in example.call("main")
    finally:
        example.down()


def test_a_start_while_a_rules_file_is_gone_answers_with_its_last_good_version(
    tmp_path: Path,
) -> None:
    example = Example(tmp_path)
    file = example.folder / "rules/main.yaml"
    example.up()
    try:
        assert "level     full" in example.call("main")
        assert example.down() == 0
        file.rename(tmp_path / "main.yaml")
        example.up()
        assert "level     full" in example.call("main")
        assert "main" in example.run("doctor", code=1)  # it does not hide that the file is gone
        assert example.down() == 0
        shutil.rmtree(example.data / "last_good_rules")
        assert "there is no such ruleset" in example.run("up", "--port", "0", code=2)
    finally:
        example.down()


def _until_level(example: Example, level: str) -> None:
    for _ in range(50):
        if f"level     {level}" in example.call("main"):
            return
    pytest.fail(f"never {level}")
