"""site.yaml: the documented example, all problems at once, names across files, hostile input."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from router.errors import InvalidInputError
from router.processes.site_at_start import feature_numbers
from router.settings import parse_settings
from router.site.file import Site, load_site, parse_site, site_files
from router.site.hours import OpeningHours, calendar_of
from router.site.resources import check
from router.site.secret_refs import SecretRef
from rules.actions import Strategy, Target, TargetType
from rules.conditions import CalendarState
from rules.problems import FileError

EXAMPLE = """
version: 1
tenant: acme                          # default: default
routers:
  - id: main
    name: Main line
    secret: {env: MAIN_ROUTER_SECRET}
    rules: acme
    default_target: {type: department, id: "6001002003004005"}
    budget_ms: 800
    phone_numbers: ["+12125550100"]
queues:
  - id: support
    name: Support
    call_center_id: "8001"
    strategy: longest_idle
    ring_seconds: 30
    wrap_up_seconds: 10
    calendar: {timezone: America/New_York, hours: {mon-fri: ["08:00-18:00"]}}
    hold_queue:
      max_hold_count: 50
      max_hold_seconds: 900
      announce_position: true
      announcement_interval_seconds: 120
      allow_queue_callback: true
      queue_callback_threshold: 5
      queue_callback_dtmf: "9"
      queue_escape_dtmf: "*"
      stay_in_queue_after_closing: false
      unattended_queue: false
    recording: {inbound: true, outbound: false, allow_pause: true, announce: true, ask_consent: true}
    service_level: {percent: 95, seconds: 60}
agents:
  - id: ada
    name: Ada
    user_id: "3001"
    endpoint: PJSIP/1001
    skills: {spanish: 80, product_a: 60}
    queues: {support: {skill_level: 90, order: 1}}
