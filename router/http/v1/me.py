"""`auth/me`: who the token speaks for, and what that role may do."""

from datetime import datetime

import msgspec

from router.http.envelope import timestamp
from router.http.roles import ROLE_TABLE, Access, Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.tokens import Role


class Allowed(msgspec.Struct, frozen=True):
    """One allowance: `own` is only the agent that the token names."""

    resource: Resource
    method: str
    access: Access


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """`tenant_id` is the token's, `acting_for` the tenant of this request."""

    sub: str
    tenant_id: str
    acting_for: str
    role: Role
    expires_at: datetime | None
    may: list[Allowed]


async def me(asked: Asked[None]) -> Me:
    who = asked.who
    return Me(
        sub=who.sub,
        tenant_id=who.tenant_id,
        acting_for=asked.tenant,
        role=who.role,
        expires_at=timestamp(who.exp * 1000),
        may=[
            Allowed(resource, method, row[who.role])
            for (resource, method), row in ROLE_TABLE.items()
            if who.role in row
        ],
    )


ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/auth/me",
        resource=Resource.ME,
        summary="Who am I, and what may I do",
        handler=me,
        answer=Me,
    ),
)
