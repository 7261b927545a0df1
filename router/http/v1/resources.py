"""What the three resource families share: reading the present picture, and types of their forms."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from router.errors import NotFoundError
from router.http.envelope import Page, page_of
from router.http.v1.endpoints import Asked
from router.site.directory import TenantResources
from router.site.forms import public_form
from router.site.resources import Resource

Raw = dict[str, object]
"""A decoded body whose fields were checked, values not yet."""

_SECRETS: Final = ("secret", "previous_secret")


class Nothing(msgspec.Struct, frozen=True):
    """The answer to a removal: an empty object."""


async def picture(asked: Asked[Any]) -> TenantResources:
    """All of the tenant's resources as the store has them now; cheap when nothing has changed."""
    known = asked.service.directory().tenants.get(asked.tenant)
    return await asked.service.resources.renew(
        asked.tenant, known.resources if known else TenantResources(), deadline=asked.deadline
    )


def page(asked: Asked[Any], items: Mapping[str, object]) -> Page:
    """The page that was asked for, in order of id."""
    ordered = [items[key] for key in sorted(items)]
    return page_of(ordered, limit=asked.limit, offset=asked.offset)


def not_found(asked: Asked[Any], what: str) -> NotFoundError:
    return NotFoundError(f"There is no {what} {asked.id[:64]!r}.")


def with_live(resource: Resource, live: msgspec.Struct) -> Raw:
    """A resource as it may be shown, with what lives beside it."""
    return {**public_form(resource), **msgspec.structs.asdict(live)}


def form(name: str, of: type[msgspec.Struct], *more: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of what is answered: a resource's fields and those of `more`, secrets as text."""
    fields = [*_fields(of), *(field for one in more for field in _fields(one))]
    return msgspec.defstruct(name, fields, kw_only=True)


def input_form(name: str, of: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of what is taken for a new resource: secrets are the text itself."""
    return msgspec.defstruct(name, _fields(of), kw_only=True, forbid_unknown_fields=True)


def patch_form(
    name: str, of: type[msgspec.Struct], *more: type[msgspec.Struct]
) -> type[msgspec.Struct]:
    """The type of a change: every field of the resource but its id, each optional."""
    fields = [*_fields(of), *(field for one in more for field in _fields(one))]
    optional = [(field[0], field[1] | None, None) for field in fields]
    return msgspec.defstruct(name, optional, kw_only=True, forbid_unknown_fields=True)


def _fields(of: type[msgspec.Struct]) -> list[tuple[Any, ...]]:  # as defstruct wants them
    """Names, types and defaults."""
    found: list[tuple[Any, ...]] = []
    for field in msgspec.structs.fields(of):
        type_ = str | None if field.name in _SECRETS else field.type
        if field.required:
            found.append((field.name, type_))
        elif field.default is not msgspec.NODEFAULT:
            found.append((field.name, type_, field.default))
        else:
            factory = msgspec.field(default_factory=field.default_factory)
            found.append((field.name, type_, factory))
    return found


def without(body: Mapping[str, object], *names: str) -> Raw:
    """The body without fields that are not the resource's own."""
    return {key: value for key, value in body.items() if key not in names}
