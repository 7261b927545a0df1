"""Three and more on a real Asterisk: who hears whom when one is held, let go, or leaves; proven by tones."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from pbx.controller import Controller
from pbx.machine.events import (
    AddParticipant,
    ChangeRecording,
    DropParty,
    Gone,
    HangUpCall,
    HoldCall,
    LegGone,
    LegUp,
    ResumeCall,
)
from pbx.machine.state import Phase
from pbx.session import Session
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.talks import Talk, new_leg, talk, third_phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    THIRD_HZ,
    controlled,
    the_call,
    until_over,
)

FOURTH_HZ = 1900


class Three(Talk):
    """A caller, an agent and a third, each with an ear."""

    third: Ear

    async def all_hear_each_other(self) -> None:
        await self.caller.until_hears(AGENT_HZ, THIRD_HZ, never=(MUSIC_HZ,))
        await self.agent.until_hears(CALLER_HZ, THIRD_HZ)
        await self.third.until_hears(CALLER_HZ, AGENT_HZ)

    async def only_the_caller_is_on_hold(self) -> None:
        await self.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ, THIRD_HZ))
        await self.agent.until_hears(THIRD_HZ, never=(CALLER_HZ,))
        await self.third.until_hears(AGENT_HZ, never=(CALLER_HZ,))


@contextlib.asynccontextmanager
async def three(
    asterisk: Instance, world: World, folder: Path, **third: int
) -> AsyncIterator[Three]:
    scenario = "phone_hangs_up" if third else "phone_answers"
    async with third_phone(folder, scenario, **third) as ear, talk(asterisk, world, folder) as two:
        one = Three(two.controller, two.session, two.caller, two.agent)
        one.third = ear
        one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
        await one.until(Phase.CONFERENCE)
        await one.all_hear_each_other()
        yield one


async def test_the_caller_is_held_while_the_others_talk_and_comes_back(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with three(asterisk, world, phones_folder) as one:
        for _ in range(2):
            one.session.post(HoldCall())
            await one.until(Phase.CONFERENCE_HELD)
            await one.only_the_caller_is_on_hold()
            one.session.post(ResumeCall())
            await one.until(Phase.CONFERENCE)
            await one.all_hear_each_other()
    assert world.wrapped_up == ["ada"]


async def test_hold_and_resume_without_a_pause_leave_nobody_outside(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with three(asterisk, world, phones_folder) as one:
        for control in (HoldCall(), ResumeCall(), HoldCall(), ResumeCall(), HoldCall()):
            one.session.post(control)
        await one.only_the_caller_is_on_hold()
        one.session.post(ResumeCall())
        one.session.post(HoldCall())
        one.session.post(ResumeCall())
        await one.all_hear_each_other()


async def test_the_third_is_let_go_and_the_two_are_a_talk_again(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with three(asterisk, world, phones_folder) as one:
        one.session.post(DropParty(one.session.state.members[1].id))
        await one.until(Phase.TALKING)
        await one.caller.until_hears(AGENT_HZ, never=(THIRD_HZ, MUSIC_HZ))
        await one.agent.until_hears(CALLER_HZ, never=(THIRD_HZ,))
        one.session.post(HoldCall())
        await one.until(Phase.HELD)
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ,))


async def test_the_agent_leaves_and_the_two_others_go_on_talking(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with three(asterisk, world, phones_folder) as one:
        one.session.post(DropParty(one.session.state.members[0].id))
        await one.until(Phase.TALKING)
        await one.caller.until_hears(THIRD_HZ, never=(AGENT_HZ, MUSIC_HZ))
        await one.third.until_hears(CALLER_HZ, never=(AGENT_HZ,))
        assert world.wrapped_up == ["ada"]


async def test_one_who_leaves_while_the_caller_is_on_hold_leaves_an_ordinary_hold(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with three(asterisk, world, phones_folder) as one:
        one.session.post(HoldCall())
        await one.only_the_caller_is_on_hold()
        one.session.post(DropParty(one.session.state.members[1].id))
        await one.until(Phase.HELD)
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ, THIRD_HZ))
        one.session.post(ResumeCall())
        await one.both_hear_each_other()
    assert world.wrapped_up == ["ada"]


async def test_a_fourth_who_answers_while_the_caller_is_on_hold_joins_the_others(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with (
        Ear() as fourth,
        phone(phones_folder, port=PHONES["6002"], says=[Tone(FOURTH_HZ, 30)], ear=fourth),
        three(asterisk, world, phones_folder) as one,
    ):
        one.session.post(HoldCall())
        await one.only_the_caller_is_on_hold()
        one.session.post(AddParticipant(endpoint="PJSIP/6002", leg=new_leg()))
        await fourth.until_hears(AGENT_HZ, THIRD_HZ, never=(CALLER_HZ,))
        await one.caller.until_hears(MUSIC_HZ, never=(FOURTH_HZ, AGENT_HZ))
        one.session.post(ResumeCall())
        await fourth.until_hears(CALLER_HZ, AGENT_HZ, THIRD_HZ)
        await one.caller.until_hears(AGENT_HZ, THIRD_HZ, FOURTH_HZ, never=(MUSIC_HZ,))


async def test_the_recording_goes_on_through_the_hold_of_a_conference(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with third_phone(phones_folder) as third, talk(asterisk, world, phones_folder) as one:
        one.session.post(ChangeRecording("on"))
        await world.until_noted("recording_on")
        await one.both_hear_each_other()
        one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
        await one.caller.until_hears(AGENT_HZ, THIRD_HZ)
        one.session.post(HoldCall())
        await one.caller.until_hears(MUSIC_HZ, never=(AGENT_HZ, THIRD_HZ))
        one.session.post(ResumeCall())
        await third.until_hears(CALLER_HZ, AGENT_HZ)
        await one.caller.listen(0.5)
    (recording,) = world.finished
    assert all(audio.hears(recording, hz) for hz in (CALLER_HZ, AGENT_HZ, THIRD_HZ))


@pytest.mark.parametrize("is_held", [True, False])
async def test_another_controller_goes_on_with_a_conference_as_it_was(
    asterisk: Instance, world: World, phones_folder: Path, *, is_held: bool
):
    world.free = ["ada"]
    async with (
        Ear() as hears_caller,
        Ear() as hears_agent,
        third_phone(phones_folder) as third,
        phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 30)], ear=hears_agent),
        contextlib.AsyncExitStack() as line,
    ):

        def those(controller: Controller, session: Session) -> Three:
            found = Three(controller, session, hears_caller, hears_agent)
            found.third = third
            return found

        async with controlled(asterisk, world) as first:
            calling = caller(asterisk, phones_folder, says=[Tone(CALLER_HZ, 30)], ear=hears_caller)
            await line.enter_async_context(calling)
            before = those(first, await the_call(first, Phase.TALKING))
            before.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
            await before.all_hear_each_other()
            if is_held:
                before.session.post(HoldCall())
                await before.only_the_caller_is_on_hold()
        async with controlled(asterisk, world) as second:
            phase = Phase.CONFERENCE_HELD if is_held else Phase.CONFERENCE
            after = those(second, await the_call(second, phase))
            if is_held:
                await after.only_the_caller_is_on_hold()
                after.session.post(ResumeCall())
            await after.all_hear_each_other()
            after.session.post(HangUpCall())
            await until_over(world)
    assert world.busy == {}


async def test_a_third_who_is_gone_before_the_others_have_joined_takes_nobody_along(
    asterisk: Instance, world: World, phones_folder: Path
):
    async with talk(asterisk, world, phones_folder) as one:
        moved = one.session.on_moved

        def at_once(session: Session) -> None:
            moved(session)
            if session.state.phase is Phase.CONFERENCE:
                third = session.state.members[1].id
                session.post(LegGone(leg=third, why=Gone.HUNG_UP))  # heard before the others are in
                session.post(LegUp(third))  # nobody's any more: it is hung up

        one.session.on_moved = at_once
        async with third_phone(phones_folder) as third:
            one.session.post(AddParticipant(endpoint="PJSIP/6003", leg=new_leg()))
            await world.until_noted("member_left")
            await one.until(Phase.TALKING)
            await one.both_hear_each_other()
            assert third.loudness(CALLER_HZ) < 0.01
