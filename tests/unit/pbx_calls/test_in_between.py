"""What comes in the few milliseconds in which a call is between two states, or while something is slow."""

import asyncio
import contextlib
from pathlib import Path, PurePosixPath

import pytest
from msgspec.structs import replace

import pbx.controller
from pbx.ami import agi
from pbx.ami.actions import Hangup, MixMonitorMute
from pbx.ami.client import LinkState
from pbx.ami.events import ChannelListed, HungUp, OriginateEnded
from pbx.ami.settings import AmiSettings
from pbx.ami.values import ChannelName, UniqueId
from pbx.carriers import bridges
from pbx.claim import Claim
from pbx.controller import Controller
from pbx.errors import (
    AgiRefusedError,
    AmiBusyError,
    OutcomeUnknownError,
    PbxError,
    RefusedError,
)
from pbx.legs import MOST_UNWANTED, Channels
from pbx.machine.events import (
    Gone,
    HoldCall,
    LegGone,
    Recovered,
    SplitDone,
    TransferTo,
)
from pbx.machine.plans import LegId, QueuePlan
from pbx.machine.state import CallState, Kind, Leg, Phase
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
        await scene.begins_and_agent_answers()
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


@pytest.mark.parametrize("error", [AmiBusyError(), AgiRefusedError(status=511)])
async def test_a_caller_who_cannot_be_joined_with_the_agent_goes_back_into_the_line(
    world: World, error: PbxError
):
    world.free = ["ada"]
    scene = Scene(world)

    def fails(one: object) -> PbxError | None:
        is_bridge = isinstance(one, agi.AgiCommand) and one.enters_bridge
        return error if is_bridge else None

    scene.asterisk.fails = fails
    async with scene.running() as session:
        agent = await scene.begins_and_agent_answers()
        await scene.until(lambda: session.state.phase is Phase.HOLDING and world.wrapped_up)
        assert session.state.goes_first
    assert [one.channel for one in scene.asterisk.sent if isinstance(one, Hangup)] == [agent]


async def test_two_whose_connection_to_us_is_lost_go_on_talking(world: World):
    scene = Scene(world, replace(INBOUND, phase=Phase.TALKING, is_up=True, agent=ADA))
    scene.channels.seen(UniqueId(ADA.id), ChannelName("PJSIP/6001-1"))

    def fails(one: object) -> PbxError | None:
        if isinstance(one, agi.AgiCommand) and one.enters_bridge:
            scene.asterisk.state = LinkState.DOWN
            return OutcomeUnknownError()
        return None

    scene.asterisk.fails = fails
    async with scene.running() as session:
        session.post(Recovered(alive=frozenset({CALLER, ADA.id})))
        await scene.until(lambda: scene.asterisk.state is LinkState.DOWN)
        await session._call.lanes.caller.is_empty(1)
        await asyncio.sleep(0.02)
        assert session.state.phase is Phase.TALKING


