"""What there is that rules may name: queues, routers, and what the agents of a queue can do."""

from collections.abc import Iterable

from router.site.resources import AgentConfig, QueueConfig, RouterConfig
from rules.lint import KnownNames


def known_names(
    routers: Iterable[RouterConfig], queues: Iterable[QueueConfig], agents: Iterable[AgentConfig]
) -> KnownNames:
    """All of a site, or of a tenant."""
    skills: dict[str, dict[str, int]] = {}
    for agent in agents:
        for queue in agent.queues:
            highest = skills.setdefault(queue, {})
            for skill, level in agent.skills.items():
                highest[skill] = max(level, highest.get(skill, level))
    return KnownNames(
        queues=frozenset(queue.id for queue in queues),
        routers=frozenset(router.id for router in routers),
        skills=skills,
    )
