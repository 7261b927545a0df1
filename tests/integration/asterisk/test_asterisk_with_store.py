"""A whole call over a real Asterisk and a real Redis: rules, menu, line, agent, recording, record."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance, free_udp_port, write_tone
from ivr.prompts import Prompt, Speech
from pbx.ami.actions import Hangup, Originate, new_channel_id
from pbx.ami.settings import AmiSettings
from pbx.machine.state import Phase
from pbx.phones import PhoneState
from pbx.ports import SpokenPrompt
from router import tasks
from router.call_record import CallRecord, Direction, Disposition
from router.deadline import in_s
from router.platforms.dialpad.foreign import ForeignRouters
from router.processes.site_at_start import apply_site
from router.processes.taking_calls import exchange
from router.processes.wiring import Service, running
from router.settings import CallbackSettings, PbxSettings, Settings
from router.store.agents_seen import PhoneSeen
from router.store.call_records import CallRecords, RecordFilters
from router.store.callbacks import Callback, Callbacks, Status
from router.store.live_parts import AgentsAndQueues
from router.store.mailboxes import Pins
from router.store.resources import Resources
from router.telephony.exchange import Exchange
from router.telephony.phones_seen import GATHER_S, LOOK_S
from router.telephony.pins import hash_pin
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.phones import caller, phone, register
from tests.integration.asterisk.whole_calls import AGENT_HZ, CALLER_HZ, MUSIC_HZ, the_call, until
from tests.servers import Server

TENANT = "acme"
RULES = """
version: 1
country: US
targets: {desk: {type: callcenter, id: "8001"}}
rules:
  - name: choose
    when: {digits: {main: absent}}
    then:
      menu:
        name: main
        prompt: menu
        choices: {"1": {queue: support}, "2": {end: {message: short}}}
        otherwise: {route: desk}
default: {route: desk}
"""
SITE = """
version: 1
tenant: acme
routers:
  - {id: main, name: Main, rules: main, default_target: {type: callcenter, id: "8001"},
     phone_numbers: ["+12125550100"]}
queues:
  - id: support
    name: Support
    call_center_id: "8001"
    ring_seconds: 10
    wrap_up_seconds: 60
    hold_queue: {announce_position: false, announce_estimated_wait_time: false}
    recording: {inbound: true, announce: false}
agents:
  - {id: ada, name: Ada, endpoint: PJSIP/6001, queues: {support: {}}}
  - {id: ben, name: Ben, endpoint: PJSIP/6002, queues: {support: {}}}
  - {id: eve, name: Eve, number: "42", queues: {support: {}}}
  - {id: fay, name: Fay, endpoint: PJSIP/6004, queues: {support: {}}}
  - {id: gus, name: Gus, number: "43", endpoint: PJSIP/6999, queues: {support: {}}}
