"""Legs of one conversation, on a real store; deliberately broken variants are caught."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from router.deadline import in_s
from router.store import keys
from router.store.endpoints import parse_store_url
from router.store.legs import Legs
from router.store.links import Links
from router.store.scripts import load_script


@pytest.fixture
async def links(redis_url: str) -> AsyncIterator[Links]:
    links = Links(parse_store_url(redis_url)).start()
    await links.wait_open(in_s(10))
    yield links
    await links.close()


def broken(old: str, new: str) -> dict[str, object]:
    """The operation with one piece of it replaced."""
    script = load_script("legs_unite")
    assert script.source.count(old) == 1
    source = script.source.replace(old, new)
    return {"legs_unite": msgspec.structs.replace(script, source=source, sha="0" * 40)}


async def unite(legs: Legs, *calls: str, at_ms: int = 1, agent: str | None = None,
                begins: bool = True) -> tuple[str, ...]:  # fmt: skip
    return await legs.unite(
        "acme", calls, at_ms=at_ms, begins=begins, agent=agent, deadline=in_s(5)
    )


async def is_united_over_a_third_id(legs: Legs) -> bool:
    await unite(legs, "9100", "9000", "9200")
    return set(await unite(legs, "9200", "9100")) == {"9200", "9100", "9000"}


async def is_late_end_alone(legs: Legs) -> bool:
    await unite(legs, "1", "9000", agent="ada", at_ms=1)
    await unite(legs, "2", "9000", agent="ada", at_ms=20)
    return await unite(legs, "1", "9000", agent="ada", at_ms=10, begins=False) == ("1",)


async def is_last_end_for_all(legs: Legs) -> bool:
    await unite(legs, "1", "9000", agent="ada", at_ms=1)
    await unite(legs, "2", "9000", agent="ada", at_ms=20)
    await unite(legs, "3", "9000", agent="bea", at_ms=30)
    ended = await unite(legs, "2", "9000", agent="ada", at_ms=40, begins=False)
    return set(ended) == {"1", "2", "3", "9000"}


async def test_ids_are_united_over_a_third(links: Links):
    assert await is_united_over_a_third_id(Legs(links))


async def test_forgetting_what_was_united_is_caught(links: Links):
    assert not await is_united_over_a_third_id(
        Legs(links, broken("local linked = call('SMEMBERS', key)", "local linked = {}"))  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("is_bound", [True, False])
async def test_an_id_that_all_legs_share_does_not_gather_them_all(links: Links, is_bound: bool):
    bound = "if call('SCARD', key) < MOST then"
    legs = Legs(links) if is_bound else Legs(links, broken(bound, "if true then"))  # type: ignore[arg-type]
    for leg in range(200):
        assert (await unite(legs, f"{leg}", "9000"))[:2] == (f"{leg}", "9000")
    gathered = await links.link_for("acme").call(
        "SCARD", keys.legs("acme", "9000"), deadline=in_s(5)
    )
    assert isinstance(gathered, int)
    assert (gathered < 40) is is_bound


async def test_the_late_end_of_an_earlier_leg_stands_alone(links: Links):
    assert await is_late_end_alone(Legs(links))


async def test_a_late_end_that_speaks_for_the_later_leg_is_caught(links: Links):
    assert not await is_late_end_alone(Legs(links, broken("> mine then", "> math.huge then")))  # type: ignore[arg-type]


async def test_the_end_of_the_last_leg_speaks_for_the_conversation(links: Links):
    assert await is_last_end_for_all(Legs(links))


async def test_mixing_up_whose_leg_it_is_is_caught(links: Links):
    assert not await is_last_end_for_all(
        Legs(links, broken("whose == agent and tonumber", "whose and tonumber"))  # type: ignore[arg-type]
    )


async def test_a_conversation_has_at_most_sixteen_legs(links: Links):
    legs = Legs(links)
    for number in range(40):
        united = await unite(legs, str(number), "9000")
        assert united[0] == str(number)
        assert len(united) <= 16


async def test_nothing_of_another_tenant_is_united(links: Links):
    legs = Legs(links)
    await unite(legs, "1", "2")
    other = await legs.unite("other", ["1"], at_ms=1, begins=True, deadline=in_s(5))
    assert other == ("1",)
