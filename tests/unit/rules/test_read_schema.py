"""The JSON Schema agrees with the parser: same keys, and what the parser takes it takes."""

import json
import re
from pathlib import Path

import pytest
import yaml

from rules.json_schema import json_schema
from rules.loader import parse_document
from rules.problems import FileError

SCHEMA = json_schema()
EXAMPLE = (Path(__file__).parent / "example.yaml").read_text()

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}

# The keywords our schema uses; `is_valid` fails when there are others.
KEYWORDS = {
    "$schema",
    "$defs",
    "$ref",
    "title",
    "type",
    "enum",
    "anyOf",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "items",
    "minItems",
    "maxItems",
}


def is_type(name: str, found: object) -> bool:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if name == "number":
        return is_number
    if name == "integer":
        return is_number and found == int(found)
    return isinstance(found, TYPES[name])


def is_valid(schema: dict, found: object) -> bool:
    """As JSON Schema says, for the keywords we use."""
    assert set(schema) <= KEYWORDS
    if "$ref" in schema:
        return is_valid(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], found)
    if "anyOf" in schema and not any(is_valid(each, found) for each in schema["anyOf"]):
        return False
    if "enum" in schema and found not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_type(kind, found) for kind in kinds):
        return False
    if isinstance(found, str):
        return re.search(schema.get("pattern", ""), found) is not None and schema.get(
            "minLength", 0
        ) <= len(found) <= schema.get("maxLength", 10**9)
    if isinstance(found, dict):
        return is_valid_object(schema, found)
    if isinstance(found, list):
        return schema.get("minItems", 0) <= len(found) <= schema.get("maxItems", 10**9) and all(
            is_valid(schema.get("items", {}), item) for item in found
        )
    if is_type("number", found):
        return schema.get("minimum", found) <= found <= schema.get("maximum", found)
    return True


def is_valid_object(schema: dict, found: dict) -> bool:
    if not schema.get("minProperties", 0) <= len(found) <= schema.get("maxProperties", 10**9):
        return False
    if not set(schema.get("required", ())) <= set(found):
        return False
    for key, value in found.items():
        if not is_valid(schema.get("propertyNames", {}), key):
            return False
        inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
        if inner is False or (inner is not True and not is_valid(inner, value)):
            return False
    return True


def test_the_documented_example_is_valid():
    assert is_valid(SCHEMA, yaml.safe_load(EXAMPLE))


def test_the_schema_is_json():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("country: US", "country: ZZ"),
        ("mon-thu:", "monday:"),
        ("08:00-16:00", "8-16"),
        ("type: department", "type: desk"),
        ("- name: closed", "- nam: closed"),
        ("voicemail: reception", "voicmail: reception"),
        ("digits: 1", "digits: 0"),
        ("most_skilled", "most-skilled"),
        ("sticky: 14d", "sticky: 14"),
        ("spanish: 50", "spanish: 500"),
        ('estimated_wait: ">10m"', 'estimated_wait: "10m"'),
        ('"0": {forward', '"x": {forward'),
        ("default: {route: reception}", "default: {queue: support}"),
        ("default: {route: reception}", "default: {}"),
        ('at: "2026-12-01T23:00:00-05:00"', 'at: "2026-12-01"'),
        ("agents_idle: 1}", "agents_idle: -1}"),
        ("{rule: closed,", "{"),
    ],
)
def test_what_the_parser_refuses_the_schema_refuses_too(old: str, new: str):
    assert EXAMPLE.count(old) >= 1
    broken = EXAMPLE.replace(old, new)
    assert not is_valid(SCHEMA, yaml.safe_load(broken))
    with pytest.raises(FileError):
        parse_document("a", "a.yaml", broken.encode(), lambda _: b"number\n")


FILE = "version: 1\ndefault: {{end: }}\n{}\n"
RULE = "rules: [{{name: a, when: {}, then: {}}}]"
CASE = "cases: [{{name: a, call: {}, at: x, queues: {}, expect: {}}}]"


def in_when(text: str) -> str:
    return RULE.format(text, "{end: }")


def in_then(text: str) -> str:
    return RULE.format("{}", text)


def in_case(call: str, queues: str) -> str:
    return CASE.format(call, queues, "{rule: default}").replace(
        "at: x", 'at: "2026-12-01T10:00:00Z"'
    )


def definition(*path: str | int) -> dict:
    found = SCHEMA
    for step in path:
        found = found[step]
    return found


