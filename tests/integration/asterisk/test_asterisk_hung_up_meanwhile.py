"""Phones that hang up in the very moment in which they are joined: no caller is left with a dead one."""

import asyncio
import contextlib
from pathlib import Path

from deploy.asterisk.instance import Instance
from pbx.machine.events import HangUpCall
from pbx.machine.state import Phase
from pbx.session import Session
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import (
    channels_of,
    controlled,
    leaked_by,
    until,
    until_over,
)

AT_ONCE = 8
JOINED = 400
"""Of so many some always hit the moment: a phone in two hundred, on this Asterisk."""


def waits(session: Session) -> bool:
    return session.state.phase in {Phase.PLACING, Phase.HOLDING}


async def test_a_phone_that_hangs_up_while_it_is_joined_leaves_nobody_in_silence(
    asterisk: Instance, world: World, phones_folder: Path
):
    numbers = [*PHONES] * AT_ONCE
    agents = [f"agent {number}" for number in range(AT_ONCE)]
    world.endpoints = {a: f"PJSIP/{n}" for a, n in zip(agents, numbers, strict=False)}
    world.free, world.frees_itself, world.left_s = agents, True, 300.0
    leaked = leaked_by(asterisk)
    async with contextlib.AsyncExitStack() as stack:
        controller = await stack.enter_async_context(controlled(asterisk, world))
        for port in PHONES.values():
            one = phone(
                phones_folder,
                "phone_hangs_up",
                port=port,
                ring_ms=5,
                hold_ms=(0, 12),
                count=10_000,
                limit_s=100,
            )
            await stack.enter_async_context(one)
        crowds = 0
        async with asyncio.timeout(80):
            while world.what().count("answered") < JOINED:
                if len(controller.sessions) < AT_ONCE // 2:
                    crowds += 1
                    before = len(world.began)
                    crowd = caller(asterisk, phones_folder, count=AT_ONCE, limit_s=100)
                    await stack.enter_async_context(crowd)
                    await until(lambda n=before: len(world.began) > n, "callers")
                await asyncio.sleep(0.05)
        world.frees_itself = False
        await until(lambda: not world.busy, f"agents to be free, {world.busy} are not", 5)
        await until(lambda: len(world.began) == crowds * AT_ONCE, "all callers to have called", 5)
        live = controller.sessions
        await until(lambda: all(map(waits, live.values())), "whoever is left to wait in line", 5)
        sessions = [*live.values()]
        assert len(controller.channels) == len(sessions)
        for session in sessions:
            session.post(HangUpCall())
        await until_over(world, calls=len(world.began))
    assert channels_of(asterisk) == 0
    print(f"leaked by Asterisk: {leaked_by(asterisk) - leaked}")
