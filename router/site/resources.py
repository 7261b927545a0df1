"""What there is: call routers, queues and agents, as an operator describes them.

The Structs are the stored form (JSON in the store), the form the management API takes and gives, and
the form of `site.yaml`: one set of names, ranges and defaults (those of Dialpad's call centers where
it has them). What changes by itself (duty status, idle times, error counts) is not here.

Secrets stand here as references, not values, wherever possible; see `SecretRef`.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from router.errors import InvalidInputError
from router.site import texts
from router.site.hours import OpeningHours, calendar_of
from router.site.refusals import refusal
from router.site.secret_refs import SecretRef
from rules.actions import Strategy, Target, TargetType

Id = Annotated[str, Meta(pattern=texts.ID)]
"""An id of ours: 1 to 64 letters, digits, `_`, `.`, `-`; it becomes part of store keys and paths."""

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=texts.ONE_LINE)]
"""One line a person reads; 1 to 100 characters."""

PlatformId = Annotated[str, Meta(pattern=texts.PLATFORM_ID)]
"""An id of the platform's (64-bit numbers as a rule); always text here, never a float."""

E164 = Annotated[str, Meta(pattern=texts.E164)]
DutyReason = Annotated[str, Meta(max_length=100, pattern=texts.ONE_LINE_OR_NOTHING)]
"""Why an agent is off duty: at most 100 characters of one line."""

Level = Annotated[int, Meta(ge=0, le=100)]
Key = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]
"""One key of a phone."""


