"""A rules folder that is watched: what is better goes live, what is worse does not."""

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.rulesets import folder as looked_at
from router.rulesets.folder import MOST_FILES
from router.rulesets.in_force import (
    LOOK_AGAIN_S,
    LOOK_EVERY_S,
    LoadState,
    Rulesets,
    RulesetState,
)

GOOD = """
version: 1
default: {route: {type: department, id: "%s"}}
"""
FAILS_ITS_CASE = """
version: 1
default: {route: {type: department, id: "9"}}
cases:
  - {name: wrong, call: {caller: "+12125550142"}, expect: {rule: other}}
"""
WITH_LIST = """
version: 1
lists: {vip: {csv: %s, column: number}}
rules:
  - {name: vip, when: {caller: {in: vip}}, then: {end: {message: VIP}}}
default: {end: {message: other}}
"""


class Folder:
    """A folder of rules and the rulesets that follow it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[RulesetState] = []
        self.in_use: frozenset[str] = frozenset({"a"})
        self.rulesets = self.rulesets_with(None)
        self._tick = 1_000_000_000

    def rulesets_with(self, last_good: Path | None) -> Rulesets:
        return Rulesets(
            self.path,
            lambda: 1_770_000_000.0,
            self.told.append,
            in_use=lambda: self.in_use,
            last_good=last_good,
        )

    def write(self, name: str, text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        (self.path / name).write_bytes(data)
        self._tick += 1_000_000_000
        os.utime(self.path / name, ns=(self._tick, self._tick))

    async def look_twice(self) -> None:
        await self.rulesets.look()
        await self.rulesets.look()

    def digest(self, name: str = "a") -> str | None:
        ruleset = self.rulesets.get(name)
        return None if ruleset is None else ruleset.digest

    def state(self, name: str = "a") -> RulesetState:
        return next(state for state in self.rulesets.states if state.name == name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_a_good_file_is_in_force_and_a_better_one_replaces_it(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    first = folder.digest()
    folder.write("a.yaml", GOOD % 2)
    await folder.look_twice()
    assert first is not None
    assert folder.digest() not in {None, first}
    assert folder.state().state is LoadState.LOADED


@pytest.mark.parametrize(
    "worse",
    ["", "version: 1", "{", FAILS_ITS_CASE, b"\x00\xff", "a: &x [*x]", "[" * 10_000],
    ids=["empty", "no default", "no yaml", "its case fails", "binary", "anchors", "deep"],
)
async def test_a_worse_file_leaves_the_last_good_one_in_force_and_says_why(
    folder: Folder, worse: str | bytes
) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    good = folder.digest()
    folder.write("a.yaml", worse)
    await folder.look_twice()
    assert folder.digest() == good
    assert (folder.state().state, folder.state().digest) == (LoadState.STALE, good)
    assert folder.state().problems
    folder.write("a.yaml", GOOD % 3)
    await folder.look_twice()
    assert folder.state().state is LoadState.LOADED
    assert folder.digest() != good


async def test_a_removed_file_leaves_its_last_version_in_force(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    (folder.path / "a.yaml").unlink()
    await folder.look_twice()
    await folder.look_twice()
    assert folder.digest() is not None
    assert [problem.code for problem in folder.state().problems] == ["file-missing"]
    assert len(folder.told) == 2
    folder.write("a.yaml", GOOD % 2)
    await folder.look_twice()
    assert folder.state().state is LoadState.LOADED


async def test_a_removed_file_that_no_router_uses_is_forgotten(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    folder.write("other.yaml", GOOD % 2)
    folder.write("broken.yaml", "{")
    await folder.rulesets.load()
    (folder.path / "other.yaml").unlink()
    (folder.path / "broken.yaml").unlink()
    await folder.look_twice()
    assert [state.name for state in folder.rulesets.states] == ["a"]
    assert folder.digest("other") is None
    assert [state.name for state in folder.told if state.state is LoadState.GONE] == [
        "broken",
        "other",
    ]


async def test_rules_without_a_file_are_forgotten_once_no_router_uses_them(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    (folder.path / "a.yaml").unlink()
    await folder.look_twice()
    assert folder.digest() is not None
    folder.in_use = frozenset()
    await folder.rulesets.look()
    assert folder.rulesets.states == ()


async def test_of_what_is_forgotten_nothing_stays_on_the_disk(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Files named by their day would pile up, and a new router might be answered by one of long ago."""
    last_good = tmp_path_factory.mktemp("data") / "last_good"
    one = started_anew(folder, last_good)
    one.write("a.yaml", GOOD % 1)
    one.write("monday.yaml", GOOD % 2)
    await one.rulesets.load()
    kept = {file.name for file in last_good.iterdir()}
    for name in ("a", "monday"):
        (one.path / f"{name}.yaml").unlink()
    await one.look_twice()
    assert kept - {file.name for file in last_good.iterdir()} == {"monday.packed"}
    folder.in_use = one.in_use = frozenset({"a", "monday"})
    await one.look_twice()
    assert one.digest("monday") is None
    assert one.digest() is not None


