"""What is told to the store of where phones stand, and what is left out."""

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Leg
from pbx.phones import PhoneState, phone_state
from router.acd.agents import AgentState
from router.errors import NotFoundError, StoreDownError
from router.site.directory import Directory, TenantResources, build
from router.site.resources import AgentConfig
from router.store.agents_seen import PhoneSeen
from router.telephony.phones_in_calls import PhonesInCalls
from router.telephony.phones_seen import PhonesSeen

FREE, BUSY, LOST = PhoneState
ADA = AgentConfig(id="ada", name="Ada", endpoint="PJSIP/1")
BEN = AgentConfig(id="ben", name="Ben", endpoint="PJSIP/2", user_id="3002")
EVE = AgentConfig(id="eve", name="Eve")


class Desk:
    """Agents of one tenant, and a store that writes down what it is told."""

    def __init__(self, *agents: AgentConfig) -> None:
        self.agents = {agent.id: agent for agent in agents}
        self.at: dict[str, str] = {}
        self.in_calls = PhonesInCalls()
        self.told: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.seen = PhonesSeen(
            self,  # type: ignore[arg-type]  # of a store only this one operation is asked
            self.directory,
            self.placed,
            self.in_calls,
            tenant="acme",
            pbx="pbx",
        )

    def directory(self) -> Directory:
        return build({"acme": TenantResources(agents=self.agents)}, lambda _: "")

    def placed(self, agent: AgentConfig) -> AgentConfig:
        return replace(agent, endpoint=self.at.get(agent.id, agent.endpoint))

    async def observe_phone(
        self, tenant: str, agent: str, *, seen: PhoneSeen, **_: Any
    ) -> AgentState:
        if self.error is not None:
            raise self.error
        self.told.append((agent, seen.value))
        return AgentState.AVAILABLE

    async def hears(self) -> list[tuple[str, str]]:
        await self.seen.tell()
        told, self.told = self.told, []
        return told


def call_with(endpoint: str, agent: str) -> CallState:
    offers = (Leg(id=LegId("2"), endpoint=endpoint, agent=agent),)
    return CallState(id="c", kind=Kind.INBOUND, channel=LegId("1"), offers=offers)


def known(desk: Desk, **phones: PhoneState) -> None:
    desk.seen.know({f"PJSIP/{name[1:]}": state for name, state in phones.items()})


@pytest.fixture
def desk() -> Iterable[Desk]:
    return Desk(ADA, BEN, EVE)


async def test_after_a_connect_all_is_told_and_then_only_what_differs(desk: Desk):
    known(desk, _1=LOST, _2=BUSY)
    assert await desk.hears() == [("ada", "lost"), ("ben", "busy"), ("eve", "free")]
    assert await desk.hears() == []
    desk.seen.learn("PJSIP/1", FREE)
    assert await desk.hears() == [("ada", "free")]


async def test_who_has_another_platform_is_not_lost_with_the_phone(desk: Desk):
    known(desk, _1=FREE, _2=LOST)
    assert ("ben", "free") in await desk.hears()


async def test_a_phone_that_a_call_of_ours_has_is_not_reported_busy(desk: Desk):
    known(desk, _1=FREE)
    await desk.hears()
    desk.in_calls.follow(call_with("PJSIP/1", "ada"))
    desk.seen.learn("PJSIP/1", BUSY)
    assert await desk.hears() == []
    desk.in_calls.ended("c")
    assert await desk.hears() == [("ada", "busy")]  # and yet in use: by somebody else


async def test_of_two_who_share_a_phone_the_other_one_is_busy(desk: Desk):
    desk.at["ben"] = "PJSIP/1"
    known(desk, _1=FREE)
    await desk.hears()
    desk.in_calls.follow(call_with("PJSIP/1", "ada"))
    desk.seen.learn("PJSIP/1", BUSY)
    assert await desk.hears() == [("ben", "busy")]


async def test_a_phone_that_is_lost_in_a_call_of_ours_is_told_at_once(desk: Desk):
    known(desk, _1=FREE)
    await desk.hears()
    desk.in_calls.follow(call_with("PJSIP/1", "ada"))
    desk.seen.learn("PJSIP/1", LOST)
    assert await desk.hears() == [("ada", "lost")]


async def test_a_phone_of_which_nothing_is_known_is_not_spoken_of(desk: Desk):
    known(desk)
    assert await desk.hears() == [("eve", "free")]


async def test_who_moves_to_another_phone_is_where_that_one_stands(desk: Desk):
    known(desk, _1=LOST, _9=FREE)
    await desk.hears()
    desk.at["ada"] = "PJSIP/9"
    assert await desk.hears() == [("ada", "free")]
    desk.seen.learn("PJSIP/9", BUSY)
    assert await desk.hears() == [("ada", "busy")]


async def test_an_agent_who_is_gone_is_forgotten(desk: Desk):
    known(desk, _1=LOST)
    await desk.hears()
    del desk.agents["ada"]
    assert await desk.hears() == []
    desk.agents["ada"] = ADA
    assert await desk.hears() == [("ada", "lost")]


@pytest.mark.parametrize("error", [StoreDownError(), NotFoundError()])
async def test_what_the_store_did_not_take_is_told_again(desk: Desk, error: Exception):
    known(desk, _1=LOST)
    desk.error = error
    with capture_logs() as said:
        assert await desk.hears() == []
    assert bool(said) is isinstance(error, StoreDownError)
    desk.error = None
    assert ("ada", "lost") in await desk.hears()


async def test_after_the_next_connect_nothing_counts_as_told(desk: Desk):
    known(desk, _1=LOST)
    await desk.hears()
    known(desk, _1=LOST)
    assert ("ada", "lost") in await desk.hears()


def test_what_asterisk_says_of_a_phone():
    assert phone_state("NOT_INUSE") is FREE
    assert {phone_state(one) for one in ("INUSE", "BUSY", "ONHOLD", "RINGINUSE")} == {BUSY}
    assert {phone_state(one) for one in ("UNAVAILABLE", "INVALID")} == {LOST}
    assert {phone_state(one) for one in ("UNKNOWN", "RINGING", "")} == {None}
