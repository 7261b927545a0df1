"""Platform events on a socket, over a real store: what moves, and what must not."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import structlog

from router import logs
from router.deadline import in_s
from router.platforms.dialpad.events import TIMES
from router.platforms.dialpad.signature import sign
from router.store.agents import Reserved
from router.store.agents_seen import StatusSeen
from router.store.facts import queue_facts
from router.tokens import sign_as_platform
from rules.actions import Strategy
from rules.requirements import Requirement
from tests.integration.http.api_server import ROUTER_SECRET, ApiServer, Reply, api_server
from tests.unit.api.dialpad_bodies import Body, agent_leg, agent_status, queue_leg

CALLER = "+12125550142"


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(redis_url, tmp_path) as server:
        await server.furnish()
        for agent in ("ada", "bea"):
            await server.agents.observe_status(
                "acme", agent, status=StatusSeen.AVAILABLE, at_ms=BEGAN_MS, deadline=in_s(5)
            )
        yield server


async def state(api: ApiServer, agent: str = "ada") -> str:
    view = await api.agents.get("acme", agent, in_s(5))
    assert view is not None
    return view.effective.state.value


async def reserve(api: ApiServer, call: str, **more: Any) -> Reserved | None:
    return await api.agents.reserve(
        "acme",
        request_id=f"request-{call}",
        call=call,
        requirement=Requirement("support"),
        strategy=Strategy.LONGEST_IDLE,
        lease_ms=10_000,
        wrap_up_ms=60_000,
        caller=CALLER,
        deadline=in_s(5),
        **more,
    )


async def waiting(api: ApiServer) -> int:
    facts = await queue_facts(api.links.link_for("acme"), "acme", ["support"], in_s(5))
    assert facts["support"].waiting is not None
    return facts["support"].waiting


BEGAN_MS = 1_770_000_000_000


def at(ms: int) -> dict[str, int]:
    return {"event_timestamp": BEGAN_MS + ms}


async def did(api: ApiServer, body: Body) -> str:
    reply = await api.event(body)
    assert reply.status == 200, reply.body
    return str(reply.data["did"])


# the normal course


async def test_a_reserved_agent_rings_talks_wraps_up_and_is_free(api: ApiServer):
    reserved = await reserve(api, "9000", exclude=["bea"])
    assert reserved is not None
    assert reserved.agents == ("ada",)
    await api.event(queue_leg("queued", **at(0)))
    for body, expected in (
        (agent_leg("ringing", **at(1)), "ringing"),
        (agent_leg("connected", **at(2)), "on_call"),
        (agent_leg("hangup", **at(3)), "wrap_up"),
        (agent_status("wrapup", **at(4)), "wrap_up"),
        (agent_status("available", **at(5)), "available"),
    ):
        reply = await api.event(body)
        assert (reply.data["agent"], reply.data["state"]) == ("ada", expected)


async def test_a_connected_leg_confirms_the_reservation_it_belongs_to(api: ApiServer):
    """The reserved call is 9000; the agent's leg only knows 9100, whose own events know both."""
    reserved = await reserve(api, "9000", exclude=["bea"])
    assert reserved is not None
    await api.event(queue_leg("queued", **at(0)))
    await api.event(agent_leg("connected", **at(1)))
    view = await api.agents.get("acme", "ada", in_s(5))
    assert view is not None
    assert (view.record.call, view.record.token) == ("9000", reserved.token)


async def test_who_talked_with_a_caller_is_asked_first_next_time(api: ApiServer):
    await api.event(agent_leg("connected", **at(1)))
    await api.event(agent_leg("hangup", **at(2)))
    await api.event(agent_status("available", **at(3)))
    # Now ada is idle for a shorter time than bea.
    reserved = await reserve(api, "9900", sticky_s=3600)
    assert reserved is not None
    assert reserved.agents == ("ada",)


async def test_an_event_dated_in_the_future_does_not_blind_an_agent(api: ApiServer):
    future = {"event_timestamp": 99_999_999_999_999}
    for state in ("ringing", "hangup"):
        await api.event(agent_leg(state, **future) | {"call_id": 9001})
    now = {"event_timestamp": int(time.time() * 1000) + 1_000}
    reply = await api.event(agent_leg("connected", **now) | {"call_id": 9009})
    assert (reply.data["did"], reply.data["state"]) == ("applied", "on_call")
    reserved = await reserve(api, "9900")
    assert reserved is not None
    assert reserved.agents == ("bea",)


