"""One entry of the decision log per decision: with what, why, how good, how long.

Unless the settings allow whole numbers, whatever a caller is known by is masked here, before it
leaves the process; an explanation made from a masked entry says so.
"""

import functools
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from router.decisions.attributes import flatten, is_late
from router.decisions.outcome import Asked, Level, Outcome, Why
from rules.explain import Explanation
from rules.facts import CallFacts, Contact, LiveFacts, Scalar
from rules.numbers import is_anonymous, is_normal, is_plain_e164, normalise
from rules.ruleset import Ruleset
from rules.wording import HIDDEN, Masking, mask, mask_digits, mask_if_telling, mask_unless_id

_PRIVATE: Final = frozenset({"name", "phone", "email", "number", "external_number"})
"""Last parts of attribute names whose values are masked whatever they look like."""

_PARTIES: Final = ("target", "entry_point_target", "proxy_target")
_IDS: Final = frozenset(
    {
        "master_call_id",
        "entry_point_call_id",
        "operator_call_id",
        "contact.office_id",
        *(f"{party}.id" for party in _PARTIES),
        *(f"{party}.office_id" for party in _PARTIES),
    }
)
_TIMES: Final = frozenset({"date_started", "iat", "exp", "nbf"})
_WORDS: Final = frozenset({"state", "direction", *(f"{party}.type" for party in _PARTIES)})
"""Attributes that platforms document, which tell nothing of a person. Of the others, which may be
anything, only those are shown that a rule asks for."""

_LEAST_TELLING: Final = 7
"""Digits of a caller's number that are looked for in the contact's id."""

_NONE: Final[Mapping[str, Scalar]] = {}
_NOTHING_KEYED: Final[Mapping[str, str]] = {}
_MOST_REASONS: Final = 32

NOTE_REPEAT: Final = "This repeats an earlier answer of the same call, which has the explanation."

NOTE_MASKED: Final = (
    "Numbers, digits, names and what no rule asked for are masked in the log: a condition on them that"
    " cannot be judged any more is said to be unknown."
)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A decision as it is kept. `at_s` is seconds since the epoch, `answer` the JSON on the wire.

    `live` are the live facts it was made with, `digest` the version of the rules. With these and the
    call as it was, the rules give the same decision again.
    """

    at_s: float
    router: str
    level: Level
    call: CallFacts
    answer: str
    duration_us: int
    rules: str | None = None
    rule: str | None = None
    digest: str | None = None
    reasons: tuple[str, ...] = ()
    live: LiveFacts = {}
    agent: str | None = None
    error: str | None = None
    is_masked: bool = False
    told: object = None
    """The call's attributes where they were not flattened yet; `unfolded` puts them in their place."""


class _ShownCall(CallFacts, frozen=True, omit_defaults=True):
    """A call on its way into the log: what it has not is not written down."""


class LoggedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and the id the log gave it."""

    id: str
    entry: Entry


class _OfCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of an `Entry` that differ from call to call."""

    at_s: float
    router: str
    call: CallFacts
    duration_us: int
    rules: str | None = None
    is_masked: bool = False
    told: object = None