async def test_a_file_away_for_a_moment_is_not_missed(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    (folder.path / "a.yaml").unlink()
    await folder.rulesets.look()
    folder.write("a.yaml", GOOD % 2)
    await folder.look_twice()
    assert [state.state for state in folder.told] == [LoadState.LOADED, LoadState.LOADED]


async def test_of_two_files_of_one_name_the_yaml_counts_and_the_other_is_told(
    folder: Folder,
) -> None:
    folder.write("a.yml", GOOD % 2)
    await folder.rulesets.load()
    second = folder.digest()
    folder.write("a.yaml", GOOD % 1)
    await folder.look_twice()
    assert folder.digest() != second
    (problem,) = folder.state().problems
    assert (problem.code, problem.mark.file) == ("duplicate-name", "a.yml")
    assert folder.state().state is LoadState.LOADED
    (folder.path / "a.yaml").unlink()
    await folder.look_twice()
    assert folder.digest() == second
    assert (folder.state().file, folder.state().problems) == ("a.yml", ())


async def test_a_file_broken_from_the_start_is_no_ruleset_until_it_is_mended(
    folder: Folder,
) -> None:
    folder.write("a.yaml", "{")
    await folder.rulesets.load()
    assert folder.digest() is None
    assert folder.state().state is LoadState.BROKEN
    folder.write("a.yaml", GOOD % 1)
    await folder.look_twice()
    assert folder.digest() is not None


async def test_a_missing_folder_is_no_rules_until_it_appears(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "later")
    with capture_logs() as lines:
        await folder.rulesets.load()
        await folder.look_twice()
    reasons = [line["reason"] for line in lines if line["event"] == "rules_folder_unreadable"]
    assert reasons == ["No such file or directory"]
    assert folder.rulesets.states == ()
    folder.path.mkdir()
    folder.write("a.yaml", GOOD % 1)
    await folder.look_twice()
    assert folder.digest() is not None


async def test_a_ruleset_that_a_router_names_and_no_file_holds_is_told_once(folder: Folder) -> None:
    folder.in_use = frozenset({"a", "b"})
    folder.write("a.yaml", "broken: [")
    with capture_logs() as lines:
        await folder.rulesets.load()
        await folder.look_twice()
    told = [
        (line["log_level"], line["ruleset"]) for line in lines if line["event"] == "rules_missing"
    ]
    assert told == [("error", "b")]
    assert folder.rulesets.missing(folder.in_use) == {"b"}
    folder.write("b.yaml", GOOD % 1)
    await folder.look_twice()
    assert folder.rulesets.missing(folder.in_use) == frozenset()


async def test_a_file_that_is_still_being_written_is_waited_for(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    first = folder.digest()
    folder.write("a.yaml", GOOD % 2)
    await folder.rulesets.look()
    assert folder.digest() == first
    folder.write("a.yaml", GOOD % 3)
    await folder.rulesets.look()
    assert folder.digest() == first
    await folder.rulesets.look()
    assert folder.digest() != first


async def test_a_changed_list_is_read_again_with_the_file_that_names_it(folder: Folder) -> None:
    folder.write("vip.csv", "number\n+12125550111\n")
    folder.write("a.yaml", WITH_LIST % "vip.csv")
    folder.write("b.yaml", GOOD % 1)
    await folder.rulesets.load()
    first, other = folder.digest(), folder.digest("b")
    told = len(folder.told)
    folder.write("vip.csv", "number\n+12125550122\n")
    await folder.look_twice()
    assert folder.digest() != first
    assert folder.digest("b") == other
    assert len(folder.told) == told + 1


async def test_a_file_that_waits_for_its_list_is_taken_when_the_list_comes(
    folder: Folder,
) -> None:
    folder.write("a.yaml", WITH_LIST % "vip.csv")
    await folder.rulesets.load()
    assert folder.state().state is LoadState.BROKEN
    folder.write("vip.csv", "number\n+12125550111\n")
    await folder.look_twice()
    assert folder.state().state is LoadState.LOADED


@pytest.mark.parametrize("list_file", ["lists/vip.csv", ".vip.csv"])
async def test_a_list_is_read_again_wherever_it_stands(folder: Folder, list_file: str) -> None:
    (folder.path / "lists").mkdir()
    folder.write(list_file, "number\n+12125550111\n")
    folder.write("a.yaml", WITH_LIST % list_file)
    await folder.rulesets.load()
    first = folder.digest()
    folder.write(list_file, "number\n+12125550111\n+12125550122\n")
    await folder.look_twice()
    assert folder.digest() not in {None, first}


async def test_a_new_list_that_is_still_being_written_is_waited_for(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    first = folder.digest()
    folder.write("a.yaml", WITH_LIST % "vip.csv")
    for row in range(5):
        folder.write("vip.csv", "number\n" + "+12125550111\n" * row)
        await folder.rulesets.look()
    assert folder.digest() == first
    await folder.rulesets.look()
    assert folder.digest() != first


async def test_a_file_that_keeps_changing_holds_up_no_other(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    folder.write("restless.yaml", GOOD % 1)
    await folder.rulesets.load()
    first, restless = folder.digest(), folder.digest("restless")
    folder.write("a.yaml", GOOD % 2)
    for change in range(3):
        folder.write("restless.yaml", GOOD % (10 + change))
        folder.write("activity.log", f"{change}")
        await folder.rulesets.look()
    assert folder.digest() != first
    assert folder.digest("restless") == restless


async def test_other_files_in_any_number_push_no_rules_out(folder: Folder) -> None:
    for number in range(5 * MOST_FILES):
        (folder.path / f"{number}.csv").touch()
    folder.write("z.yaml", GOOD % 1)
    await folder.rulesets.load()
    assert folder.digest("z") is not None
    assert folder.rulesets.left_out == 0


async def test_links_that_lead_nowhere_and_folders_are_no_rules_and_in_nobodys_way(
    folder: Folder,
) -> None:
    for name in ("0.yaml", "b.yaml"):
        (folder.path / name).symlink_to(name)
    (folder.path / "1.yaml").symlink_to("gone")
    (folder.path / "2.yaml").mkdir()
    folder.write("a.yaml", GOOD % 1)
    folder.write("z.yaml", GOOD % 1)
    await folder.rulesets.load()
    assert [state.name for state in folder.rulesets.states] == ["a", "z"]


async def test_too_many_rules_files_are_told_and_push_none_out_that_is_known(
    folder: Folder,
) -> None:
    folder.write("z.yaml", GOOD % 1)
    await folder.rulesets.load()
    for number in range(MOST_FILES + 2):
        (folder.path / f"{number}.yaml").touch()
    with capture_logs() as logs:
        await folder.rulesets.look()
    assert folder.rulesets.left_out == 3
    assert [line["count"] for line in logs if line["event"] == "rules_files_left_out"] == [3]
    first = folder.digest("z")
    folder.write("z.yaml", GOOD % 2)
    await folder.look_twice()
    assert folder.digest("z") not in {None, first}


async def test_a_file_that_could_not_be_read_is_taken_when_its_rights_are_mended(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a.yaml", GOOD % 1)
    with monkeypatch.context() as patch:  # the tests may run as root, who reads everything
        patch.setattr("rules.loader._read_file", _refuse)
        await folder.rulesets.load()
    assert folder.state().state is LoadState.BROKEN
    (folder.path / "a.yaml").chmod(0o600)
    await folder.look_twice()
    assert folder.state().state is LoadState.LOADED


def _refuse(_path: Path, _most: int) -> bytes:
    raise PermissionError(13, "Permission denied")


async def test_the_log_says_what_is_wrong_with_a_file_and_where(folder: Folder) -> None:
    folder.write("a.yaml", "version: 1\nrule: []\ndefault: {end: {message: bye}}\n")
    with capture_logs() as logs:
        await folder.rulesets.load()
    (line,) = [line for line in logs if line["event"] == "rules_not_loaded"]
    assert (line["code"], line["line"], line["state"]) == ("unknown-key", 2, "broken")
    assert (Path(line["file"]).name, line["problems"]) == ("a.yaml", 1)
    assert "key" in line["message"]


async def test_the_log_does_not_repeat_what_a_failed_case_looked_at(folder: Folder) -> None:
    rule = '{name: known, when: {attributes: {customer: Smith}}, then: {end: {message: "1"}}}'
    case = (
        '{name: knows them, at: "2026-12-01T10:00:00Z", expect: {rule: known},'
        " call: {attributes: {customer: Jones}}}"
    )
    folder.write("a.yaml", f"{GOOD % 1}\nrules: [{rule}]\ncases: [{case}]\n")
    with capture_logs() as logs:
        await folder.rulesets.load()
    (line,) = [line for line in logs if line["event"] == "rules_not_loaded"]
    assert line["message"] == "case 'knows them' failed: rule 'default' decided, not 'known'"
    assert "Jones" in folder.state().problems[0].message


async def test_nothing_changed_is_nothing_read(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    await folder.look_twice()
    assert len(folder.told) == 1


async def test_a_folder_at_rest_is_looked_at_less_often_than_one_that_changes(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            folder.write("a.yaml", GOOD % 2)
        if len(pauses) == 5:
            raise asyncio.CancelledError

    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    before = folder.digest()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await folder.rulesets.watch()
    assert pauses == [LOOK_AGAIN_S, LOOK_AGAIN_S, LOOK_EVERY_S, LOOK_AGAIN_S, LOOK_EVERY_S]
    assert folder.digest() != before


async def test_where_nothing_has_changed_a_look_is_the_same_and_any_change_makes_another(
    tmp_path: Path,
) -> None:
    rules, vip = tmp_path / "a.yaml", tmp_path / "lists/vip.csv"
    vip.parent.mkdir()
    write(rules, "x")
    watched, known = looked_at.Folder(tmp_path), {rules: [rules, vip]}
    first = watched.look(known)
    assert watched.look(known) is first
    seen = [first]
    for change in (
        lambda: write(vip, "number"),
        lambda: write(vip, "number\n+12125550142"),
        lambda: write(rules, "xy"),
        lambda: write(tmp_path / "b.yml", "x"),
        vip.unlink,
    ):
        change()
        seen.append(watched.look(known))
        assert seen[-1] == looked_at.look_at(tmp_path, known)
        assert seen[-1] != seen[-2]


def write(file: Path, text: str) -> None:
    file.write_text(text)


def started_anew(folder: Folder, last_good: Path) -> Folder:
    """Another process over the same files."""
    other = Folder(folder.path)
    other.rulesets = other.rulesets_with(last_good)
    return other


async def test_a_process_started_with_a_broken_file_answers_with_the_last_good_version(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    last_good = tmp_path_factory.mktemp("data") / "last_good"
    folder.write("vip.csv", "number\n+12125550142\n")
    folder.write("a.yaml", WITH_LIST % "vip.csv")
    first = started_anew(folder, last_good)
    await first.rulesets.load()
    folder.write("a.yaml", FAILS_ITS_CASE)
    folder.write("vip.csv", "gone")
    second = started_anew(folder, last_good)
    await second.rulesets.load()
    assert second.digest() == first.digest() is not None
    assert (second.state().state, second.state().digest) == (LoadState.STALE, first.digest())
    assert second.state().problems
    folder.write("a.yaml", GOOD % 5)
    await second.look_twice()
    assert second.state().state is LoadState.LOADED


async def test_a_process_started_while_a_file_is_gone_answers_with_the_last_good_version(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    last_good = tmp_path_factory.mktemp("data") / "last_good"
    folder.write("a.yaml", GOOD % 1)
    folder.write("unused.yaml", GOOD % 2)
    first = started_anew(folder, last_good)
    await first.rulesets.load()
    (folder.path / "a.yaml").unlink()
    (folder.path / "unused.yaml").unlink()
    second = started_anew(folder, last_good)
    await second.rulesets.load()
    assert second.digest() == first.digest() is not None
    assert [state.name for state in second.rulesets.states] == ["a"]
    assert (second.state().state, second.state().file) == (LoadState.STALE, "a.yaml")
    assert second.state().problems[0].code == "file-missing"
    folder.write("a.yaml", GOOD % 3)
    await second.look_twice()
    assert second.state().state is LoadState.LOADED
    second.in_use = frozenset({"a", "unused", "never there"})
    await second.rulesets.look()
    assert second.digest("unused") == first.digest("unused") is not None


@pytest.mark.parametrize("damage", [b"", b"x", None], ids=["empty", "damaged", "gone"])
async def test_without_a_readable_last_good_version_a_broken_file_is_broken(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, damage: bytes | None
) -> None:
    last_good = tmp_path_factory.mktemp("data")
    folder.write("a.yaml", GOOD % 1)
    await started_anew(folder, last_good).rulesets.load()
    (kept,) = last_good.iterdir()
    kept.unlink() if damage is None else kept.write_bytes(damage)
    folder.write("a.yaml", "{")
    other = started_anew(folder, last_good)
    await other.rulesets.load()
    assert (other.digest(), other.state().state) == (None, LoadState.BROKEN)


async def test_a_disk_that_cannot_be_written_harms_nobody(folder: Folder) -> None:
    folder.write("file", "in the way")
    folder.write("a.yaml", GOOD % 1)
    other = started_anew(folder, folder.path / "file" / "below")
    await other.rulesets.load()
    assert other.state().state is LoadState.LOADED
