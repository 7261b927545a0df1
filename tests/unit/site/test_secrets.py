"""When a secret that is not to be had any more is taken back."""

import pytest

from router.errors import InvalidInputError
from router.site import secrets
from router.site.secret_refs import SecretGoneError, SecretRef
from router.site.secrets import GONE_S, Held, hold

REF = SecretRef(file="secrets/main")
LONG = "s" * 40


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(secrets, "time", clock)
    return clock


def gone(_: SecretRef) -> str:
    raise SecretGoneError("it is gone")


def broken(_: SecretRef) -> str:
    raise InvalidInputError("it is short")


def test_a_deleted_secret_is_in_use_for_the_time_an_exchange_takes_and_no_longer(clock: Clock):
    held, problem = hold(REF, gone, Held(LONG))
    assert (held, problem) == (Held(LONG, 100.0), "it is gone")
    clock.now_s += GONE_S - 0.1
    held, _ = hold(REF, gone, held)
    assert held == Held(LONG, 100.0)
    clock.now_s += 0.1
    assert hold(REF, gone, held) == (None, "it is gone")


@pytest.mark.usefixtures("clock")
def test_a_secret_that_comes_back_or_only_breaks_begins_anew():
    there, problem = hold(REF, lambda _: LONG, Held(LONG, 3.0))
    assert (there, problem) == (Held(LONG), None)
    assert hold(REF, broken, Held(LONG, 3.0)) == (Held(LONG), "it is short")
    assert hold(REF, broken, None) == (None, "it is short")
    assert hold(REF, gone, None) == (None, "it is gone")


def test_a_secret_in_use_does_not_show_itself():
    assert LONG not in repr(Held(LONG))
