"""crosspoint.yaml and the environment: strict, complete in its complaints, nothing private in them."""

from pathlib import Path

import msgspec
import pytest

from router.errors import InvalidInputError
from router.settings import (
    CallbackSettings,
    PbxSettings,
    Settings,
    StoreSettings,
    find_settings,
    load_settings,
    parse_settings,
    secret_source,
)
from router.site.secret_refs import SecretRef
from rules.problems import FileError

FOLDER = Path("/srv/crosspoint")


def parse(text: str, **env: str) -> Settings:
    return parse_settings(text.encode(), "crosspoint.yaml", FOLDER, env)


def problems_of(text: str, **env: str) -> list[str]:
    with pytest.raises(FileError) as caught:
        parse(text, **env)
    return [str(problem) for problem in caught.value.problems]


def test_one_number_is_not_for_logging_in_and_out() -> None:
    numbers = 'pbx: {login_number: "*61", logout_number: "*%s"}'
    assert parse(numbers % "62").pbx is not None
    (problem,) = problems_of(numbers % "61")
    assert "agents log in at this number: nobody could log out (at pbx.logout_number)" in problem


def test_an_empty_mapping_is_all_defaults_below_the_files_folder() -> None:
    settings = parse("{}")
    assert (settings.http.host, settings.http.port, settings.http.workers) == ("127.0.0.1", 8080, 1)
    assert settings.store.url is None
    assert settings.data_dir == FOLDER / "data"
    assert settings.rules_dir == FOLDER / "rules"
    assert settings.recordings_dir == FOLDER / "data/recordings"
    assert settings.site is None
    assert settings.tokens.secret == SecretRef(file="secrets/tokens")
    assert settings.privacy.log_full_numbers is False


def test_paths_are_taken_from_the_folder_of_the_file() -> None:
    settings = parse("data_dir: ../data\nsite: site.yaml\nrules_dir: /etc/rules\n")
    assert settings.data_dir == FOLDER / "../data"
    assert settings.site == FOLDER / "site.yaml"
    assert settings.rules_dir == Path("/etc/rules")


def test_every_key_can_be_overridden_by_the_environment() -> None:
    settings = parse(
        "http: {port: 80, host: 0.0.0.0}",
        CROSSPOINT_HTTP__PORT="9000",
        CROSSPOINT_STORE__URL="redis://:pass@redis:6379/0",
        CROSSPOINT_DATA_DIR="/var/lib/crosspoint",
        CROSSPOINT_FOREIGN__ALLOW='["10.0.0.0/8", "192.168.0.0/16"]',
        CROSSPOINT_TOKENS__SECRET="{env: TOKENS}",
        CROSSPOINT_TOKENS__PREVIOUS_SECRET__ENV="OLD",
        CROSSPOINT_PRIVACY__LOG_FULL_NUMBERS="true",
    )
    assert (settings.http.port, settings.http.host) == (9000, "0.0.0.0")
    assert settings.store.url == "redis://:pass@redis:6379/0"
    assert settings.data_dir == Path("/var/lib/crosspoint")
    assert settings.foreign.allow == ("10.0.0.0/8", "192.168.0.0/16")
    assert settings.tokens.secret == SecretRef(env="TOKENS")
    assert settings.tokens.previous_secret == SecretRef(env="OLD")
    assert settings.privacy.log_full_numbers


def test_a_misspelt_variable_is_named_with_the_nearest_setting() -> None:
    (problem,) = problems_of("{}", CROSSPOINT_HTTP__PROT="1")
    assert "CROSSPOINT_HTTP__PROT" in problem
    assert "did you mean 'port'?" in problem


def test_variables_that_an_orchestrator_invents_do_no_harm() -> None:
    settings = parse(
        "{}",
        CROSSPOINT_PORT="tcp://10.0.0.1:8080",
        CROSSPOINT_SERVICE_HOST="10.0.0.1",
        CROSSPOINT_STORE="x",
        CROSSPOINT_CONFIG="y",
        PATH="/bin",
    )
    assert settings == parse("{}")


def test_all_problems_come_at_once_with_their_places() -> None:
    found = problems_of(
        "http:\n  port: http\n  wrokers: 2\nlog: {level: loud}\nprivacy: {log_full_numbers: yes}\n"
        "foreign: {allow: 10.0.0.0/8}\n"
    )
    assert len(found) == 5
    assert found[0].startswith("crosspoint.yaml:2:9: a whole number is wanted")
    assert "did you mean 'workers'?" in found[1]
    assert "debug, info, warning, error" in found[2]


