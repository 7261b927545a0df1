"""Rules files as a whole: the documented example, every kind of mistake, all of them at once."""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.actions import Ask, End, Enqueue, Forward, Menu, Relax, ReserveAgent, Route, Strategy
from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    CalendarIs,
    Comparison,
    ContactIs,
    DateIn,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberIn,
    NumberIs,
    NumberPrefix,
    NumberType,
    Percent,
    QueueCompares,
    RouterIs,
    TimeIn,
    WeekdayIn,
)
from rules.document import Document, Hours
from rules.evaluation import number_of
from rules.loader import load_document, parse_document
from rules.problems import FileError, Problem

EXAMPLE = (Path(__file__).parent / "example.yaml").read_text()
VIP_CSV = b"name,number\nAda,+12125550111\nGrace,(212) 555-0112\n"


def no_csv(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory")


def parse(text: str, **csv: bytes) -> Document:
    def read_csv(name: str) -> bytes:
        return csv[name.removesuffix(".csv")] if name.removesuffix(".csv") in csv else no_csv(name)

    return parse_document("acme", "acme.yaml", text.encode(), read_csv)


def problems_of(text: str, **csv: bytes) -> list[Problem]:
    with pytest.raises(FileError) as caught:
        parse(text, **csv)
    return list(caught.value.problems)


# ---- the example


def test_the_documented_example_is_read_whole(tmp_path: Path):
    (tmp_path / "acme.yaml").write_text(EXAMPLE)
    (tmp_path / "vip.csv").write_bytes(VIP_CSV)
    document = load_document(tmp_path / "acme.yaml")

    assert (document.name, document.timezone, document.country) == (
        "acme",
        "America/New_York",
        "US",
    )
    assert [rule.name for rule in document.rules] == [
        "blocked",
        "closed",
        "ask for the language",
        "spanish speakers",
        "overflow",
        "main menu",
    ]
    assert document.lists["vip"].numbers == {"+12125550111", "+12125550112"}
    assert document.lists["vip"].csv == "vip.csv"
    assert document.lists["blocked"].numbers == {"+12125550199"}
    assert isinstance(document.default, Route)
    assert document.default.target is document.targets["reception"]
    assert [case.expect_rule for case in document.cases] == ["closed", "spanish speakers"]
    assert document.cases[0].at_s == 1796184000.0
    assert document.cases[1].queues["support"].agents_idle == 1

    office = document.calendars["office"]
    assert office.hours[3] == (Hours(480, 720), Hours(780, 1080))
    assert sorted(office.hours) == [0, 1, 2, 3, 4]
    assert office.holidays.closed == {"2026-12-24", "12-31"}
    assert office.holidays.special == {"2026-12-23": (Hours(480, 720),)}


def test_the_actions_of_the_example_are_read_with_all_they_say():
    rules = {rule.name: rule for rule in parse(EXAMPLE, vip=VIP_CSV).rules}

    agent = rules["spanish speakers"].then
    assert agent == ReserveAgent(
        queue="support",
        skills={"spanish": 50},
        strategy=Strategy.MOST_SKILLED,
        sticky_s=14 * 86400,
        otherwise=Enqueue(queue="support"),
    )
    menu = rules["main menu"].then
    assert isinstance(menu, Menu)
    assert (menu.tries, menu.timeout_s) == (3, 5)
    assert menu.choices == {
        "1": Enqueue(queue="sales", priority=5),
        "2": Enqueue(
            queue="support",
            skills={"product_a": 70},
            relax=(
                Relax(after_s=60, skills={"product_a": 30}),
                Relax(after_s=120, skills={}),
            ),
        ),
        "0": Forward(number="+12125550177"),
    }


# ---- single conditions and actions

FILE = """\
version: 1
country: DE
calendars: {{shop: {{hours: {{mon: "08:00-12:00"}}}}}}
lists: {{vip: ["030 123456"], others: []}}
targets: {{desk: {{type: department, id: "77"}}}}
rules:
  - name: it
    when: {when}
    then: {then}
default: {{route: desk}}
"""


def condition(when: str):
    return parse(FILE.format(when=when, then="{route: desk}")).rules[0].when


def action(then: str):
    return parse(FILE.format(when="{}", then=then)).rules[0].then


def field(found: object, name: str):
    return getattr(found, name)


@pytest.mark.parametrize(
    ("when", "kind", "expected"),
    [
        ("{caller: 030 123456}", NumberIs, {"values": {"+4930123456"}, "of": "caller"}),
        ('{called: ["+12125550100", 0049 30 1234567]}', NumberIs, {"of": "called"}),
        ("{caller: {in: vip}}", NumberIn, {"lists": ("vip",)}),
        ("{caller: {in: [vip, others]}}", NumberIn, {"lists": ("vip", "others")}),
        ('{caller: {prefix: "+49"}}', NumberPrefix, {"prefixes": ("+49",)}),
        ("{caller: {country: NO}}", NumberCountry, {"countries": {"NO"}}),
        ("{caller: {type: [mobile, voip]}}", NumberType, {"types": {"mobile", "voip"}}),
        ("{caller: {anonymous: true}}", NumberAnonymous, {"anonymous": True}),
        ("{contact: {type: vip}}", ContactIs, {"field": "type", "values": {"vip"}}),
        ("{router: main}", RouterIs, {"values": {"main"}}),
        ("{calendar: {shop: [open, holiday]}}", CalendarIs, {"states": {"open", "holiday"}}),
        ("{time: 22:00-06:00}", TimeIn, {"spans": ((1320, 360),)}),
        ('{time: ["00:00-24:00"]}', TimeIn, {"spans": ((0, 1440),)}),
        ("{weekday: fri-mon}", WeekdayIn, {"days": {4, 5, 6, 0}}),
        ("{weekday: [mon, wed-thu]}", WeekdayIn, {"days": {0, 2, 3}}),
        (
            "{date: 2026-12-01..2026-12-24}",
            DateIn,
            {"spans": (("2026-12-01", "2026-12-24"),)},
        ),
        ("{date: 2028-02-29}", DateIn, {"spans": (("2028-02-29", "2028-02-29"),)}),
        ("{digits: {pin: 0123}}", DigitsAre, {"values": {"0123"}, "absent": False}),
        ("{digits: {pin: absent}}", DigitsAre, {"absent": True, "values": None}),
        ("{digits: {pin: any}}", DigitsAre, {"any": True, "values": None}),
        ("{digits: {pin: {length: [4, 8]}}}", DigitsAre, {"lengths": {4, 8}}),
        (
            '{queue: {sales: {longest_wait: "> 5m"}}}',
            QueueCompares,
            {"comparisons": (Comparison(">", 300),), "queue": "sales"},
        ),
        (
            '{queue: {sales: {waiting: ["=0", ">=10"]}}}',
            QueueCompares,
            {"comparisons": (Comparison("=", 0), Comparison(">=", 10))},
        ),
        ("{attributes: {plan: [gold, 5]}}", AttributeIs, {"values": {"gold", "5"}}),
        ("{percent: 12.5}", Percent, {"share": 12.5}),
        ("{}", AllOf, {"conditions": ()}),
        ("", AllOf, {"conditions": ()}),
    ],
)
def test_a_condition_is_read_as_written(when: str, kind: type, expected: dict[str, object]):
    found = condition(when)
    assert type(found) is kind
    assert {name: field(found, name) for name in expected} == expected


def test_several_keys_and_several_names_have_to_hold_together():
    found = condition("{caller: {country: DE, type: mobile}, percent: 5}")
    assert isinstance(found, AllOf)
    both, share = found.conditions
    assert isinstance(both, AllOf)
    assert [type(each) for each in both.conditions] == [NumberCountry, NumberType]
    assert isinstance(share, Percent)


def test_a_list_of_digits_may_name_absence_too():
    found = condition('{digits: {pin: [absent, "1"]}}')
    assert isinstance(found, AnyOf)
    assert [field(each, "absent") for each in found.conditions] == [True, False]


def test_any_all_and_not_nest():
    found = condition("{not: {any: [{percent: 1}, {all: [{percent: 2}, {percent: 3}]}]}}")
    assert isinstance(found, Not)
    assert isinstance(found.condition, AnyOf)
    assert isinstance(found.condition.conditions[1], AllOf)


@pytest.mark.parametrize(
    "then",
    [
        "{agent: {queue: q}}",
        "{ask: {name: n, prompt: p}}",
        '{menu: {name: n, prompt: p, choices: {"1": {end: {}}}}}',
        "{callback: {queue: q}}",
    ],
)
def test_without_otherwise_the_default_is_taken(then: str):
    document = parse(FILE.format(when="{}", then=then))
    assert field(document.rules[0].then, "otherwise") == document.default


def test_defaults_of_an_ask_are_those_of_the_language():
    found = action("{ask: {name: n, prompt: p}}")
    assert isinstance(found, Ask)
    assert (found.digits, found.tries, found.timeout_s, found.locale) == (1, 3, 5, None)


def test_an_end_needs_nothing():
    assert action("{end: }") == End()


def test_a_target_may_be_written_in_place():
    found = action("{route: {type: phone, number: 030 123456}}")
    assert isinstance(found, Route)
    assert (found.target.number, found.target.id, found.target.name) == ("+4930123456", None, None)


# ---- mistakes, each with its place

RULE = "version: 1\ndefault: {{end: {{}}}}\nrules:\n  - name: x\n    when: {when}\n    then: {{end: {{}}}}\n"
THEN = "version: 1\ndefault: {{end: {{}}}}\nrules:\n  - name: x\n    then: {then}\n"
TOP = "version: 1\ndefault: {{end: {{}}}}\n{top}\n"


def test_what_is_wrong_with_a_key_hides_nothing_of_its_value():
    top = """
calendars: {c: {hours: {Mon-Fri: ["8-12"]}, holidays: {special: {2026-13-01: ["9-10"]}}}}
rules:
  - name: a
    when: {calendar: {d: opened}, attributes: {"": []}}
    then: {menu: {name: m, prompt: p, choices: {x: {fwd: "1"}}}}
"""
    found = [(problem.path, problem.code) for problem in problems_of(TOP.format(top=top))]
    assert found == [
        ("calendars.c.hours.Mon-Fri", "wrong-type"),
        ("calendars.c.hours.Mon-Fri[0]", "wrong-type"),
        ("calendars.c.holidays.special.2026-13-01", "wrong-type"),
        ("calendars.c.holidays.special.2026-13-01[0]", "wrong-type"),
        ("rules[0].when.calendar.d", "unknown-name"),
        ("rules[0].when.calendar.d", "unknown-value"),
        ("rules[0].when.attributes.", "wrong-length"),
        ("rules[0].when.attributes.", "empty-list"),
        ("rules[0].then.menu.choices.x", "wrong-value"),
        ("rules[0].then.menu.choices.x.fwd", "unknown-key"),
    ]


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ('time: "9:00 - 17:00"', "09:00-17:00"),
        ("time: 09:00\u201317:00", "09:00-17:00"),
        ("time: 9-17", None),
        ("weekday: Mon \u2013 Fri", "mon-fri"),
        ("weekday: Sunday", "sun"),
        ("weekday: monday - friday", "mon-fri"),
        ("date: 2026-12-01\u20262026-12-24", "2026-12-01..2026-12-24"),
        ("date: 2026-12-32", None),
    ],
)
def test_times_that_are_nearly_right_are_told_as_they_were_meant(when: str, meant: str | None):
    (problem,) = problems_of(at_when(f"{{{when}}}"))
    assert problem.nearest == meant


