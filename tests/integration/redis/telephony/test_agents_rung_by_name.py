"""Agents who are consulted, added, unparked to or transferred to, on a real Redis: kept, and given back."""

import asyncio

import pytest
from msgspec.structs import replace

from pbx.machine.commands import Note
from pbx.machine.events import (
    AddParticipant,
    Answered,
    Bridged,
    CompleteTransfer,
    Confirmed,
    ConsultWith,
    Event,
    Gone,
    LegGone,
    LegUp,
    Matched,
    ParkCall,
    Planned,
    SplitDone,
    TransferTo,
    UnparkTo,
)
from pbx.machine.plans import DialPlan, LegId
from pbx.machine.state import CallState, Kind, Leg, Phase
from pbx.machine.table import on
from router.deadline import in_s
from router.store.call_records import CallRecords
from router.store.pbx_line import Took
from router.telephony.records import StoreRecords
from router.telephony.setting_out import new_leg
from rules.actions import Route, Target, TargetType
from tests.integration.redis.telephony.switchboard import (
    TENANT,
    Switchboard,
    call,
    queue,
    switchboard,
)

ADA = LegId("ada's leg")
TO_BEN = Route(target=Target(type=TargetType.USER, id="ben"))


class Scene:
    """A caller who talks with ada; what happens goes through the real table, and is followed."""

    def __init__(self, board: Switchboard) -> None:
        self.board = board
        self.leg = new_leg()
        leg = Leg(id=ADA, endpoint="PJSIP/6001", agent="ada", is_up=True)
        self.state = replace(call(), phase=Phase.TALKING, is_up=True, is_joined=True, agent=leg)
        self.follow()

    def follow(self) -> None:
        self.board.going_on[self.state.id] = self.state
        self.board.by_name.follow(self.state)

    def happens(self, *events: Event) -> None:
        for event in events:
            self.state, _ = on(self.state, event)
            self.follow()

    async def take(self, agent: str = "ben") -> Took:
        return await self.board.by_name.take(
            agent, self.state.id, self.leg, ring_s=30, deadline=in_s(5)
        )

    async def is_(self, state: str, agent: str = "ben") -> None:
        async with asyncio.timeout(5):
            while (now := await self.board.state_of(agent)) != state:
                assert now
                await asyncio.sleep(0.005)

    def asks(self, kind: type[ConsultWith | AddParticipant | UnparkTo]) -> Event:
        return kind(endpoint="PJSIP/6002", leg=self.leg, agent="ben")


async def nobody_else_gets(board: Switchboard, agent: str) -> None:
    """A queue's call in this very moment is not offered to that agent."""
    other = call("+12125550177")
    answer = await board.arrives(other)
    offered = {offer.agent for offer in getattr(answer, "offers", ())}
    await board.queueing.leave_line(other, keep=False)
    assert agent not in offered


@pytest.mark.parametrize("kind", [ConsultWith, AddParticipant, UnparkTo])
async def test_who_is_asked_in_is_kept_while_rung_and_talking_and_then_free(
    redis_url: str, kind: type[ConsultWith | AddParticipant | UnparkTo]
):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        if kind is UnparkTo:
            scene.happens(ParkCall(), SplitDone())
        assert await scene.take() is Took.TAKEN
        await nobody_else_gets(board, "ben")
        scene.happens(scene.asks(kind))
        if kind is ConsultWith:
            scene.happens(SplitDone())
        scene.happens(LegUp(scene.leg))
        await scene.is_("on_call")
        await nobody_else_gets(board, "ben")
        scene.happens(LegGone(leg=scene.leg, why=Gone.HUNG_UP))
        await scene.is_("available")


@pytest.mark.parametrize("kind", [ConsultWith, AddParticipant, UnparkTo])
async def test_who_does_not_answer_is_free_at_once_and_has_missed_nothing(
    redis_url: str, kind: type[ConsultWith | AddParticipant | UnparkTo]
):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        if kind is UnparkTo:
            scene.happens(ParkCall(), SplitDone())
        assert await scene.take() is Took.TAKEN
        scene.happens(scene.asks(kind), LegGone(leg=scene.leg, why=Gone.NO_ANSWER))
        await scene.is_("available")
        view = await board.agents.get(TENANT, "ben", in_s(5))
        assert view is not None
        assert view.record.unanswered == 0


