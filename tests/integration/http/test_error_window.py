"""Auto-disable and reset over HTTP, with the count in a real Redis shared by two processes' worth."""

import time

import pytest

from router.deadline import in_s
from router.decisions.error_budget import LIMIT
from router.decisions.outcome import ErrorCode
from router.store import errors
from tests.integration.http.conftest import DEFAULT, TENANT, Running, Start, apply, until
from tests.servers import Server


def break_rules(at_work: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every decision of this process is an exception of ours from now on."""

    def broken(_name: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(at_work.service.rulesets, "get", broken)


async def health(at_work: Running) -> errors.RouterHealth:
    link = at_work.service.links.link_for(TENANT)
    return (await errors.read_health(link, TENANT, ["main"], in_s(5)))["main"]


async def test_more_than_ten_errors_disable_the_router_for_every_process(
    main: Running, start: Start, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await start(redis_url)
    await until(lambda: other.service.directory.router("main"))
    break_rules(main, monkeypatch)
    levels = [(await main.call(call_id=n)).level for n in range(LIMIT + 3)]
    assert levels == ["default"] * (LIMIT + 1) + ["disabled"] * 2

    async def other_knows() -> bool:
        got = await other.call(call_id=999)
        return (got.level, got.body) == ("disabled", DEFAULT)

    await until(other_knows)
    state = await health(main)
    assert (state.is_enabled, state.error_count) == (False, LIMIT + 1)
    assert [error.code for error in state.last_errors] == [ErrorCode.EXCEPTION] * (LIMIT + 1)


async def test_enabled_without_a_reset_the_next_error_disables_again_and_a_reset_helps(
    main: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = main.service.links.link_for(TENANT)
    with monkeypatch.context() as broken:
        break_rules(main, broken)
        for n in range(LIMIT + 1):
            await main.call(call_id=n)
        await until(lambda: not main.service.directory.routers["main"].enabled)

    await errors.set_enabled(link, TENANT, "main", in_s(5), enabled=True)

    async def answers_fully() -> bool:
        return (await main.call(call_id=100)).level == "full"

    await until(answers_fully)
    assert (await health(main)).error_count == LIMIT + 1
    with monkeypatch.context() as broken:
        break_rules(main, broken)
        await main.call(call_id=101)
        assert (await main.call(call_id=102)).level == "disabled"
    await until(lambda: not main.service.directory.routers["main"].enabled)

    await errors.reset_error_count(link, TENANT, "main", in_s(5))
    await errors.set_enabled(link, TENANT, "main", in_s(5), enabled=True)
    await until(answers_fully)
    assert (await health(main)).error_count == 0
    await until(lambda: main.service.budget.count("main", 2e9) == 0)
    with monkeypatch.context() as broken:
        break_rules(main, broken)
        await main.call(call_id=103)
    assert (await main.call(call_id=104)).level == "full"


async def test_errors_counted_without_the_store_disable_at_once_and_are_merged_later(
    start: Start, new_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Server = new_server()  # type: ignore[operator]  # the fixture's own type is long
    at_work = await start(server.url)
    await apply(at_work.service)
    server.pause()
    await until(lambda: not at_work.service.links.is_open)
    with monkeypatch.context() as broken:
        break_rules(at_work, broken)
        for n in range(LIMIT + 1):
            await at_work.call(call_id=n)
        assert (await at_work.call(call_id=50)).level == "disabled"
    server.resume()

    async def is_merged() -> bool:
        return (await health(at_work)).error_count == LIMIT + 1

    await until(lambda: at_work.service.links.is_open)
    await until(is_merged)
    assert not (await health(at_work)).is_enabled


async def test_a_store_that_is_down_is_no_error_of_the_router(
    start: Start, new_server: object
) -> None:
    server: Server = new_server()  # type: ignore[operator]  # the fixture's own type is long
    at_work = await start(server.url)
    await apply(at_work.service)
    server.pause()
    await until(lambda: not at_work.service.links.is_open)
    levels = {
        (await at_work.call(external_number="+12125550111", call_id=n)).level for n in range(20)
    }
    assert levels == {"no_store"}
    assert at_work.service.budget.pending() == {}
    server.resume()


async def test_an_error_told_twice_counts_once_and_one_before_a_reset_not_at_all(
    main: Running,
) -> None:
    link = main.service.links.link_for(TENANT)
    now_ms = 1000 * int(time.time())
    one = errors.RouterError(now_ms, ErrorCode.TIMEOUT, "a-1")
    for _ in range(3):
        state = await errors.record_errors(link, TENANT, "main", [one], in_s(5), now_ms=now_ms)
    assert state.error_count == 1
    await errors.reset_error_count(link, TENANT, "main", in_s(5))
    late = errors.RouterError(now_ms - 5000, ErrorCode.TIMEOUT, "a-2")
    state = await errors.record_errors(link, TENANT, "main", [late], in_s(5), now_ms=now_ms)
    assert state.error_count == 0


@pytest.mark.parametrize("off_ms", [-300_000, 300_000])
async def test_a_process_whose_clock_is_wrong_counts_errors_like_the_others(
    main: Running, off_ms: int
) -> None:
    link = main.service.links.link_for(TENANT)
    theirs_ms = int(time.time() * 1000) + off_ms
    before = errors.RouterError(theirs_ms - 5000, ErrorCode.TIMEOUT, "a-1")
    since = [errors.RouterError(theirs_ms + 20, ErrorCode.TIMEOUT, f"a-{n}") for n in (2, 3)]

    async def told(*some: errors.RouterError) -> int:
        state = await errors.record_errors(link, TENANT, "main", some, in_s(5), now_ms=theirs_ms)
        return state.error_count

    await errors.reset_error_count(link, TENANT, "main", in_s(5))
    assert await told(before, *since) == 2
    assert await told(*since) == 2
    shown = (await health(main)).last_errors
    assert all(abs(error.at_ms - time.time() * 1000) < 30_000 for error in shown)
    assert len(shown) == 2


async def test_thousands_of_routers_can_be_looked_at(main: Running) -> None:
    """More than may be on their way to the store at the same time."""
    link = main.service.links.link_for(TENANT)
    found = await errors.read_health(link, TENANT, [f"r{n}" for n in range(5000)], in_s(10))
    assert len(found) == 5000
