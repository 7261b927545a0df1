"""Reservations, states and configuration of agents on a real Redis."""

from collections.abc import Iterator

import pytest

from router.acd.agents import Membership
from router.deadline import Deadline
from router.errors import InvalidInputError, NotFoundError
from router.store import keys
from router.store.agents import Unanswered, new_token
from router.store.facts import queue_facts
from router.store.operations import ExpiredError, TooManyRequirementsError
from rules.actions import Strategy
from rules.facts import QueueFacts
from rules.requirements import Requirement
from tests.integration.redis.acd_world import ANYBODY, QUEUE, World, acd_world, soon

CALLER = "+12125550142"


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def facts(world: World, queue: str = QUEUE) -> QueueFacts:
    async def ask() -> QueueFacts:
        link = world.links.link_for(world.tenant)
        return (await queue_facts(link, world.tenant, [queue], soon()))[queue]

    return world.run(ask())


def test_a_request_asked_again_gets_the_same_agent_and_token(world: World):
    world.put("ada")
    world.put("bob")
    first = world.reserve("r")
    assert first is not None
    assert world.reserve("r") == first
    assert facts(world).agents_idle == 1


def test_a_confirmed_request_asked_again_still_names_its_agent(world: World):
    world.put("ada")
    world.put("bob")
    first = world.reserve("r", lease_ms=500)
    assert first is not None
    assert world.confirm(first.agents[0], first.token)
    again = world.reserve("r")
    assert again is not None
    assert (again.agents, again.token) == (first.agents, first.token)


def test_a_released_request_asked_again_is_a_new_one(world: World):
    world.put("ada")
    first = world.reserve("r")
    assert first is not None
    assert world.release("ada", first.token)
    again = world.reserve("r")
    assert again is not None
    assert again.token != first.token


def test_an_expired_deadline_reserves_nobody(world: World):
    world.put("ada")
    link = world.links.link_for(world.tenant)

    class Late:
        """A link that is slow: by the time a command runs its deadline has passed on Redis' clock."""

        is_open = True
        call = staticmethod(link.call)
        send_for = staticmethod(link.send_for)

        def redis_deadline_ms(self, deadline: Deadline) -> int:
            return world.now_ms() - 1

        def link_for(self, tenant: str) -> "Late":
            return self

    world.agents._links = Late()
    with pytest.raises(ExpiredError):
        world.reserve("r")
    assert world.client.zscore(keys.ready(world.tenant, QUEUE), "ada") <= world.now_ms()
    assert not world.client.exists(keys.request(world.tenant, "r"))


def test_an_unknown_outcome_can_be_cancelled_by_request_and_token(world: World):
    world.put("ada")
    token = new_token()
    assert world.reserve("r", token=token) is not None
    cancel = world.agents.cancel
    tenant = world.tenant
    assert world.run(cancel(tenant, request_id="r", token="other", deadline=soon())) == 0
    assert world.run(cancel(tenant, request_id="r", token=token, deadline=soon())) == 1
    assert world.run(cancel(tenant, request_id="r", token=token, deadline=soon())) == 0
    assert world.state("ada") == "available"


def test_only_the_first_of_a_group_gets_the_call_and_the_others_keep_their_places(world: World):
    for name in ("ada", "bob", "cy"):
        world.put(name)
        world.plant(name, idle_since=1_000)
    group = world.reserve("r", strategy=Strategy.SIMULTANEOUS, count=3)
    assert group is not None
    assert group.agents == ("ada", "bob", "cy")
    assert world.confirm("bob", group.token)
    assert not world.confirm("ada", group.token)
    assert [world.ready_at(name) for name in ("ada", "cy")] == [1_000, 1_000]
    assert world.state("bob") == "on_call"
    assert world.confirm("bob", group.token)


def test_an_agent_who_leaves_the_group_does_not_end_the_others_offer(world: World):
    for name in ("ada", "bob"):
        world.put(name)
    group = world.reserve("r", strategy=Strategy.SIMULTANEOUS, count=2)
    assert group is not None
    assert world.release("ada", group.token)
    again = world.reserve("r")
    assert again is not None
    assert again.agents == ("bob",)


