"""Run whole calls: a controller on a real Asterisk, its outside in memory, and waiting for what happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from deploy.asterisk.instance import Instance, write_tone
from pbx.ami.settings import AmiSettings
from pbx.controller import Controller
from pbx.machine.state import Phase
from pbx.session import Session
from rules.actions import Enqueue
from tests.integration.asterisk.outside import World
from tests.servers import wait_for

SUPPORT = Enqueue(queue="support")
CALLER_HZ, AGENT_HZ, THIRD_HZ, MUSIC_HZ = 700, 1100, 1500, 330


def new_world(asterisk: Instance) -> World:
    """The rules say: wait for an agent of support."""
    for name, hz, seconds in (("short", 500, 0.2), ("menu", 900, 3)):
        if not (asterisk.sounds / f"{name}.wav").exists():
            write_tone(asterisk.sounds / f"{name}.wav", hz=hz, seconds=seconds)
    return World(SUPPORT, asterisk.sounds, asterisk.recordings)


@contextlib.asynccontextmanager
async def controlled(
    asterisk: Instance, world: World, *, port: int | None = None, **limits: float
) -> AsyncIterator[Controller]:
    """A controller that is ended without a word to anybody, as a crash does.

    It pings often, so that one of another owner on the same Asterisk is soon known to be gone.
    """
    limits.setdefault("ping_every_s", 0.2)
    settings = AmiSettings(
        port=port or asterisk.ports.ami,
        secret=asterisk.secret,
        **limits,  # type: ignore[arg-type]  # keywords
    )
    controller = Controller(settings, world.outside())
    task = asyncio.create_task(controller.run())
    await controller.client.wait_ready(asyncio.get_running_loop().time() + 10)
    # A call begun before it knows what goes on there would be taken for one of before.
    await until(
        lambda: controller.is_ready or controller.is_taken, "the controller to know what goes on"
    )
    try:
        yield controller
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(is_true: Callable[[], object], what: str, limit_s: float = 15) -> None:
    """Wait until something holds."""
    try:
        async with asyncio.timeout(limit_s):
            while not is_true():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {limit_s} s in vain for {what}") from None


async def the_call(controller: Controller, *phases: Phase, limit_s: float = 15) -> Session:
    """The one call there is, once it is in one of these phases."""

    def found() -> Session | None:
        fits = (s for s in controller.sessions.values() if not phases or s.state.phase in phases)
        return next(fits, None)

    await until(found, f"a call in {phases}", limit_s)
    session = found()
    assert session is not None
    return session


async def until_over(world: World, calls: int = 1, limit_s: float = 20) -> None:
    """Every call has its end in the records, and nothing of it is live any more."""
    await until(
        lambda: len(world.closed) >= calls and not world.saved, f"{calls} calls to end", limit_s
    )


SURROGATE = "Surrogate/"
"""What Asterisk 22 now and then leaves of a channel that hung up in the very moment in which it was
pulled into a bridge: it stays in the list without call, phone or thread, and a hang-up of it is accepted
but comes to nothing. Not ours to end; see `leaked_by`. That a phone was left in the bridge, too, is ours:
see `Controller._has_hung_up`."""


def channels_of(asterisk: Instance) -> int:
    """How many channels Asterisk itself lists, without those that it has leaked."""
    return len([row for row in _listed(asterisk) if not row.startswith(SURROGATE)])


def end_calls(asterisk: Instance) -> None:
    """Hang up whatever a test has left."""
    if channels_of(asterisk):
        asterisk.command("channel request hangup all")
        wait_for(lambda: channels_of(asterisk) == 0, "Asterisk to have no channel")


def leaked_by(asterisk: Instance) -> int:
    """How many channels Asterisk has leaked since it was started."""
    return len([row for row in _listed(asterisk) if row.startswith(SURROGATE)])


def _listed(asterisk: Instance) -> list[str]:
    return [
        row for row in asterisk.command("core show channels concise").splitlines() if "!" in row
    ]
