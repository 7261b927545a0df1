"""Lint: each kind of finding is found, and a sound file has none."""

import msgspec
import pytest

from rules.actions import (
    Action,
    Ask,
    End,
    Enqueue,
    Menu,
    Relax,
    ReserveAgent,
    Strategy,
)
from rules.calendars import CalendarState
from rules.conditions import AnyOf, Condition, DateIn, DigitsAre, Not, QueueFact, WeekdayIn
from rules.document import CalendarSpec, Document, Holidays, Hours
from rules.lint import KnownNames, lint
from rules.loader import parse_document
from rules.ruleset import compile_ruleset
from rules.wording import phrase
from tests.rule_builders import (
    ALWAYS,
    DEFAULT,
    MARK,
    RECEPTION,
    attribute,
    calendar_is,
    caller,
    caller_in,
    caller_prefix,
    digits,
    digits_absent,
    digits_any,
    document,
    every,
    office,
    percent,
    queue,
    router,
    rule,
    time_in,
)

OPEN, CLOSED, HOLIDAY = CalendarState.OPEN, CalendarState.CLOSED, CalendarState.HOLIDAY
WORKDAYS = WeekdayIn(days=frozenset(range(5)), mark=MARK)
MONDAY = WeekdayIn(days=frozenset({0}), mark=MARK)


def codes(checked: Document, known: KnownNames | None = None) -> list[str]:
    return [problem.code for problem in lint(compile_ruleset(checked), known)]


def codes_of(*conditions: Condition) -> list[str]:
    unused = {"unused-calendar", "unused-list", "digits-never-asked"}
    checked = document(
        *conditions,
        calendars={"office": office()},
        lists={"vip": ["+12125550142"], "all": ["+12125550142", "+12125550143"], "nobody": []},
    )
    return [code for code in codes(checked) if code not in unused]


def ask(name: str) -> Ask:
    return Ask(name=name, prompt="?", otherwise=DEFAULT)


def menu(name: str, **choices: Action) -> Menu:
    keyed = {key.removeprefix("on_"): each for key, each in choices.items()}
    return Menu(name=name, prompt="?", otherwise=DEFAULT, choices=keyed)


def test_a_sound_file_has_no_findings():
    asks = rule("ask", digits_absent("language"), ask("language"))
    reads = rule("spanish", digits("language", "2"))
    assert codes(document(asks, reads)) == []


@pytest.mark.parametrize(
    "always",
    [ALWAYS, Not(condition=percent(0)), calendar_is("office", OPEN, CLOSED), time_in(5, 5)],
    ids=phrase,
)
def test_rules_after_one_that_always_holds_are_unreachable_and_so_is_default(always: Condition):
    assert codes_of(always, router("x")) == ["default-unreachable", "unreachable-rule"]


@pytest.mark.parametrize(
    "never",
    [
        AnyOf(conditions=()),
        Not(condition=ALWAYS),
        percent(0),
        every(router("x"), caller_in("nobody")),
        calendar_is("office", HOLIDAY),
    ],
    ids=phrase,
)
def test_a_rule_that_no_call_can_meet_is_found(never: Condition):
    assert codes_of(never) == ["rule-never-holds"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (router("a", "b"), router("a")),
        (router("a"), every(router("a"), percent(50))),
        (caller_in("vip"), caller("+12125550142")),
        (caller_in("all"), caller_in("vip")),
        (caller_prefix("+1"), caller_prefix("+1212")),
        (caller_prefix("+1"), caller_in("all")),
        (digits_any("x"), digits("x", "1")),
        (WORKDAYS, every(MONDAY, router("a"))),
        (time_in(480, 1080), time_in(500, 600)),
        (time_in(1320, 360), time_in(0, 60)),
        (calendar_is("office", CLOSED, HOLIDAY), calendar_is("office", CLOSED)),
        (queue("q", QueueFact.WAITING, ">5"), queue("q", QueueFact.WAITING, ">=6")),
        (queue("q", QueueFact.WAITING, "<5"), queue("q", QueueFact.WAITING, "=0")),
        (
            DateIn(spans=(("2026-01-01", "2026-12-31"),), mark=MARK),
            DateIn(spans=(("2026-06-01", "2026-06-02"),), mark=MARK),
        ),
        (Not(condition=router("a")), Not(condition=router("a", "b"))),
        (AnyOf(conditions=(router("a"), MONDAY)), every(MONDAY, router("c"))),
        (router("a", "b"), AnyOf(conditions=(router("a"), every(router("b"), MONDAY)))),
        (attribute("plan", "gold", "silver"), attribute("plan", "gold")),
    ],
    ids=phrase,
)
def test_a_rule_narrower_than_an_earlier_one_is_shadowed(earlier: Condition, later: Condition):
    assert codes_of(earlier, router("between"), later) == ["shadowed-rule"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (router("a"), router("a", "b")),
        (percent(50), percent(10)),  # another draw in every rule
        (caller_prefix("+1212"), caller_prefix("+1")),
        (Not(condition=router("a", "b")), Not(condition=router("a"))),
        (Not(condition=digits("x", "1")), Not(condition=digits_any("x"))),
        (Not(condition=digits("x", "1")), digits_absent("x")),
        (queue("q", QueueFact.WAITING, ">5"), queue("q", QueueFact.WAITING, ">=5")),
        (queue("q", QueueFact.WAITING, ">5"), queue("p", QueueFact.WAITING, ">5")),
        (time_in(0, 60), time_in(1320, 360)),
        (attribute("plan", "gold"), attribute("tier", "gold")),
    ],
    ids=phrase,
)
def test_a_rule_that_may_still_decide_is_not_called_shadowed(earlier: Condition, later: Condition):
    assert codes_of(earlier, later) == []


