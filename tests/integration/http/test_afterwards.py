"""After the answer: memory shared by processes, a bounded log, a bounded line."""

from pathlib import Path

import msgspec
import pytest
import structlog

from router.deadline import in_s
from router.decisions.log import Entry, Filters, masked, read, written
from router.decisions.outcome import Level, Outcome
from router.http.decisions import afterwards as afterwards_module
from router.settings import PrivacySettings
from router.store import decisions, keys
from rules.facts import CallFacts, Contact
from tests.integration.http.conftest import TENANT, Running, Start, apply, until
from tests.servers import Server
from tests.unit.decisions.decide_fakes import asked

USER = {"action": "route", "target_type": "user", "target_id": "3001"}


async def test_another_process_answers_the_same_call_with_the_same_agent(
    main: Running, start: Start, redis_url: str
) -> None:
    other = await start(redis_url)
    await until(lambda: other.service.directory.router("main"))
    await main.service.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    first = await main.call(external_number="+12125550111")
    again = await other.call(external_number="+12125550111")
    assert (first.body, again.body) == (USER, USER)


async def test_another_process_repeats_the_answer_of_a_reservation_that_is_over(
    main: Running, start: Start, redis_url: str
) -> None:
    other = await start(redis_url)
    await until(lambda: other.service.directory.router("main"))
    await main.service.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    assert (await main.call(external_number="+12125550111")).body == USER
    link = main.service.links.link_for(TENANT)
    requests = await link.call("KEYS", f"{keys.prefix(TENANT)}request:*", deadline=in_s(5))
    assert isinstance(requests, list)
    assert len(requests) == 1  # as when the lease is over
    await link.call("DEL", requests[0], deadline=in_s(5))  # type: ignore[arg-type]
    await main.service.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
    assert (await other.call(external_number="+12125550111")).body == USER
    assert (await other.call(external_number="+12125550111", call_id=18)).body != USER


async def test_a_dialogue_goes_on_in_another_process(
    main: Running, start: Start, redis_url: str
) -> None:
    other = await start(redis_url)
    await until(lambda: other.service.directory.router("main"))
    fields = {"external_number": "+12125550133", "call_id": 5}
    assert (await main.call(**fields)).body["action"] == "ask"
    await until(lambda: len(main.service.afterwards) == 0)
    silent = {**fields, "hints": {"language": ""}}
    assert (await other.call(**silent)).body["action"] == "ask"
    await until(lambda: len(other.service.afterwards) == 0)

    async def is_given_up() -> bool:
        return (await main.call(**silent)).body.get("target_id") == "60"

    await until(is_given_up)


def line(entry: Entry) -> decisions.Line:
    return decisions.Line(entry.at_s, msgspec.json.encode(entry))


async def test_the_log_is_bounded_and_pages_backwards(main: Running) -> None:
    link = main.service.links.link_for("log")
    texts = [
        line(
            Entry(
                at_s=float(n),
                router="main",
                level=Level.FULL,
                call=CallFacts(call_id=str(n)),
                answer="{}",
                duration_us=1,
            )
        )
        for n in range(1000)
    ]
    await decisions.append_decisions(link, "log", texts, kept=300, deadline=in_s(5))
    seen: list[str] = []
    before = None
    while True:
        page = await decisions.list_decisions(
            link, "log", Filters(before=before), limit=100, deadline=in_s(5)
        )
        seen += [each.entry.call.call_id for each in page.decisions]
        before = page.next_before
        if before is None:
            break
    assert 300 <= len(seen) <= 500
    assert seen == [str(n) for n in range(999, 999 - len(seen), -1)]
    found = await decisions.list_decisions(
        link, "log", Filters(call_id="990"), limit=5, deadline=in_s(5)
    )
    one = await decisions.get_decision(link, "log", found.decisions[0].id, in_s(5))
    assert one.entry.call.call_id == "990"


