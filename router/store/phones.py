"""The phones at which agents have logged in; who has not stands at the phone of the site, if any."""

from router.deadline import Deadline
from router.errors import NotFoundError
from router.store import keys
from router.store.operations import Operations, texts_of


class Phones(Operations):
    """Agent -> endpoint, kept until the agent logs out or another one logs in there."""

    async def take(
        self, tenant: str, agent: str, endpoint: str, deadline: Deadline
    ) -> tuple[str, ...]:
        """The phone is the agent's now; ids of those who were logged in there before.

        NotFoundError: there is no such agent (any more).
        """
        key_names = [keys.phones(tenant), keys.agent(tenant, agent)]
        reply = await self._run(tenant, "phone_take", key_names, (agent, endpoint), deadline)
        if reply is None:
            raise NotFoundError(f"there is no {agent}")
        return tuple(texts_of(reply))

    async def leave(self, tenant: str, agent: str, deadline: Deadline) -> None:
        """The agent has no phone but that of the site."""
        link = self._links.link_for(tenant)
        await link.call("HDEL", keys.phones(tenant), agent, deadline=deadline)

    async def all(self, tenant: str, deadline: Deadline) -> dict[str, str]:
        """Agent -> endpoint; at most as many as there are agents."""
        link = self._links.link_for(tenant)
        reply = await link.call("HGETALL", keys.phones(tenant), deadline=deadline)
        words = texts_of(reply)
        return dict(zip(words[::2], words[1::2], strict=True))