def at_when(when: str) -> str:
    return RULE.format(when=when)


def at_then(then: str) -> str:
    return THEN.format(then=then)


def at_top(top: str) -> str:
    return TOP.format(top=top)


MISTAKES = [
    ("rules: []", "missing-key", 1, 1, None, ""),
    ("version: 2\ndefault: {end: {}}", "out-of-range", 1, 10, None, "version"),
    ("- a", "wrong-type", 1, 1, None, ""),
    (at_top("ruels: []"), "unknown-key", 3, 1, "rules", "ruels"),
    (at_top("timezone: Europe/Berlim"), "unknown-timezone", 3, 11, "Europe/Berlin", "timezone"),
    (at_top("timezone: ../../etc/passwd"), "unknown-timezone", 3, 11, None, "timezone"),
    (at_top("country: de"), "unknown-country", 3, 10, "DE", "country"),
    (at_top("country:"), "wrong-type", 3, 9, None, "country"),
    (at_top("rules: {}"), "wrong-type", 3, 8, None, "rules"),
    (at_top("rules: [{name: a}]"), "missing-key", 3, 9, None, "rules[0]"),
    (
        at_top("rules:\n- {name: default, then: {end: {}}}"),
        "reserved-name",
        4,
        10,
        None,
        "rules[0].name",
    ),
    (
        at_top("rules:\n- {name: a, then: {end: }}\n- {name: a, then: {end: }}"),
        "duplicate-name",
        5,
        10,
        None,
        "rules[1].name",
    ),
    # conditions
    (at_when("{callr: 1}"), "unknown-key", 5, 12, "caller", "rules[0].when.callr"),
    (at_when("{caller: 12345}"), "not-a-number", 5, 20, None, "rules[0].when.caller"),
    (at_when("{caller: []}"), "empty-list", 5, 20, None, "rules[0].when.caller"),
    (at_when("{caller: {}}"), "empty", 5, 20, None, "rules[0].when.caller"),
    (at_when("{caller: {in: vip}}"), "unknown-name", 5, 25, None, "rules[0].when.caller.in"),
    (
        at_when('{caller: {prefix: "49"}}'),
        "wrong-value",
        5,
        29,
        None,
        "rules[0].when.caller.prefix",
    ),
    (
        at_when("{caller: {type: mobil}}"),
        "unknown-value",
        5,
        27,
        "mobile",
        "rules[0].when.caller.type",
    ),
    (
        at_when("{caller: {anonymous: yes}}"),
        "wrong-type",
        5,
        32,
        None,
        "rules[0].when.caller.anonymous",
    ),
    (at_when("{contact: {mail: x}}"), "unknown-key", 5, 22, "email", "rules[0].when.contact.mail"),
    (at_when("{calendar: {x: open}}"), "unknown-name", 5, 23, None, "rules[0].when.calendar.x"),
    (at_when("{time: 9-17}"), "wrong-type", 5, 18, None, "rules[0].when.time"),
    (at_when("{time: 09:00-24:30}"), "out-of-range", 5, 18, None, "rules[0].when.time"),
    (at_when("{time: 09:00-09:00}"), "empty-span", 5, 18, None, "rules[0].when.time"),
    (at_when("{weekday: monday}"), "wrong-type", 5, 21, "mon", "rules[0].when.weekday"),
    (at_when("{date: 2026-02-30}"), "wrong-type", 5, 18, None, "rules[0].when.date"),
    (
        at_when("{date: 2026-02-03..2026-02-01}"),
        "empty-span",
        5,
        18,
        None,
        "rules[0].when.date",
    ),
    (at_when("{digits: {pin: abc}}"), "wrong-value", 5, 26, None, "rules[0].when.digits.pin"),
    (
        at_when("{digits: {pin: {size: 3}}}"),
        "missing-key",
        5,
        26,
        None,
        "rules[0].when.digits.pin",
    ),
    (
        at_when('{queue: {a: {waiting: ">5m"}}}'),
        "wrong-type",
        5,
        33,
        None,
        "rules[0].when.queue.a.waiting",
    ),
    (
        at_when("{queue: {a: {waiting: 5}}}"),
        "wrong-type",
        5,
        33,
        None,
        "rules[0].when.queue.a.waiting",
    ),
    (
        at_when('{queue: {a: {agent_idle: ">5"}}}'),
        "unknown-key",
        5,
        24,
        "agents_idle",
        "rules[0].when.queue.a.agent_idle",
    ),
    (at_when("{percent: 100.5}"), "out-of-range", 5, 21, None, "rules[0].when.percent"),
    (at_when("{percent: 10%}"), "wrong-type", 5, 21, None, "rules[0].when.percent"),
    (at_when("{any: []}"), "empty", 5, 17, None, "rules[0].when.any"),
    (at_when("{all: {percent: 1}}"), "wrong-type", 5, 17, None, "rules[0].when.all"),
    (at_when("[percent]"), "wrong-type", 5, 11, None, "rules[0].when"),
    # actions
    (at_then("hangup"), "wrong-type", 5, 11, None, "rules[0].then"),
    (at_then("{}"), "not-one-key", 5, 11, None, "rules[0].then"),
    (
        at_then('{end: {}, forward: "+12125550100"}'),
        "not-one-key",
        5,
        11,
        None,
        "rules[0].then",
    ),
    (at_then("{foward: x}"), "unknown-key", 5, 12, "forward", "rules[0].then.foward"),
    (at_then("{route: nowhere}"), "unknown-name", 5, 19, None, "rules[0].then.route"),
    (at_then("{forward: 123}"), "not-a-number", 5, 21, None, "rules[0].then.forward"),
    (
        at_then("{route: {type: usr, id: 1}}"),
        "unknown-value",
        5,
        26,
        "user",
        "rules[0].then.route.type",
    ),
    (at_then("{route: {type: user}}"), "missing-key", 5, 19, None, "rules[0].then.route"),
    (
        at_then("{agent: {queue: q, skills: {spanish: 101}}}"),
        "out-of-range",
        5,
        48,
        None,
        "rules[0].then.agent.skills.spanish",
    ),
    (
        at_then("{agent: {queue: q, sticky: 14}}"),
        "wrong-type",
        5,
        38,
        None,
        "rules[0].then.agent.sticky",
    ),
    (
        at_then("{agent: {queue: q, strategy: longest-idle}}"),
        "unknown-value",
        5,
        40,
        "longest_idle",
        "rules[0].then.agent.strategy",
    ),
    (
        at_then("{queue: {name: q, relax: [{after: 60s, skills: {}}, {after: 30s, skills: {}}]}}"),
        "not-in-order",
        5,
        36,
        None,
        "rules[0].then.queue.relax",
    ),
    (
        at_then("{ask: {name: n, prompt: p, timeout: 2m}}"),
        "out-of-range",
        5,
        47,
        None,
        "rules[0].then.ask.timeout",
    ),
    (
        at_then("{menu: {name: n, prompt: p, choices: {a: {end: {}}}}}"),
        "wrong-value",
        5,
        49,
        None,
        "rules[0].then.menu.choices.a",
    ),
    (
        at_then("{menu: {name: n, prompt: p, choices: {}}}"),
        "empty",
        5,
        48,
        None,
        "rules[0].then.menu.choices",
    ),
    (
        at_then("{end: {locale: english}}"),
        "wrong-value",
        5,
        26,
        None,
        "rules[0].then.end.locale",
    ),
    ("version: 1\ndefault: {queue: q}", "not-for-default", 2, 11, None, "default.queue"),
    ("version: 1\ndefault: {route: x}", "unknown-name", 2, 18, None, "default.route"),
    # calendars, lists, targets, cases
    (
        at_top("calendars: {a: {hours: {mon-thu: [], wed: []}}}"),
        "duplicate-day",
        3,
        38,
        None,
        "calendars.a.hours.wed",
    ),
    (at_top("calendars: {a: {}}"), "missing-key", 3, 16, None, "calendars.a"),
    (
        at_top("calendars: {a: {hours: {}, holidays: {country: ZZ}}}"),
        "unknown-country",
        3,
        48,
        None,
        "calendars.a.holidays.country",
    ),
    (
        at_top("calendars: {a: {hours: {}, holidays: {country: US, subdivision: XX}}}"),
        "unknown-subdivision",
        3,
        65,
        None,
        "calendars.a.holidays.subdivision",
    ),
    (
        at_top("calendars: {a: {hours: {}, holidays: {subdivision: CA}}}"),
        "missing-key",
        3,
        52,
        None,
        "calendars.a.holidays.subdivision",
    ),
    (
        at_top("calendars: {a: {hours: {}, holidays: {closed: [02-30]}}}"),
        "wrong-type",
        3,
        48,
        None,
        "calendars.a.holidays.closed[0]",
    ),
    (
        at_top("calendars: {a: {hours: {}, holidays: {closed: [12-24], special: {12-24: []}}}}"),
        "duplicate-day",
        3,
        47,
        None,
        "calendars.a.holidays.closed",
    ),
    (at_top("lists: {a: [12125550199]}"), "not-a-number", 3, 13, None, "lists.a[0]"),
    (at_top("lists: {a: {csv: a.csv}}"), "missing-key", 3, 12, None, "lists.a"),
    (
        at_top("lists: {a: {csv: a.csv, column: n}}"),
        "unreadable-file",
        3,
        18,
        None,
        "lists.a.csv",
    ),
    (
        at_top("lists: {a: {csv: ../a.csv, column: n}}"),
        "outside-folder",
        3,
        18,
        None,
        "lists.a.csv",
    ),
    (
        at_top("lists: {a: {csv: /etc/passwd, column: n}}"),
        "outside-folder",
        3,
        18,
        None,
        "lists.a.csv",
    ),
    (at_top("targets: {a: {type: phone, id: 3}}"), "missing-key", 3, 14, None, "targets.a"),
    (
        at_top("cases: [{name: a, call: {}, at: 2026-12-01T10:00:00, expect: {rule: default}}]"),
        "wrong-type",
        3,
        33,
        None,
        "cases[0].at",
    ),
    (
        at_top("cases: [{name: a, call: {}, at: 2026-13-01T10:00:00Z, expect: {rule: default}}]"),
        "wrong-type",
        3,
        33,
        None,
        "cases[0].at",
    ),
    *(
        (
            at_top(f"cases: [{{name: a, call: {{}}, at: {at}, expect: {{rule: default}}}}]"),
            "out-of-range",
            3,
            33,
            None,
            "cases[0].at",
        )
        for at in (
            "0001-01-01T00:00:00+05:00",
            "1969-12-31T23:59:59Z",
            "2200-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59",
        )
    ),
    (
        at_top("cases: [{name: a, call: {}, at: 2026-12-01T10:00:00Z, expect: {rule: defautl}}]"),
        "unknown-name",
        3,
        70,
        "default",
        "cases[0].expect.rule",
    ),
]


