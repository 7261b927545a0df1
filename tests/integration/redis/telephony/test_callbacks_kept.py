"""Callbacks on a real Redis: promised once, dialled once per attempt, settled whatever happens."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from pbx.machine.events import Matched, Placed
from pbx.machine.state import Kind
from router.deadline import in_s
from router.errors import ConflictError, InvalidInputError, NotFoundError, StoreDownError
from router.settings import CallbackSettings
from router.site.hours import OpeningHours
from router.store import keys
from router.store.callbacks import (
    MOST_CALLS,
    Callback,
    Callbacks,
    DuplicateCallbackError,
    Status,
)
from router.store.scripts import Script, load_script, make_script
from router.telephony.promises import ClosedError
from router.telephony.way_out import LONGEST_S, WayOut
from rules.actions import Enqueue
from tests.integration.redis.telephony.switchboard import (
    CALLER,
    DID,
    TENANT,
    Switchboard,
    call,
    queue,
    switchboard,
)

POLICY = CallbackSettings(tries=2, retry_seconds=1)


def broken(name: str, before: str, after: str) -> dict[str, Script]:
    source = load_script(name).source
    assert before in source
    return {name: make_script(name, source.replace(before, after))}


@pytest.fixture
async def board(redis_url: str) -> AsyncIterator[Switchboard]:
    async with switchboard(redis_url, callbacks=POLICY) as one:
        await one.has("ada")
        yield one


async def kept(board: Switchboard, callback_id: str) -> Callback:
    found = await board.callbacks.get(TENANT, callback_id, in_s(5))
    assert found is not None
    return found


async def look(board: Switchboard) -> None:
    """Once, at what has become due by now on the store's clock as well."""
    await board.later()
    await board.dialler.look()


