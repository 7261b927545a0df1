"""Which keys a resource has besides its description: names of its own, its live part, what hangs on its id."""

import msgspec

from router.site.resources import Kind, Resource, number_in, own_names
from router.store import keys


class OwnName(msgspec.Struct, frozen=True):
    """A name that one resource of a kind has at most: where it is kept whose it is, and `unnamed`, what
    the resource is called if the field is not there (empty: nothing)."""

    field: str
    index: str
    unnamed: str = ""

    def of(self, resource: Resource) -> str:
        return own_names(resource).get(self.field, "")


def names_of(tenant: str, kind: Kind, resource_id: str) -> tuple[OwnName, ...]:
    """The names that no two resources of the kind may have."""
    platform_ids = keys.platform_ids(tenant, kind)
    match kind:
        case Kind.ROUTERS:
            return ()
        case Kind.QUEUES:
            return (OwnName("call_center_id", platform_ids),)
        case Kind.AGENTS:
            keyed = OwnName("number", keys.agent_numbers(tenant), number_in(resource_id) or "")
            return (OwnName("user_id", platform_ids), keyed)


def live_keys(tenant: str, kind: Kind, resource_id: str) -> tuple[str, ...]:
    """Where it moves: only an agent has a live part of its own."""
    return (keys.agent(tenant, resource_id),) if kind is Kind.AGENTS else ()


def kept_under_id(
    tenant: str, kind: Kind, resource_id: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hashes with a field of that id, and keys, that nobody else looks after when it is removed."""
    match kind:
        case Kind.ROUTERS:
            switches = (keys.routers_disabled(tenant), keys.router_resets(tenant))
            return switches, (keys.router_errors(tenant, resource_id),)
        case Kind.QUEUES:
            queue = keys.queue_id(resource_id)
            return (), (keys.queue_live(tenant, queue), keys.held(tenant, queue))
        case Kind.AGENTS:
            return (keys.phones(tenant), keys.pins(tenant)), (keys.pin_tries(tenant, resource_id),)
