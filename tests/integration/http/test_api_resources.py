"""Routers, queues, agents, rules and decisions, over the API and a real store."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.acd.agents import AgentState
from router.deadline import in_s
from router.decisions.error_budget import RouterError
from router.decisions.log import Entry, explain_entry
from router.decisions.outcome import ErrorCode, Level
from router.errors import NotFoundError
from router.store import keys
from router.store.agents_seen import StatusSeen
from router.store.decisions import Line, append_decisions
from router.store.errors import record_errors
from rules.explain import Explanation
from rules.facts import CallFacts
from rules.lint import unknown_names
from rules.problems import MOST_PROBLEMS, Problem
from rules.ruleset import Ruleset
from tests.integration.http.api_server import ROUTER_SECRET, ApiServer, api_server

RULES = """
version: 1
rules:
  - name: vip
    when: {caller: "+12125550142"}
    then: {end: {message: hello}}
default: {end: {}}
cases:
  - name: the vip
    call: {caller: "+12125550142"}
    at: "2026-12-01T10:00:00Z"
    expect: {rule: vip}
"""


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(redis_url, tmp_path) as server:
        await server.furnish()
        yield server


ROUTER = {"id": "new", "name": "New", "rules": "acme",
          "default_target": {"type": "department", "id": "1"}}  # fmt: skip


async def errors_happen(api: ApiServer, count: int, router: str = "plain") -> None:
    now_ms = int(time.time() * 1000)
    errors = [RouterError(now_ms + n, ErrorCode.TIMEOUT, f"k{now_ms}-{n}") for n in range(count)]
    link = api.links.link_for("acme")
    await record_errors(link, "acme", router, errors, in_s(5), now_ms=now_ms)


async def test_a_router_is_made_changed_shown_and_removed(api: ApiServer):
    made = await api.ask("POST", "/routers", ROUTER)
    assert (made.status, made.data["enabled"], made.data["budget_ms"]) == (201, True, 800)
    assert (await api.ask("POST", "/routers", ROUTER)).status == 409
    changed = await api.ask("PATCH", "/routers/new", {"budget_ms": 500, "name": "Newer"})
    assert (changed.data["budget_ms"], changed.data["name"]) == (500, "Newer")
    assert (await api.ask("GET", "/routers/new")).data == changed.data
    listed = await api.ask("GET", "/routers")
    assert [router["id"] for router in listed.data] == ["new", "plain", "signed"]
    assert (await api.ask("DELETE", "/routers/new")).data == {}
    assert (await api.ask("DELETE", "/routers/new")).status == 404
    assert (await api.ask("PATCH", "/routers/new", {"name": "x"})).status == 404


async def test_the_id_of_a_router_of_another_tenant_is_taken(api: ApiServer):
    assert (await api.ask("POST", "/routers", ROUTER)).status == 201
    assert (await api.ask("POST", "/routers", ROUTER, tenant="other")).status == 409


async def test_rules_of_another_tenant_are_given_by_a_platform_admin_only(api: ApiServer):
    """Whose router uses rules is answered by them, and told how they come to it."""
    spy = {**ROUTER, "id": "spy"}
    for rules in ("acme", "nobodys"):
        refused = await api.ask("POST", "/routers", {**spy, "rules": rules}, tenant="other")
        assert (refused.status, refused.code) == (403, "forbidden")
    foreign = {"rules": None, "routing_url": "https://routing.example.test/"}
    ours = {"rules": "acme", "routing_url": None}
    assert (await api.ask("POST", "/routers", {**spy, **foreign}, tenant="other")).status == 201
    refused = await api.ask("PATCH", "/routers/spy", ours, tenant="other")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert (await api.ask("GET", "/rules", tenant="other")).data == []
    given = await api.ask("PATCH", "/routers/spy?tenant_id=other", ours, role="platform_admin")
    assert given.status == 200
    await api.keeper.refresh(in_s(5))
    for body in ({"rules": "acme"}, {"name": "Newer"}, foreign):
        changed = await api.ask("PATCH", "/routers/spy", body, tenant="other")
        assert changed.status == 200, body


async def test_the_only_tenant_with_routers_may_use_any_rules(api: ApiServer):
    for rules in ("acme", "others"):
        body = {**ROUTER, "id": f"with-{rules}", "rules": rules}
        assert (await api.ask("POST", "/routers", body)).status == 201


async def test_a_secret_is_written_and_never_shown(api: ApiServer):
    made = await api.ask("POST", "/routers", {**ROUTER, "secret": "n" * 40})
    assert made.data["secret"] == "value"
    shown = await api.ask("GET", "/routers/signed")
    assert ROUTER_SECRET not in str(shown.body) + str((await api.ask("GET", "/routers")).body)
    short = await api.ask("PATCH", "/routers/signed", {"secret": "short"})
    assert (short.status, short.data["field"]) == (400, "secret")
    assert "short" not in short.body["message"].replace("this one 5", "")
    for reference in ({"env": "HOME"}, {"file": "/etc/passwd"}):
        bad = await api.ask("PATCH", "/routers/signed", {"secret": reference})
        assert bad.status == 400


async def test_errors_of_the_past_hour_are_shown_with_the_last_ones(api: ApiServer):
    await errors_happen(api, 3)
    shown = (await api.ask("GET", "/routers/plain")).data
    assert (shown["error_count"], shown["error_limit"], shown["enabled"]) == (3, 10, True)
    assert [error["code"] for error in shown["last_errors"]] == ["timeout"] * 3
    assert shown["last_errors"][0]["at"].endswith("Z")


async def test_enabling_does_not_clear_the_count_so_the_next_error_disables_again(api: ApiServer):
    await errors_happen(api, 11)
    shown = (await api.ask("GET", "/routers/plain")).data
    assert (shown["enabled"], shown["error_count"]) == (False, 11)
    assert shown["disabled_at"] is not None
    shown = (await api.ask("PATCH", "/routers/plain", {"enabled": True})).data
    assert (shown["enabled"], shown["error_count"], shown["disabled_at"]) == (True, 11, None)
    await errors_happen(api, 1)
    assert not (await api.ask("GET", "/routers/plain")).data["enabled"]


async def test_resetting_the_count_forgets_errors_and_does_not_enable(api: ApiServer):
    await errors_happen(api, 11)
    shown = (await api.ask("PATCH", "/routers/plain", {"reset_error_count": True})).data
    assert (shown["enabled"], shown["error_count"]) == (False, 0)
    both = {"enabled": True, "reset_error_count": True}
    assert (await api.ask("PATCH", "/routers/plain", both)).data["enabled"]


async def test_a_router_is_switched_off_by_hand(api: ApiServer):
    shown = (await api.ask("PATCH", "/routers/plain", {"enabled": False})).data
    assert (shown["enabled"], shown["error_count"]) == (False, 0)
    await api.keeper.refresh(in_s(5))
    entry = api.keeper.directory.router("plain")
    assert entry is not None
    assert not entry.enabled


async def test_a_refused_change_switches_nothing(api: ApiServer):
    bad = await api.ask("PATCH", "/routers/plain", {"enabled": False, "budget_ms": 1})
    assert (bad.status, bad.data["field"]) == (400, "budget_ms")
    assert (await api.ask("PATCH", "/routers/plain", {"enabled": "no"})).data["field"] == "enabled"
    assert (await api.ask("PATCH", "/routers/plain", {"id": "other"})).data["field"] == "id"
    assert (await api.ask("GET", "/routers/plain")).data["enabled"]


async def test_a_removed_router_comes_back_with_a_clean_record(api: ApiServer):
    await errors_happen(api, 11)
    await api.ask("DELETE", "/routers/plain")
    made = await api.ask("POST", "/routers", {**ROUTER, "id": "plain"})
    assert (made.data["enabled"], made.data["error_count"]) == (True, 0)


async def test_a_queue_shows_what_goes_on_in_it(api: ApiServer):
    await api.ask("PUT", "/agents/ada/duty", {"on": True})
    queue = (await api.ask("GET", "/queues/support")).data
    assert (queue["agents_on_duty"], queue["agents_idle"], queue["waiting"]) == (1, 1, 0)
    assert (queue["is_open"], queue["longest_wait_seconds"]) == (True, 0)
    assert queue["hold_queue"]["max_hold_count"] == 50


async def test_a_queue_follows_its_hours(api: ApiServer):
    closed = {"calendar": {"hours": {"mon-sun": []}}}
    await api.ask("PATCH", "/queues/support", closed)
    await api.keeper.refresh(in_s(5))
    assert (await api.ask("GET", "/queues/support")).data["is_open"] is False


async def test_a_queue_with_members_cannot_be_removed(api: ApiServer):
    assert (await api.ask("DELETE", "/queues/support")).status == 409
    for agent in ("ada", "bea"):
        await api.ask("DELETE", f"/agents/{agent}")
    assert (await api.ask("DELETE", "/queues/support")).status == 200


async def test_an_agent_is_made_with_skills_in_queues_that_exist(api: ApiServer):
    agent = {"id": "cyd", "name": "Cyd", "queues": {"support": {"skill_level": 90}}}
    made = await api.ask("POST", "/agents", agent)
    assert (made.status, made.data["state"], made.data["on_duty"]) == (201, "off_duty", False)
    bad = await api.ask("POST", "/agents", {**agent, "id": "dan", "queues": {"sales": {}}})
    assert (bad.status, bad.data["field"]) == (400, "queues.sales")
    skilled = await api.ask("PUT", "/agents/cyd/skills", {"skills": {"spanish": 80}})
    assert skilled.data["skills"] == {"spanish": 80}
    assert (await api.ask("PUT", "/agents/cyd/skills", {"skills": {"a": 101}})).status == 400


async def test_duty_is_set_with_a_reason(api: ApiServer):
    shown = (await api.ask("PUT", "/agents/ada/duty", {"on": True})).data
    assert (shown["state"], shown["on_duty"]) == ("available", True)
    shown = (await api.ask("PUT", "/agents/ada/duty", {"on": False, "reason": "lunch"})).data
    assert (shown["state"], shown["duty_reason"]) == ("off_duty", "lunch")
    assert (await api.ask("PUT", "/agents/nobody/duty", {"on": True})).status == 404
    assert (await api.ask("PUT", "/agents/ada/duty", {})).data["field"] == "on"


async def test_do_not_disturb_is_set_overall_and_for_one_queue(api: ApiServer):
    await api.ask("PUT", "/agents/ada/duty", {"on": True})
    shown = (await api.ask("PUT", "/agents/ada/do_not_disturb", {"on": True})).data
    assert (shown["state"], shown["do_not_disturb"]) == ("do_not_disturb", True)
    await api.ask("PUT", "/agents/ada/do_not_disturb", {"on": False})
    one = {"on": True, "queue": "support"}
    shown = (await api.ask("PUT", "/agents/ada/do_not_disturb", one)).data
    assert (shown["state"], shown["do_not_disturb_queues"]) == ("available", ["support"])
    assert (await api.ask("GET", "/queues/support")).data["agents_idle"] == 0
    other = await api.ask("PUT", "/agents/ada/do_not_disturb", {"on": True, "queue": "sales"})
    assert (other.status, other.data["field"]) == (400, "queue")


async def test_an_agent_is_disabled_and_enabled(api: ApiServer):
    await api.ask("PUT", "/agents/ada/duty", {"on": True})
    shown = (await api.ask("PUT", "/agents/ada/enabled", {"on": False})).data
    assert (shown["state"], shown["enabled"]) == ("disabled", False)
    shown = (await api.ask("PUT", "/agents/ada/enabled", {"on": True})).data
    assert (shown["state"], shown["enabled"]) == ("available", True)


async def test_an_agent_sees_and_changes_only_itself(api: ApiServer):
    listed = await api.ask("GET", "/agents", role="agent", sub="ada")
    assert [agent["id"] for agent in listed.data] == ["ada"]
    assert (await api.ask("GET", "/agents/ada", role="agent", sub="ada")).status == 200
    assert (await api.ask("GET", "/agents/bea", role="agent", sub="ada")).status == 403
    mine = await api.ask("PUT", "/agents/ada/duty", {"on": True}, role="agent", sub="ada")
    assert mine.data["on_duty"]
    theirs = await api.ask("PUT", "/agents/bea/duty", {"on": True}, role="agent", sub="ada")
    assert theirs.status == 403
    assert not (await api.ask("GET", "/agents/bea")).data["on_duty"]


async def test_agents_are_listed_with_their_states(api: ApiServer):
    await api.ask("PUT", "/agents/bea/duty", {"on": True})
    listed = await api.ask("GET", "/agents", role="supervisor")
    assert [(agent["id"], agent["state"]) for agent in listed.data] == [
        ("ada", "off_duty"), ("bea", "available")
    ]  # fmt: skip
    second = await api.ask("GET", "/agents?limit=1&offset=1")
    assert [agent["id"] for agent in second.data] == ["bea"]


async def test_changing_an_agent_keeps_what_lives(api: ApiServer):
    await api.agents.observe_status(
        "acme", "ada", status=StatusSeen.BUSY, at_ms=1_770_000_000_000, deadline=in_s(5)
    )
    changed = await api.ask("PATCH", "/agents/ada", {"name": "Ada L."})
    assert (changed.data["name"], changed.data["state"]) == ("Ada L.", AgentState.ON_CALL.value)


async def test_a_removed_agent_is_gone_in_both_places(api: ApiServer):
    await api.ask("DELETE", "/agents/ada")
    assert await api.agents.get("acme", "ada", in_s(5)) is None
    with pytest.raises(NotFoundError):
        await api.agents.set_duty("acme", "ada", on=True, deadline=in_s(5))


async def test_rules_are_shown_to_the_tenant_that_uses_them(api: ApiServer, tmp_path: Path):
    (tmp_path / "acme.yaml").write_text(RULES)
    (tmp_path / "secret_of_others.yaml").write_text(RULES)
    await api.rulesets.load()
    (shown,) = (await api.ask("GET", "/rules", role="supervisor")).data
    digest = api.rulesets.states[0].digest
    assert (shown["name"], shown["state"], shown["digest"]) == ("acme", "loaded", digest)
    assert (shown["file"], shown["rules"], shown["cases"]) == ("acme.yaml", 1, 1)
    assert shown["used_by"] == ["plain", "signed"]
    assert shown["loaded_at"].endswith("Z")
    assert (await api.ask("GET", "/rules/secret_of_others")).status == 404
    assert (await api.ask("GET", "/rules/acme")).data == shown


async def test_a_refused_rules_file_shows_its_findings_beside_the_old_version(
    api: ApiServer, tmp_path: Path
):
    (tmp_path / "acme.yaml").write_text(RULES)
    await api.rulesets.load()
    digest = api.rulesets.states[0].digest
    (tmp_path / "acme.yaml").write_text(RULES.replace("caller:", "cller:", 1))
    await api.rulesets.look()
    await api.rulesets.look()
    shown = (await api.ask("GET", "/rules/acme")).data
    assert (shown["state"], shown["digest"]) == ("stale", digest)
    finding = shown["findings"][0]
    assert (finding["line"], finding["file"], finding["nearest"]) == (5, "acme.yaml", "caller")


async def test_queues_that_rules_name_and_the_tenant_lacks_are_findings(
    api: ApiServer, tmp_path: Path
):
    (tmp_path / "acme.yaml").write_text(RULES.replace("{end: {message: hello}}", "{queue: suport}"))
    await api.rulesets.load()
    shown = (await api.ask("GET", "/rules/acme")).data
    (finding,) = shown["findings"]
    assert (shown["state"], finding["code"]) == ("loaded", "unknown-queue")
    assert (finding["found"], finding["nearest"]) == ("suport", "support")


async def test_skills_that_nobody_of_the_tenant_has_are_findings(api: ApiServer, tmp_path: Path):
    asks = "{agent: {queue: support, skills: {spansh: 50}}}"
    (tmp_path / "acme.yaml").write_text(RULES.replace("{end: {message: hello}}", asks))
    await api.ask("PUT", "/agents/ada/skills", {"skills": {"spanish": 80}})
    await api.rulesets.load()
    (finding,) = (await api.ask("GET", "/rules/acme")).data["findings"]
    assert (finding["code"], finding["nearest"]) == ("nobody-skilled", "spanish")
    await api.ask("PUT", "/agents/ada/skills", {"skills": {"spansh": 80}})
    assert (await api.ask("GET", "/rules/acme")).data["findings"] == []


async def test_names_of_a_large_file_are_looked_up_beside_the_calls_and_not_all_are_told(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    threads: set[int] = set()

    def looked_up(*of: Any) -> Iterator[Problem]:
        threads.add(threading.get_ident())
        return unknown_names(*of)

    monkeypatch.setattr("router.http.v1.rules.unknown_names", looked_up)
    rules = "".join(f"  - {{name: r{n}, then: {{queue: suport}}}}\n" for n in range(300))
    (tmp_path / "acme.yaml").write_text(f"version: 1\nrules:\n{rules}default: {{end: {{}}}}\n")
    await api.rulesets.load()
    found = (await api.ask("GET", "/rules/acme")).data["findings"]
    assert sum(one["code"] == "unknown-queue" for one in found) == MOST_PROBLEMS
    assert threads
    assert threading.get_ident() not in threads


async def test_what_is_odd_about_loaded_rules_is_a_finding(api: ApiServer, tmp_path: Path):
    odd = RULES.replace("rules:", 'targets: {desk: {type: department, id: "6"}}\nrules:', 1)
    (tmp_path / "acme.yaml").write_text(odd)
    await api.rulesets.load()
    for _ in range(2):  # found, and remembered
        shown = (await api.ask("GET", "/rules/acme")).data
        (finding,) = shown["findings"]
        assert (shown["state"], finding["code"]) == ("loaded", "unused-target")
        assert finding["line"] == odd[: odd.index("targets:")].count("\n") + 1
    (tmp_path / "acme.yaml").write_text(RULES)
    await api.rulesets.look()
    await api.rulesets.look()
    assert (await api.ask("GET", "/rules/acme")).data["findings"] == []


async def test_a_ruleset_without_a_file_is_shown_as_missing(api: ApiServer):
    assert (await api.ask("GET", "/rules/acme")).data["state"] == "missing"


async def test_many_who_change_one_thing_at_the_same_time_all_get_their_turn(api: ApiServer):
    changes = [{"wrap_up_seconds": n} for n in range(30)] + [{"name": "Help"}]
    answers = await asyncio.gather(*(api.ask("PATCH", "/queues/support", one) for one in changes))
    assert {answer.status for answer in answers} == {200}
    assert (await api.ask("GET", "/queues/support")).data["name"] == "Help"


async def test_a_phone_number_is_one_routers(api: ApiServer):
    number, other = "+12125550111", "+12125550112"
    await api.ask("POST", "/routers", {**ROUTER, "phone_numbers": [number]})
    second = {**ROUTER, "id": "second", "phone_numbers": [other, number]}
    refused = await api.ask("POST", "/routers", second)
    assert (refused.status, "is that of new" in refused.body["message"]) == (409, True)
    assert (await api.ask("POST", "/routers", {**second, "phone_numbers": [other]})).status == 201
    assert (await api.ask("PATCH", "/routers/second", {"phone_numbers": [number]})).status == 409
    for change in ({"phone_numbers": [other]}, {"name": "Other"}):
        assert (await api.ask("PATCH", "/routers/second", change)).status == 200
    await api.ask("PATCH", "/routers/new", {"phone_numbers": []})
    moved = await api.ask("PATCH", "/routers/second", {"phone_numbers": [number]})
    assert moved.data["phone_numbers"] == [number]


def entry(number: int, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "at_s": 1_770_000_000.0 + number,
        "router": "plain",
        "level": Level.FULL,
        "call": CallFacts(call_id=f"c{number}", caller="+12125550142"),
        "answer": "{}",
        "duration_us": 900,
        "rules": "acme",
        "rule": "vip",
        **changes,
    }
    return Entry(**fields)  # type: ignore[arg-type]  # a test's shorthand


async def log(api: ApiServer, *entries: Entry) -> None:
    link = api.links.link_for("acme")
    texts = [Line(entry.at_s, msgspec.json.encode(entry)) for entry in entries]
    await append_decisions(link, "acme", texts, kept=1000, deadline=in_s(5))


async def test_decisions_are_listed_newest_first_and_filtered(api: ApiServer):
    await log(
        api,
        entry(1),
        entry(2, rule="default"),
        entry(3, level=Level.NO_STORE),
        entry(4, router="signed"),
    )

    async def calls(query: str) -> list[str]:
        reply = await api.ask("GET", "/decisions" + query, role="supervisor")
        return [decision["call"]["call_id"] for decision in reply.data]

    assert await calls("") == ["c4", "c3", "c2", "c1"]
    assert await calls("?limit=2&offset=1") == ["c3", "c2"]
    assert await calls("?router=signed") == ["c4"]
    assert await calls("?rule=default") == ["c2"]
    assert await calls("?level=no_store") == ["c3"]
    assert await calls("?call_id=c1") == ["c1"]
    assert await calls("?to=2020-01-01T00:00:00Z") == []
    assert await calls("?from=2020-01-01T00:00:00Z") == ["c4", "c3", "c2", "c1"]
    assert (await api.ask("GET", "/decisions")).body["total"] == 4
    for query, field in (("level=best", "level"), ("from=today", "from"), ("before=x", "before")):
        bad = await api.ask("GET", "/decisions?" + query)
        assert (bad.status, bad.data["field"]) == (400, field)


def rfc3339(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


async def test_decisions_are_found_by_when_they_were_made_however_late_they_were_logged(
    api: ApiServer,
):
    now_s = time.time()
    for number, ago_s in (
        (1, 7200.25),
        (2, 3600.0),
        (3, 7199.0),
        (4, 0.0),
    ):  # an outage of two hours
        await log(api, entry(number, at_s=now_s - ago_s))
    await log(api, entry(5, at_s=now_s + 90.0))  # by a process whose clock is ahead

    async def calls(since_s: float, until_s: float) -> list[str]:
        query = f"?from={rfc3339(since_s)}&to={rfc3339(until_s)}"
        return [
            each["call"]["call_id"] for each in (await api.ask("GET", "/decisions" + query)).data
        ]

    assert await calls(now_s - 7201, now_s - 7100) == ["c3", "c1"]
    assert await calls(now_s - 3700, now_s + 1) == ["c4", "c2"]
    assert await calls(now_s + 80, now_s + 100) == ["c5"]
    made = (await api.ask("GET", "/decisions?call_id=c1")).data[0]["at"]
    by_at = (await api.ask("GET", f"/decisions?from={made}&to={made}")).data
    assert [each["call"]["call_id"] for each in by_at] == ["c1"]


async def test_a_search_of_the_log_by_time_forgets_an_outage_that_the_log_has_forgotten(
    api: ApiServer,
):
    link, off, now_s = api.links.link_for("acme"), keys.decisions_off("acme"), time.time()
    await log(api, entry(0, at_s=now_s - 86_400))
    assert int((await link.call("HGET", off, "late", deadline=in_s(5))) or 0) >= 86_400_000
    await link.call("XTRIM", keys.decisions("acme"), "MAXLEN", 0, deadline=in_s(5))
    await asyncio.sleep(0.005)  # within one millisecond a note holds for what is written next, too
    await log(api, entry(1, at_s=now_s - 600))
    assert int((await link.call("HGET", off, "late", deadline=in_s(5))) or 0) < 700_000
    query = f"/decisions?to={rfc3339(now_s - 599)}"
    assert [each["call"]["call_id"] for each in (await api.ask("GET", query)).data] == ["c1"]


async def test_a_list_of_decisions_may_be_longer_than_one_look_at_the_log(api: ApiServer):
    await log(api, *(entry(number) for number in range(450)))
    reply = await api.ask("GET", "/decisions?limit=410&offset=30")
    ids = [decision["call"]["call_id"] for decision in reply.data]
    assert ids == [f"c{number}" for number in range(419, 9, -1)]
    assert reply.body["total"] == 450
    assert (await api.ask("GET", "/decisions?limit=1")).body["total"] == 450
    assert "total" not in (await api.ask("GET", "/decisions?limit=1&router=plain")).body
    assert (await api.ask("GET", "/decisions?limit=2&call_id=c7")).body["total"] == 1
    continued = await api.ask("GET", f"/decisions?before={reply.data[-1]['id']}")
    assert len(continued.data) == 10


async def test_a_decision_of_the_version_in_force_is_explained(api: ApiServer, tmp_path: Path):
    (tmp_path / "acme.yaml").write_text(RULES)
    await api.rulesets.load()
    digest = api.rulesets.states[0].digest
    other = CallFacts(call_id="c2", caller="+12125550199")
    await log(
        api,
        entry(1, digest=digest),
        entry(2, digest=digest, rule="default", call=other),
        entry(3, digest="other"),
        entry(4, rule=None, level=Level.DISABLED),
    )
    listed = (await api.ask("GET", "/decisions")).data
    by_call = {decision["call"]["call_id"]: decision["id"] for decision in listed}

    async def explained(call: str) -> dict[str, object]:
        found = (await api.ask("GET", f"/decisions/{by_call[call]}", role="supervisor")).data
        assert isinstance(found, dict)
        return found

    vip = (await explained("c1"))["explanation"]
    assert isinstance(vip, dict)
    assert (vip["rule"], vip["agrees"], vip["skipped"]) == ("vip", True, [])
    default = (await explained("c2"))["explanation"]
    assert isinstance(default, dict)
    assert [(one["rule"], one["line"]) for one in default["skipped"]] == [("vip", 4)]
    assert (await explained("c3"))["note"] == "This version of the rules is not kept (any more)."
    assert (await explained("c4"))["explanation"] is None
    assert (await api.ask("GET", "/decisions/1-1")).status == 404
    assert (await api.ask("GET", "/decisions/nonsense")).status == 404


async def test_decisions_are_explained_beside_the_calls(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    threads: list[int] = []

    def explained(ruleset: Ruleset, of: Entry) -> Explanation:
        threads.append(threading.get_ident())
        return explain_entry(ruleset, of)

    monkeypatch.setattr("router.http.v1.decisions.explain_entry", explained)
    (tmp_path / "acme.yaml").write_text(RULES)
    await api.rulesets.load()
    await log(api, entry(1, digest=api.rulesets.states[0].digest))
    (listed,) = (await api.ask("GET", "/decisions")).data
    found = (await api.ask("GET", f"/decisions/{listed['id']}")).data
    assert found["explanation"]["rule"] == "vip"
    assert len(threads) == 1
    assert threads != [threading.get_ident()]


async def test_of_any_an_explanation_tells_what_was_found_for_each_alternative(
    api: ApiServer, tmp_path: Path
):
    either = '{any: [{called: "+12125550100"}, {digits: {x: "1"}}]}'
    rules = RULES.replace('{caller: "+12125550142"}\n    then', f"{either}\n    then")
    (tmp_path / "acme.yaml").write_text(rules[: rules.index("cases:")])
    await api.rulesets.load()
    digest = api.rulesets.states[0].digest
    call = CallFacts(call_id="c1", called="+12125550177")
    await log(api, entry(1, digest=digest, rule="default", call=call))
    (listed,) = (await api.ask("GET", "/decisions")).data
    (skipped,) = (await api.ask("GET", f"/decisions/{listed['id']}")).data["explanation"]["skipped"]
    assert (skipped["condition"], skipped["outcome"]) == ("any", "unknown")
    assert "found +1212…77" in skipped["found"]
    assert "digits.x wants 1, found nothing (unknown)" in skipped["found"]


async def test_another_tenants_decisions_are_not_seen(api: ApiServer):
    await log(api, entry(1))
    assert (await api.ask("GET", "/decisions", tenant="other")).data == []
