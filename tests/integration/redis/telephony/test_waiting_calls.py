"""Calls that wait on one or two PBXs for agents, on a real Redis."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from pbx.machine.events import Gone, Matched, NotPlaced, NotPlacedBecause, Placed
from pbx.machine.plans import LegId, QueuePlan
from pbx.machine.state import CallState, Leg, Phase
from router.deadline import Deadline, in_s
from router.errors import OutcomeUnknownError, StoreDownError
from router.site.directory import build
from router.site.hours import OpeningHours
from router.site.resources import HoldQueue
from router.store import keys
from router.store.pbx_line import Seen
from router.store.scripts import Script, load_script, make_script
from router.telephony import queueing
from rules.actions import End, Enqueue, ReserveAgent
from tests.integration.redis.telephony.switchboard import (
    CALLER,
    TENANT,
    Switchboard,
    call,
    directory,
    queue,
    switchboard,
)
from tests.servers import Server


def broken(name: str, before: str, after: str) -> dict[str, Script]:
    source = load_script(name).source
    assert before in source
    return {name: make_script(name, source.replace(before, after))}


async def confirmed(board: Switchboard, state: CallState, match: Matched) -> str:
    (offer,) = match.offers
    assert offer.agent is not None
    assert await board.queueing.confirm(_holding(board, state), offer.agent, match.token) is True
    return offer.agent


async def test_a_free_agent_is_offered_at_once_and_asking_again_rings_the_same_leg(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        state = call()
        first = await board.arrives(state)
        again = await board.arrives(state)
        assert isinstance(first, Matched)
        assert isinstance(again, Matched)
        assert (first.offers, first.token) == (again.offers, again.token)
        assert first.offers[0].endpoint == "PJSIP/6001"
        assert await board.state_of("ada") == "ringing"


async def test_a_phone_rings_without_waiting_for_the_store_unless_the_lease_may_be_over(
    redis_url: str,
):
    over = broken("agent_ring", "local a = read_agent", "do return 0 end\nlocal a = read_agent")
    async with switchboard(redis_url) as board, switchboard(redis_url, scripts=over) as other:
        await board.has("ada")
        state = call()
        assert isinstance(await other.arrives(state), Matched)  # reserved in this moment
        assert isinstance(await other.arrives(state), Placed)  # by now that has to be asked
        assert isinstance(await board.arrives(state), Matched)
        assert await board.state_of("ada") == "ringing"


async def test_a_waiting_call_gets_the_agent_who_ends_a_call(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        first, second = call(), call("+12125550143")
        match = await board.arrives(first)
        assert isinstance(match, Matched)
        agent = await confirmed(board, first, match)
        assert isinstance(await board.arrives(second), Placed)
        began = time.perf_counter()
        await board.queueing.wrap_up(agent)
        found = await board.until_matched(second)
        took_ms = (time.perf_counter() - began) * 1000
        assert found.offers[0].agent == "ada"
        assert board.notes.words().count("queued") == 2
        print(f"freed to matched: {took_ms:.1f} ms")


async def test_an_agent_whose_phone_fell_silent_gets_no_call_for_a_while(redis_url: str):
    async with switchboard(redis_url, queues=[queue(wrap_up_seconds=0)]) as board:
        await board.has("ada")
        first, second = call(), call("+12125550143")
        match = await board.arrives(first)
        assert isinstance(match, Matched)
        agent = await confirmed(board, first, match)
        assert isinstance(await board.arrives(second), Placed)
        await board.queueing.wrap_up(agent, has_vanished=True)
        assert await board.state_of("ada") == "disabled"
        again = replace(_holding(board, first), goes_first=True)
        assert again.queue is not None
        assert isinstance(await board.queueing.stand_in_line(again, again.queue), Placed)
        standing = await board.queueing.standing(again)
        assert standing is not None
        assert (standing.position, standing.waiting) == (1, 2)
        await board.agents.set_duty(TENANT, "ada", on=False, deadline=in_s(5))
        await board.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
        assert (await board.until_matched(first)).offers[0].agent == "ada"


async def test_a_waiting_call_gets_the_agent_whose_wrap_up_lapses(redis_url: str):
    async with switchboard(redis_url, queues=[queue(wrap_up_seconds=1)]) as board:
        await board.has("ada")
        first, second = call(), call("+12125550143")
        match = await board.arrives(first)
        assert isinstance(match, Matched)
        agent = await confirmed(board, first, match)
        assert isinstance(await board.arrives(second), Placed)
        await board.queueing.wrap_up(agent)
        assert await board.state_of("ada") == "wrap_up"
        assert (await board.until_matched(second)).offers[0].agent == "ada"


async def test_an_agent_whom_nobody_waits_for_is_announced_to_nobody(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")

        async def announced() -> int:
            link = board.links.link_for(TENANT)
            told = await link.call("INFO", "commandstats", deadline=in_s(5))
            assert isinstance(told, bytes)
            found = re.search(rb"cmdstat_publish:calls=(\d+)", told)
            return int(found[1]) if found else 0

        async def talks(state: CallState) -> str:
            match = await board.arrives(state)
            assert isinstance(match, Matched)
            return await confirmed(board, state, match)

        agent, before = await talks(call()), await announced()
        await board.queueing.wrap_up(agent)
        assert await board.state_of("ada") == "available"
        assert await announced() == before
        agent, second = await talks(call()), call("+12125550143")
        assert isinstance(await board.arrives(second), Placed)
        await board.queueing.wrap_up(agent)
        await board.until_matched(second)
        assert await announced() > before


async def test_a_lost_announcement_costs_a_second_and_no_call(redis_url: str):
    scripts = broken("agent_left_call", "call('PUBLISH', prefix .. 'freed', id)", "")
    async with switchboard(redis_url, scripts=scripts) as board:
        await board.has("ada")
        first, second = call(), call("+12125550143")
        match = await board.arrives(first)
        assert isinstance(match, Matched)
        agent = await confirmed(board, first, match)
        assert isinstance(await board.arrives(second), Placed)
        await board.queueing.wrap_up(agent)
        await board.until_matched(second)


async def test_nobody_looks_for_an_agent_for_a_call_whose_phone_rings(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        looked, freed = list[str](), list[str]()
        look = board.pbx_line.look

        async def looks(tenant: str, calls: Sequence[str], deadline: Deadline) -> Seen:
            looked.extend(calls)
            return await look(tenant, calls, deadline)

        async def is_freed(agent: str) -> None:
            words = ("PUBLISH", keys.freed(TENANT), agent)
            await board.links.link_for(TENANT).call(*words, deadline=in_s(5))
            await asyncio.sleep(0.1)  # a look after everybody comes in a second

        monkeypatch.setattr(board.pbx_line, "look", looks)
        monkeypatch.setattr(board.holding, "match", freed.append)
        ringing, waiting = call(), call("+12125550177")
        assert isinstance(await board.arrives(ringing), Matched)
        await is_freed("ben")
        assert (looked, freed) == ([], [])
        assert isinstance(await board.arrives(waiting), Placed)
        await is_freed("ben")
        assert (waiting.id in looked, freed) == (True, ["ben"])


async def test_the_pbx_that_has_the_caller_is_told_when_another_one_frees_the_agent(redis_url: str):
    async with switchboard(redis_url) as here, switchboard(redis_url, name="pbx2") as there:
        await here.has("ada")
        first, second = call(), call("+12125550143")
        match = await here.arrives(first)
        assert isinstance(match, Matched)
        await confirmed(here, first, match)
        assert isinstance(await there.arrives(second), Placed)
        await here.queueing.wrap_up("ada")
        assert (await there.until_matched(second)).offers[0].agent == "ada"
        assert second.id not in here.woken


async def talk(board: Switchboard, state: CallState, talking: Counter[str]) -> str:
    answer = await board.arrives(state)
    match = answer if isinstance(answer, Matched) else await board.until_matched(state, 20)
    agent = await confirmed(board, state, match)
    talking[agent] += 1
    assert talking[agent] == 1, "two calls at once"
    await asyncio.sleep(0.01)
    talking[agent] -= 1
    await board.queueing.wrap_up(agent)
    return agent


async def test_forty_calls_on_two_pbxs_share_three_agents_and_none_is_offered_two(redis_url: str):
    people = {"ada": "PJSIP/6001", "ben": "PJSIP/6002", "eve": "PJSIP/6003"}
    async with (
        switchboard(redis_url, agents=people, queues=[queue(hold_queue=HoldQueue())]) as here,
        switchboard(
            redis_url, agents=people, queues=[queue(hold_queue=HoldQueue())], name="pbx2"
        ) as there,
    ):
        for name in people:
            await here.has(name)
        talking: Counter[str] = Counter()
        calls = [call(f"+1212555{number:04}") for number in range(40)]
        served = await asyncio.gather(
            *(talk((here, there)[i % 2], state, talking) for i, state in enumerate(calls))
        )
        assert len(served) == 40
        assert here.holding.find(calls[0].id) is None
        assert len(here.holding) == len(there.holding) == 0


async def test_a_caller_who_hangs_up_while_a_phone_rings_leaves_nobody_reserved(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        state = call()
        assert isinstance(await board.arrives(state), Matched)
        await board.queueing.leave_line(state, keep=True)
        assert await board.state_of("ada") == "available"


async def test_leaving_without_giving_back_is_noticed(redis_url: str):
    scripts = broken(
        "line_abandon", "free(prefix, given[i], a, a.idle_since, now) --@give-back", ""
    )
    async with switchboard(redis_url, scripts=scripts) as board:
        await board.has("ada")
        state = call()
        assert isinstance(await board.arrives(state), Matched)
        await board.queueing.leave_line(state, keep=True)
        with pytest.raises(AssertionError):
            assert await board.state_of("ada") == "available"


async def test_a_caller_whose_line_drops_gets_the_old_place_back(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        await board.arrives(call("+12125550199"))  # takes ada
        dropped, other = call(CALLER), call("+12125550143")
        assert isinstance(await board.arrives(dropped), Placed)
        await board.later()
        assert isinstance(await board.arrives(other), Placed)
        await board.queueing.leave_line(dropped, keep=True)
        again = call("(212) 555-0142")
        assert isinstance(await board.arrives(again), Placed)
        state = _holding(board, again)
        standing = await board.queueing.standing(state)
        assert standing is not None
        assert (standing.position, standing.waiting) == (1, 2)


def _holding(board: Switchboard, state: CallState) -> CallState:
    """As the machine has it while the call waits."""
    plan = board.planner.plan(state, Enqueue(queue="support"))
    assert isinstance(plan, QueuePlan)
    return replace(state, queue=plan, in_line=True, phase=Phase.HOLDING)


async def test_a_full_queue_and_one_without_agents_take_nobody(redis_url: str):
    small = HoldQueue(max_hold_count=1)
    async with switchboard(redis_url, queues=[queue(hold_queue=small)]) as board:
        await board.has("ada", on_duty=False)
        refused = await board.arrives(call())
        assert refused == NotPlaced(NotPlacedBecause.NOBODY_ON_DUTY)
        await board.has("ben")
        await board.arrives(call("+12125550199"))  # takes ben
        assert isinstance(await board.arrives(call()), Placed)
        refused = await board.arrives(call("+12125550144"))
        assert refused == NotPlaced(NotPlacedBecause.FULL)
        assert len(board.holding) == 2


async def test_an_unattended_queue_takes_callers_without_agents(redis_url: str):
    unattended = HoldQueue(unattended_queue=True)
    async with switchboard(redis_url, queues=[queue(hold_queue=unattended)]) as board:
        assert isinstance(await board.arrives(call()), Placed)


@pytest.mark.parametrize("stays", [False, True])
async def test_at_closing_time_those_who_wait_are_sent_away_unless_they_may_stay(
    redis_url: str, stays: bool
):
    hours = OpeningHours(hours={"mon-sun": ("08:00-18:00",)})
    hold = HoldQueue(stay_in_queue_after_closing=stays)
    async with switchboard(redis_url, queues=[queue(calendar=hours, hold_queue=hold)]) as board:
        opens, closes = _at("2026-12-01T10:00"), _at("2026-12-01T18:00")
        board.now_s = lambda: opens
        await board.has("ada")
        await board.arrives(call("+12125550199"))  # takes ada
        waiting = call()
        assert isinstance(await board.arrives(waiting), Placed)
        board.now_s = lambda: closes
        late = await board.arrives(call("+12125550144"))
        assert late == NotPlaced(NotPlacedBecause.CLOSED)
        if stays:
            assert isinstance(await board.arrives(waiting), Placed)
        else:
            await board.until_woken(waiting.id)
            sent = await board.arrives(waiting)
            assert sent == NotPlaced(NotPlacedBecause.CLOSED)
            assert await board.queueing.standing(_holding(board, waiting)) is None


async def test_those_who_wait_in_a_queue_that_is_removed_are_sent_away(redis_url: str):
    """Nobody will be asked for them any more: not at the end of the longest wait, but at once."""
    hold = HoldQueue(stay_in_queue_after_closing=True)
    async with switchboard(redis_url, queues=[queue(hold_queue=hold)]) as board:
        await board.has("ada")
        await board.arrives(call("+12125550199"))  # takes ada
        waiting = call()
        assert isinstance(await board.arrives(waiting), Placed)
        waits, plan = _holding(board, waiting), await board.plan(waiting)
        board.world = build({}, lambda _: "")
        assert isinstance(await board.queueing.stand_in_line(waits, plan), Placed)  # not known yet
        board.world = directory([queue("other", call_center_id="8002")], {})
        await board.until_woken(waiting.id)
        sent = await board.queueing.stand_in_line(waits, plan)
        assert sent == NotPlaced(NotPlacedBecause.CLOSED)
        assert await board.queueing.standing(waits) is None


@pytest.mark.parametrize("stays", [False, True])
async def test_after_closing_who_loses_the_agent_before_a_word_may_wait_on_where_callers_may_stay(
    redis_url: str, stays: bool
):
    hours = OpeningHours(hours={"mon-sun": ("08:00-18:00",)})
    hold = HoldQueue(stay_in_queue_after_closing=stays)
    async with switchboard(redis_url, queues=[queue(calendar=hours, hold_queue=hold)]) as board:
        opens, closes = _at("2026-12-01T10:00"), _at("2026-12-01T18:00")
        board.now_s = lambda: opens
        await board.has("ada")
        state = call()
        match = await board.arrives(state)
        assert isinstance(match, Matched)
        await confirmed(board, state, match)
        board.now_s = lambda: closes
        await board.queueing.wrap_up("ada")
        again = await board.arrives(replace(_holding(board, state), goes_first=True))
        assert isinstance(again, Matched if stays else NotPlaced)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


async def test_only_now_offers_nobody_twice_and_then_says_so(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        state = call()
        plan = board.planner.plan(state, ReserveAgent(queue="support", otherwise=End()))
        match = await board.queueing.stand_in_line(state, plan)  # type: ignore[arg-type]
        assert isinstance(match, Matched)
        waiting = replace(state, in_line=True, queue=plan)
        await board.queueing.unanswered(waiting, "ada", match.token, Gone.DECLINED)
        again = await board.queueing.stand_in_line(state, plan)  # type: ignore[arg-type]
        assert again == NotPlaced(NotPlacedBecause.NOBODY_FREE)
        assert await board.state_of("ada") == "available"


async def test_a_busy_phone_is_left_alone_for_a_moment(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        state = call()
        match = await board.arrives(state)
        assert isinstance(match, Matched)
        await board.queueing.unanswered(state, "ada", match.token, Gone.BUSY)
        assert isinstance(await board.arrives(state), Placed)
        assert await board.state_of("ada") == "disabled"


async def test_an_agent_without_a_phone_is_not_rung(redis_url: str):
    async with switchboard(redis_url, agents={"ada": None, "ben": "PJSIP/6002"}) as board:
        await board.has("ada")
        state = call()
        assert isinstance(await board.arrives(state), Placed)
        await board.has("ben")
        await board.until_matched(state)


async def test_who_takes_a_call_over_can_end_the_agents_part_of_it(redis_url: str):
    async with switchboard(redis_url) as before, switchboard(redis_url) as after:
        await before.has("ada")
        state = call()
        match = await before.arrives(state)
        assert isinstance(match, Matched)
        await confirmed(before, state, match)
        leg = Leg(id=LegId("x"), endpoint="PJSIP/6001", agent="ada", is_up=True)
        after.queueing.adopt([replace(_holding(after, state), agent=leg)])
        await after.queueing.wrap_up("ada")
        assert await after.state_of("ada") == "available"


async def test_who_takes_a_conference_over_lets_the_queues_agent_wrap_up(redis_url: str):
    async with switchboard(redis_url) as before, switchboard(redis_url) as after:
        await before.has("ada")
        state = call()
        match = await before.arrives(state)
        assert isinstance(match, Matched)
        await confirmed(before, state, match)
        agents = {"ada": "PJSIP/6001", "ben": "PJSIP/6002"}
        after.world = directory([queue(wrap_up_seconds=60)], agents)
        legs = (
            Leg(id=LegId("x"), endpoint="PJSIP/6001", agent="ada", is_up=True),
            Leg(id=LegId("y"), endpoint="PJSIP/6002", agent="ben", is_up=True),
        )
        after.queueing.adopt([replace(_holding(after, state), members=legs)])
        await after.queueing.wrap_up("ada")
        assert await after.state_of("ada") == "wrap_up"


async def until_state(board: Switchboard, agent: str, state: str) -> None:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(StoreDownError, OutcomeUnknownError):
                if await board.state_of(agent) == state:
                    return
            await asyncio.sleep(0.01)


async def test_an_agent_in_a_direct_call_is_busy_and_free_again_afterwards(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ada")
        leg = Leg(id=LegId("x"), endpoint="PJSIP/6001", agent="ada", is_up=True)
        board.queueing.talks(replace(call(), agent=leg), "ada", "x")
        await until_state(board, "ada", "on_call")
        assert isinstance(await board.arrives(call()), Placed)
        await board.queueing.wrap_up("ada")
        await until_state(board, "ada", "available")


async def test_who_answers_while_the_store_is_away_is_busy_when_it_is_back(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with switchboard(server.url) as board:
        await board.has("ada")
        state = call()
        match = await board.arrives(state)
        assert isinstance(match, Matched)
        server.pause()
        answer = await board.queueing.confirm(_holding(board, state), "ada", match.token)
        assert answer is None
        server.resume()
        await until_state(board, "ada", "on_call")
        await board.queueing.wrap_up("ada")
        await until_state(board, "ada", "available")


async def test_an_agent_whose_call_ended_while_the_store_was_away_for_long_is_free_when_it_is_back(
    new_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queueing, "TELL_S", 0.3)
    server = new_server()
    async with switchboard(server.url, queues=[queue(wrap_up_seconds=0)]) as board:
        await board.has("ada")
        state = call()
        match = await board.arrives(state)
        assert isinstance(match, Matched)
        await confirmed(board, state, match)
        server.pause()
        await board.queueing.wrap_up("ada")  # returns although nobody has heard it
        server.resume()
        await until_state(board, "ada", "available")


async def test_without_a_store_callers_wait_on_hold_and_go_on_when_it_is_back(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with switchboard(server.url) as board:
        await board.has("ada")
        state, gone = call(), call("+12125550143")
        server.pause()
        assert isinstance(await board.arrives(state), Placed)
        assert isinstance(await board.arrives(gone), Placed)
        await board.queueing.leave_line(gone, keep=False)
        server.resume()
        assert (await board.until_matched(state, 15)).offers[0].agent == "ada"
        assert board.holding.find(gone.id) is None


async def test_without_a_store_patience_ends_in_what_the_queue_says(
    new_server: Callable[..., Server],
):
    server = new_server()
    async with switchboard(server.url, patience_s=0.5) as board:
        state = call()
        server.pause()
        try:
            async with asyncio.timeout(10):
                answer = await board.arrives(state)
                assert isinstance(answer, Placed)
                while isinstance(answer, Placed):  # it asks again whenever it is woken
                    await board.until_woken(state.id)
                    board.woken.remove(state.id)
                    answer = await board.arrives(state)
            assert answer == NotPlaced(NotPlacedBecause.STORE_DOWN)
        finally:
            server.resume()
    assert await _nothing_left(server.url)


async def _nothing_left(url: str) -> bool:
    async with switchboard(url) as board:
        link = board.links.link_for(TENANT)
        reply = await link.call("KEYS", "cp:{acme}:waiting_call:*", deadline=in_s(5))
        return reply in ([], None)


async def test_a_call_with_much_to_tell_a_store_that_is_away_waits_for_one_of_it_only(
    new_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
):
    """Else its session would end before the line was told that the caller has left."""
    monkeypatch.setattr(queueing, "TELL_S", 0.1)
    monkeypatch.setattr(queueing, "STORE_S", 0.1)
    server, names = new_server(), [f"agent-{number}" for number in range(6)]
    async with switchboard(server.url) as board:
        server.pause()
        await board.queueing.release("ada", "token")
        monkeypatch.setattr(queueing, "TELL_S", 3600.0)
        async with asyncio.timeout(10):
            for name in names:
                await board.queueing.release(name, "token")
        assert len(board.queueing._untold) == 1 + len(names)
        server.resume()
        async with asyncio.timeout(10):
            while board.queueing._untold:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("leaves", ["promised", "store away"])
async def test_who_has_refused_a_call_is_forgotten_with_it(
    new_server: Callable[..., Server], leaves: str
):
    server = new_server()
    async with switchboard(server.url) as board:
        await board.has("ada")
        state = call()
        plan = await board.plan(state)
        if leaves == "store away":
            plan = replace(plan, only_now=True)
        match = await board.queueing.stand_in_line(state, plan)
        assert isinstance(match, Matched)
        waiting = replace(state, in_line=True, queue=plan)
        await board.queueing.unanswered(waiting, "ada", match.token, Gone.NO_ANSWER)
        if leaves == "store away":
            assert board.queueing._refused == {state.id: {"ada"}}
            server.pause()
            answer = await board.queueing.stand_in_line(waiting, plan)
            assert answer == NotPlaced(NotPlacedBecause.STORE_DOWN)
            server.resume()
        # A promise takes the place without a word to the line.
        assert board.queueing._refused == {}
