"""Phones, files, the store and Asterisk itself fail, and callers come or press keys without end."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from deploy.asterisk.instance import Instance
from ivr.hold import HoldPolicy
from pbx.machine.events import Gone, HangUpCall
from pbx.machine.plans import RecordingPolicy
from pbx.machine.state import CallState, Phase
from pbx.ports import RecordingStarted
from rules.actions import End, Menu
from tests.chaos.pbx.conftest import PHONES, Fate
from tests.chaos.pbx.faults import BadLine
from tests.chaos.pbx.house import AGENTS, CALLED, PHASES, SUPPORT, House, Town, all_is_well
from tests.chaos.pbx.test_chaos_takeover import reconnected, tell
from tests.integration.asterisk.capture import Key, Silence, Tone, keys
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import (
    AGENT_HZ,
    CALLER_HZ,
    MUSIC_HZ,
    controlled,
    leaked_by,
    the_call,
    until,
)

pytestmark = [pytest.mark.chaos]
BACK_WITHIN_S = 5.0
CALLERS = 200
ADA, BEN, EVE, HAL = (AGENTS[name] for name in ("ada", "ben", "eve", "hal"))


async def test_when_asterisk_is_restarted_all_calls_end_and_agents_and_line_are_free(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    async with controlled(asterisk, town, longest_pause_s=0.3) as controller:
        async with House(asterisk, town, controller, PHONES, phones_folder) as house:
            await asyncio.to_thread(asterisk.kill)
            await asyncio.to_thread(asterisk.start)
            back_at = time.monotonic()
            await reconnected(controller)
            await all_is_well(asterisk, town, controller, calls=len(PHASES), limit_s=BACK_WITHIN_S)
            took_s = time.monotonic() - back_at
            assert took_s < BACK_WITHIN_S
            tell(fates, f"Asterisk killed, all free {took_s:.1f} s after its return", house)
        async with caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=500) as customer:
            await the_call(controller, Phase.HOLDING)
            await customer.ended()


async def test_a_phone_that_vanishes_while_ringing_costs_the_caller_nothing(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.free, town.ring_s = ["ada", "eve"], 2
    async with (
        controlled(asterisk, town) as controller,
        Ear() as hears,
        phone(phones_folder, "phone_rings_on", port=PHONES[ADA]) as vanishing,
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES[EVE],
            says=[Tone(AGENT_HZ, 5)],
            hold_ms=1000,
        ),
        caller(asterisk, phones_folder, ear=hears) as customer,
    ):
        await hears.until_hears(MUSIC_HZ)
        vanishing.vanish()
        await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    assert [agent for agent, _ in town.unanswered_agents] == ["ada"]
    fates.append(one_call("phone vanishes while it rings", "in line", town))


async def test_a_phone_that_vanishes_while_talking_leaves_no_agent_stuck(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    # A phone of its own: Asterisk goes on asking the one that vanished in the test before.
    town.free = ["hal"]
    async with (
        controlled(asterisk, town) as controller,
        phone(phones_folder, port=PHONES[HAL], says=[Tone(AGENT_HZ, 30)]) as vanishing,
        caller(asterisk, phones_folder, "caller_hangs_up", hold_ms=2500) as customer,
    ):
        await town.until_noted("talking")
        vanishing.vanish()
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1, limit_s=5)
    assert town.wrapped_up == ["hal"]
    fates.append(one_call("phone vanishes while it talks", "talking", town))


async def test_a_missing_prompt_does_not_end_a_call(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    """The file is gone between the question for it and the playing of it."""
    town.actions["100"] = Menu(
        name="main", prompt="no such file", choices={"1": SUPPORT}, otherwise=End(), timeout_s=5
    )
    says = [Silence(1.5), *keys("1"), Silence(3)]
    async with (
        controlled(asterisk, town) as controller,
        caller(asterisk, phones_folder, "caller_hangs_up", says=says, hold_ms=3500) as customer,
    ):
        session = await the_call(controller, Phase.HOLDING)
        assert session.state.digits == {"main": "1"}
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    fates.append(one_call("prompt file missing", "in a menu", town))


@pytest.mark.parametrize("fault", ["unwritable", "full"])
async def test_a_recording_that_cannot_be_written_does_not_end_a_call(
    asterisk: Instance,
    town: Town,
    phones_folder: Path,
    tmp_path: Path,
    fates: list[Fate],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
):
    begin = town.begin
    if fault == "unwritable":
        (tmp_path / "file").touch()
        town.folder = tmp_path / "file" / "no folder"

    def begin_on_a_full_disk(state: CallState) -> RecordingStarted:
        started = begin(state)
        Path(f"{started.folder}/{started.name}.wav").symlink_to("/dev/full")
        return started

    if fault == "full":
        monkeypatch.setattr(town, "begin", begin_on_a_full_disk)
    town.free = ["ada"]
    town.recording = RecordingPolicy(record=True)
    async with (
        controlled(asterisk, town) as controller,
        Ear() as hears,
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES[ADA],
            says=[Tone(AGENT_HZ, 5)],
            hold_ms=1500,
        ),
        caller(asterisk, phones_folder, says=[Tone(CALLER_HZ, 5)], ear=hears) as customer,
    ):
        await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    assert "recording_failed" in town.what()
    fates.append(one_call(f"recordings folder {fault}", "recorded talk", town))


async def test_of_200_callers_at_once_for_3_agents_each_gets_an_end(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.free, town.frees_itself, town.left_s = ["ada", "ben", "eve"], True, 15.0
    town.recording = RecordingPolicy()
    async with contextlib.AsyncExitStack() as stack:
        controller = await stack.enter_async_context(controlled(asterisk, town))
        for number in (ADA, BEN, EVE):
            one = phone(
                phones_folder,
                "phone_hangs_up",
                port=PHONES[number],
                ring_ms=20,
                hold_ms=700,
                count=CALLERS,
            )
            await stack.enter_async_context(one)
        crowd = caller(asterisk, phones_folder, count=CALLERS)
        await stack.enter_async_context(crowd)
        await crowd.ended()
        await all_is_well(asterisk, town, controller, calls=CALLERS)
    talked = {call for call, what in town.notes if what == "talking"}
    waited = {call for call, what in town.notes if what == "queue_waited_too_long"}
    assert len(town.closed) == CALLERS
    assert talked | waited == set(town.closed)
    fault = f"{CALLERS} callers at once for 3 agents"
    fates.append(Fate(fault=fault, call="in line", became="talked to an agent", count=len(talked)))
    overflow = len(waited - talked)
    fates.append(Fate(fault=fault, call="in line", became="overflow after 15 s", count=overflow))
    leaked = leaked_by(asterisk)
    fates.append(Fate(fault=fault, call="(no call)", became="leaked by Asterisk", count=leaked))


@pytest.mark.parametrize("where", ["menu", "line"])
async def test_a_caller_who_presses_keys_all_the_time_gets_an_end_and_disturbs_nobody(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate], where: str
):
    town.hold = HoldPolicy(announce_wait=False, interval_s=1)
    mashed = [Key("0347"[number % 4], 0.04, 0.02) for number in range(150)]
    town.free = ["ada"]
    async with (
        controlled(asterisk, town) as controller,
        Ear() as hears,
        phone(phones_folder, port=PHONES[ADA], says=[Tone(AGENT_HZ, 30)]),
        caller(asterisk, phones_folder, called="777", says=[Tone(CALLER_HZ, 30)], ear=hears),
    ):
        await hears.until_hears(AGENT_HZ)
        other = await the_call(controller, Phase.TALKING)
        called = CALLED["menu"] if where == "menu" else "100"
        masher = caller(
            asterisk, phones_folder, "caller_hangs_up", called=called, says=mashed, hold_ms=9000
        )
        if where == "menu":
            masher = caller(asterisk, phones_folder, called=called, says=mashed)
        async with masher:
            await until(lambda: len(town.began) == 2, "the second call")
            await masher.ended()
        await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        other.post(HangUpCall())
        await all_is_well(asterisk, town, controller, calls=2)
    masher_id = next(call for call in town.closed if call != other.state.id)
    became = ", ".join(town.what(masher_id))
    fates.append(Fate(fault=f"keys all the time in the {where}", call="who presses", became=became))
    became = ", ".join(town.what(other.state.id))
    fates.append(Fate(fault=f"keys all the time in the {where}", call="talking", became=became))


async def test_a_line_that_loses_packets_still_carries_a_call_through(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.free = ["ada"]
    says = [Silence(1.2), *keys("1"), Tone(CALLER_HZ, 10)]
    async with (
        controlled(asterisk, town) as controller,
        BadLine(asterisk.ports.sip, lost=0.2) as line,
        Ear() as agent,
        phone(phones_folder, port=PHONES[ADA], ear=agent) as answering,
        caller(
            asterisk,
            phones_folder,
            "caller_hangs_up",
            called=CALLED["menu"],
            says=says,
            hold_ms=6000,
            sip_port=line.port,
            lost=0.1,
        ) as customer,
    ):
        await agent.until_hears(CALLER_HZ, limit_s=20)
        session = await the_call(controller, Phase.TALKING)
        assert session.state.digits == {"main": "1"}
        await customer.ended()
        await answering.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    assert line.dropped > 0
    fault = "SIP loses 20 % each way, RTP 10 %"
    fates.append(one_call(fault, "menu, line, talk", town))


async def test_while_the_store_is_gone_callers_hear_music_and_go_on_afterwards(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.is_down, town.answers_in_s, town.patience_s = True, 0.3, 30.0
    async with (
        controlled(asterisk, town) as controller,
        Ear() as hears,
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES[ADA],
            says=[Tone(AGENT_HZ, 5)],
            hold_ms=1000,
        ),
        caller(asterisk, phones_folder, ear=hears) as customer,
    ):
        await hears.until_hears(MUSIC_HZ)
        await hears.listen(2)
        await hears.until_hears(MUSIC_HZ)
        town.is_down, town.answers_in_s = False, 0.0
        town.set_free("ada")
        await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    fates.append(one_call("store gone, back before patience ends", "arrives", town))


async def test_a_store_that_stays_away_leads_to_the_queues_fallback(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.is_down, town.answers_in_s, town.patience_s = True, 0.2, 1.0
    async with (
        controlled(asterisk, town) as controller,
        caller(asterisk, phones_folder) as customer,
    ):
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    assert "queue_store_down" in town.what()
    fates.append(one_call("store gone for longer than patience", "arrives", town))


async def test_a_store_that_goes_while_the_phone_rings_does_not_part_caller_and_agent(
    asterisk: Instance, town: Town, phones_folder: Path, fates: list[Fate]
):
    town.free = ["ada"]
    async with (
        controlled(asterisk, town) as controller,
        Ear() as hears,
        phone(
            phones_folder,
            "phone_hangs_up",
            port=PHONES[ADA],
            ring_ms=800,
            says=[Tone(AGENT_HZ, 5)],
            hold_ms=1000,
        ),
        caller(asterisk, phones_folder, ear=hears) as customer,
    ):
        await town.until_noted("offered")
        town.is_down, town.answers_in_s = True, 0.3
        await hears.until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        await customer.ended()
        await all_is_well(asterisk, town, controller, calls=1)
    assert Gone.LOST not in [why for _, why in town.unanswered_agents]
    fates.append(one_call("store gone while the phone rings", "offered", town))


def one_call(fault: str, call: str, town: Town) -> Fate:
    return Fate(fault=fault, call=call, became=", ".join(town.what()))
