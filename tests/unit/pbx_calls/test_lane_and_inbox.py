"""Lanes keep order and survive what fails; the inbox keeps what matters; both are bounded."""

import asyncio

import pytest

from ivr.steps import Key
from pbx import soon
from pbx.ami.values import ChannelName, UniqueId
from pbx.causes import known_cause, why_gone
from pbx.errors import ChannelGoneError
from pbx.inbox import MOST_EVENTS, MOST_KEYS, Inbox
from pbx.lane import MOST_WAITING, Lane, Lanes
from pbx.legs import Channels
from pbx.machine.events import BridgeOver, Gone, LegGone, Recovered
from pbx.machine.plans import LegId

ADA = LegId("ada")


async def test_a_lane_works_in_order_and_goes_on_after_what_fails():
    lanes, done = Lanes(), list[int]()

    async def work(number: int) -> None:
        done.append(number)
        if number == 1:
            raise ChannelGoneError
        if number == 2:
            raise RuntimeError

    for number in range(4):
        lanes.caller.add(lambda number=number: work(number))
        lanes.store.add(asyncio.Event().wait if number == 0 else lambda: work(99))
    lanes.caller.add(lambda: asyncio.sleep(0, done.append(4)))
    async with asyncio.timeout(5):
        while len(done) < 5:
            await asyncio.sleep(0)
    assert done == [0, 1, 2, 3, 4]
    await lanes.close()


async def test_a_full_lane_refuses_work():
    refused = list[bool]()
    lane = Lane("caller", on_full=lambda: refused.append(True))
    taken = [lane.add(lambda: asyncio.sleep(0)) for _ in range(MOST_WAITING + 1)]
    assert taken == [True] * MOST_WAITING + [False]
    assert refused == [True]
    await lane.close()


async def test_the_last_words_for_the_store_are_waited_for_but_not_for_ever():
    lanes = Lanes()
    heard = list[str]()
    lanes.store.add(lambda: asyncio.sleep(0, heard.append("all")))
    assert await lanes.store.is_empty(5)
    assert heard == ["all"]
    lanes.store.add(asyncio.Event().wait)
    assert not await lanes.store.is_empty(0.01)
    await lanes.close()


async def test_what_takes_no_time_is_done_at_once_but_never_ahead_of_what_was_there_before():
    lane, done = Lane("caller"), list[str]()
    goes_on = asyncio.Event()

    async def wait() -> None:
        await goes_on.wait()
        done.append("waited")

    def fail() -> None:
        done.append("failed")
        raise ChannelGoneError

    assert lane.do(fail)
    assert lane.do(lambda: done.append("at once"))
    assert done == ["failed", "at once"]
    assert await lane.is_empty(0)
    lane.add(wait)
    lane.do(lambda: done.append("behind"))
    assert not await lane.is_empty(0.001)
    goes_on.set()
    assert await lane.is_empty(5)
    assert done == ["failed", "at once", "waited", "behind"]
    assert len(asyncio.all_tasks()) == 1


async def test_closed_lanes_leave_no_task():
    lanes = Lanes()
    lanes.leg(ADA).add(asyncio.Event().wait)
    await asyncio.sleep(0)
    await lanes.close()
    assert not lanes.leg(ADA).add(asyncio.Event().wait)
    assert not lanes.stop.add(asyncio.Event().wait)
    assert len(asyncio.all_tasks()) == 1


async def test_keys_never_push_out_what_matters():
    inbox = Inbox()
    assert [inbox.put(Key("1")) for _ in range(1000)].count(True) == MOST_KEYS
    assert inbox.put(LegGone(leg=ADA, why=Gone.HUNG_UP))
    for _ in range(MOST_KEYS):
        assert await inbox.take() == Key("1")
    assert await inbox.take() == LegGone(leg=ADA, why=Gone.HUNG_UP)
    assert inbox.put(Key("2"))


async def test_the_inbox_tells_whose_end_waits_in_it():
    inbox = Inbox()
    inbox.put(BridgeOver())
    inbox.put(LegGone(leg=ADA, why=Gone.HUNG_UP))
    assert inbox.tells_of_the_end_of(ADA)
    assert not inbox.tells_of_the_end_of(LegId("ben"))
    for _ in range(2):
        await inbox.take()
    assert not inbox.tells_of_the_end_of(ADA)


async def test_who_waits_for_an_event_gets_it():
    inbox = Inbox()
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    inbox.put(Key("1"))
    async with asyncio.timeout(5):
        assert await taking == Key("1")