def test_a_deep_pair_of_conditions_costs_no_more_than_the_prover_may_spend():
    def deep(leaf: Condition) -> Condition:
        for _ in range(15):
            leaf = AnyOf(conditions=(every(leaf, WORKDAYS), MONDAY))
        return leaf

    assert isinstance(codes_of(deep(router("a")), deep(router("b"))), list)


def test_names_that_no_rule_uses_are_found():
    checked = document(
        router("a"),
        calendars={"office": office()},
        lists={"vip": ["+12125550142"]},
        targets={"reception": RECEPTION, "desk": RECEPTION},
    )
    assert codes(checked) == ["unused-calendar", "unused-list", "unused-target"]


def test_a_target_that_no_rule_uses_is_found_where_it_stands():
    text = b"""
version: 1
targets:
  desk: {type: department, id: "6"}
  night_desk: {type: department, id: "7"}
default: {route: desk}
"""
    (found,) = lint(compile_ruleset(parse_document("a", "a.yaml", text, lambda _name: b"")))
    assert (found.code, str(found.mark)) == ("unused-target", "a.yaml:5:3")


def test_a_calendar_that_is_never_open_and_a_day_with_two_meanings_are_found():
    odd = CalendarSpec(
        timezone="UTC",
        hours={0: ()},
        holidays=Holidays(closed=frozenset({"12-24"}), special={"12-24": ()}),
        mark=MARK,
    )
    checked = document(calendar_is("odd", CLOSED), calendars={"odd": odd})
    assert "calendar-never-open" in codes(checked)
    assert "holiday-twice" in codes(checked)
    special = msgspec.structs.replace(odd, holidays=Holidays(special={"12-24": (Hours(0, 60),)}))
    assert "calendar-never-open" not in codes(
        document(calendar_is("odd", OPEN), calendars={"odd": special})
    )


@pytest.mark.parametrize(
    ("otherwise", "found"), [("", []), (", otherwise: {end: {}}", ["default-unreachable"])]
)
def test_a_default_that_stands_in_for_an_otherwise_can_be_reached(otherwise: str, found: list[str]):
    menu_or_default = f'{{menu: {{name: m, prompt: p, choices: {{"1": {{forward: "+12125550142"}}}}{otherwise}}}}}'
    text = f"version: 1\nrules: [{{name: a, then: {menu_or_default}}}]\ndefault: {{end: {{}}}}\n"
    assert codes(parse_document("a", "a.yaml", text.encode(), lambda _: b"")) == found


@pytest.mark.parametrize(
    ("hours", "special", "is_found"),
    [
        ((480, 1080), {}, True),
        ((480, 1440), {"12-24": ()}, True),
        ((480, 1080), {"12-24": (Hours(480, 720),)}, False),  # open on a holiday
        ((1320, 360), {}, False),  # a night that began before the holiday
    ],
)
def test_a_holiday_rule_after_one_for_closed_hours_never_decides(
    hours: tuple[int, int], special: dict[str, tuple[Hours, ...]], *, is_found: bool
):
    days_off = Holidays(closed=frozenset({"12-25"}), special=special)
    spec = CalendarSpec(timezone="UTC", hours={0: (Hours(*hours),)}, holidays=days_off)
    closed, holiday = rule("closed", calendar_is("c", CLOSED)), rule("h", calendar_is("c", HOLIDAY))
    assert ("shadowed-rule" in codes(document(closed, holiday, calendars={"c": spec}))) == is_found
    assert "shadowed-rule" not in codes(document(holiday, closed, calendars={"c": spec}))


