"""The store is stalled, killed, slow, cut, read-only, full, forgetful: every call is answered in time."""

import asyncio

import pytest

from tests.chaos.conftest import Chaos, assert_all_well
from tests.chaos.service import AGENTS
from tests.servers import Proxy, Server

pytestmark = pytest.mark.chaos


async def test_a_stalled_store_costs_no_call_its_answer(chaos: Chaos, store: Server) -> None:
    async with chaos.fault("store stalled for 3 s (SIGSTOP)"):
        store.pause()
        await asyncio.sleep(3)
        store.resume()
    assert_all_well(chaos)
    assert chaos.outcome.degraded > 0


async def test_a_killed_store_costs_no_call_its_answer(chaos: Chaos, store: Server) -> None:
    async with chaos.fault("store killed, restarted after 1 s (SIGKILL)"):
        store.kill()
        await asyncio.sleep(1)
        store.start()
    assert_all_well(chaos)
    assert chaos.outcome.degraded > 0


async def test_a_slow_store_costs_no_call_its_answer(proxied: tuple[Chaos, Proxy]) -> None:
    chaos, proxy = proxied
    async with chaos.fault("store slow by 1.5 s, for 3 s"):
        proxy.delay_s = 1.5
        await asyncio.sleep(3)
        proxy.delay_s = 0
    assert_all_well(chaos)


async def test_cut_connections_to_the_store_cost_no_call_its_answer(
    proxied: tuple[Chaos, Proxy],
) -> None:
    chaos, proxy = proxied
    async with chaos.fault("store connections reset 20 times in 2 s"):
        for _ in range(20):
            proxy.cut()
            await asyncio.sleep(0.1)
    assert_all_well(chaos)


async def test_a_store_that_swallows_answers_costs_no_call_its_answer(
    proxied: tuple[Chaos, Proxy],
) -> None:
    chaos, proxy = proxied
    async with chaos.fault("store takes commands, answers nothing for 3 s"):
        proxy.silent = True
        await asyncio.sleep(3)
        proxy.silent = False
        proxy.cut()  # answers were lost: nothing on these connections can be in step any more
    assert_all_well(chaos)


async def test_a_read_only_store_costs_no_call_its_answer(chaos: Chaos, store: Server) -> None:
    async with chaos.fault("store read-only for 2 s (a replica)"):
        store.command("REPLICAOF", "127.0.0.1", "1")
        await asyncio.sleep(2)
        store.command("REPLICAOF", "NO", "ONE")
    assert_all_well(chaos)
    assert chaos.outcome.degraded > 0


async def test_a_full_store_costs_no_call_its_answer(chaos: Chaos, store: Server) -> None:
    async with chaos.fault("store out of memory for 2 s"):
        store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.command("CONFIG", "SET", "maxmemory", "1")
        await asyncio.sleep(2)
        store.command("CONFIG", "SET", "maxmemory", "0")
    assert_all_well(chaos)
    assert chaos.outcome.degraded > 0


async def test_flushed_scripts_cost_no_call_its_answer(chaos: Chaos, store: Server) -> None:
    async with chaos.fault("scripts flushed 20 times in 2 s"):
        for _ in range(20):
            store.command("SCRIPT", "FLUSH")
            await asyncio.sleep(0.1)
    assert_all_well(chaos)
    assert chaos.outcome.degraded == 0


async def test_no_agent_is_stuck_after_a_stall(chaos: Chaos, store: Server) -> None:
    """What a stalled store was asked for and nobody waits for any more reserves nobody for long."""
    async with chaos.fault("store stalled for 3 s, then all agents counted"):
        store.pause()
        await asyncio.sleep(3)
        store.resume()
    assert_all_well(chaos)
    await chaos.service.until(lambda: idle_agents(store) == AGENTS, "every agent to be free", 60)


def idle_agents(store: Server) -> int:
    """Agents ready now, as the store itself counts them."""
    now = store.command("TIME").split(b"\r\n")[2].decode()
    reply = store.command("ZCOUNT", "cp:{acme}:ready:support", "-inf", f"{now}000")
    return int(reply.lstrip(b":").strip())
