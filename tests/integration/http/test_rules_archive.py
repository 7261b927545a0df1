"""Every logged decision can be explained and made again, whatever the rules are by now."""

import asyncio
import json
import secrets
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from router.cli.main import cli as command
from router.deadline import in_s
from router.decisions.log import Entry, Filters
from router.decisions.outcome import Level
from router.rulesets.archive import LARGEST_PACKED, RulesArchive, load_version, pack, unpack
from router.settings import PrivacySettings
from router.store import keys, rules_versions
from router.store.decisions import Line, append_decisions, list_decisions
from router.store.rules_versions import get_version, keep_version
from rules.facts import CallFacts
from rules.loader import Source, load_source, parse_source
from tests.integration.http.conftest import RULES, TENANT, Running, Start, apply, until

CHANGED = RULES.replace("default: {route: sales}", "default: {route: english}")
WITH_LIST = """
version: 1
lists: {vip: {csv: vip.csv, column: number}}
rules:
  - {name: vip, when: {caller: {in: vip}}, then: {end: {message: VIP}}}
default: {end: {message: other}}
"""


async def is_kept(at_work: Running, digest: str) -> bool:
    link = at_work.service.links.link_for(TENANT)
    return await get_version(link, TENANT, digest, in_s(5)) is not None


async def version_in_force(at_work: Running) -> str:
    """The digest of the rules, once they are kept."""
    await until(lambda: at_work.service.rulesets.get("acme"))
    ruleset = at_work.service.rulesets.get("acme")
    assert ruleset is not None
    await until(lambda: is_kept(at_work, ruleset.digest))
    return ruleset.digest


async def change_rules(at_work: Running, text: str) -> None:
    ruleset = at_work.service.rulesets.get("acme")
    assert ruleset is not None
    (at_work.service.settings.rules_dir / "acme.yaml").write_text(text)
    await until(lambda: at_work.service.rulesets.get("acme").digest != ruleset.digest)  # type: ignore[union-attr]


async def logged(at_work: Running, count: int) -> list[str]:
    """The ids of the logged decisions, newest first, once there are so many."""
    found: list[str] = []

    async def are_there() -> bool:
        link = at_work.service.links.link_for(TENANT)
        page = await list_decisions(link, TENANT, Filters(), limit=50, deadline=in_s(5))
        found[:] = [one.id for one in page.decisions]
        return len(found) >= count

    await until(are_there)
    return found


async def run(at_work: Running, folder: Path, *arguments: str) -> Result:
    settings = at_work.service.settings
    config = folder / "crosspoint.yaml"
    form = {
        "store": {"url": settings.store.url},
        "data_dir": str(settings.data_dir),
        "rules_dir": str(settings.rules_dir),
    }
    config.write_text(json.dumps(form))
    options = ["-c", str(config), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, command, options)


async def test_a_decision_by_an_older_version_is_explained_with_that_version(
    main: Running, tmp_path: Path
):
    digest = await version_in_force(main)
    await main.call()
    (decision,) = await logged(main, 1)
    await change_rules(main, CHANGED)
    said = await run(main, tmp_path, "decisions", "--explain", decision, "--json")
    form = json.loads(said.stdout)
    assert form["not_explained"] is None
    assert form["explanation"]["digest"] == digest
    assert form["explanation"]["decision"]["action"]["target"]["id"] == "60"


async def test_versions_that_were_replaced_before_the_store_was_told_are_kept_too(main: Running):
    first = await version_in_force(main)
    link, tenant = main.service.links.link_for(TENANT), secrets.token_hex(4)
    archive = RulesArchive(main.service.rulesets, lambda _: link, lambda: [(tenant, "acme")])
    digests = [first]
    for n in range(3):  # nobody brings them to this tenant's store meanwhile
        await change_rules(main, f"{CHANGED}# {n}\n")
        digests.append(main.service.rulesets.versions("acme")[-1].digest)
    await archive.bring()
    kept = [await get_version(link, tenant, digest, in_s(5)) for digest in digests]
    assert all(kept)
    assert len(set(kept)) == 4