async def test_a_leg_that_came_through_a_call_center_brings_its_wrap_up(api: ApiServer):
    await api.event(agent_leg("connected", **at(1)))
    assert (await api.event(agent_leg("hangup", **at(2)))).data["state"] == "wrap_up"
    direct: Body = {"call_id": 1, "entry_point_target": {}, "entry_point_call_id": None}
    await api.event(agent_status("available", **at(3)))
    await api.event(agent_leg("connected", **direct, **at(4)))
    assert (await api.event(agent_leg("hangup", **direct, **at(5)))).data["state"] == "available"


async def test_a_call_that_the_agent_makes_keeps_it_busy(api: ApiServer):
    out: Body = {"direction": "outbound", "call_id": 5, "entry_point_call_id": None}
    assert (await api.event(agent_leg("calling", **out, **at(1)))).data["state"] == "ringing"
    assert (await api.event(agent_leg("connected", **out, **at(2)))).data["state"] == "on_call"


async def test_unanswered_offers_are_counted_and_disable_at_the_limit(api: ApiServer):
    for number in range(3):
        reserved = await reserve(api, str(100 + number), exclude=["bea"])
        assert reserved is not None
        ids: Body = {"call_id": 100 + number, "entry_point_call_id": None}
        await api.event(agent_leg("ringing", **ids, **at(10 * number)))
        await api.event(agent_leg("missed", **ids, **at(10 * number + 1)))
    assert await state(api) == "disabled"


@pytest.mark.parametrize(
    ("on_duty_status", "expected"),
    [
        ("available", "available"),
        ("unavailable", "off_duty"),
        ("occupied", "on_call"),
        ("busy", "on_call"),
        ("wrapup", "wrap_up"),
        ("occupied-end", "available"),
        ("wrapup-end", "available"),
    ],
)
async def test_duty_statuses_are_followed(api: ApiServer, on_duty_status: str, expected: str):
    reply = await api.event(agent_status(on_duty_status, **at(1)))
    assert (reply.data["did"], reply.data["state"]) == ("applied", expected)


async def test_the_reason_for_being_off_duty_is_kept(api: ApiServer):
    away: Body = {"on_duty_status_reason": "lunch"}
    await api.event(agent_status("unavailable", **away, **at(1)))
    view = await api.agents.get("acme", "ada", in_s(5))
    assert view is not None
    assert (view.record.on_duty, view.record.reason) == (False, "lunch")


async def test_do_not_disturb_in_the_app_is_followed(api: ApiServer):
    away: Body = {"availability_status": "unavailable"}
    reply = await api.event(agent_status("available", **away, **at(1)))
    assert reply.data["state"] == "do_not_disturb"
    assert (await api.event(agent_status("available", **at(2)))).data["state"] == "available"


async def test_do_not_disturb_set_here_is_not_cleared_by_a_report(api: ApiServer):
    await api.agents.set_do_not_disturb("acme", "ada", on=True, deadline=in_s(5))
    reply = await api.event(agent_status("available", **at(1)))
    assert reply.data["state"] == "do_not_disturb"
    await api.agents.set_do_not_disturb("acme", "ada", on=False, deadline=in_s(5))
    assert await state(api) == "available"


# duplicates, disorder, missing events


COURSE = [
    queue_leg("queued", **at(0)),
    agent_leg("ringing", **at(1)),
    agent_leg("connected", **at(2)),
    agent_leg("hangup", **at(3)),
    agent_status("wrapup", **at(4)),
]


async def test_every_event_twice_is_the_same_as_once(api: ApiServer):
    await reserve(api, "9000", exclude=["bea"])
    for body in COURSE[1:]:
        first = await api.event(body)
        again = await api.event(body)
        assert again.data["did"] == "old"
        assert again.data["state"] == first.data["state"]


async def test_a_ringing_that_comes_after_connected_is_ignored(api: ApiServer):
    await api.event(agent_leg("connected", **at(2)))
    reply = await api.event(agent_leg("ringing", **at(1)))
    assert (reply.data["did"], reply.data["state"]) == ("old", "on_call")


async def test_a_connected_that_comes_after_its_hangup_is_ignored(api: ApiServer):
    await api.event(agent_leg("hangup", **at(3)))
    reply = await api.event(agent_leg("connected", **at(2)))
    assert (reply.data["did"], reply.data["state"]) == ("old", "available")


async def test_an_older_duty_status_is_ignored(api: ApiServer):
    await api.event(agent_status("available", **at(5)))
    reply = await api.event(agent_status("unavailable", **at(4)))
    assert (reply.data["did"], reply.data["state"]) == ("old", "available")


async def test_a_missing_hangup_is_made_good_by_the_duty_status(api: ApiServer):
    await api.event(agent_leg("connected", **at(1)))
    assert (await api.event(agent_status("available", **at(2)))).data["state"] == "available"