async def test_the_inbox_is_bounded_and_still_takes_the_end_of_a_leg():
    inbox = Inbox()
    assert [inbox.put(BridgeOver()) for _ in range(1000)].count(True) == MOST_EVENTS
    assert inbox.put(LegGone(leg=ADA, why=Gone.HUNG_UP))
    assert inbox.put(Recovered(alive=frozenset()))
    assert len(inbox) == MOST_EVENTS + 2


@pytest.mark.parametrize(
    ("cause", "sip", "has_rung", "why"),
    [
        (17, "486", True, Gone.BUSY),
        (21, "603", True, Gone.DECLINED),
        (1, "404", False, Gone.UNREACHABLE),
        (19, "480", True, Gone.NO_ANSWER),
        (19, "480", False, Gone.UNREACHABLE),
        (34, "503", False, Gone.UNREACHABLE),
        (26, "SIP 487", True, Gone.CANCELLED),
        (0, "", True, Gone.NO_ANSWER),
        (17, "", True, Gone.BUSY),
    ],
)
def test_why_a_phone_is_gone_is_read_from_its_answer(
    cause: int, sip: str, *, has_rung: bool, why: Gone
):
    assert why_gone(cause, sip, was_up=False, has_rung=has_rung) is why
    assert why_gone(cause, sip, was_up=True, has_rung=True) is Gone.HUNG_UP


def test_channels_are_known_by_id_whatever_its_case_and_by_their_latest_name():
    channels = Channels()
    channels.move(channels.seen(UniqueId("PBX-1.2"), ChannelName("PJSIP/a-1")), "b")
    channels.seen(UniqueId("pbx-1.2"), ChannelName("PJSIP/a-2"))
    assert len(channels) == 1
    found = channels.find("PBX-1.2")
    assert found is not None
    assert found.name == "PJSIP/a-2"
    assert channels.in_bridge("b") == [found]
    assert channels.in_bridge("") == []
    channels.move(found, "c")
    assert (channels.in_bridge("b"), channels.in_bridge("c")) == ([], [found])
    assert channels.gone("pbx-1.2") is found
    assert channels.in_bridge("c") == []
    assert channels.find("pbx-1.2") is None


async def test_a_channel_is_waited_for_until_it_is_gone_and_not_for_ever():
    channels = Channels()
    await channels.until_gone("pbx-1.1", 60)
    for number in (1, 2, 3):
        channels.seen(UniqueId(f"pbx-1.{number}"), ChannelName(f"PJSIP/a-{number}"))
    first, again, cleared = (
        asyncio.create_task(channels.until_gone(one, 60))
        for one in ("PBX-1.1", "pbx-1.1", "pbx-1.2")
    )
    await asyncio.sleep(0)
    again.cancel()
    await asyncio.sleep(0)
    channels.gone("pbx-1.1")
    await first
    await channels.until_gone("pbx-1.3", 0.01)
    assert not cleared.done()
    channels.clear()
    await cleared


def test_a_cause_that_asterisk_leaves_out_is_that_of_the_sip_answer():
    assert known_cause(0, "486", was_up=False) == 17
    assert known_cause(0, "SIP 603 Decline", was_up=False) == 21
    assert known_cause(0, "", was_up=False) == 0
    assert known_cause(0, "", was_up=True) == 16, "somebody has hung up"
    assert known_cause(21, "486", was_up=False) == 21, "what Asterisk says is believed"


def test_a_phone_that_falls_silent_has_not_hung_up_but_one_with_the_same_cause_from_another_has():
    assert why_gone(44, "", was_up=True, has_rung=True, is_ended=True) is Gone.VANISHED
    assert why_gone(44, "", was_up=True, has_rung=True) is Gone.HUNG_UP
    assert why_gone(16, "", was_up=True, has_rung=True, is_ended=True) is Gone.HUNG_UP


async def test_what_is_written_soon_goes_out_with_what_is_written_next(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(soon, "SOON_S", 0.05)
    waiting, written = soon.Soon(), list[str]()
    for name in ("a", "b", "c"):
        waiting.put(name, lambda name=name: written.append(name))  # type: ignore[misc]  # bound now
    waiting.put("a", lambda: written.append("again"))
    waiting.drop("b")
    assert written == []
    waiting.begin()
    assert written == ["a", "c"]
    waiting.put("d", lambda: waiting.put("d", lambda: written.append("e")))
    async with asyncio.timeout(1):
        while written[-1] != "e":
            await asyncio.sleep(0.01)
    assert waiting._timer is None
    waiting.put("f", lambda: written.append("f"))
    waiting.drop("f")
    await asyncio.sleep(0.1)
    assert written == ["a", "c", "e"]
