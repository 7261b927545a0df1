"""From a file's text to decisions: reading, compiling, checking, explaining together."""

from datetime import datetime

import msgspec
import pytest

from rules.cases import run_cases
from rules.facts import CallFacts, QueueFacts
from rules.lint import lint
from rules.loader import parse_document
from rules.ruleset import Ruleset, compile_ruleset

TEXT = """\
version: 1
timezone: America/New_York
country: US
calendars:
  office:
    hours:
      mon-thu: ["08:00-12:00", "13:00-18:00"]
      fri: ["08:00-16:00"]
    holidays:
      country: US
      closed: ["12-24"]
      special: {"2026-12-23": ["08:00-12:00"]}
lists:
  vip: {csv: vip.csv, column: number}
  blocked: ["(212) 555-0199"]
targets:
  reception: {type: department, id: "6001"}
rules:
  - name: blocked
    when: {caller: {in: blocked}}
    then: {end: {message: "This number cannot be reached."}}
  - name: holiday
    when: {calendar: {office: holiday}, not: {calendar: {office: open}}}
    then: {end: {message: "Happy holidays."}}
  - name: closed
    when: {calendar: {office: closed}}
    then: {voicemail: reception}
  - name: vip
    when: {any: [{caller: {in: vip}}, {attributes: {vip: "true"}}]}
    then: {queue: {name: support, priority: 9}}
  - name: ask
    when: {digits: {language: absent}}
    then:
      ask: {name: language, prompt: "Para español, oprima el 2.", otherwise: {route: reception}}
  - name: spanish
    when: {digits: {language: "2"}, queue: {support: {agents_idle: ">=1"}}}
    then: {agent: {queue: support, skills: {spanish: 50}, otherwise: {queue: support}}}
  - name: overflow
    when: {queue: {support: {estimated_wait: ">10m"}}}
    then: {callback: {queue: support, otherwise: {queue: support}}}
default: {route: reception}
cases:
  - name: at night a caller gets voicemail
    call: {caller: "+12125550142"}
    at: "2026-12-01T23:00:00-05:00"
    expect: {rule: closed, then: {voicemail: reception}}
  - name: a spanish speaker with an idle agent
    call: {caller: "+12125550142", digits: {language: "2"}}
    at: "2026-12-01T10:00:00-05:00"
    queues: {support: {agents_idle: 1}}
    expect: {rule: spanish}
"""
OPEN_AT = "2026-12-01T10:00:00-05:00"


@pytest.fixture(scope="module")
def rules() -> Ruleset:
    csv = b"number\n+12125550188\n"
    return compile_ruleset(parse_document("acme", "acme.yaml", TEXT.encode(), lambda _name: csv))


def test_the_file_keeps_its_promises_and_has_no_findings(rules: Ruleset):
    assert run_cases(rules) == []
    assert lint(rules) == []


@pytest.mark.parametrize(
    ("rule", "at", "call"),
    [
        ("blocked", OPEN_AT, {"caller": "212-555-0199"}),
        ("holiday", "2026-12-25T10:00:00-05:00", {}),
        ("holiday", "2026-12-23T13:00:00-05:00", {}),
        ("ask", "2026-12-23T10:00:00-05:00", {}),
        ("holiday", "2027-12-24T10:00:00-05:00", {}),
        ("closed", "2026-12-01T12:30:00-05:00", {}),
        ("closed", "2026-12-05T10:00:00-05:00", {}),
        ("vip", OPEN_AT, {"caller": "+12125550188"}),
        ("vip", OPEN_AT, {"attributes": {"vip": True}}),
        ("spanish", OPEN_AT, {"digits": {"language": "2"}}),
        ("default", OPEN_AT, {"digits": {"language": "1"}}),
    ],
)
def test_a_call_is_decided_by_the_first_rule_that_holds(
    rules: Ruleset, rule: str, at: str, call: dict[str, object]
):
    facts = msgspec.convert({"call_id": "1", "caller": "+12125550142", **call}, CallFacts)
    now_s = datetime.fromisoformat(at).timestamp()
    live = {"support": QueueFacts(agents_idle=1, estimated_wait_s=0.0)}
    decision = rules.evaluate(facts, now_s, live)
    assert decision.rule == rule
    assert rules.explain(facts, now_s, live).decision == decision


def test_without_live_facts_the_queues_that_matter_are_named(rules: Ruleset):
    facts = CallFacts(call_id="1", caller="+12125550142", digits={"language": "2"})
    decision = rules.evaluate(facts, datetime.fromisoformat(OPEN_AT).timestamp())
    assert (decision.rule, decision.missing) == ("default", {"support"})


def test_preparing_changes_no_decision(rules: Ruleset):
    facts = CallFacts(call_id="1", caller="+12125550142")
    now_s = datetime.fromisoformat(OPEN_AT).timestamp()
    before = rules.evaluate(facts, now_s)
    rules.prepare(now_s)
    assert rules.evaluate(facts, now_s) == before