async def test_a_missing_hangup_is_made_good_by_the_next_call(api: ApiServer):
    await api.event(agent_leg("connected", **at(1)))
    second: Body = {"call_id": 9300, "entry_point_call_id": None}
    await api.event(agent_leg("connected", **second, **at(2)))
    assert (await api.event(agent_leg("hangup", **at(3)))).data["state"] == "on_call"
    assert (await api.event(agent_leg("hangup", **second, **at(4)))).data["state"] == "wrap_up"


async def test_a_missing_ringing_and_connected_leave_the_agent_as_it_was(api: ApiServer):
    assert (await api.event(agent_leg("hangup", **at(3)))).data["state"] == "available"


async def test_a_late_hangup_of_an_earlier_leg_does_not_end_the_later_one(api: ApiServer):
    """The call center rings ada, gives up, and rings ada again: two legs of one conversation."""
    await reserve(api, "9000", exclude=["bea"])
    await api.event(queue_leg("queued", **at(0)))
    second: Body = {"call_id": 9201}
    await api.event(agent_leg("ringing", **at(1)))
    await api.event(agent_leg("ringing", **second, **at(20)))
    await api.event(agent_leg("connected", **second, **at(21)))
    reply = await api.event(agent_leg("hangup", **at(10)))
    assert reply.data["state"] == "on_call"
    assert (await api.event(agent_leg("hangup", **second, **at(30)))).data["state"] == "wrap_up"


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_order_events_come_in_the_last_word_is_true(api: ApiServer, seed: int):
    """Two calls, shuffled, some doubled, some lost; then the platform says how it is."""
    chance = random.Random(seed)
    second: Body = {"call_id": 9300, "entry_point_call_id": 9150}
    events = [
        *COURSE,
        agent_leg("ringing", **second, **at(11)),
        agent_leg("connected", **second, **at(12)),
        agent_leg("hangup", **second, **at(13)),
        queue_leg("hangup", **at(14)),
    ]
    sent = [event for event in events * 2 if chance.random() < 0.7]
    chance.shuffle(sent)
    await reserve(api, "9000", exclude=["bea"])
    for body in sent:
        assert (await api.event(body)).status == 200
    # A reservation of ours outlives every report; it ends by hangup or by itself.
    for call in (9200, 9300):
        await api.event(agent_leg("hangup", call_id=call, entry_point_call_id=9100, **at(50)))
    assert (await api.event(agent_status("available", **at(100)))).data["state"] in {
        "available",
        "reserved",
    }
    assert await state(api, "bea") == "available"
    assert await waiting(api) == 0


# callers that the platform holds


def now_ms() -> int:
    return int(time.time() * 1000)


def held(state: str, **changes: object) -> Body:
    now = now_ms()
    return queue_leg(state, **{"date_queued": now - 5000, "event_timestamp": now, **changes})


async def test_callers_held_by_the_platform_count_as_waiting_until_they_leave(api: ApiServer):
    assert await did(api, held("queued")) == "held"
    assert await did(api, held("queued")) == "held"
    assert await waiting(api) == 1
    assert await did(api, held("connected", operator_call_id=None)) == "ignored"
    assert await waiting(api) == 1
    assert await did(api, held("connected", date_connected=now_ms())) == "left"
    assert await waiting(api) == 0


@pytest.mark.parametrize("end", ["hangup", "missed", "voicemail"])
async def test_however_a_held_call_ends_it_is_counted_no_more(api: ApiServer, end: str):
    await api.event(held("queued"))
    assert await did(api, held(end)) == "left"
    assert await did(api, held(end)) == "old"
    assert await did(api, held("queued")) == "old"
    assert await waiting(api) == 0


async def test_a_held_call_whose_end_is_never_told_stops_counting(api: ApiServer):
    await api.event(held("queued", date_queued=now_ms() - 3_600_000))
    async with asyncio.timeout(5):
        while await waiting(api):
            await asyncio.sleep(0)  # its time ends with this millisecond


# the door


def signed(body: Body, secret: str = ROUTER_SECRET, **claims: object) -> bytes:
    return sign_as_platform({**body, **claims}, secret).encode()


async def test_a_router_with_a_secret_takes_signed_events(api: ApiServer):
    body = agent_status("busy", **at(1))
    assert (await api.event(signed(body), "signed")).data["state"] == "on_call"
    quoted = b' "' + signed(agent_status("available", **at(2))) + b'"\n'
    assert (await api.event(quoted, "signed")).data["state"] == "available"


@pytest.mark.parametrize(
    "body",
    [
        agent_status("busy"),
        signed(agent_status("busy"), "x" * 40),
        signed(agent_status("busy"), exp=1),
        signed(agent_status("busy"))[:-4] + b"AAAA",
        b"eyJhbGciOiJub25lIn0.e30.",
        b"",
    ],
)
async def test_an_event_that_is_not_signed_as_demanded_moves_nothing(api: ApiServer, body: object):
    reply = await api.event(body, "signed")
    assert (reply.status, reply.code) == (401, "bad_signature")
    assert await state(api) == "available"


