"""Promises on a real Redis: callbacks with their place, PINs, messages."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest
from msgspec.structs import replace

from pbx.machine.events import Matched, Placed
from pbx.machine.plans import QueuePlan
from pbx.machine.state import CallState
from router.deadline import Deadline, in_s
from router.errors import NotFoundError, OutcomeUnknownError
from router.site.directory import TenantResources, build
from router.site.resources import AgentConfig, HoldQueue
from router.store import keys
from router.store.callbacks import About, Callbacks, Status
from router.store.mailboxes import LOCKED_MS, MOST_MESSAGES, WRONG_PINS, Mailboxes, Message, Pins
from router.store.phones import Phones
from router.telephony.logging_in import LOGGED_OUT, LoginDesk
from router.telephony.pins import hash_pin, is_pin
from router.telephony.promises import StorePromises
from router.telephony.recordings import RecordingFiles
from rules.actions import Enqueue, Relax
from tests.integration.redis.telephony.switchboard import (
    CALLER,
    DIALABLE,
    TENANT,
    Switchboard,
    call,
    directory,
    queue,
    switchboard,
)


@contextlib.asynccontextmanager
async def promising(
    redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Switchboard, StorePromises]]:
    (tmp_path / "spool").mkdir()
    async with switchboard(redis_url) as board:
        yield (
            board,
            StorePromises(
                desk=board.desk,
                callbacks=board.callbacks,
                pbx_line=board.pbx_line,
                holding=board.holding,
                mailboxes=Mailboxes(board.links),
                pins=Pins(board.links),
                logins=board.logins,
                recordings=RecordingFiles(
                    spool=tmp_path / "spool", final=tmp_path / "final", records=board.notes
                ),
                records=board.notes,
                dialable=DIALABLE,
                tenant=TENANT,
            ),
        )


def waiting(board: Switchboard, state: CallState) -> CallState:
    wish = Enqueue(
        queue="support", priority=3, skills={"es": 10}, relax=(Relax(after_s=9, skills={}),)
    )
    plan = board.planner.plan(state, wish)
    assert isinstance(plan, QueuePlan)
    return replace(state, queue=plan, in_line=True)


async def test_a_promise_takes_over_place_priority_and_skills_of_the_call(
    redis_url: str, tmp_path: Path
):
    async with promising(redis_url, tmp_path) as (board, promises):
        await board.has("ada")
        assert isinstance(await board.arrives(call("+12125550150")), Matched)
        state = waiting(board, call(CALLER))
        assert state.queue is not None
        assert isinstance(await board.queueing.stand_in_line(state, state.queue), Placed)
        arrived = await board.pbx_line.arrival(TENANT, state.id, in_s(5))
        assert await promises.promise_callback(state, "support", "(212) 555-0142")
        assert await promises.promise_callback(state, "support", CALLER)  # a takeover asks again
        (kept,) = await board.callbacks.find(TENANT, in_s(5))
        assert (kept.arrival_ms, kept.status) == (arrived, Status.WAITING)
        assert (kept.about.priority, kept.about.skills) == (3, {"es": 10})
        assert kept.about.relax == (Relax(after_s=9, skills={}),)
        assert await board.queueing.standing(state) is None
        assert board.holding.find(state.id) is None


async def test_who_is_to_be_called_back_already_and_asks_again_leaves_the_line(
    redis_url: str, tmp_path: Path
):
    async with promising(redis_url, tmp_path) as (board, promises):
        await board.has("ada", on_duty=False)
        board.world = directory(
            [queue(hold_queue=HoldQueue(unattended_queue=True))], {"ada": "PJSIP/6001"}
        )
        before = await board.desk.create("support", CALLER, in_s(5))
        state = waiting(board, call(CALLER))
        assert state.queue is not None
        assert isinstance(await board.queueing.stand_in_line(state, state.queue), Placed)
        assert await promises.promise_callback(state, "support", CALLER)
        assert [one.about.id for one in await board.callbacks.find(TENANT, in_s(5))] == [before.id]
        assert await board.queueing.standing(state) is None
        assert board.holding.find(state.id) is None
        await board.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
        assert not await board.line.next_for_agent(
            TENANT, "ada", token="t" * 32, lease_ms=9_000, deadline=in_s(5)
        )


async def test_whoever_takes_over_after_closing_time_finds_the_promise_and_keeps_it(
    redis_url: str, tmp_path: Path
):
    async with promising(redis_url, tmp_path) as (board, promises):
        await board.has("ada")
        state = waiting(board, call(CALLER))
        assert await promises.promise_callback(state, "support", CALLER)
        board.world = directory([], {})  # no such queue any more
        with pytest.raises(NotFoundError):
            board.desk.check("support", CALLER)
        assert await promises.promise_callback(state, "support", CALLER)
        assert not await promises.promise_callback(call(CALLER), "support", CALLER)


class Mute(Callbacks):
    """The store's answer to a promise is lost on its way, this often."""

    losses = 1

    async def create(
        self, tenant: str, about: About, deadline: Deadline, *, arrival_ms: int | None = None
    ) -> None:
        await super().create(tenant, about, deadline, arrival_ms=arrival_ms)
        if self.losses:
            self.losses -= 1
            raise OutcomeUnknownError


