"""Redis' clock seen from ours: what is told is never later than the truth."""

from hypothesis import given
from hypothesis import strategies as st

from router.deadline import Deadline
from router.store.clock import RedisClock


def test_an_unknown_clock_tells_a_time_long_past():
    assert RedisClock().ms_at(Deadline(1e9)) == 0


def test_the_conservative_end_of_a_sample_counts():
    clock = RedisClock()
    clock.sample(sent_s=10.0, received_s=10.5, server_s=1000.0)
    assert clock.ms_at(Deadline(10.5)) == 1_000_000  # Redis may be up to 0.5 s further


def test_a_quicker_sample_sharpens_an_older_slower_one():
    clock = RedisClock()
    clock.sample(sent_s=0.0, received_s=0.5, server_s=100.5)
    clock.sample(sent_s=1.0, received_s=1.001, server_s=101.001)
    assert clock.ms_at(Deadline(2.0)) == 102_000


def test_a_slow_sample_does_not_blur_a_sharp_one():
    clock = RedisClock()
    clock.sample(sent_s=0.0, received_s=0.001, server_s=100.0005)
    clock.sample(sent_s=1.0, received_s=1.9, server_s=101.1)
    assert clock.ms_at(Deadline(2.0)) >= 101_998


def test_a_clock_that_was_set_back_is_followed_at_once():
    clock = RedisClock()
    clock.sample(sent_s=0.0, received_s=0.001, server_s=100.0)
    clock.sample(sent_s=1.0, received_s=1.001, server_s=91.0)
    assert 91_900 < clock.ms_at(Deadline(2.0)) <= 92_000


@given(
    offset_s=st.floats(-1e6, 1e6),
    drift=st.floats(-100e-6, 100e-6),
    trips=st.lists(st.tuples(st.floats(1e-4, 0.2), st.floats(0, 1)), min_size=1, max_size=30),
)
def test_a_deadline_is_never_told_later_than_it_is(
    offset_s: float, drift: float, trips: list[tuple[float, float]]
):
    clock = RedisClock()
    now = 0.0

    def server(at_s: float) -> float:
        return 2e6 + offset_s + at_s * (1 + drift)

    for trip_s, where in trips:
        read_at_s = now + trip_s * where
        clock.sample(sent_s=now, received_s=now + trip_s, server_s=server(read_at_s))
        now += trip_s
        true_ms = server(now) * 1000
        told_ms = clock.ms_at(Deadline(now))
        assert told_ms <= true_ms + 0.001
        assert told_ms >= true_ms - trip_s * 1000 - 2
        now += 1.0