@pytest.mark.parametrize(("text", "code", "line", "column", "nearest", "path"), MISTAKES)
def test_a_mistake_is_reported_at_its_place(
    text: str, code: str, line: int, column: int, nearest: str | None, path: str
):
    first = problems_of(text)[0]
    assert (first.code, first.mark.line, first.mark.column, first.nearest, first.path) == (
        code,
        line,
        column,
        nearest,
        path,
    )


def test_all_mistakes_of_a_file_are_reported_at_once_and_in_order():
    text = """\
version: 1
timezone: Mars/Olympus
calendars:
  office: {hours: {mon: [8-12]}}
lists:
  vip: {csv: vip.csv, column: numbr}
targets: {desk: {type: nobody, id: 1}}
rules:
  - name: &a one
    when: {calendar: {ofice: open}, caller: {in: vpi}}
    then: {route: desk}
  - name: two
    name: three
    then: {queu: x}
default: {ask: {}}
cases:
  - {name: c, call: {caler: x}, at: noon, expect: {rule: on}}
"""
    problems = problems_of(text, vip=VIP_CSV)
    found = [(p.code, p.mark.file, p.mark.line, p.nearest) for p in problems]
    assert found == [
        ("unknown-timezone", "acme.yaml", 2, None),
        ("wrong-type", "acme.yaml", 4, None),
        ("unknown-value", "acme.yaml", 7, None),
        ("anchor", "acme.yaml", 9, None),
        ("unknown-name", "acme.yaml", 10, "office"),
        ("unknown-name", "acme.yaml", 10, "vip"),
        ("duplicate-key", "acme.yaml", 13, None),
        ("unknown-key", "acme.yaml", 14, "queue"),
        ("not-for-default", "acme.yaml", 15, None),
        ("unknown-key", "acme.yaml", 17, "caller"),
        ("wrong-type", "acme.yaml", 17, None),
        ("unknown-name", "acme.yaml", 17, "one"),
        ("unknown-column", "vip.csv", 1, "number"),
    ]


