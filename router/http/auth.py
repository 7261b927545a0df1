"""Who is asking, for which tenant, and whether the role table lets them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from router.errors import ForbiddenError, InvalidInputError
from router.http.roles import Access, Resource, access_of
from router.site.resources import Id
from router.tokens import Principal, Role, TokenRefusedError, Tokens

TENANT: Final = "tenant_id"


async def authenticate(tokens: Tokens, authorization: str | None) -> Principal:
    """The principal of an `Authorization: Bearer …` header; TokenRefusedError otherwise."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRefusedError
    return await tokens.verify(token.strip())


def tenant_for(who: Principal, query: Mapping[str, str]) -> str:
    """The tenant a request is about: the token's own, or another one for platform_admin only."""
    named = query.get(TENANT)
    if named is None or named == who.tenant_id:
        return who.tenant_id
    if who.role is not Role.PLATFORM_ADMIN:
        raise ForbiddenError("Only platform_admin may name another tenant.")
    try:
        return msgspec.convert(named, Id)
    except msgspec.ValidationError:
        raise InvalidInputError("This is no tenant's id.", field=TENANT) from None


def authorise(who: Principal, resource: Resource, method: str, owner: str | None) -> Access:
    """Let `who` do it or raise ForbiddenError; `owner` is the agent that the path names, if any."""
    access = access_of(who.role, resource, method)
    if access is None:
        raise ForbiddenError(f"The role {who.role.value} may not {method} {resource.value}.")
    if access is Access.OWN and owner is not None and owner != who.sub:
        raise ForbiddenError("An agent may do that only for itself.")
    return access