"""


class Tones:
    """`Speech`: every text is the tone of that name, if there is one, else a short one."""

    def __init__(self, sounds: Path) -> None:
        self._sounds = sounds
        for name, hz, seconds in (("short", 500, 0.2), ("menu", 900, 3)):
            if not (sounds / f"{name}.wav").exists():
                write_tone(sounds / f"{name}.wav", hz=hz, seconds=seconds)

    async def speak(self, prompts: tuple[Prompt, ...], language: str) -> SpokenPrompt:
        names = (prompt.text if isinstance(prompt, Speech) else "short" for prompt in prompts)
        known = (name if (self._sounds / f"{name}.wav").exists() else "short" for name in names)
        return SpokenPrompt(tuple(str(self._sounds / name) for name in known))


@pytest.fixture
async def service(
    asterisk: Instance, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Service, Callable[[], Exchange]]]:
    async with served(asterisk, redis_url, tmp_path) as both:
        yield both


@contextlib.asynccontextmanager
async def served(
    asterisk: Instance, url: str, tmp_path: Path
) -> AsyncIterator[tuple[Service, Callable[[], Exchange]]]:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "main.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text(SITE)
    settings = Settings(
        data_dir=tmp_path / "data",
        rules_dir=tmp_path / "rules",
        site=tmp_path / "site.yaml",
        recordings_dir=tmp_path / "recordings",
        pbx=PbxSettings(
            tenant=TENANT,
            country="US",
            spool_dir=asterisk.recordings,
            default_router="main",
            login_number="*61",
            logout_number="*62",
            trunk_endpoint="PJSIP/6003",
            callbacks=CallbackSettings(tries=2, retry_seconds=1),
        ),
    )
    # The tests follow each other on one Asterisk, each with a store of its own: see `pbx.claim`.
    ami = AmiSettings(port=asterisk.ports.ami, secret=asterisk.secret, ping_every_s=0.1)
    foreign = ForeignRouters()
    async with running(settings, url) as one:
        await one.links.wait_open(in_s(5))
        await apply_site(settings, Resources(one.links, AgentsAndQueues(one.agents)))
        await one.keeper.refresh(in_s(5))
        speech = Tones(asterisk.sounds)
        yield one, lambda: exchange(one, url, ami, speech, foreign)
    await foreign.close()


@contextlib.asynccontextmanager
async def at_work(make: Callable[[], Exchange]) -> AsyncIterator[Exchange]:
    """An exchange that is ended without a word to anybody, as a crash does."""
    board = make()
    task = asyncio.create_task(board.run())
    # A phone that a test rings before it knows what goes on there would be taken for one of before.
    await until(lambda: board.controller.is_ready, "the controller to know what goes on")
    try:
        yield board
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def duty(service: Service, agent: str) -> None:
    await service.agents.set_duty(TENANT, agent, on=True, deadline=in_s(5))


async def state_of(service: Service, agent: str) -> str:
    view = await service.agents.get(TENANT, agent, in_s(5))
    assert view is not None
    return str(view.effective.state)


async def the_record(service: Service) -> CallRecord:
    """The one record there is, once it has an end and its recording."""
    records = CallRecords(service.links)
    async with asyncio.timeout(15):
        while True:
            found = await records.find(TENANT, RecordFilters(), in_s(5))
            if found and found[0].ended_ms is not None and found[0].recordings:
                return found[0]
            await asyncio.sleep(0.02)


async def test_a_caller_is_led_by_the_rules_to_an_agent_and_all_of_it_is_on_record(
    asterisk: Instance,
    service: tuple[Service, Callable[[], Exchange]],
    phones_folder: Path,
    tmp_path: Path,
):
    one, make = service
    await duty(one, "ada")
    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 8)]
    async with at_work(make) as board:
        async with (
            phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=2500,
                  says=[Tone(AGENT_HZ, 5)]),
            caller(asterisk, phones_folder, called="+12125550100", number="+12125550142",
                   says=says) as customer,
        ):  # fmt: skip
            session = await the_call(board.controller, Phase.TALKING)
            assert await state_of(one, "ada") == "on_call"
            assert session.state.rule == "choose"
            await customer.ended()
        record = await the_record(one)
    assert await state_of(one, "ada") == "wrap_up"
    assert (record.caller, record.called) == ("+12125550142", "+12125550100")
    assert record.direction is Direction.INBOUND
    assert record.disposition is Disposition.ANSWERED
    assert (record.rules, record.agents, record.digits) == (("choose",), ("ada",), {"main": "1"})
    (wait,) = record.waits
    assert (wait.queue, wait.outcome) == ("support", "talking")
    (offer,) = record.offers
    assert (offer.agent, offer.outcome) == ("ada", "answered")
    (recording,) = record.recordings
    file = tmp_path / "recordings" / recording.name
    assert hashlib.sha256(file.read_bytes()).hexdigest() == recording.sha256
    assert audio.hears(file, CALLER_HZ)
    assert audio.hears(file, AGENT_HZ)
    assert not audio.hears(file, MUSIC_HZ)
    assert not list(asterisk.recordings.glob(f"{record.id}*"))


async def test_a_caller_waits_until_an_agent_comes_on_duty(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    await duty(one, "ben")
    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 8)]
    async with at_work(make) as board:
        async with (
            phone(phones_folder, "phone_refuses", port=PHONES["6002"], status=486),
            phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=800),
            caller(asterisk, phones_folder, called="+12125550100", says=says) as customer,
        ):
            await the_call(board.controller, Phase.HOLDING)
            loop = asyncio.get_running_loop()
            await until(lambda: not _offers(board), "the refusing phone to be done with")
            await duty(one, "ada")
            began = loop.time()
            await until(lambda: _offers(board), "the next phone to be rung")
            print(f"on duty to offered: {(loop.time() - began) * 1000:.0f} ms")
            await the_call(board.controller, Phase.TALKING)
            await customer.ended()
        record = await the_record(one)
    assert [offer.outcome for offer in record.offers] == ["busy", "answered"]
    assert len(record.waits) == 1


def _offers(board: Exchange) -> bool:
    return any(session.state.offers for session in board.controller.sessions.values())


async def test_callers_hear_music_while_the_store_is_away_and_go_on_when_it_is_back(
    asterisk: Instance,
    new_server: Callable[..., Server],
    tmp_path: Path,
    phones_folder: Path,
):
    server = new_server()
    async with served(asterisk, server.url, tmp_path) as (one, make):
        await duty(one, "ada")
        says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 20)]
        async with at_work(make) as board:
            async with caller(
                asterisk, phones_folder, called="+12125550100", says=says
            ) as customer:
                await the_call(board.controller, Phase.ASKING)
                server.pause()
                session = await the_call(board.controller, Phase.HOLDING)
                assert session.state.in_line
                async with phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=800):
                    server.resume()
                    await the_call(board.controller, Phase.TALKING, limit_s=25)
                    await customer.ended()
            record = await the_record(one)
    assert record.agents == ("ada",)
    assert [wait.outcome for wait in record.waits] == ["talking"]


async def test_what_breaks_behind_the_calls_does_not_take_them_down(
    asterisk: Instance,
    service: tuple[Service, Callable[[], Exchange]],
    phones_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    one, make = service
    await duty(one, "ada")
    monkeypatch.setattr(tasks, "AGAIN_S", 0.1)
    tries = 0

    async def breaks() -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError

    def broken() -> Exchange:
        board = make()
        monkeypatch.setattr(board.dialler, "run", breaks)
        return board

    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 8)]
    async with (
        at_work(broken) as board,
        phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=800),
        caller(asterisk, phones_folder, called="+12125550100", says=says) as customer,
    ):
        await the_call(board.controller, Phase.TALKING)
        await customer.ended()
    assert tries > 1


async def is_in(service: Service, agent: str, state: str) -> None:
    async with asyncio.timeout(15):
        while await state_of(service, agent) != state:
            await asyncio.sleep(0.02)


async def test_an_agent_whose_phone_is_lost_is_offered_no_call_until_it_is_back(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    for agent in ("fay", "ben"):
        await duty(one, agent)
    await one.agents.observe_phone(
        TENANT, "ben", seen=PhoneSeen.BUSY, pbx="another", deadline=in_s(5)
    )  # somebody is there at least
    port = free_udp_port()
    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 12)]
    async with at_work(make) as board:
        await is_in(one, "fay", "unreachable")
        register(asterisk, "6004", port)
        await is_in(one, "fay", "available")
        register(asterisk, "6004", port, expires_s=0)
        await is_in(one, "fay", "unreachable")
        async with (
            phone(phones_folder, "phone_hangs_up", port=port, hold_ms=800),
            caller(asterisk, phones_folder, called="+12125550100", says=says) as customer,
        ):
            await the_call(board.controller, Phase.HOLDING)
            await asyncio.sleep(0.5)
            assert not _offers(board)
            register(asterisk, "6004", port)
            await the_call(board.controller, Phase.TALKING)
            await customer.ended()
        record = await the_record(one)
    register(asterisk, "6004", port, expires_s=0)
    assert [(offer.agent, offer.outcome) for offer in record.offers] == [("fay", "answered")]


async def test_an_agent_who_talks_on_a_call_of_somebody_elses_is_offered_none(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    await duty(one, "ada")
    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 12)]
    async with at_work(make) as board:
        await is_in(one, "ada", "available")
        async with phone(phones_folder, port=PHONES["6001"]) as own:
            client, loop = board.controller.client, asyncio.get_running_loop()
            call = Originate(
                channel="PJSIP/6001",
                channel_id=new_channel_id(),
                context="crosspoint-conference",
                exten="abc",
            )
            await client.send(call, loop.time() + 5)
            await is_in(one, "ada", "on_call")
            async with caller(
                asterisk, phones_folder, called="+12125550100", says=says
            ) as customer:
                await the_call(board.controller, Phase.HOLDING)
                await asyncio.sleep(0.3)
                assert not _offers(board)
                await client.send(Hangup(channel=call.channel_id), loop.time() + 5)
                await own.ended()
                async with phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=800):
                    await the_call(board.controller, Phase.TALKING)
                    await customer.ended()
        record = await the_record(one)
    assert record.agents == ("ada",)
    assert await state_of(one, "ada") == "wrap_up"


@pytest.mark.parametrize("phase", [Phase.HOLDING, Phase.TALKING])
async def test_a_new_exchange_takes_the_call_and_its_record_over(
    asterisk: Instance,
    service: tuple[Service, Callable[[], Exchange]],
    phones_folder: Path,
    phase: Phase,
):
    one, make = service
    says = [Silence(1.0), *keys("1"), Tone(CALLER_HZ, 12)]
    await duty(one, "ben")
    async with (
        phone(phones_folder, "phone_rings_on", port=PHONES["6002"]),
        phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=4000),
        caller(asterisk, phones_folder, called="+12125550100", says=says) as customer,
    ):
        if phase is Phase.TALKING:
            await one.agents.set_duty(TENANT, "ben", on=False, deadline=in_s(5))
            await duty(one, "ada")
        async with at_work(make) as board:
            session = await the_call(board.controller, phase)
            call_id = session.state.id
            if phase is Phase.TALKING:
                await until(lambda: _spooled(asterisk, call_id), "the recording to begin")
        async with at_work(make) as board:
            await the_call(board.controller, phase)
            if phase is Phase.HOLDING:
                await duty(one, "ada")
                await the_call(board.controller, Phase.TALKING, limit_s=25)
            await customer.ended()
            record = await the_record(one)
    assert record.id == call_id
    assert record.agents == ("ada",)
    assert [wait.outcome for wait in record.waits] == ["talking"]
    assert await state_of(one, "ada") == "wrap_up"


async def test_an_agent_without_a_phone_logs_in_at_one_takes_a_call_and_logs_out(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    digest = await asyncio.to_thread(hash_pin, "4711")
    await Pins(one.links).set(TENANT, "eve", digest, in_s(5))
    pair = [Silence(1.0), *keys("42#"), Silence(0.5), *keys("4711#")]
    wrong = [Silence(1.0), *keys("42#"), Silence(0.5), *keys("4712#")]
    async with at_work(make) as board:
        for says, then in ((wrong, "off_duty"), (pair, "available")):
            async with caller(
                asterisk, phones_folder, called="*61", number="6001", says=says,
                scenario="caller_hangs_up" if says is wrong else "caller_is_hung_up", hold_ms=5000,
            ) as desk:  # fmt: skip
                session = await the_call(board.controller, Phase.LOGIN)
                assert session.state.phone == "PJSIP/6001"
                await desk.ended()
            await until(lambda: not board.controller.sessions, "the log-in to be over")
            await until_state(one, "eve", then)  # no phone is free while its agent is told on it
        async with (
            phone(phones_folder, "phone_hangs_up", port=PHONES["6001"], hold_ms=800),
            caller(asterisk, phones_folder, called="+12125550100",
                   says=[Silence(1.0), *keys("1"), Tone(CALLER_HZ, 8)]) as customer,
        ):  # fmt: skip
            session = await the_call(board.controller, Phase.TALKING)
            assert session.state.agent is not None
            assert session.state.agent.agent == "eve"
            await customer.ended()
        await until(lambda: not board.controller.sessions, "the call to be over")
        async with caller(asterisk, phones_folder, called="*62", number="6002", says=pair) as desk:
            await desk.ended()
        await one.agents.end_wrap_up(TENANT, "eve", in_s(5))
        assert await state_of(one, "eve") == "off_duty"
        eve = board.planner.agent("eve")
        assert eve is not None
        assert eve.endpoint is None


async def test_who_logs_in_at_a_phone_that_is_there_can_be_rung_at_once(
    service: tuple[Service, Callable[[], Exchange]],
):
    one, make = service
    async with at_work(make) as board:
        board.phones_seen.look()
        await duty(one, "gus")
        await asyncio.sleep(4 * GATHER_S)  # agents are known there from the first look on
        board.phones_seen.learn("PJSIP/6999", PhoneState.LOST)
        await until_state(one, "gus", "unreachable")
        gus = board.logins.find("43")
        assert gus is not None
        assert await board.logins.log_in(gus, "PJSIP/6001")
        await until_state(one, "gus", "available")


async def until_state(service: Service, agent: str, wanted: str) -> None:
    async with asyncio.timeout(LOOK_S / 3):
        while await state_of(service, agent) != wanted:
            await asyncio.sleep(0.02)


async def callback_over(service: Service, callback_id: str) -> Callback:
    return await callback_in(service, callback_id, {Status.DONE, Status.FAILED, Status.CANCELLED})


async def callback_in(service: Service, callback_id: str, states: set[Status]) -> Callback:
    """The callback, once it is in one of these states and a call was made for it."""
    callbacks = Callbacks(service.links)
    async with asyncio.timeout(25):
        while True:
            found = await callbacks.get(TENANT, callback_id, in_s(5))
            if found is not None and found.calls and found.status in states:
                return found
            await asyncio.sleep(0.05)


async def records_of(service: Service, callback_id: str) -> list[CallRecord]:
    """The records of the calls made to keep it, in the order in which they were made."""
    filters = RecordFilters(callback=callback_id)
    return (await CallRecords(service.links).find(TENANT, filters, in_s(5)))[::-1]


async def test_a_callback_joins_the_agent_and_the_customer_and_is_over(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    async with at_work(make) as board:
        about = await board.desk.create("support", "+12125550142", in_s(5))
        async with (
            phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
            phone(phones_folder, "phone_hangs_up", port=PHONES["6003"], hold_ms=800) as customer,
        ):
            await duty(one, "ada")
            over = await callback_over(one, about.id)
            await customer.ended()
            await agent.ended()
        await until(lambda: not board.controller.sessions, "the call to be over")
        await board.records.flush()
    assert (over.status, over.attempts, over.reason) == (Status.DONE, 1, "talked")
    (record,) = await records_of(one, about.id)
    assert over.calls == (record.id,)
    assert (record.disposition, record.agents) == (Disposition.ANSWERED, ("ada",))
    assert [(offer.agent, offer.outcome) for offer in record.offers] == [("ada", "answered")]
    assert (record.direction, record.called) == (Direction.OUTBOUND, "+12125550142")
    assert await state_of(one, "ada") == "wrap_up"


async def test_a_busy_customer_is_called_as_often_as_the_policy_says(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    async with at_work(make) as board:
        about = await board.desk.create("support", "+12125550142", in_s(5))
        async with contextlib.AsyncExitStack() as phones:
            for _ in range(2):
                customer = phone(phones_folder, "phone_refuses", port=PHONES["6003"], status=486)
                await phones.enter_async_context(customer)
                agent = phone(phones_folder, "phone_answers", port=PHONES["6001"])
                await phones.enter_async_context(agent)
                await duty(one, "ada")
                await customer.ended()
                await agent.ended()
                await until(lambda: not board.controller.sessions, "the attempt to be over")
                await one.agents.end_wrap_up(TENANT, "ada", in_s(5))
            over = await callback_over(one, about.id)
        await board.records.flush()
    assert (over.status, over.attempts, over.reason) == (Status.FAILED, 2, "busy")
    records = await records_of(one, about.id)
    assert over.calls == tuple(record.id for record in records)
    assert [(record.cause, record.disposition) for record in records] == [
        (17, Disposition.UNANSWERED)
    ] * 2


async def test_a_trunk_that_is_away_costs_a_callback_no_attempt(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    one, make = service
    register(asterisk, "6003", PHONES["6003"], expires_s=0)  # the trunk
    async with at_work(make) as board:
        about = await board.desk.create("support", "+12125550142", in_s(5))
        async with phone(phones_folder, port=PHONES["6001"]) as agent:
            await duty(one, "ada")
            await agent.ended()
        away = await callback_in(one, about.id, {Status.WAITING})
        register(asterisk, "6003", PHONES["6003"])
        async with (
            phone(phones_folder, "phone_hangs_up", port=PHONES["6003"]) as customer,
            phone(phones_folder, port=PHONES["6001"]) as agent,
        ):
            await one.agents.end_wrap_up(TENANT, "ada", in_s(5))
            board.dialler._way_out.works()  # as if the pause were over
            board.dialler.poke(about.id)
            over = await callback_over(one, about.id)
            await customer.ended()
            await agent.ended()
        await until(lambda: not board.controller.sessions, "the call to be over")
    assert (away.attempts, away.reason) == (0, "trunk_unreachable")
    assert (over.status, over.attempts) == (Status.DONE, 1)


async def test_each_attempt_of_a_callback_is_on_record_by_itself(
    asterisk: Instance, service: tuple[Service, Callable[[], Exchange]], phones_folder: Path
):
    """Busy, then answered: the second attempt is not told of with the words of the first."""
    one, make = service
    async with at_work(make) as board:
        about = await board.desk.create("support", "+12125550142", in_s(5))
        async with phone(phones_folder, "phone_refuses", port=PHONES["6001"], status=486) as agent:
            await duty(one, "ada")
            await agent.ended()
            await one.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
        async with (
            phone(phones_folder, "phone_refuses", port=PHONES["6003"], status=486) as customer,
            phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
        ):
            await duty(one, "ada")
            await customer.ended()
            await agent.ended()
        await until(lambda: not board.controller.sessions, "the attempt to be over")
        async with (
            phone(phones_folder, "phone_hangs_up", port=PHONES["6003"], hold_ms=1500) as customer,
            phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
        ):
            await one.agents.end_wrap_up(TENANT, "ada", in_s(5))
            over = await callback_over(one, about.id)
            await customer.ended()
            await agent.ended()
        await until(lambda: not board.controller.sessions, "the call to be over")
        await board.records.flush()
    assert (over.status, over.attempts, over.reason) == (Status.DONE, 2, "talked")
    records = await records_of(one, about.id)
    assert over.calls == tuple(record.id for record in records)
    assert [record.disposition for record in records] == [
        Disposition.UNANSWERED,
        Disposition.UNANSWERED,
        Disposition.ANSWERED,
    ]
    assert [[offer.outcome for offer in record.offers] for record in records] == [
        ["busy"],
        ["answered"],
        ["answered"],
    ]
    talked = records[-1]
    assert talked.talking_ms is not None
    assert talked.ended_ms is not None
    assert talked.began_ms < talked.talking_ms < talked.ended_ms
    assert talked.ended_ms - talked.talking_ms > 1000
    assert await state_of(one, "ada") == "wrap_up"


def _spooled(asterisk: Instance, call: str) -> bool:
    return any(file.stat().st_size > 10_000 for file in asterisk.recordings.glob(f"{call}*"))
