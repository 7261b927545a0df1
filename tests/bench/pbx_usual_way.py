"""The same calls controlled the usual way: a script on asyncio, panoramisk as it comes, redis-py.

    python -m tests.bench.pbx_usual_way PORT REDIS_URL SOUNDS RECORDINGS AGENT...

What somebody sensible writes in a day, and less than our controller does: one menu and one queue, written
into the code; any free agent, and no line of those who wait; a call that is interrupted is lost, since
nothing is taken over; no records to read afterwards, no metrics, no deadlines but the ringing. The manager's
secret comes on standard input.
"""

import asyncio
import json
import sys
import uuid
from pathlib import Path

from panoramisk import Manager
from panoramisk.message import Message
from redis import asyncio as aioredis

FREE = "usual:agents:free"
KEPT_S = 86_400
MENU_TRIES = 9
RING_S = 15
NOBODY_FREE_S = 0.2


class UsualWay:
    """All calls, each a coroutine of its own. Channels are told apart by their unique ids."""

    def __init__(self, manager: Manager, store: aioredis.Redis, sounds: Path, folder: Path) -> None:
        self.manager = manager
        self.store = store
        self.sounds = sounds
        self.folder = folder
        self.calls: dict[str, asyncio.Task[None]] = {}
        self.ringing: dict[str, asyncio.Future[str]] = {}
        self.talking: dict[str, asyncio.Event] = {}
        self.results: dict[str, asyncio.Future[Message]] = {}
        manager.register_event("AsyncAGIStart", self.on_start)
        manager.register_event("AsyncAGIExec", self.on_result)
        manager.register_event("Hangup", self.on_hangup)

    def on_start(self, _: Manager, event: Message) -> None:
        """A caller came, or a phone answered."""
        answered = self.ringing.get(event.uniqueid)
        if answered is None:
            self.calls[event.uniqueid] = asyncio.create_task(self.call(event))
        elif not answered.done():
            answered.set_result(event.channel)

    def on_result(self, _: Manager, event: Message) -> None:
        result = self.results.pop(event.commandid, None)
        if result is not None and not result.done():
            result.set_result(event)

    def on_hangup(self, _: Manager, event: Message) -> None:
        call = self.calls.pop(event.uniqueid, None)
        if call is not None:
            call.cancel()
        answered = self.ringing.get(event.uniqueid)
        if answered is not None and not answered.done():
            answered.set_exception(ConnectionError("not answered"))
        has_ended = self.talking.get(event.uniqueid)
        if has_ended is not None:
            has_ended.set()

    async def call(self, event: Message) -> None:
        """From the answer to the end: whoever hangs up ends it wherever it stands."""
        call_id, caller = event.uniqueid, event.channel
        try:
            await self.keep(call_id, "arrived", caller=event.calleridnum, called=event.exten)
            await self.agi(caller, "ANSWER")
            await self.menu(caller)
            await self.keep(call_id, "waiting", queue="support")
            await self.agi(caller, "SET MUSIC ON")
            while not await self.talk_to_agent(call_id, caller):
                await asyncio.sleep(NOBODY_FREE_S)
            await self.send(Action="Hangup", Channel=caller)
        finally:
            await self.keep(call_id, "ended")

    async def menu(self, caller: str) -> None:
        for _ in range(MENU_TRIES):
            if await self.agi(caller, f"GET DATA {self.sounds}/menu 5000 1") == "2":
                return
            await self.agi(caller, f'STREAM FILE {self.sounds}/short ""')

    async def talk_to_agent(self, call_id: str, caller: str) -> bool:
        """Ring a free agent and stay until the talk is over; False: nobody is free, or nobody answered."""
        agent = await self.store.spop(FREE)
        if agent is None:
            return False
        leg = str(uuid.uuid4())
        has_ended = self.talking[leg] = asyncio.Event()
        try:
            await self.keep(call_id, "ringing", agent=agent)
            answered = await self.ring(agent, leg)
            if answered is None:
                return False
            await self.agi(caller, "SET MUSIC OFF")
            await self.agi(caller, f"EXEC MixMonitor {self.folder}/{call_id}.wav")
            await self.send(Action="Bridge", Channel1=caller, Channel2=answered)
            await self.keep(call_id, "talking", agent=agent)
            await has_ended.wait()
            return True
        finally:
            self.ringing.pop(leg, None)
            self.talking.pop(leg, None)
            await self.send(Action="Hangup", Channel=leg)
            await self.store.sadd(FREE, agent)

    async def ring(self, agent: str, leg: str) -> str | None:
        """The channel of the agent who has answered."""
        answered = self.ringing[leg] = asyncio.get_running_loop().create_future()
        accepted = await self.send(
            Action="Originate",
            Channel=f"PJSIP/{agent}",
            ChannelId=leg,
            Context="crosspoint",
            Exten="agi",
            Priority=1,
            Timeout=RING_S * 1000,
            Async="true",
        )
        if not accepted.success:
            return None
        try:
            return await asyncio.wait_for(answered, RING_S + 1)
        except (ConnectionError, TimeoutError):
            return None

    async def agi(self, channel: str, command: str) -> str:
        """What an AGI command resulted in. panoramisk waits for an event of before Asterisk 12: so we wait."""
        command_id = str(uuid.uuid4())
        result = self.results[command_id] = asyncio.get_running_loop().create_future()
        try:
            await self.send(Action="AGI", Channel=channel, Command=command, CommandID=command_id)
            parsed = (await result).parsed_result()
        finally:
            self.results.pop(command_id, None)
        return str(parsed["result"][0]) if "result" in parsed else ""

    async def send(self, **headers: object) -> Message:
        return await self.manager.send_action(headers, as_list=False)

    async def keep(self, call_id: str, state: str, **more: str) -> None:
        """Where the call stands, for whoever looks."""
        record = json.dumps({"id": call_id, "state": state, **more})
        await self.store.set(f"usual:call:{call_id}", record, ex=KEPT_S)


async def main() -> None:
    port, redis_url, sounds, recordings, *agents = sys.argv[1:]
    store = aioredis.from_url(redis_url, decode_responses=True)
    await store.sadd(FREE, *agents)
    manager = Manager(
        port=int(port),
        username="usual",
        secret=sys.stdin.readline().strip(),
        on_login=lambda _: print("ready", flush=True),
    )
    UsualWay(manager, store, Path(sounds), Path(recordings))
    await manager.connect()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
