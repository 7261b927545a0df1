"""More than ten errors in an hour switch a router off; only a reset forgets them."""

from router.decisions.error_budget import LIMIT, MOST_KEPT, WINDOW_S, ErrorBudget, RouterHealth
from router.decisions.outcome import ErrorCode

NOW_S = 1_770_000_000.0


def failing(times: int, *, budget: ErrorBudget | None = None, at_s: float = NOW_S) -> ErrorBudget:
    budget = budget or ErrorBudget("w1-")
    for _ in range(times):
        budget.record("main", ErrorCode.EXCEPTION, at_s)
    return budget


def test_ten_errors_are_borne_and_the_eleventh_disables() -> None:
    budget = failing(LIMIT)
    assert not budget.is_disabled("main", NOW_S)
    assert budget.record("main", ErrorCode.TIMEOUT, NOW_S)
    assert budget.is_disabled("main", NOW_S)
    assert not budget.is_disabled("other", NOW_S)


def test_errors_of_more_than_an_hour_ago_do_not_count() -> None:
    budget = failing(LIMIT)
    budget.record("main", ErrorCode.TIMEOUT, NOW_S + WINDOW_S + 1)
    assert budget.count("main", NOW_S + WINDOW_S + 1) == 1
    assert not budget.is_disabled("main", NOW_S + WINDOW_S + 1)


def test_enabled_again_without_a_reset_the_next_error_disables_again() -> None:
    budget = ErrorBudget("w1-")
    budget.shared("main", 11)
    assert not budget.is_disabled("main", NOW_S)
    assert budget.record("main", ErrorCode.EXCEPTION, NOW_S)


def test_enabled_after_a_reset_it_takes_eleven_errors_again() -> None:
    budget = ErrorBudget("w1-")
    budget.shared("main", 11)
    budget.shared("main", 0)
    assert not budget.record("main", ErrorCode.EXCEPTION, NOW_S)


def test_what_was_handed_over_is_not_handed_over_twice_and_the_store_has_the_last_word() -> None:
    budget = failing(LIMIT + 1)
    told = budget.pending()["main"]
    budget.record("main", ErrorCode.TIMEOUT, NOW_S)
    budget.handed_over("main", told, RouterHealth(is_enabled=True, error_count=11), NOW_S)
    assert [error.code for error in budget.pending()["main"]] == [ErrorCode.TIMEOUT]
    told = budget.pending()["main"]
    budget.handed_over("main", told, RouterHealth(is_enabled=True, error_count=12), NOW_S)
    assert not budget.is_disabled("main", NOW_S)


def test_a_verdict_that_does_not_know_the_latest_errors_does_not_enable() -> None:
    budget = failing(6)
    told = budget.pending()["main"]
    failing(5, budget=budget)
    assert budget.is_disabled("main", NOW_S)
    budget.handed_over("main", told, RouterHealth(is_enabled=True, error_count=6), NOW_S)
    assert budget.is_disabled("main", NOW_S)


def test_what_the_store_disabled_stays_disabled_here_until_the_directory_says_it() -> None:
    budget = failing(LIMIT + 1)
    health = RouterHealth(is_enabled=False, error_count=11)
    budget.handed_over("main", budget.pending()["main"], health, NOW_S)
    assert budget.is_disabled("main", NOW_S + 1)
    assert not budget.is_disabled("main", NOW_S + 3)
    assert budget.pending() == {}


def test_a_long_outage_keeps_a_bounded_number_of_errors() -> None:
    assert len(failing(MOST_KEPT * 10).pending()["main"]) == MOST_KEPT


def test_every_error_can_be_told_from_every_other() -> None:
    keys = [error.key for error in failing(50).pending()["main"]]
    assert len(set(keys)) == 50


def test_of_routers_that_are_gone_nothing_is_known_and_nothing_told() -> None:
    budget = failing(LIMIT + 1)
    budget.shared("gone", 3)
    budget.handed_over("off", (), RouterHealth(is_enabled=False, error_count=12), NOW_S)
    budget.record("stays", ErrorCode.TIMEOUT, NOW_S)
    budget.forget_others({"stays"})
    assert list(budget.pending()) == ["stays"]
    assert [budget.count(each, NOW_S) for each in ("main", "gone", "off", "stays")] == [0, 0, 0, 1]
    assert not any(budget.is_disabled(each, NOW_S) for each in ("main", "gone", "off", "stays"))
