"""Who is recorded: nobody who was not told, or asked, where that is wanted."""

import msgspec
import pytest

from ivr.steps import Key
from pbx.machine.events import (
    Answered,
    Begin,
    Bridged,
    Confirmed,
    Decided,
    LegPlayed,
    LegUp,
    Placed,
    Planned,
    SplitDone,
    TransferTo,
)
from pbx.machine.plans import QueuePlan, RecordingPolicy
from pbx.machine.state import Phase
from tests.unit.pbx_machine.one_call import (
    ADA,
    ADA_OFFER,
    INBOUND,
    MENU,
    QUEUE,
    SPLIT_HOLD,
    SUPPORT,
    TO_CONSULT,
    TO_TALK,
    after,
)


def recorded(**policy: bool) -> QueuePlan:
    """The queue, which records."""
    return msgspec.structs.replace(QUEUE, recording=RecordingPolicy(record=True, **policy))


ASKING = recorded(ask_consent=True)

# --- keys of before -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TO_TALK, SPLIT_HOLD, TO_CONSULT])
def test_keys_of_a_talk_are_not_kept(path: tuple[object, ...]) -> None:
    state, _ = after(INBOUND, *path, *(Key(key) for key in "14155"))  # type: ignore[arg-type]
    assert state.typed == ""


def test_a_key_of_the_talk_before_is_no_consent() -> None:
    state, _ = after(INBOUND, *TO_TALK, Key("1"), TransferTo(SUPPORT), SplitDone(), Planned(ASKING))
    assert state.phase is Phase.CONSENT
    assert state.consent is None
    assert after(state, Key("1"))[0].consent is True


def test_a_key_that_a_menu_did_not_need_is_no_consent() -> None:
    menu = (Begin(), Decided(rule="r", action=MENU), Answered())
    state, _ = after(INBOUND, *menu, Key("1"), Key("1"), Planned(ASKING))
    assert (state.phase, state.consent, state.typed) == (Phase.CONSENT, None, "")


def test_a_key_pressed_while_the_agent_is_being_told_of_the_caller_goes_no_further() -> None:
    ringing = (Begin(), Decided(rule="r", action=SUPPORT), Planned(QUEUE), Answered())
    state, _ = after(INBOUND, *ringing, Placed(left_s=9), ADA_OFFER, LegUp(ADA))
    state, _ = after(state, Key("1"), Confirmed(agent="ada", ok=True), LegPlayed(ADA), Bridged())
    assert (state.phase, state.typed) == (Phase.TALKING, "")
