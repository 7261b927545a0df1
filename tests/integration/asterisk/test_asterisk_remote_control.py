"""Live calls on a real Asterisk, controlled over HTTP: two processes that meet only in the store."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.asterisk.instance import Instance
from router.tokens import Tokens
from tests.integration.asterisk import audio
from tests.integration.asterisk.capture import Silence, Tone, keys
from tests.integration.asterisk.conftest import PHONES
from tests.integration.asterisk.phones import caller, phone
from tests.servers import free_port

REPO = Path(__file__).resolve().parents[3]
SECRET = "t" * 40
SETTINGS = """
http: {{port: {port}}}
data_dir: data
rules_dir: rules
site: site.yaml
tokens: {{secret: {{env: TOKEN_SECRET}}}}
pbx:
  tenant: acme
  port: {ami}
  country: DE
  default_router: main
  trunk_endpoint: PJSIP/6003
  caller_id: "+4930200"
  secret: {{env: AMI_SECRET}}
  spool_dir: {spool}
  speech_dir: {sounds}
"""
SITE = """
version: 1
tenant: acme
routers: [{id: main, name: Main, rules: main, default_target: {type: user, id: "1"}}]
queues: [{id: support, name: Support, wrap_up_seconds: 0}]
agents:
  - {id: ada, name: Ada, endpoint: PJSIP/6001, queues: {support: {}}}
  - {id: ben, name: Ben, endpoint: PJSIP/6002}
  - {id: eve, name: Eve, endpoint: PJSIP/6002, queues: {support: {}}}
"""
RULES = """
version: 1
rules: [{name: all, when: {}, then: {queue: support}}]
default: {end: {}}
"""


class Service:
    """`crosspoint up`: HTTP in one process, the calls in another."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http
        claims = {"sub": "boss", "tenant_id": "acme", "role": "admin"}
        token = Tokens(secret=SECRET).make(claims, ttl_s=600)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: object = None) -> Any:  # decoded JSON
        url = f"{self.url}/api/v1{path}"
        async with self._http.request(method, url, json=body, headers=self._headers) as response:
            answer = await response.json()
            assert response.status < 300, answer
            return answer["data"]

    async def until(
        self, is_it: Callable[[dict[str, Any]], bool], limit_s: float = 15
    ) -> dict[str, Any]:
        """The first live call that fits."""
        async with asyncio.timeout(limit_s):
            while True:
                for call in await self.ask("GET", "/calls"):
                    if is_it(call):
                        return call
                await asyncio.sleep(0.02)

    async def bridged(self, call: str, limit_s: float = 15) -> None:
        """Until both hear each other: a moment after the call is said to be talking."""
        async with asyncio.timeout(limit_s):
            while (await self.ask("GET", f"/cdrs/{call}"))["talking_at"] is None:
                await asyncio.sleep(0.02)

    async def over(self, call: str, *, recordings: int = 0, limit_s: float = 15) -> dict[str, Any]:
        """The call's record once it has an end and that many files were handed over."""
        async with asyncio.timeout(limit_s):
            while True:
                for record in await self.ask("GET", "/cdrs"):
                    is_over = record["id"] == call and record["ended_at"] is not None
                    if is_over and len(record["recordings"]) >= recordings:
                        return record
                await asyncio.sleep(0.02)


@pytest.fixture
async def service(asterisk: Instance, tmp_path: Path) -> AsyncIterator[Service]:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "main.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text(SITE)
    port = free_port()
    settings = SETTINGS.format(
        port=port, ami=asterisk.ports.ami, spool=asterisk.recordings, sounds=asterisk.sounds
    )
    (tmp_path / "crosspoint.yaml").write_text(settings)
    command = [sys.executable, "-m", "router", "-c", str(tmp_path / "crosspoint.yaml"), "up"]
    secrets = {"AMI_SECRET": asterisk.secret, "TOKEN_SECRET": SECRET}
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here yet
        command,
        env={**os.environ, **secrets, "PYTHONPATH": str(REPO)},
        stderr=log,
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            while "reconciled" not in (tmp_path / "log").read_text():
                assert process.poll() is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.02)
        async with aiohttp.ClientSession() as http:
            service = Service(f"http://127.0.0.1:{port}", http)
            await service.ask("PUT", "/agents/ada/duty", {"on": True})
            yield service
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 15)
        log.close()


def talks(call: dict[str, Any]) -> bool:
    return bool(call["state"] == "talking" and call["agent"] == "ada")


async def test_a_call_is_held_resumed_recorded_and_hung_up_over_http(
    asterisk: Instance, service: Service, phones_folder: Path, tmp_path: Path
):
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6001"], says=[Tone(1100, 20)]) as agent,
        caller(asterisk, phones_folder, says=[Tone(700, 20)]) as customer,
    ):
        call = (await service.until(talks))["id"]
        held = await service.ask("POST", f"/calls/{call}/hold")
        assert held == {"id": call, "state": "held"}
        assert (await service.ask("POST", f"/calls/{call}/resume"))["state"] == "talking"
        await service.ask("PUT", f"/calls/{call}/recording", {"to": "on"})
        assert (await service.ask("GET", f"/calls/{call}"))["recording"] is True
        await asyncio.sleep(1.5)  # something to hear
        await service.ask("POST", f"/calls/{call}/hangup")
        await customer.ended()
        await agent.ended()
    record = await service.over(call, recordings=1)
    assert (record["disposition"], record["agents"]) == ("answered", ["ada"])
    (name,) = record["recordings"]
    file = tmp_path / "heard.wav"
    url = f"{service.url}/api/v1/recordings/{name}/audio"
    async with service._http.get(url, headers=service._headers) as response:
        file.write_bytes(await response.read())
    assert audio.hears(file, 700)
    assert audio.hears(file, 1100)


