"""The command line without a server: help, exit codes, files that are wrong, no traceback ever."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from router.cli.deciding import decisions
from router.cli.main import COMMANDS, cli
from router.cli.shell import print_line, print_table
from router.decisions.outcome import Level

RULES = """
version: 1
targets: {desk: {type: department, id: "6"}}
rules:
  - name: vip
    when: {caller: "+12125550142"}
    then: {end: {message: "Hello"}}
default: {route: desk}
"""
SITE = """
version: 1
tenant: acme
routers:
  - {id: main, name: Main, rules: main, default_target: {type: office, id: "1"}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with settings, a site and rules, and nothing running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSPOINT_CONFIG", raising=False)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/main.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "crosspoint.yaml").write_text("site: site.yaml\nhttp: {port: 1}\n")
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(cli, list(arguments), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    groups = {"rules", "agents", "queues", "routers", "tenants", "calls", "callbacks"}
    assert "Example" in result.output or groups & set(command)


@pytest.mark.parametrize(
    "command",
    [
        "rules check",
        "rules explain",
        "rules schema",
        "agents list",
        "agents set",
        "queues list",
        "routers list",
        "routers enable",
        "routers disable",
        "routers reset-errors",
        "calls list",
        "calls hangup",
        "calls drop",
        "calls hold",
        "calls resume",
        "calls transfer",
        "calls start",
        "callbacks create",
        "callbacks validate",
        "callbacks list",
        "callbacks cancel",
    ],
)
def test_every_subcommand_has_help_with_an_example(command: str) -> None:
    result = run(*command.split(), "--help")
    assert "Example" in result.output


def test_clean_rules_end_with_0_and_findings_with_1_and_unreadable_ones_with_2(
    folder: Path,
) -> None:
    assert run("rules", "check", "rules/main.yaml").exit_code == 0
    odd = folder / "rules/odd.yaml"
    odd.write_text(RULES + 'lists: {unused: ["+12125550100"]}\n')
    result = run("rules", "check", "rules/main.yaml", str(odd))
    assert (result.exit_code, "unused" in result.output) == (1, True)
    broken = folder / "rules/broken.yaml"
    broken.write_text(RULES.replace("desk}", "dsk}"))
    result = run("rules", "check", str(broken), str(odd), "rules/gone.yaml", "--json")
    assert result.exit_code == 2
    verdicts = [one["verdict"] for one in json.loads(result.stdout)]
    assert verdicts == ["unreadable", "findings", "unreadable"]


def test_an_explanation_names_the_rule_and_what_kept_the_others_away(folder: Path) -> None:
    call = folder / "call.json"
    call.write_text('{"caller": "+12125550142"}')
    result = run("rules", "explain", "rules/main.yaml", "--call", str(call))
    assert (result.exit_code, "rule      vip" in result.output) == (0, True)
    arguments = ("--call", "-", "--at", "2026-12-01T10:00:00-05:00", "--json")
    result = run(
        "rules", "explain", "rules/main.yaml", *arguments, stdin="{caller: '+12125550100'}"
    )
    explained = json.loads(result.stdout)
    assert explained["decision"]["rule"] == "default"
    assert explained["skipped"][0]["rule"] == "vip"
    assert explained["skipped"][0]["reason"]["found"] == "+12125550100"  # the asker's own call
    either = folder / "rules/either.yaml"
    either.write_text(
        "version: 1\nrules: [{name: a, when: {any: [{digits: {x: any}}, {router: main}]},"
        " then: {end: }}]\ndefault: {end: }\n"
    )
    said = run("rules", "explain", str(either), "--call", str(call)).output
    assert "found none of them [digits.x is false: wanted any, found nothing; router is" in said


def test_a_call_of_the_decision_log_is_explained_as_it_stands_there(folder: Path) -> None:
    call = (
        '{"caller": null, "called": "+12125550100", "contact": null, "digits": {}, "call_id": "1"}'
    )
    result = run("rules", "explain", "rules/main.yaml", "--call", "-", "--json", stdin=call)
    (vip,) = json.loads(result.stdout)["skipped"]
    assert (vip["outcome"], vip["reason"]["found"]) == ("unknown", None)
    wrong = run(
        "rules",
        "explain",
        "rules/main.yaml",
        "--call",
        "-",
        stdin='{"caler": "x", "contact": "null"}',
    )
    assert wrong.exit_code == 2
    assert "did you mean 'caller'" in wrong.output
    assert "stdin:1:27" in wrong.output  # a text that says null is no null


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--call", "{caler: x}"),
        ("--call", "["),
        ("--at", "yesterday"),
        ("--at", "0001-01-01T00:00:00+05:00"),
        ("--at", "9999-12-31T23:59:59Z"),
        ("--queues", "{q: {idle: 1}}"),
    ],
)
def test_input_for_an_explanation_that_cannot_be_read_ends_with_2(
    folder: Path, option: str, text: str
) -> None:
    good = {"--call": "{}", "--at": "2026-12-01T10:00:00Z"} | {option: text}
    arguments = []
    for name, value in good.items():
        if name != "--at":
            file = folder / f"{name[2:]}.json"
            file.write_text(value)
            value = str(file)  # noqa: PLW2901 - the option takes the file
        arguments += [name, value]
    assert run("rules", "explain", "rules/main.yaml", *arguments).exit_code == 2