async def test_events_of_an_unknown_router_are_refused(api: ApiServer):
    assert (await api.event(agent_status("busy"), "nobody")).status == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"a":' * 9000])
async def test_an_unreadable_event_is_refused_as_such(api: ApiServer, body: bytes):
    assert (await api.event(body)).status in {400, 401}


async def test_an_event_of_more_than_64_kib_is_refused(api: ApiServer):
    body = agent_status("busy", powerdialer_session="x" * 70_000)
    assert (await api.event(body)).status == 413


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "ignored"),
        (agent_leg("recap_summary"), "ignored"),
        (agent_leg("not_yet_invented"), "ignored"),
        (agent_leg("ringing", target={"id": 4711, "type": "user"}), "unknown_agent"),
        (agent_status("busy", target={"id": 4711, "phone_number": CALLER}), "unknown_agent"),
        (queue_leg("queued", target={"id": 4711, "type": "callcenter"}), "unknown_queue"),
    ],
)
async def test_what_means_nothing_here_is_taken_and_ignored(
    api: ApiServer, body: Body, expected: str
):
    reply = await api.event(body)
    assert (reply.status, reply.data["did"]) == (200, expected)


async def test_events_are_counted_by_what_became_of_them(api: ApiServer):
    await api.event(agent_status("busy", **at(1)))
    await api.event({})
    await api.event(agent_status("busy"), "signed")
    await api.event(b"{")
    text = api.observer.exposition().decode()
    for outcome in ("done", "ignored", "unauthenticated", "unreadable"):
        assert f'crosspoint_platform_events_total{{outcome="{outcome}"}} 1.0' in text


async def test_an_event_without_a_time_happens_now_whatever_our_clock_says(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
):
    slow = SimpleNamespace(time=lambda: time.time() - 300)
    monkeypatch.setattr("router.http.events.routes.time", slow)
    await api.agents.set_duty("acme", "ada", on=True, deadline=in_s(5))
    undated = {"date": None, "event_timestamp": None}
    reply = await api.event(agent_status("unavailable", **undated))
    assert (reply.data["did"], reply.data["state"]) == ("applied", "off_duty")
    assert (await api.event(agent_leg("connected", **dict.fromkeys(TIMES)))).data[
        "did"
    ] == "applied"
    assert (await api.event(agent_leg("hangup", **dict.fromkeys(TIMES)))).data["did"] == "applied"
    assert (await api.event(queue_leg("queued", **dict.fromkeys(TIMES)))).data["did"] == "held"
    assert (await api.event(queue_leg("hangup", **dict.fromkeys(TIMES)))).data["did"] == "left"


@pytest.mark.parametrize("body", [b"abc", b"a.b.c"])
async def test_what_cannot_be_read_at_a_router_without_a_secret_lacks_no_signature(
    api: ApiServer, body: bytes
):
    reply = await api.event(body)
    assert (reply.status, reply.code) == (400, "unreadable")


async def test_a_store_that_is_gone_asks_the_platform_to_come_again(api: ApiServer):
    await api.links.close()
    reply: Reply = await api.event(agent_status("busy", **at(1)))
    assert (reply.status, reply.code) == (503, "store_down")


async def test_no_number_comes_back_in_an_answer(api: ApiServer):
    for body in (*COURSE, agent_status("busy", **at(9))):
        assert "5550142" not in str((await api.event(body)).body)


async def test_no_number_and_no_name_gets_into_the_logs(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
):
    lines: list[bytes] = []
    handlers = logging.getLogger().handlers[:]
    pipe = logs.configure("debug", write=lines.append)
    try:
        for body in (*COURSE, agent_status("busy", **at(9)), {"state": CALLER}):
            await api.event(body)
        monkeypatch.setattr("router.http.events.routes.read_event", _explode)
        assert (await api.event(agent_leg("ringing"))).status == 500
        await api.links.close()
    finally:
        pipe.close()
        logging.getLogger().handlers[:] = handlers
        structlog.reset_defaults()
    text = b"".join(lines).decode()
    assert "event_taken" in text
    assert "request_failed" in text
    for private in ("5550142", "5550121", "Ada Example", "op1@example"):
        assert private not in text


def _explode(body: Body) -> None:
    raise RuntimeError(f"cannot read the event of {body['external_number']}")


async def test_both_signers_make_what_the_door_takes(api: ApiServer):
    body = agent_status("busy", **at(1))
    token = sign(msgspec.json.encode(body), ROUTER_SECRET.encode())
    assert (await api.event(token, "signed")).data["state"] == "on_call"
