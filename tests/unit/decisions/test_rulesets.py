"""A rules folder that is watched: what is better goes live, what is worse does not."""

import os
from pathlib import Path

import pytest

from router.rulesets.in_force import LoadState, Rulesets, RulesetState

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
lists: {vip: {csv: vip.csv, column: number}}
rules:
  - {name: vip, when: {caller: {in: vip}}, then: {end: {message: VIP}}}
default: {end: {message: other}}
"""


class Folder:
    """A folder of rules and the rulesets that follow it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[RulesetState] = []
        self.rulesets = Rulesets(path, lambda: 1_770_000_000.0, self.told.append)
        self._tick = 1_000_000_000

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
    assert folder.digest() is not None
    assert folder.state().problems[0].code == "file-missing"
    folder.write("a.yaml", GOOD % 2)
    await folder.look_twice()
    assert folder.state().state is LoadState.LOADED


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
    await folder.rulesets.load()
    assert folder.rulesets.states == ()
    folder.path.mkdir()
    folder.write("a.yaml", GOOD % 1)
    await folder.look_twice()
    assert folder.digest() is not None


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
    folder.write("a.yaml", WITH_LIST)
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
    folder.write("a.yaml", WITH_LIST)
    await folder.rulesets.load()
    assert folder.state().state is LoadState.BROKEN
    folder.write("vip.csv", "number\n+12125550111\n")
    await folder.look_twice()
    assert folder.state().state is LoadState.LOADED


async def test_nothing_changed_is_nothing_read(folder: Folder) -> None:
    folder.write("a.yaml", GOOD % 1)
    await folder.rulesets.load()
    await folder.look_twice()
    assert len(folder.told) == 1


def started_anew(folder: Folder, last_good: Path) -> Folder:
    """Another process over the same files."""
    other = Folder(folder.path)
    other.rulesets = Rulesets(
        folder.path, lambda: 1_770_000_000.0, other.told.append, last_good=last_good
    )
    return other


async def test_a_process_started_with_a_broken_file_answers_with_the_last_good_version(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    last_good = tmp_path_factory.mktemp("data") / "last_good"
    folder.write("vip.csv", "number\n+12125550142\n")
    folder.write("a.yaml", WITH_LIST)
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
