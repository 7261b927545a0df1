"""What came of one routing request: the answer, how good it is, and why it is this one."""

from enum import StrEnum
from typing import Final, Protocol

import msgspec

from router.site.resources import AgentConfig, QueueConfig
from rules.actions import Action, Target
from rules.facts import CallFacts, LiveFacts


class Level(StrEnum):
    """What an answer could use (header X-Crosspoint-Level), best first."""

    FULL = "full"
    NO_STORE = "no_store"
    DEFAULT = "default"
    DISABLED = "disabled"


class ErrorCode(StrEnum):
    """What counts against a router's error budget."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    STATUS = "status"
    UNREADABLE = "unreadable"
    EXCEPTION = "exception"


class Why(StrEnum):
    """Steps on the way to an answer. A reason is one of these, or `step:subject`."""

    DISABLED = "router_disabled"
    REPEATED = "repeated"
    UNREADABLE = "unreadable_request"
    NO_RULES = "no_rules"
    RULE = "rule"
    FACTS_MISSING = "facts_missing"
    STORE_DOWN = "store_down"
    RESERVED = "reserved"
    NO_AGENT = "no_agent"
    CLOSED = "queue_closed"
    NO_ADDRESS = "no_address"
    ASKED = "asked"
    CHOSEN = "chosen"
    NO_INPUT = "no_valid_input"
    ROUNDS_USED_UP = "rounds_used_up"
    NO_CALLBACK = "callback_not_available"
    CALLBACK = "callback_promised"
    RULESET_DEFAULT = "ruleset_default"
    ROUTER_DEFAULT = "router_default"
    FOREIGN = "foreign"
    FAILED = "failed"


class Names(Protocol):
    """Who and what there is in one tenant."""

    def queue(self, queue_id: str) -> QueueConfig | None: ...
    def agent(self, agent_id: str) -> AgentConfig | None: ...
    def is_open(self, queue_id: str, now_s: float) -> bool:
        """Whether the queue's own hours let it take calls; one that is not known always does."""

    def unreachable(self, queue_id: str, address: str) -> tuple[str, ...]:
        """Members without this address (`user_id`, `endpoint`), who are no use to a platform."""


class Dialect(Protocol):
    """How one platform is answered; `address` is the field of an agent that it can ring."""

    address: str

    def express(self, action: Action, names: Names, agent: AgentConfig | None) -> bytes | None:
        """The answer on the wire; None when this platform cannot be told so. Pure.

        `agent` is who was reserved for a ReserveAgent. A Route to any target can be expressed.
        """


class RouterView(msgspec.Struct, frozen=True, kw_only=True):
    """A call router as a decision sees it. `budget_s` counts from arrival to answer.

    `needs_signature`: nobody may ask it unsigned. `signs`: its routing_url is not asked unsigned.
    """

    id: str
    tenant: str
    default_target: Target
    rules: str | None = None
    routing_url: str | None = None
    secrets: tuple[bytes, ...] = ()
    budget_s: float = 0.8
    is_enabled: bool = True
    needs_signature: bool = False
    signs: bool = False


class Taken(msgspec.Struct, frozen=True, gc=False):
    """An agent who is reserved for a call; `token` proves it."""

    agent: str
    token: str


class Asked(msgspec.Struct, frozen=True):
    """One routing request on its way through. `fingerprint` stands for what was keyed in."""

    router: RouterView
    call: CallFacts
    silent: frozenset[str]
    fingerprint: str
    dialect: Dialect
    names: Names
    now_s: float


_NO_NAMES: Final[frozenset[str]] = frozenset()


class Shared(msgspec.Struct):
    """Room for what is worked out of an outcome that many calls share: `logged` is its part of an entry
    of the decision log."""

    logged: bytes | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answer and where it comes from.

    `asked` is the name of the question put to the caller, `round` how often it
    has been put by now, `again_after_s` how long that takes at least. `callback` is the request id of a
    callback that was promised. Some things are left to clear up after the answer: `unsure` is the request
    id of a reservation of which nobody knows whether it happened, `unsure_callback` that of such a
    callback, `give_back` are reservations that were of no use. `call` is the
    call as it was decided (with digits from earlier requests) where it differs from what was asked.
    `asks_for` are the attributes that the rules ask for.
    `is_remembered`: the store remembers the answer already. `shared` where it is kept for further calls.
    """

    body: bytes
    level: Level
    rule: str | None = None
    digest: str | None = None
    reasons: tuple[str, ...] = ()
    live: LiveFacts = {}
    agent: str | None = None
    asked: str | None = None
    again_after_s: float = 0.0
    round: int = 0
    error: ErrorCode | None = None
    callback: str | None = None
    unsure: str | None = None
    unsure_callback: str | None = None
    give_back: tuple[Taken, ...] = ()
    call: CallFacts | None = None
    asks_for: frozenset[str] = _NO_NAMES
    is_repeat: bool = False
    is_remembered: bool = False
    cause: Exception | None = None
    shared: Shared | None = None
