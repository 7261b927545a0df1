"""Dialpad's routing wire format: its requests into our facts, our answers into its fields, and back.

Parts of the format are uncertain, so every name stands in a table at the top and nothing outside this
package knows one. Reading is lenient (variants, numbers or text for ids), writing emits only what is
documented: `route`, `forward`, `ask`, `end`.

A field we have no use for becomes an attribute (`router/decisions/attributes.py`).
"""

from collections.abc import Mapping
from typing import Final, assert_never

import msgspec

from router.decisions.attributes import LONGEST_KEY, LONGEST_TEXT, flatten
from router.errors import CrosspointError, Fault
from router.platforms.dialpad.keyed import CONTAINERS, read_keyed
from rules.actions import Ask, End, Forward, Route, Target, TargetType
from rules.facts import CallFacts, Contact, Scalar

CALL_ID: Final = ("call_id",)
CALLER: Final = ("external_number", "from_number")
CALLED: Final = ("internal_number", "to_number")
CONTACT: Final = "contact"
HINT_NAME: Final = "hint_name"

ANONYMOUS: Final = frozenset({"", "anonymous", "private", "restricted", "unavailable", "unknown"})
"""What stands in a number's place when there is none, lower case."""

TARGET_TYPES: Final = frozenset(
    {TargetType.USER, TargetType.DEPARTMENT, TargetType.CALLCENTER, TargetType.OFFICE}
)
"""The only kinds of target a `route` may name; a phone is a `forward`."""

LONGEST_ID: Final = 128
MOST_DIGITS: Final = 64
LONGEST_MESSAGE: Final = 4000

Answer = Route | Forward | Ask | End
"""What the platform can be answered. `Ask.otherwise` and `Ask.tries` do not travel."""

NOBODY: Final = End()
"""Stands in for `Ask.otherwise` where an answer was read off the wire."""

_LARGEST_ID: Final = 10**20
_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode
_CONTACT_FIELDS: Final = frozenset(Contact.__struct_fields__)
_KNOWN: Final = frozenset((*CALL_ID, *CALLER, *CALLED, CONTACT, *CONTAINERS, HINT_NAME))


class UnreadableError(CrosspointError):
    """The body is not what the platform sends."""

    code = "unreadable"
    fault = Fault.UPSTREAM
    safe_to_repeat = True


class RoutingRequest(msgspec.Struct, frozen=True):
    """One call asking where to go; `silent` names what the caller was asked without keying anything."""

    call: CallFacts
    silent: frozenset[str] = frozenset()


def read_json(body: bytes) -> Mapping[str, object]:
    """A body that must be a JSON object; UnreadableError otherwise."""
    try:
        value = _decode_json(body)
    except (ValueError, RecursionError):
        raise UnreadableError from None
    if not isinstance(value, dict):
        raise UnreadableError
    return value


def bare_token(body: bytes) -> bytes | None:
    """The JWT a body consists of, alone or in quotes; None when it is something else."""
    text = body.strip()
    if text[:1] == b'"' and text[-1:] == b'"' and len(text) > 1:
        text = text[1:-1]
    return None if not text or text[0] in b"{[" else text


def read_request(body: Mapping[str, object], router_id: str) -> RoutingRequest:
    """The facts of a request. Never fails: what cannot be read is absent."""
    keyed = read_keyed(body)
    contact = body.get(CONTACT)
    call = CallFacts(
        call_id=_text(_first(body, CALL_ID), LONGEST_ID) or "",
        caller=number_of(_first(body, CALLER)),
        called=number_of(_first(body, CALLED)),
        router=router_id,
        contact=_contact(contact) if isinstance(contact, dict) and contact else None,
        digits=keyed.digits,
        attributes=attributes_of(body),
    )
    return RoutingRequest(call, keyed.silent)


def write_request(call: CallFacts, date_started_ms: int | None = None) -> bytes:
    """The JSON body the platform would send for a call."""
    body: dict[str, object] = {
        CALL_ID[0]: int(call.call_id) if call.call_id.isdecimal() else call.call_id,
        CALLER[0]: call.caller,
        CALLED[0]: call.called,
    }
    if date_started_ms is not None:
        body["date_started"] = date_started_ms
    if call.contact is not None:
        body[CONTACT] = call.contact
    if call.digits:
        body[CONTAINERS[0]] = call.digits
    body.update((k, v) for k, v in call.attributes.items() if k not in body)
    return _encode_json(body)


