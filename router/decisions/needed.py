"""What a decision needs of the rest of the program."""

from collections.abc import Callable, Collection
from typing import Protocol

from router.deadline import Deadline
from router.decisions.dialogue import MadeBy, Memory
from router.decisions.outcome import Asked, ErrorCode, Taken
from router.errors import CrosspointError
from rules.actions import Action, Callback, End, ReserveAgent
from rules.facts import LiveFacts
from rules.ruleset import Ruleset


class Rulesets(Protocol):
    """The rules in force."""

    def get(self, name: str) -> Ruleset | None: ...


class Reserving(Protocol):
    """A reservation that the store has been asked for."""

    def then(self, do: Callable[[object], None]) -> None:
        """Have `do` called when the store has answered, whatever it says, at its deadline at the latest.

        It must ask the store for nothing itself.
        """

    def at_hand(self) -> Taken | None:
        """Who was reserved, if that is known and nothing else is to be done; otherwise ask `taken`."""

    async def taken(self) -> Taken | None:
        """Who was reserved; None when nobody is free. Raises a CrosspointError."""


class Store(Protocol):
    """What a decision needs of the store. Each raises a CrosspointError at its deadline at the latest."""

    def is_open(self, tenant: str) -> bool:
        """False when asking would fail at once."""

    async def look_up(
        self, asked: Asked, queues: Collection[str], deadline: Deadline
    ) -> tuple[Memory, LiveFacts]:
        """The call's memory and the queues' live facts, in one round trip."""

    def reserve(
        self,
        asked: Asked,
        wanted: ReserveAgent,
        request_id: str,
        deadline: Deadline,
        /,
        *,
        first: MadeBy | None,
    ) -> Reserving:
        """Begin to reserve one agent, once per request id.

        `first`: only for a call that nothing is remembered of (else RememberedError), of which this
        answer is remembered from now on, with the agent, but without a body.
        """


class CallsBack(Protocol):
    """Who promises callbacks."""

    def is_possible(self, tenant: str) -> bool:
        """Whether anybody makes the tenant's callbacks."""

    async def promise(
        self, asked: Asked, wanted: Callback, request_id: str, deadline: Deadline
    ) -> End | None:
        """Promise one, once per request id, and what to tell the caller; None when it cannot be.

        Raises a CrosspointError at its deadline at the latest.
        """


class LocalMemory(Protocol):
    """What this process remembers of calls by itself."""

    def of(self, asked: Asked) -> Memory: ...


class Foreign(Protocol):
    """Somebody else's routing_url."""

    async def ask(self, asked: Asked, deadline: Deadline) -> Action:
        """Its answer as an action; raises ForeignError."""


class ForeignError(CrosspointError):
    """Somebody else's routing_url gave no usable answer."""

    code = "foreign"

    def __init__(self, error: ErrorCode) -> None:
        super().__init__()
        self.error = error
