"""Live calls over the API: what is shown, what can be done, and what is told when it cannot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from ivr.hold import HoldPolicy
from pbx.machine import commands as do
from pbx.machine.plans import DialPlan, LegId, QueuePlan, RecordingPolicy
from pbx.machine.state import Kind, Leg, Phase, Supervision
from router.deadline import in_s
from router.site.directory import Directory
from router.site.resources import AgentConfig, QueueConfig, RouterConfig
from router.store import keys
from router.store.pbx_commands import PbxCommands
from router.telephony import call_control
from router.telephony.call_control import CallControl
from router.telephony.remote import Telephony
from rules.actions import End, Enqueue, Forward, Strategy
from tests.integration.http.api_server import PBX, TARGET, ApiServer, api_server
from tests.integration.http.pbx_double import PbxDouble, at_work, holding, talking

SUPPORT = QueuePlan(queue="support", otherwise=End(), hold=HoldPolicy(), ring_s=20)


class World(NamedTuple):
    api: ApiServer
    pbx: PbxDouble


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(redis_url, tmp_path) as server:
        for resource in (
            QueueConfig(id="support", name="Support"),
            AgentConfig(id="ada", name="Ada", endpoint="PJSIP/6001", queues={"support": {}}),
            AgentConfig(id="bea", name="Bea", endpoint="PJSIP/6002", queues={"support": {}}),
            AgentConfig(id="cyd", name="Cyd", queues={}),
            RouterConfig(
                id="plain",
                name="Plain",
                rules="acme",
                default_target=TARGET,
                phone_numbers=("+4930200",),
            ),
        ):
            checked = msgspec.convert(msgspec.to_builtins(resource), type(resource))
            await server.resources.put("acme", checked, deadline=in_s(5))
        await server.keeper.refresh(in_s(5))
        yield server


@pytest.fixture
async def world(api: ApiServer, redis_url: str) -> AsyncIterator[World]:
    double = PbxDouble(api.links, lambda: api.keeper.directory, PBX)
    double.answering = {"PJSIP/6001", "PJSIP/6002", "PJSIP/+4930777@trunk"}
    async with at_work(double, api.links, redis_url):
        yield World(api, double)
    await double.close()


async def in_phase(pbx: PbxDouble, call: str, phase: Phase) -> None:
    async with asyncio.timeout(5):
        while pbx.sessions[call].state.phase is not phase:
            await asyncio.sleep(0.002)


# --- looking


async def test_live_calls_are_listed_with_queue_position_agent_and_masked_caller(world: World):
    api, pbx = world
    await pbx.going_on(talking("c1"))
    for call in ("c2", "c3"):
        await api.line.offer_or_wait(
            "acme",
            call,
            Enqueue(queue="support"),
            strategy=Strategy.LONGEST_IDLE,
            lease_ms=1000,
            token="t",
            deadline=in_s(5),
        )
        state = msgspec.structs.replace(holding(call, SUPPORT), arrived_ms=1_790_000_001_000)
        await pbx.going_on(state)
    reply = await api.ask("GET", "/calls", role="supervisor")
    assert reply.body["total"] == 3
    first, second, third = reply.data
    assert (first["id"], first["state"], first["agent"]) == ("c1", "talking", "ada")
    assert first["caller"] == "+493…23"
    assert (second["queue"], second["position"], third["position"]) == ("support", 1, 2)
    assert second["since"] == "2026-09-21T14:13:21Z"
    seen_by_admin = await api.ask("GET", "/calls/c1")
    assert seen_by_admin.data["caller"] == "+4930555123"
    for query, ids in (
        ("queue=support", ["c2", "c3"]),
        ("agent=ada", ["c1"]),
        ("state=holding&limit=1", ["c2"]),
    ):
        assert [call["id"] for call in (await api.ask("GET", "/calls?" + query)).data] == ids
    assert (await api.ask("GET", "/calls?state=odd")).data["field"] == "state"


async def test_calls_of_another_tenant_do_not_exist(world: World):
    await world.pbx.going_on(talking())
    assert (await world.api.ask("GET", "/calls", tenant="other")).data == []
    assert (await world.api.ask("GET", "/calls/c1", tenant="other")).status == 404
    assert (await world.api.ask("POST", "/calls/c1/hangup", tenant="other")).status == 404
    assert world.pbx.sessions["c1"].state.phase is Phase.TALKING


async def test_an_agent_sees_and_controls_only_calls_it_talks_in(world: World):
    api, pbx = world
    await pbx.going_on(talking("c1", agent="ada"))
    await pbx.going_on(talking("c2", agent="bea"))
    mine = await api.ask("GET", "/calls", role="agent", sub="ada")
    assert [call["id"] for call in mine.data] == ["c1"]
    for call in ("c2", "none"):
        for method, path in (("GET", ""), ("POST", "/hangup"), ("POST", "/hold")):
            reply = await api.ask(method, f"/calls/{call}{path}", role="agent", sub="ada")
            assert reply.status == 403, (call, path)
    assert (await api.ask("POST", "/calls/c1/hold", role="agent", sub="ada")).status == 200
    body = {"mode": "listen", "agent": "ada"}
    reply = await api.ask("POST", "/calls/c1/supervise", body, role="agent", sub="ada")
    assert reply.status == 403


# --- controls


async def test_a_call_is_held_resumed_and_hung_up(world: World):
    api, pbx = world
    await pbx.going_on(talking())
    assert (await api.ask("POST", "/calls/c1/hold")).data == {"id": "c1", "state": "held"}
    assert (await api.ask("POST", "/calls/c1/resume")).data["state"] == "talking"
    assert (await api.ask("POST", "/calls/c1/hangup")).status == 200
    assert pbx.sessions["c1"].state.phase in {Phase.ENDING, Phase.ENDED}
    assert any(isinstance(one, do.HangUp) for one in pbx.sessions["c1"].done)


@pytest.mark.parametrize(
    ("body", "action"),
    [
        ({"number": "030 777"}, Forward(number="030 777")),
        ({"queue": "support"}, Enqueue(queue="support")),
    ],
)
async def test_a_call_is_transferred(world: World, body: dict[str, str], action: object):
    world.pbx.answering.clear()
    await world.pbx.going_on(talking())
    reply = await world.api.ask("POST", "/calls/c1/transfer", body)
    assert reply.status == 200, reply.body
    state = world.pbx.sessions["c1"].state
    assert (state.agent, state.action) == (None, action)


async def test_a_transfer_to_an_agent_rings_that_agent(world: World):
    await world.pbx.going_on(talking())
    assert (await world.api.ask("POST", "/calls/c1/transfer", {"agent": "bea"})).status == 200
    await in_phase(world.pbx, "c1", Phase.TALKING)
    agent = world.pbx.sessions["c1"].state.agent
    assert agent is not None
    assert agent.agent == "bea"


async def test_a_third_party_is_consulted_and_takes_the_call(world: World):
    api, pbx = world
    await pbx.going_on(talking())
    assert (await api.ask("POST", "/calls/c1/consult", {"agent": "bea"})).status == 200
    await in_phase(pbx, "c1", Phase.CONSULTING)
    assert (await api.ask("POST", "/calls/c1/complete")).data["state"] == "talking"
    agent = pbx.sessions["c1"].state.agent
    assert agent is not None
    assert agent.agent == "bea"


@pytest.mark.parametrize(
    ("who", "seen"),
    [({"agent": "bea"}, "+4930555123"), ({"number": "030777"}, "+4930200")],
)
@pytest.mark.parametrize("path", ["consult", "participants", "unpark"])
async def test_an_agent_sees_who_calls_and_whoever_is_dialled_one_of_our_numbers(
    world: World, path: str, who: dict[str, str], seen: str
):
    api, pbx = world
    state = talking(called_number="+4930200")
    if path == "unpark":
        state = msgspec.structs.replace(state, phase=Phase.PARKED, agent=None)
    session = await pbx.going_on(state)
    assert (await api.ask("POST", f"/calls/c1/{path}", who)).status == 200
    (ring,) = [command for command in session.done if isinstance(command, do.Ring)]
    assert ring.caller_id == seen


async def test_a_supervisor_sees_who_calls(world: World):
    api, pbx = world
    session = await pbx.going_on(talking())
    body = {"agent": "bea", "mode": "listen"}
    assert (await api.ask("POST", "/calls/c1/supervise", body)).status == 200
    (ring,) = [command for command in session.done if isinstance(command, do.Ring)]
    assert ring.caller_id == "+4930555123"


async def test_an_agent_with_a_call_is_not_rung_for_another(world: World):
    api, pbx = world
    session = await pbx.going_on(talking())
    await api.agents.set_duty("acme", "bea", on=True, deadline=in_s(5))
    assert (await api.ask("POST", "/calls", {"to": "030777", "agent": "bea"})).status == 201
    for path in ("consult", "participants", "transfer", "supervise"):
        reply = await api.ask("POST", f"/calls/c1/{path}", {"agent": "bea"} | _mode(path))
        assert (reply.status, reply.code) == (409, "agent_busy"), path
    assert session.state == talking()


def _mode(path: str) -> dict[str, str]:
    return {"mode": "listen"} if path == "supervise" else {}


@pytest.mark.parametrize("path", ["consult", "participants", "transfer", "supervise"])
async def test_an_agent_is_kept_before_the_phone_rings(world: World, path: str):
    api, pbx = world
    pbx.answering.clear()
    await pbx.going_on(talking())
    await api.agents.set_duty("acme", "bea", on=True, deadline=in_s(5))
    reply = await api.ask("POST", f"/calls/c1/{path}", {"agent": "bea"} | _mode(path))
    assert reply.status == 200, reply.body
    assert (await api.ask("GET", "/agents/bea")).data["state"] == "reserved"


@pytest.mark.parametrize("path", ["consult", "transfer"])
async def test_an_agent_who_is_not_rung_after_all_is_given_back(world: World, path: str):
    api, pbx = world
    pbx.cannot_split = True
    pbx.answering.clear()
    await pbx.going_on(talking())
    await api.agents.set_duty("acme", "bea", on=True, deadline=in_s(5))
    await api.ask("POST", f"/calls/c1/{path}", {"agent": "bea"})
    async with asyncio.timeout(5):
        while (await api.ask("GET", "/agents/bea")).data["state"] != "available":
            await asyncio.sleep(0.005)


async def test_three_talk_and_a_caller_is_parked_and_taken_again(world: World):
    api, pbx = world
    await pbx.going_on(talking("c1"))
    await pbx.going_on(talking("c2"))
    assert (await api.ask("POST", "/calls/c1/participants", {"number": "030777"})).status == 200
    await in_phase(pbx, "c1", Phase.CONFERENCE)
    assert (await api.ask("POST", "/calls/c2/park")).data["state"] == "parked"
    assert (await api.ask("POST", "/calls/c2/unpark", {"agent": "bea"})).status == 200
    await in_phase(pbx, "c2", Phase.TALKING)


async def test_a_supervisor_listens_and_then_whispers(world: World):
    api, pbx = world
    await pbx.going_on(talking())
    body = {"mode": "listen", "agent": "bea"}
    reply = await api.ask("POST", "/calls/c1/supervise", body, role="supervisor")
    assert reply.status == 200, reply.body
    async with asyncio.timeout(5):
        while not any(isinstance(one, do.Spy) for one in pbx.sessions["c1"].done):
            await asyncio.sleep(0.002)
    assert (await api.ask("GET", "/calls/c1")).data["supervision"] == "listen"
    await api.ask("POST", "/calls/c1/supervise", {**body, "mode": "whisper"})
    assert (await api.ask("GET", "/calls/c1")).data["supervision"] == "whisper"


async def test_a_recording_is_begun_paused_resumed_and_ended(world: World):
    api, pbx = world
    await pbx.going_on(talking())
    for to, is_recording in (("on", True), ("pause", True), ("resume", True), ("off", False)):
        assert (await api.ask("PUT", "/calls/c1/recording", {"to": to})).status == 200, to
        shown = (await api.ask("GET", "/calls/c1")).data
        assert (shown["recording"], shown["recording_paused"]) == (is_recording, to == "pause")
    again = await api.ask("PUT", "/calls/c1/recording", {"to": "pause"})
    assert (again.status, again.code) == (409, "not_now")


@pytest.mark.parametrize("to", ["pause", "off"])
async def test_a_recording_that_the_queue_wants_is_not_to_be_interrupted(world: World, to: str):
    api, pbx = world
    plan = QueuePlan(
        queue="support",
        otherwise=End(),
        hold=HoldPolicy(),
        ring_s=20,
        recording=RecordingPolicy(record=True),
    )
    await pbx.going_on(talking(plan=plan, queue=plan, recording=True))
    refused = await api.ask("PUT", "/calls/c1/recording", {"to": to})
    assert (refused.status, refused.code) == (409, "not_now")
    assert "recording_must_go_on" in str(refused.body)
    shown = (await api.ask("GET", "/calls/c1")).data
    assert (shown["recording"], shown["recording_paused"]) == (True, False)


async def test_a_conference_shows_who_was_there_first(world: World):
    api, pbx = world
    ada, eve = (Leg(id=LegId(name), endpoint="PJSIP/x", agent=name) for name in ("ada", "eve"))
    await pbx.going_on(
        msgspec.structs.replace(talking(), phase=Phase.CONFERENCE, agent=None, members=(ada, eve))
    )
    assert (await api.ask("GET", "/calls/c1")).data["agent"] == "ada"


async def conference(pbx: PbxDouble) -> list[Leg]:
    """The caller, ada, eve and a number, with a supervisor who hears ada."""
    legs = [
        Leg(id=LegId(f"leg-{name}"), endpoint="PJSIP/x", agent=name, is_up=True)
        for name in ("ada", "eve", None, "boss")
    ]
    boss = Supervision(leg=legs.pop(), mode="listen")
    three = {"phase": Phase.CONFERENCE, "agent": None, "members": tuple(legs), "supervision": boss}
    await pbx.going_on(msgspec.structs.replace(talking(), **three))
    return legs


async def test_the_caller_of_a_conference_is_held_and_comes_back(world: World):
    api, pbx = world
    await conference(pbx)
    for path, state in (("hold", "conference_held"), ("resume", "conference")):
        reply = await api.ask("POST", f"/calls/c1/{path}", role="agent", sub="ada")
        assert (reply.status, reply.data["state"]) == (200, state), reply.body
    refused = await api.ask("POST", "/calls/c1/transfer", {"queue": "support"})
    assert (refused.status, refused.code) == (409, "not_now")
    assert "let one go first" in str(refused.body)


@pytest.mark.parametrize("body", [{}, {"agent": "ada"}, {"party": "leg-ada"}])
async def test_who_leaves_a_conference_leaves_the_others_in_it(world: World, body: dict[str, str]):
    api, pbx = world
    await conference(pbx)
    shown = (await api.ask("GET", "/calls/c1")).data["parties"]
    assert [one["id"] for one in shown][:3] == ["leg-ada", "leg-eve", "leg-None"]
    reply = await api.ask("POST", "/calls/c1/drop", body, role="agent", sub="ada")
    assert (reply.status, reply.data["state"]) == (200, "conference"), reply.body
    assert (await api.ask("GET", "/calls/c1")).data["agent"] == "eve"


async def test_only_a_supervisor_lets_a_supervisor_go_and_nobody_who_is_not_there(world: World):
    api, pbx = world
    await conference(pbx)
    boss = {"agent": "boss"}
    assert (await api.ask("POST", "/calls/c1/drop", boss, role="agent", sub="ada")).status == 403
    for body in ({"agent": "bea"}, {"party": "no"}, {"agent": "ada", "party": "leg-ada"}):
        assert (await api.ask("POST", "/calls/c1/drop", body)).status == 400, body
    assert (await api.ask("POST", "/calls/c1/drop", boss, role="supervisor")).status == 200
    assert (await api.ask("GET", "/calls/c1")).data["supervision"] is None


async def test_labels_are_kept_as_long_as_call_records(api: ApiServer):
    settings = msgspec.structs.replace(PBX, keep_records_days=7)
    telephony = Telephony(api.links, Directory, settings=settings, recordings_dir=Path())
    await telephony.labels.put("acme", "c1", ["vip"], in_s(5))
    link = api.links.link_for("acme")
    left_ms = await link.call("PTTL", keys.call_labels("acme", "c1"), deadline=in_s(5))
    assert isinstance(left_ms, int)
    assert 6 * 86_400_000 < left_ms <= 7 * 86_400_000


async def test_labels_are_replaced_and_kept_after_the_call(world: World):
    api, pbx = world
    await pbx.going_on(talking())
    reply = await api.ask("PUT", "/calls/c1/labels", {"labels": ["vip", "billing", "vip"]})
    assert reply.data == {"labels": ["vip", "billing"]}
    assert (await api.ask("GET", "/calls/c1")).data["labels"] == ["vip", "billing"]
    await api.ask("PUT", "/calls/c1/labels", {"labels": []})
    assert (await api.ask("GET", "/calls/c1")).data["labels"] == []
    assert (await api.ask("PUT", "/calls/none/labels", {"labels": ["x"]})).status == 404


# --- refusals


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/calls/none/hangup", None, 404, "not_found"),
        ("POST", "/calls/c1/resume", None, 409, "not_now"),
        ("POST", "/calls/c1/complete", None, 409, "not_now"),
        ("POST", "/calls/c1/unpark", {"agent": "bea"}, 409, "not_now"),
        ("POST", "/calls/c1/transfer", {}, 400, "invalid"),
        ("POST", "/calls/c1/transfer", {"agent": "bea", "queue": "support"}, 400, "invalid"),
        ("POST", "/calls/c1/transfer", {"agent": "nobody"}, 400, "invalid"),
        ("POST", "/calls/c1/transfer", {"queue": "nowhere"}, 400, "invalid"),
        ("POST", "/calls/c1/transfer", {"number": "+4690012345678"}, 400, "barred"),
        ("POST", "/calls/c1/consult", {"agent": "cyd"}, 400, "barred"),
        ("POST", "/calls/c1/transfer", {"agent": "cyd"}, 400, "barred"),
        ("POST", "/calls/c1/participants", {"number": "+1 212 555 0142"}, 400, "barred"),
        ("POST", "/calls/c1/transfer", {"number": "12,G(other)"}, 400, "invalid"),
        ("PUT", "/calls/c1/recording", {"to": "loud"}, 400, "invalid"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_happens(
    world: World, method: str, path: str, body: object, status: int, code: str
):
    session = await world.pbx.going_on(talking())
    reply = await world.api.ask(method, path, body)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert session.state == talking()
    assert session.done == []


async def test_a_bridge_that_cannot_be_taken_apart_is_told(world: World):
    world.pbx.cannot_split = True
    await world.pbx.going_on(talking())
    reply = await world.api.ask("POST", "/calls/c1/hold")
    assert (reply.status, reply.code) == (409, "not_now")
    assert "go on talking" in reply.body["message"]


async def test_while_asterisk_is_away_nothing_is_done(world: World):
    world.pbx.is_ready = False
    session = await world.pbx.going_on(talking())
    reply = await world.api.ask("POST", "/calls/c1/hangup")
    assert (reply.status, reply.code) == (503, "pbx_away")
    assert session.state == talking()


async def test_a_control_that_asterisk_was_away_for_is_known_to_have_come_to_nothing(
    api: ApiServer, redis_url: str
):
    double = PbxDouble(api.links, lambda: api.keeper.directory, PBX)
    double.is_stalled = True
    async with at_work(double, api.links, redis_url, finish_s=0.3):
        session = await double.going_on(talking())
        reply = await api.ask("POST", "/calls/c1/hold")
        assert (reply.status, reply.code) == (503, "pbx_away")
        assert session.state == talking()
    await double.close()


async def test_without_a_controller_the_answer_comes_at_once(api: ApiServer):
    double = PbxDouble(api.links, lambda: api.keeper.directory, PBX)
    await double.save(talking())
    reply = await api.ask("POST", "/calls", {"to": "030777", "agent": "ada"})
    assert (reply.status, reply.code) == (503, "pbx_away")


async def test_a_controller_that_vanished_leaves_nothing_done(
    api: ApiServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(call_control, "STORE_S", 0.3)
    commands = PbxCommands(api.links)
    api.telephony.control = CallControl(commands, begin_s=0.4, finish_s=0.8)
    double = PbxDouble(api.links, lambda: api.keeper.directory, PBX)
    async with at_work(double, api.links, redis_url):
        session = await double.going_on(talking())
    # It looked a moment ago, and will not look again in time.
    reply = await api.ask("POST", "/calls/c1/hangup")
    assert (reply.status, reply.code) == (503, "pbx_away")
    async with at_work(double, api.links, redis_url):
        assert (await api.ask("GET", "/calls/c1")).data["state"] == "talking"
        assert session.state == talking()
    await double.close()


async def test_a_command_that_was_taken_and_not_answered_is_of_unknown_outcome(
    api: ApiServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(call_control, "STORE_S", 0.3)
    commands = PbxCommands(api.links)
    api.telephony.control = CallControl(commands, begin_s=0.4, finish_s=0.8)
    double = PbxDouble(api.links, lambda: api.keeper.directory, PBX)
    async with at_work(double, api.links, redis_url):
        await double.save(talking())
    asked = asyncio.create_task(api.ask("POST", "/calls/c1/hangup"))
    async with asyncio.timeout(5):
        while await commands.take("acme", PBX.id, token="", deadline=in_s(5)) is None:
            await asyncio.sleep(0.005)
    reply = await asked
    assert (reply.status, reply.code) == (504, "outcome_unknown")
    await double.close()


# --- calls that begin here


async def test_click_to_call_rings_the_agent_first_and_reserves_the_agent(world: World):
    api, pbx = world
    await api.agents.set_duty("acme", "ada", on=True, deadline=in_s(5))
    body = {"to": "030 777", "agent": "ada", "caller_id": "+49 30 200", "recording": True}
    reply = await api.ask("POST", "/calls", body)
    assert reply.status == 201, reply.body
    assert reply.data["pbx"] == PBX.id
    state = pbx.sessions[reply.data["id"]].state
    assert (state.kind, state.shown_number) == (Kind.CLICK_TO_CALL, "+4930200")
    assert state.customer_endpoint == "PJSIP/+4930777@trunk"
    assert isinstance(state.plan, DialPlan)
    assert state.plan.recording.record
    assert state.token
    assert (await api.ask("GET", "/agents/ada")).data["state"] == "reserved"
    live = await api.ask("GET", f"/calls/{reply.data['id']}")
    assert (live.data["direction"], live.data["called"]) == ("outbound", "+4930777")
    busy = await api.ask("POST", "/calls", body)
    assert (busy.status, busy.code) == (409, "agent_busy")


async def test_an_agent_off_duty_may_call_once_at_a_time(world: World):
    reply = await world.api.ask("POST", "/calls", {"to": "030777"}, role="agent", sub="ada")
    assert reply.status == 201
    again = await world.api.ask("POST", "/calls", {"to": "030777"}, role="agent", sub="ada")
    assert (again.status, again.code) == (409, "agent_busy")
    other = await world.api.ask(
        "POST", "/calls", {"to": "030777", "agent": "bea"}, role="agent", sub="ada"
    )
    assert other.status == 403


async def test_a_menu_is_played_to_whoever_answers(world: World):
    menu = {
        "prompt": "One for support, two to be left alone",
        "choices": {"1": {"queue": "support"}, "2": {"message": "Good bye"}},
        "tries": 2,
    }
    reply = await world.api.ask("POST", "/calls/menu", {"to": "030777", "menu": menu})
    assert reply.status == 201, reply.body
    await in_phase(world.pbx, reply.data["id"], Phase.ASKING)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/calls", {"to": "030777", "agent": "nobody"}, 400, "agent"),
        ("/calls", {"to": "0900 5 123456", "agent": "ada"}, 400, None),
        ("/calls", {"to": "030777", "agent": "ada", "caller_id": "+4940999"}, 400, None),
        ("/calls", {"to": "030777", "agent": "cyd"}, 400, None),
        ("/calls", {"to": "030777", "agent": "ada", "ring_seconds": 999}, 400, "ring_seconds"),
        ("/calls/menu", {"to": "030777"}, 400, "message"),
        ("/calls/menu", {"to": "030777", "menu": {"prompt": "x", "choices": {}}}, 400, "menu.choices"),
        (
            "/calls/menu",
            {"to": "030777", "menu": {"prompt": "x", "choices": {"1": {"queue": "no"}}}},
            400,
            "menu.choices.1.queue",
        ),
        *(
            ("/calls/menu", {"to": "030777", "menu": {"prompt": "x", **leads}}, 400, None)
            for leads in (
                {"choices": {"1": {"number": "0900 5 123456"}}},
                {"choices": {"1": {"message": "m"}}, "otherwise": {"agent": "cyd"}},
            )
        ),
    ],
)  # fmt: skip
async def test_a_call_that_may_not_be_is_not_begun(
    world: World, path: str, body: object, status: int, field: str | None
):
    reply = await world.api.ask("POST", path, body)
    assert (reply.status, reply.data.get("field")) == (status, field), reply.body
    assert world.pbx.sessions == {}


async def test_a_full_pbx_says_so(world: World):
    world.pbx.is_full = True
    reply = await world.api.ask("POST", "/calls", {"to": "030777", "agent": "ada"})
    assert (reply.status, reply.code) == (503, "pbx_full")
    assert (await world.api.ask("GET", "/agents/ada")).data["state"] == "off_duty"