def test_what_a_caller_sends_does_not_drive_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = "1\x1b[2J\x9b\u202e\nrule      mine"
    print_line(f"call {call} ä")
    print_table(("call",), [(call,)], "")
    said = capsys.readouterr().out
    shown = r"1\x1b[2J\x9b\u202e\nrule      mine"
    assert said.splitlines()[0] == f"call {shown} ä"
    assert shown in said.splitlines()[2]


def test_the_schema_is_json(folder: Path) -> None:
    assert "$schema" in json.loads(run("rules", "schema").stdout)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["nonsense"], 2),
        (["-c", "gone.yaml", "doctor"], 2),
        (["agents", "list"], 3),
        (["routers", "enable", "main"], 3),
        (["decisions"], 3),
        (["apply", "gone.yaml"], 2),
        (["apply", "--dry-run"], 3),
        (["agents", "set", "ada"], 2),
        (["agents", "set", "ada", "--on-duty", "--queue", "q"], 2),
        (["call", "main", "--caller", "+12125550142"], 3),
        (["call", "main", "--caller", "x", "--digits", "two"], 2),
        (["call", "main", "--caller", "x", "--url", "ftp://x"], 2),
        (["call", "main", "--caller", "x", "--url", "http://127.0.0.1:1"], 3),
        (["call", "main", "--caller", "x", "--url", "http://[::1"], 2),
        (["token", "--role", "king"], 2),
        (["token", "--role", "admin", "--ttl", "8"], 2),
        (["token", "--role", "agent"], 2),
        (["token", "--role", "admin"], 2),
        (["serve"], 2),
        (["rules", "explain", "rules/main.yaml", "--call", "/"], 2),
    ],
)
def test_what_cannot_be_done_ends_with_its_code_and_a_sentence(
    folder: Path, arguments: list[str], exit_code: int
) -> None:
    result = run(*arguments)
    assert result.exit_code == exit_code
    assert result.output.strip()


def test_decisions_are_looked_for_by_every_level_there_is() -> None:
    (option,) = (one for one in decisions.params if one.name == "level")
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == set(Level)


def test_looking_for_a_store_makes_none(folder: Path) -> None:
    run("agents", "list")
    run("call", "main", "--caller", "x")
    run("doctor")
    assert not (folder / "data").exists()


def test_a_token_is_made_from_the_secret_in_the_settings(folder: Path) -> None:
    (folder / "data/secrets").mkdir(parents=True)
    (folder / "data/secrets/tokens").write_text("t" * 43 + "\n")
    made = json.loads(run("token", "--role", "supervisor", "--ttl", "30m", "--json").stdout)
    assert (made["tenant_id"], made["role"], made["expires_in"]) == ("acme", "supervisor", 1800)
    assert made["token"].count(".") == 2