CONDITION = ("$defs", "condition", "properties")
ACTION = ("$defs", "action", "properties")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("zzz: 1", ()),
        ("calendars: {a: {zzz: 1}}", ("$defs", "calendar")),
        ("calendars: {a: {holidays: {zzz: 1}}}", ("$defs", "holidays")),
        ("lists: {a: {zzz: 1}}", ("$defs", "list", "anyOf", 1)),
        ("targets: {a: {zzz: 1}}", ("$defs", "target")),
        ("rules: [{zzz: 1}]", ("$defs", "rule")),
        (in_when("{zzz: 1}"), ("$defs", "condition")),
        (in_when("{caller: {zzz: 1}}"), (*CONDITION, "caller", "anyOf", 2)),
        (in_when("{called: {zzz: 1}}"), (*CONDITION, "called", "anyOf", 2)),
        (in_when("{contact: {zzz: 1}}"), (*CONDITION, "contact")),
        (
            in_when("{digits: {a: {zzz: 1}}}"),
            (*CONDITION, "digits", "additionalProperties", "anyOf", 1),
        ),
        (in_when("{queue: {a: {zzz: 1}}}"), (*CONDITION, "queue", "additionalProperties")),
        (in_then("{zzz: 1}"), ("$defs", "action")),
        (in_then("{agent: {zzz: 1}}"), (*ACTION, "agent")),
        (in_then("{queue: {zzz: 1}}"), (*ACTION, "queue", "anyOf", 1)),
        (
            in_then("{queue: {relax: [{zzz: 1}]}}"),
            (*ACTION, "queue", "anyOf", 1, "properties", "relax", "items"),
        ),
        (in_then("{ask: {zzz: 1}}"), (*ACTION, "ask")),
        (in_then("{menu: {zzz: 1}}"), (*ACTION, "menu")),
        (in_then("{callback: {zzz: 1}}"), (*ACTION, "callback")),
        (in_then("{end: {zzz: 1}}"), (*ACTION, "end")),
        ("cases: [{zzz: 1}]", ("$defs", "case")),
        (CASE.format("{zzz: 1}", "{}", "{}"), ("$defs", "call")),
        (
            CASE.format("{contact: {zzz: 1}}", "{}", "{}"),
            ("$defs", "call", "properties", "contact"),
        ),
        (CASE.format("{}", "{a: {zzz: 1}}", "{}"), ("$defs", "facts")),
        (CASE.format("{}", "{}", "{zzz: 1}"), ("$defs", "case", "properties", "expect")),
    ],
)
def test_schema_and_parser_know_the_same_keys(text: str, path: tuple[str | int, ...]):
    with pytest.raises(FileError) as caught:
        parse_document("a", "a.yaml", FILE.format(text).encode(), lambda _: b"")
    (unknown,) = [p for p in caught.value.problems if p.code == "unknown-key"]
    assert unknown.found == "zzz"
    assert unknown.expected is not None
    known = set(unknown.expected.removeprefix("one of ").split(", "))
    assert known == set(definition(*path)["properties"])


@pytest.mark.parametrize(
    "text",
    [
        "calendars:\nlists:\ntargets:\nrules:\ncases:",
        "calendars: {a: {hours: }}",
        "calendars: {a: {hours: {mon: }, holidays: }}",
        "calendars: {a: {hours: {}, holidays: {closed: , special: }}}",
        "calendars: {a: {hours: {}, holidays: {special: {12-24: }}}}",
        "lists: {a: }",
        in_when(""),
        in_when("{not: }"),
        in_when("{any: [{}, {router: a}]}"),
        in_then("{end: }"),
        in_then("{agent: {queue: a, skills: }}"),
        in_then("{queue: {name: a, skills: , relax: }}"),
        in_then("{queue: {name: a, relax: [{after: 5s, skills: }]}}"),
        in_case("", ""),
        in_case("{contact: , digits: , attributes: }", "{a: }"),
    ],
)
def test_nothing_after_a_key_is_taken_by_the_schema_where_the_parser_takes_it(text: str):
    whole = FILE.format(text)
    parse_document("a", "a.yaml", whole.encode(), lambda _: b"")
    assert is_valid(SCHEMA, yaml.safe_load(whole))


@pytest.mark.parametrize(
    "text",
    [
        "calendars: {a: }",
        "targets: {a: }",
        "rules: [ {name: a, then: }]",
        in_when("{caller: }"),
        in_when("{any: }"),
        in_when("{queue: {a: }}"),
        in_then("{agent: }"),
        in_then("{menu: {name: a, prompt: b, choices: }}"),
    ],
)
def test_nothing_after_a_key_is_refused_by_both_where_something_is_needed(text: str):
    whole = FILE.format(text)
    assert not is_valid(SCHEMA, yaml.safe_load(whole))
    with pytest.raises(FileError):
        parse_document("a", "a.yaml", whole.encode(), lambda _: b"")


def test_schema_and_parser_know_the_same_actions_for_the_default():
    with pytest.raises(FileError) as caught:
        parse_document("a", "a.yaml", b"version: 1\ndefault: {zzz: 1}\n", lambda _: b"")
    expected = caught.value.problems[0].expected
    assert expected is not None
    known = set(expected.removeprefix("one of ").split(", "))
    assert known == set(definition("$defs", "default")["properties"])
