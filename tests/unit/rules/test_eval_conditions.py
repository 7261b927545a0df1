"""What each condition means: true, false, or unknown, which is neither; and `not` of them."""

import pytest

from rules.calendars import CalendarState
from rules.conditions import (
    AllOf,
    AnyOf,
    Condition,
    ContactIs,
    DateIn,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberType,
    QueueFact,
    TimeIn,
    WeekdayIn,
)
from rules.facts import CallFacts, Contact, QueueFacts
from rules.ruleset import compile_ruleset
from rules.wording import phrase
from tests.rule_builders import (
    ALWAYS,
    CALLED,
    CALLER,
    MARK,
    NOON_S,
    attribute,
    calendar_is,
    caller,
    caller_in,
    caller_prefix,
    digits,
    digits_absent,
    digits_any,
    document,
    office,
    percent,
    queue,
    router,
    time_in,
)

CALL = CallFacts(
    call_id="1",
    caller="+12125550142",
    called="+442079460123",
    router="main",
    contact=Contact(type="customer", name="Ada"),
    digits={"language": "2", "account": "12345678"},
    attributes={"vip": True, "floor": 5, "ratio": 0.5, "plan": "gold", "gone": None},
)
ANONYMOUS = CallFacts(call_id="1")
LIVE = {"support": QueueFacts(waiting=3, estimated_wait_s=90.0)}
OPEN, CLOSED = CalendarState.OPEN, CalendarState.CLOSED


def verdict(condition: Condition, call: CallFacts = CALL, now_s: float = NOON_S) -> str:
    """What one condition comes to, told by which of it and its `not` matches; both ways to see it."""
    rules = compile_ruleset(
        document(
            condition,
            Not(condition=condition),
            calendars={"office": office()},
            lists={"vip": ["+12125550142"], "nobody": []},
        )
    )
    decision = rules.evaluate(call, now_s, LIVE)
    assert decision == rules.explain(call, now_s, LIVE).decision
    return {"r0": "true", "r1": "false", "default": "unknown"}[decision.rule]


TRUE: list[Condition] = [
    caller("+12125550142", "+12125550143"),
    caller_in("nobody", "vip"),
    caller_prefix("+44", "+1212"),
    NumberCountry(of=CALLED, countries=frozenset({"GB"}), mark=MARK),
    NumberType(of=CALLED, types=frozenset({"fixed_line"}), mark=MARK),
    NumberAnonymous(of=CALLER, anonymous=False, mark=MARK),
    ContactIs(field="type", values=frozenset({"customer"}), mark=MARK),
    router("main"),
    calendar_is("office", OPEN),
    time_in(12 * 60, 13 * 60),
    time_in(22 * 60, 12 * 60 + 1),
    time_in(600, 600),
    WeekdayIn(days=frozenset({2}), mark=MARK),
    DateIn(spans=(("2026-06-10", "2026-06-10"),), mark=MARK),
    digits("language", "2"),
    digits_any("language"),
    digits_absent("main"),
    DigitsAre(name="account", lengths=frozenset({8}), mark=MARK),
    queue("support", QueueFact.WAITING, ">=3"),
    queue("support", QueueFact.ESTIMATED_WAIT, "<10", "=90"),
    attribute("vip", "true"),
    attribute("floor", "5"),
    attribute("ratio", "0.5"),
    attribute("plan", "silver", "gold"),
    percent(100),
    ALWAYS,
    AnyOf(conditions=(digits("main", "1"), router("main"))),
]
FALSE: list[Condition] = [
    caller("+12125550143"),
    caller_in("nobody"),
    caller_prefix("+44"),
    NumberCountry(of=CALLED, countries=frozenset({"DE"}), mark=MARK),
    NumberType(of=CALLED, types=frozenset({"mobile"}), mark=MARK),
    NumberAnonymous(of=CALLER, anonymous=True, mark=MARK),
    ContactIs(field="type", values=frozenset({"friend"}), mark=MARK),
    router("other"),
    calendar_is("office", CLOSED, CalendarState.HOLIDAY),
    time_in(13 * 60, 14 * 60),
    TimeIn(spans=((0, 720), (721, 722)), mark=MARK),
    WeekdayIn(days=frozenset({0, 1}), mark=MARK),
    DateIn(spans=(("2026-06-11", "2026-06-12"),), mark=MARK),
    digits("language", "1"),
    digits_any("main"),
    digits_absent("language"),
    DigitsAre(name="account", lengths=frozenset({4}), mark=MARK),
    queue("support", QueueFact.WAITING, ">3"),
    attribute("vip", "True"),
    percent(0),
    AnyOf(conditions=()),
    AllOf(conditions=(router("other"), digits("main", "1"))),
]
UNKNOWN: list[Condition] = [
    ContactIs(field="email", values=frozenset({"a@example.com"}), mark=MARK),
    digits("main", "1"),
    DigitsAre(name="main", lengths=frozenset({1}), mark=MARK),
    queue("support", QueueFact.AGENTS_IDLE, ">0"),
    queue("sales", QueueFact.WAITING, ">=0"),
    attribute("none", "5"),
    attribute("gone", "None"),
    AllOf(conditions=(digits("main", "1"), router("main"))),
    AnyOf(conditions=(digits("main", "1"), router("other"))),
    Not(condition=digits("main", "1")),
]
UNKNOWN_WHEN_ANONYMOUS: list[Condition] = [
    caller("+12125550142"),
    caller_in("vip"),
    caller_prefix("+1"),
    NumberCountry(of=CALLER, countries=frozenset({"US"}), mark=MARK),
    NumberType(of=CALLER, types=frozenset({"mobile"}), mark=MARK),
    ContactIs(field="type", values=frozenset({"customer"}), mark=MARK),
]