async def test_of_a_call_that_breaks_nobody_is_left_in_line_or_reserved(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    plan = await world.plan(INBOUND, SUPPORT)
    assert isinstance(plan, QueuePlan)
    offered = replace(ADA, is_up=False)
    state = replace(
        INBOUND, phase=Phase.HOLDING, queue=plan, in_line=True, offers=(offered,), token="t1"
    )
    world.line, world.tokens, world.busy = ["c1"], {"ada": "t1"}, {"ada": "c1"}
    await world.save(state)
    controller = Controller(AmiSettings(secret="s"), world.outside())
    session = controller._adopt(state)

    async def breaks() -> None:
        raise KeyError

    monkeypatch.setattr(session, "run", breaks)
    await controller._live(session)
    assert (world.line, world.busy, world.tokens, world.saved) == ([], {}, {}, {})
    assert world.closed == ["c1"]
    assert controller.sessions == {}


@pytest.mark.parametrize("pause_s", [60.0, 0.0])
async def test_an_asterisk_that_refuses_to_list_its_channels_is_asked_again_but_not_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, pause_s: float
):
    monkeypatch.setattr(pbx.controller, "LIST_AGAIN_S", pause_s)
    controller, asked = Controller(AmiSettings(secret="s"), world.outside()), 0

    async def refuse(_by_s: float) -> list[ChannelListed]:
        nonlocal asked
        asked += 1
        raise RefusedError(reason="Permission denied")

    monkeypatch.setattr(controller.client, "channels", refuse)
    monkeypatch.setattr(controller.client, "run", asyncio.Event().wait)
    monkeypatch.setattr(Claim, "take", lambda *_: asyncio.sleep(0, result=True))
    controller.client.state = LinkState.READY
    controller._on_state(LinkState.READY)
    task = asyncio.create_task(controller.run())
    for _ in range(100):  # turns of the loop: nothing here waits for more
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (asked == 1) is (pause_s > 0)
    assert asked >= 1


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_a_recording_that_asterisk_was_not_told_of_begins_before_the_two_are_joined(
    world: World, *, is_recorded: bool
):
    scene = Scene(world, replace(recorded_talk(), is_joined=False))
    scene.channels.seen(UniqueId(ADA.id), ChannelName("PJSIP/6001-1"))
    scene.asterisk.goes_on.clear()

    def fails(one: object) -> PbxError | None:
        return RefusedError() if isinstance(one, MixMonitorMute) and not is_recorded else None

    scene.asterisk.fails = fails
    async with scene.running() as session:
        session.post(Recovered(alive=frozenset({CALLER, ADA.id})))
        await scene.until(lambda: any("Bridge" in text for text in scene.asterisk.commands))
    recorded = [text for text in scene.asterisk.commands if "MixMonitor" in text]
    assert len(recorded) == int(not is_recorded)
    assert all(f"{RECORDED}.wav" in text for text in recorded)
    assert "Bridge" in scene.asterisk.commands[-1]


@pytest.mark.parametrize("is_caller_first", [True, False])
async def test_two_who_are_taken_apart_when_that_was_given_up_are_joined_again(
    world: World, monkeypatch: pytest.MonkeyPatch, *, is_caller_first: bool
):
    monkeypatch.setattr(bridges, "SPLIT_S", 0.02)
    talks = replace(INBOUND, phase=Phase.TALKING, is_up=True, agent=ADA, is_joined=True)
    scene = Scene(world, talks)
    scene.channels.seen(UniqueId(ADA.id), ChannelName("PJSIP/6001-1"))
    scene.asterisk.goes_on.clear()
    async with scene.running() as session:
        session.post(HoldCall())
        await scene.until(lambda: session.state.phase is Phase.SPLITTING and scene.asterisk.sent)
        if is_caller_first:
            session.leg_ours(CALLER)
        await scene.until(lambda: session.state.phase is Phase.TALKING)
        if not is_caller_first:
            assert scene.asterisk.commands == []  # as far as anybody knows they talk
            session.leg_ours(ADA.id)
            session.leg_ours(CALLER)
        await scene.until(lambda: any("Bridge" in text for text in scene.asterisk.commands))
        assert session.state.phase is Phase.TALKING
    assert len([text for text in scene.asterisk.commands if "Bridge" in text]) == 1


async def test_the_end_of_the_originate_says_nothing_more_of_a_leg_whose_end_was_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Else a customer who was busy is gone twice, and the agent who is being told is cut off."""
    controller = Controller(AmiSettings(secret="s"), world.outside())
    calls = replace(INBOUND, kind=Kind.CLICK_TO_CALL, phase=Phase.RINGING_CUSTOMER, agent=ADA)
    session = controller._adopt(calls)
    heard: list[object] = []
    monkeypatch.setattr(session, "post", heard.append)
    customer = UniqueId(CALLER)
    controller._hung_up(HungUp(uniqueid=customer, channel=ChannelName("PJSIP/t-1"), cause=17))
    controller._index(session)  # the call has moved on
    controller._originate_ended(OriginateEnded(response="Failure", uniqueid=customer))
    assert heard == [LegGone(leg=CALLER, why=Gone.BUSY, cause=17)]
