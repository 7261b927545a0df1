"""Commands to a PBX in a real Redis: taken once, never late, by the one in charge; and what breaks without."""

from collections.abc import Iterator, Mapping

import pytest

from router.deadline import Deadline
from router.store import keys
from router.store.live_calls import LiveCalls
from router.store.pbx_commands import (
    GONE_AFTER_MS,
    MOST_IN_INBOX,
    DeposedError,
    Fate,
    PbxCommands,
    Sent,
    TakenCommand,
)
from router.store.scripts import Script
from tests.integration.redis.acd_world import LONG_MS, World, acd_world, broken, soon

PBX, TOKEN = "pbx", "mine"


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world


class Inbox:
    """Commands of one tenant; the controller has the lease and has just looked."""

    def __init__(self, world: World, scripts: Mapping[str, Script] | None = None) -> None:
        self.world = world
        self.commands = PbxCommands(world.links, scripts)
        self.lead(TOKEN)
        assert self.take() is None

    def lead(self, token: str) -> None:
        live = LiveCalls(self.world.links)
        self.world.client.delete(keys.pbx_lease(self.world.tenant, PBX))
        work = live.lead(self.world.tenant, PBX, token=token, lease_ms=LONG_MS, deadline=soon())
        assert self.world.run(work)

    def send(self, command_id: str = "k1", *, begin_in_s: float = 10) -> Sent:
        begin_by = Deadline(soon() - 10 + begin_in_s)
        return self.world.run(
            self.commands.send(
                self.world.tenant,
                PBX,
                command_id,
                b'{"do": "it"}',
                begin_by=begin_by,
                deadline=soon(),
            )
        )

    def take(self, token: str = TOKEN) -> TakenCommand | None:
        work = self.commands.take(self.world.tenant, PBX, token=token, deadline=soon())
        return self.world.run(work)

    def withdraw(self, command_id: str = "k1") -> tuple[Fate, bytes]:
        work = self.commands.withdraw(self.world.tenant, command_id, soon())
        return self.world.run(work)

    def answer(self, text: bytes, command_id: str = "k1") -> None:
        self.world.run(self.commands.answer(self.world.tenant, command_id, text, soon()))

    def heard(self, command_id: str = "k1") -> bytes | None:
        return self.world.run(self.commands.answer_to(self.world.tenant, command_id, soon()))


def test_a_command_is_taken_once_and_answered(world: World):
    inbox = Inbox(world)
    assert inbox.send() is Sent.SENT
    assert inbox.send() is Sent.SENT  # the answer to the first sending may have got lost
    taken = inbox.take()
    assert taken is not None
    assert (taken.id, taken.text) == ("k1", b'{"do": "it"}')
    assert 0 < taken.left_s <= 10
    assert inbox.take() is None
    assert inbox.heard() is None
    inbox.answer(b"done")
    inbox.answer(b"done again")
    assert inbox.heard() == b"done"
    assert inbox.withdraw() == (Fate.ANSWERED, b"done")


def test_commands_are_taken_in_the_order_they_were_sent(world: World):
    inbox = Inbox(world)
    for number in range(5):
        inbox.send(f"k{number}")
    taken = [inbox.take() for _ in range(5)]
    assert [one.id for one in taken if one] == ["k0", "k1", "k2", "k3", "k4"]


def late_is_never_taken(world: World, scripts: Mapping[str, Script] | None = None) -> None:
    inbox = Inbox(world, scripts)
    inbox.send("late", begin_in_s=0.01)
    inbox.send("k1")
    world.wait_until_ms(world.now_ms() + 30)
    taken = inbox.take()
    assert taken is not None
    assert taken.id == "k1"
    assert inbox.withdraw("late") == (Fate.WITHDRAWN, b"")


def withdrawn_is_never_taken(world: World, scripts: Mapping[str, Script] | None = None) -> None:
    inbox = Inbox(world, scripts)
    inbox.send()
    assert inbox.withdraw() == (Fate.WITHDRAWN, b"")
    assert inbox.take() is None


def only_the_one_in_charge_takes(world: World, scripts: Mapping[str, Script] | None = None) -> None:
    inbox = Inbox(world, scripts)
    inbox.send()
    inbox.lead("somebody else's")
    with pytest.raises(DeposedError):
        inbox.take()
    assert inbox.take("somebody else's") is not None


def test_what_is_late_is_never_taken(world: World):
    late_is_never_taken(world)


def test_what_was_withdrawn_is_never_taken(world: World):
    withdrawn_is_never_taken(world)


def test_only_the_controller_in_charge_takes(world: World):
    only_the_one_in_charge_takes(world)


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (("if now <= tonumber(v[3]) then --@late", "if true then"), late_is_never_taken),
        (("if v[1] == 'sent' then --@once", "if true then"), withdrawn_is_never_taken),
        (("return 'DEPOSED' end --@lease", "end"), only_the_one_in_charge_takes),
    ],
)
def test_a_broken_inbox_is_noticed(world: World, change: tuple[str, str], law: object):
    scripts = broken("pbx_command_take", change=change)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law(world, scripts)  # type: ignore[operator]


def test_a_taken_command_that_is_given_up_may_have_happened(world: World):
    inbox = Inbox(world)
    inbox.send()
    inbox.take()
    assert inbox.withdraw() == (Fate.TAKEN, b"")


def test_nothing_is_sent_to_a_pbx_that_nobody_runs(world: World):
    inbox = Inbox(world)
    looked_ms = world.now_ms() - GONE_AFTER_MS - 100
    world.client.zadd(keys.pbxs(world.tenant), {PBX: looked_ms})
    assert inbox.send() is Sent.AWAY
    assert world.run(inbox.commands.pbxs_at_work(world.tenant, soon())) == []
    assert inbox.take() is None
    assert inbox.send() is Sent.SENT
    assert world.run(inbox.commands.pbxs_at_work(world.tenant, soon())) == [PBX]


def test_the_inbox_is_bounded(world: World):
    inbox = Inbox(world)
    for number in range(MOST_IN_INBOX):
        assert inbox.send(f"k{number}") is Sent.SENT
    assert inbox.send("one too many") is Sent.CROWDED
