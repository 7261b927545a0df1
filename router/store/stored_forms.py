"""Descriptions of resources as the store holds them, whichever version of this program wrote them.

Versions run side by side while an upgrade goes from machine to machine, and one that is taken back
finds what the newer one wrote. So a field that is not known here is passed over, and what cannot be
read even so stops nobody else's.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import inspect

from router.site.resources import TYPES, Kind, Resource

_decoders: Final = {kind: msgspec.json.Decoder(type_) for kind, type_ in TYPES.items()}
_forms: Final = {kind: inspect.type_info(type_) for kind, type_ in TYPES.items()}


def read_stored(kind: Kind, text: bytes) -> Resource | None:
    """The resource in a text of the store; None when it cannot be read here."""
    try:
        return _decoders[kind].decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        return msgspec.convert(_known(msgspec.json.decode(text), _forms[kind]), TYPES[kind])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _known(value: object, form: inspect.Type) -> object:
    """The value without fields that the form does not have; as deep as the form, which is finite."""
    match form:
        case inspect.UnionType():
            for option in form.types:
                if isinstance(option, inspect.StructType):  # `... | None`: one at most
                    return _known(value, option)
            return value
        case inspect.StructType() if isinstance(value, Mapping):
            forms = {field.encode_name: field.type for field in form.fields}
            return {key: _known(item, forms[key]) for key, item in value.items() if key in forms}
        case inspect.DictType() if isinstance(value, Mapping):
            return {key: _known(item, form.value_type) for key, item in value.items()}
        case _:
            return value
