"""The controller under load, a process of its own so that its CPU time is its own.

pbx_controller PORT SOUNDS RECORDINGS AGENT...   the manager secret comes on standard input
"""

import asyncio
import sys
from pathlib import Path

import msgspec
import structlog
import uvloop

from ivr.hold import HoldPolicy
from pbx.ami.settings import AmiSettings
from pbx.controller import Controller
from pbx.machine.commands import Note
from pbx.machine.plans import RecordingPolicy
from pbx.machine.state import CallState
from rules.actions import Enqueue, Menu
from tests.integration.asterisk.outside import World


class Busy(World):
    """Agents are free again as soon as a call is over; nothing is kept that would grow."""

    async def wrap_up(self, agent: str, *, has_vanished: bool = False) -> None:
        self.set_free(agent)

    async def save(self, state: CallState) -> None:
        self.saved[state.id] = state
        msgspec.json.encode(state)

    async def forget(self, call_id: str) -> None:
        self.saved.pop(call_id, None)

    def note(self, state: CallState, note: Note) -> None:
        pass


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    port, sounds, recordings, *agents = sys.argv[1:]
    secret = sys.stdin.readline().strip()
    support = Enqueue(queue="support")
    menu = Menu(
        name="main", prompt="menu", choices={"2": support}, otherwise=support, tries=9, timeout_s=5
    )
    world = Busy(menu, Path(sounds), Path(recordings))
    world.hold = HoldPolicy(announce_position=False, announce_wait=False)
    world.recording = RecordingPolicy(record=True)
    world.endpoints = {agent: f"PJSIP/{agent}" for agent in agents}
    world.free = list(agents)
    controller = Controller(AmiSettings(port=int(port), secret=secret), world.outside())
    task = asyncio.create_task(controller.run())
    await controller.client.wait_ready(asyncio.get_running_loop().time() + 10)
    print("ready", flush=True)
    await task


if __name__ == "__main__":
    uvloop.run(main())
