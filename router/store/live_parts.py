"""The live side of agents and queues as described resources need it: idempotent, keeps what lives."""

from router.acd import agents as acd
from router.deadline import Deadline
from router.site.resources import AgentConfig, QueueConfig
from router.store.agents import Agents
from rules.requirements import Requirement


class AgentsAndQueues:
    """`LiveParts` of `router/store/resources.py` over the agents' own operations."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def put_queue(self, tenant: str, queue: QueueConfig, *, deadline: Deadline) -> None:
        """Every queue has the requirement without skills."""
        await self._agents.register(tenant, Requirement(queue.id), deadline)

    async def remove_queue(self, tenant: str, queue_id: str, *, deadline: Deadline) -> None:
        """Nothing to do: a requirement that nobody uses is forgotten by itself."""

    async def put_agent(self, tenant: str, agent: AgentConfig, *, deadline: Deadline) -> None:
        await self._agents.put(
            tenant,
            agent.id,
            queues={
                queue: acd.Membership(skill_level=place.skill_level, order=place.order)
                for queue, place in agent.queues.items()
            },
            skills=agent.skills,
            deadline=deadline,
        )

    async def remove_agent(self, tenant: str, agent_id: str, *, deadline: Deadline) -> None:
        await self._agents.remove(tenant, agent_id, deadline)
