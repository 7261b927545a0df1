"""What is odd about a rules file that loads: rules that never decide, names nobody uses, loops.

Findings are sound: what is called unreachable is. Not everything that is unreachable is found.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from rules.actions import Action, Ask, Callback, Enqueue, Menu, ReserveAgent, Strategy, Target
from rules.conditions import CalendarIs, NumberIn, RouterIs
from rules.document import Document, Rule
from rules.implication import Names, is_certain, is_impossible
from rules.lint_dialogues import odd_dialogues
from rules.problems import Mark, NearestNames, Problem
from rules.requirements import requirements_of
from rules.ruleset import Ruleset, queues_asked, queues_used
from rules.shadows import find_shadows
from rules.wording import leaves_of


class KnownNames(msgspec.Struct, frozen=True, kw_only=True):
    """What there is outside the file; None: not known here, so not checked.

    `skills` has the highest level of each skill among the agents of a queue, for queues that have any.
    """

    queues: frozenset[str] | None = None
    routers: frozenset[str] | None = None
    skills: Mapping[str, Mapping[str, int]] = {}


def lint(ruleset: Ruleset, known: KnownNames | None = None) -> list[Problem]:
    """Everything odd, in file order. Codes are stable: see the functions below."""
    document = ruleset.document
    names = Names(
        calendars=document.calendars,
        lists={name: each.numbers for name, each in document.lists.items()},
    )
    found = [
        *_rules_that_never_decide(document, names),
        *_unused_names(document),
        *_odd_calendars(ruleset),
        *odd_dialogues(document, names),
        *_odd_actions(document),
        *unknown_names(document, known or KnownNames()),
    ]
    return sorted(found, key=lambda p: (p.mark.line, p.mark.column, p.code))


def _rules_that_never_decide(document: Document, names: Names) -> Iterator[Problem]:
    """`unreachable-rule`, `rule-never-holds`, `shadowed-rule`, `default-unreachable`."""
    certain: Rule | None = None
    reachable: list[Rule] = []
    for rule in document.rules:
        if certain is not None:
            yield _finding(
                rule.mark,
                "unreachable-rule",
                f"rule {rule.name!r} can never decide: rule {certain.name!r} before it always holds",
            )
        elif is_impossible(rule.when, names):
            yield _finding(
                rule.mark, "rule-never-holds", f"no call can meet the condition of {rule.name!r}"
            )
        else:
            reachable.append(rule)
            certain = rule if is_certain(rule.when, names) else None
    for rule, earlier in find_shadows(reachable, names):
        yield _finding(
            rule.mark,
            "shadowed-rule",
            f"rule {rule.name!r} can never decide: whenever it holds, so does rule "
            f"{earlier.name!r} before it",
        )
    # Where `otherwise` is left out, the default is what stands there: calls get to it by another way.
    stands_in = any(step is document.default for rule in reachable for step in steps_of(rule.then))
    if certain is not None and not stands_in:
        yield _finding(
            document.default_mark or document.mark,
            "default-unreachable",
            f"no call can reach `default`: rule {certain.name!r} always holds",
        )


def _unused_names(document: Document) -> Iterator[Problem]:
    """`unused-calendar`, `unused-list`, `unused-target`."""
    leaves = [leaf for rule in document.rules for leaf in leaves_of(rule.when)]
    calendars = {leaf.calendar for leaf in leaves if isinstance(leaf, CalendarIs)}
    lists = {name for leaf in leaves if isinstance(leaf, NumberIn) for name in leaf.lists}
    targets = {target.name for action in _actions(document) for target in _targets_of(action)}
    for name, calendar in document.calendars.items():
        if name not in calendars:
            yield _unused("calendar", name, calendar.mark or document.mark)
    for name, numbers in document.lists.items():
        if name not in lists:
            yield _unused("list", name, numbers.mark or document.mark)
    for name in document.targets:
        if name not in targets:
            yield _unused("target", name, document.target_marks.get(name, document.mark))


def _unused(kind: str, name: str, mark: Mark) -> Problem:
    return _finding(mark, f"unused-{kind}", f"no rule uses the {kind} {name!r}")


def _odd_calendars(ruleset: Ruleset) -> Iterator[Problem]:
    """`calendar-never-open`, `holiday-twice`."""
    for name, spec in ruleset.document.calendars.items():
        mark = spec.mark or ruleset.document.mark
        if ruleset.calendars[name].is_never_open():
            yield _finding(mark, "calendar-never-open", f"the calendar {name!r} is never open")
        for day in sorted(spec.holidays.closed & spec.holidays.special.keys()):
            yield _finding(
                mark,
                "holiday-twice",
                f"the calendar {name!r} has {day} both closed and with special hours; "
                "the special hours hold",
            )


def _odd_actions(document: Document) -> Iterator[Problem]:
    """`relax-order`, `relax-tightens`, `sticky-ignored`."""
    for rule in document.rules:
        for action in steps_of(rule.then):
            if isinstance(action, Enqueue):
                yield from _odd_relaxing(rule, action)
            if (
                isinstance(action, ReserveAgent)
                and action.sticky_s is not None
                and action.strategy is Strategy.SIMULTANEOUS
            ):
                yield _finding(
                    rule.mark,
                    "sticky-ignored",
                    f"rule {rule.name!r} rings all agents at once, so `sticky` has no effect",
                )


def _odd_relaxing(rule: Rule, action: Enqueue) -> Iterator[Problem]:
    before_s, before = 0, action.skills
    for step in action.relax:
        if step.after_s <= before_s:
            yield _finding(
                rule.mark,
                "relax-order",
                f"`relax` of rule {rule.name!r} has a step after {step.after_s} s that does not "
                f"come later than the one before it ({before_s} s)",
            )
        for skill, level in sorted(step.skills.items()):
            if level > before.get(skill, -1):
                yield _finding(
                    rule.mark,
                    "relax-tightens",
                    f"`relax` of rule {rule.name!r} asks for more {skill!r} after "
                    f"{step.after_s} s than before",
                )
        before_s, before = step.after_s, step.skills


def unknown_names(document: Document, known: KnownNames) -> Iterator[Problem]:
    """`unknown-queue`, `unknown-router`, `nobody-skilled`, with the nearest name: the quick part of `lint`."""
    nearest = NearestNames()
    if known.skills:
        for rule in document.rules:
            yield from _nobody_skilled(rule, known.skills, nearest)
    if known.queues is not None:
        for rule in document.rules:
            named = {*queues_asked(rule.when), *queues_used(rule.then)}
            yield from _unknown(rule, "queue", named, known.queues, nearest)
    if known.routers is not None:
        for rule in document.rules:
            leaves = (leaf for leaf in leaves_of(rule.when) if isinstance(leaf, RouterIs))
            named = {value for leaf in leaves for value in leaf.values}
            yield from _unknown(rule, "router", named, known.routers, nearest)


def _nobody_skilled(
    rule: Rule, skills: Mapping[str, Mapping[str, int]], nearest: NearestNames
) -> Iterator[Problem]:
    wanted = {
        (requirement.queue, skill, least)
        for requirement in requirements_of(rule.then)
        for skill, least in requirement.skills
        if requirement.queue in skills
    }
    for queue, skill, least in sorted(wanted):
        there = skills[queue]
        if there.get(skill, -1) < least:
            yield Problem(
                mark=rule.mark,
                code="nobody-skilled",
                message=f"rule {rule.name!r} asks for {skill!r} of {least} in {queue!r}, and no agent "
                "there has it",
                found=skill,
                expected=f"at most {there[skill]}" if skill in there else None,
                nearest=None if skill in there else nearest.to(skill, there),
            )


def _unknown(
    rule: Rule, kind: str, named: set[str], there: frozenset[str], nearest: NearestNames
) -> Iterator[Problem]:
    for name in sorted(named - there):
        yield Problem(
            mark=rule.mark,
            code=f"unknown-{kind}",
            message=f"rule {rule.name!r} names a {kind} that there is not",
            found=name,
            nearest=nearest.to(name, there),
        )


def steps_of(action: Action) -> Iterator[Action]:
    """An action and every action it may lead to."""
    yield action
    match action:
        case ReserveAgent() | Callback() | Ask():
            yield from steps_of(action.otherwise)
        case Menu():
            for choice in (*action.choices.values(), action.otherwise):
                yield from steps_of(choice)
        case _:
            return


def _actions(document: Document) -> Iterator[Action]:
    for rule in document.rules:
        yield from steps_of(rule.then)
    yield from steps_of(document.default)


def _targets_of(action: Action) -> Iterable[Target]:
    target: Target | None = getattr(action, "target", None)
    return () if target is None else (target,)


def _finding(mark: Mark, code: str, message: str) -> Problem:
    return Problem(mark=mark, code=code, message=message)
