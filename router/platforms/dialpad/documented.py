"""A routing request as the platform documents it, read in one go.

How it works. Nearly every request carries documented fields of the documented types and nothing else.
Those are decoded straight into a Struct, at a third of what reading field by field costs, and their
attributes are flattened only if a rule asks for one. Whatever else comes, one unknown field even, is
`read_request`'s (`wire.py`), whose meaning this follows: a test reads every request both ways.
"""

import functools
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.decisions.attributes import LONGEST_TEXT, LateAttributes
from router.platforms.dialpad.wire import (
    LONGEST_ID,
    RoutingRequest,
    attributes_of,
    number_of,
    read_json,
)
from rules.facts import CallFacts, Contact, Scalar
from rules.wording import mask, mask_if_telling, mask_unless_id

_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Number = Annotated[str, Meta(max_length=64)]
_CallId = Annotated[str, Meta(max_length=LONGEST_ID)]
_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Any = _Text | _Whole | UnsetType | None
_Word = _Text | UnsetType | None


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The contact, or a target."""

    id: _Any = UNSET
    type: _Word = UNSET
    name: _Word = UNSET
    email: _Word = UNSET
    phone: _Word = UNSET
    office_id: _Any = UNSET


class Attributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What becomes attributes."""

    date_started: _Whole | UnsetType | None = UNSET
    contact: Party | UnsetType | None = UNSET
    master_call_id: _Any = UNSET
    entry_point_call_id: _Any = UNSET
    operator_call_id: _Any = UNSET
    target: Party | UnsetType | None = UNSET
    entry_point_target: Party | UnsetType | None = UNSET
    proxy_target: Party | UnsetType | None = UNSET
    state: _Word = UNSET
    direction: _Word = UNSET
    iat: _Whole | UnsetType = UNSET
    exp: _Whole | UnsetType = UNSET
    nbf: _Whole | UnsetType = UNSET


class Documented(Attributes, frozen=True, forbid_unknown_fields=True, gc=False):
    """The whole body."""

    call_id: _Whole | _CallId | None = None
    external_number: _Number | None = None
    internal_number: _Number | None = None
    labels: list[object] | UnsetType = UNSET


_decode: Final = msgspec.json.Decoder(Documented).decode


def read_documented(body: bytes) -> Documented | None:
    """The request, if it is one that is read here."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def facts_of(request: Documented, body: bytes, router_id: str) -> RoutingRequest:
    """The facts of a request that was read from `body`."""
    call_id, caller, called = request.call_id, request.external_number, request.internal_number
    contact = request.contact
    # By position, in the order of the fields: half as dear as by name.
    call = CallFacts(
        call_id if isinstance(call_id, str) else "" if call_id is None else str(call_id),
        caller if caller is None or caller[:1] == "+" else number_of(caller),
        called if called is None or called[:1] == "+" else number_of(called),
        router_id,
        _contact(contact) if isinstance(contact, Party) else None,
        _NOTHING_KEYED,
        _DocumentedAttributes(request, body),
    )
    return RoutingRequest(call)


_NOTHING_KEYED: Final[Mapping[str, str]] = {}


class _DocumentedAttributes(LateAttributes):
    __slots__ = ("_body", "_request")

    def __init__(self, request: Documented, body: bytes) -> None:
        self._flat = None
        self._request = request
        self._body = body

    def flat(self) -> Mapping[str, Scalar]:
        return attributes_of(read_json(self._body))

    def nested(self, *, is_masked: bool) -> Attributes:
        request = self._request
        contact = request.contact
        # What is absent is not asked how it would be shown.
        return Attributes(
            request.date_started,
            _rest_of_contact(contact, is_masked) if isinstance(contact, Party) else UNSET,
            _id(each) if (each := request.master_call_id) and is_masked else each,
            _id(each) if (each := request.entry_point_call_id) and is_masked else each,
            _id(each) if (each := request.operator_call_id) and is_masked else each,
            _shown(party) if (party := request.target) and is_masked else party,
            _shown(party) if (party := request.entry_point_target) and is_masked else party,
            _shown(party) if (party := request.proxy_target) and is_masked else party,
            mask_if_telling(text) if (text := request.state) and is_masked else text,
            mask_if_telling(text) if (text := request.direction) and is_masked else text,
            request.iat,
            request.exp,
            request.nbf,
        )


_NOBODY: Final = Party()


def _contact(party: Party) -> Contact | None:
    """As facts; None for an object without fields."""
    who, kind, name, email = party.id, party.type, party.name, party.email
    if party == _NOBODY:
        return None
    if isinstance(who, str):
        shown = who if len(who) <= LONGEST_ID else None
    else:
        shown = str(who) if isinstance(who, int) else None
    return Contact(
        shown,
        None if kind is UNSET else kind,
        None if name is UNSET else name,
        None if email is UNSET else email,
    )


def _rest_of_contact(party: Party, is_masked: bool) -> Party | UnsetType:  # noqa: FBT001 - private
    """What the facts about the contact leave over."""
    phone, office_id = party.phone, party.office_id
    if phone is UNSET and office_id is UNSET:
        return UNSET
    if is_masked:
        phone, office_id = mask(phone) if phone else phone, _id(office_id)
    return Party(UNSET, UNSET, UNSET, UNSET, phone, office_id)


@functools.lru_cache(maxsize=256)
def _shown(party: Party) -> Party:
    """A target as the log shows it; the same one is called again and again."""
    return Party(
        _id(party.id),
        mask_if_telling(party.type) if party.type else party.type,
        mask(party.name) if party.name else party.name,
        mask(party.email) if party.email else party.email,
        mask(party.phone) if party.phone else party.phone,
        _id(party.office_id),
    )


def _id(value: str | int | UnsetType | None) -> str | int | UnsetType | None:
    return mask_unless_id(value) if isinstance(value, str) and value else value
