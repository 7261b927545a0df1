"""What an endpoint of the management API is: one row, from which routes, roles and OpenAPI come.

A handler gets an `Asked`, returns a value or a `Page`, raises a CrosspointError, and never sees
aiohttp. What stands before it (token, tenant, role, query, body) is the same for all and is here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from aiohttp import web

from router.deadline import Deadline, in_s
from router.errors import InvalidInputError
from router.http import auth, downloads
from router.http.bodies import MANAGEMENT_LIMIT, check_fields, decode_as, decode_object, read_body
from router.http.envelope import LIMIT_DEFAULT, LIMIT_MOST, OFFSET_MOST, success, whole_number
from router.http.roles import Access, Resource
from router.rulesets.in_force import Rulesets
from router.site.directory import Directory
from router.store.agents import Agents
from router.store.link import Link
from router.store.operations import HasLinks
from router.store.resources import Resources
from router.telephony.remote import Telephony
from router.tokens import Principal, Tokens
from rules.problems import nearest_name

BASE: Final = "/api/v1"

REQUEST_S: Final = 10.0
"""A management request as a whole, its body included."""

BodyT = TypeVar("BodyT")


class Management(msgspec.Struct, frozen=True, kw_only=True):
    """What the handlers stand on; see this package's docstring."""

    tokens: Tokens
    directory: Callable[[], Directory]
    resources: Resources
    agents: Agents
    links: HasLinks
    rulesets: Rulesets
    telephony: Telephony


class Asked(msgspec.Struct, Generic[BodyT], frozen=True, kw_only=True):
    """One authenticated, authorised, decoded request. `id` is what the path names, if anything."""

    service: Management
    who: Principal
    tenant: str
    access: Access
    body: BodyT
    deadline: Deadline
    id: str = ""
    query: Mapping[str, str] = {}
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    wants_csv: bool = False

    @property
    def link(self) -> Link:
        """The way to the tenant's keys."""
        return self.service.links.link_for(self.tenant)


class Endpoint(msgspec.Struct, Generic[BodyT], frozen=True, kw_only=True):
    """One row. `path` may hold `{id}`; with `is_agents` that is the agent that owns what is asked for.

    `body` None takes no body. `is_raw`: the handler gets the checked mapping instead of the Struct,
    since only it knows what is there already (PATCH) or how secrets are written. `filters` maps the
    names of query parameters to what they mean. `has_csv`: the handler answers a `downloads.Table`
    when it is asked for one. `file` is the content type of an answer that is a `downloads.File`.
    """

    method: str
    path: str
    resource: Resource
    summary: str
    handler: Callable[[Asked[BodyT]], Awaitable[object]]
    answer: Any  # a type, or a union of types, for OpenAPI: typing has no name for both
    body: type[msgspec.Struct] | None = None
    is_raw: bool = False
    is_agents: bool = False
    is_list: bool = False
    status: int = 200
    filters: Mapping[str, str] = {}
    has_csv: bool = False
    file: str | None = None


# Endpoints with different bodies stand in one table, hence Any.
AnyEndpoint = Endpoint[Any]


def route(service: Management, endpoint: AnyEndpoint) -> web.RouteDef:
    """The endpoint as aiohttp wants it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = await _asked(service, endpoint, request)
        value = await endpoint.handler(asked)
        match value:
            case downloads.Table():
                return downloads.answer_table(value)
            case downloads.File():
                return downloads.answer_file(value)
            case _:
                return success(value, status=endpoint.status)

    return web.route(endpoint.method, BASE + endpoint.path, handle)


async def _asked(service: Management, endpoint: AnyEndpoint, request: web.Request) -> Asked[object]:
    deadline = in_s(REQUEST_S)
    who = await auth.authenticate(service.tokens, request.headers.get("Authorization"))
    named = request.match_info.get("id", "")
    owner = named if endpoint.is_agents and named else None
    access = auth.authorise(who, endpoint.resource, endpoint.method, owner)
    query = _query(endpoint, request)
    tenant = auth.tenant_for(who, query)
    body: object = None
    if endpoint.body is not None:
        text = await read_body(request, limit=MANAGEMENT_LIMIT, deadline=deadline)
        document = decode_object(text)
        if endpoint.is_raw:
            check_fields(document, endpoint.body)
            body = document
        else:
            body = decode_as(document, endpoint.body)
    most_offset = OFFSET_MOST if endpoint.is_list else 0
    return Asked(
        service=service,
        who=who,
        tenant=tenant,
        access=access,
        body=body,
        deadline=deadline,
        id=named,
        query=query,
        limit=whole_number(query, "limit", LIMIT_DEFAULT, 1, LIMIT_MOST),
        offset=whole_number(query, "offset", 0, 0, most_offset),
        wants_csv=endpoint.has_csv
        and downloads.prefers(request.headers.getall("Accept", ()), "text/csv", "application/json"),
    )


def _query(endpoint: AnyEndpoint, request: web.Request) -> dict[str, str]:
    """The query string; a parameter that is unknown or given twice is refused, not ignored."""
    known = {auth.TENANT, *endpoint.filters, *(("limit", "offset") if endpoint.is_list else ())}
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            message = f"There is no parameter {name[:60]!r} here."
            if nearest := nearest_name(name, known):
                message += f" Did you mean {nearest!r}?"
            raise InvalidInputError(message, field=name[:60])
        if name in query:
            raise InvalidInputError(f"{name} is given twice.", field=name)
        query[name] = value
    return query
