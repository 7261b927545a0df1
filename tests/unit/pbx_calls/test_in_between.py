"""What comes in the few milliseconds in which a call is between two states, or while something is slow."""

import asyncio
from pathlib import Path, PurePosixPath

import pytest
from msgspec.structs import replace

from pbx.ami.actions import Hangup
from pbx.ami.values import ChannelName, UniqueId
from pbx.errors import RefusedError
from pbx.legs import MOST_UNWANTED, Channels
from pbx.machine.events import Begin, Gone, LegGone, LegUp, SplitDone, TransferTo
from pbx.machine.plans import LegId, QueuePlan
from pbx.machine.state import CallState, Leg, Phase
from pbx.ports import RecordingStarted
from rules.actions import Enqueue
from tests.integration.asterisk.outside import World
from tests.unit.pbx_calls.test_session import CALLER, INBOUND, Scene

SUPPORT = Enqueue(queue="support")
ADA = Leg(id=LegId("ada"), endpoint="PJSIP/6001", agent="ada", is_up=True)
RECORDED = PurePosixPath("/spool/a")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(SUPPORT, tmp_path, tmp_path)


def recorded_talk() -> CallState:
    return replace(
        INBOUND,
        phase=Phase.TALKING,
        is_up=True,
        agent=ADA,
        is_joined=True,
        recording=True,
        recording_file=str(RECORDED),
    )


async def test_a_caller_who_is_handed_on_does_not_wait_for_the_file_of_the_talk_before(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    begun, is_kept = asyncio.Event(), asyncio.Event()

    async def finish(state: CallState, started: RecordingStarted) -> bool:
        begun.set()
        await is_kept.wait()
        return True

    monkeypatch.setattr(world, "finish", finish)
    scene = Scene(world, recorded_talk())
    async with scene.running() as session:
        session.post(TransferTo(SUPPORT))
        await scene.until(lambda: session.state.phase is Phase.SPLITTING)
        session.post(SplitDone())
        await scene.until(begun.is_set)
        await scene.until(lambda: session.state.phase is Phase.HOLDING)
        assert world.wrapped_up == ["ada"]
        is_kept.set()


async def test_a_call_is_forgotten_only_when_its_recording_has_been_handed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []

    async def finish(state: CallState, started: RecordingStarted) -> bool:
        await asyncio.sleep(0.05)
        order.append("handed over")
        return True

    async def forget(call_id: str) -> None:
        order.append("forgotten")

    monkeypatch.setattr(world, "finish", finish)
    monkeypatch.setattr(world, "forget", forget)
    scene = Scene(world, recorded_talk())
    scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP))
    async with asyncio.timeout(5):
        await scene.session.run()
    assert order == ["handed over", "forgotten"]


async def test_a_call_that_is_woken_while_its_agent_is_confirmed_does_not_stand_in_line_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.free = ["ada"]
    asked, may_confirm, confirm, stand = 0, asyncio.Event(), world.confirm, world.stand_in_line

    async def slowly(state: CallState, agent: str, token: str) -> bool | None:
        await may_confirm.wait()
        return await confirm(state, agent, token)

    async def counted(state: CallState, plan: QueuePlan) -> object:
        nonlocal asked
        asked += 1
        return await stand(state, plan)

    monkeypatch.setattr(world, "confirm", slowly)
    monkeypatch.setattr(world, "stand_in_line", counted)
    scene = Scene(world)
    scene.asterisk.goes_on.clear()
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.offers)
        agent = session.state.offers[0].id
        scene.channels.seen(UniqueId(agent), ChannelName("PJSIP/6001-1"))
        session.post(LegUp(agent))
        await scene.until(lambda: session.state.phase is Phase.CONNECTING)
        session.wake()
        may_confirm.set()
        await scene.until(lambda: session.state.phase is Phase.TALKING)
        await session._call.lanes.store.is_empty(1)
    assert asked == 1


@pytest.mark.parametrize("has_appeared", [True, False])
async def test_a_phone_that_is_only_just_rung_is_hung_up_when_its_channel_appears(
    world: World, *, has_appeared: bool
):
    scene = Scene(world, replace(INBOUND, phase=Phase.TALKING, agent=ADA, is_joined=True))
    scene.asterisk.fails = lambda one: RefusedError() if isinstance(one, Hangup) else None
    if has_appeared:
        scene.channels.seen(UniqueId(ADA.id), ChannelName("PJSIP/6001-1"))
    scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP))
    async with asyncio.timeout(5):
        await scene.session.run()
    hung_up = [one.channel for one in scene.asterisk.sent if isinstance(one, Hangup)]
    assert hung_up == (["ada", "ada"] if has_appeared else ["ada"])
    assert scene.channels.unwanted(UniqueId("ADA")) == (None if has_appeared else 16)
    assert scene.channels.unwanted(UniqueId("ada")) is None


def test_channels_that_never_appear_are_not_waited_for_without_end():
    channels = Channels()
    for number in range(MOST_UNWANTED + 1):
        channels.end_when_seen(UniqueId(f"leg-{number}"), 26)
    assert channels.unwanted(UniqueId("leg-0")) is None
    assert channels.unwanted(UniqueId("leg-1")) == 26
