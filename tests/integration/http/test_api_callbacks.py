"""Callbacks over the API: promised once per number and queue, in opening hours, to allowed numbers."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from router.call_record import Direction, Head
from router.deadline import in_s
from router.site.hours import OpeningHours
from router.site.resources import QueueConfig
from router.store.callbacks import Status
from tests.integration.http.api_server import ApiServer, api_server

BODY = {"queue": "support", "phone_number": "030 5551234"}
NEVER = OpeningHours(hours={"mon-sun": ()})


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(redis_url, tmp_path) as server:
        for queue in (
            QueueConfig(id="support", name="Support"),
            QueueConfig(id="sales", name="Sales"),
            QueueConfig(id="shut", name="Shut", calendar=NEVER),
        ):
            checked = msgspec.convert(msgspec.to_builtins(queue), QueueConfig)
            await server.resources.put("acme", checked, deadline=in_s(5))
        await server.keeper.refresh(in_s(5))
        yield server


async def test_a_callback_is_promised_seen_and_given_up(api: ApiServer):
    reply = await api.ask("POST", "/callbacks", BODY)
    assert reply.status == 201, reply.body
    made = reply.data
    assert (made["phone_number"], made["status"], made["attempts"]) == (
        "+49305551234",
        "waiting",
        0,
    )
    assert (await api.ask("GET", f"/callbacks/{made['id']}")).data == made
    assert (await api.ask("GET", "/callbacks")).data == [made]
    seen = (await api.ask("GET", "/callbacks", role="supervisor")).data[0]
    assert seen["phone_number"] == "+4930…34"
    assert (await api.ask("DELETE", f"/callbacks/{made['id']}")).status == 200
    left = (await api.ask("GET", f"/callbacks/{made['id']}")).data
    assert (left["status"], left["due_at"]) == ("cancelled", None)
    again = await api.ask("DELETE", f"/callbacks/{made['id']}")
    assert (again.status, again.code) == (409, "conflict")
    assert (await api.ask("DELETE", "/callbacks/none")).status == 404
    assert (await api.ask("POST", "/callbacks", BODY)).status == 201


async def test_the_calls_made_for_a_callback_lead_to_their_records_and_back(api: ApiServer):
    made = (await api.ask("POST", "/callbacks", BODY)).data
    claimed = {"owner": "pbx1", "deadline": in_s(5)}
    await api.telephony.callbacks.claim("acme", made["id"], lease_ms=9_000, **claimed)
    assert await api.telephony.callbacks.attempt("acme", made["id"], "c7", most=3, **claimed)
    assert (await api.ask("GET", f"/callbacks/{made['id']}")).data["calls"] == ["c7"]
    head = Head(
        id="c7",
        kind="callback_agent_first",
        pbx="pbx1",
        direction=Direction.OUTBOUND,
        began_ms=int(time.time() * 1000),
        callback=made["id"],
    )
    for other in (head, replace(head, id="c8", callback=None)):
        await api.telephony.records.append(
            "acme", other, [], end=None, keep_ms=60_000, deadline=in_s(5)
        )
    (record,) = (await api.ask("GET", f"/cdrs?callback={made['id']}")).data
    assert (record["id"], record["callback"]) == ("c7", made["id"])


async def test_a_number_is_promised_once_per_queue(api: ApiServer):
    assert (await api.ask("POST", "/callbacks", BODY)).status == 201
    twice = {**BODY, "phone_number": "+49 30 5551234"}
    for path in ("/callbacks", "/callbacks/validate"):
        reply = await api.ask("POST", path, twice)
        assert (reply.status, reply.code) == (409, "callback_duplicate"), path
    assert (await api.ask("POST", "/callbacks", {**BODY, "queue": "sales"})).status == 201
    assert (await api.ask("GET", "/callbacks")).body["total"] == 2


async def test_validation_promises_nothing(api: ApiServer):
    reply = await api.ask("POST", "/callbacks/validate", BODY)
    assert reply.data == {"queue": "support", "phone_number": "+49305551234"}
    assert (await api.ask("GET", "/callbacks")).data == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"phone_number": "+12125550142"}, 400, "invalid"),
        ({"phone_number": "0900 5 123456"}, 400, "invalid"),
        ({"phone_number": "12"}, 400, "invalid"),
        ({"phone_number": "1\n2"}, 400, "invalid"),
        ({"queue": "nowhere"}, 404, "not_found"),
        ({"queue": "shut"}, 409, "queue_closed"),
        ({"skils": {}}, 400, "invalid"),
    ],
)
@pytest.mark.parametrize("path", ["/callbacks", "/callbacks/validate"])
async def test_what_may_not_be_called_back_is_refused(
    api: ApiServer, path: str, change: dict[str, object], status: int, code: str
):
    reply = await api.ask("POST", path, {**BODY, **change})
    assert (reply.status, reply.code) == (status, code), reply.body
    assert (await api.ask("GET", "/callbacks")).data == []


async def test_what_there_is_not_is_named(api: ApiServer):
    reply = await api.ask("POST", "/callbacks", {**BODY, "queue": "nowhere"})
    assert reply.body["message"] == "there is no queue nowhere"
    reply = await api.ask("DELETE", "/callbacks/cb-x")
    assert (reply.status, reply.body["message"]) == (404, "there is no callback cb-x")


async def test_callbacks_are_filtered_and_paged(api: ApiServer):
    made = []
    for number in range(4):
        body = {"queue": "support" if number else "sales", "phone_number": f"030 555123{number}"}
        made.append((await api.ask("POST", "/callbacks", body)).data["id"])
    await api.ask("DELETE", f"/callbacks/{made[1]}")

    async def ids(query: str) -> set[str]:
        return {one["id"] for one in (await api.ask("GET", "/callbacks?" + query)).data}

    assert await ids("queue=support&status=waiting") == {made[2], made[3]}
    assert await ids("status=cancelled") == {made[1]}
    pages = [await ids(f"limit=2&offset={offset}") for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 2, 0]
    assert set.union(*pages) == set(made)
    assert "total" not in (await api.ask("GET", "/callbacks?limit=2")).body  # there is more
    assert (await api.ask("GET", "/callbacks?limit=2&offset=2")).body["total"] == 4
    assert (await api.ask("GET", f"/callbacks?status={Status.DONE}")).body["total"] == 0
    assert (await api.ask("GET", "/callbacks?status=odd")).data["field"] == "status"


async def test_another_tenant_has_callbacks_of_its_own_or_none_at_all(api: ApiServer):
    made = (await api.ask("POST", "/callbacks", BODY)).data["id"]
    assert (await api.ask("GET", "/callbacks", tenant="other")).data == []
    assert (await api.ask("GET", f"/callbacks/{made}", tenant="other")).status == 404
    assert (await api.ask("DELETE", f"/callbacks/{made}", tenant="other")).status == 404
    reply = await api.ask("POST", "/callbacks", BODY, tenant="other")
    assert (reply.status, reply.code) == (409, "conflict")
