"""An agent's phone loses its power in the middle of a talk: it is noticed, and its caller is served first."""

import contextlib
import time
from pathlib import Path

import pytest

from pbx.machine.state import Phase
from router.call_record import Disposition
from tests.chaos.pbx.conftest import PHONES, SILENT, SILENT_S, Fate
from tests.chaos.pbx.house import until_asterisk_is_empty
from tests.chaos.pbx.switchboard import QUEUE_NUMBER, Switchboard, eventually
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.ear import Ear
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import AGENT_HZ, CALLER_HZ, MUSIC_HZ, THIRD_HZ

pytestmark = [pytest.mark.chaos]
TALKS, WAITS = "+12125550140", "+12125550141"
EVE = "6002"


async def test_a_caller_whose_agent_vanishes_is_the_next_to_be_served(
    board: Switchboard, phones_folder: Path, fates: list[Fate]
):
    async with contextlib.AsyncExitStack() as stack:
        process = board.process()
        await process.apply()
        await stack.enter_async_context(process)
        await process.until("reconciled")
        enter = stack.enter_async_context
        ears = {number: await enter(Ear()) for number in (TALKS, WAITS)}
        vanishing = await enter(phone(phones_folder, port=PHONES[SILENT], says=[Tone(AGENT_HZ, 2)]))
        await enter(phone(phones_folder, port=PHONES[EVE], says=[Tone(THIRD_HZ, 20)], count=2))
        await board.duty("ida")
        callers = {}
        for number, agent in ((TALKS, "ida"), (WAITS, None)):
            one = caller(
                board.asterisk,
                phones_folder,
                called=QUEUE_NUMBER,
                number=number,
                says=[Tone(CALLER_HZ, 60)],
                ear=ears[number],
            )
            callers[number] = await enter(one)
            await board.call_in(number, Phase.TALKING if agent else Phase.HOLDING, agent=agent)
        await ears[TALKS].until_hears(AGENT_HZ, never=(MUSIC_HZ,))
        vanishing.vanish()
        began = time.monotonic()
        await board.call_in(TALKS, Phase.HOLDING)
        noticed_s = time.monotonic() - began
        ids = {number: state.id for number, state in (await board.calls()).items()}

        async def served_first() -> bool:
            return await board.line() == [ids[TALKS], ids[WAITS]]

        await eventually(served_first, "the caller to stand before who waited all the time")
        await ears[TALKS].until_hears(MUSIC_HZ, never=(AGENT_HZ,))
        assert await board.state_of("ida") == "disabled"
        await board.duty("eve")
        await board.call_in(TALKS, Phase.TALKING, agent="eve")
        await ears[TALKS].until_hears(THIRD_HZ, never=(MUSIC_HZ,))
        for number in (TALKS, WAITS):
            state = await board.call_in(number, Phase.TALKING, agent="eve")
            await board.hang_up(state.channel)
            await callers[number].ended()

        async def all_ended() -> bool:
            ends = [record.ended_ms for record in (await board.records()).values()]
            return None not in ends and not await board.calls()

        await eventually(all_ended, "the ends of both calls on record")
        assert await board.waiting_keys() == []
        assert await board.state_of("ida") == "disabled"
        await until_asterisk_is_empty(board.asterisk)
        records = await board.records()
        await process.stop()
    assert {number: record.id for number, record in records.items()} == ids
    assert records[TALKS].agents == ("ida", "eve")
    assert [wait.outcome for wait in records[TALKS].waits] == ["talking", "talking"]
    assert "agent_vanished" in [event.what for event in records[TALKS].events]
    assert {record.disposition for record in records.values()} == {Disposition.ANSWERED}
    fault = f"phone vanishes while it talks, noticed after {noticed_s:.1f} s of {SILENT_S}"
    for number, record in records.items():
        became = (
            f"{', '.join(event.what for event in record.events)}; with {', '.join(record.agents)}"
        )
        call = "talking" if number == TALKS else "waits behind"
        fates.append(Fate(fault=fault, call=call, became=became))