async def test_a_version_that_was_replaced_is_brought_once_and_not_kept_for_longer(
    main: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.rulesets.archive.AGAIN_EVERY_S", 0.0)
    first = await version_in_force(main)
    await change_rules(main, CHANGED)
    digests = [first, main.service.rulesets.versions("acme")[-1].digest]
    link, tenant = main.service.links.link_for(TENANT), secrets.token_hex(4)
    archive = RulesArchive(main.service.rulesets, lambda _: link, lambda: [(tenant, "acme")])
    await archive.bring()
    for digest in digests:
        assert await link.call("DEL", keys.rules_version(tenant, digest), deadline=in_s(5)) == 1
    await archive.bring()
    kept = [await get_version(link, tenant, digest, in_s(5)) for digest in digests]
    assert [text is not None for text in kept] == [False, True]


async def test_a_masked_decision_is_explained_with_the_rule_that_made_it(
    main: Running, tmp_path: Path
):
    await main.call(external_number="+12125550122")
    (decision,) = await logged(main, 1)
    said = await run(main, tmp_path, "decisions", "--explain", decision, "--json")
    explanation = json.loads(said.stdout)["explanation"]
    (vip,) = [each for each in explanation["skipped"] if each["rule"] == "vip"]
    assert (vip["outcome"], vip["reason"]["found"]) == ("false", "+1212…22 (masked)")


async def test_a_repeat_is_said_to_be_one_and_is_not_replayed(main: Running, tmp_path: Path):
    await main.call()
    await main.call()
    newest, *_ = await logged(main, 2)
    said = await run(main, tmp_path, "decisions", "--explain", newest, "--json")
    assert "repeats an earlier answer" in json.loads(said.stdout)["not_explained"]
    file = str(main.service.settings.rules_dir / "acme.yaml")
    replayed = await run(main, tmp_path, "rules", "replay", file, "--json")
    assert json.loads(replayed.stdout)["decisions"] == 1


async def test_a_decision_is_found_however_far_back_in_the_log_it_is(
    main: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.store.decisions.MOST_LOOKED_AT", 500)
    call = CallFacts(call_id="1")
    others = Entry(
        at_s=1.8e9, router="main", level=Level.FULL, call=call, answer="{}", duration_us=1
    )
    wanted = msgspec.structs.replace(others, router="quick")
    link = main.service.links.link_for(TENANT)
    texts = [Line(one.at_s, msgspec.json.encode(one)) for one in (wanted, *[others] * 1200)]
    await append_decisions(link, TENANT, texts, kept=2000, deadline=in_s(5))
    said = await run(main, tmp_path, "decisions", "--router", "quick", "--json")
    assert [one["router"] for one in json.loads(said.stdout)] == ["quick"]
    assert "no such decisions" in (await run(main, tmp_path, "decisions", "--call", "2")).stdout


@pytest.mark.parametrize(
    ("word", "is_enabled"), [("disable", False), ("enable", True), ("reset-errors", True)]
)
async def test_switches_tell_machines_how_the_router_is(
    main: Running, tmp_path: Path, word: str, *, is_enabled: bool
):
    told = json.loads((await run(main, tmp_path, "routers", word, "main", "--json")).stdout)
    assert (told["id"], told["health"]["is_enabled"]) == ("main", is_enabled)


async def test_replay_shows_what_other_rules_would_change_and_exits_1(
    main: Running, tmp_path: Path
):
    await version_in_force(main)
    await main.call(call_id=1)
    await main.call(call_id=2, external_number="+12125550133")
    await logged(main, 2)
    (tmp_path / "acme.yaml").write_text(RULES)
    same = await run(main, tmp_path, "rules", "replay", str(tmp_path / "acme.yaml"))
    assert (same.exit_code, "2 as before, 0 different, 0 open" in same.stdout) == (0, True)
    (tmp_path / "draft.yaml").write_text(CHANGED)
    draft = ("rules", "replay", str(tmp_path / "draft.yaml"), "--ruleset", "acme")
    changed = await run(main, tmp_path, *draft, "--json")
    form = json.loads(changed.stdout)
    assert (changed.exit_code, form["verdicts"]) == (1, {"same": 1, "different": 1})
    (change,) = form["changes"]
    assert (change["call_id"], change["was"], change["now"]) == ("1", "default", ["default"])
    table = await run(main, tmp_path, *draft)
    assert "1 as before, 1 different, 0 open" in table.stdout
    assert "default, with another action" in table.stdout
    none = await run(main, tmp_path, *draft[:3])
    assert "no decisions of the rules draft" in none.stdout
    assert "of acme there are: --ruleset" in none.stdout


async def test_replay_leaves_open_what_a_masked_log_cannot_tell(main: Running, tmp_path: Path):
    await version_in_force(main)
    await main.call()
    await logged(main, 1)
    rule = '  - {name: new, when: {caller: "+12125550142"}, then: {route: spanish}}\n'
    (tmp_path / "acme.yaml").write_text(RULES.replace("rules:\n", "rules:\n" + rule))
    found = await run(main, tmp_path, "rules", "replay", str(tmp_path / "acme.yaml"), "--json")
    form = json.loads(found.stdout)
    assert (found.exit_code, form["verdicts"]) == (0, {"open": 1})
    assert form["changes"][0]["now"] == ["new", "default"]
    assert form["changes"][0]["open"] == ["caller"]


async def test_with_whole_numbers_in_the_log_nothing_is_open(
    start: Start, redis_url: str, tmp_path: Path
):
    at_work = await start(redis_url, privacy=PrivacySettings(log_full_numbers=True))
    await apply(at_work.service)
    await version_in_force(at_work)
    await at_work.call()
    await logged(at_work, 1)
    rule = '  - {name: new, when: {caller: "+12125550142"}, then: {route: spanish}}\n'
    (tmp_path / "acme.yaml").write_text(RULES.replace("rules:\n", "rules:\n" + rule))
    found = await run(at_work, tmp_path, "rules", "replay", str(tmp_path / "acme.yaml"), "--json")
    assert (found.exit_code, json.loads(found.stdout)["verdicts"]) == (1, {"different": 1})


@pytest.mark.parametrize(
    "bad",
    [
        ("--since", "soon"),
        ("--limit", "0"),
        ("--since", "2026-12-01T10:00:00"),
        ("--since", "0001-01-01T00:00:00Z"),
    ],
)
async def test_replay_refuses_what_it_cannot_read(
    main: Running, tmp_path: Path, bad: tuple[str, str]
):
    file = str(main.service.settings.rules_dir / "acme.yaml")
    assert (await run(main, tmp_path, "rules", "replay", file, *bad)).exit_code == 2
    assert (await run(main, tmp_path, "rules", "replay", str(tmp_path / "no"))).exit_code == 2


async def test_versions_beyond_their_number_or_size_go_the_oldest_first(
    main: Running, monkeypatch: pytest.MonkeyPatch
):
    link, tenant = main.service.links.link_for("t"), secrets.token_hex(4)
    monkeypatch.setattr(rules_versions, "MOST_VERSIONS", 3)
    monkeypatch.setattr(rules_versions, "MOST_BYTES", 100)

    async def kept() -> list[str]:
        names = "abcdef"
        return [n for n in names if await get_version(link, tenant, n, in_s(5)) is not None]

    for name in "abcd":
        assert await keep_version(link, tenant, name, b"x", in_s(5))
        await next_millisecond(main)
    assert await kept() == ["b", "c", "d"]
    assert await keep_version(link, tenant, "b", b"", in_s(5))
    await next_millisecond(main)
    assert await keep_version(link, tenant, "e", b"x" * 99, in_s(5))
    assert await kept() == ["b", "e"]
    assert not await keep_version(link, tenant, "a", b"", in_s(5))
    await next_millisecond(main)
    assert await keep_version(link, tenant, "f", b"x" * 1000, in_s(5))
    assert await kept() == ["f"]


async def next_millisecond(main: Running) -> None:
    link = main.service.links.link_for("t")

    async def now() -> int:
        seconds, micros = await link.call("TIME", deadline=in_s(5))  # type: ignore[misc]  # a pair
        return int(seconds) * 1000 + int(micros) // 1000

    before = await now()

    async def is_later() -> bool:
        return await now() > before

    await until(is_later)


async def test_a_version_that_was_damaged_is_not_used(main: Running):
    digest = await version_in_force(main)
    link = main.service.links.link_for(TENANT)
    for damaged in (b"", b"x", pack(Source(name="a", file="a.yaml", text=b"version: 1"))):
        await link.call("SET", keys.rules_version(TENANT, digest), damaged or b"", deadline=in_s(5))
        assert await load_version(link, TENANT, digest, in_s(5)) is None


def test_a_version_is_its_file_and_its_lists(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(WITH_LIST)
    (tmp_path / "vip.csv").write_text("number\n+12125550142\n")
    document, source = load_source(tmp_path / "a.yaml")
    packed = pack(source)
    assert packed is not None
    (tmp_path / "vip.csv").unlink()
    again = unpack(packed)
    assert again is not None
    assert parse_source(again).digest == document.digest
    assert parse_source(again).lists["vip"].numbers == {"+12125550142"}


def test_what_is_too_large_is_not_packed_and_a_bomb_is_not_unpacked():
    noise = secrets.token_bytes(LARGEST_PACKED + 1)
    assert pack(Source(name="a", file="a.yaml", text=noise)) is None
    bomb = pack(Source(name="a", file="a.yaml", text=bytes(64 * 1024 * 1024)))
    assert bomb is not None
    assert unpack(bomb) is None


def test_what_is_packed_says_nothing_of_where_it_was(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("version: 1\ndefault: {end: {}}\n")
    _, source = load_source(tmp_path / "a.yaml")
    assert str(tmp_path) not in msgspec.json.encode(source).decode()
