"""A session with an Asterisk that does as it is told: what a real one does too rarely to be tested with."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import get_args

import pytest
import structlog
from msgspec.structs import replace

from ivr.hold import Hold, HoldPolicy
from ivr.prompts import Fixed, Prompt, Sound, Speech
from ivr.steps import Key, Play, Played, StopPlay
from pbx.ami import agi
from pbx.ami.actions import Action, ControlPlayback, Hangup, Originate, PlayDtmf, Redirect
from pbx.ami.client import LinkState
from pbx.ami.values import ChannelName, UniqueId
from pbx.carriers import phones, recording, voice
from pbx.carriers.call import Call
from pbx.carriers.outside import OutsideCarrier
from pbx.carriers.phones import PhoneCarrier
from pbx.carriers.recording import RecordingCarrier
from pbx.carriers.voice import VoiceCarrier
from pbx.errors import (
    AmiBusyError,
    AmiDownError,
    OutcomeUnknownError,
    PbxError,
    RefusedError,
)
from pbx.gate import Gate
from pbx.legs import Channels
from pbx.machine.commands import (
    Bridge,
    Command,
    KeepMessage,
    Ring,
    Say,
    SetRecording,
    Split,
    StandInLine,
)
from pbx.machine.events import (
    Begin,
    Decided,
    Event,
    Gone,
    HangUpCall,
    HoldCall,
    LegGone,
    LegPlayed,
    LegUp,
    Matched,
    NotPlaced,
    Placed,
    Recovered,
    Supervise,
)
from pbx.machine.plans import LegId, QueuePlan, RecordingPolicy
from pbx.machine.state import CallState, Kind, Leg, Phase, Supervision
from pbx.ports import RecordingStarted, SpokenPrompt
from pbx.session import Session
from pbx.soon import Soon
from rules.actions import End as EndAction
from rules.actions import Enqueue, Forward, Menu
from tests.integration.asterisk.outside import World

CALLER = LegId("pbx1-1.1")
INBOUND = CallState(id="c1", kind=Kind.INBOUND, channel=CALLER)


class Asterisk:
    """Stands for the AMI client. `fails` makes an answer an error; everything sent is kept."""

    def __init__(self) -> None:
        self.state = LinkState.READY
        self.sent: list[Action] = []
        self.commands: list[str] = []
        self.fails: Callable[[object], PbxError | None] = lambda _: None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.result = "0"

    async def send(self, action: Action, deadline: float) -> dict[str, str]:
        self.sent.append(action)
        error = self.fails(action)
        if error is not None:
            raise error
        return {}

    def tell(self, action: Action, deadline: float, failed: Callable[[Exception], None]) -> None:
        self.sent.append(action)
        error = self.fails(action)
        if error is not None:
            asyncio.get_running_loop().call_soon(failed, error)

    def tell_agi(
        self,
        channel: str,
        command: agi.AgiCommand,
        deadline: float,
        failed: Callable[[Exception], None],
    ) -> None:
        self.commands.append(command.text)
        error = self.fails(command)
        if error is not None:
            asyncio.get_running_loop().call_soon(failed, error)

    async def agi(self, channel: str, command: agi.AgiCommand, deadline: float) -> agi.AgiResult:
        self.commands.append(command.text)
        error = self.fails(command)
        if error is not None:
            raise error
        if command.text.startswith(("STREAM FILE", "EXEC Bridge")):
            await self.goes_on.wait()
        return agi.AgiResult(result=self.result)


class Scene:
    def __init__(self, world: World, state: CallState = INBOUND) -> None:
        self.world = world
        self.asterisk = Asterisk()
        self.gate = Gate()
        self.gate.open()
        self.channels = Channels()
        self.channels.seen(UniqueId(CALLER), ChannelName("PJSIP/trunk-1"))
        self.session = Session(
            state,
            client=self.asterisk,  # type: ignore[arg-type]  # stands for it
            channels=self.channels,
            outside=world.outside(),
            gate=self.gate,
            soon=Soon(),
        )

    def call(self, post: Callable[[Event], None], state: CallState = INBOUND) -> Call:
        """For a carrier by itself, without a session."""
        return Call(
            state,
            client=self.asterisk,  # type: ignore[arg-type]  # stands for it
            channels=self.channels,
            outside=self.world.outside(),
            post=post,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Session]:
        task = asyncio.create_task(self.session.run())
        yield self.session
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not is_true():
                await asyncio.sleep(0.001)

    async def begins_and_agent_answers(self) -> LegId:
        """The call comes in, an agent is rung for it and answers; the leg of their phone."""
        self.session.post(Begin())
        await self.until(lambda: self.session.state.offers)
        agent = self.session.state.offers[0].id
        self.channels.seen(UniqueId(agent), ChannelName("PJSIP/6001-1"))
        self.session.post(LegUp(agent))
        return agent


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Enqueue(queue="support"), tmp_path, tmp_path)


async def test_every_command_has_exactly_one_who_carries_it_out(world: World):
    wanted = set(get_args(Command))
    assert Scene(world).session.handles == wanted
    carriers = [VoiceCarrier, OutsideCarrier]
    call = Scene(world).session._call
    kinds = [kind for carrier in carriers for kind in carrier(call).handlers]
    assert len(kinds) == len(set(kinds))


async def test_a_store_that_is_away_for_one_announcement_silences_none_of_the_next(world: World):
    world.hold = HoldPolicy(interval_s=1)
    world.is_down = True
    scene = Scene(world)
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: isinstance(session.state.dialogue, Hold))
        await scene.until(lambda: getattr(session.state.dialogue, "phase", "") == "music")
        assert world.said == []
        world.is_down = False
        session.wake()
        await scene.until(lambda: world.said)
        assert world.said[0] == Fixed(Sound.POSITION_NEXT)


async def test_a_call_ends_with_its_caller_and_leaves_no_task(world: World):
    scene = Scene(world)
    task = asyncio.create_task(scene.session.run())
    scene.session.post(Begin())
    await scene.until(lambda: scene.session.state.phase is Phase.HOLDING)
    scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP, cause=16))
    async with asyncio.timeout(5):
        await task
    assert world.closed == ["c1"]
    assert world.saved == {}
    assert world.line == []
    assert len(asyncio.all_tasks()) == 1


async def test_while_asterisk_is_away_a_call_stands_still_and_then_goes_on(world: World):
    scene = Scene(world)
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.phase is Phase.HOLDING)
        scene.gate.shut()
        world.set_free("ada")
        session.wake()
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.free == ["ada"]
        session.post(HangUpCall())
        await asyncio.sleep(0.01)
        assert session.state.phase is Phase.HOLDING
        scene.gate.open()
        await scene.until(lambda: session.state.phase is Phase.ENDING)


async def test_a_command_of_before_the_connection_broke_is_not_given_after_it(world: World):
    world.free = ["ada"]
    scene = Scene(world)
    journal = world.save

    async def breaks_while_saving(state: CallState) -> None:
        await journal(state)
        if state.offers:
            scene.gate.shut()
            scene.gate.open()

    world.save = breaks_while_saving  # type: ignore[method-assign]  # this moment cannot be met otherwise
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.offers)
        session.post(Recovered(alive=frozenset({CALLER})))
        await scene.until(lambda: len(session._inbox) == 0)
    assert not [action for action in scene.asterisk.sent if isinstance(action, Originate)]


async def test_asterisk_is_told_nothing_before_it_is_written_while_the_store_is_asked_at_once(
    world: World,
):
    scene, written = Scene(world), list[Phase]()
    journal, is_written = world.save, dict[Phase, asyncio.Event]()

    async def save(state: CallState) -> None:
        written.append(state.phase)
        if state.phase in {Phase.HOLDING, Phase.ANSWERING}:
            await is_written.setdefault(state.phase, asyncio.Event()).wait()
        await journal(state)

    async def nothing_more_happens() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        assert scene.asterisk.commands == []

    world.save = save  # type: ignore[method-assign]  # seen from outside
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.phase is Phase.ANSWERING)  # the rules were asked
        await nothing_more_happens()
        assert written == [Phase.ANSWERING]
        is_written[Phase.ANSWERING].set()
        await scene.until(lambda: scene.asterisk.commands)


async def test_a_question_that_is_not_answered_soon_is_written_without_its_answer(world: World):
    scene, has_answered = Scene(world), asyncio.Event()
    decide = world.decide

    async def slowly(state: CallState) -> Decided:
        await has_answered.wait()
        return await decide(state)

    world.decide = slowly  # type: ignore[method-assign]  # seen from outside
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: "c1" in world.saved)
        assert world.saved["c1"].phase is Phase.DECIDING
        has_answered.set()
        await scene.until(lambda: world.saved["c1"].phase is Phase.HOLDING)
    assert len(asyncio.all_tasks()) == 1


async def test_a_question_that_is_asked_again_by_whoever_takes_over_is_written_with_its_answer(
    world: World,
):
    scene, written = Scene(world), list[Phase]()
    journal = world.save

    async def save(state: CallState) -> None:
        written.append(state.phase)
        await journal(state)

    world.save = save  # type: ignore[method-assign]  # seen from outside
    world.free = ["ada"]
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.offers)
        session.post(LegUp(session.state.offers[0].id))
        await scene.until(lambda: Phase.TALKING in written)
    phases = list(dict.fromkeys(written))[:3]
    assert phases == [Phase.ANSWERING, Phase.HOLDING, Phase.TALKING]


async def test_a_prompt_does_not_wait_until_it_is_written_and_a_phone_does(world: World):
    """Whoever takes over begins the prompt anew; a phone would be rung twice."""
    support = Enqueue(queue="support")
    world.action = Menu(name="main", prompt="menu", choices={"1": support}, otherwise=support)
    world.free = ["ada"]
    scene, written, goes_on = Scene(world), list[Phase](), asyncio.Event()

    async def save(state: CallState) -> None:
        written.append(state.phase)
        if state.phase is not Phase.ANSWERING:
            await goes_on.wait()

    world.save = save  # type: ignore[method-assign]  # seen from outside
    scene.asterisk.goes_on.clear()
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: any("STREAM" in text for text in scene.asterisk.commands))
        assert written == [Phase.ANSWERING]
        await scene.until(lambda: written == [Phase.ANSWERING, Phase.ASKING])
        session.post(Key("1"))
        scene.asterisk.goes_on.set()
        await scene.until(lambda: session.state.offers)
        await asyncio.sleep(0.05)
        assert not scene.asterisk.sent
        goes_on.set()
        await scene.until(lambda: scene.asterisk.sent)
        assert isinstance(scene.asterisk.sent[0], Originate)


async def test_a_prompt_that_a_key_ends_is_stopped_without_a_word_and_the_key_is_written_with_what_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(voice, "KEY_STOPS_S", 0.001)
    support = Enqueue(queue="support")
    world.action = Menu(name="main", prompt="menu", choices={"1": support}, otherwise=support)
    scene, written = Scene(world), list[Phase]()
    journal = world.save

    async def save(state: CallState) -> None:
        written.append(state.phase)
        await journal(state)

    world.save = save  # type: ignore[method-assign]  # seen from outside
    scene.asterisk.goes_on.clear()
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: any("STREAM" in text for text in scene.asterisk.commands))
        (played,) = [text for text in scene.asterisk.commands if "STREAM" in text]
        assert played.endswith('"#*0123456789"')
        session.post(Key("1"))
        scene.asterisk.goes_on.set()  # Asterisk has heard the key as well
        await scene.until(lambda: written[-1] is Phase.HOLDING)
        await asyncio.sleep(0.01)
    assert Phase.PLANNING not in written
    assert not [one for one in scene.asterisk.sent if isinstance(one, ControlPlayback)]


async def test_a_prompt_that_had_not_begun_when_the_key_came_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(voice, "KEY_STOPS_S", 0.001)
    scene = Scene(world)
    heard: list[Event] = []
    call = scene.call(heard.append)
    carrier = VoiceCarrier(call)
    scene.asterisk.goes_on.clear()
    await carrier.handlers[Play](Play(play=1, prompts=(Speech("a"),), until_key=True))
    await scene.until(lambda: scene.asterisk.commands)
    await carrier.handlers[StopPlay](StopPlay())
    await scene.until(lambda: scene.asterisk.sent)
    assert isinstance(scene.asterisk.sent[0], ControlPlayback)
    scene.asterisk.goes_on.set()
    await call.lanes.close()
    assert heard == []


async def test_a_prompt_that_a_key_has_ended_leaves_no_doubt(world: World):
    scene = Scene(world)
    call = scene.call(lambda _: None)
    carrier = VoiceCarrier(call)
    scene.asterisk.goes_on.clear()
    await carrier.handlers[Play](Play(play=1, prompts=(Speech("a"),), until_key=True))
    await scene.until(lambda: scene.asterisk.commands)
    await carrier.handlers[StopPlay](StopPlay())
    playing = carrier._playing
    assert playing is not None
    assert playing.doubt is not None
    assert not playing.doubt.cancelled()
    scene.asterisk.goes_on.set()
    await call.lanes.caller.is_empty(5)
    assert playing.doubt.cancelled()


async def test_of_a_prompt_that_a_key_ended_nothing_more_is_played_though_the_key_was_lost(
    world: World,
):
    scene = Scene(world)
    heard: list[Event] = []
    call = scene.call(heard.append)
    carrier = VoiceCarrier(call)
    scene.asterisk.result = str(ord("2"))
    both = (Speech("a"), Speech("b"))
    await carrier.handlers[Play](Play(play=1, prompts=both, until_key=True))
    await scene.until(lambda: heard)
    assert heard == [Played(1)]
    assert len(scene.asterisk.commands) == 1
    await call.lanes.close()


async def test_a_key_that_leaves_the_line_is_written_before_the_announcement_is_stopped(
    world: World,
):
    world.hold = HoldPolicy(interval_s=1)
    scene, stopped_in = Scene(world), list[Phase]()

    def note(one: object) -> None:
        if isinstance(one, ControlPlayback):
            stopped_in.append(world.saved["c1"].phase)

    scene.asterisk.fails = note
    scene.asterisk.goes_on.clear()
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: any("STREAM" in text for text in scene.asterisk.commands))
        session.post(Key("*"))
        await scene.until(lambda: stopped_in)
    assert stopped_in[0] is Phase.PLANNING


@pytest.mark.parametrize("is_caller_gone_too", [True, False])
async def test_a_call_that_is_over_in_a_moment_is_not_written_down_before(
    world: World, *, is_caller_gone_too: bool
):
    agent, written = Leg(id=LegId("pbx1-1.2"), endpoint="PJSIP/6001", agent="ada"), list[Phase]()
    talks = CallState(
        id="c1",
        kind=Kind.INBOUND,
        channel=CALLER,
        phase=Phase.TALKING,
        is_up=True,
        agent=agent,
        is_joined=True,
    )
    scene = Scene(world, talks)

    async def save(state: CallState) -> None:
        written.append(state.phase)

    world.save = save  # type: ignore[method-assign]  # seen from outside
    scene.session.post(LegGone(leg=agent.id, why=Gone.HUNG_UP))
    if is_caller_gone_too:
        scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP))
    async with scene.running() as session:
        await scene.until(lambda: session.state.phase in {Phase.ENDING, Phase.ENDED})
        await scene.until(lambda: world.wrapped_up)
    assert written == ([] if is_caller_gone_too else [Phase.ENDING])
    assert world.wrapped_up == ["ada"]
    assert not is_caller_gone_too or world.closed == ["c1"]


async def test_where_a_talk_is_recorded_to_is_written_before_it_is_recorded(world: World):
    scene, recorded = Scene(world), list[tuple[str, str]]()

    def note(one: object) -> None:
        if isinstance(one, agi.AgiCommand) and "MixMonitor" in one.text:
            recorded.append((world.saved["c1"].recording_file, one.text))

    scene.asterisk.fails = note
    world.free, world.recording = ["ada"], RecordingPolicy(record=True)
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.offers)
        session.post(LegUp(session.state.offers[0].id))
        await scene.until(lambda: recorded)
    file, command = recorded[0]
    assert file
    assert f"{file}.wav" in command


@pytest.mark.parametrize(
    ("moment_s", "noted"), [(60.0, "recording_too_short"), (0.0, "recording_failed")]
)
async def test_a_talk_that_is_over_at_once_is_no_failed_recording(
    world: World, monkeypatch: pytest.MonkeyPatch, moment_s: float, noted: str
):
    monkeypatch.setattr(recording, "MOMENT_S", moment_s)
    handed_over: list[RecordingStarted] = []

    async def finish(state: CallState, started: RecordingStarted) -> bool:
        handed_over.append(started)
        return False

    monkeypatch.setattr(world, "finish", finish)
    world.free, world.recording = ["ada"], RecordingPolicy(record=True)
    scene = Scene(world)
    scene.asterisk.goes_on.clear()
    async with scene.running() as session:
        await scene.begins_and_agent_answers()
        await scene.until(lambda: session.state.phase is Phase.TALKING)
        session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP))
        await scene.until(lambda: handed_over)
        await scene.until(lambda: world.closed)
    assert [what for _, what in world.notes if what.startswith("recording_")] == [noted]
    assert [one.is_momentary for one in handed_over] == [moment_s > 0]


async def test_a_recording_that_asterisk_has_ended_already_is_handed_over(world: World):
    scene = Scene(world, replace(INBOUND, recording_file="/spool/a"))
    carrier = RecordingCarrier(scene.session._call)
    scene.asterisk.fails = lambda _: RefusedError()
    await carrier.handlers[SetRecording](SetRecording(to="off"))
    await scene.until(lambda: world.finished)
    assert [str(file) for file in world.finished] == ["/spool/a.wav"]
    await scene.session._call.lanes.close()


async def test_a_call_that_is_cancelled_while_it_is_written_leaves_no_task(world: World):
    has_begun = asyncio.Event()

    async def save(state: CallState) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    async def decide(state: CallState) -> Decided:
        await asyncio.Event().wait()
        raise AssertionError

    world.save, world.decide = save, decide  # type: ignore[method-assign]  # as long as it takes
    scene = Scene(world)
    async with scene.running() as session:
        session.post(Begin())
        await has_begun.wait()
        await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1


async def test_what_an_agent_hears_in_several_sounds_is_one_command_where_it_fits(world: World):
    scene = Scene(world)
    call, agent = scene.session._call, LegId("pbx1-1.2")
    voice = VoiceCarrier(call)
    scene.asterisk.goes_on.set()
    long = ["d" * 250, "e" * 250, "f" * 250]
    await voice.handlers[Say](Say(leg=agent, prompts=(Speech("a"), Speech("b"))))
    await voice.handlers[Say](Say(leg=agent, prompts=(Speech("c"),)))
    await voice.handlers[Say](Say(leg=agent, prompts=tuple(map(Speech, long))))
    await scene.until(lambda: len(scene.asterisk.commands) == 4)
    two, one, *parts = scene.asterisk.commands
    folder = world.sounds
    assert two == f'EXEC Playback "{folder}/a&{folder}/b"'
    assert one == f'STREAM FILE "{folder}/c" ""'
    assert [part.count("&") for part in parts] == [1, 0]
    assert all(len(part) < 1000 for part in parts)
    await call.lanes.close()


async def test_a_phone_that_asterisk_refuses_to_ring_is_unreachable(world: World):
    world.free = ["ada"]
    scene = Scene(world)
    scene.asterisk.fails = lambda one: RefusedError() if isinstance(one, Originate) else None
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: world.unanswered_agents)
        assert session.state.phase is Phase.HOLDING
    assert world.unanswered_agents == [("ada", Gone.UNREACHABLE)]


@pytest.mark.parametrize("error", [AmiBusyError(), OutcomeUnknownError()])
async def test_a_phone_of_which_nothing_is_ever_heard_holds_no_caller_up(
    world: World, monkeypatch: pytest.MonkeyPatch, error: PbxError
):
    monkeypatch.setattr(phones, "APPEARS_S", 0.01)
    world.free = ["ada"]
    scene = Scene(world)
    scene.asterisk.fails = lambda one: error if isinstance(one, Originate) else None
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: world.unanswered_agents)
        assert not session.state.offers


@pytest.mark.parametrize("is_away", [True, False])
async def test_a_phone_that_appears_after_all_or_may_goes_on_ringing(
    world: World, monkeypatch: pytest.MonkeyPatch, *, is_away: bool
):
    monkeypatch.setattr(phones, "APPEARS_S", 0.01)
    world.free = ["ada"]
    scene = Scene(world)
    scene.asterisk.fails = lambda one: OutcomeUnknownError() if isinstance(one, Originate) else None
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.offers)
        (offer,) = session.state.offers
        if is_away:
            scene.asterisk.state = LinkState.CONNECTING
        else:
            scene.channels.seen(UniqueId(offer.id), ChannelName("PJSIP/6001-1"))
        await asyncio.sleep(0.05)
        assert session.state.offers == (offer,)


async def test_a_caller_with_an_odd_number_is_put_through_without_it(world: World):
    world.action = Forward(number="+12125550177")
    scene = Scene(world, replace(INBOUND, caller_number="(212) 555-0142", is_up=True))
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.phase is Phase.DIALING)
        leg = session.state.offers[0]
        ring = Ring(leg=leg.id, endpoint=leg.endpoint, ring_s=5, caller_id="(212) 555-0142")
        await PhoneCarrier(session._call).handlers[Ring](ring)
        rung = [one for one in scene.asterisk.sent if isinstance(one, Originate)]
        assert rung[-1].headers().get("CallerID") is None
        assert session.state.offers == (leg,)


async def test_a_supervisor_of_a_call_that_was_taken_over_changes_the_mode(world: World):
    ada = Leg(id=LegId("ada"), endpoint="PJSIP/6001", agent="ada", is_up=True)
    boss = Leg(id=LegId("boss"), endpoint="PJSIP/6002", agent="boss", is_up=True)
    listening = Supervision(leg=boss, mode="listen")
    scene = Scene(world, replace(INBOUND, phase=Phase.TALKING, agent=ada, supervision=listening))
    async with scene.running() as session:
        session.post(
            Supervise(endpoint="PJSIP/6002", leg=LegId("new"), mode="whisper", agent="boss")
        )
        await scene.until(lambda: scene.asterisk.sent)
    (key,) = scene.asterisk.sent
    assert isinstance(key, PlayDtmf)
    assert (key.channel, key.digit) == ("boss", "5")
    assert scene.asterisk.commands == []


@pytest.mark.parametrize("has_gone_too", [True, False])
async def test_a_leg_that_is_known_to_be_gone_is_not_hung_up(world: World, *, has_gone_too: bool):
    ada = Leg(id=LegId("ada"), endpoint="PJSIP/6001", agent="ada", is_up=True)
    scene = Scene(world, replace(INBOUND, phase=Phase.TALKING, agent=ada, is_joined=True))
    scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP, cause=16))
    if has_gone_too:
        scene.session.post(LegGone(leg=ada.id, why=Gone.HUNG_UP, cause=16))
    async with asyncio.timeout(5):
        await scene.session.run()
    hung_up = [one.channel for one in scene.asterisk.sent if isinstance(one, Hangup)]
    assert hung_up == ([] if has_gone_too else ["ada"])


async def test_a_channel_that_does_not_exist_any_more_ends_the_call(world: World):
    scene = Scene(world)
    gone = RefusedError(reason="Channel pbx1-1.1 does not exist.")
    scene.asterisk.fails = lambda one: gone if isinstance(one, agi.AgiCommand) else None
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.phase is Phase.ENDED)


async def test_a_hang_up_that_is_not_carried_out_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pbx.machine.acting.HANG_UP_S", 0.01)
    scene = Scene(world)
    scene.asterisk.fails = lambda one: AmiDownError() if isinstance(one, Hangup) else None
    async with scene.running() as session:
        session.post(HangUpCall())
        await scene.until(
            lambda: len([a for a in scene.asterisk.sent if isinstance(a, Hangup)]) > 1
        )


async def test_a_stop_is_repeated_until_the_sound_has_stopped_and_reports_no_end(world: World):
    scene = Scene(world)
    heard: list[Event] = []
    call = scene.call(heard.append)
    voice = VoiceCarrier(call)
    scene.asterisk.goes_on.clear()
    await voice.handlers[Play](Play(play=1, prompts=(Speech("a"), Speech("b"))))
    await scene.until(lambda: scene.asterisk.commands)
    await voice.handlers[StopPlay](StopPlay())
    await scene.until(
        lambda: [type(one) for one in scene.asterisk.sent].count(ControlPlayback) >= 2
    )
    scene.asterisk.goes_on.set()
    await voice.handlers[Play](Play(play=2, prompts=(Speech("c"),)))
    await scene.until(lambda: heard)
    assert heard == [Played(2)]
    assert (
        len([text for text in scene.asterisk.commands if "STREAM" in text]) == 2
    )  # "b" was not begun
    await call.lanes.close()


async def test_a_voice_that_breaks_costs_the_prompt_and_never_holds_up_the_call(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    async def speak(prompts: tuple[Prompt, ...], language: str) -> SpokenPrompt:
        raise RuntimeError("the voice is broken")

    monkeypatch.setattr(world, "speak", speak)
    scene = Scene(world)
    heard: list[Event] = []
    call = scene.call(heard.append)
    voice, agent = VoiceCarrier(call), LegId("pbx1-1.2")
    await voice.handlers[Play](Play(play=1, prompts=(Speech("a"),)))
    await scene.until(lambda: heard)
    await voice.handlers[Say](Say(leg=agent, prompts=(Speech("whispered"),)))
    await scene.until(lambda: len(heard) > 1)
    assert heard == [Played(1), LegPlayed(agent)]
    await call.lanes.close()


async def test_a_prompt_that_breaks_off_with_the_connection_was_not_heard(world: World):
    scene = Scene(world)
    heard: list[Event] = []
    call = scene.call(heard.append)
    voice = VoiceCarrier(call)
    scene.asterisk.fails = lambda _: OutcomeUnknownError()
    with structlog.testing.capture_logs() as lines:
        await voice.handlers[Play](Play(play=1, prompts=(Speech("a"),)))
        await scene.until(lambda: heard)
        scene.asterisk.state = LinkState.DOWN
        await voice.handlers[Play](Play(play=2, prompts=(Speech("a"),)))
        await scene.until(lambda: len(scene.asterisk.commands) == 2)
        await asyncio.sleep(0)
    assert heard == [Played(1)]
    assert [line["event"] for line in lines] == ["prompt_failed", "lane_work_failed"]
    await call.lanes.close()


async def test_a_message_is_kept_by_whoever_took_over(world: World):
    """The file that the controller before began is in the state."""
    scene = Scene(world)
    state = CallState(id="c1", kind=Kind.INBOUND, channel=CALLER, message_file="/spool/m")
    call = scene.call(lambda _: None, state)
    await VoiceCarrier(call).handlers[KeepMessage](KeepMessage("1"))
    await scene.until(lambda: world.kept_messages)
    assert [str(file) for file in world.kept_messages] == ["/spool/m.wav"]
    await call.lanes.close()


async def test_however_often_it_is_woken_a_call_asks_for_an_agent_once_at_a_time(world: World):
    scene = Scene(world)
    asked = 0
    stand = world.stand_in_line

    async def counted(state: CallState, plan: QueuePlan) -> Matched | Placed | NotPlaced:
        nonlocal asked
        asked += 1
        return await stand(state, plan)

    world.stand_in_line = counted  # type: ignore[method-assign]  # counts
    async with scene.running() as session:
        session.post(Begin())
        await scene.until(lambda: session.state.phase is Phase.HOLDING)
        before = asked
        for _ in range(1000):
            session.wake()
        await scene.until(lambda: asked > before)
        await session._call.lanes.store.is_empty(1)
        assert asked == before + 1


async def test_a_caller_who_presses_keys_all_the_time_is_still_heard_hanging_up(world: World):
    world.action = Menu(
        name="main", prompt="menu", choices={"1": EndAction()}, otherwise=EndAction()
    )
    scene = Scene(world)
    task = asyncio.create_task(scene.session.run())
    scene.session.post(Begin())
    for number in range(5000):
        scene.session.post(Key("29"[number % 2]))
        if number % 50 == 0:
            await asyncio.sleep(0)
    scene.session.post(LegGone(leg=CALLER, why=Gone.HUNG_UP))
    async with asyncio.timeout(5):
        await task
    assert world.closed == ["c1"]


async def test_a_second_question_for_the_line_waits_for_the_first(world: World):
    scene = Scene(world)
    heard: list[Event] = []
    plan = await world.plan(INBOUND, Enqueue(queue="support"))
    assert isinstance(plan, QueuePlan)
    state = CallState(id="c1", kind=Kind.INBOUND, channel=CALLER, in_line=True, queue=plan)
    call = scene.call(heard.append, state)
    carrier = OutsideCarrier(call)
    for _ in range(3):
        await carrier.handlers[StandInLine](StandInLine(plan))
    await call.lanes.store.is_empty(1)
    assert len(heard) == 1
    await call.lanes.close()


async def test_a_control_is_not_begun_after_its_time_however_long_asterisk_was_away(world: World):
    loop, talking = asyncio.get_running_loop(), LegId("ada")
    agent = Leg(id=talking, endpoint="PJSIP/1", agent="ada", is_up=True)
    state = replace(INBOUND, phase=Phase.TALKING, is_up=True, is_joined=True, agent=agent)
    scene = Scene(world, state)
    scene.gate.shut()
    async with scene.running() as session:
        late = session.post_control(HoldCall(), loop.time() + 0.02)
        await asyncio.sleep(0.05)  # Asterisk is away for longer than that
        in_time = session.post_control(HangUpCall(), loop.time() + 60)
        scene.gate.open()
        await scene.until(lambda: session.state.phase is Phase.ENDING)
        assert late is not None
        assert in_time is not None
        assert (late.has_begun, in_time.has_begun) == (False, True)
        assert not [action for action in scene.asterisk.sent if isinstance(action, Redirect)]


async def test_a_bridge_that_comes_about_is_taken_apart_only_then(world: World):
    scene = Scene(world)
    other = LegId("6001-leg")
    for leg, name in ((CALLER, "PJSIP/trunk-1"), (other, "PJSIP/6001-1")):
        scene.channels.seen(UniqueId(leg), ChannelName(name))
    scene.asterisk.goes_on.clear()
    carrier = scene.session._bridges
    await carrier.handlers[Bridge](Bridge(leg=other))
    await scene.until(lambda: scene.asterisk.commands)
    split = asyncio.create_task(carrier.handlers[Split](Split(one=CALLER, other=other)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not scene.asterisk.sent
    caller = scene.channels.find(CALLER)
    assert caller is not None
    caller.bridge = "b1"
    await split
    assert [type(one) for one in scene.asterisk.sent] == [Redirect]
    carrier.close()
    await scene.session._call.lanes.close()
