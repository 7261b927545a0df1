"""Ready unless nothing at all can be decided."""

from router.http.health import Part, readiness


def test_a_degraded_part_that_is_not_needed_leaves_the_service_ready():
    state = readiness(
        [
            Part(name="store", is_well=False, detail="reconnecting"),
            Part(name="directory", is_well=True, is_needed=True),
        ]
    )
    assert state.ready
    assert state.degraded == ["store"]


def test_a_needed_part_that_is_not_well_makes_it_unready():
    state = readiness([Part(name="directory", is_well=False, is_needed=True)])
    assert not state.ready
    assert state.degraded == ["directory"]
