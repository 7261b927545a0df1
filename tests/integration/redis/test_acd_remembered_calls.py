"""A first reservation and the look whether the call was answered before are one step in the store."""

from collections.abc import Iterator

import pytest

from router.errors import RememberedError
from router.store import keys
from router.store.memory import Remembering
from tests.integration.redis.acd_world import World, acd_world, soon

CALLER = "+12125550142"
FIRST = Remembering(b"main:user_id", b'{"agent":"', b'","level":"full"}')


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


def test_nobody_is_reserved_for_a_call_that_is_remembered(world: World):
    memory = keys.call_memory(world.tenant, "main:user_id", "c")
    answer = keys.call_answer(world.tenant, "main:user_id", "c")
    world.put("ada")
    world.client.hset(memory, "a:", "{}")
    with pytest.raises(RememberedError):
        world.reserve("r", call="c", remember=FIRST)
    world.client.delete(memory)
    world.client.set(answer, "{}")
    with pytest.raises(RememberedError):
        world.reserve("r", call="c", remember=FIRST)
    world.client.delete(answer)
    reserved = world.reserve("r", call="c", remember=FIRST)
    assert reserved is not None
    assert reserved.agents == ("ada",)


def test_the_reservation_and_what_is_remembered_of_the_call_are_one_step(world: World):
    answer = keys.call_answer(world.tenant, "main:user_id", "c")
    assert world.reserve("r", call="c", remember=FIRST) is None
    assert not world.client.exists(answer)
    world.put("ada")
    assert world.reserve("r", call="c", remember=FIRST) is not None
    assert world.client.get(answer) == b'{"agent":"ada","level":"full"}'
    assert 0 < world.client.pttl(answer) <= 900_000


def test_who_talked_with_a_caller_is_asked_first_for_a_new_call_too(world: World):
    for name in ("ada", "bob"):
        world.put(name)
    world.plant("bob", idle_since=1_000)
    first = world.reserve("r1", caller=CALLER, sticky_s=60, call="c1", remember=FIRST)
    assert first is not None
    world.confirm("bob", first.token)
    world.run(world.agents.call_ended(world.tenant, "bob", first.token, deadline=soon()))
    again = world.reserve("r2", caller=CALLER, sticky_s=60, call="c2", remember=FIRST)
    assert again is not None
    assert again.agents == ("bob",)
