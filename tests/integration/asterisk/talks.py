"""Two who talk, or are about to, each with an ear of their own: what tests of controls begin with."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from deploy.asterisk.instance import Instance
from pbx.ami.actions import PlayDtmf, new_channel_id
from pbx.ami.values import UniqueId
from pbx.controller import Controller
from pbx.machine.events import (
    HangUpCall,
)
from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Leg, Phase
from pbx.session import Session
from tests.integration.asterisk.capture import Part, Tone
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    THIRD_HZ,
    channels_of,
    controlled,
    the_call,
    until,
    until_over,
)


def new_leg() -> LegId:
    return LegId(new_channel_id())


class Talk:
    """A caller and an agent who hear each other, each with an ear of its own."""

    def __init__(self, controller: Controller, session: Session, caller: Ear, agent: Ear) -> None:
        self.controller = controller
        self.session = session
        self.caller = caller
        self.agent = agent

    async def until(self, *phases: Phase) -> None:
        await until(lambda: self.session.state.phase in phases, f"the call in {phases}")

    async def both_hear_each_other(self) -> None:
        await self.caller.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await self.agent.until_hears(CALLER_HZ)

    async def presses(self, key: str) -> None:
        """The caller presses a key."""
        channel = UniqueId(self.session.state.channel)
        await self.controller.client.send(
            PlayDtmf(channel=channel, digit=key, receive=True),
            asyncio.get_running_loop().time() + 5,
        )


@contextlib.asynccontextmanager
async def talk(
    asterisk: Instance, world: World, folder: Path, scenario: str = "phone_answers", **more: int
) -> AsyncIterator[Talk]:
    """Both speak all the time; the call is ended by us, if it is not over by then.

    `scenario` and what follows: how the agent's phone behaves.
    """
    world.free = ["ada"]
    async with (
        controlled(asterisk, world) as controller,
        Ear() as hears_caller,
        Ear() as hears_agent,
        phone(
            folder,
            scenario,
            port=PHONES["6001"],
            **more,
            says=[Tone(AGENT_HZ, 30)],
            ear=hears_agent,
        ),
        caller(asterisk, folder, says=[Tone(CALLER_HZ, 30)], ear=hears_caller),
    ):
        session = await the_call(controller, Phase.TALKING)
        one = Talk(controller, session, hears_caller, hears_agent)
        await one.both_hear_each_other()
        yield one
        session.post(HangUpCall())
        await until_over(world)
        await until(lambda: len(controller.channels) == 0, "no channel to be left")
    assert world.busy == {}
    # A conference has channels of its own that go a moment after the last member.
    await until(lambda: channels_of(asterisk) == 0, "Asterisk to have no channel")


@contextlib.asynccontextmanager
async def third_phone(folder: Path, scenario: str = "phone_answers", **more: int):
    async with Ear() as ear:
        says: list[Part] = [Tone(THIRD_HZ, 30)]
        async with phone(folder, scenario, port=PHONES["6003"], says=says, ear=ear, **more):
            yield ear


def click_to_call(kind: Kind = Kind.CLICK_TO_CALL, **more: object) -> CallState:
    ada = Leg(id=new_leg(), endpoint="PJSIP/6001", agent="ada")
    fields = {"agent": ada, "customer_endpoint": "PJSIP/6003", "ring_s": 8} | more
    return CallState(id=new_channel_id(), kind=kind, channel=new_leg(), **fields)  # type: ignore[arg-type]  # keywords