def write_answer(answer: Answer) -> bytes:
    """The JSON of an answer. A target must be one of TARGET_TYPES; a phone has to be a Forward."""
    match answer:
        case Route():
            fields: dict[str, object] = {
                "action": "route",
                "target_type": answer.target.type.value,
                "target_id": answer.target.id,
            }
        case Forward():
            fields = {"action": "forward", "forward_to": answer.number}
        case Ask():
            fields = {
                "action": "ask",
                "message": [answer.prompt],
                HINT_NAME: answer.name,
                "num_digits": answer.digits,
            }
            _add_locale(fields, answer.locale)
        case End():
            fields = {"action": "end"}
            if answer.message is not None:
                fields["message"] = [answer.message]
            _add_locale(fields, answer.locale)
        case _:
            assert_never(answer)
    return _encode_json(fields)


_TO_NOBODY: Final = write_answer(Route(target=Target(type=TargetType.USER, id="")))
_TO_USER, _END = _TO_NOBODY[:-3], _TO_NOBODY[-1:]


def write_to_user(user_id: str) -> bytes:
    """As write_answer, for the answer that is different from call to call."""
    return _TO_USER + _encode_json(user_id) + _END


def read_answer(body: bytes) -> Answer:
    """An answer as somebody else's routing_url gave it; strict: UnreadableError for anything odd."""
    fields = read_json(body)
    match fields.get("action"):
        case "route":
            kind, target_id = fields.get("target_type"), _text(fields.get("target_id"), LONGEST_ID)
            if isinstance(kind, str) and kind in TARGET_TYPES and target_id:
                return Route(target=Target(type=TargetType(kind), id=target_id))
        case "forward":
            number = fields.get("forward_to")
            if isinstance(number, str) and _is_e164(number):
                return Forward(number=number)
        case "ask":
            return _read_ask(fields)
        case "end":
            return End(
                message=_message(fields.get("message")),
                locale=_text(fields.get("locale"), LONGEST_KEY),
            )
        case _:
            pass
    raise UnreadableError


def _read_ask(fields: Mapping[str, object]) -> Ask:
    name, digits = fields.get(HINT_NAME), fields.get("num_digits", 1)
    prompt = _message(fields.get("message"))
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_KEY or prompt is None:
        raise UnreadableError
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= MOST_DIGITS:
        raise UnreadableError
    locale = _text(fields.get("locale"), LONGEST_KEY)
    return Ask(name=name, prompt=prompt, digits=digits, locale=locale, otherwise=NOBODY)


def _message(value: object) -> str | None:
    if value is None:
        return None
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UnreadableError
    text = " ".join(parts)
    if len(text) > LONGEST_MESSAGE:
        raise UnreadableError
    return text or None


def _add_locale(fields: dict[str, object], locale: str | None) -> None:
    """The platform spells a locale `en-us`."""
    if locale is not None:
        fields["locale"] = locale.lower().replace("_", "-")


def _is_e164(number: str) -> bool:
    digits = number[1:]
    return number[:1] == "+" and digits.isascii() and digits.isdigit() and 2 <= len(digits) <= 15


def _first(body: Mapping[str, object], names: tuple[str, ...]) -> object:
    for name in names:
        value = body.get(name)
        if value is not None:
            return value
    return None


def _text(value: object, longest: int) -> str | None:
    """An id or a text; numbers become text without ever having been a float with a fraction."""
    if isinstance(value, str):
        return value if len(value) <= longest else None
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    if isinstance(value, int) and abs(value) < _LARGEST_ID:
        return str(value)
    return None


def number_of(value: object) -> str | None:
    """A number as it came; None for an anonymous caller."""
    if isinstance(value, str) and value[:1] == "+" and len(value) <= LONGEST_KEY:
        return value
    text = _text(value, LONGEST_KEY)
    return None if text is None or text.strip().lower() in ANONYMOUS else text


def _contact(fields: dict[str, object]) -> Contact:
    return Contact(
        id=_text(fields.get("id"), LONGEST_ID),
        type=_text(fields.get("type"), LONGEST_TEXT),
        name=_text(fields.get("name"), LONGEST_TEXT),
        email=_text(fields.get("email"), LONGEST_TEXT),
    )


def attributes_of(body: Mapping[str, object]) -> Mapping[str, Scalar]:
    """What has no place in the facts."""
    found = flatten(body, known=_KNOWN)
    contact = body.get(CONTACT)
    if type(contact) is dict:
        flatten(contact, f"{CONTACT}.", found, 2, _CONTACT_FIELDS)
    return found
