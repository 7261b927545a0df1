"""The role table and the table of error replies are complete."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import router
from router.errors import CrosspointError, Fault, ForbiddenError, InvalidInputError
from router.http.auth import authorise, tenant_for
from router.http.error_replies import STATUSES, public_message, status_of
from router.http.roles import ROLE_TABLE, Access, Resource, access_of, as_markdown
from router.http.v1 import openapi
from router.http.v1.routes import ENDPOINTS
from router.tokens import Principal, Role

ROOT = Path(__file__).parents[3]


def who(role: Role, tenant: str = "acme", sub: str = "ada") -> Principal:
    return Principal(sub=sub, tenant_id=tenant, role=role, exp=4_000_000_000)


def every_error() -> Iterator[type[CrosspointError]]:
    for module in pkgutil.walk_packages(router.__path__, "router."):
        if module.name != "router.__main__":
            importlib.import_module(module.name)
    todo = [CrosspointError]
    while todo:
        error = todo.pop()
        yield error
        todo.extend(error.__subclasses__())


def test_every_error_of_ours_has_a_status():
    missing = {error.code for error in every_error() if error.__module__.startswith("router")}
    assert missing - STATUSES.keys() == set()


def test_statuses_and_faults_agree():
    for error in every_error():
        if error.code in STATUSES:
            is_client = 400 <= STATUSES[error.code] < 500
            assert not (is_client and error.fault is Fault.OURS), error


def test_a_fault_of_ours_keeps_its_details_to_itself():
    class OddError(CrosspointError):
        """Secret detail 12345678."""

        code = "odd"

    assert status_of(OddError()) == 500
    assert "12345678" not in public_message(OddError())


def test_every_endpoint_has_a_row_and_every_row_an_endpoint():
    assert {(row.resource, row.method) for row in ENDPOINTS} == set(ROLE_TABLE)


def test_platform_admin_may_do_everything_and_an_agent_changes_only_itself():
    for (resource, method), row in ROLE_TABLE.items():
        assert row[Role.PLATFORM_ADMIN] is Access.ALL
        assert row[Role.ADMIN] is Access.ALL
        if method != "GET":
            assert row.get(Role.AGENT) in {None, Access.OWN}, resource


def test_what_is_not_in_the_table_is_not_allowed():
    assert access_of(Role.PLATFORM_ADMIN, Resource.ROUTERS, "TRACE") is None


def test_an_agent_is_let_to_itself_and_to_nobody_else():
    assert authorise(who(Role.AGENT), Resource.AGENT_DUTY, "PUT", "ada") is Access.OWN
    with pytest.raises(ForbiddenError):
        authorise(who(Role.AGENT), Resource.AGENT_DUTY, "PUT", "bea")
    with pytest.raises(ForbiddenError):
        authorise(who(Role.AGENT), Resource.AGENT_SKILLS, "PUT", "ada")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PLATFORM_ADMIN])
def test_only_platform_admin_names_another_tenant(role: Role):
    assert tenant_for(who(role), {"tenant_id": "acme"}) == "acme"
    with pytest.raises(ForbiddenError):
        tenant_for(who(role), {"tenant_id": "other"})


def test_platform_admin_names_any_tenant_that_has_a_sane_name():
    assert tenant_for(who(Role.PLATFORM_ADMIN), {"tenant_id": "other"}) == "other"
    with pytest.raises(InvalidInputError):
        tenant_for(who(Role.PLATFORM_ADMIN), {"tenant_id": "a}b{"})


def test_the_page_in_deploy_is_the_table():
    assert (ROOT / "deploy" / "roles.md").read_text() == as_markdown()


def test_the_openapi_document_names_every_endpoint_and_resolves_every_reference():
    document = openapi.document(ENDPOINTS)
    for row in ENDPOINTS:
        operation = document["paths"]["/api/v1" + row.path][row.method.lower()]
        assert ("requestBody" in operation) == (row.body is not None)
    ids = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def test_the_openapi_document_says_what_a_change_does_to_what_it_leaves_out():
    paths = openapi.document(ENDPOINTS)["paths"]
    told = [path["patch"]["description"] for path in paths.values() if "patch" in path]
    assert told
    assert all("replaced as a whole" in text and "Roles: " in text for text in told)


def test_the_openapi_document_takes_secrets_as_text_and_shows_no_reference():
    schemas = openapi.document(ENDPOINTS)["components"]["schemas"]
    assert "SecretRef" not in schemas
    assert "enabled" in schemas["RouterPatch"]["properties"]
    assert "required" not in schemas["RouterPatch"] or not schemas["RouterPatch"]["required"]
    assert set(schemas["RouterInput"]["required"]) == {"id", "name", "default_target"}
