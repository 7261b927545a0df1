"""A world of agents on a real Redis."""

from collections.abc import Iterator

import pytest

from tests.integration.redis.acd_world import World, acd_world


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    with acd_world(redis_url) as world:
        yield world
