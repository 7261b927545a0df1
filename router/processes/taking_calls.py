"""`crosspoint pbx`: the process that takes the calls of one Asterisk.

It is the service without HTTP (the same directory, rules, decisions and log) with a PBX put before it.
It runs in a process of its own, so that AMI traffic never delays a routing answer; a second one for the
same Asterisk waits until the first is gone.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator

import aiohttp
import structlog
import uvloop

from pbx.ami.settings import AmiSettings
from pbx.ports import Speech
from pbx.speech import SpeechSettings, SpokenSounds
from router.decisions.decide import Decider
from router.decisions.views import Views
from router.errors import InvalidInputError
from router.logs import configure
from router.platforms.dialpad.foreign import ForeignRouters
from router.processes.ending import stop_signal
from router.processes.garbage import keep_what_there_is
from router.processes.wiring import Service, running
from router.settings import LogFormat, PbxSettings, Settings, secret_source
from router.store.endpoints import parse_store_url
from router.store.live_calls import LiveCalls
from router.store.memory import CallMemory
from router.tasks import end
from router.telephony.deciding import CARRIED_OUT, StoreWithoutMemory
from router.telephony.exchange import Exchange, Given, ami_settings, lead
from router.telephony.leading import Leading

_log = structlog.get_logger(__name__)


def take_calls(settings: Settings, store_url: str) -> None:
    """Take calls until a signal says stop. `InvalidInputError`: no `pbx` section, no AMI secret."""
    pipe = configure(settings.log.level.value, as_json=settings.log.format is LogFormat.JSON)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_stopped(settings, store_url))
    finally:
        pipe.close()


async def _until_stopped(settings: Settings, store_url: str) -> None:
    stopped = asyncio.ensure_future(stop_signal().wait())
    work = asyncio.ensure_future(taking_calls(settings, store_url))
    try:
        await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        stopped.cancel()
        await end(work)


async def taking_calls(settings: Settings, store_url: str) -> None:
    """Be in charge of the Asterisk whenever nobody else is; until cancelled."""
    pbx = settings.pbx
    if pbx is None:
        raise InvalidInputError("there is no Asterisk in the settings", field="pbx")
    ami = ami_settings(pbx, ami_secret(settings, pbx))
    async with (
        running(settings, store_url) as service,
        _asking(settings) as foreign,
        speaking(pbx) as speech,
    ):
        leading = Leading(
            LiveCalls(service.links), pbx.tenant, pbx.id, lease_s=float(pbx.lease_seconds)
        )
        keep_what_there_is()
        token = leading.token
        await lead(lambda: exchange(service, store_url, ami, speech, foreign, token=token), leading)


def ami_secret(settings: Settings, pbx: PbxSettings) -> str:
    """The manager user's secret. InvalidInputError: there is none, or it is too short."""
    try:
        return secret_source(settings)(pbx.secret)
    except InvalidInputError as error:
        raise InvalidInputError(f"pbx.secret: {error}", field="pbx.secret") from error


@contextlib.asynccontextmanager
async def speaking(pbx: PbxSettings) -> AsyncIterator[SpokenSounds]:
    """The prompts, spoken by a program, or by a service that is asked over HTTP."""
    said = speech_settings(pbx)
    timeout = aiohttp.ClientTimeout(total=said.limit_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        speech = SpokenSounds(said, session=session)
        try:
            yield speech
        finally:
            await speech.close()


@contextlib.asynccontextmanager
async def _asking(settings: Settings) -> AsyncIterator[ForeignRouters]:
    foreign = ForeignRouters(
        allowed=[ipaddress.ip_network(text) for text in settings.foreign.allow],
        answer_limit=settings.foreign.answer_limit_bytes,
    )
    try:
        yield foreign
    finally:
        await foreign.close()


def exchange(
    service: Service,
    store_url: str,
    ami: AmiSettings,
    speech: Speech,
    foreign: ForeignRouters,
    *,
    token: str = "",
) -> Exchange:
    """A PBX before a service; the settings have a `pbx` section."""
    settings, pbx = service.settings, service.settings.pbx
    assert pbx is not None  # noqa: S101 - looked at by whoever calls
    decider = Decider(
        rulesets=service.rulesets,
        store=StoreWithoutMemory(service.links, service.agents, lease_ms=settings.agents.lease_ms),
        memory=CallMemory(),  # the call's state remembers
        foreign=foreign,
        most_rounds=settings.limits.ask_rounds,
        left_to_caller=CARRIED_OUT,
    )
    return Exchange(
        Given(
            settings=pbx,
            ami=ami,
            recordings_dir=settings.recordings_dir or settings.data_dir / "recordings",
            store_url=parse_store_url(store_url),
            links=service.links,
            agents=service.agents,
            directory=lambda: service.directory,
            views=Views(lambda: service.directory, service.budget),
            decider=decider,
            afterwards=service.afterwards,
            speech=speech,
            token=token,
        )
    )


def speech_settings(pbx: PbxSettings) -> SpeechSettings:
    """How prompts are spoken."""
    return SpeechSettings(
        cache_dir=pbx.speech_dir,
        sounds_dir=pbx.sounds_dir,
        core_sounds_dir=pbx.core_sounds_dir,
        command=pbx.speech_command,
        url=pbx.speech_url,
    )
