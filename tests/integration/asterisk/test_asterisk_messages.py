"""Messages for a mailbox on a real Asterisk, when something goes wrong while the caller speaks."""

from pathlib import Path, PurePosixPath

from deploy.asterisk.instance import Instance
from ivr.prompts import Fixed, Sound
from ivr.voicemail import Phase as Mail
from ivr.voicemail import Voicemail
from pbx.controller import Controller
from pbx.machine.state import CallState, Phase
from pbx.ports import RecordingStarted
from pbx.session import Session
from rules.actions import Target, TargetType
from rules.actions import Voicemail as LeaveMessage
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.outside import World
from tests.integration.asterisk.phones import caller
from tests.integration.asterisk.whole_calls import (
    CALLER_HZ,
    controlled,
    the_call,
    until,
    until_over,
)

MAIL = LeaveMessage(target=Target(type=TargetType.DEPARTMENT, id="1"))
GREETING = Fixed(Sound.VOICEMAIL_GREETING)


async def speaking(controller: Controller) -> Session:
    """The caller's message is being recorded."""
    session = await the_call(controller, Phase.VOICEMAIL)

    def is_recorded() -> bool:
        message = session.state.dialogue
        return isinstance(message, Voicemail) and message.phase is Mail.RECORDING

    await until(lambda: is_recorded() and session.state.message_file, "the recording to begin")
    return session


async def test_another_controller_lets_the_caller_finish_the_message_and_keeps_it(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.action = MAIL
    says = [Silence(1.0), Tone(CALLER_HZ, 6), *keys("#"), Silence(3)]
    async with caller(asterisk, phones_folder, says=says) as customer:
        async with controlled(asterisk, world) as first:
            session = await speaking(first)
            spoken = Path(f"{session.state.message_file}.wav")
            await until(lambda: spoken.exists() and spoken.stat().st_size, "the first words")
        async with controlled(asterisk, world):
            await customer.ended()
            await until_over(world)
    assert world.said.count(GREETING) == 1
    assert Fixed(Sound.VOICEMAIL_SAVED) in world.said
    (message,) = world.kept_messages
    assert audio.hears(Path(f"{message}"), CALLER_HZ)


async def test_a_caller_whose_message_cannot_be_written_is_told(
    asterisk: Instance, world: World, phones_folder: Path
):
    world.action = MAIL

    def begin(_: CallState) -> RecordingStarted:
        return RecordingStarted(folder=PurePosixPath("/nowhere"), name="message")

    world.begin = begin  # type: ignore[method-assign]  # a folder that went away
    says = [Tone(CALLER_HZ, 10)]
    async with (
        controlled(asterisk, world),
        caller(asterisk, phones_folder, says=says) as customer,
    ):
        await customer.ended()
        await until_over(world)
    assert "message_lost" in world.what()
    assert Fixed(Sound.TRY_LATER) in world.said