def test_a_late_holder_of_an_old_token_is_refused_everything(world: World):
    world.put("ada")
    late = world.reserve("r", lease_ms=5)
    assert late is not None
    world.wait_until_ms(late.lease_until_ms)
    agents, tenant = world.agents, world.tenant
    assert not world.confirm("ada", late.token)
    assert not world.release("ada", late.token)
    assert world.run(agents.unanswered(tenant, "ada", late.token, deadline=soon())) is None
    assert not world.run(agents.ring(tenant, "ada", late.token, ring_ms=9, deadline=soon()))
    assert not world.run(agents.call_ended(tenant, "ada", late.token, deadline=soon()))


def test_ringing_prolongs_the_lease_and_the_request(world: World):
    world.put("ada")
    reserved = world.reserve("r", lease_ms=1_000)
    assert reserved is not None
    ring = world.agents.ring(world.tenant, "ada", reserved.token, ring_ms=30_000, deadline=soon())
    assert world.run(ring)
    assert world.state("ada") == "ringing"
    assert world.client.pttl(keys.request(world.tenant, "r")) > 1_000
    assert world.confirm("ada", reserved.token)


def test_wrap_up_follows_the_call_and_can_be_ended_early(world: World):
    world.put("ada")
    reserved = world.reserve("r", wrap_up_ms=60_000)
    assert reserved is not None
    agents, tenant = world.agents, world.tenant
    assert world.confirm("ada", reserved.token)
    assert world.run(agents.call_ended(tenant, "ada", reserved.token, deadline=soon()))
    assert world.state("ada") == "wrap_up"
    assert world.reserve("other") is None
    assert world.run(agents.end_wrap_up(tenant, "ada", soon()))
    assert world.state("ada") == "available"
    assert not world.run(agents.end_wrap_up(tenant, "ada", soon()))


def test_wrap_up_is_capped(world: World):
    world.put("ada")
    reserved = world.reserve("r", wrap_up_ms=60_000)
    assert reserved is not None
    world.confirm("ada", reserved.token)
    ended = world.agents.call_ended(
        world.tenant, "ada", reserved.token, longest_wrap_up_ms=5, deadline=soon()
    )
    assert world.run(ended)
    world.wait_until_ms(world.now_ms() + 6)
    assert world.state("ada") == "available"


def unanswered(world: World, request: str, **more: int) -> Unanswered | None:
    reserved = world.reserve(request, call="the call")
    assert reserved is not None
    return world.run(
        world.agents.unanswered(
            world.tenant, reserved.agents[0], reserved.token, deadline=soon(), **more
        )
    )


def test_an_agent_who_answers_nothing_is_disabled_until_enabled(world: World):
    world.put("ada")
    assert unanswered(world, "r1", limit=2) == Unanswered(count=1, state="available")
    assert unanswered(world, "r2", limit=2) == Unanswered(count=2, state="disabled")
    assert world.reserve("r3") is None
    enable = world.agents.set_enabled(world.tenant, "ada", on=True, deadline=soon())
    assert world.run(enable) == "available"
    assert world.reserve("r3") is not None


def test_a_pause_for_unanswered_offers_ends_by_itself(world: World):
    world.put("ada")
    missed = unanswered(world, "r1", limit=1, pause_ms=20)
    assert missed == Unanswered(count=1, state="disabled")
    assert world.reserve("r2") is None
    world.wait_until_ms(world.now_ms() + 21)
    assert world.state("ada") == "available"
    assert world.reserve("r2") is not None


def test_answering_forgets_what_was_not_answered_before(world: World):
    world.put("ada")
    unanswered(world, "r1")
    reserved = world.reserve("r2")
    assert reserved is not None
    world.confirm("ada", reserved.token)
    (record,) = world.records()
    assert record.unanswered == 0


def test_a_call_is_offered_to_others_before_who_did_not_answer_it(world: World):
    for name in ("ada", "bob"):
        world.put(name)
    world.plant("ada", idle_since=1_000)
    world.plant("bob", idle_since=2_000)
    reserved = world.reserve("r1", call="c")
    assert reserved is not None
    assert reserved.agents == ("ada",)
    world.run(world.agents.unanswered(world.tenant, "ada", reserved.token, deadline=soon()))
    world.plant("ada", idle_since=1_000)
    second = world.reserve("r2", call="c")
    assert second is not None
    assert second.agents == ("bob",)
    third = world.reserve("r3", call="c")
    assert third is not None
    assert third.agents == ("ada",)


