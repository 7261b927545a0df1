"""Request bodies: read within a limit and a deadline, decode, and name what is wrong with them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from router.deadline import Deadline
from router.errors import CrosspointError, Fault, InvalidInputError
from router.site.refusals import refusal
from rules.problems import nearest_name

MANAGEMENT_LIMIT: Final = 1_000_000
"""Bytes of a body under `/api/v1`."""

EVENT_LIMIT: Final = 64 * 1024
"""Bytes of a body under `/events`."""

T = TypeVar("T")


class TooLargeError(CrosspointError):
    """The body is larger than allowed."""

    code = "too_large"
    fault = Fault.CLIENT


class BodyTimeoutError(CrosspointError):
    """The body did not arrive in time."""

    code = "timeout"
    fault = Fault.CLIENT
    safe_to_repeat = True


class BadJsonError(InvalidInputError):
    """The body is not JSON."""

    code = "bad_json"


async def read_body(request: web.Request, *, limit: int, deadline: Deadline) -> bytes:
    """The whole body, at most `limit` bytes after decompression, read before the deadline.

    Raises TooLargeError as soon as it is known, BodyTimeoutError, or InvalidInputError when the
    client breaks off.
    """
    if (request.content_length or 0) > limit:
        raise TooLargeError(f"A body here has at most {limit} bytes.")
    taken = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            while chunk := await request.content.readany():
                taken += chunk
                if len(taken) > limit:
                    raise TooLargeError(f"A body here has at most {limit} bytes.")
    except TimeoutError:
        raise BodyTimeoutError from None
    except (web.RequestPayloadError, ConnectionError, ValueError) as error:
        raise InvalidInputError("The body could not be read.") from error
    return bytes(taken)


def decode_object(text: bytes) -> dict[str, object]:
    """The JSON object in a body; BadJsonError with line and column, or what it is instead."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadJsonError(_where(text, error)) from None
    if not isinstance(value, dict):
        raise BadJsonError("The body has to be a JSON object.")
    return value


def decode_as(document: Mapping[str, object], type_: type[T]) -> T:
    """`document` as a Struct; InvalidInputError names the field and, for unknown ones, the nearest."""
    check_fields(document, type_)
    try:
        return msgspec.convert(document, type_)
    except msgspec.ValidationError as error:
        message, field = refusal(error, document, type_)
        text = f"{field}: {message}" if field else message
        raise InvalidInputError(text, field=field or None) from None


def check_fields(document: object, type_: type) -> None:
    """Refuse fields that `type_` does not have, at any depth, each with the nearest known name."""
    _check(document, _inspected(type_), "")


def _where(text: bytes, error: Exception) -> str:
    """Line and column of the first thing that is not JSON; the error's own words never quote it."""
    if isinstance(error, RecursionError):
        return "The body is nested too deeply."
    try:
        decoded = text.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not UTF-8 (byte {wrong.start + 1})."
    try:
        json.loads(decoded)
    except json.JSONDecodeError as wrong:
        return f"The body is not JSON: {wrong.msg} at line {wrong.lineno}, column {wrong.colno}."
    except RecursionError:
        return "The body is nested too deeply."
    except ValueError:
        return "The body has a number with too many digits."
    return "The body is not JSON."


@lru_cache(maxsize=256)
def _inspected(type_: type) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(type_)


def _check(value: object, type_: msgspec.inspect.Type, path: str) -> None:
    """Recursion is bounded by the type, which is finite in everything the API takes."""
    match type_:
        case msgspec.inspect.UnionType():
            for option in type_.types:
                if _fits(value, option):
                    _check(value, option, path)
        case msgspec.inspect.StructType() if isinstance(value, Mapping):
            _check_struct(value, type_, path)
        case msgspec.inspect.DictType() if isinstance(value, Mapping):
            for key, item in value.items():
                _check(item, type_.value_type, _joined(path, str(key)))
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType() if isinstance(
            value, Sequence
        ) and not isinstance(value, str):
            for index, item in enumerate(value):
                _check(item, type_.item_type, f"{path}[{index}]")
        case _:
            return


def _check_struct(
    value: Mapping[object, object], type_: msgspec.inspect.StructType, path: str
) -> None:
    fields = {field.encode_name: field.type for field in type_.fields}
    for key, item in value.items():
        name = str(key)
        if name in fields:
            _check(item, fields[name], _joined(path, name))
        elif name != type_.tag_field:
            field = _joined(path, name[:60])
            message = f"There is no field {field!r} here."
            if nearest := nearest_name(name, fields):
                message += f" Did you mean {nearest!r}?"
            raise InvalidInputError(message, field=field)


def _fits(value: object, option: msgspec.inspect.Type) -> bool:
    match option:
        case msgspec.inspect.StructType() | msgspec.inspect.DictType():
            return isinstance(value, Mapping)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return isinstance(value, list)
        case _:
            return False


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