class _OfOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The other fields of an `Entry`: the same for all calls with this outcome."""

    level: Level
    answer: str
    rule: str | None = None
    digest: str | None = None
    reasons: tuple[str, ...] = ()
    live: LiveFacts = {}
    agent: str | None = None
    error: str | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode


def written(asked: Asked, outcome: Outcome, duration_us: int, *, with_full_numbers: bool) -> bytes:
    """The entry of one decision as the log holds it: what `read` takes."""
    call = outcome.call or asked.call
    attributes, told = call.attributes, None
    if is_late(attributes):
        told, attributes = attributes.nested(is_masked=not with_full_numbers), _NONE
    # By position, in the order of the fields: half as dear as by name.
    of_call = _OfCall(
        asked.now_s,
        asked.router.id,
        _plain(call, attributes)
        if with_full_numbers
        else masked(call, attributes, outcome.asks_for),
        duration_us,
        asked.router.rules,
        not with_full_numbers,
        told,
    )
    return _encode(of_call)[:-1] + _rest_of(outcome)


def _rest_of(outcome: Outcome) -> bytes:
    """What follows: the fields of the outcome, and the end."""
    shared = outcome.shared
    if shared is not None and shared.logged is not None:
        return shared.logged
    of_outcome = _OfOutcome(
        outcome.level,
        outcome.body.decode(errors="replace"),
        outcome.rule,
        outcome.digest,
        outcome.reasons[:_MOST_REASONS],
        outcome.live,
        outcome.agent,
        None if outcome.error is None else outcome.error.value,
    )
    text = b"," + _encode(of_outcome)[1:]
    if shared is not None:
        shared.logged = text
    return text


def read(text: bytes) -> Entry:
    """An entry as the log holds it. Raises msgspec.DecodeError."""
    return unfolded(_decode(text))


def unfolded(entry: Entry) -> Entry:
    """An entry as it was read from the log, with its attributes flattened."""
    if not isinstance(entry.told, dict):
        return entry
    call = _plain(entry.call, flatten(entry.told))
    return msgspec.structs.replace(entry, call=call, told=None)


def _plain(call: CallFacts, attributes: Mapping[str, Scalar]) -> CallFacts:
    if attributes is call.attributes:
        return call
    return msgspec.structs.replace(call, attributes=attributes)


def is_repeat(entry: Entry) -> bool:
    """Whether the entry repeats an earlier answer of the call: nothing was decided for it."""
    return Why.REPEATED.value in entry.reasons


def explain_entry(ruleset: Ruleset, entry: Entry) -> Explanation:
    """Why these rules (the version the entry names) decided as was logged."""
    if not entry.is_masked:
        return ruleset.explain(entry.call, entry.at_s, entry.live)
    return ruleset.explain_masked(entry.call, entry.at_s, entry.live, entry.rule or "")


def masked(
    call: CallFacts,
    attributes: Mapping[str, Scalar] | None = None,
    asks_for: Collection[str] = (),
) -> CallFacts:
    """The call without what identifies the caller; `attributes` stand in for its own.

    `asks_for` are those that the rules ask for: they are shown, unless they look like a number or an
    address.
    """
    contact = call.contact
    attributes = call.attributes if attributes is None else attributes
    digits = call.digits
    return _ShownCall(
        call.call_id,
        _masked_number(call.caller),
        _masked_called(call.called),
        call.router,
        None if contact is None else _masked_contact(contact, call.caller),
        {name: mask_digits(keys) for name, keys in digits.items()} if digits else _NOTHING_KEYED,
        _masked_attributes(attributes, asks_for) if attributes else _NONE,
    )


def _masked_number(text: str | None) -> str | None:
    """What is left tells country and length if it was E.164; `anonymous` and the like are no secret."""
    if text is None:
        return None
    if is_normal(text):
        return mask(text)
    if is_plain_e164(text):
        return mask(normalise(text, None) or text)  # as the rules see it
    return text if is_anonymous(text) else HIDDEN


_masked_called: Final = functools.lru_cache(maxsize=1024)(_masked_number)
"""The numbers that are called are few."""


def _masked_contact(contact: Contact, caller: str | None) -> Contact:
    who, kind, name, email = contact.id, contact.type, contact.name, contact.email
    if who:
        number = caller.lstrip("+") if caller else ""
        is_number = number in who and len(number) >= _LEAST_TELLING
        who = HIDDEN if is_number else mask_unless_id(who)
    return Contact(
        who,
        mask_if_telling(kind) if kind else kind,
        None if name is None else mask(name),
        None if email is None else mask(email),
    )


def _masked_attributes(
    attributes: Mapping[str, Scalar], asks_for: Collection[str]
) -> Mapping[str, Scalar]:
    return {
        key: _masked_value(key, value, is_asked=key in asks_for)
        for key, value in attributes.items()
    }


def _masked_value(key: str, value: Scalar, *, is_asked: bool) -> Scalar:
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, str):
        return _masking_of(key, is_asked=is_asked)(value)
    if key in _IDS or key in _TIMES:
        return value
    text = str(value)
    shown = _masking_of(key, is_asked=is_asked)(text)
    return value if shown == text else shown


@functools.lru_cache(maxsize=1024)
def _masking_of(key: str, *, is_asked: bool) -> Masking:
    last = key.rpartition(".")[2]
    if last in _PRIVATE or last.endswith(("_number", "_name", "_email", "_phone")):
        return mask
    if key in _IDS:
        return mask_unless_id
    return mask_if_telling if is_asked or key in _WORDS else mask


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions to list, newest first: decided from `since_s` to `until_s` (epoch, inclusive).

    `before` is the id of the last one already seen.
    """

    router: str | None = None
    rule: str | None = None
    level: Level | None = None
    call_id: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    before: str | None = None

    def lets(self, entry: Entry) -> bool:
        """Whether an entry is wanted, but for its id, which the log looks up itself."""
        at_s = round(entry.at_s, 6)  # as it is shown: whoever asks by that finds it
        return (
            (self.since_s is None or at_s >= self.since_s)
            and (self.until_s is None or at_s <= self.until_s)
            and (self.router is None or entry.router == self.router)
            and (self.rule is None or entry.rule == self.rule)
            and (self.level is None or entry.level == self.level)
            and (self.call_id is None or entry.call.call_id == self.call_id)
        )