@pytest.mark.parametrize("condition", TRUE, ids=phrase)
def test_these_are_true(condition: Condition):
    assert verdict(condition) == "true"


@pytest.mark.parametrize("condition", FALSE, ids=phrase)
def test_these_are_false_and_not_of_them_is_true(condition: Condition):
    assert verdict(condition) == "false"


@pytest.mark.parametrize("condition", UNKNOWN, ids=phrase)
def test_these_are_unknown_and_so_is_not_of_them(condition: Condition):
    assert verdict(condition) == "unknown"


@pytest.mark.parametrize("condition", UNKNOWN_WHEN_ANONYMOUS, ids=phrase)
def test_nothing_is_known_of_an_anonymous_caller(condition: Condition):
    assert verdict(condition, ANONYMOUS) == "unknown"


def test_that_a_caller_is_anonymous_is_known():
    assert verdict(NumberAnonymous(of=CALLER, anonymous=True, mark=MARK), ANONYMOUS) == "true"


def test_a_word_in_place_of_a_number_is_an_anonymous_caller():
    call = CallFacts(call_id="1", caller="Anonymous")
    assert verdict(NumberAnonymous(of=CALLER, anonymous=True, mark=MARK), call) == "true"


def test_a_number_is_compared_in_e164_however_it_was_sent():
    assert (
        verdict(caller("+12125550142"), CallFacts(call_id="1", caller="(212) 555-0142")) == "true"
    )


def test_what_is_no_number_is_known_not_to_be_this_one():
    assert verdict(caller("+12125550142"), CallFacts(call_id="1", caller="extension x")) == "false"


def test_the_time_is_that_of_the_files_timezone():
    rules = compile_ruleset(document(time_in(8 * 60, 8 * 60 + 1), timezone="America/New_York"))
    assert rules.evaluate(CALL, NOON_S).rule == "r0"


def test_the_first_rule_that_holds_decides():
    rules = compile_ruleset(document(router("x"), ALWAYS, router("main")))
    assert rules.evaluate(CALL, NOON_S).rule == "r1"


def test_an_indexed_rule_and_others_keep_their_order():
    conditions = [Not(condition=router("main")), router("main"), ALWAYS, caller("+12125550142")]
    for _ in conditions:
        expected = next(f"r{n}" for n, c in enumerate(conditions) if not isinstance(c, Not))
        assert compile_ruleset(document(*conditions)).evaluate(CALL, NOON_S).rule == expected
        conditions = conditions[1:] + conditions[:1]


def test_without_a_rule_that_holds_default_decides():
    decision = compile_ruleset(document(router("x"))).evaluate(CALL, NOON_S)
    assert (decision.rule, decision.action) == ("default", document().default)


class TestMissing:
    def test_a_rule_that_hangs_on_live_facts_is_missed(self):
        rules = compile_ruleset(document(queue("sales", QueueFact.WAITING, ">1"), ALWAYS))
        assert rules.evaluate(CALL, NOON_S).missing == {"sales"}

    def test_facts_that_were_given_are_not_missed_even_when_unknown(self):
        rules = compile_ruleset(document(queue("sales", QueueFact.WAITING, ">1"), ALWAYS))
        assert rules.evaluate(CALL, NOON_S, {"sales": QueueFacts()}).missing == frozenset()

    def test_facts_that_could_not_make_the_rule_match_are_not_missed(self):
        wants = queue("sales", QueueFact.WAITING, ">1")
        for hopeless in (router("x"), digits("main", "1")):
            rules = compile_ruleset(document(AllOf(conditions=(wants, hopeless)), ALWAYS))
            assert rules.evaluate(CALL, NOON_S).missing == frozenset()

    def test_rules_after_the_deciding_one_miss_nothing(self):
        rules = compile_ruleset(document(ALWAYS, queue("sales", QueueFact.WAITING, ">1")))
        assert rules.evaluate(CALL, NOON_S).missing == frozenset()


class TestPercent:
    CALLS = 4000

    def rule_of(self, n: int) -> str:
        rules = compile_ruleset(document(percent(30), percent(50)))
        return rules.evaluate(CallFacts(call_id=f"call-{n}"), NOON_S).rule

    def test_it_holds_for_its_share_of_calls(self):
        rules = compile_ruleset(document(percent(10)))
        decided = [
            rules.evaluate(CallFacts(call_id=f"{n}"), NOON_S).rule for n in range(self.CALLS)
        ]
        assert 0.08 < decided.count("r0") / self.CALLS < 0.12

    def test_two_rules_draw_independently(self):
        rules = compile_ruleset(document(percent(50), percent(50)))
        decided = [
            rules.evaluate(CallFacts(call_id=f"{n}"), NOON_S).rule for n in range(self.CALLS)
        ]
        assert 0.22 < decided.count("r1") / self.CALLS < 0.28

    @pytest.mark.parametrize(
        ("share", "rule"), [(0, "r1"), (0.1, "default"), (99.9, "default"), (100, "r0")]
    )
    def test_without_a_call_id_a_share_is_unknown_unless_it_is_none_or_all(
        self, share: float, rule: str
    ):
        condition = percent(share)
        rules = compile_ruleset(document(condition, Not(condition=condition)))
        assert rules.evaluate(CallFacts(call_id=""), NOON_S).rule == rule
        assert rules.explain(CallFacts(call_id=""), NOON_S).decision.rule == rule

    def test_the_same_call_always_gets_the_same_answer(self):
        assert self.rule_of(7) == self.rule_of(7)


def test_a_ruleset_tells_the_queues_it_names():
    rules = compile_ruleset(
        document(Not(condition=AnyOf(conditions=(queue("asked", QueueFact.WAITING, ">1"),))))
    )
    assert rules.asked_queues == {"asked"}
    assert rules.queues == {"asked"}
