"""`kill -9` of the real `crosspoint pbx` while an agent is rung, or talks, by name: nobody stays kept."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from pbx.machine.state import Phase
from router.telephony.call_control import Consult, Park, Party
from tests.chaos.pbx.conftest import PHONES, Fate
from tests.chaos.pbx.lines import TALKS
from tests.chaos.pbx.switchboard import QUEUE_NUMBER, Switchboard, eventually
from tests.integration.asterisk.capture import Tone
from tests.integration.asterisk.phones import caller, phone
from tests.integration.asterisk.whole_calls import AGENT_HZ, CALLER_HZ

pytestmark = [pytest.mark.chaos]


async def is_(board: Switchboard, agent: str, state: str) -> None:
    async def so() -> bool:
        return await board.state_of(agent) == state

    await eventually(so, f"{agent} to be {state}")


@pytest.mark.parametrize("has_answered", [False, True], ids=["rung", "consulted"])
async def test_who_hangs_up_while_nobody_is_in_charge_is_free_again(
    board: Switchboard, phones_folder: Path, fates: list[Fate], has_answered: bool
):
    scenario = "phone_answers" if has_answered else "phone_rings_on"
    async with contextlib.AsyncExitStack() as stack:
        first, second = board.process(), board.process()
        await first.apply()
        await stack.enter_async_context(first)
        await first.until("reconciled")
        await stack.enter_async_context(phone(phones_folder, port=PHONES["6001"]))
        await stack.enter_async_context(phone(phones_folder, scenario, port=PHONES["6002"]))
        await board.duty("ada")
        customer = caller(board.asterisk, phones_folder, called=QUEUE_NUMBER, number=TALKS)
        await stack.enter_async_context(customer)
        talking = await board.call_in(TALKS, Phase.TALKING, agent="ada")
        await board.duty("eve")
        await board.ask(Consult(call=talking.id, party=Party(agent="eve")))
        state = await board.call_in(TALKS, Phase.CONSULTING if has_answered else Phase.HELD)
        await is_(board, "eve", "on_call" if has_answered else "reserved")
        await first.kill()
        assert state.third is not None
        await board.hang_up(state.third.id)
        await stack.enter_async_context(second)
        await second.until("reconciled")
        await board.call_in(TALKS, Phase.TALKING, agent="ada")
        await is_(board, "eve", "available")
        assert await board.state_of("ada") == "on_call"
        await board.hang_up(state.channel)
        await is_(board, "ada", "available")

        async def is_over() -> bool:
            return await board.calls() == {}

        await eventually(is_over, "the call to be over")
        records = await board.records()
        await second.stop()
    since = [event.what for event in records[TALKS].events]
    assert "third_lost" in since
    what = "consulted" if has_answered else "rung by name"
    became = f"{what} agent free; {', '.join(since)}"
    fates.append(Fate(fault="kill -9, started again", call="talking, on hold", became=became))


async def test_a_talk_that_is_over_as_the_process_is_killed_has_its_recording_on_record(
    board: Switchboard, phones_folder: Path, fates: list[Fate]
):
    """Parked: the file of the talk is being handed over in that moment."""
    async with contextlib.AsyncExitStack() as stack:
        first, second = board.process(), board.process()
        await first.apply()
        await stack.enter_async_context(first)
        await first.until("reconciled")
        await stack.enter_async_context(
            phone(phones_folder, port=PHONES["6001"], says=[Tone(AGENT_HZ, 20)])
        )
        await board.duty("ada")
        customer = caller(
            board.asterisk,
            phones_folder,
            called=QUEUE_NUMBER,
            number=TALKS,
            says=[Tone(CALLER_HZ, 20)],
        )
        await stack.enter_async_context(customer)
        talking = await board.call_in(TALKS, Phase.TALKING, agent="ada")
        await asyncio.sleep(1)
        await board.ask(Park(call=talking.id))
        await first.kill()
        assert (await board.records())[TALKS].recordings == ()
        await stack.enter_async_context(second)
        await second.until("reconciled")

        async def is_on_record() -> bool:
            return len((await board.records())[TALKS].recordings) == 1

        await eventually(is_on_record, "the recording to be on record")
        assert (await board.call_in(TALKS, Phase.PARKED)).id == talking.id
        await board.hang_up(talking.channel)

        async def is_over() -> bool:
            return await board.calls() == {}

        await eventually(is_over, "the call to be over")
        record = (await board.records())[TALKS]
        await second.stop()
    assert len(record.recordings) == 1
    became = "its recording on record"
    fates.append(Fate(fault="kill -9, started again", call="just parked", became=became))
