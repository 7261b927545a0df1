"""The management API and the events endpoint on a socket, over a real store. One per test."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from router import metrics
from router.deadline import in_s
from router.http import envelope, health
from router.http.events.apply import EventApplier
from router.http.events.routes import EventDoor
from router.http.events.routes import routes as event_routes
from router.http.v1.endpoints import Management
from router.http.v1.routes import routes as api_routes
from router.metrics import Observer
from router.rulesets.in_force import Rulesets
from router.settings import PbxSettings
from router.site.keeper import DirectoryKeeper
from router.site.resources import AgentConfig, QueueConfig, RouterConfig
from router.site.secret_refs import SecretRef, resolve_secret
from router.store.agents import Agents
from router.store.endpoints import parse_store_url
from router.store.legs import Legs
from router.store.line import Line
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.resources import Resources
from router.telephony.remote import Telephony
from router.tokens import Tokens
from rules.actions import Target, TargetType

SECRET = "t" * 40
ROUTER_SECRET = "r" * 40
PBX = PbxSettings(
    tenant="acme", country="DE", trunk_endpoint="PJSIP/{number}@trunk", caller_id="+4930100"
)
TARGET = Target(type=TargetType.DEPARTMENT, id="6001")


class Reply(msgspec.Struct, frozen=True):
    """What came back. `body` is the whole envelope."""

    status: int
    headers: Mapping[str, str]
    body: Any  # decoded JSON

    @property
    def data(self) -> Any:  # decoded JSON
        return self.body.get("data")

    @property
    def code(self) -> str:
        return str(self.data["code"])


class ApiServer:
    """A running server and a client that is somebody."""

    def __init__(self, links: Links, session: aiohttp.ClientSession, rules_dir: Path) -> None:
        self.links = links
        self.session = session
        self.url = ""
        self.tokens = Tokens(secret=SECRET)
        self.agents = Agents(links)
        self.line = Line(links)
        self.resources = Resources(links, AgentsAndQueues(self.agents))
        self.keeper = DirectoryKeeper(self.resources, lambda ref: resolve_secret(ref, {}, _no_file))
        self.rulesets = Rulesets(rules_dir, time.time)
        self.observer = Observer()
        self.telephony = Telephony(
            links,
            lambda: self.keeper.directory,
            settings=PBX,
            recordings_dir=rules_dir / "recordings",
        )
        self.parts: list[health.Part] = []

    def application(self) -> web.Application:
        app = web.Application(middlewares=envelope.middlewares(), client_max_size=2**20)
        management = Management(
            tokens=self.tokens,
            directory=lambda: self.keeper.directory,
            resources=self.resources,
            agents=self.agents,
            links=self.links,
            rulesets=self.rulesets,
            telephony=self.telephony,
        )
        door = EventDoor(
            directory=lambda: self.keeper.directory,
            applier=EventApplier(self.agents, self.line, Legs(self.links)),
            observer=self.observer,
        )
        app.add_routes(api_routes(management))
        app.add_routes(event_routes(door))
        app.add_routes(health.routes(lambda: self.parts))
        app.add_routes(metrics.routes(self.observer))
        return app

    def token(self, role: str = "admin", *, sub: str = "boss", tenant: str = "acme") -> str:
        return self.tokens.make({"sub": sub, "tenant_id": tenant, "role": role}, ttl_s=600)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        role: str = "admin",
        sub: str = "boss",
        tenant: str = "acme",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request under `/api/v1` as somebody; paths that begin with `!` are taken as they are."""
        sent = {"Authorization": f"Bearer {self.token(role, sub=sub, tenant=tenant)}"}
        url = self.url + (path[1:] if path.startswith("!") else "/api/v1" + path)
        data = raw if raw is not None else None if body is None else msgspec.json.encode(body)
        async with self.session.request(
            method, url, data=data, headers={**sent, **(headers or {})}
        ) as response:
            text = await response.read()
            return Reply(response.status, response.headers, msgspec.json.decode(text))

    async def event(self, body: object, router: str = "plain") -> Reply:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.post(f"{self.url}/events/{router}", data=data) as response:
            text = await response.read()
            return Reply(response.status, response.headers, msgspec.json.decode(text))

    async def furnish(self) -> None:
        """A queue, two agents, a router without and one with a secret; the directory knows them."""
        for resource in (
            QueueConfig(id="support", name="Support", call_center_id="8001", wrap_up_seconds=60),
            AgentConfig(id="ada", name="Ada", user_id="3001", queues={"support": {}}),
            AgentConfig(id="bea", name="Bea", user_id="3002", queues={"support": {}}),
            RouterConfig(id="plain", name="Plain", rules="acme", default_target=TARGET),
            RouterConfig(
                id="signed",
                name="Signed",
                rules="acme",
                default_target=TARGET,
                secret=SecretRef(value=ROUTER_SECRET),
            ),
        ):
            await self.resources.put(
                "acme",
                msgspec.convert(msgspec.to_builtins(resource), type(resource)),
                deadline=in_s(5),
            )
        await self.keeper.refresh(in_s(5))


@contextlib.asynccontextmanager
async def api_server(store_url: str, rules_dir: Path) -> AsyncIterator[ApiServer]:
    """A server on a port of its own until the block is left."""
    links = Links(parse_store_url(store_url)).start()
    try:
        await links.wait_open(in_s(10))
        async with aiohttp.ClientSession() as session:
            server = ApiServer(links, session, rules_dir)
            runner = web.AppRunner(server.application(), access_log=None, auto_decompress=False)
            await runner.setup()
            try:
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield server
            finally:
                await runner.cleanup()
    finally:
        await links.close()


def _no_file(path: str) -> str:
    raise FileNotFoundError(path)
