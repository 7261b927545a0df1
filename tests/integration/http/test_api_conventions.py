"""What holds for every management endpoint: envelope, tokens, roles, tenants, bodies, paging."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from router.http import bodies
from router.http.health import Part
from router.http.roles import Access, access_of
from router.http.v1.endpoints import AnyEndpoint
from router.http.v1.routes import ENDPOINTS
from router.tokens import Role
from tests.integration.http.api_server import ApiServer, api_server


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(redis_url, tmp_path) as server:
        yield server


QUEUE = {"id": "support", "name": "Support"}


async def test_every_answer_is_in_the_envelope_and_carries_a_request_id(api: ApiServer):
    good = await api.ask("GET", "/auth/me")
    assert good.body["status"] == "success"
    assert good.headers["Content-Type"].startswith("application/json")
    assert len(good.headers["X-Request-Id"]) == 32
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "!/nowhere", 404),
        ("DELETE", "/auth/me", 405),
        ("POST", "!/healthz", 405),
        ("GET", "/routers/none", 404),
    ):
        bad = await api.ask(method, path)
        assert bad.status == status
        assert bad.body["status"] == "error"
        assert bad.data["request_id"] == bad.headers["X-Request-Id"]
        assert ("Allow" in bad.headers) == (status == 405)


async def test_a_sane_request_id_of_the_client_is_kept_and_a_strange_one_is_not(api: ApiServer):
    mine = await api.ask("GET", "/auth/me", headers={"X-Request-Id": "trace-12345"})
    assert mine.headers["X-Request-Id"] == "trace-12345"
    odd = await api.ask("GET", "/auth/me", headers={"X-Request-Id": "<script>alert(1)</script>"})
    assert "script" not in odd.headers["X-Request-Id"]


async def test_me_says_who_is_asking_and_what_may_be_done(api: ApiServer):
    reply = await api.ask("GET", "/auth/me", role="agent", sub="ada")
    assert (reply.data["sub"], reply.data["role"]) == ("ada", "agent")
    assert reply.data["expires_at"].endswith("Z")
    assert {"resource": "agents/duty", "method": "PUT", "access": "own"} in reply.data["may"]


@pytest.mark.parametrize("path", ["/auth/me", "/routers", "/agents/ada", "/decisions"])
async def test_without_a_good_token_nothing_is_told(api: ApiServer, path: str):
    for header in ("", "Basic x", "Bearer", "Bearer x.y.z", "Bearer " + "x" * 8000,
                   "Bearer " + jwt.encode({"sub": "a"}, "u" * 40)):  # fmt: skip
        reply = await api.ask("GET", path, headers={"Authorization": header})
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert reply.code == "token_refused"


async def test_every_endpoint_refuses_who_is_not_in_its_row(api: ApiServer):
    for row in ENDPOINTS:
        if row.path in {"/auth/me", "/queues", "/queues/{id}"} and row.method == "GET":
            continue
        path = row.path.replace("{id}", "bea")
        reply = await api.ask(row.method, path, role="agent", sub="ada", raw=b"{}")
        is_own_list = row.method == "GET" and row.path in {"/agents", "/calls", "/cdrs"}
        # What an agent may do with its own is decoded before it is known whose it is.
        wanted = {200} if is_own_list else {400, 403} if row.body and _is_own(row) else {403}
        assert reply.status in wanted, (row.method, row.path)


def _is_own(row: AnyEndpoint) -> bool:
    return access_of(Role.AGENT, row.resource, row.method) is Access.OWN and not row.is_agents


async def test_another_tenant_is_for_platform_admin_only(api: ApiServer):
    await api.ask("POST", "/queues", QUEUE)
    assert (await api.ask("GET", "/queues", tenant="other")).data == []
    assert (await api.ask("GET", "/queues/support", tenant="other")).status == 404
    assert (await api.ask("GET", "/queues?tenant_id=acme", tenant="other")).status == 403
    reply = await api.ask("GET", "/queues?tenant_id=acme", tenant="other", role="platform_admin")
    assert [queue["id"] for queue in reply.data] == ["support"]
    reply = await api.ask("GET", "/queues?tenant_id=}{", role="platform_admin")
    assert (reply.status, reply.data["field"]) == (400, "tenant_id")


async def test_unknown_fields_are_refused_by_name_with_the_nearest_one(api: ApiServer):
    reply = await api.ask("POST", "/queues", {**QUEUE, "ring_secnds": 20})
    assert (reply.status, reply.data["field"]) == (400, "ring_secnds")
    assert "'ring_seconds'" in reply.body["message"]
    reply = await api.ask("POST", "/queues", {**QUEUE, "hold_queue": {"max": 1}})
    assert (reply.status, reply.data["field"]) == (400, "hold_queue.max")
    assert (await api.ask("GET", "/queues")).body["total"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ring_seconds": 9}, "ring_seconds"),
        ({"ring_seconds": "30"}, "ring_seconds"),
        ({"strategy": "favourites"}, "strategy"),
        ({"hold_queue": {"max_hold_count": 0}}, "hold_queue.max_hold_count"),
        ({"calendar": {"hours": {"someday": ["08:00-18:00"]}}}, "calendar"),
        ({"id": "no spaces"}, "id"),
        ({"name": ""}, "name"),
    ],
)
async def test_a_wrong_value_is_refused_by_name(
    api: ApiServer, change: dict[str, object], field: str
):
    reply = await api.ask("POST", "/queues", {**QUEUE, **change})
    assert reply.status == 400
    assert (reply.data.get("field") or "").startswith(field)


async def test_a_body_that_is_no_json_is_refused_with_its_place(api: ApiServer):
    reply = await api.ask("POST", "/queues", raw=b'{"id": "x",\n "name" "y"}')
    assert (reply.status, reply.code) == (400, "bad_json")
    assert "line 2, column 9" in reply.body["message"]


async def test_a_body_over_a_megabyte_is_refused(api: ApiServer):
    too_large = b'{"id": "' + b"x" * 1_000_000 + b'"}'
    assert (await api.ask("POST", "/queues", raw=too_large)).status == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    async with api.session.post(
        api.url + "/api/v1/queues",
        data=chunks(),
        headers={"Authorization": f"Bearer {api.token()}"},
    ) as response:
        assert response.status == 413


async def test_half_a_body_is_given_up_in_time(api: ApiServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("router.http.v1.endpoints.REQUEST_S", 0.1)
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /api/v1/queues HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer " + api.token().encode() + b'\r\n\r\n{"id":'
    )
    answer = await reader.readuntil(b"\r\n")
    assert b" 408 " in answer
    writer.close()
    await writer.wait_closed()


async def test_lists_are_cut_by_limit_and_offset(api: ApiServer):
    for number in range(7):
        await api.ask("POST", "/queues", {"id": f"q{number}", "name": "Q"})
    reply = await api.ask("GET", "/queues?limit=3&offset=5")
    assert [queue["id"] for queue in reply.data] == ["q5", "q6"]
    assert (reply.body["total"], reply.body["limit"], reply.body["offset"]) == (7, 3, 5)
    assert (await api.ask("GET", "/queues")).body["limit"] == 50
    for query in ("limit=0", "limit=501", "limit=x", "offset=-1", "limit=1&limit=2", "limti=1"):
        bad = await api.ask("GET", "/queues?" + query)
        assert (bad.status, bad.data["field"]) == (400, query.partition("=")[0]), query


async def test_an_unforeseen_error_is_a_plain_500(api: ApiServer, monkeypatch: pytest.MonkeyPatch):
    def explode(*_args: object) -> None:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr("router.http.v1.endpoints.decode_object", explode)
    reply = await api.ask("POST", "/queues", QUEUE)
    assert (reply.status, reply.code) == (500, "internal")
    assert "hunter2" not in str(reply.body)
    assert "Traceback" not in str(reply.body)


async def test_a_store_that_is_gone_is_a_503_that_says_so(api: ApiServer):
    await api.links.close()
    reply = await api.ask("GET", "/queues")
    assert (reply.status, reply.code) == (503, "store_down")


async def test_health_readiness_metrics_and_the_document_need_no_token(api: ApiServer):
    api.parts = [Part(name="store", is_well=False, detail="reconnecting")]
    none = {"Authorization": ""}
    assert (await api.ask("GET", "!/healthz", headers=none)).data == {"live": True}
    ready = await api.ask("GET", "!/readyz", headers=none)
    assert (ready.status, ready.data["degraded"]) == (200, ["store"])
    api.parts = [Part(name="directory", is_well=False, is_needed=True)]
    unready = await api.ask("GET", "!/readyz", headers=none)
    assert (unready.status, unready.data["ready"]) == (503, False)
    document = await api.ask("GET", "!/openapi.json", headers=none)
    assert document.body["openapi"] == "3.1.0"
    async with api.session.get(api.url + "/metrics") as response:
        assert b"crosspoint_decision_seconds_bucket" in await response.read()


def test_the_limits_are_those_of_the_page():
    assert (bodies.MANAGEMENT_LIMIT, bodies.EVENT_LIMIT) == (1_000_000, 65_536)
