"""How long callbacks wait for a trunk that takes no calls."""

from router.telephony.way_out import FIRST_S, LONGEST_S, SPREAD_S, WayOut


def test_the_pause_grows_to_a_bound_and_is_over_when_a_call_gets_out():
    now_s, pauses = 1000.0, list[float]()
    way_out = WayOut(lambda: now_s)
    assert way_out.wait_s() == 0.0
    for _ in range(20):
        way_out.fails()
        way_out.fails()  # tried in the same moment
        wait_s = way_out.wait_s()
        pauses.append(way_out._until_s - now_s)
        assert pauses[-1] <= wait_s <= pauses[-1] + SPREAD_S
        now_s += pauses[-1]
        assert way_out.wait_s() == 0.0
    assert pauses[:3] == [FIRST_S, FIRST_S * 2, FIRST_S * 4]
    assert pauses[-1] == LONGEST_S
    assert way_out.is_failing
    way_out.works()
    assert not way_out.is_failing
    way_out.fails()
    assert way_out._until_s - now_s == FIRST_S
