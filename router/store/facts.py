"""Live facts of queues, several in one round trip."""

from collections.abc import Collection

from router.acd.wait import estimated_wait_s
from router.deadline import Deadline
from router.store import keys
from router.store.link import Link, Reply
from router.store.operations import ExpiredError, int_of, list_of
from router.store.scripts import load_script, run_script
from rules.facts import QueueFacts

MAX_QUEUES = 200
"""Queues asked for at once."""


async def queue_facts(
    link: Link, tenant: str, queues: Collection[str], deadline: Deadline
) -> dict[str, QueueFacts]:
    """What is known of each queue at this moment; at most 200, further ones stay unknown.

    A queue that nobody ever worked in has nobody on duty and nobody waiting. The estimated wait is
    that of one more caller: 0 when an agent is free for that one, unknown (None) without agents or
    before the first call was handled.
    """
    names = list(queues)[:MAX_QUEUES]
    if not names:
        return {}
    key_names = [key for name in names for key in _keys_of(tenant, keys.queue_id(name))]
    limit_ms = link.redis_deadline_ms(deadline)
    reply = await run_script(link, load_script("queue_facts"), key_names, (limit_ms,), deadline)
    if reply == b"EXPIRED":
        raise ExpiredError
    return {name: _facts(one) for name, one in zip(names, list_of(reply), strict=True)}


def _keys_of(tenant: str, queue: str) -> tuple[str, ...]:
    return (
        keys.ready(tenant, queue),
        keys.arrivals(tenant, queue),
        keys.held(tenant, queue),
        keys.queue_live(tenant, queue),
    )


def _facts(reply: Reply) -> QueueFacts:
    waiting, longest_ms, idle, on_duty, handling = list_of(reply)
    ahead = int_of(waiting) - int_of(idle)
    agents = int_of(on_duty)
    estimated = estimated_wait_s(position=ahead + 1, agents=agents, handling_s=seconds_of(handling))
    return QueueFacts(
        waiting=int_of(waiting),
        longest_wait_s=int_of(longest_ms) / 1000,
        estimated_wait_s=0.0 if ahead < 0 else estimated,
        agents_idle=int_of(idle),
        agents_on_duty=agents,
    )


def seconds_of(handling_ms: Reply) -> float | None:
    """The average handling time; '' is unknown."""
    return float(handling_ms) / 1000 if isinstance(handling_ms, bytes) and handling_ms else None