def test_one_mistake_causes_no_others():
    unreadable_country = FILE.replace("country: DE", "country: XX")
    text = unreadable_country.format(when="{caller: 030 123456}", then="{forward: 0301234}")
    assert [p.code for p in problems_of(text)] == ["unknown-country"]
    unreadable_target = FILE.replace("type: department", "type: x")
    text = unreadable_target.format(when="{}", then="{ask: {name: n, prompt: p}}")
    assert [p.code for p in problems_of(text)] == ["unknown-value"]


def test_the_wrong_action_is_answered_with_the_allowed_ones():
    (problem,) = problems_of(THEN.format(then="{fowrard: x}"))[:1]
    assert problem.expected is not None
    for name in [
        "route",
        "forward",
        "agent",
        "queue",
        "ask",
        "menu",
        "voicemail",
        "callback",
        "end",
    ]:
        assert name in problem.expected


def test_more_problems_than_anybody_reads_are_counted():
    text = TOP.format(top="lists: {a: [" + "x, " * 5000 + "]}")
    with pytest.raises(FileError) as caught:
        parse(text)
    assert (len(caught.value.problems), caught.value.left_out) == (200, 4800)


def test_ten_thousand_rules_are_read_and_one_more_is_not():
    rule = "- {{name: r{0}, when: {{percent: 1}}, then: {{end: }}}}\n"
    rules = "".join(rule.format(n) for n in range(10_000))
    assert len(parse(TOP.format(top=f"rules:\n{rules}")).rules) == 10_000
    more = rules + rule.format("more")
    assert [p.code for p in problems_of(TOP.format(top=f"rules:\n{more}"))] == ["too-many"]


