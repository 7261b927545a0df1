"""One PBX put together: every port, the controller, and the work behind them, in one place.

Only the controller in charge of the Asterisk works; a second process waits (`leading.py`).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from pbx.ami.settings import AmiSettings
from pbx.controller import Controller
from pbx.machine.state import CallState
from pbx.ports import Outside, Speech
from router.decisions.decide import Decider
from router.settings import PbxSettings
from router.site.directory import Directory
from router.store.agents import Agents
from router.store.announcements import Announcements
from router.store.call_records import CallRecords
from router.store.callbacks import Callbacks
from router.store.endpoints import StoreUrl
from router.store.line import Line
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.store.mailboxes import Mailboxes, Pins
from router.store.pbx_commands import PbxCommands
from router.store.pbx_line import PbxLine
from router.store.pbx_states import PbxState, PbxStates
from router.store.phones import Phones
from router.tasks import forever
from router.telephony.by_name import ByName
from router.telephony.commands import RemoteControl
from router.telephony.deciding import Afterwards, RuleDeciding, Views
from router.telephony.dialler import Dialler
from router.telephony.given_up import GivenUp
from router.telephony.holding import Holding
from router.telephony.journal import LiveJournal
from router.telephony.leading import Leading
from router.telephony.logging_in import LoginDesk
from router.telephony.numbers import Dialable
from router.telephony.phones_in_calls import PhonesInCalls
from router.telephony.phones_seen import PhonesSeen
from router.telephony.promises import CallbackDesk, StorePromises
from router.telephony.queueing import StoreQueueing
from router.telephony.recordings import RecordingFiles
from router.telephony.records import StoreRecords
from router.telephony.setting_out import Planner, Trunk
from router.telephony.standing import Standing, condition_of

_log = structlog.get_logger(__name__)

LAST_WORDS_S: Final = 3.0
"""At the end of the process the store is told what is left for so long."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange needs of the process it lives in. `decider` leaves `CARRIED_OUT` to us.

    `token` holds the PBX's lease; empty where nobody else could have it.
    """

    settings: PbxSettings
    ami: AmiSettings
    recordings_dir: Path
    store_url: StoreUrl
    links: Links
    agents: Agents
    directory: Callable[[], Directory]
    views: Views
    decider: Decider
    afterwards: Afterwards
    speech: Speech
    token: str = ""


class Exchange:
    """One Asterisk's controller with everything behind it. `run` until cancelled."""

    def __init__(self, given: Given) -> None:
        settings, links = given.settings, given.links
        tenant, pbx = settings.tenant, settings.id
        dialable = Dialable(settings.country, settings.dial_countries)
        trunk = Trunk(
            endpoint=settings.trunk_endpoint, dialable=dialable, caller_id=settings.caller_id
        )
        line, pbx_line = Line(links), PbxLine(links)
        live_calls = LiveCalls(links)
        callbacks = Callbacks(links, keep_days=settings.keep_records_days)
        self.logins = LoginDesk(Phones(links), given.agents, given.directory, tenant)
        self.planner = Planner(
            given.directory,
            tenant,
            trunk,
            is_stereo=settings.stereo,
            message_s=settings.message_seconds,
            placed=self.logins.placed,
        )
        call_records = CallRecords(links)
        self.records = StoreRecords(call_records, tenant, pbx, keep_days=settings.keep_records_days)
        self.recordings = RecordingFiles(
            spool=settings.spool_dir,
            final=given.recordings_dir,
            records=self.records,
            keep_days=settings.keep_recordings_days,
            is_live=lambda call: self.controller.find(call) is not None,
        )
        self.holding = Holding(
            line=line,
            pbx_line=pbx_line,
            announcements=Announcements(given.store_url),
            tenant=tenant,
            is_closed=lambda queue: self.planner.sends_away(queue, self.queueing.now_s()),
        )
        self.queueing = StoreQueueing(
            links=links,
            agents=given.agents,
            line=line,
            pbx_line=pbx_line,
            holding=self.holding,
            planner=self.planner,
            records=self.records,
            tenant=tenant,
            number=dialable.e164,
            keep_place_s=settings.keep_place_seconds,
            patience_s=settings.store_patience_seconds,
            unanswered_limit=settings.unanswered_limit,
            unanswered_pause_s=settings.unanswered_pause_seconds,
            longest_call_s=settings.longest_call_seconds,
        )
        self.by_name = ByName(
            agents=given.agents,
            pbx_line=pbx_line,
            talking=self.queueing,
            records=call_records,
            find=self._find,
            tenant=tenant,
            pbx=pbx,
        )
        self.desk = CallbackDesk(
            callbacks,
            self.planner,
            dialable,
            tenant,
            agent_first=settings.callbacks.agent_first,
        )
        self.journal = LiveJournal(
            live_calls,
            self.records,
            tenant,
            pbx,
            on_loaded=self._adopt,
        )
        self.deciding = RuleDeciding(
            directory=given.directory,
            views=given.views,
            decider=given.decider,
            afterwards=given.afterwards,
            planner=self.planner,
            take_agents=self.by_name.take_for,
            tenant=tenant,
            default_router=settings.default_router,
            country=settings.country,
            login_number=settings.login_number,
            logout_number=settings.logout_number,
        )
        promises = StorePromises(
            desk=self.desk,
            callbacks=callbacks,
            pbx_line=pbx_line,
            holding=self.holding,
            mailboxes=Mailboxes(links, keep_days=settings.keep_recordings_days),
            pins=Pins(links),
            logins=self.logins,
            recordings=self.recordings,
            records=self.records,
            dialable=dialable,
            tenant=tenant,
        )
        self.phones_in_calls = PhonesInCalls()
        self.phones_seen = PhonesSeen(
            given.agents,
            given.directory,
            self.logins.placed,
            self.phones_in_calls,
            tenant=tenant,
            pbx=pbx,
        )
        outside = Outside(
            deciding=self.deciding,
            queueing=self.queueing,
            promises=promises,
            journal=self.journal,
            records=self.records,
            speech=given.speech,
            recordings=self.recordings,
            phones=self.phones_seen,
        )
        self.controller = Controller(
            given.ami,
            outside,
            most_calls=settings.most_calls,
            on_moved=self._moved,
        )
        self.dialler = Dialler(
            links=links,
            callbacks=callbacks,
            agents=given.agents,
            line=line,
            pbx_line=pbx_line,
            holding=self.holding,
            planner=self.planner,
            trunk=trunk,
            settings=settings.callbacks,
            tenant=tenant,
            owner=pbx,
            begin=self.controller.begin,
            goes_on=lambda call: self.controller.find(call) is not None,
        )
        self.remote = RemoteControl(
            calls=self.controller,
            commands=PbxCommands(links),
            by_name=self.by_name,
            announcements=Announcements(given.store_url),
            planner=self.planner,
            trunk=trunk,
            tenant=tenant,
            pbx=pbx,
            token=given.token,
        )
        self.given_up = GivenUp(
            links, given.agents, tenant, keep_days=settings.keep_records_days, own=pbx
        )
        self.standing = Standing(PbxStates(links), self._state, tenant=tenant, pbx=pbx)
        self.holding.on_foreign_wake = self.dialler.poke
        self.logins.on_moved(self.phones_seen.look)
        self.records.on_closed = self._closed

    async def run(self) -> None:
        """Take over the calls that go on, then carry out whatever comes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.controller.run(), name="controller")
                for work in (
                    self.logins.run,
                    self.holding.run,
                    self.journal.run,
                    self.records.run,
                    self.recordings.run,
                    self.dialler.run,
                    self.remote.run,
                    self.by_name.run,
                    self.phones_seen.run,
                    self.standing.run,
                    self.given_up.run,
                ):
                    tasks.create_task(forever(work), name=work.__qualname__)
        finally:
            self.deciding.tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self.journal.flush()
                    await self.records.flush()

    def _adopt(self, states: Sequence[CallState]) -> None:
        self.queueing.adopt(states)
        self.dialler.adopt(states)
        self.recordings.adopt(states)

    def _find(self, call: str) -> CallState | None:
        session = self.controller.find(call)
        return None if session is None else session.state

    def _moved(self, state: CallState) -> None:
        self.by_name.follow(state)
        self.phones_in_calls.follow(state)

    def _state(self) -> PbxState:
        condition = condition_of(self.controller)
        return PbxState(condition=condition, calls=len(self.controller.sessions))

    def _closed(self, state: CallState, words: tuple[str, ...]) -> None:
        self.by_name.ended(state.id)
        self.phones_in_calls.ended(state.id)
        self.dialler.closed(state, words)


async def lead(make: Callable[[], Exchange], leading: Leading) -> None:
    """Run exchanges, a new one each time this process is the one in charge; until cancelled."""

    async def work() -> None:
        await make().run()

    try:
        await leading.run(work)
    finally:
        await leading.give_up()


def ami_settings(settings: PbxSettings, secret: str) -> AmiSettings:
    """How the Asterisk is reached; with a CA file over TLS."""
    tls = None
    if settings.tls_ca_file is not None:
        tls = ssl.create_default_context(cafile=str(settings.tls_ca_file))
    return AmiSettings(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        secret=secret,
        tls=tls,
    )
