"""How long callbacks wait for a trunk that takes no calls."""

from router.telephony.way_out import FIRST_S, LONGEST_S, MOST_REMEMBERED, SPREAD_S, WayOut


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


def test_a_number_that_is_refused_while_others_get_out_is_told_from_a_trunk_that_is_away():
    way_out = WayOut(lambda: 1000.0)
    assert not way_out.refuses_only("cb-1")
    assert not way_out.refuses_only("cb-1")  # nobody has got out
    way_out.works()
    assert not way_out.refuses_only("cb-2")  # for the first time
    assert way_out.refuses_only("cb-1")
    assert not way_out.refuses_only("cb-1")


def test_of_very_many_refused_numbers_only_the_last_are_remembered():
    way_out = WayOut(lambda: 1000.0)
    for number in range(3 * MOST_REMEMBERED):
        way_out.refuses_only(f"cb-{number}")
    assert len(way_out._when_refused) == MOST_REMEMBERED