def test_looking_for_near_names_has_an_end():
    names = [f"n{n:04d}{'x' * 80}" for n in range(900)]
    targets = ", ".join(f"{name}: {{type: user, id: a}}" for name in names)
    rules = "".join(f"- {{name: r{n}, then: {{route: {name}y}}}}\n" for n, name in enumerate(names))
    problems = problems_of(TOP.format(top=f"targets: {{{targets}}}\nrules:\n{rules}"))
    assert problems[0].nearest == names[0]
    assert problems[-1].nearest is None


# ---- CSV lists

VIP = TOP.format(top="country: US\nlists: {vip: {csv: lists/vip.csv, column: number}}")


def vip_numbers(csv: bytes) -> frozenset[str]:
    return parse_document("a", "dir/a.yaml", VIP.encode(), lambda _: csv).lists["vip"].numbers


def vip_problems(csv: bytes) -> list[tuple[str, str, str | None]]:
    with pytest.raises(FileError) as caught:
        vip_numbers(csv)
    return [(str(p.mark), p.code, p.found) for p in caught.value.problems]


def test_csv_cells_may_be_quoted_spelled_nationally_and_in_any_column():
    csv = b'\xef\xbb\xbfname, number\r\n"Ada, Countess",(212) 555-0111\r\n\r\nB,"+12125550112"\r\n'
    assert vip_numbers(csv) == {"+12125550111", "+12125550112"}