async def test_a_promise_whose_answer_was_lost_is_found_and_kept(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        await board.has("ada")
        promises._callbacks = Mute(board.links)
        state = waiting(board, call(CALLER))
        assert await promises.promise_callback(state, "support", CALLER)
        (kept,) = await board.callbacks.find(TENANT, in_s(5))
        assert kept.about.call == state.id


async def test_what_cannot_be_called_back_is_not_promised(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        state = waiting(board, call(None))
        for number in ("911", "+4930123456", ""):
            assert not await promises.may_call_back(state, number)
            assert not await promises.promise_callback(state, "support", number)
        assert await promises.may_call_back(state, "2125550142")


async def test_pins_are_hashed_checked_and_locked_after_too_many_wrong_ones(
    redis_url: str, tmp_path: Path
):
    async with promising(redis_url, tmp_path) as (board, promises):
        digest = hash_pin("4711")
        assert "4711" not in digest
        assert hash_pin("4711") != digest
        await Pins(board.links).set(TENANT, "ada", digest, in_s(5))
        assert not await promises.check_pin("ben", "4711")
        for _ in range(WRONG_PINS - 1):
            assert not await promises.check_pin("ada", "0000")
        assert await promises.check_pin("ada", "4711")  # and sets the count back
        for _ in range(WRONG_PINS):
            assert not await promises.check_pin("ada", "0000")
        assert not await promises.check_pin("ada", "4711")
        assert LOCKED_MS > 60_000


async def agents_with_pins(board: Switchboard, phones: dict[str, str | None]) -> None:
    """Off duty; the PIN of each is 4711."""
    board.world = directory([queue()], phones)
    digest = hash_pin("4711")
    for agent in phones:
        await board.has(agent, on_duty=False)
        await Pins(board.links).set(TENANT, agent, digest, in_s(5))


def phone_of(board: Switchboard, agent: str) -> str | None:
    known = board.planner.agent(agent)
    assert known is not None
    return known.endpoint


async def test_an_agent_without_a_phone_is_rung_where_they_logged_in_and_not_after_they_logged_out(
    redis_url: str, tmp_path: Path
):
    async with promising(redis_url, tmp_path) as (board, promises):
        await agents_with_pins(board, {"7": None})
        desk = call(phone="PJSIP/6001")
        assert not await promises.log_in(desk, "7", "0000", on=True)
        assert not await promises.log_in(desk, "70", "4711", on=True)
        assert (await board.state_of("7"), phone_of(board, "7")) == ("off_duty", None)
        assert await promises.log_in(desk, "7", "4711", on=True)
        matched = await board.arrives(call())
        assert isinstance(matched, Matched)
        assert [offer.endpoint for offer in matched.offers] == ["PJSIP/6001"]
        await board.queueing.release("7", matched.token)
        assert await promises.log_in(call(), "7", "4711", on=False)  # from any phone
        view = await board.agents.get(TENANT, "7", in_s(5))
        assert view is not None
        assert view.effective.state == "off_duty"
        assert view.record.reason == LOGGED_OUT
        assert phone_of(board, "7") is None
        assert [word for word in board.notes.words() if word.startswith("logged")] == [
            "logged_in",
            "logged_out",
        ]


async def test_where_an_agent_logged_in_outlives_the_process(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        await agents_with_pins(board, {"7": "PJSIP/6002"})
        assert await promises.log_in(call(phone="PJSIP/6001"), "7", "4711", on=True)
        other = LoginDesk(Phones(board.links), board.agents, lambda: board.world, TENANT)
        agent = board.world.agent(TENANT, "7")
        assert agent is not None
        assert other.placed(agent).endpoint == "PJSIP/6002"
        await other.renew()
        assert other.placed(agent).endpoint == "PJSIP/6001"


async def test_a_phone_is_the_last_agents_who_logged_in_there(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        await agents_with_pins(board, {"7": None, "8": None})
        desk = call(phone="PJSIP/6001")
        assert await promises.log_in(desk, "7", "4711", on=True)
        assert await promises.log_in(desk, "8", "4711", on=True)
        assert [await board.state_of(agent) for agent in ("7", "8")] == ["off_duty", "available"]
        await board.logins.renew()
        assert (phone_of(board, "7"), phone_of(board, "8")) == (None, "PJSIP/6001")


async def test_whoever_has_that_phone_by_the_site_goes_off_duty(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        await agents_with_pins(board, {"7": None, "8": "PJSIP/6001", "9": "PJSIP/6001"})
        await board.agents.set_duty(TENANT, "8", on=True, deadline=in_s(5))
        assert await promises.log_in(call(phone="PJSIP/6001"), "7", "4711", on=True)
        assert [await board.state_of(agent) for agent in "789"] == [
            "available",
            "off_duty",
            "off_duty",
        ]
        view = await board.agents.get(TENANT, "9", in_s(5))
        assert view is not None
        assert view.record.reason is None  # was not on duty: nothing has happened to them


async def test_a_call_from_outside_logs_in_only_who_has_a_phone(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        await agents_with_pins(board, {"7": None, "8": "PJSIP/6002"})
        assert not await promises.log_in(call(), "7", "4711", on=True)
        assert await promises.log_in(call(), "8", "4711", on=True)
        assert [await board.state_of(agent) for agent in ("7", "8")] == ["off_duty", "available"]
        assert phone_of(board, "8") == "PJSIP/6002"


def test_a_number_of_two_agents_is_nobodys():
    agents = {
        "1": AgentConfig(id="1", name="Ada"),
        "2": AgentConfig(id="2", name="Ben", number="77"),
        "eve": AgentConfig(id="eve", name="Eve", number="1"),
        "kim": AgentConfig(id="kim", name="Kim"),
    }
    world = build({TENANT: TenantResources(agents=agents)}, lambda _: "")
    assert world.agent_by_number(TENANT, "77") == agents["2"]
    assert [world.agent_by_number(TENANT, number) for number in ("1", "2", "kim")] == [None] * 3


def test_a_damaged_hash_is_nobodys_pin():
    with pytest.raises(ValueError, match="base64"):
        is_pin("1", "a$b")


async def test_a_message_is_moved_listed_and_on_record(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        state = call(CALLER)
        name = f"{state.id}.{'a' * 32}.wav"
        (tmp_path / "spool" / name).write_bytes(bytes(4000))
        file = PurePosixPath(tmp_path / "spool" / name)
        await promises.keep_message(state, "user-ada", file)
        (message,) = await Mailboxes(board.links).find(TENANT, "user-ada", in_s(5))
        assert (message.file, message.caller) == (name, CALLER)
        assert (tmp_path / "final" / name).exists()
        assert board.notes.words() == ["recorded", "message_kept"]
        recorded = board.notes.noted[0][1].detail
        assert recorded == f"{name} {message.sha256} user-ada"


async def test_a_message_that_is_kept_twice_is_one_message(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        state = call()
        file = tmp_path / "spool" / f"{state.id}.{'a' * 32}.wav"
        file.write_bytes(bytes(4000))
        for _ in range(2):  # whoever took the call over does not know of the first time
            await promises.keep_message(state, "user-ada", PurePosixPath(file))
        assert len(await Mailboxes(board.links).find(TENANT, "user-ada", in_s(5))) == 1
        assert board.notes.words() == ["recorded", "message_kept"] * 2


async def test_a_message_is_listed_no_longer_than_its_file_is_kept(redis_url: str):
    async with switchboard(redis_url) as board:
        mailboxes = Mailboxes(board.links, keep_days=1)
        now_ms, day_ms = int(time.time() * 1000), 86_400_000
        for number, age_ms in enumerate((day_ms + 60_000, day_ms - 60_000, 0)):
            message = Message(call=f"c{number}", at_ms=now_ms - age_ms, file="f", sha256="s")
            await mailboxes.add(TENANT, "user-ada", message, in_s(5))
        listed = await mailboxes.find(TENANT, "user-ada", in_s(5))
        assert [one.call for one in listed] == ["c2", "c1"]
        link = board.links.link_for(TENANT)
        left_ms = await link.call("PTTL", keys.messages(TENANT, "user-ada"), deadline=in_s(5))
        assert isinstance(left_ms, int)
        assert day_ms - 60_000 < left_ms <= day_ms
        for number in range(MOST_MESSAGES + 5):
            message = Message(call=f"d{number}", at_ms=now_ms, file="f", sha256="s")
            await mailboxes.add(TENANT, "user-ada", message, in_s(5))
        listed = await mailboxes.find(TENANT, "user-ada", in_s(5), limit=2 * MOST_MESSAGES)
        assert len(listed) == MOST_MESSAGES


async def test_a_message_without_a_file_is_reported(redis_url: str, tmp_path: Path):
    async with promising(redis_url, tmp_path) as (board, promises):
        await promises.keep_message(call(), "user-ada", PurePosixPath(tmp_path / "spool" / "x.wav"))
        assert board.notes.words() == ["message_lost"]
