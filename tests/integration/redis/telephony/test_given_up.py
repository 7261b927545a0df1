"""The calls of a PBX that nobody runs any more, on a real Redis."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from pbx.machine.events import Matched, Placed
from pbx.machine.state import CallState, Leg, Phase
from router.call_record import CallRecord, Disposition
from router.deadline import in_s
from router.errors import ConflictError
from router.store import keys
from router.store.call_records import CallRecords
from router.store.live_calls import LiveCalls
from router.store.pbx_commands import PbxCommands
from router.telephony.given_up import SILENT_MS, GivenUp
from router.telephony.journal import LiveJournal
from router.telephony.records import StoreRecords
from tests.integration.redis.telephony.switchboard import (
    TENANT,
    Switchboard,
    call,
    switchboard,
)

OLD = "old"


@pytest.fixture
async def board(redis_url: str) -> AsyncIterator[Switchboard]:
    async with switchboard(redis_url) as one:
        for agent in ("ada", "ben"):
            await one.has(agent)
        yield one


def given_up(board: Switchboard) -> GivenUp:
    return GivenUp(board.links, board.agents, TENANT, keep_days=1)


async def seen(board: Switchboard, ago_ms: int) -> int:
    """The controller of the old PBX was last seen so long ago; when that was."""
    link = board.links.link_for(TENANT)
    seen_ms = link.redis_deadline_ms(in_s(0)) - ago_ms
    await link.call("ZADD", keys.pbxs(TENANT), seen_ms, OLD, deadline=in_s(5))
    return seen_ms


async def going_on(board: Switchboard) -> list[CallState]:
    """One that talks with an agent, one that an agent is rung for, one in the line; as the old PBX left them."""
    found: list[CallState] = []
    for _ in range(3):
        state = call()
        plan = await board.plan(state)
        answer = await board.queueing.stand_in_line(state, plan)
        state = replace(state, phase=Phase.HOLDING, queue=plan, in_line=True)
        if isinstance(answer, Matched):
            (offer,) = answer.offers
            leg = Leg(id=offer.leg, endpoint=offer.endpoint, agent=offer.agent)
            state = replace(state, offers=(leg,), token=answer.token)
            if not found:
                assert await board.queueing.confirm(state, offer.agent or "", answer.token)
                up = replace(leg, is_up=True)
                state = replace(state, phase=Phase.TALKING, offers=(), agent=up, token="")
        else:
            assert isinstance(answer, Placed)
        found.append(state)
    records = StoreRecords(CallRecords(board.links), TENANT, OLD)
    journal = LiveJournal(LiveCalls(board.links), records, TENANT, OLD)
    for state in found:
        await journal.save(state)
    assert [await board.state_of(agent) for agent in ("ada", "ben")] == ["on_call", "ringing"]
    return found


async def record_of(board: Switchboard, state: CallState) -> CallRecord | None:
    return await CallRecords(board.links).get(TENANT, state.id, in_s(5))


async def test_calls_of_a_pbx_that_is_silent_for_long_end_and_their_agents_are_free(
    board: Switchboard,
):
    states = await going_on(board)
    seen_ms = await seen(board, SILENT_MS + 1000)
    assert await given_up(board).look() == 3
    assert await LiveCalls(board.links).load(TENANT, OLD, in_s(5)) == {}
    assert OLD not in await PbxCommands(board.links).pbxs(TENANT, in_s(5))
    assert [await board.state_of(agent) for agent in ("ada", "ben")] == ["available"] * 2
    assert await board.pbx_line.arrival(TENANT, states[2].id, in_s(5)) is None
    for state in states:
        record = await record_of(board, state)
        assert record is not None
        assert record.disposition is not Disposition.LIVE
        assert (record.pbx, record.ended_ms) == (OLD, seen_ms)
        assert [event.what for event in record.events] == ["pbx_given_up"]
    assert await given_up(board).look() == 0


async def test_calls_of_a_pbx_that_was_seen_since_go_on(board: Switchboard):
    await going_on(board)
    await seen(board, SILENT_MS - 60_000)
    assert await given_up(board).look() == 0
    assert len(await LiveCalls(board.links).load(TENANT, OLD, in_s(5))) == 3
    assert await given_up(board).end_calls_of(OLD) == 3  # a person knows better


async def test_whoever_runs_the_pbx_keeps_its_calls(board: Switchboard):
    await going_on(board)
    live = LiveCalls(board.links)
    await seen(board, SILENT_MS + 1000)
    assert await live.lead(TENANT, OLD, token="theirs", lease_ms=60_000, deadline=in_s(5))
    with pytest.raises(ConflictError):
        await given_up(board).end_calls_of(OLD)
    assert await live.lead(TENANT, OLD, token="theirs", lease_ms=0, deadline=in_s(5))
    await seen(board, 0)  # not in charge yet, but there
    with pytest.raises(ConflictError):
        await given_up(board).end_calls_of(OLD)
    assert len(await live.load(TENANT, OLD, in_s(5))) == 3


async def test_whoever_comes_back_at_that_moment_waits_and_takes_nothing_over(board: Switchboard):
    await going_on(board)
    await seen(board, SILENT_MS + 1000)
    live, theirs = LiveCalls(board.links), list[bool]()
    one = given_up(board)
    end = one._end

    async def while_it_ends(records: StoreRecords, pbx: str, call_id: str, written: bytes) -> None:
        theirs.append(await live.lead(TENANT, OLD, token="back", lease_ms=1000, deadline=in_s(5)))
        await end(records, pbx, call_id, written)

    one._end = while_it_ends  # type: ignore[method-assign]
    assert await one.look() == 3
    assert theirs == [False] * 3
    assert await live.lead(TENANT, OLD, token="back", lease_ms=1000, deadline=in_s(5))
    assert await live.load(TENANT, OLD, in_s(5)) == {}


async def test_what_another_version_has_written_is_forgotten(board: Switchboard):
    live = LiveCalls(board.links)
    await live.save(TENANT, OLD, {"f" * 32: b"{}"}, in_s(5))
    await seen(board, SILENT_MS + 1000)
    assert await given_up(board).look() == 1
    assert await live.load(TENANT, OLD, in_s(5)) == {}