def test_a_number_is_the_same_wherever_and_however_it_is_written():
    """In a rule, in a list, in a CSV file and on the phone: also with the 0 that is dialled in Britain."""
    written = "+4402079460018"
    text = at_top(f"lists: {{inline: ['{written}'], vip: {{csv: vip.csv, column: number}}}}")
    lists = parse(text, vip=f"number\n{written}\n".encode()).lists
    assert lists["inline"].numbers == lists["vip"].numbers == {"+442079460018"}
    assert number_of(written, None) == "+442079460018"


def test_csv_problems_carry_the_line_of_the_csv_file_and_no_private_text():
    csv = b"name,number\nA,+12125550111\nB,nobody\nC\n"
    assert vip_problems(csv) == [
        ("dir/lists/vip.csv:3:1", "not-a-number", None),
        ("dir/lists/vip.csv:4:1", "not-a-number", None),
    ]


def test_a_csv_number_that_cannot_exist_is_told_by_line_and_form_however_plain_it_is():
    csv = b"number\n+12125550111\n+1212555\n+999123456789\n+4912345\n+12125550111222\n"
    with pytest.raises(FileError) as caught:
        vip_numbers(csv)
    assert [(p.mark.line, p.code, p.message, p.expected) for p in caught.value.problems] == [
        (
            3,
            "not-a-number",
            "no phone number in column 'number': + and 7 digits",
            "+1 and 10 digits",
        ),
        (
            4,
            "not-a-number",
            "no phone number in column 'number': + and 12 digits",
            "+ and a calling code that there is",
        ),
        (
            6,
            "not-a-number",
            "no phone number in column 'number': + and 14 digits",
            "+1 and 10 digits",
        ),
    ]
    assert "2125550111" not in str(caught.value)


