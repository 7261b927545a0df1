"""A dialplan that keeps control asks with CURL() and cuts the answer apart."""

import asyncio

import pytest
from msgspec.structs import replace

from router.deadline import in_s
from router.settings import TokenSettings
from router.site.resources import AgentConfig
from router.site.secret_refs import SecretRef
from router.store.phones import Phones
from router.tokens import Tokens
from tests.integration.http.conftest import TENANT, Running, Start, apply

TOKEN_SECRET = "0123456789abcdef0123456789abcdef-token"


def token(role: str = "admin", tenant: str = TENANT) -> dict[str, str]:
    made = Tokens(secret=TOKEN_SECRET).make(
        {"sub": "pbx1", "tenant_id": tenant, "role": role}, ttl_s=60
    )
    return {"Authorization": f"Bearer {made}"}


async def ask(
    running: Running, headers: dict[str, str] | None = None, router: str = "main", **query: str
) -> tuple[int, str, str | None]:
    url = f"{running.url}/dialplan/{router}"
    asked = {"uniqueid": "pbx1-1.1", "caller": "+12125550142", **query}
    async with running.session.get(url, params=asked, headers=headers or token()) as got:
        return got.status, await got.text(), got.headers.get("X-Crosspoint-Level")


@pytest.fixture
async def running(start: Start, redis_url: str) -> Running:
    at_work = await start(redis_url, tokens=TokenSettings(secret=SecretRef(value=TOKEN_SECRET)))
    await apply(at_work.service)
    return at_work


async def test_a_target_is_told_as_a_line_of_text(running: Running) -> None:
    assert await ask(running) == (200, "route,department,60", "full")


async def test_a_question_comes_back_as_digits_and_leads_on(running: Running) -> None:
    status, line, _ = await ask(running, caller="+12125550133")
    assert (status, line) == (200, "menu,language,1,2,5,English or Spanish?")
    asked = {"caller": "+12125550133", "digits.language": "2"}
    assert (await ask(running, **asked))[1] == "route,department,62"


async def test_no_input_is_asked_again(running: Running) -> None:
    silent = {"caller": "+12125550133", "digits.language": ""}
    assert (await ask(running, caller="+12125550133"))[1].startswith("menu,")
    assert (await ask(running, **silent))[1].startswith("menu,")


async def test_a_reserved_agent_is_dialled_at_the_phone_on_the_pbx(running: Running) -> None:
    agents = running.service.agents
    for agent in ("ada", "bob"):
        await agents.set_duty(TENANT, agent, on=True, deadline=in_s(5))
    # Ada has no phone on the PBX: she is passed over.
    assert (await ask(running, caller="+12125550111"))[1] == "dial,PJSIP/1002,30"
    again = {"caller": "+12125550111", "uniqueid": "pbx1-2.1"}
    assert (await ask(running, **again))[1] == "queue,support"


async def test_a_reserved_agent_is_dialled_at_the_phone_where_they_logged_in(
    running: Running,
) -> None:
    service = running.service
    ada = await service.resources.get(TENANT, AgentConfig, "ada", deadline=in_s(5))
    assert ada is not None
    with_number = replace(ada, number="7")
    await service.resources.put(TENANT, with_number, deadline=in_s(5))
    await service.keeper.refresh(in_s(5))
    for agent in ("ada", "bob"):
        await service.agents.set_duty(TENANT, agent, on=True, deadline=in_s(5))
    assert (await ask(running, caller="+12125550111", uniqueid="1"))[1] == "dial,PJSIP/1002,30"
    bob = await service.agents.get(TENANT, "bob", in_s(5))
    assert bob is not None
    await service.agents.release(
        TENANT, "bob", bob.record.token or "", keep_place=True, deadline=in_s(5)
    )
    phones = Phones(service.links)
    await phones.take(TENANT, "ada", "PJSIP/desk7", in_s(5))
    await service.whereabouts.renew()
    assert (await ask(running, caller="+12125550111"))[1] == "dial,PJSIP/desk7,30"
    await service.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
    assert (await ask(running, caller="+12125550111", uniqueid="3"))[1] == "dial,PJSIP/1002,30"
    await phones.leave(TENANT, "ada", in_s(5))
    async with asyncio.timeout(10):  # by itself, in a moment
        while service.whereabouts.of(TENANT):
            await asyncio.sleep(0.01)
    await service.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    assert (await ask(running, caller="+12125550111", uniqueid="4"))[1] == "queue,support"


async def test_without_a_token_of_the_tenant_nothing_is_told(running: Running) -> None:
    assert (await ask(running, {"X": "y"}))[0] == 401
    assert (await ask(running, {"Authorization": "Bearer x.y.z"}))[0] == 401
    assert (await ask(running, token(role="agent")))[0] == 403
    assert (await ask(running, token(tenant="other")))[0] == 404
    assert (await ask(running, router="nobody"))[0] == 404
    assert (await ask(running, token(role="platform_admin", tenant="other")))[0] == 200


async def test_strange_input_is_answered_with_the_default(running: Running) -> None:
    status, line, _ = await ask(running, caller="\r\nX: y" * 100, called="🎈", uniqueid="")
    assert status == 200
    assert line == "route,department,60"
