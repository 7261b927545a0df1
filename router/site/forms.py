"""Resources as documents: read from decoded JSON, patched, shown without their secrets."""

from collections.abc import Mapping

import msgspec

from router.errors import InvalidInputError
from router.site.resources import Resource, ResourceT, RouterConfig, check, invalid
from router.site.secret_refs import SecretRef, checked_secret


def from_document(document: object, type_: type[ResourceT]) -> ResourceT:
    """A checked resource from decoded JSON; InvalidInputError names the field that is wrong."""
    if isinstance(document, Mapping) and isinstance(
        target := document.get("default_target"), Mapping
    ):
        # A stored target spells its empty name out.
        given = {key for key, value in target.items() if key != "name" or value is not None}
        for field in given - {"type", "id", "number"}:
            message = "a target has a type and an id or number"
            raise InvalidInputError(message, field=f"default_target.{field}")
    try:
        resource = msgspec.convert(document, type_)
    except msgspec.ValidationError as error:
        raise invalid(error, document, type_) from error
    check(resource)
    return resource


def with_literal_secrets(document: Mapping[str, object]) -> dict[str, object]:
    """A router as the management API takes it: a secret is the text itself, written and never read.

    References are refused there, since a tenant's administrator could otherwise have this process
    read any file or variable and try guesses against it.
    """
    form = dict(document)
    for field in ("secret", "previous_secret"):
        value = form.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            raise InvalidInputError(f"{field} is the secret's text", field=field)
        form[field] = {"value": value}
        checked_secret(value, field)
    return form


def public_form(resource: Resource) -> dict[str, object]:
    """The resource as it may be shown, every default spelled out: a secret is only where it is from."""
    form = _everything(resource)
    if isinstance(resource, RouterConfig):
        for field in ("secret", "previous_secret"):
            reference: SecretRef | None = getattr(resource, field)
            form[field] = None if reference is None else reference.public()
    return form


def merged(resource: ResourceT, patch: Mapping[str, object]) -> ResourceT:
    """The resource with some fields replaced (JSON merge patch, one level: null means the default).

    The id cannot change. InvalidInputError names the field that is wrong.
    """
    if "id" in patch and patch["id"] != resource.id:
        raise InvalidInputError("an id cannot be changed", field="id")
    document = msgspec.to_builtins(resource)
    for field, value in patch.items():
        if value is None and field in document:
            del document[field]
        elif value is not None or field not in resource.__struct_fields__:
            document[field] = value
    return from_document(document, type(resource))


def _everything(struct: msgspec.Struct) -> dict[str, object]:
    """A Struct as JSON values, without leaving out what has its default."""
    form: dict[str, object] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, msgspec.Struct):
            form[name] = _everything(value)
        elif isinstance(value, Mapping):
            form[name] = {
                key: _everything(item)
                if isinstance(item, msgspec.Struct)
                else msgspec.to_builtins(item)
                for key, item in value.items()
            }
        else:
            form[name] = msgspec.to_builtins(value)
    return form
