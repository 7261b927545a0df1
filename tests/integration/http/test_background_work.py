"""What a service does besides answering: metrics of its log, and what the store knows of its rules."""

import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from router.deadline import in_s
from router.processes.requirements import CROWDED
from router.processes.wiring import requirements_of, running
from router.store import keys
from rules.requirements import Requirement
from tests.integration.http.conftest import TENANT, Running, Start, apply, settings_in, until
from tests.servers import Server

UNUSED = Requirement.of("support", {"never_asked_for": 50})


async def test_lines_that_the_log_dropped_are_a_metric(redis_url: str, tmp_path: Path):
    async with running(
        settings_in(tmp_path, redis_url), redis_url, log_lines_dropped=lambda: 7
    ) as service:
        await until(lambda: b"crosspoint_log_lines_dropped 7.0" in service.observer.exposition())


async def test_a_service_has_its_dropped_lines_among_its_metrics(main: Running):
    async with aiohttp.ClientSession() as session, session.get(f"{main.url}/metrics") as got:
        assert "crosspoint_log_lines_dropped 0.0" in await got.text()


async def test_what_came_of_wanting_an_agent_is_counted(
    start: Start, new_server: Callable[..., Server]
):
    server = new_server()
    main = await start(server.url)
    await apply(main.service)
    vip = "+12125550111"
    agents = main.service.agents
    await main.call(call_id=1, external_number=vip)
    await counted(main, "nobody_free", 1)
    await agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    await main.call(call_id=2, external_number=vip)
    await counted(main, "reserved", 1)
    await agents.set_duty(TENANT, "bob", on=True, deadline=in_s(5))  # no user of the platform
    await main.call(call_id=3, external_number=vip)
    await counted(main, "given_back", 1)
    server.pause()
    try:
        await main.call(call_id=4, external_number=vip)
        await main.call(call_id=5, external_number=vip)
    finally:
        server.resume()
    await until(lambda: count_of(main, "store_down") + count_of(main, "unknown") == 2)


async def counted(main: Running, outcome: str, count: int) -> None:
    await until(lambda: count_of(main, outcome) == count)


def count_of(main: Running, outcome: str) -> float:
    names = {"outcome": outcome}
    found = main.service.observer.registry.get_sample_value("crosspoint_reservations_total", names)
    return found or 0.0


async def test_what_rules_in_force_ask_for_is_never_forgotten_and_the_rest_is(main: Running):
    agents, link = main.service.agents, main.service.links.link_for(TENANT)
    await agents.register(TENANT, UNUSED, in_s(5))
    in_force = keys.requirement_id(Requirement.of("support", {}))
    used = keys.requirements_used(TENANT)
    await until(lambda: is_known(main, in_force))
    for requirement in (in_force, keys.requirement_id(UNUSED)):
        await link.call("HSET", used, requirement, 1, deadline=in_s(5))
    await requirements_of(main.service).forget()
    assert await is_known(main, in_force)
    assert not await is_known(main, keys.requirement_id(UNUSED))


async def test_a_tenant_that_is_full_of_what_nobody_uses_makes_room_and_holds_up_no_other(
    main: Running,
):
    """As after many changes of the rules within a day."""
    link = main.service.links.link_for(TENANT)
    in_force = keys.requirement_id(Requirement.of("support", {}))
    await until(lambda: is_known(main, in_force))
    requirements, used = keys.requirements(TENANT), keys.requirements_used(TENANT)
    await link.call("DEL", requirements, used, deadline=in_s(5))
    stale = [
        keys.requirement_id(Requirement.of("old", {"x": n % 101, "y": n // 101}))
        for n in range(500)
    ]
    for each in stale:
        link.call("HSET", requirements, each, "up 1", deadline=in_s(5))
        link.call("HSET", used, each, 1, deadline=in_s(5))
    work = requirements_of(main.service)
    await work.register()
    assert not await is_known(main, in_force)
    await work.forget()
    assert not await is_known(main, stale[0])
    await work.register()
    assert await is_known(main, in_force)


async def test_in_a_crowd_what_was_used_today_goes_too_and_elsewhere_it_stays(main: Running):
    """Or else queues that are made and removed all day would leave no room for the next one."""
    link = main.service.links.link_for(TENANT)
    in_force = keys.requirement_id(Requirement.of("support", {}))
    await until(lambda: is_known(main, in_force))
    requirements, used = keys.requirements(TENANT), keys.requirements_used(TENANT)
    hours_ago = [int((time.time() - hours * 3600) * 1000) for hours in range(10)]

    async def put(count: int, hours: int) -> str:
        for n in range(count):
            for key, value in ((requirements, "up 1"), (used, str(hours_ago[hours]))):
                await link.call("HSET", key, f"old {hours} {n}", value, deadline=in_s(5))
        return f"old {hours} 0"

    five, three = await put(CROWDED // 2, 5), await put(10, 3)
    await requirements_of(main.service).forget()
    assert await is_known(main, five)
    nine = await put(CROWDED, 9)
    await requirements_of(main.service).forget()
    assert [await is_known(main, one) for one in (nine, five, three)] == [False, False, True]
    assert await is_known(main, in_force)


async def is_known(main: Running, requirement: str) -> bool:
    link = main.service.links.link_for(TENANT)
    reply = await link.call(
        "HEXISTS", keys.requirements_used(TENANT), requirement, deadline=in_s(5)
    )
    return reply == 1
