"""The picture of a site, built away from the event loop."""

import time
from typing import NoReturn

import pytest

from router.site.directory import TenantResources, build
from router.site.hours import HolidayHours, OpeningHours, is_open
from router.site.resources import QueueConfig


def test_the_holidays_of_a_queue_are_worked_out_before_the_first_call_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours = OpeningHours(
        hours={"mon-sun": ("00:00-24:00",)}, holidays=HolidayHours(country="IS", closed=())
    )
    queue = QueueConfig(id="support", name="Support", calendar=hours)
    directory = build({"acme": TenantResources(queues={"support": queue})}, lambda _: "")
    calendar = directory.queues_of("acme")["support"].calendar
    assert calendar is not None

    def never(*_args: object, **_kwargs: object) -> NoReturn:
        raise AssertionError("worked out in a call")

    monkeypatch.setattr("rules.calendars.holidays.country_holidays", never)
    is_open(calendar, time.time())
