"""The cases of a file: example calls, each with what has to become of it."""

from collections.abc import Collection, Mapping

import msgspec

from rules.actions import DEFAULT_RULE, Action
from rules.document import Case
from rules.facts import CallFacts, Contact, QueueFacts
from rules.fields import Fields, Reader, Value, mapping_of
from rules.parse_actions import NAME, QUEUE, ActionReader
from rules.parse_conditions import ANY_TEXT, KEY, ROUTER
from rules.parse_times import Instant
from rules.scalars import Decimal, Integer, NameOf, Schema, Text, duration_s
from rules.scope import Scope

MOST_FACTS = 1000

NUMBER_TEXT = Text(most=100, expected="a number, as the platform sends it")
KEYED = Text(most=32, pattern="[0-9*#A-D]{1,32}", expected="digits (0-9 * #)")
COUNT = Integer(0, 1_000_000)


class Wait(msgspec.Struct, frozen=True):
    """A duration, or plain seconds."""

    def __call__(self, value: Value) -> float:
        expected = "a duration such as 90s or 5m"
        seconds = duration_s(value.text(expected))
        return SECONDS(value) if seconds is None else float(seconds)

    @property
    def schema(self) -> Schema:
        return {
            "type": ["string", "number"],
            "pattern": r"^[0-9]{1,9}(?:[smhd]|(?:\.[0-9]{1,6})?)$",
        }


SECONDS = Decimal(0, 999_999_999)


class CaseReader(msgspec.Struct, frozen=True):
    """Reads one case; `rules` are the names of the file's rules."""

    scope: Scope
    rules: Collection[str]

    def __call__(self, value: Value) -> Case:
        fields = Fields(value)
        name = fields.required("name", NAME)
        call = fields.required("call", read_call)
        at_s = fields.required("at", Instant())
        queues = fields.optional("queues", read_queues, {})
        expect = fields.required("expect", self._expectation)
        fields.done()
        rule, then = expect
        return Case(
            name=name,
            # A case that names no call is one call of its own: `percent` needs an id to draw from.
            call=call if call.call_id else msgspec.structs.replace(call, call_id=name),
            at_s=at_s,
            queues=queues,
            expect_rule=rule,
            expect_then=then,
            mark=value.mark,
        )

    def _expectation(self, value: Value) -> tuple[str, Action | None]:
        fields = Fields(value)
        rule = fields.required("rule", NameOf([*self.rules, DEFAULT_RULE], "rule"))
        then = fields.optional("then", ActionReader(self.scope))
        fields.done()
        return rule, then


def read_call(value: Value) -> CallFacts:
    """The facts of an example call; no `caller` is an anonymous one, no `call_id` is empty."""
    fields = Fields(value)
    call_id = fields.optional("call_id", NAME, "")
    caller = fields.optional("caller", NUMBER_TEXT)
    called = fields.optional("called", NUMBER_TEXT)
    router = fields.optional("router", ROUTER, "")
    contact = fields.optional("contact", read_contact)
    digits = fields.optional("digits", mapping_of(NAME, KEYED, most=MOST_FACTS), {})
    attributes = fields.optional("attributes", mapping_of(KEY, ANY_TEXT, most=MOST_FACTS), {})
    fields.done()
    return CallFacts(
        call_id=call_id,
        caller=caller,
        called=called,
        router=router,
        contact=contact,
        digits=digits,
        attributes=attributes,
    )


def read_contact(value: Value) -> Contact:
    """Who the platform says is calling."""
    fields = Fields(value)
    contact = Contact(
        id=fields.optional("id", ANY_TEXT),
        type=fields.optional("type", ANY_TEXT),
        name=fields.optional("name", ANY_TEXT),
        email=fields.optional("email", ANY_TEXT),
    )
    fields.done()
    return contact


def read_facts(value: Value) -> QueueFacts:
    """Live facts of one queue, as far as the case gives them."""
    fields = Fields(value)
    facts = QueueFacts(
        waiting=fields.optional("waiting", COUNT),
        longest_wait_s=fields.optional("longest_wait", Wait()),
        estimated_wait_s=fields.optional("estimated_wait", Wait()),
        agents_idle=fields.optional("agents_idle", COUNT),
        agents_on_duty=fields.optional("agents_on_duty", COUNT),
    )
    fields.done()
    return facts


read_queues: Reader[Mapping[str, QueueFacts]] = mapping_of(QUEUE, read_facts, most=MOST_FACTS)