async def until_begun(board: Switchboard, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(board.begun) < count:
            await board.dialler.look()
            await asyncio.sleep(0.01)


async def until_settled(board: Switchboard, callback_id: str, status: Status) -> Callback:
    async with asyncio.timeout(10):
        while (found := await kept(board, callback_id)).status is not status:
            await asyncio.sleep(0.01)
    return found


async def test_a_callback_rings_the_free_agent_and_then_dials_the_customer_over_the_trunk(
    board: Switchboard,
):
    about = await board.desk.create("support", "(212) 555-0142", in_s(5))
    await until_begun(board)
    (state,) = board.begun
    assert state.kind is Kind.CALLBACK_AGENT_FIRST
    assert state.agent is not None
    assert (state.agent.agent, state.customer_endpoint) == ("ada", f"PJSIP/{CALLER}@trunk")
    assert (state.caller_number, state.shown_number) == (CALLER, DID)
    assert (await kept(board, about.id)).status is Status.DIALLING
    board.dialler.closed(replace(state, is_up=True), ("answered", "customer_answered", "talking"))
    over = await until_settled(board, about.id, Status.DONE)
    assert (over.attempts, over.reason) == (1, "talked")


async def test_a_busy_customer_is_tried_again_and_then_given_up_with_the_reason(
    board: Switchboard,
):
    about = await board.desk.create("support", CALLER, in_s(5))
    for attempt in (1, 2):
        await until_begun(board, attempt)
        state = board.begun[-1]
        assert await board.queueing.confirm(state, "ada", state.token) is True
        await board.queueing.wrap_up("ada")
        board.dialler.closed(state, ("answered", "customer_busy"))
        await until_settled(board, about.id, Status.FAILED if attempt == 2 else Status.WAITING)
    over = await kept(board, about.id)
    assert (over.attempts, over.reason) == (2, "busy")
    assert over.calls == tuple(state.id for state in board.begun)
    assert len({about.id, *over.calls}) == 3  # each is a call of its own
    await board.desk.create("support", CALLER, in_s(5))  # its number may be called back anew


async def test_a_trunk_that_takes_no_calls_costs_no_attempt_and_holds_all_of_them_up(
    board: Switchboard,
):
    now_s = time.time()
    board.dialler._way_out = WayOut(lambda: now_s)
    first = await board.desk.create("support", CALLER, in_s(5))
    other = await board.desk.create("support", "+12125550199", in_s(5))
    for tried in (1, 2, 3):  # the settings allow two
        await until_begun(board, tried)
        state = board.begun[-1]
        assert state.callback is not None
        assert await board.queueing.confirm(state, "ada", state.token) is True
        await board.queueing.wrap_up("ada")
        board.dialler.closed(state, ("answered", "trunk_unreachable"))
        found = await until_settled(board, state.callback, Status.WAITING)
        assert (found.attempts, found.reason) == (0, "trunk_unreachable")
        assert found.due_ms is not None
        assert found.due_ms - time.time() * 1000 > 25_000
        for _ in range(3):
            await look(board)
        assert len(board.begun) == tried  # the other one is not tried meanwhile
        now_s += LONGEST_S
        for one in (first, other):
            await board.dialler._see_to(one.id)
    state = board.begun[-1]
    assert state.callback is not None
    board.dialler.closed(state, ("answered", "customer_busy"))
    found = await until_settled(board, state.callback, Status.WAITING)
    assert (found.attempts, found.reason) == (1, "busy")
    assert not board.dialler._way_out.is_failing


async def test_a_number_that_the_trunk_refuses_while_others_get_out_uses_up_its_tries(
    board: Switchboard,
):
    now_s = time.time()
    board.dialler._way_out = WayOut(lambda: now_s)
    about = await board.desk.create("support", CALLER, in_s(5))
    for tried, counted in ((1, 0), (2, 1), (3, 2)):
        await until_begun(board, tried)
        state = board.begun[-1]
        assert await board.queueing.confirm(state, "ada", state.token) is True
        await board.queueing.wrap_up("ada")
        board.dialler.closed(state, ("answered", "trunk_unreachable"))
        status = Status.FAILED if counted == POLICY.tries else Status.WAITING
        found = await until_settled(board, about.id, status)
        assert (found.attempts, found.reason) == (counted, "trunk_unreachable")
        somebody = replace(state, id="f" * 32, callback=None, is_up=True)
        board.dialler.closed(somebody, ("answered", "customer_answered", "talking"))
        now_s += LONGEST_S
        await board.dialler._see_to(about.id)


async def test_a_callback_whose_time_is_over_while_the_trunk_is_away_ends_with_that_reason(
    board: Switchboard,
):
    about = await board.desk.create("support", CALLER, in_s(5))
    board.dialler._way_out.fails()
    board.now_s = lambda: time.time() + 8 * 24 * 3600
    await board.dialler._see_to(about.id)
    over = await kept(board, about.id)
    assert (over.status, over.reason) == (Status.FAILED, "trunk_unreachable")


async def test_an_agent_who_does_not_answer_costs_no_attempt(board: Switchboard):
    about = await board.desk.create("support", CALLER, in_s(5))
    await until_begun(board)
    board.dialler.closed(board.begun[0], ("offer_declined",))
    found = await until_settled(board, about.id, Status.WAITING)
    assert found.attempts == 0


async def test_after_a_crash_an_attempt_of_unknown_outcome_counts_and_is_not_repeated(
    redis_url: str, board: Switchboard
):
    about = await board.desk.create("support", CALLER, in_s(5))
    await until_begun(board)
    async with switchboard(
        redis_url, callbacks=POLICY
    ) as after:  # same PBX, nothing in the journal
        await after.dialler._see_to(about.id)
        assert after.begun == []
        found = await kept(after, about.id)
        assert (found.status, found.attempts, found.reason) == (Status.WAITING, 1, "unknown")
        assert found.calls == (board.begun[0].id,)


async def test_a_call_that_goes_on_is_taken_over_with_its_callback(
    redis_url: str, board: Switchboard
):
    about = await board.desk.create("support", CALLER, in_s(5))
    await until_begun(board)
    async with switchboard(redis_url, callbacks=POLICY) as after:
        after.dialler.adopt(board.begun)
        await after.dialler.look()
        assert after.begun == []
        after.dialler.closed(replace(board.begun[0], is_up=True), ("talking",))
        assert (await until_settled(after, about.id, Status.DONE)).attempts == 1


@pytest.mark.parametrize(("keep_days", "kept_days"), [(1, 1), (90, 30)])
async def test_what_is_over_is_kept_no_longer_than_call_records(
    board: Switchboard, keep_days: int, kept_days: int
):
    about = await board.desk.create("support", CALLER, in_s(5))
    await Callbacks(board.links, keep_days=keep_days).cancel(TENANT, about.id, in_s(5))
    key = keys.callback(TENANT, about.id)
    left_ms = await board.links.link_for(TENANT).call("PTTL", key, deadline=in_s(5))
    assert isinstance(left_ms, int)
    assert 0 <= kept_days * 24 * 3_600_000 - left_ms < 60_000
    # What has lapsed leaves its id in the list, and harms nobody there.
    await board.links.link_for(TENANT).call("DEL", key, deadline=in_s(5))
    assert await board.callbacks.find(TENANT, in_s(5)) == []


async def test_the_end_of_an_attempt_that_is_not_this_ones_settles_nothing(board: Switchboard):
    about = await board.desk.create("support", CALLER, in_s(5))
    await until_begun(board)
    stray = replace(board.begun[0], id="f" * 32, is_up=True)
    board.dialler.closed(stray, ("talking",))
    assert not board.dialler._settling
    assert (await kept(board, about.id)).status is Status.DIALLING


async def test_the_agent_of_a_callback_is_on_the_call_and_free_after_it(board: Switchboard):
    """The store knows the agent by the callback that stood in line; who talks is known by the call."""
    await board.desk.create("support", CALLER, in_s(5))
    await until_begun(board)
    (state,) = board.begun
    assert await board.queueing.confirm(state, "ada", state.token) is True
    view = await board.agents.get(TENANT, "ada", in_s(5))
    assert view is not None
    assert (view.effective.state, view.record.call) == ("on_call", state.id)
    await board.queueing.wrap_up("ada")
    assert await board.state_of("ada") == "available"


async def test_of_very_many_calls_the_last_ones_are_known(board: Switchboard):
    about = await board.desk.create("support", CALLER, in_s(5))
    await board.callbacks.claim(TENANT, about.id, owner="pbx1", lease_ms=60_000, deadline=in_s(5))
    link, key = board.links.link_for(TENANT), keys.callback(TENANT, about.id)
    for number in range(MOST_CALLS + 2):
        assert await board.callbacks.attempt(
            TENANT, about.id, f"c{number}", owner="pbx1", most=1_000, deadline=in_s(5)
        )
        await link.call("HSET", key, "status", "waiting", deadline=in_s(5))
    calls = (await kept(board, about.id)).calls
    assert (len(calls), calls[0], calls[-1]) == (MOST_CALLS, "c2", f"c{MOST_CALLS + 1}")


async def _dialled_by_two(redis_url: str, scripts: dict[str, Script] | None) -> int:
    async with (
        switchboard(redis_url, callbacks=POLICY, scripts=scripts) as here,
        switchboard(redis_url, callbacks=POLICY, scripts=scripts, name="pbx2") as there,
    ):
        for agent in ("ada", "ben"):
            await here.has(agent)
        for number in range(8):
            await here.desk.create("support", f"+1212555{number:04}", in_s(5))
        for _ in range(20):
            await asyncio.gather(here.dialler.look(), there.dialler.look())
            for board in (here, there):
                for state in board.begun:
                    if await board.queueing.confirm(state, _agent(state), state.token):
                        await board.queueing.wrap_up(_agent(state))
        numbers = [state.caller_number for board in (here, there) for state in board.begun]
        assert len(set(numbers)) == 8
        return len(numbers)


def _agent(state: object) -> str:
    agent = getattr(state, "agent", None)
    assert agent is not None
    return str(agent.agent)


async def test_two_pbxs_dial_each_number_once(redis_url: str):
    assert await _dialled_by_two(redis_url, None) == 8


async def test_without_counting_before_dialling_numbers_are_dialled_twice(redis_url: str):
    first = broken("callback_attempt", "if v[1] ~= 'waiting' or v[2]", "if false and v[2]")
    both = first | broken("callback_claim", "if v[6] ~= ''", "if false and v[6] ~= ''")
    async with switchboard(redis_url, callbacks=POLICY, scripts=both) as board:
        about = await board.desk.create("support", CALLER, in_s(5))
        for owner in ("pbx1", "pbx2"):
            given = {"owner": owner, "deadline": in_s(5)}
            claimed = await board.callbacks.claim(TENANT, about.id, lease_ms=9000, **given)
            assert claimed is not None
            assert await board.callbacks.attempt(TENANT, about.id, f"to {owner}", most=3, **given)


async def test_a_claimed_callback_is_nobody_elses_and_is_attempted_once(board: Switchboard):
    about = await board.desk.create("support", CALLER, in_s(5))
    mine = {"owner": "pbx1", "deadline": in_s(5)}
    others = {"owner": "pbx2", "deadline": in_s(5)}
    assert await board.callbacks.claim(TENANT, about.id, lease_ms=9000, **mine)
    assert await board.callbacks.claim(TENANT, about.id, lease_ms=9000, **others) is None
    assert not await board.callbacks.attempt(TENANT, about.id, "c1", most=3, **others)
    assert await board.callbacks.attempt(TENANT, about.id, "c1", most=3, **mine)
    assert not await board.callbacks.attempt(TENANT, about.id, "c1", most=3, **mine)


async def _created_at_once(board: Switchboard) -> int:
    made = await asyncio.gather(
        *(board.desk.create("support", CALLER, in_s(5)) for _ in range(10)), return_exceptions=True
    )
    refused = [one for one in made if isinstance(one, DuplicateCallbackError)]
    assert len(refused) + sum(not isinstance(one, BaseException) for one in made) == 10
    return 10 - len(refused)


async def test_of_ten_promises_at_once_to_one_number_one_is_made(board: Switchboard):
    assert await _created_at_once(board) == 1
    with pytest.raises(DuplicateCallbackError):
        await board.desk.validate("support", CALLER, in_s(5))


async def test_a_promise_that_does_not_look_for_others_is_caught(redis_url: str):
    scripts = broken("callback_create", "if open then", "if false then")
    async with switchboard(redis_url, scripts=scripts) as board:
        assert await _created_at_once(board) == 10


async def test_what_may_not_be_called_back_is_refused(redis_url: str):
    hours = OpeningHours(hours={"mon-sun": ()})
    closed = queue("closed", calendar=hours, call_center_id="8002")
    async with switchboard(redis_url, queues=[queue(), closed]) as board:
        for number in ("+4930123456", "+19005550123", "911", "", "anonymous"):
            with pytest.raises(InvalidInputError):
                await board.desk.validate("support", number, in_s(5))
        with pytest.raises(NotFoundError):
            await board.desk.validate("nowhere", CALLER, in_s(5))
        with pytest.raises(ClosedError):
            await board.desk.validate("closed", CALLER, in_s(5))
        about = await board.desk.validate("8001", CALLER, in_s(5))
        assert (about.queue, about.number) == ("support", CALLER)


async def test_a_waiting_callback_can_be_cancelled_one_being_dialled_not(board: Switchboard):
    about = await board.desk.create("support", CALLER, in_s(5))
    await board.callbacks.cancel(TENANT, about.id, in_s(5))
    assert (await kept(board, about.id)).status is Status.CANCELLED
    await look(board)
    assert board.begun == []
    await board.later()
    again = await board.desk.create("support", CALLER, in_s(5))
    await until_begun(board)
    with pytest.raises(ConflictError):
        await board.callbacks.cancel(TENANT, again.id, in_s(5))
    # Both may have been made in the same millisecond: their order says nothing.
    statuses = {one.about.id: one.status for one in await board.callbacks.find(TENANT, in_s(5))}
    assert statuses == {about.id: Status.CANCELLED, again.id: Status.DIALLING}


async def test_a_callback_keeps_the_place_of_the_call_it_was_promised_in(board: Switchboard):
    other = call("+12125550150")
    taken = await board.arrives(other)
    assert isinstance(taken, Matched)
    first = call(CALLER)
    assert isinstance(await board.arrives(first), Placed)
    await board.later()
    second = call("+12125550143")
    assert isinstance(await board.arrives(second), Placed)
    arrival = await board.pbx_line.arrival(TENANT, first.id, in_s(5))
    about = replace(board.desk.check("support", CALLER), id=f"cb-{first.id}")
    await board.callbacks.create(TENANT, about, in_s(5), arrival_ms=arrival)
    await board.queueing.leave_line(first, keep=False)
    await look(board)
    await board.queueing.release("ada", taken.token)
    await until_begun(board)
    assert board.begun[0].callback == about.id
    assert second.id not in board.woken


async def test_customer_first_frees_the_agent_and_keeps_the_place(redis_url: str):
    settings = CallbackSettings(agent_first=False, retry_seconds=1)
    async with switchboard(redis_url, callbacks=settings) as board:
        board.desk._agent_first = False
        await board.has("ada")
        await board.desk.create("support", CALLER, in_s(5))
        await until_begun(board)
        (state,) = board.begun
        assert state.kind is Kind.CALLBACK_CUSTOMER_FIRST
        assert state.action == Enqueue(queue="support")
        assert await board.state_of("ada") == "available"
        assert isinstance(await board.arrives(state), Matched)


async def test_a_callback_of_more_tries_than_there_are_now_ends_and_takes_no_agent(
    board: Switchboard,
):
    about = await board.desk.create("support", CALLER, in_s(5))
    link, key = board.links.link_for(TENANT), keys.callback(TENANT, about.id)
    await link.call("HSET", key, "attempts", POLICY.tries, deadline=in_s(5))
    await look(board)
    assert board.begun == []
    assert await board.state_of("ada") == "available"
    over = await kept(board, about.id)
    assert (over.status, over.reason) == (Status.FAILED, "no_tries_left")


async def test_an_agent_without_a_phone_holds_no_callback_up(redis_url: str):
    agents = {"ada": None, "ben": "PJSIP/6002"}
    async with switchboard(redis_url, callbacks=POLICY, agents=agents) as board:
        for agent in agents:  # ada has been idle for longer
            await board.has(agent)
            await board.later()
        await board.desk.create("support", CALLER, in_s(5))
        await until_begun(board)
        assert _agent(board.begun[0]) == "ben"
        assert await board.state_of("ada") == "disabled"  # for a moment, as when a caller met them


async def test_a_cancelled_callback_leaves_the_line_and_takes_no_agent(board: Switchboard):
    await board.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
    about = await board.desk.create("support", CALLER, in_s(5))
    await look(board)
    assert await board.line.position(TENANT, "support", about.id, in_s(5)) is not None
    await board.callbacks.cancel(TENANT, about.id, in_s(5))
    await look(board)
    assert await board.line.position(TENANT, "support", about.id, in_s(5)) is None
    await board.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    await look(board)
    assert await board.state_of("ada") == "available"


async def test_a_cancelled_callback_leaves_the_line_though_the_store_fails_in_between(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch
):
    await board.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
    about = await board.desk.create("support", CALLER, in_s(5))
    await look(board)
    await board.callbacks.cancel(TENANT, about.id, in_s(5))

    async def fails(*_: object, **__: object) -> None:
        raise StoreDownError

    with monkeypatch.context() as patch:
        patch.setattr(board.pbx_line, "abandon", fails)
        with pytest.raises(StoreDownError):
            await look(board)
    await look(board)
    assert await board.line.position(TENANT, "support", about.id, in_s(5)) is None


async def test_a_callback_cancelled_as_an_agent_is_found_gives_the_agent_back(board: Switchboard):
    await board.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
    about = await board.desk.create("support", CALLER, in_s(5))
    await look(board)
    await board.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    await board.line.next_for_agent(
        TENANT, "ada", token="t" * 32, lease_ms=20_000, deadline=in_s(5)
    )
    assert await board.state_of("ada") == "reserved"
    await board.callbacks.cancel(TENANT, about.id, in_s(5))
    await look(board)
    assert await board.state_of("ada") == "available"


async def test_an_agent_found_for_a_waiting_callback_is_kept_as_long_as_the_phone_rings(
    board: Switchboard,
):
    """Whoever matches them takes a short lease only: who dials asks for what the ringing needs."""
    await board.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
    await board.desk.create("support", CALLER, in_s(5))
    await look(board)
    await board.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    await board.line.next_for_agent(TENANT, "ada", token="t" * 32, lease_ms=1_000, deadline=in_s(5))
    await until_begun(board)
    view = await board.agents.get(TENANT, "ada", in_s(5))
    assert view is not None
    assert view.effective.state == "ringing"
    assert view.effective.until_ms is not None
    assert view.effective.until_ms - view.now_ms > POLICY.ring_seconds * 1000


WEEK_HOURS = OpeningHours(timezone="UTC", hours={"mon-fri": ["08:00-18:00"]})
FRIDAY_EVENING = 1_764_352_200  # 2025-11-28 17:50 UTC, a Friday
MINUTE, HOUR = 60, 3_600


async def _promised_on_friday(redis_url: str, later_s: int) -> tuple[Status, str]:
    """How a callback stands that nobody got round to, so long after Friday 17:50 (UTC)."""
    settings = CallbackSettings(longest_wait_seconds=24 * HOUR)
    office = queue(calendar=WEEK_HOURS)
    async with switchboard(redis_url, callbacks=settings, queues=[office]) as board:
        board.now_s = lambda: FRIDAY_EVENING
        about = await board.desk.create("support", CALLER, in_s(5))
        link = board.links.link_for(TENANT)
        key = keys.callback(TENANT, about.id)
        await link.call("HSET", key, "created", FRIDAY_EVENING * 1000, deadline=in_s(5))
        board.now_s = lambda: FRIDAY_EVENING + later_s
        await look(board)
        found = await kept(board, about.id)
        return found.status, found.reason


@pytest.mark.parametrize(
    ("later_s", "wanted"),
    [
        (30 * HOUR, (Status.WAITING, "closed")),  # Saturday night
        (62 * HOUR + 11 * MINUTE, (Status.WAITING, "")),  # Monday 08:01
        (96 * HOUR, (Status.WAITING, "")),  # Tuesday 17:50: open for 20 h in between
        (120 * HOUR, (Status.FAILED, "waited_too_long")),  # Wednesday 17:50: 30 h
    ],
)
async def test_the_longest_wait_of_a_callback_counts_only_the_hours_in_which_its_queue_is_open(
    redis_url: str, later_s: int, wanted: tuple[Status, str]
):
    assert await _promised_on_friday(redis_url, later_s) == wanted