async def test_who_takes_the_call_over_stays_on_it_until_it_ends(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        await scene.take()
        scene.happens(scene.asks(ConsultWith), SplitDone(), LegUp(scene.leg))
        await scene.is_("on_call")
        scene.happens(CompleteTransfer(), SplitDone(), Bridged())
        assert scene.state.agent is not None
        assert scene.state.agent.agent == "ben"
        await asyncio.sleep(0.4)  # longer than anybody waits to let somebody go
        await scene.is_("on_call")
        scene.happens(LegGone(leg=scene.state.channel, why=Gone.HUNG_UP))
        assert scene.state.phase is Phase.ENDED
        await scene.is_("available")
        assert board.by_name._calls == {}


async def test_of_all_who_want_one_agent_at_once_one_gets_them(redis_url: str):
    async with switchboard(redis_url) as board:
        link = board.links.link_for(TENANT)

        async def by_name(number: int) -> bool:
            took = await board.by_name.take(
                "ben", f"call {number}", new_leg(), ring_s=30, deadline=in_s(5)
            )
            return took is Took.TAKEN

        async def by_line(number: int) -> bool:
            return isinstance(await board.arrives(call(f"+1212555{number:04}")), Matched)

        for _ in range(5):
            await link.call("FLUSHALL", deadline=in_s(5))
            await board.has("ben")
            wants = [(by_name, by_line)[number % 2](number) for number in range(20)]
            assert sum(await asyncio.gather(*wants)) == 1
            assert await board.state_of("ben") in {"reserved", "ringing"}


async def test_who_hangs_up_in_the_moment_of_answering_is_free(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        await scene.take()
        scene.happens(scene.asks(AddParticipant), LegUp(scene.leg))
        scene.happens(LegGone(leg=scene.leg, why=Gone.HUNG_UP))
        await scene.is_("available")


async def test_a_blind_transfer_keeps_the_agent_from_the_first_word_to_the_end(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        took = await board.by_name.take_ahead(
            "ben", scene.state.id, new_leg(), ring_s=30, deadline=in_s(5)
        )
        assert took is Took.TAKEN
        scene.happens(TransferTo(TO_BEN), SplitDone())
        plan = board.planner.plan(scene.state, TO_BEN)
        assert isinstance(plan, DialPlan)
        plan = await board.by_name.take_for(scene.state, plan)
        (offer,) = plan.offers
        scene.happens(Planned(plan))
        await nobody_else_gets(board, "ben")
        scene.happens(LegUp(offer.leg))
        await scene.is_("on_call")
        scene.happens(LegGone(leg=scene.state.channel, why=Gone.HUNG_UP))
        await scene.is_("available")


async def test_a_transfer_that_comes_to_nothing_gives_the_agent_back(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        leg = new_leg()
        await board.by_name.take_ahead("ben", scene.state.id, leg, ring_s=30, deadline=in_s(5))
        await board.by_name.give_back("ben", scene.state.id, leg)
        await scene.is_("available")
        await board.by_name.take_ahead("ben", scene.state.id, leg, ring_s=30, deadline=in_s(5))
        scene.happens(LegGone(leg=scene.state.channel, why=Gone.HUNG_UP))
        await scene.is_("available")
        assert board.by_name._to_come == {}


async def test_an_agent_with_a_call_is_left_out_of_a_plan(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene, state = Scene(board), call("+12125550188")
        await scene.take()
        plan = board.planner.plan(state, TO_BEN)
        assert isinstance(plan, DialPlan)
        assert (await board.by_name.take_for(state, plan)).offers == ()


async def test_who_takes_the_calls_over_confirms_and_lets_go_as_well(redis_url: str):
    async with switchboard(redis_url) as before, switchboard(redis_url) as after:
        await before.has("ben")
        scene = Scene(before)
        await scene.take()
        scene.happens(scene.asks(AddParticipant))
        after.queueing.adopt([scene.state])
        scene.board = after  # the first one was killed
        scene.follow()
        scene.happens(LegUp(scene.leg))
        await scene.is_("on_call")
        scene.happens(LegGone(leg=scene.leg, why=Gone.HUNG_UP))
        await scene.is_("available")


async def test_whoever_is_on_a_call_that_is_over_is_found_and_let_go(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.telephony.by_name.SURE_S", 0.01)
    async with switchboard(redis_url) as before, switchboard(redis_url) as after:
        await before.has("ada")
        await before.has("ben")
        scene = Scene(before)
        await scene.take()
        scene.happens(scene.asks(AddParticipant), LegUp(scene.leg))
        await scene.is_("on_call")
        await recorded(before, scene.state)
        assert await before.by_name.look() == 0  # they talk
        # Killed after the call had ended, before the store was told of either.
        assert await after.by_name.look() == 2
        await scene.is_("available", "ada")
        await scene.is_("available", "ben")


async def test_calls_of_another_pbx_are_no_business_of_ours(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.telephony.by_name.SURE_S", 0.01)
    async with switchboard(redis_url) as here, switchboard(redis_url, name="pbx2") as there:
        await here.has("ben")
        scene = Scene(here)
        await scene.take()
        scene.happens(scene.asks(AddParticipant), LegUp(scene.leg))
        await scene.is_("on_call")
        await recorded(here, scene.state)
        assert await there.by_name.look() == 0
        await scene.is_("on_call")


async def recorded(board: Switchboard, state: CallState) -> None:
    records = StoreRecords(CallRecords(board.links), TENANT, "pbx1")
    records.note(state, Note(what="talking"))
    assert await records.flush()


async def test_a_call_of_the_agents_own_is_confirmed_once_and_free_afterwards(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        leg = Leg(id=new_leg(), endpoint="PJSIP/6002", agent="ben")
        state = replace(
            call(), kind=Kind.CLICK_TO_CALL, phase=Phase.RINGING_AGENT, agent=leg, token=leg.id
        )
        scene = Scene(board)
        scene.state, scene.leg = state, leg.id
        await scene.take()
        scene.follow()
        scene.happens(LegUp(leg.id))
        assert await board.queueing.confirm(scene.state, "ben", leg.id) is True
        scene.happens(Confirmed(agent="ben", ok=True), LegUp(state.channel), Answered(), Bridged())
        await scene.is_("on_call")
        scene.happens(LegGone(leg=state.channel, why=Gone.HUNG_UP))
        await scene.is_("available")


async def test_a_call_of_the_agents_own_that_is_not_answered_counts_for_nothing(redis_url: str):
    async with switchboard(redis_url) as board:
        await board.has("ben")
        scene = Scene(board)
        for _ in range(4):  # more than pause an agent
            await scene.take()
            await board.queueing.unanswered(scene.state, "ben", scene.leg, Gone.NO_ANSWER)
            assert await board.state_of("ben") == "available"


async def test_whoever_is_just_being_let_go_is_not_taken_for_stuck(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.telephony.by_name.SURE_S", 0.5)
    async with switchboard(redis_url, queues=[queue(wrap_up_seconds=600)]) as board:
        await board.has("ben")
        state = call()
        match = await board.arrives(state)
        assert isinstance(match, Matched)
        plan = await board.plan(state)
        state = replace(state, queue=plan, in_line=True, phase=Phase.HOLDING)
        assert await board.queueing.confirm(state, "ben", match.token) is True
        await recorded(board, state)
        looking = asyncio.create_task(board.by_name.look())
        await asyncio.sleep(0.1)  # the look has seen ben on a call without a leg
        await board.queueing.wrap_up("ben")
        assert await looking == 0
        assert await board.state_of("ben") == "wrap_up"
