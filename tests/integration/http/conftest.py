"""A whole service in this process, on a real socket, with a real Redis: what these tests ask."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest

from router.deadline import in_s
from router.http.app import HttpServer
from router.http.decisions.routes import RouteHandler
from router.platforms.dialpad.signature import sign
from router.processes.port import hold_port
from router.processes.wiring import Service, application, running
from router.settings import ForeignSettings, Settings, StoreSettings
from router.site.directory import TenantResources
from router.site.keeper import write_directory
from router.site.resources import AgentConfig, Membership, QueueConfig, RouterConfig
from router.site.secret_refs import SecretRef
from rules.actions import Target, TargetType

SECRET = "0123456789abcdef0123456789abcdef-new"
OLD_SECRET = "0123456789abcdef0123456789abcdef-old"
TENANT = "acme"
DEFAULT = {"action": "route", "target_type": "office", "target_id": "1"}

RULES = """
version: 1
targets:
  sales: {type: department, id: "60"}
  english: {type: department, id: "61"}
  spanish: {type: department, id: "62"}
rules:
  - {name: vip, when: {caller: "+12125550111"}, then: {agent: {queue: support, otherwise: {queue: support}}}}
  - {name: crowded, when: {caller: "+12125550122", queue: {support: {agents_idle: ">0"}}}, then: {route: spanish}}
  - name: language
    when: {caller: "+12125550133"}
    then:
      menu:
        name: language
        prompt: English or Spanish?
        choices: {"1": {route: english}, "2": {route: spanish}}
        tries: 2
        otherwise: {route: sales}
default: {route: sales}
"""


class Asked(NamedTuple):
    """One answer of the service."""

    status: int
    body: dict[str, Any]
    level: str | None
    headers: dict[str, str]


class Running:
    """A running service and a client of it."""

    def __init__(self, service: Service, url: str, session: aiohttp.ClientSession) -> None:
        self.service = service
        self.url = url
        self.session = session

    async def post(self, router: str, body: bytes | dict[str, object], **kwargs: object) -> Asked:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.post(f"{self.url}/route/{router}", data=data, **kwargs) as got:  # type: ignore[arg-type]
            text = await got.read()
            headers = dict(got.headers)
            return Asked(
                got.status, msgspec.json.decode(text), headers.get("X-Crosspoint-Level"), headers
            )

    async def call(self, router: str = "main", **fields: object) -> Asked:
        body = {"call_id": 17, "external_number": "+12125550142", **fields}
        if router == "signed":
            return await self.post(router, sign(msgspec.json.encode(body), SECRET.encode()))
        return await self.post(router, body)


Start = Callable[..., Awaitable[Running]]


def resources() -> list[RouterConfig | QueueConfig | AgentConfig]:
    default = Target(type=TargetType.OFFICE, id="1")
    support = {"support": Membership()}
    return [
        RouterConfig(id="main", name="Main", default_target=default, rules="acme"),
        RouterConfig(
            id="signed",
            name="Signed",
            default_target=default,
            rules="acme",
            secret=SecretRef(value=SECRET),
            previous_secret=SecretRef(value=OLD_SECRET),
        ),
        RouterConfig(id="quick", name="Quick", default_target=default, rules="acme", budget_ms=150),
        RouterConfig(id="norules", name="No rules", default_target=default, rules="absent"),
        QueueConfig(id="support", name="Support", call_center_id="8001"),
        AgentConfig(id="ada", name="Ada", user_id="3001", queues=support),
        AgentConfig(id="bob", name="Bob", endpoint="PJSIP/1002", queues=support),
    ]


def settings_in(folder: Path, url: str, **changes: object) -> Settings:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "acme.yaml").write_text(RULES)
    made = Settings(
        store=StoreSettings(url=url),
        data_dir=folder / "data",
        rules_dir=rules,
        foreign=ForeignSettings(allow=("127.0.0.0/8",)),
    )
    return msgspec.structs.replace(made, **changes)


async def apply(service: Service, *more: RouterConfig) -> None:
    """Write the resources and wait until the service knows them."""
    for resource in [*resources(), *more]:
        await service.resources.put(TENANT, resource, deadline=in_s(5))
    await until(lambda: all(service.directory.router(each.id) for each in more or [resources()[0]]))


async def until(holds: Callable[[], object], seconds: float = 10) -> None:
    """Wait for a condition, which may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.005)


def known_to_the_file(settings: Settings) -> None:
    """What a process knows that starts without a store: no secrets in clear."""
    routers = {each.id: each for each in resources() if isinstance(each, RouterConfig)}
    tenant = TenantResources(version=1, routers=routers)
    write_directory(settings.directory_file, {TENANT: tenant})


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a service against a store's URL; more than once gives more processes' worth."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(url: str, **changes: object) -> Running:
            settings = settings_in(tmp_path, url, **changes)
            service = await stack.enter_async_context(running(settings, url))
            server = HttpServer(application(service), RouteHandler(service.answering), 1.0)
            sock = hold_port("127.0.0.1", 0)
            await server.start(sock)
            stack.push_async_callback(server.close)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Running(service, f"http://127.0.0.1:{sock.getsockname()[1]}", session)

        yield begin


@pytest.fixture
async def main(start: Start, redis_url: str) -> Running:
    """A service at work, with everything there is."""
    at_work = await start(redis_url)
    await apply(at_work.service)
    return at_work