def test_an_answer_that_no_rule_reads_is_found():
    assert codes(document(rule("ask", digits_absent("pin"), ask("pin")))) == ["ask-unread"]


def test_a_question_asked_again_after_its_answer_is_found():
    asks, reads = rule("ask", router("a"), ask("pin")), rule("read", digits("pin", "1"))
    assert codes(document(asks, reads)) == ["ask-again"]
    assert codes(document(reads, asks)) == []


def test_a_menu_whose_choices_are_lost_with_its_answer_is_found():
    chooses = menu("main", on_1=End())
    lost = document(rule("menu", every(router("a"), digits_absent("main")), chooses))
    assert codes(lost) == ["choices-lost"]
    assert codes(document(rule("menu", router("a"), chooses))) == []
    other = document(
        rule("menu", digits_absent("language"), chooses), rule("ask", ALWAYS, ask("language"))
    )
    assert "choices-lost" not in codes(other)


def test_a_choice_that_leads_back_to_its_own_menu_is_found():
    loop = menu("main", on_1=End(), on_2=menu("sub", on_1=menu("main", on_1=End())))
    assert codes(document(rule("menu", router("a"), loop))) == ["choices-loop"]


def test_digits_that_nobody_asks_for_are_found_with_the_nearest_name():
    asks = rule("ask", digits_absent("language"), ask("language"))
    checked = document(asks, rule("read", digits("langage", "1")))
    problem = next(p for p in lint(compile_ruleset(checked)) if p.code == "digits-never-asked")
    assert problem.nearest == "language"


def test_more_digits_than_anybody_asks_for_are_found():
    asks = rule("ask", digits_absent("pin"), ask("pin"))
    of_four = rule("read", DigitsAre(name="pin", lengths=frozenset({1, 4}), mark=MARK))
    problem = next(
        p for p in lint(compile_ruleset(document(asks, of_four))) if p.code != "ask-unread"
    )
    assert (problem.code, problem.expected) == ("digits-too-many", "an `ask` with `digits: 4`")
    assert codes(document(asks, rule("read", digits("pin", "1", "22")))) == ["digits-too-many"]
    more = rule("again", router("a"), menu("pin", on_1=End(), on_4711=End()))
    for reads in (of_four, rule("read", digits_any("pin")), rule("read", digits_absent("pin"))):
        assert "digits-too-many" not in codes(document(asks, reads, more))


def test_a_queue_and_a_router_that_there_are_not_are_found_with_the_nearest_name():
    checked = document(rule("sale", router("mian"), Enqueue(queue="salse")))
    known = KnownNames(queues=frozenset({"sales"}), routers=frozenset({"main"}))
    found = {p.code: p.nearest for p in lint(compile_ruleset(checked), known)}
    assert found == {"unknown-queue": "sales", "unknown-router": "main"}


def test_skills_that_no_agent_of_the_queue_has_are_found():
    skills = {"sales": {"spanish": 60}, "support": {"french": 90}}
    known = KnownNames(skills=skills)

    def found(queue: str, **wanted: int) -> list[tuple[str, str | None, str | None]]:
        takes = ReserveAgent(queue=queue, skills=wanted, otherwise=DEFAULT)
        odd = lint(compile_ruleset(document(rule("r", router("a"), menu("m", on_1=takes)))), known)
        return [(p.found or "", p.expected, p.nearest) for p in odd if p.code == "nobody-skilled"]

    assert found("sales", spanish=60) == []
    assert found("sales", spanish=61) == [("spanish", "at most 60", None)]
    assert found("sales", spansh=1) == [("spansh", None, "spanish")]
    assert found("sales", french=0) == [("french", None, None)]
    assert found("another", french=100) == []  # nobody is known there: not a matter of skills
    relax = (Relax(after_s=60, skills={"spanish": 99}), Relax(after_s=90, skills={}))
    waits = Enqueue(queue="sales", skills={"spanish": 50}, relax=relax)
    assert "nobody-skilled" in codes(document(rule("r", router("a"), waits)), known)


def test_relaxing_that_goes_back_or_asks_for_more_is_found():
    relax = (Relax(after_s=60, skills={"x": 90}), Relax(after_s=60, skills={}))
    waits = Enqueue(queue="sales", skills={"x": 50}, relax=relax)
    assert codes(document(rule("r", router("a"), waits))) == ["relax-order", "relax-tightens"]


def test_a_sticky_agent_among_all_rung_at_once_is_found():
    rings = ReserveAgent(
        queue="sales", otherwise=DEFAULT, sticky_s=60, strategy=Strategy.SIMULTANEOUS
    )
    assert codes(document(rule("r", router("a"), rings))) == ["sticky-ignored"]
