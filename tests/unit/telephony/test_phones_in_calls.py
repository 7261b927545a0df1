"""Which phones calls have: what comes and goes with the states of the calls."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pbx.machine.plans import LegId
from pbx.machine.state import CallState, Kind, Leg, Phase
from router.telephony.phones_in_calls import PhonesInCalls

ENDPOINTS = ("PJSIP/1", "PJSIP/2")
AGENTS = ("ada", "ben", None)
LEGS = st.builds(
    Leg, id=st.uuids().map(str), endpoint=st.sampled_from(ENDPOINTS), agent=st.sampled_from(AGENTS)
)


def call(call_id: str, *legs: Leg, phase: Phase = Phase.HOLDING) -> CallState:
    return CallState(
        id=call_id, kind=Kind.INBOUND, channel=LegId("1"), phase=phase, offers=tuple(legs)
    )


def leg(endpoint: str, agent: str | None) -> Leg:
    return Leg(id=LegId(f"leg-{endpoint}-{agent}"), endpoint=endpoint, agent=agent)


def test_a_phone_is_had_from_ringing_until_it_has_left():
    phones = PhonesInCalls()
    ringing = call("c", leg("PJSIP/1", "ada"))
    phones.follow(ringing)
    assert phones.has("PJSIP/1", "ada")
    assert not phones.has("PJSIP/1", "ben")
    assert not phones.has("PJSIP/2", "ada")
    phones.follow(replace(ringing, offers=()))
    assert not phones.has("PJSIP/1", "ada")


def test_of_two_calls_that_have_a_phone_one_is_enough():
    phones = PhonesInCalls()
    phones.follow(call("c", leg("PJSIP/1", "ada")))
    phones.follow(call("d", leg("PJSIP/1", "ada")))
    phones.follow(call("c", leg("PJSIP/1", "ada"), phase=Phase.ENDED))
    assert phones.has("PJSIP/1", "ada")
    phones.ended("d")
    phones.ended("d")
    assert not phones.has("PJSIP/1", "ada")


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.lists(LEGS, max_size=4),
            st.sampled_from([*Phase]),
            st.booleans(),
        )
    )
)
def test_it_says_what_looking_at_all_calls_would(moves: list[tuple[str, list[Leg], Phase, bool]]):
    phones, live = PhonesInCalls(), dict[str, CallState]()
    for call_id, legs, phase, is_broken in moves:
        state = call(call_id, *legs, phase=phase)
        phones.follow(state)
        live[call_id] = state
        if is_broken:
            phones.ended(call_id)
        if is_broken or phase is Phase.ENDED:
            del live[call_id]
        had = {(leg.endpoint, leg.agent) for state in live.values() for leg in state.legs()}
        for endpoint in ENDPOINTS:
            for agent in ("ada", "ben"):
                assert phones.has(endpoint, agent) is ((endpoint, agent) in had)
