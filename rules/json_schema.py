"""The JSON Schema (draft 2020-12) of a rules file, so that an editor completes and checks.

Enumerations, ranges and patterns are those of the readers themselves; which keys an object has is
listed here, and a test holds every list against the parser. The schema is a little wider than the
parser: it cannot know names, nor whether a date exists.
"""

from collections.abc import Mapping

from rules.conditions import CalendarState, QueueFact
from rules.lists import COLUMN, CSV_NAME
from rules.loader import DESCRIPTION, MOST_CASES, MOST_NAMES, MOST_RULES, VERSION
from rules.numbers import NumberKind
from rules.parse_actions import (
    AFTER,
    CHOICE,
    DEFAULT_ACTIONS,
    DIGITS,
    LEVEL,
    LOCALE,
    MOST_CHOICES,
    MOST_RELAXATIONS,
    MOST_SKILLS,
    NAME,
    PRIORITY,
    PROMPT,
    QUEUE,
    SKILL,
    STICKY,
    STRATEGY,
    TARGET_ID,
    TARGET_TYPE,
    TIMEOUT,
    TRIES,
    ActionName,
)
from rules.parse_calendars import MOST_DATES, MOST_SPANS_A_DAY, SUBDIVISION, HolidayCountry
from rules.parse_cases import COUNT, KEYED, MOST_FACTS, NUMBER_TEXT, Wait
from rules.parse_conditions import (
    ANY_TEXT,
    CONTACT_KEYS,
    DIGITS_TEXT,
    DIGITS_WORDS,
    KEY,
    LENGTH,
    ROUTER,
    SHARE,
    WAITS,
    Compares,
    ConditionKey,
    NumberKey,
)
from rules.parse_numbers import PREFIX, Country, PhoneNumber
from rules.parse_times import DateSpan, Day, Instant, TimeSpan, TimeZone, Weekdays
from rules.scalars import Boolean, OneOf, Schema, Text

_NUMBER = PhoneNumber(None).schema