@pytest.mark.parametrize(
    ("csv", "code", "line"),
    [
        (b"", "unknown-column", 1),
        (b"nummer\n", "unknown-column", 1),
        (b"name;number\nx;+12125550111\n", "wrong-separator", 1),
        (b"\xef\xbb\xbfname\t number\r\n", "wrong-separator", 1),
        (b"number,number\n", "duplicate-column", 1),
        (b"number\n+12125550111\n\xff\n", "not-utf8", 3),
        (b'number\n"+1212', "syntax", 2),
        (b'number\n"' + b"1" * 200_000 + b'"\n', "syntax", 2),
    ],
)
def test_an_unreadable_csv_is_a_problem(csv: bytes, code: str, line: int):
    assert [(found[1], found[0].split(":")[1]) for found in vip_problems(csv)] == [
        (code, str(line))
    ]


def test_the_first_row_of_a_csv_file_without_headings_is_not_told():
    with pytest.raises(FileError) as caught:
        vip_numbers(b"+1 212 555 0111,Ada\n")
    (problem,) = caught.value.problems
    assert (problem.code, problem.expected) == ("unknown-column", "a first line with the headings")
    assert "0111" not in str(caught.value)


def test_rows_that_a_spreadsheet_left_empty_are_passed_over():
    assert vip_numbers(b"number,name\n+12125550111,x\n,\n\n,\n") == {"+12125550111"}
    (problem,) = vip_problems(b"number,name\n,Ada\n")
    assert problem[:2] == ("dir/lists/vip.csv:2:1", "not-a-number")


def test_a_csv_file_has_a_largest_size_and_a_largest_number_of_rows():
    largest = 10 * 1024 * 1024
    (problem,) = vip_problems(b"number\n" + b"\n" * largest)
    assert problem[:2] == ("dir/a.yaml:4:20", "too-large")
    rows = b"number\n" + b"x\n" * 1_000_001
    with pytest.raises(FileError) as caught:
        vip_numbers(rows)
    assert caught.value.left_out > 900_000
    valid = b"number\n" + b"+4912345\n" * 1_000_001
    assert vip_problems(valid)[-1][:2] == ("dir/lists/vip.csv:1000002:1", "too-many")


