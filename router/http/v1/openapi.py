"""`/openapi.json`: an OpenAPI 3.1 document made from the table of endpoints and the types they name."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from router.http.auth import TENANT
from router.http.envelope import LIMIT_DEFAULT, LIMIT_MOST, ErrorData
from router.http.roles import ROLE_TABLE
from router.http.v1.endpoints import BASE, AnyEndpoint

# JSON documents are nested dictionaries of anything.
Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_ERRORS: Final = {
    "400": "The input is not valid; `data.field` names the field",
    "401": "A valid bearer token is needed",
    "403": "The role or the tenant does not allow it",
    "404": "There is no such thing",
    "409": "Not possible in the present state",
    "413": "The body is larger than 1 MB",
    "503": "The store or the PBX is not reachable; nothing was done",
    "504": "It may have happened: look before asking again",
}

_EFFECTS: Final = {
    "PATCH": "A field that is left out stays as it is. One that is given is replaced as a whole, all that"
    " it holds included; null gives it its default."
}


def document(endpoints: Iterable[AnyEndpoint]) -> Json:
    """The whole document."""
    rows = list(endpoints)
    types = [ErrorData, *(row.answer for row in rows), *(row.body for row in rows if row.body)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = {id(type_): schema for type_, schema in zip(types, schemas, strict=True)}
    paths: Json = {}
    for row in rows:
        operation = _operation(row, schema_of)
        paths.setdefault(BASE + row.path, {})[row.method.lower()] = operation
    components["Error"] = _envelope({"const": "error"}, schema_of[id(ErrorData)])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Crosspoint management API", "version": _version()},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(row: AnyEndpoint, schema_of: dict[int, Json]) -> Json:
    data = schema_of[id(row.answer)]
    if row.is_list:
        data = {"type": "array", "items": data}
    operation: Json = {
        "summary": row.summary,
        "operationId": _operation_id(row),
        "tags": [row.resource.value.partition("/")[0]],
        "description": " ".join(filter(None, [_EFFECTS.get(row.method), _roles(row)])),
        "parameters": _parameters(row),
        "responses": {
            str(row.status): _answer(row, data),
            **{
                status: {"description": text, **_json({"$ref": _REF.format(name="Error")})}
                for status, text in _ERRORS.items()
            },
        },
    }
    if row.body is not None:
        operation["requestBody"] = {"required": True, **_json(schema_of[id(row.body)])}
    return operation


def _answer(row: AnyEndpoint, data: Json) -> Json:
    if row.file is not None:
        content: Json = {row.file: {"schema": {"type": "string", "format": "binary"}}}
        return {"description": "The file; ranges are possible", "content": content}
    answer = _content(_envelope({"const": "success"}, data, is_list=row.is_list))
    if row.has_csv:
        answer["content"]["text/csv"] = {"schema": {"type": "string"}}
    return answer


def _parameters(row: AnyEndpoint) -> list[Json]:
    found: list[Json] = []
    if "{id}" in row.path:
        found.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    texts = {**row.filters, TENANT: "another tenant; only for platform_admin"}
    for name, text in texts.items():
        found.append(
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        )
    if row.is_list:
        number: Json = {"type": "integer", "minimum": 0, "default": 0}
        found.append({"name": "offset", "in": "query", "schema": number})
        number = {"type": "integer", "minimum": 1, "maximum": LIMIT_MOST, "default": LIMIT_DEFAULT}
        found.append({"name": "limit", "in": "query", "schema": number})
    return found


def _envelope(status: Json, data: Json, *, is_list: bool = False) -> Json:
    properties: Json = {"status": status, "message": {"type": "string"}, "data": data}
    if is_list:
        total = "length of the whole list; absent where it is not known before the list's end"
        properties |= {name: {"type": "integer"} for name in ("limit", "offset")}
        properties["total"] = {"type": "integer", "description": total}
    return {"type": "object", "properties": properties, "required": ["status"]}


def _content(schema: Json) -> Json:
    return {"description": "Done", **_json(schema)}


def _json(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}


def _operation_id(row: AnyEndpoint) -> str:
    name: str = getattr(row.handler, "__name__", row.path)
    return name


def _roles(row: AnyEndpoint) -> str:
    allowed = ROLE_TABLE[row.resource, row.method]
    roles = (f"{role.value} ({access.value})" for role, access in allowed.items())
    return f"Roles: {', '.join(roles)}."


def _version() -> str:
    try:
        return version("crosspoint")
    except PackageNotFoundError:
        return "0"