@pytest.mark.parametrize(
    "text",
    [
        "http: {port: 65536}",
        "http: {port: -1}",
        "http: {port: 1e3}",
        "http: {workers: 0}",
        "http: []",
        "- a",
        "x",
        "foreign: {allow: [somewhere]}",
        "tokens: {secret: {}}",
        "tokens: {secret: {env: A, file: b}}",
        "store: {url: }",
        "data_dir: ''",
    ],
)
def test_what_is_out_of_range_or_of_another_type_is_refused(text: str) -> None:
    assert len(problems_of(text)) == 1


def test_a_network_that_is_none_is_told_where_it_stands() -> None:
    (inline,) = problems_of("http: {port: 1}\nforeign:\n  allow: [10.0.0.0/8, 10.0.0.999/8]\n")
    assert inline.startswith("crosspoint.yaml:3:23: this is no network")
    (given,) = problems_of("http: {port: 1}", CROSSPOINT_FOREIGN__ALLOW="[10.0.0.999/8]")
    assert given.startswith(
        "environment variable CROSSPOINT_FOREIGN__ALLOW:1:2: this is no network"
    )


@pytest.mark.parametrize("name", ["spool_dir", "sounds_dir", "core_sounds_dir", "speech_dir"])
def test_a_folder_that_asterisk_cannot_be_told_of_is_refused(name: str) -> None:
    for path in ("/mnt/call recordings", "/srv/büro", "/srv/../etc", "/srv/a,b"):
        (problem,) = problems_of(f'pbx:\n  {name}: "{path}"')
        assert problem.startswith("crosspoint.yaml:2:"), problem
        assert f"at pbx.{name}" in problem
    assert parse(f"pbx: {{{name}: sounds/en_US}}").pbx is not None


@pytest.mark.parametrize(
    "text", ["tokens: {secret: hunter2}", "tokens: {secret: {value: hunter2}}"]
)
def test_a_literal_secret_is_refused_and_not_repeated(text: str) -> None:
    (problem,) = problems_of(text)
    assert "{env: NAME} or {file: PATH}" in problem
    assert "hunter2" not in problem


def test_a_file_that_is_not_there_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        load_settings(tmp_path / "gone.yaml", {})
    with pytest.raises(FileError, match="cannot be read"):
        load_settings(tmp_path, {})


def test_the_file_is_the_one_given_or_in_the_environment_or_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_settings(None, {}) is None
    (tmp_path / "crosspoint.yaml").touch()
    assert find_settings(None, {}) == Path("crosspoint.yaml")
    assert find_settings(None, {"CROSSPOINT_CONFIG": "b.yaml"}) == Path("b.yaml")
    assert find_settings("a.yaml", {"CROSSPOINT_CONFIG": "b.yaml"}) == Path("a.yaml")


def test_the_stores_password_is_not_shown() -> None:
    store = StoreSettings(url="rediss://user:hunter2@redis:6380/0?password=hunter2")
    assert store.public_url() == "rediss://redis:6380/0"
    assert "hunter2" not in repr(store)
    assert "hunter2" not in repr(Settings(store=store))


@pytest.mark.parametrize(
    "url",
    [
        "redis://[hunter2",
        "redis://:hunter2",
        "redis://:hun/ter2@h",
        "redis://:ter2#hun@h",
        "redis://:hunter2@h,:hunter2",
    ],
)
def test_nothing_of_a_mistyped_store_url_is_shown(url: str) -> None:
    assert StoreSettings(url=url).public_url() == "(store.url is no URL)"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://10.0.0.1:6379/1",
        "rediss://[::1]:6379",
        "unix:///run/store@home.sock",
        "redis+sentinel://a:1,b-c.d:2/main",
    ],
)
def test_a_store_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert StoreSettings(url=url).public_url() == url


def test_a_secrets_file_is_looked_for_in_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(None, {"CROSSPOINT_DATA_DIR": str(tmp_path)})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/main").write_text("k" * 40 + "\n")
    secrets = secret_source(settings, {"HERE": "e" * 32})
    assert secrets(SecretRef(file="secrets/main")) == "k" * 40
    assert secrets(SecretRef(env="HERE")) == "e" * 32
    with pytest.raises(InvalidInputError, match="cannot be read"):
        secrets(SecretRef(file="secrets/gone"))


def test_every_setting_stands_in_the_reference() -> None:
    reference = (Path(__file__).parents[3] / "deploy/settings.md").read_text()
    for field in msgspec.structs.fields(Settings):
        inner = PbxSettings if field.name == "pbx" else field.type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            for name in inner.__struct_fields__:
                key = f"{field.name}.{name}"
                assert f"`{key}`" in reference or f"`{key}." in reference, key
        else:
            assert f"`{field.name}`" in reference
    for name in CallbackSettings.__struct_fields__:
        assert f"`pbx.callbacks.{name}`" in reference
