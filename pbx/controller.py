"""One Asterisk and all calls on it: sorts events to sessions, begins and recovers calls.

How it works: every event is sorted by the channel's unique id to the session that owns the leg. A
channel that enters the dialplan's door and belongs to nobody is a new call. After every (re)connect,
and at the start, the live channels are compared with the sessions (at the start: those written down
by the controller before): legs that are no more are reported gone, phones that have answered are
reported up, then each session goes on where it was. **The caller stays on the line.**
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog

from ivr.steps import KEYS, Key
from pbx.ami.actions import Hangup, Ping
from pbx.ami.client import Client, LinkState
from pbx.ami.events import (
    AgiEnded,
    AgiStarted,
    BridgeEntered,
    BridgeLeft,
    ChannelListed,
    DeviceChanged,
    Event,
    HungUp,
    KeyPressed,
    NewChannel,
    OriginateEnded,
    SoftHangupRequested,
)
from pbx.ami.settings import AmiSettings
from pbx.ami.values import UniqueId
from pbx.causes import known_cause, why_gone
from pbx.claim import Claim
from pbx.errors import PbxError
from pbx.gate import Gate
from pbx.legs import Channel, Channels, endpoint_of
from pbx.machine.commands import Note
from pbx.machine.events import Begin, Bridged, Gone, LegGone, LegUp, Recovered
from pbx.machine.events import Event as CallEvent
from pbx.machine.plans import LegId
from pbx.machine.state import IN_CONFERENCE, CallState, Intent, Kind, Phase
from pbx.phones import PhoneState, phone_state
from pbx.ports import Outside
from pbx.session import Session
from pbx.soon import Soon

log = structlog.get_logger(__name__)

RINGING, UP = 5, 6
ASTERISK_ITSELF = 1
"""Who asks for a hang-up, see `SoftHangupRequested`."""
OUR_CONTEXT = "crosspoint"
OUR_CONTEXTS = (OUR_CONTEXT, "crosspoint-conference")
PHONES = "crosspoint-phones"
DOORS = ("crosspoint-in", PHONES)
"""Contexts of the dialplan through which calls come to us."""
LIST_S = 10.0
LIST_AGAIN_S = 1.0
"""Who may not list the channels is told so at once, every time."""
WAKES_AGAIN_S = 1.0
TAKEN_S = 5.0
"""How often is looked whether another installation has left this Asterisk."""
BROKEN = 41
"""Q.850 "temporary failure"."""
BOTH = 2
OUT_OF_CONFERENCE = frozenset({Intent.REJOIN, Intent.KEEP_HELD})


class Controller:
    """All calls of one Asterisk. `run` until cancelled."""

    def __init__(
        self,
        settings: AmiSettings,
        outside: Outside,
        *,
        most_calls: int = 2_000,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        on_moved: Callable[[CallState], None] = lambda _: None,
    ) -> None:
        """`on_moved` is shown every state of every call, before anything is done about it."""
        self.client = Client(settings, on_event=self._on_event, on_state=self._on_state)
        self.channels = Channels()
        self.sessions: dict[str, Session] = {}
        self._outside = outside
        self._most_calls = most_calls
        self._now_ms = now_ms
        self._on_moved = on_moved
        self._by_leg: dict[str, Session] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._ready = asyncio.Event()
        self._gate = Gate()
        self._soon = Soon()
        self._claim: Claim | None = None
        self.is_taken = False
        """Another installation runs this Asterisk; nothing is done here until it has gone."""
        self._arrived_meanwhile: dict[str, AgiStarted] = {}
        self._gone_meanwhile: set[str] = set()
        self._phones_meanwhile: dict[str, PhoneState] = {}
        # Any: each handler takes the kind that it stands under.
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AgiEnded: self._agi_ended,
            AgiStarted: self._agi_started,
            BridgeEntered: self._bridge_entered,
            BridgeLeft: self._bridge_left,
            DeviceChanged: self._phone,
            HungUp: self._hung_up,
            KeyPressed: self._key,
            NewChannel: self._channel,
            OriginateEnded: self._originate_ended,
            SoftHangupRequested: self._soft_hangup,
        }

    async def run(self) -> None:
        """Take over the calls of before, then carry out whatever comes; ends by cancellation only."""
        self._claim = Claim(await self._outside.journal.owner())
        for state in await self._outside.journal.load():
            self._adopt(state)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for session in self.sessions.values():
                tasks.create_task(self._live(session))
            tasks.create_task(self.client.run())
            tasks.create_task(self._listen_for_wakes())
            while True:
                await self._ready.wait()
                self._ready.clear()
                await self._reconcile()

    def begin(self, state: CallState) -> Session | None:
        """Begin a call of ours (click-to-call, callback, outbound menu); None: too many calls."""
        return self._start(state, Begin())

    def find(self, call_id: str) -> Session | None:
        return self.sessions.get(call_id)

    @property
    def is_ready(self) -> bool:
        """Whether Asterisk is there, and what is going on there is known."""
        return self._gate.is_open

    # --- sessions -----------------------------------------------------------------------------------

    def _start(self, state: CallState, first: CallEvent) -> Session | None:
        if self._tasks is None or len(self.sessions) >= self._most_calls:
            log.error("too_many_calls", most=self._most_calls)
            return None
        session = self._adopt(state)
        session.post(first)
        self._tasks.create_task(self._live(session))
        return session

    def _adopt(self, state: CallState) -> Session:
        session = Session(
            state,
            client=self.client,
            channels=self.channels,
            outside=self._outside,
            gate=self._gate,
            soon=self._soon,
        )
        session.on_moved = self._index
        self.sessions[state.id] = session
        self._index(session)
        return session

    def _index(self, session: Session) -> None:
        """Know the session by every leg it has; called whenever its state has moved."""
        state = session.state
        for leg in (state.channel, *(leg.id for leg in state.legs())):
            if leg not in session.known_by:
                session.known_by.add(leg)
                self._by_leg[leg.lower()] = session
        self._on_moved(state)

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
        except Exception as error:  # noqa: BLE001 - a boundary: one broken call must not end the others
            log.error("call_broke", error=type(error).__name__)  # noqa: TRY400 - stacks hold values
            self._outside.records.note(session.state, Note(what="broken"))
            self._outside.records.close(session.state, cause=BROKEN)
            for left in (session.state.channel, *(leg.id for leg in session.state.legs())):
                self._hang_up(UniqueId(left), BROKEN)
            await self._put_away(session.state)
        finally:
            self.sessions.pop(session.state.id, None)
            for known in map(str.lower, session.known_by):
                if self._by_leg.get(known) is session:
                    del self._by_leg[known]

    async def _put_away(self, state: CallState) -> None:
        """Of a call that broke nothing is left: nobody waits in line, or is kept for a caller, for ever."""
        queueing = self._outside.queueing
        agents = [leg.agent for leg in state.legs() if leg.agent is not None]
        try:
            await queueing.leave_line(state, keep=False)
            for agent in agents:
                if state.token:
                    await queueing.release(agent, state.token)
                await queueing.wrap_up(agent)
            await self._outside.journal.forget(state.id)
        except Exception as error:  # noqa: BLE001 - as above; what broke the call may break this
            log.error("call_not_put_away", error=type(error).__name__)  # noqa: TRY400 - stacks hold values

    async def _listen_for_wakes(self) -> None:
        while True:
            try:
                async for call_id in self._outside.queueing.wakes():
                    session = self.sessions.get(call_id)
                    if session is not None:
                        session.wake()
            except Exception as error:  # noqa: BLE001 - a boundary: the calls go on without it
                log.error("wakes_broke", error=type(error).__name__)  # noqa: TRY400 - stacks hold values
            await asyncio.sleep(WAKES_AGAIN_S)

    # --- events -------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        handle = self._handlers.get(type(event))
        if handle is not None:
            handle(event)

    def _agi_ended(self, event: AgiEnded) -> None:
        left = self.channels.find(event.uniqueid)
        if left is not None:
            left.has_left = True

    def _soft_hangup(self, event: SoftHangupRequested) -> None:
        if event.cause == ASTERISK_ITSELF:
            self.channels.seen(event.uniqueid, event.channel).is_ended = True

    def _bridge_left(self, event: BridgeLeft) -> None:
        self.channels.move(self.channels.seen(event.uniqueid, event.channel), "")

    def _channel(self, event: NewChannel) -> None:
        self.channels.seen(event.uniqueid, event.channel)
        cause = self.channels.unwanted(event.uniqueid)
        if cause is not None:
            self._hang_up(event.uniqueid, cause)

    def _agi_started(self, event: AgiStarted) -> None:
        channel = self.channels.seen(event.uniqueid, event.channel)
        self.channels.move(channel, "")
        channel.has_left = False
        session = self._by_leg.get(event.uniqueid.lower())
        if session is None:
            self._stranger(event)
            return
        leg = LegId(event.uniqueid)
        if session.leg_ours(leg):
            return
        if not session.knows_as_up(leg):
            session.post(LegUp(leg))

    def _stranger(self, event: AgiStarted) -> None:
        """A channel that belongs to no call: a new call at the door, else a leg nobody wants."""
        if not self._gate.is_open:
            self._arrived_meanwhile[event.uniqueid.lower()] = event
        elif event.context in DOORS or event.environment("agi_context") in DOORS:
            self._arrived(event)
        else:
            self._hang_up(event.uniqueid)

    def _arrived(self, event: AgiStarted | ChannelListed) -> None:
        told = event.environment if isinstance(event, AgiStarted) else lambda _: ""
        is_phone = PHONES in {event.context, told("agi_context")}
        state = CallState(
            id=uuid.uuid4().hex,
            kind=Kind.INBOUND,
            channel=LegId(event.uniqueid),
            caller_number=_known(event.caller_id_num),
            called_number=_known(event.exten or told("agi_extension")),
            phone=endpoint_of(event.channel) if is_phone else "",
            language=told("agi_language") or "en",
            arrived_ms=self._now_ms(),
        )
        if self._start(state, Begin()) is None:
            self._hang_up(event.uniqueid, cause=34)

    def _key(self, event: KeyPressed) -> None:
        session = self._by_leg.get(event.uniqueid.lower())
        if session is None or event.direction != "Received" or event.digit not in KEYS:
            return
        if session.state.channel.lower() == event.uniqueid.lower():
            session.post(Key(event.digit))

    def _hung_up(self, event: HungUp) -> None:
        channel = self.channels.gone(event.uniqueid)
        if not self._gate.is_open:
            self._arrived_meanwhile.pop(event.uniqueid.lower(), None)
            self._gone_meanwhile.add(event.uniqueid.lower())
        session = self._by_leg.pop(event.uniqueid.lower(), None)
        if session is None:
            return
        # Still among `known_by`: nothing is to be heard of it again, such as the end of the Originate it began with.
        was_up, has_rung = event.channel_state == UP, event.channel_state in {RINGING, UP}
        why = why_gone(
            event.cause,
            event.tech_cause,
            was_up=was_up,
            has_rung=has_rung,
            is_ended=channel is not None and channel.is_ended,
        )
        cause = known_cause(event.cause, event.tech_cause, was_up=was_up)
        leg = LegId(event.uniqueid)
        session.post(LegGone(leg=leg, why=why, cause=cause, has_rung=has_rung))

    def _originate_ended(self, event: OriginateEnded) -> None:
        """Only needed when not even a channel came to be: everything else has its own event."""
        if event.is_answered or self.channels.find(event.uniqueid) is not None:
            return
        session = self._by_leg.get(event.uniqueid.lower())
        if session is not None:
            session.post(LegGone(leg=LegId(event.uniqueid), why=Gone.UNREACHABLE))

    def _bridge_entered(self, event: BridgeEntered) -> None:
        channel = self.channels.seen(event.uniqueid, event.channel)
        self.channels.move(channel, event.bridge_uniqueid)
        if self._has_hung_up(channel):
            # Asterisk forgets a hang-up in the very moment in which it takes a channel into a bridge:
            # its end was seen, yet it would stay, with a caller who hears nothing.
            log.info("joined_too_late")
            self._hang_up(channel.id)
        if event.bridge_num_channels < BOTH:
            return
        members = self.channels.in_bridge(event.bridge_uniqueid)
        if any(map(self._has_hung_up, members)):
            return
        for member in members:
            session = self._by_leg.get(member.id.lower())
            if session is not None and session.state.channel.lower() == member.id.lower():
                session.post(Bridged())

    def _has_hung_up(self, channel: Channel) -> bool:
        """Of a channel in a bridge. Whoever is moved into a conference has left as well, for there."""
        session = self._by_leg.get(channel.id.lower()) if channel.has_left else None
        return session is not None and not _has_conference(session.state)

    def _phone(self, event: DeviceChanged) -> None:
        state = phone_state(event.state)
        if state is None:
            return
        if self._gate.is_open:
            self._outside.phones.learn(event.device, state)
        else:
            self._phones_meanwhile[event.device] = state

    # --- after a connect --------------------------------------------------------------------------------

    def _on_state(self, state: LinkState) -> None:
        self._gate.shut()
        self.client.ping = Ping
        self._arrived_meanwhile.clear()
        self._gone_meanwhile.clear()
        self._phones_meanwhile.clear()
        if state is LinkState.READY:
            self._ready.set()

    async def _reconcile(self) -> None:
        """Compare what is alive with what we know, and let every session go on."""
        try:
            if not await self._is_ours():
                return
            by_s = asyncio.get_running_loop().time() + LIST_S
            rows = await self.client.channels(by_s)
            devices = await self.client.device_states(by_s)
        except PbxError as error:
            # Broken again: the next connect asks anew. Too slow, or refused: ask again in a moment.
            log.warning("reconcile_failed", code=error.code)
            if self.client.state is LinkState.READY:
                await asyncio.sleep(LIST_AGAIN_S)
            if self.client.state is LinkState.READY:
                self._ready.set()
            return
        if self._ready.is_set():
            return  # connected anew meanwhile: the list is of before
        known = ((device.device, phone_state(device.state)) for device in devices)
        phones = {endpoint: state for endpoint, state in known if state is not None}
        self._outside.phones.know({**phones, **self._phones_meanwhile})
        # Whoever hung up after the list was written is in it, but gone.
        rows = [row for row in rows if row.uniqueid.lower() not in self._gone_meanwhile]
        self.channels.clear()
        listed = {row.uniqueid.lower(): self._listed(row) for row in rows}
        bridged = frozenset(LegId(c.id) for c in listed.values() if c.bridge)
        for session in list(self.sessions.values()):
            self._catch_up(session, listed, bridged)
        self._gate.open()
        self._sort_out(rows)
        arrived, self._arrived_meanwhile = self._arrived_meanwhile, {}
        for event in arrived.values():
            if event.uniqueid.lower() not in self._by_leg:
                self._stranger(event)
        log.info("reconciled", channels=len(rows), calls=len(self.sessions))

    async def _is_ours(self) -> bool:
        """Whether no other installation runs this Asterisk. Raises as `Client.send`."""
        if self._claim is None or await self._claim.take(self.client):
            self.is_taken = False
            self.client.ping = Ping if self._claim is None else self._claim.renewed
            return True
        if not self.is_taken:
            self.is_taken = True
            log.error("another_controller_at_work")
        await asyncio.sleep(TAKEN_S)
        if self.client.state is LinkState.READY:
            self._ready.set()
        return False

    def _sort_out(self, rows: list[ChannelListed]) -> None:
        """Channels of no call: callers begin one, legs that nobody wants any more end."""
        wanted = {
            leg.lower()
            for session in self.sessions.values()
            for leg in (session.state.channel, *(leg.id for leg in session.state.legs()))
        }
        for row in rows:
            if row.uniqueid.lower() in wanted:
                continue
            if _is_originated(row.uniqueid) or row.context in OUR_CONTEXTS:
                self._hang_up(row.uniqueid)
            elif row.context in DOORS:
                self._arrived(row)

    def _listed(self, row: ChannelListed) -> Channel:
        channel = self.channels.seen(row.uniqueid, row.channel)
        channel.is_up = row.channel_state == UP
        self.channels.move(channel, row.bridge_id)
        return channel

    def _catch_up(
        self, session: Session, listed: dict[str, Channel], bridged: frozenset[LegId]
    ) -> None:
        state = session.state
        expected = [leg.id for leg in state.legs()]
        if state.phase not in {Phase.NEW, Phase.RINGING_AGENT}:
            expected.append(state.channel)
        alive: set[LegId] = set()
        for leg in expected:
            channel = listed.get(leg.lower())
            if channel is None:
                self._by_leg.pop(leg.lower(), None)
                session.known_by.discard(leg)
                session.post(LegGone(leg=leg, why=Gone.LOST))
                continue
            alive.add(leg)
            if channel.is_up and not session.knows_as_up(leg):
                session.post(LegUp(leg))
        session.post(Recovered(alive=frozenset(alive), bridged=bridged))

    def _hang_up(self, unique_id: UniqueId, cause: int = 16) -> None:
        """End a channel that no call wants; nobody waits for the answer."""
        if self._tasks is not None:
            self._tasks.create_task(self._hang_up_now(unique_id, cause))

    async def _hang_up_now(self, unique_id: UniqueId, cause: int) -> None:
        try:
            action = Hangup(channel=unique_id, cause=cause)
            await self.client.send(action, asyncio.get_running_loop().time() + LIST_S)
        except PbxError as error:
            log.info("hang_up_failed", code=error.code)


def _has_conference(state: CallState) -> bool:
    """Whether legs are, or were a moment ago, on their way into one."""
    return state.phase in IN_CONFERENCE or state.intent in OUT_OF_CONFERENCE


def _is_originated(unique_id: str) -> bool:
    """Whether we gave the channel its id: see `new_channel_id`. Asterisk's own are `name-time.number`."""
    try:
        uuid.UUID(unique_id)
    except ValueError:
        return False
    return True


def _known(number: str) -> str | None:
    """A number as Asterisk shows it; withheld ones are none."""
    withheld = {"", "<unknown>", "unknown", "anonymous", "s"}
    return None if number.lower() in withheld else number