def test_many_large_lists_are_too_large_together_and_not_even_read():
    lists = ", ".join(f"l{n}: {{csv: {n % 7}.csv, column: number}}" for n in range(500))
    reads = []

    def read_csv(name: str) -> bytes:
        reads.append(name)
        return b"number\n" + (b"+4912345" + b" " * 1000 + b"\n") * 9000

    with pytest.raises(FileError) as caught:
        parse_document("a", "a.yaml", TOP.format(top=f"lists: {{{lists}}}").encode(), read_csv)
    assert len(reads) == 3
    assert {problem.code for problem in caught.value.problems} == {"too-large"}


# ---- files


def test_the_digest_tells_versions_of_the_file_and_of_its_lists_apart(tmp_path: Path):
    rules, vip = tmp_path / "acme.yaml", tmp_path / "vip.csv"
    digests = []
    for text, csv in ((EXAMPLE, VIP_CSV), (EXAMPLE + "#", VIP_CSV), (EXAMPLE, VIP_CSV + b"\n")):
        rules.write_text(text)
        vip.write_bytes(csv)
        digests.append(load_document(rules).digest)
    rules.write_text(EXAMPLE)
    vip.write_bytes(VIP_CSV)
    assert load_document(rules).digest == digests[0]
    assert len(set(digests)) == 3
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)


def code_of_loading(path: Path) -> list[str]:
    with pytest.raises(FileError) as caught:
        load_document(path)
    return [problem.code for problem in caught.value.problems]


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path):
    assert code_of_loading(tmp_path / "none.yaml") == ["unreadable-file"]
    assert code_of_loading(tmp_path) == ["unreadable-file"]
    os.mkfifo(tmp_path / "pipe.yaml")
    assert code_of_loading(tmp_path / "pipe.yaml") == ["unreadable-file"]
    (tmp_path / "big.yaml").write_bytes(b"#" * 3_000_000)
    assert code_of_loading(tmp_path / "big.yaml") == ["too-large"]


def test_a_link_to_a_csv_file_elsewhere_is_not_followed(tmp_path: Path):
    (tmp_path / "secret.csv").write_bytes(VIP_CSV)
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "acme.yaml").write_text(EXAMPLE)
    (folder / "vip.csv").symlink_to(tmp_path / "secret.csv")
    assert code_of_loading(folder / "acme.yaml") == ["unreadable-file"]
    (folder / "vip.csv").unlink()
    (folder / "vip.csv").write_bytes(VIP_CSV)
    (tmp_path / "link").symlink_to(folder)
    assert load_document(tmp_path / "link" / "acme.yaml").lists["vip"].numbers


# ---- anything at all

TOKENS = ["{", "}", "[", "]", ":", "-", ",", '"', "'", "#", "&a", "*a", "!t", "|", ">", "\n", "\t"]
TOKENS += [
    " ",
    "name",
    "when",
    "absent",
    "default",
    "12",
    "é",
    "\x00",
    "\udc80",
    "mon-fri",
    "..",
    "5m",
]


def problems_or_none(read: Callable[[], object]) -> Sequence[Problem] | None:
    """None where the reading succeeds; any error but FileError is a failure of the test."""
    try:
        read()
    except FileError as error:
        return error.problems
    return None


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 8))
def test_a_damaged_example_is_read_or_refused_with_places(seed: int, changes: int):
    chance = random.Random(seed)
    text = EXAMPLE
    for _ in range(changes):
        at, length = chance.randrange(len(text)), chance.choice((0, 0, 1, 5, 30))
        text = text[:at] + chance.choice(TOKENS) + text[at + length :]
    data = text.encode("utf-8", "surrogateescape")
    problems = problems_or_none(lambda: parse_document("a", "a.yaml", data, lambda _: VIP_CSV))
    assert problems is None or problems
    assert all(p.mark.line >= 1 and p.mark.column >= 1 for p in problems or ())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_csv_is_read_or_refused(csv: bytes):
    problems = problems_or_none(lambda: vip_numbers(b"number\n" + csv))
    assert problems is None or problems


def test_the_nearest_name_is_told_as_it_is_written_in_a_file():
    with pytest.raises(FileError) as raised:
        parse_document("a", "a.yaml", b"version: 1\ndefault: {rout: x}\n", lambda _: b"")
    assert str(raised.value).endswith("did you mean 'route'?")
