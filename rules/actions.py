"""What can be done with a call: the closed set of actions (rules-file section `then`).

Every action is a frozen, tagged Struct, so that a decision can be compared, logged and replayed.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class TargetType(StrEnum):
    """Kinds of destination a file may name."""

    USER = "user"
    DEPARTMENT = "department"
    CALLCENTER = "callcenter"
    OFFICE = "office"
    PHONE = "phone"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A destination. `id` for all types but `phone`, which has an E.164 `number`.

    `name` is the file's own name for it, None where it was written in place.
    """

    type: TargetType
    id: str | None = None
    number: str | None = None
    name: str | None = None


class Strategy(StrEnum):
    """How one of several eligible agents is chosen."""

    LONGEST_IDLE = "longest_idle"
    ROUND_ROBIN = "round_robin"
    MOST_SKILLED = "most_skilled"
    FIXED_ORDER = "fixed_order"
    RANDOM = "random"
    SIMULTANEOUS = "simultaneous"


class Route(msgspec.Struct, frozen=True, kw_only=True, tag="route"):
    target: Target


class Forward(msgspec.Struct, frozen=True, kw_only=True, tag="forward"):
    """Dial out; `number` is E.164."""

    number: str


class ReserveAgent(msgspec.Struct, frozen=True, kw_only=True, tag="agent"):
    """Reserve one agent of `queue`. `skills` are minimum levels, 0 to 100.

    `strategy` None means the queue's own; `sticky_s` is how long ago (seconds) the last talk with
    this caller may lie for that agent to be asked first.
    """

    queue: str
    otherwise: "Action"
    skills: Mapping[str, int] = {}
    strategy: Strategy | None = None
    sticky_s: int | None = None


class Relax(msgspec.Struct, frozen=True, kw_only=True):
    """From `after_s` seconds of waiting on, `skills` replace what was asked for."""

    after_s: int
    skills: Mapping[str, int]


class Enqueue(msgspec.Struct, frozen=True, kw_only=True, tag="queue"):
    """Wait in a queue. Higher `priority` (0 to 100) goes first."""

    queue: str
    priority: int = 0
    skills: Mapping[str, int] = {}
    relax: tuple[Relax, ...] = ()


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """Ask the caller for up to `digits` digits, which come back under `name`."""

    name: str
    prompt: str
    otherwise: "Action"
    digits: int = 1
    locale: str | None = None
    timeout_s: int = 5
    tries: int = 3


class Menu(msgspec.Struct, frozen=True, kw_only=True, tag="menu"):
    """Ask the caller to choose; `choices` maps one key (0-9 * #) or several to an action."""

    name: str
    prompt: str
    choices: Mapping[str, "Action"]
    otherwise: "Action"
    locale: str | None = None
    timeout_s: int = 5
    tries: int = 3


class Voicemail(msgspec.Struct, frozen=True, kw_only=True, tag="voicemail"):
    target: Target


class Callback(msgspec.Struct, frozen=True, kw_only=True, tag="callback"):
    """Promise the caller to be called back from `queue`; where that cannot be, `otherwise`."""

    queue: str
    otherwise: "Action"


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    message: str | None = None
    locale: str | None = None


Action = Route | Forward | ReserveAgent | Enqueue | Ask | Menu | Voicemail | Callback | End

DEFAULT_RULE = "default"
"""The rule reported when no rule holds; no rule may carry this name."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one call.

    `missing` names the queues whose live facts were wanted on the way but not given: when it is
    empty, the decision would have been the same with any live facts.
    """

    rule: str
    action: Action
    missing: frozenset[str] = frozenset()
