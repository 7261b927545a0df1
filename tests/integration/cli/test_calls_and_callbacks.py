"""`crosspoint calls` and `callbacks` as processes of their own, against a controller in this one."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pbx.machine.plans import LegId
from pbx.machine.state import Kind, Leg, Phase
from router.deadline import in_s
from router.settings import PbxSettings
from router.site.keeper import DirectoryKeeper
from router.site.resources import AgentConfig, QueueConfig
from router.site.secret_refs import resolve_secret
from router.store import keys
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.links import Links
from router.store.live_calls import LiveCalls
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from tests.integration.http.pbx_double import PbxDouble, at_work, talking

REPO = Path(__file__).resolve().parents[3]
PBX = PbxSettings(tenant="acme", country="DE", trunk_endpoint="PJSIP/{number}@trunk")
SETTINGS = """
store: {{url: "{url}"}}
data_dir: data
pbx: {{tenant: acme, country: DE, trunk_endpoint: "PJSIP/{{number}}@trunk"}}
"""


class Terminal:
    """Somebody at a command line beside a running PBX."""

    def __init__(self, folder: Path, pbx: PbxDouble, links: Links) -> None:
        self.pbx = pbx
        self.links = links
        self._folder = folder

    async def run(self, *arguments: str, code: int = 0) -> str:
        bare = {name: value for name, value in os.environ.items() if "CROSSPOINT" not in name}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "router", "-c", str(self._folder / "crosspoint.yaml"), *arguments),
            cwd=self._folder,
            env={**bare, "PYTHONPATH": str(REPO)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == code, (out, err)
        assert b"Traceback" not in err
        return out.decode() if code == 0 else (out + err).decode()


@pytest.fixture
async def terminal(redis_url: str, tmp_path: Path) -> AsyncIterator[Terminal]:
    (tmp_path / "crosspoint.yaml").write_text(SETTINGS.format(url=redis_url))
    async with Links(parse_store_url(redis_url)) as links:
        await links.wait_open(in_s(10))
        resources = Resources(links, AgentsAndQueues(Agents(links)))
        for resource in (
            QueueConfig(id="support", name="Support"),
            AgentConfig(id="ada", name="Ada", endpoint="PJSIP/6001", queues={"support": {}}),
        ):
            checked = msgspec.convert(msgspec.to_builtins(resource), type(resource))
            await resources.put("acme", checked, deadline=in_s(5))
        keeper = DirectoryKeeper(resources, lambda ref: resolve_secret(ref, {}, str))
        await keeper.refresh(in_s(5))
        double = PbxDouble(links, lambda: keeper.directory, PBX)
        async with at_work(double, links, redis_url):
            yield Terminal(tmp_path, double, links)
        await double.close()


async def test_live_calls_are_listed_with_masked_numbers(terminal: Terminal):
    assert "no calls" in await terminal.run("calls", "list")
    await terminal.pbx.going_on(talking())
    told = await terminal.run("calls", "list")
    assert "c1" in told
    assert "ada" in told
    assert "+4930555123" not in told
    (form,) = json.loads(await terminal.run("calls", "list", "--json", "--full-numbers"))
    assert (form["caller"], form["state"]) == ("+4930555123", "talking")
    assert json.loads(await terminal.run("calls", "list", "--agent", "bea", "--json")) == []


async def test_a_call_is_held_transferred_and_ended_from_the_command_line(terminal: Terminal):
    session = await terminal.pbx.going_on(talking())
    assert "c1 is on hold" in await terminal.run("calls", "hold", "c1")
    assert "taken apart" not in await terminal.run("calls", "hold", "c1", code=2)
    await terminal.run("calls", "resume", "c1")
    await terminal.run("calls", "transfer", "c1", "--queue", "support")
    assert session.state.agent is None
    await terminal.run("calls", "hangup", "c1")
    assert session.state.phase in {Phase.ENDING, Phase.ENDED}


async def test_one_of_a_conference_is_let_go_from_the_command_line(terminal: Terminal):
    ada, eve, bea = (
        Leg(id=LegId(f"leg-{name}"), endpoint="PJSIP/x", agent=name, is_up=True)
        for name in ("ada", "eve", "bea")
    )
    three = {"phase": Phase.CONFERENCE, "agent": None, "members": (ada, eve, bea)}
    session = await terminal.pbx.going_on(msgspec.structs.replace(talking(), **three))
    (form,) = json.loads(await terminal.run("calls", "list", "--json"))
    assert form["parties"][0] == {"id": "leg-ada", "agent": "ada"}
    assert "no cyd in the call" in await terminal.run("calls", "drop", "c1", "cyd", code=2)
    assert "eve has left c1" in await terminal.run("calls", "drop", "c1", "eve")
    await terminal.run("calls", "drop", "c1", "leg-ada")
    assert session.state.agent == bea
    assert "transfer or park" in await terminal.run("calls", "drop", "c1", "bea", code=2)


async def test_nobody_is_transferred_to_where_nobody_is(terminal: Terminal):
    session = await terminal.pbx.going_on(talking())
    for where in (("--agent", "adda"), ("--queue", "suport")):
        await terminal.run("calls", "transfer", "c1", *where, code=2)
    assert session.state == talking()


async def test_what_cannot_be_done_says_why_and_ends_with_its_code(terminal: Terminal):
    await terminal.pbx.going_on(talking())
    assert "no live call c9" in await terminal.run("calls", "hangup", "c9", code=2)
    assert "not possible while talking" in await terminal.run("calls", "resume", "c1", code=2)
    assert "--queue" in await terminal.run("calls", "transfer", "c1", code=2)
    barred = await terminal.run("calls", "transfer", "c1", "--number", "+12125550142", code=2)
    assert "may not be dialled" in barred
    terminal.pbx.is_ready = False
    await terminal.run("calls", "hangup", "c1", code=3)
    assert terminal.pbx.sessions["c1"].state == talking()


async def test_calls_of_a_pbx_without_a_controller_are_named_and_ended_on_demand(
    terminal: Terminal,
):
    links = terminal.links
    written = msgspec.json.encode(talking())
    await LiveCalls(links).save("acme", "gone", {"c1": written}, in_s(5))
    await links.link_for("acme").call("ZADD", keys.pbxs("acme"), 1, "gone", deadline=in_s(5))
    told = await terminal.run("doctor", code=1)
    assert "PBX gone of acme" in told
    assert f"PBX {PBX.id} of" not in told
    assert "a controller runs" in await terminal.run("calls", "give-up", PBX.id, code=2)
    assert "1 calls of gone are ended" in await terminal.run("calls", "give-up", "gone")
    assert "no calls" in await terminal.run("calls", "list")
    assert "PBX gone" not in await terminal.run("doctor", code=1)


async def test_a_call_is_begun_with_the_agent_first(terminal: Terminal):
    told = await terminal.run("calls", "start", "ada", "030 777", "--record", "--json")
    (session,) = terminal.pbx.sessions.values()
    assert json.loads(told) == {"id": session.state.id, "pbx": PBX.id}
    assert session.state.kind is Kind.CLICK_TO_CALL


async def test_a_callback_is_validated_promised_listed_and_cancelled(terminal: Terminal):
    number = ("support", "030 5551234")
    assert "yes" in await terminal.run("callbacks", "validate", *number)
    assert "no callbacks" in await terminal.run("callbacks", "list")
    made = json.loads(await terminal.run("callbacks", "create", *number, "--json"))
    assert made["number"] == "+49305551234"
    assert "no: " in await terminal.run("callbacks", "validate", *number, code=1)
    await terminal.run("callbacks", "create", *number, code=2)
    told = await terminal.run("callbacks", "list", "--status", "waiting")
    assert made["id"] in told
    assert made["number"] not in told
    assert "is cancelled" in await terminal.run("callbacks", "cancel", made["id"])
    await terminal.run("callbacks", "cancel", made["id"], code=2)
    assert "no callback cb-x" in await terminal.run("callbacks", "cancel", "cb-x", code=2)
    (form,) = json.loads(await terminal.run("callbacks", "list", "--json"))
    assert form["status"] == "cancelled"


async def test_a_number_that_may_not_be_called_back_is_said_to_be_so(terminal: Terminal):
    told = await terminal.run("callbacks", "validate", "support", "+12125550142", "--json", code=1)
    assert json.loads(told)["possible"] is False
    await terminal.run("callbacks", "create", "support", "+12125550142", code=2)
    nowhere = ("nowhere", "030777")
    assert "no queue nowhere" in await terminal.run("callbacks", "validate", *nowhere, code=1)
    assert "no queue nowhere" in await terminal.run("callbacks", "create", *nowhere, code=2)