async def test_a_call_is_transferred_to_another_agent_over_http(
    asterisk: Instance, service: Service, phones_folder: Path
):
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6001"]) as ada,
        phone(phones_folder, "phone_answers", port=PHONES["6002"]) as ben,
        caller(asterisk, phones_folder) as customer,
    ):
        call = (await service.until(talks))["id"]
        await service.ask("POST", f"/calls/{call}/transfer", {"agent": "ben"})
        await ada.ended()
        await service.until(lambda one: one["state"] == "talking" and one["agent"] == "ben")
        await service.ask("POST", f"/calls/{call}/hangup")
        await customer.ended()
        await ben.ended()
    await service.over(call)


async def test_click_to_call_rings_the_agent_then_the_number(
    asterisk: Instance, service: Service, phones_folder: Path
):
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
        phone(phones_folder, "phone_answers", port=PHONES["6003"]) as customer,
    ):
        begun = await service.ask("POST", "/calls", {"to": "030 555123", "agent": "ada"})
        call = await service.until(talks)
        assert (call["id"], call["direction"]) == (begun["id"], "outbound")
        assert (await service.ask("GET", "/agents/ada"))["state"] == "on_call"
        await service.ask("POST", f"/calls/{begun['id']}/hangup")
        await agent.ended()
        await customer.ended()
    record = await service.over(begun["id"])
    assert (record["called"], record["caller"]) == ("+4930555123", "+4930200")
    async with asyncio.timeout(10):
        while (await service.ask("GET", "/agents/ada"))["state"] != "available":
            await asyncio.sleep(0.02)


async def test_whoever_is_called_keys_through_the_menu_to_an_agent(
    asterisk: Instance, service: Service, phones_folder: Path
):
    menu = {"prompt": "One for support.", "choices": {"1": {"queue": "support"}}, "tries": 3}
    says = [Silence(1.5), *keys("1"), Silence(10)]
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6003"], says=says) as customer,
        phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
    ):
        begun = await service.ask("POST", "/calls/menu", {"to": "030 555123", "menu": menu})
        call = await service.until(talks)
        assert (call["id"], call["kind"], call["queue"]) == (begun["id"], "outbound_ivr", "support")
        await service.bridged(begun["id"])
        await service.ask("POST", f"/calls/{begun['id']}/hangup")
        await customer.ended()
        await agent.ended()
    record = await service.over(begun["id"])
    assert (record["direction"], record["disposition"]) == ("outbound", "answered")


async def test_a_supervisor_listens_and_a_third_joins_over_http(
    asterisk: Instance, service: Service, phones_folder: Path
):
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
        phone(phones_folder, "phone_answers", port=PHONES["6002"]) as supervisor,
        phone(phones_folder, "phone_answers", port=PHONES["6003"]) as third,
        caller(asterisk, phones_folder) as customer,
    ):
        call = (await service.until(talks))["id"]
        await service.ask("POST", f"/calls/{call}/supervise", {"mode": "listen", "agent": "ben"})
        await service.until(
            lambda one: any(p["role"] == "supervisor" and p["is_up"] for p in one["parties"])
        )
        await service.ask("POST", f"/calls/{call}/participants", {"number": "030 555123"})
        await service.until(lambda one: one["state"] == "conference")
        await service.ask("POST", f"/calls/{call}/hangup")
        for one in (customer, agent, supervisor, third):
            await one.ended()
    await service.over(call)


async def test_an_agent_who_is_consulted_gets_no_call_of_the_line_until_that_is_over(
    asterisk: Instance, service: Service, phones_folder: Path
):
    async with (
        phone(phones_folder, "phone_answers", port=PHONES["6001"]) as agent,
        caller(asterisk, phones_folder) as customer,
    ):
        call = (await service.until(talks))["id"]
        await service.ask("PUT", "/agents/eve/duty", {"on": True})
        async with phone(phones_folder, "phone_rings_on", port=PHONES["6002"]):
            await service.ask("POST", f"/calls/{call}/consult", {"agent": "eve"})
            assert (await service.ask("GET", "/agents/eve"))["state"] == "reserved"
            async with caller(asterisk, phones_folder) as second:
                await service.until(lambda one: one["id"] != call and one["state"] == "holding")
                await asyncio.sleep(1.2)  # longer than the line looks for somebody who is free
                waiting = await service.until(lambda one: one["id"] != call)
                assert all(party["agent"] != "eve" for party in waiting["parties"])
                await service.ask("POST", f"/calls/{waiting['id']}/hangup")
                await second.ended()
            await service.ask("POST", f"/calls/{call}/resume")
        async with asyncio.timeout(10):
            while (await service.ask("GET", "/agents/eve"))["state"] != "available":
                await asyncio.sleep(0.02)
        await service.ask("POST", f"/calls/{call}/hangup")
        await customer.ended()
        await agent.ended()
    await service.over(call)


async def test_an_agent_who_does_not_take_a_call_of_their_own_has_missed_no_offer(
    asterisk: Instance, service: Service, phones_folder: Path
):
    async with phone(phones_folder, "phone_refuses", port=PHONES["6001"], status=486) as agent:
        begun = await service.ask("POST", "/calls", {"to": "030 555123", "agent": "ada"})
        await agent.ended()
    record = await service.over(begun["id"])
    assert record["disposition"] == "unanswered"
    async with asyncio.timeout(5):
        while (ada := await service.ask("GET", "/agents/ada"))["state"] == "reserved":
            await asyncio.sleep(0.02)
    assert (ada["state"], ada["unanswered_offers"]) == ("available", 0)