async def test_an_entry_of_another_version_does_not_end_a_list(main: Running) -> None:
    link = main.service.links.link_for("log")
    outcome = Outcome(body=b"{}", level=Level.FULL)
    entry = read(written(asked(), outcome, 1, with_full_numbers=False))
    oldest = msgspec.structs.replace(entry, rule="oldest")
    texts = [line(each) for each in (oldest, *[entry] * 600)]
    texts[400] = decisions.Line(texts[400].at_s, b'{"of another": "version"}')
    await decisions.append_decisions(link, "log", texts, kept=1000, deadline=in_s(5))
    found = await decisions.list_decisions(
        link, "log", Filters(rule="oldest"), limit=1, deadline=in_s(5)
    )
    assert [each.entry.rule for each in found.decisions] == ["oldest"]


async def test_while_the_store_is_away_the_line_is_bounded_and_then_told(
    start: Start, new_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(afterwards_module, "MOST_WAITING", 20)
    server: Server = new_server()  # type: ignore[operator]  # the fixture's own type is long
    at_work = await start(server.url)
    await apply(at_work.service)
    server.pause()
    await until(lambda: not at_work.service.links.is_open)
    for n in range(50):
        assert (await at_work.call(call_id=n)).status == 200
    assert len(at_work.service.afterwards) <= 20
    server.resume()
    await until(lambda: len(at_work.service.afterwards) == 0)
    link = at_work.service.links.link_for(TENANT)

    async def newest() -> list[str]:
        page = await decisions.list_decisions(link, TENANT, Filters(), limit=100, deadline=in_s(5))
        return [each.entry.call.call_id for each in page.decisions[:3]]

    async def is_told() -> bool:
        return await newest() != []  # nothing waits any more: what was taken may be on its way

    await until(is_told)
    assert await newest() == ["49", "48", "47"]


async def test_a_store_that_refuses_the_log_is_told_of_once_each_time_it_begins_to(
    start: Start, new_server: object
) -> None:
    server: Server = new_server()  # type: ignore[operator]  # the fixture's own type is long
    at_work = await start(server.url)
    await apply(at_work.service)
    link = at_work.service.links.link_for(TENANT)

    async def calls_while_memory_is(limit: str) -> None:
        await link.call("CONFIG", "SET", "maxmemory", limit, deadline=in_s(5))
        for _ in range(3):  # batches
            assert (await at_work.call()).status == 200
            await until(lambda: len(at_work.service.afterwards) == 0)
        await until(lambda: not at_work.service.afterwards._under_way)

    with structlog.testing.capture_logs() as lines:
        for limit in ("1", "0", "1"):
            await calls_while_memory_is(limit)
    told = [each for each in lines if each["event"] == "not_told_to_store"]
    assert [each["what"] for each in told].count("decision_log") == 2


async def test_full_numbers_are_logged_only_where_the_settings_allow(
    start: Start, redis_url: str, tmp_path: Path
) -> None:
    at_work = await start(redis_url, privacy=PrivacySettings(log_full_numbers=True))
    await apply(at_work.service)
    await at_work.call(call_id=1)
    await until(lambda: len(at_work.service.afterwards) == 0)
    link = at_work.service.links.link_for(TENANT)

    async def is_logged() -> bool:
        page = await decisions.list_decisions(link, TENANT, Filters(), limit=1, deadline=in_s(5))
        return any(each.entry.call.caller == "+12125550142" for each in page.decisions)

    await until(is_logged)


def test_a_masked_entry_holds_nothing_a_caller_is_known_by() -> None:
    call = CallFacts(
        call_id="c",
        caller="+12125550142",
        called="+12125550100",
        contact=Contact(id="7", type="local", name="Ada Example", email="ada@example.test"),
        digits={"pin": "482193", "language": "2"},
        attributes={"contact.phone": "+12125550142", "target.name": "Bob Example", "x": "a@b.test"},
    )
    text = msgspec.json.encode(masked(call)).decode()
    for private in ("5550142", "5550100", "Example", "ada@", "a@b", "4821"):
        assert private not in text
    assert '"language":"2"' in text


def test_an_entry_names_what_is_needed_to_decide_again() -> None:
    outcome = Outcome(body=b"{}", level=Level.FULL, rule="vip", digest="d1", reasons=("a",))
    entry = read(written(asked(), outcome, 12, with_full_numbers=True))
    assert (entry.rules, entry.rule, entry.digest, entry.level) == ("t", "vip", "d1", Level.FULL)
    assert entry.call == asked().call