"""
TUESDAY_NOON_S = 1_796_144_400.0  # 2026-12-01 12:00 in New York
TUESDAY_NIGHT_S = TUESDAY_NOON_S + 11 * 3600


def parse(*texts: str, rulesets: tuple[str, ...] | None = None) -> Site:
    return parse_site([(f"{n}.yaml", text.encode()) for n, text in enumerate(texts)], rulesets)


def problems_of(*texts: str, rulesets: tuple[str, ...] | None = None) -> list[str]:
    with pytest.raises(FileError) as caught:
        parse(*texts, rulesets=rulesets)
    return [str(problem) for problem in caught.value.problems]


def test_the_documented_example_is_read_field_by_field() -> None:
    site = parse(EXAMPLE, rulesets=("acme",))
    assert site.tenant == "acme"
    (router,), (queue,), (agent,) = site.routers, site.queues, site.agents
    assert router.secret == SecretRef(env="MAIN_ROUTER_SECRET")
    assert router.default_target == Target(type=TargetType.DEPARTMENT, id="6001002003004005")
    assert (queue.strategy, queue.wrap_up_seconds) == (Strategy.LONGEST_IDLE, 10)
    assert queue.hold_queue.allow_queue_callback
    assert queue.recording.inbound
    assert (agent.skills, agent.queues["support"].skill_level) == (
        {"spanish": 80, "product_a": 60},
        90,
    )
    assert queue.calendar is not None
    calendar = calendar_of(queue.calendar)
    assert CalendarState.OPEN in calendar.state_at(TUESDAY_NOON_S)
    assert CalendarState.CLOSED in calendar.state_at(TUESDAY_NIGHT_S)
    for resource in (router, queue, agent):
        check(resource)


def test_all_problems_come_at_once_with_place_and_nearest_name() -> None:
    text = (
        EXAMPLE.replace("rules: acme", "rules: acmee")
        .replace("ring_seconds: 30", "ring_seconds: 300")
        .replace("strategy: longest_idle", "strategy: longest_idel")
        .replace("budget_ms: 800", "budget_ms: soon")
        .replace('["+12125550100"]', '["2125550100"]')
        .replace("{support: {skill_level", "{suport: {skill_level")
        .replace('{type: department, id: "6001002003004005"}', "{type: user}")
    ) + "  - {id: ada, nam: Ada}\n"
    found = problems_of(text, rulesets=("acme",))
    wanted = [
        "did you mean 'acme'?",
        "a user has an id and no number (at routers[0].default_target)",
        "a whole number is wanted here (at routers[0].budget_ms)",
        "expected a number in full: + and 2 to 15 digits, like +12125550142",
        "0.yaml:16:15",
        "expected 10 to 45",
        "did you mean 'support'?",
        "the key name is missing",
        "this stands at 0.yaml:34:9 already (at agents[1].id)",
        "did you mean 'name'?",
    ]
    assert len(found) == len(wanted), found
    for problem, words in zip(found, wanted, strict=True):
        assert words in problem
    assert "agents[0].queues.suport" in found[6]


def test_one_wrong_value_is_one_problem() -> None:
    for text in ("rules: [acme]", "rules: {}", "rules:", "rules: ''"):
        (problem,) = problems_of(EXAMPLE.replace("rules: acme", text), rulesets=("acme",))
        assert "routers[0].rules" in problem


def test_queues_of_a_file_that_is_no_yaml_are_not_said_to_be_missing() -> None:
    agents = "version: 1\nagents: [{id: ada, name: A, queues: {support: {}}}]\n"
    (problem,) = problems_of("queues: [", agents)
    assert "not valid YAML" in problem


def test_hours_are_checked_by_the_rules_own_reader() -> None:
    text = EXAMPLE.replace('mon-fri: ["08:00-18:00"]', 'mon-fry: ["08:00-18:00"], sat: [x]')
    assert len(problems_of(text)) == 2
    with pytest.raises(InvalidInputError) as caught:
        calendar_of(OpeningHours(hours={"mon": ("25:00-26:00",)}))
    assert (caught.value.field or "").startswith("calendar.hours.mon")


def test_as_many_hours_are_taken_as_the_rules_reader_takes() -> None:
    short = '{timezone: America/New_York, hours: {mon-fri: ["08:00-18:00"]}}'
    spans = [
        f"{at // 60:02}:{at % 60:02}-{at // 60:02}:{at % 60 + 15:02}" for at in range(0, 1440, 30)
    ]
    dates = [f"{year}-01-{day:02}" for year in range(2000, 2080) for day in range(1, 26)]
    whole = f"{{hours: {{mon: {spans}}}, holidays: {{closed: {dates}}}}}"
    calendar = (
        parse_site([("site.yaml", EXAMPLE.replace(short, whole).encode())]).queues[0].calendar
    )
    assert calendar is not None
    assert calendar.holidays is not None
    assert (len(calendar.hours["mon"]), len(calendar.holidays.closed)) == (48, 2000)
    calendar_of(calendar)
    for more in (
        whole.replace("mon: [", "mon: ['23:50-23:55', "),
        whole.replace("closed: [", "closed: [12-24, "),
    ):
        with pytest.raises(FileError) as caught:
            parse_site([("site.yaml", EXAMPLE.replace(short, more).encode())])
        assert [problem.code for problem in caught.value.problems] == ["too-many"]


def test_hours_may_be_written_short() -> None:
    hours = "{hours: {mon: 08:00-12:00, tue: []}, holidays: {country: US, special: {12-24: 08:00-10:00}}}"
    text = EXAMPLE.replace('{timezone: America/New_York, hours: {mon-fri: ["08:00-18:00"]}}', hours)
    calendar = parse(text).queues[0].calendar
    assert calendar is not None
    assert calendar.hours == {"mon": ("08:00-12:00",), "tue": ()}
    assert calendar.holidays is not None
    assert calendar.holidays.special == {"12-24": ("08:00-10:00",)}
    calendar_of(calendar)


def test_what_may_stand_once_is_not_taken_twice() -> None:
    twice = "version: 1\nagents:\n" + "  - {id: ada, name: A, user_id: '1'}\n" * 2
    found = problems_of(twice)
    assert len(found) == 2
    assert "this stands at 0.yaml:3:" in found[0]
    numbers = "version: 1\nagents:\n  - {id: ada, name: A, number: '1'}\n"
    (found_number,) = problems_of(numbers + "  - {id: ben, name: B, number: '1'}\n")
    assert "this stands at 0.yaml:3:" in found_number


def test_a_key_does_not_both_ask_for_a_callback_and_leave_the_line() -> None:
    same = EXAMPLE.replace('queue_callback_dtmf: "9"', 'queue_callback_dtmf: "*"')
    (problem,) = problems_of(same)
    assert "the escape key is the same" in problem
    assert "queues[0].hold_queue.queue_callback_dtmf" in problem
    unused = same.replace("allow_queue_callback: true", "allow_queue_callback: false")
    (queue,) = parse_site([("site.yaml", unused.encode())]).queues
    check(queue)
    with pytest.raises(InvalidInputError, match="escape key") as caught:
        check(replace(queue, hold_queue=replace(queue.hold_queue, allow_queue_callback=True)))
    assert caught.value.field == "hold_queue.queue_callback_dtmf"


def test_a_router_has_no_number_at_which_agents_log_in(tmp_path: Path) -> None:
    text = "pbx: {country: US, login_number: '2125550100', logout_number: '*62'}"
    numbers = feature_numbers(parse_settings(text.encode(), "crosspoint.yaml", tmp_path, {}))
    assert numbers == {"+12125550100"}
    with pytest.raises(FileError) as caught:
        parse_site([("site.yaml", EXAMPLE.encode())], features=numbers)
    (problem,) = caught.value.problems
    assert "agents log in or out at this number" in str(problem)
    assert parse_site([("site.yaml", EXAMPLE.encode())], features=frozenset({"*61"})).routers


def test_a_site_may_be_spread_over_files_of_one_tenant() -> None:
    queues = "version: 1\nqueues: [{id: support, name: S}]\n"
    agents = "version: 1\nagents: [{id: ada, name: A, queues: {support: {}}}]\n"
    site = parse(queues, agents)
    assert (len(site.queues), len(site.agents)) == (1, 1)
    assert "no such queue" in problems_of(agents)[0]
    assert "one tenant" in problems_of(queues, agents + "tenant: other\n")[0]


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "{value: hunter2-hunter2}"])
def test_a_literal_secret_is_refused_and_not_repeated(secret: str) -> None:
    (problem,) = problems_of(EXAMPLE.replace("{env: MAIN_ROUTER_SECRET}", secret))
    assert "hunter2" not in problem


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("version: 1\nqueues: [{id: q, name: Q}]\n")
    (tmp_path / "a.yaml").write_text("version: 1\n")
    assert [path.name for path in site_files(tmp_path)] == ["a.yaml", "b.yaml"]
    assert load_site(site_files(tmp_path)).queues[0].id == "q"


def test_a_folder_has_files_of_both_suffixes_and_hidden_ones_are_left_to_the_editor(
    tmp_path: Path,
) -> None:
    for name in ("b.yaml", "a.yml", "notes.txt", ".b.yaml"):
        (tmp_path / name).write_text("version: 1\n")
    (tmp_path / ".#b.yaml").symlink_to("somebody@there.1")
    assert [path.name for path in site_files(tmp_path)] == ["a.yml", "b.yaml"]


@pytest.mark.parametrize(("order", "place"), [(1, "number"), (-1, "id")])
def test_what_an_agent_keys_in_by_its_id_is_no_other_ones_number(order: int, place: str) -> None:
    agents = ['{id: "1001", name: Ada}', '{id: b, name: Ben, number: "1001"}'][::order]
    (problem,) = problems_of(f"version: 1\nagents: [{', '.join(agents)}]\n")
    assert "stands at 0.yaml:2:" in problem
    assert f"(at agents[1].{place}); found '1001'" in problem
    agents = ['{id: "1001", name: Ada, number: "7"}', '{id: b, name: Ben, number: "1001"}']
    assert len(parse(f"version: 1\nagents: [{', '.join(agents)}]\n").agents) == 2


def test_files_that_say_nothing_of_a_site_are_refused() -> None:
    for text in (
        "",
        "x",
        "- 1",
        "{}",
        "version: 2",
        "version: 1\nusers: []",
        "version: 1\nagents: 3",
    ):
        assert problems_of(text)


_PIECES = st.sampled_from(
    [
        "",
        "{",
        "}",
        "[",
        ": ",
        "- ",
        "\n",
        "&a ",
        "*a",
        "!!x ",
        "null",
        "-1",
        "9" * 20,
        '"',
        "'",
        "é",
        "\x00",
        "version: 1",
        "id: ",
        "secret: {value: x}",
        "mon-fri",
        "\t",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 40), _PIECES, st.booleans())
def test_whatever_is_broken_in_a_file_only_a_file_error_comes(
    at: int, length: int, piece: str, is_settings: bool
) -> None:
    base = EXAMPLE
    if is_settings:
        base = "http: {host: 0.0.0.0, port: 80}\nforeign: {allow: [10.0.0.0/8]}\nsite: a\nlog: {}\n"
        at %= len(base)
    text = (base[:at] + piece + base[at + length :]).encode("utf-8", "replace")
    with contextlib.suppress(FileError):
        if is_settings:
            parse_settings(text, "crosspoint.yaml", Path("/srv"), {})
        else:
            parse_site([("site.yaml", text)], ["acme"])


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["HTTP__PORT", "FOREIGN__ALLOW", "TOKENS__SECRET", "DATA_DIR"]),
    st.text(max_size=20),
)
def test_whatever_stands_in_the_environment_only_a_file_error_comes(name: str, text: str) -> None:
    with contextlib.suppress(FileError):
        parse_settings(b"{}", "crosspoint.yaml", Path("/srv"), {f"CROSSPOINT_{name}": text})


def test_a_folder_without_files_is_no_site(tmp_path: Path):
    with pytest.raises(FileError, match="no files in this folder"):
        site_files(tmp_path)