def test_a_doctor_without_anything_running_says_what_to_do(folder: Path) -> None:
    result = run("doctor", "--json")
    findings = {one["what"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert "crosspoint up" in findings["secret for tokens"]["todo"]
    assert findings["rules main"]["todo"] is None
    assert findings["store embedded"]["todo"] is None


def test_the_doctor_looks_at_both_secrets_for_tokens(folder: Path) -> None:
    with (folder / "crosspoint.yaml").open("a") as settings:
        settings.write("tokens: {previous_secret: {file: secrets/before}}\n")
    (folder / "data/secrets").mkdir(parents=True)
    (folder / "data/secrets/tokens").write_text("t" * 43)
    (folder / "data/secrets/tokens").chmod(0o644)
    findings = json.loads(run("doctor", "--json").stdout)
    told = [
        (one["what"], one["found"]) for one in findings if one["todo"] and "token" in one["what"]
    ]
    assert [what for what, _ in told] == ["secret for tokens", "previous secret for tokens"]
    assert "others may read" in told[0][1]
    assert "secrets/before cannot be read" in told[1][1]


def test_the_site_may_only_name_rules_that_are_there(folder: Path) -> None:
    (folder / "site.yaml").write_text(SITE.replace("rules: main", "rules: mane"))
    result = run("apply", "--dry-run")
    assert result.exit_code == 2
    assert "did you mean 'main'?" in result.output


def test_the_command_line_starts_without_loading_the_server() -> None:
    code = (
        "import sys; from router.cli.main import cli; cli.main(['--help'], standalone_mode=False);"
        "print(sorted({'aiohttp','redis','jwt','rich','yaml','phonenumbers'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=4
    )
)
def test_whatever_is_typed_ends_with_a_documented_code(words: list[str]) -> None:
    known = ["rules", "check", "call", "token", "--json", "--help", "-c", "--role", "--digits"]
    arguments = [
        known[len(word) % len(known)] if place % 2 else word for place, word in enumerate(words)
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code in {0, 1, 2, 3}
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-something\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b""]
)
def test_doctor_says_that_somebody_else_has_the_port(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    def reply() -> None:
        for _ in range(2):
            taken, _ = listener.accept()
            with taken, contextlib.suppress(OSError):
                taken.sendall(answer)

    assert folder.exists()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("CROSSPOINT_HTTP__PORT", str(listener.getsockname()[1]))
        thread = threading.Thread(target=reply, daemon=True)
        thread.start()
        result = run("doctor")
        thread.join(10)
    assert "somebody else listens there" in result.output
    assert result.exit_code == 1


def test_a_skill_that_nobody_of_the_site_has_is_a_finding(folder: Path) -> None:
    queue = "queues: [{id: support, name: Support}]\n"
    agent = "agents: [{id: ada, name: Ada, skills: {spanish: 80}, queues: {support: {}}}]\n"
    (folder / "site.yaml").write_text(SITE + queue + agent)
    rules = folder / "rules/main.yaml"
    then = "then: {agent: {queue: support, skills: {spansh: 50}}}"
    rules.write_text(RULES.replace('then: {end: {message: "Hello"}}', then))
    told = run("rules", "check", str(rules))
    assert (told.exit_code, "did you mean 'spanish'?" in told.output) == (1, True)
    rules.write_text(rules.read_text().replace("spansh", "spanish"))
    assert run("rules", "check", str(rules)).exit_code == 0


def test_a_queue_that_the_site_does_not_have_is_a_finding(folder: Path, tmp_path: Path) -> None:
    queue = "queues: [{id: support, name: Support}]\n"
    (folder / "site.yaml").write_text(SITE + queue)
    rules = folder / "rules/main.yaml"
    rules.write_text(RULES.replace('then: {end: {message: "Hello"}}', "then: {queue: suport}"))
    told = run("rules", "check", str(rules))
    assert (told.exit_code, "did you mean 'support'?" in told.output) == (1, True)
    assert "suport" in run("doctor").output
    draft = tmp_path / "draft.yaml"
    draft.write_text(rules.read_text())
    assert run("rules", "check", str(draft)).exit_code == 0
    assert run("rules", "check", str(draft), "--site", "site.yaml").exit_code == 1
    assert run("rules", "check", str(draft), "--site", "gone.yaml").exit_code == 2