class RouterConfig(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A call router: who asks under `/route/{id}`, and what answers.

    Without a `secret` unsigned requests are taken; `previous_secret` stays valid beside it during a
    rotation. Exactly one of `rules` (a ruleset's name) and `routing_url` (somebody else's server, for
    calls on the PBX) says who decides. `budget_ms` is the time from arrival to answer.
    """

    id: Id
    name: Name
    default_target: Target
    secret: SecretRef | None = None
    previous_secret: SecretRef | None = None
    rules: Id | None = None
    routing_url: Annotated[str, Meta(max_length=2048)] | None = None
    budget_ms: Annotated[int, Meta(ge=50, le=30_000)] = 800
    phone_numbers: Annotated[tuple[E164, ...], Meta(max_length=1000)] = ()


class HoldQueue(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Waiting in a queue. A callback is offered when more than `queue_callback_threshold` callers wait.

    `estimated_wait_time_max` is in minutes: a longer wait is announced as "more than".
    """

    max_hold_count: Annotated[int, Meta(ge=1, le=1000)] = 50
    max_hold_seconds: Annotated[int, Meta(ge=30, le=18_000)] = 900
    announce_position: bool = True
    announce_estimated_wait_time: bool = True
    estimated_wait_time_max: Annotated[int, Meta(ge=1, le=300)] = 30
    announcement_interval_seconds: Annotated[int, Meta(ge=10, le=3600)] = 120
    allow_queue_callback: bool = False
    queue_callback_threshold: Annotated[int, Meta(ge=0, le=1000)] = 5
    queue_callback_dtmf: Key = "9"
    queue_escape_dtmf: Key = "*"
    stay_in_queue_after_closing: bool = False
    unattended_queue: bool = False


class Recording(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What is recorded; `announce` says so to the caller first.

    With `ask_consent` the caller is asked instead, by key: without a yes nothing is recorded.
    """

    inbound: bool = False
    outbound: bool = False
    allow_pause: bool = False
    announce: bool = True
    ask_consent: bool = False


class ServiceLevel(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The target: `percent` of the calls answered within `seconds`."""

    percent: Annotated[int, Meta(ge=1, le=100)] = 95
    seconds: Annotated[int, Meta(ge=1, le=18_000)] = 60


class QueueConfig(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A queue, that is a call center; `calendar` None is always open."""

    id: Id
    name: Name
    call_center_id: PlatformId | None = None
    strategy: Strategy = Strategy.LONGEST_IDLE
    ring_seconds: Annotated[int, Meta(ge=10, le=45)] = 30
    wrap_up_seconds: Annotated[int, Meta(ge=0, le=3600)] = 0
    calendar: OpeningHours | None = None
    hold_queue: HoldQueue = HoldQueue()
    recording: Recording = Recording()
    service_level: ServiceLevel = ServiceLevel()


class MemberRole(StrEnum):
    """What an agent is in a queue."""

    OPERATOR = "operator"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"


class Membership(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """An agent's place in one queue: `order` 1 is first with the fixed-order strategy."""

    skill_level: Level = 100
    order: Annotated[int, Meta(ge=1, le=100_000)] = 1
    role: MemberRole = MemberRole.OPERATOR


class AgentConfig(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """An agent. `user_id` is the platform's user, `endpoint` the phone on the PBX.

    `number` is what the agent keys in to log in by phone; without one, an `id` of digits only.

    `skills` are named levels, 0 to 100; a skill without a level meets no requirement.
    """

    id: Id
    name: Name
    user_id: PlatformId | None = None
    endpoint: Annotated[str, Meta(pattern=texts.ENDPOINT)] | None = None
    number: Annotated[str, Meta(pattern=texts.KEYED_NUMBER)] | None = None
    skills: Annotated[Mapping[Id, Level], Meta(max_length=100)] = {}
    queues: Annotated[Mapping[Id, Membership], Meta(max_length=100)] = {}

    @property
    def keyed(self) -> str | None:
        """What the agent keys in to log in by phone."""
        return self.number or number_in(self.id)


def number_in(agent_id: str) -> str | None:
    """What an agent without a number keys in; None: nothing, the id is no number."""
    return agent_id if agent_id.isascii() and agent_id.isdecimal() else None


class Kind(StrEnum):
    """Kinds of resource; the value is the name of its list everywhere."""

    ROUTERS = "routers"
    QUEUES = "queues"
    AGENTS = "agents"


Resource = RouterConfig | QueueConfig | AgentConfig
ResourceT = TypeVar("ResourceT", RouterConfig, QueueConfig, AgentConfig)

TYPES: Final[Mapping[Kind, type[Resource]]] = {
    Kind.ROUTERS: RouterConfig,
    Kind.QUEUES: QueueConfig,
    Kind.AGENTS: AgentConfig,
}


def kind_of(resource: Resource) -> Kind:
    """The kind a resource is of."""
    match resource:
        case RouterConfig():
            return Kind.ROUTERS
        case QueueConfig():
            return Kind.QUEUES
        case AgentConfig():
            return Kind.AGENTS


def check(resource: Resource) -> None:
    """Check ranges and everything that concerns more than one field; raise InvalidInputError."""
    form = msgspec.to_builtins(resource)
    try:
        msgspec.convert(form, type(resource))
    except msgspec.ValidationError as error:
        raise invalid(error, form, type(resource)) from error
    if isinstance(resource, RouterConfig):
        for field, message in router_problems(resource):
            raise InvalidInputError(message, field=field)
    elif isinstance(resource, QueueConfig):
        if same_key := callback_key_problem(resource.hold_queue):
            raise InvalidInputError(same_key, field="hold_queue.queue_callback_dtmf")
        if resource.calendar is not None:
            calendar_of(resource.calendar)


def router_problems(router: RouterConfig) -> list[tuple[str, str]]:
    """What is wrong with a router beyond the ranges of its fields: (field, message) pairs."""
    found: list[tuple[str, str]] = []
    if (router.rules is None) == (router.routing_url is None):
        found.append(("rules", "exactly one of rules and routing_url is wanted"))
    if router.routing_url is not None and (message := _url_problem(router.routing_url)):
        found.append(("routing_url", message))
    if router.previous_secret is not None and router.secret is None:
        found.append(("previous_secret", "previous_secret needs a secret beside it"))
    if message := target_problem(router.default_target):
        found.append(("default_target", message))
    return found


def own_names(resource: Resource) -> dict[str, str]:
    """By field, the names that no other resource of the kind may have."""
    names: dict[str, str | None] = {}
    match resource:
        case AgentConfig():
            names = {"user_id": resource.user_id, "number": resource.keyed}
        case QueueConfig():
            names = {"call_center_id": resource.call_center_id}
        case RouterConfig():
            pass
    return {field: name for field, name in names.items() if name}


def shared_number(
    router: RouterConfig, others: Iterable[RouterConfig]
) -> tuple[str, RouterConfig] | None:
    """A phone number of the router that another one has too, and which: a PBX asks one of them only."""
    own = frozenset(router.phone_numbers)
    for other in others:
        if other.id != router.id and (both := own.intersection(other.phone_numbers)):
            return min(both), other
    return None


def callback_key_problem(hold: HoldQueue) -> str | None:
    """A caller on hold cannot mean two things by one key."""
    is_same = hold.queue_callback_dtmf == hold.queue_escape_dtmf
    return "the escape key is the same" if hold.allow_queue_callback and is_same else None


def target_problem(target: Target) -> str | None:
    """What is wrong with a target beyond its single fields."""
    if target.type is TargetType.PHONE:
        is_whole = target.number is not None and target.id is None
        return None if is_whole else "a phone has a number and no id"
    is_whole = target.id is not None and target.number is None
    return None if is_whole else f"a {target.type.value} has an id and no number"


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no URL"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "an https:// URL is wanted"
    if parts.username or parts.password or parts.fragment:
        return "a URL without user, password and fragment is wanted"
    if parts.scheme == "http" and not _is_private_host(parts.hostname):
        return "http:// is only for private addresses; use https://"
    return None


def _is_private_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def invalid(
    error: msgspec.ValidationError, document: object, type_: type[Resource]
) -> InvalidInputError:
    """What msgspec found, in our words and with the field it is about."""
    message, field = refusal(error, document, type_)
    return InvalidInputError(message[:1].lower() + message[1:], field=field or None)