def test_who_talked_with_a_caller_is_asked_first_next_time(world: World):
    for name in ("ada", "bob"):
        world.put(name)
    world.plant("bob", idle_since=1_000)
    first = world.reserve("r1", caller=CALLER, sticky_s=60)
    assert first is not None
    assert first.agents == ("bob",)
    world.confirm("bob", first.token)
    world.run(world.agents.call_ended(world.tenant, "bob", first.token, deadline=soon()))
    again = world.reserve("r2", caller=CALLER, sticky_s=60)
    assert again is not None
    assert again.agents == ("bob",)
    world.release("bob", again.token)
    without = world.reserve("r3", caller=CALLER)
    assert without is not None
    assert without.agents == ("ada",)
    assert 29 * 86_400 < world.client.ttl(keys.talked(world.tenant, CALLER)) <= 30 * 86_400


def test_flags_set_during_a_call_hold_after_it(world: World):
    world.put("ada")
    reserved = world.reserve("r")
    assert reserved is not None
    world.confirm("ada", reserved.token)
    agents, tenant = world.agents, world.tenant
    off = agents.set_duty(tenant, "ada", on=False, reason="lunch", deadline=soon())
    assert world.run(off) == "on_call"
    world.run(agents.call_ended(tenant, "ada", reserved.token, wrap_up_ms=0, deadline=soon()))
    assert world.state("ada") == "off_duty"
    (record,) = world.records()
    assert record.reason == "lunch"
    assert facts(world).agents_on_duty == 0


def test_do_not_disturb_holds_for_one_queue_or_for_all(world: World):
    world.put("ada", queues={QUEUE: Membership(), "a b|c": Membership()})
    agents, tenant = world.agents, world.tenant
    world.run(agents.set_do_not_disturb(tenant, "ada", on=True, queue="a b|c", deadline=soon()))
    assert world.reserve("r1", requirement=Requirement("a b|c")) is None
    assert facts(world, "a b|c").agents_on_duty == 0
    assert facts(world).agents_idle == 1
    state = agents.set_do_not_disturb(tenant, "ada", on=True, deadline=soon())
    assert world.run(state) == "do_not_disturb"
    assert world.reserve("r2") is None
    world.run(agents.set_do_not_disturb(tenant, "ada", on=False, deadline=soon()))
    assert world.reserve("r3", requirement=Requirement("a b|c")) is None
    assert world.reserve("r4") is not None


def test_saying_on_duty_again_keeps_the_idle_time(world: World):
    world.put("ada")
    world.plant("ada", idle_since=1_000)
    world.run(world.agents.set_duty(world.tenant, "ada", on=True, deadline=soon()))
    assert world.ready_at("ada") == 1_000


def test_nobody_unknown_can_be_set(world: World):
    with pytest.raises(NotFoundError):
        world.run(world.agents.set_duty(world.tenant, "nobody", on=True, deadline=soon()))
    assert world.run(world.agents.get(world.tenant, "nobody", soon())) is None


def test_reconfiguring_an_agent_keeps_what_changes_by_itself(world: World):
    spanish = Requirement.of(QUEUE, {"spanish": 50})
    world.run(world.agents.register(world.tenant, spanish, soon()))
    world.put("ada", queues={QUEUE: Membership(), "sales": Membership()}, skills={"spanish": 60})
    world.plant("ada", idle_since=1_000)
    assert world.ready_at("ada", spanish) == 1_000
    world.put("ada", skills={"spanish": 40})
    assert world.ready_at("ada", spanish) is None
    assert world.ready_at("ada", Requirement("sales")) is None
    assert world.ready_at("ada") == 1_000
    reserved = world.reserve("r")
    assert reserved is not None
    world.put("ada", skills={"spanish": 90})
    assert world.ready_at("ada", spanish) == reserved.lease_until_ms
    assert world.confirm("ada", reserved.token)


def test_a_removed_agent_stands_nowhere(world: World):
    world.put("ada")
    world.reserve("r")
    assert world.run(world.agents.remove(world.tenant, "ada", soon()))
    assert not world.run(world.agents.remove(world.tenant, "ada", soon()))
    left = {
        key.decode().split(":", 2)[2] for key in world.client.scan_iter(f"cp:{{{world.tenant}}}:*")
    }
    assert left == {"requirements", "requirements_used"}


