"""What a decision is made from: the call, and the live facts about queues."""

from collections.abc import Mapping

import msgspec

Scalar = str | int | float | bool | None
"""A value of an attribute; objects and lists are flattened or dropped at the border."""


class Contact(msgspec.Struct, frozen=True, gc=False):
    """Who the platform says is calling; a field it did not send is None."""

    id: str | None = None
    type: str | None = None
    name: str | None = None
    email: str | None = None


class CallFacts(msgspec.Struct, frozen=True):
    """One call as it asks for a decision.

    Numbers are as the platform sent them (E.164 as a rule); None is an anonymous caller. `digits`
    holds what the caller keyed in, by the name of the `ask` or `menu`; no entry means never asked
    or no input. `attributes` is everything else the request carried.
    """

    call_id: str
    caller: str | None = None
    called: str | None = None
    router: str = ""
    contact: Contact | None = None
    digits: Mapping[str, str] = {}
    attributes: Mapping[str, Scalar] = {}


class QueueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one queue at this moment; None is unknown. Durations in seconds."""

    waiting: int | None = None
    longest_wait_s: float | None = None
    estimated_wait_s: float | None = None
    agents_idle: int | None = None
    agents_on_duty: int | None = None


LiveFacts = Mapping[str, QueueFacts]
"""Queue name -> facts. A queue that is missing is unknown in every fact."""