def json_schema() -> Schema:
    """The schema of a whole rules file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Crosspoint rules file",
        **_object(
            {
                "version": VERSION.schema,
                "description": DESCRIPTION.schema,
                "timezone": TimeZone().schema,
                "country": Country().schema,
                "calendars": _mapping(NAME, _ref("calendar"), MOST_NAMES),
                "lists": _mapping(NAME, _ref("list"), MOST_NAMES),
                "targets": _mapping(NAME, _ref("target"), MOST_NAMES),
                "rules": _list(_ref("rule"), MOST_RULES),
                "default": _ref("default"),
                "cases": _list(_ref("case"), MOST_CASES),
            },
            required=("version", "default"),
        ),
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
    return {
        "action": _action(tuple(ActionName)),
        "default": _action(DEFAULT_ACTIONS),
        "condition": _object(_conditions()),
        "calendar": _object(
            {
                "timezone": TimeZone().schema,
                "hours": _mapping(Weekdays(), _ref("hours")),
                "holidays": _ref("holidays"),
            },
            required=("hours",),
        ),
        "hours": {
            "anyOf": [TimeSpan().schema, _list(TimeSpan().schema, MOST_SPANS_A_DAY)],
        },
        "holidays": _object(
            {
                "country": HolidayCountry().schema,
                "subdivision": SUBDIVISION.schema,
                "closed": _list(Day().schema, MOST_DATES),
                "special": _mapping(Day(), _ref("hours"), MOST_DATES),
            }
        ),
        "list": {
            "anyOf": [
                _list(_NUMBER),
                _object({"csv": CSV_NAME.schema, "column": COLUMN.schema}, ("csv", "column")),
            ]
        },
        "target": _object(
            {"type": TARGET_TYPE.schema, "id": TARGET_ID.schema, "number": _NUMBER}, ("type",)
        ),
        "rule": _object(
            {"name": NAME.schema, "when": _ref("condition"), "then": _ref("action")},
            ("name", "then"),
        ),
        **_case_definitions(),
    }


def _case_definitions() -> Schema:
    return {
        "case": _object(
            {
                "name": NAME.schema,
                "call": _ref("call"),
                "at": Instant().schema,
                "queues": _mapping(QUEUE, _ref("facts"), MOST_FACTS),
                "expect": _object({"rule": NAME.schema, "then": _ref("action")}, ("rule",)),
            },
            ("name", "call", "at", "expect"),
        ),
        "call": _object(
            {
                "call_id": NAME.schema,
                "caller": NUMBER_TEXT.schema,
                "called": NUMBER_TEXT.schema,
                "router": ROUTER.schema,
                "contact": _object(dict.fromkeys(CONTACT_KEYS, ANY_TEXT.schema)),
                "digits": _mapping(NAME, KEYED.schema, MOST_FACTS),
                "attributes": _mapping(KEY, ANY_TEXT.schema, MOST_FACTS),
            }
        ),
        "facts": _object(
            {fact: Wait().schema if fact in WAITS else COUNT.schema for fact in QueueFact}
        ),
    }


def _conditions() -> Mapping[str, Schema]:
    number: Schema = {
        "anyOf": [
            _NUMBER,
            _list(_NUMBER, least=1),
            _object(
                {
                    NumberKey.IN: _some(NAME.schema),
                    NumberKey.PREFIX: _some(PREFIX.schema),
                    NumberKey.COUNTRY: _some(Country().schema),
                    NumberKey.TYPE: _some(OneOf(NumberKind).schema),
                    NumberKey.ANONYMOUS: Boolean().schema,
                },
                least=1,
            ),
        ]
    }
    keyed: Schema = {"anyOf": [{"enum": list(DIGITS_WORDS)}, DIGITS_TEXT.schema]}
    digits: Schema = {
        "anyOf": [_some(keyed), _object({"length": _some(LENGTH.schema)}, ("length",))]
    }
    facts = {fact.value: _some(Compares(fact).schema) for fact in QueueFact}
    nested = _list(_ref("condition"), least=1)
    return {
        ConditionKey.CALLER: number,
        ConditionKey.CALLED: number,
        ConditionKey.CONTACT: _object(dict.fromkeys(CONTACT_KEYS, _some(ANY_TEXT.schema)), least=1),
        ConditionKey.ROUTER: _some(ROUTER.schema),
        ConditionKey.CALENDAR: _mapping(NAME, _some(OneOf(CalendarState).schema), least=1),
        ConditionKey.TIME: _some(TimeSpan().schema),
        ConditionKey.WEEKDAY: _some(Weekdays().schema),
        ConditionKey.DATE: _some(DateSpan().schema),
        ConditionKey.DIGITS: _mapping(NAME, digits, least=1),
        ConditionKey.QUEUE: _mapping(QUEUE, _object(facts, least=1), least=1),
        ConditionKey.ATTRIBUTES: _mapping(KEY, _some(ANY_TEXT.schema), least=1),
        ConditionKey.PERCENT: SHARE.schema,
        ConditionKey.ANY: nested,
        ConditionKey.ALL: nested,
        ConditionKey.NOT: _ref("condition"),
    }


def _action(names: tuple[ActionName, ...]) -> Schema:
    bodies = _action_bodies()
    return {
        **_object({name: bodies[name] for name in names}, least=1),
        "maxProperties": 1,
    }


def _action_bodies() -> Mapping[ActionName, Schema]:
    skills = _mapping(SKILL, LEVEL.schema, MOST_SKILLS)
    target: Schema = {"anyOf": [NAME.schema, _ref("target")]}
    otherwise = {"otherwise": _ref("action")}
    asking = {
        "name": NAME.schema,
        "prompt": PROMPT.schema,
        "locale": LOCALE.schema,
        "timeout": TIMEOUT.schema,
        "tries": TRIES.schema,
        **otherwise,
    }
    relax = _object({"after": AFTER.schema, "skills": skills}, ("after", "skills"))
    queue = {
        "name": QUEUE.schema,
        "priority": PRIORITY.schema,
        "skills": skills,
        "relax": _list(relax, MOST_RELAXATIONS),
    }
    agent = {
        "queue": QUEUE.schema,
        "skills": skills,
        "strategy": STRATEGY.schema,
        "sticky": STICKY.schema,
        **otherwise,
    }
    choices = _mapping(CHOICE, _ref("action"), MOST_CHOICES, least=1)
    return {
        ActionName.ROUTE: target,
        ActionName.FORWARD: _NUMBER,
        ActionName.AGENT: _object(agent, ("queue",)),
        ActionName.QUEUE: {"anyOf": [QUEUE.schema, _object(queue, ("name",))]},
        ActionName.ASK: _object({**asking, "digits": DIGITS.schema}, ("name", "prompt")),
        ActionName.MENU: _object({**asking, "choices": choices}, ("name", "prompt", "choices")),
        ActionName.VOICEMAIL: target,
        ActionName.CALLBACK: _object({"queue": QUEUE.schema, **otherwise}, ("queue",)),
        ActionName.END: _object({"message": PROMPT.schema, "locale": LOCALE.schema}),
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(
    properties: Mapping[str, Schema], required: tuple[str, ...] = (), *, least: int = 0
) -> Schema:
    schema: Schema = {
        "type": _kind("object", is_needed=required or least),
        "properties": {str(key): value for key, value in properties.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    if least:
        schema["minProperties"] = least
    return schema


def _mapping(
    key: Text | Weekdays | Day, value: Schema, most: int | None = None, *, least: int = 0
) -> Schema:
    """An object with keys of the file's own choosing."""
    schema: Schema = {
        "type": _kind("object", is_needed=least),
        "propertyNames": {**key.schema, "type": "string"},
        "additionalProperties": value,
    }
    if most is not None:
        schema["maxProperties"] = most
    if least:
        schema["minProperties"] = least
    return schema


def _list(item: Schema, most: int | None = None, *, least: int = 0) -> Schema:
    schema: Schema = {"type": _kind("array", is_needed=least), "items": item}
    if most is not None:
        schema["maxItems"] = most
    if least:
        schema["minItems"] = least
    return schema


def _some(item: Schema) -> Schema:
    """One, or a list of at least one."""
    return {"anyOf": [item, _list(item, least=1)]}


def _kind(name: str, *, is_needed: object) -> str | list[str]:
    """The type of a collection: nothing after its key is an empty one, where something is not needed."""
    return name if is_needed else [name, "null"]