def test_an_agent_whose_record_was_lost_stands_in_nobodys_way(world: World):
    for name in ("ada", "bob"):
        world.put(name)
    world.plant("ada", idle_since=1_000)
    world.client.delete(keys.agent(world.tenant, "ada"))
    reserved = world.reserve("r")
    assert reserved is not None
    assert reserved.agents == ("bob",)
    assert world.ready_at("ada") is None


def test_a_new_requirement_finds_all_members_of_a_large_queue(world: World):
    for number in range(700):
        world.put(f"a{number}", skills={"two words": number % 10})
    wanted = Requirement.of(QUEUE, {"two words": 5})
    world.run(world.agents.register(world.tenant, wanted, soon()))
    assert world.client.zcard(keys.ready(world.tenant, keys.requirement_id(wanted))) == 350


def test_an_unregistered_requirement_is_registered_on_the_way(world: World):
    world.put("ada", skills={"spanish": 60})
    assert world.reserve("r", requirement=Requirement.of(QUEUE, {"spanish": 61})) is None
    assert world.reserve("r", requirement=Requirement.of(QUEUE, {"spanish": 60})) is not None


def test_a_tenant_has_at_most_500_requirements(world: World):
    world.put("ada")

    async def fill() -> None:
        for least in range(499):
            wanted = Requirement.of(QUEUE, {f"s{least}": 1})
            await world.agents.register(world.tenant, wanted, soon())

    world.run(fill())
    one_more = Requirement.of(QUEUE, {"more": 1})
    with pytest.raises(TooManyRequirementsError):
        world.run(world.agents.register(world.tenant, one_more, soon()))
    with pytest.raises(TooManyRequirementsError):
        world.put("bob", queues={"another": Membership()})
    assert world.run(world.agents.get(world.tenant, "bob", soon())) is None


def test_requirements_nobody_uses_are_forgotten_and_come_back_when_asked(world: World):
    world.put("ada", skills={"spanish": 60})
    wanted = Requirement.of(QUEUE, {"spanish": 60})
    world.run(world.agents.register(world.tenant, wanted, soon()))
    forget = world.agents.forget_unused
    assert world.run(forget(world.tenant, soon())) == 2
    assert world.run(forget(world.tenant, soon(), unused_ms=0)) == 1
    world.plant("ada", idle_since=1_000)
    assert world.ready_at("ada", wanted) is None
    assert world.reserve("r", requirement=wanted) is not None


def test_too_many_queues_or_levels_out_of_range_are_refused(world: World):
    with pytest.raises(InvalidInputError):
        world.put("ada", queues={f"q{number}": Membership() for number in range(101)})
    with pytest.raises(InvalidInputError):
        world.put("ada", skills={"spanish": 101})


def test_agents_are_listed_in_pages(world: World):
    for number in range(7):
        world.put(f"a{number}", on_duty=number % 2 == 0)
    views, total = world.run(world.agents.list(world.tenant, soon(), limit=3, offset=2))
    assert [view.record.id for view in views] == ["a2", "a3", "a4"]
    assert [view.effective.state for view in views] == ["available", "off_duty", "available"]
    assert total == 7


def test_facts_say_what_is_known_and_nothing_else(world: World):
    assert facts(world, "never heard of") == QueueFacts(
        waiting=0, longest_wait_s=0.0, estimated_wait_s=None, agents_idle=0, agents_on_duty=0
    )
    world.put("ada")
    assert facts(world).estimated_wait_s == 0.0
    reserved = world.reserve("r")
    assert reserved is not None
    assert facts(world).estimated_wait_s is None
    assert facts(world).agents_on_duty == 1
    world.confirm("ada", reserved.token)
    ended = world.agents.call_ended(
        world.tenant, "ada", reserved.token, wrap_up_ms=30_000, deadline=soon()
    )
    world.run(ended)
    estimated = facts(world).estimated_wait_s
    assert estimated is not None
    assert 30.0 <= estimated < 40.0


def test_a_tenant_does_not_see_another_ones_agents(world: World):
    world.put("ada")
    world.begin({})
    assert world.reserve("r", requirement=ANYBODY) is None
    assert world.records() == []
