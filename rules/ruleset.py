"""A rules file ready to decide calls: compiled once, asked for every call, never changed.

How it works. The rules that the index cannot leave out are asked one by one, in order; the few
candidates the index finds are asked at their places in between. Most rules of a large file are
thus never looked at.
"""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from rules.actions import (
    DEFAULT_RULE,
    Action,
    Ask,
    Callback,
    Decision,
    Enqueue,
    Menu,
    ReserveAgent,
)
from rules.calendars import Calendar
from rules.compile_conditions import Holds, Scope, compile_condition
from rules.compile_index import Index, choose_entries
from rules.conditions import AttributeIs, Condition, QueueCompares
from rules.document import Document, Rule
from rules.evaluation import Evaluation, evaluation_of
from rules.explain import Explanation, explain
from rules.facts import CallFacts, LiveFacts
from rules.masked import MaskedReading
from rules.numbers import preload
from rules.plain_reading import PlainReading
from rules.requirements import Requirement, requirements_of
from rules.wording import leaves_of

_Compiled = tuple[Holds, Decision]


def compile_ruleset(document: Document) -> "Ruleset":
    """Compile a document. Its names have been resolved by the loader: an unknown one is a KeyError."""
    return Ruleset(document)


class Ruleset:
    """One version (`digest`) of one rules file. Immutable; safe to share between threads.

    `queues` are all queues named anywhere, `asked_queues` those whose live facts a condition can
    ask for, `asked_attributes` the attributes that one can ask for, `requirements` what an action can
    ask of agents.
    """

    def __init__(self, document: Document) -> None:
        self.name = document.name
        self.digest = document.digest
        self.document = document
        self.calendars = {name: Calendar(spec) for name, spec in document.calendars.items()}
        actions = [*(rule.then for rule in document.rules), document.default]
        self.asked_queues = frozenset(
            queue for rule in document.rules for queue in queues_asked(rule.when)
        )
        self.asked_attributes = frozenset(
            leaf.key
            for rule in document.rules
            for leaf in leaves_of(rule.when)
            if isinstance(leaf, AttributeIs)
        )
        self.queues = self.asked_queues.union(*map(queues_used, actions))
        self.requirements: frozenset[Requirement] = frozenset(
            requirement for action in actions for requirement in requirements_of(action)
        )
        self._zone = ZoneInfo(document.timezone)
        self._default = Decision(rule=DEFAULT_RULE, action=document.default)
        lists = {name: each.numbers for name, each in document.lists.items()}
        filed = choose_entries([rule.when for rule in document.rules])
        self._index = Index(filed, lists)
        self._rules = [
            (_compile_rule(rule, self.calendars, lists), Decision(rule=rule.name, action=rule.then))
            for rule in document.rules
        ]
        self._unfiled = tuple(c for n, c in enumerate(self._rules) if n not in filed)
        self._unfiled_before = _count_missing(filed.keys(), len(self._rules))

    def evaluate(self, call: CallFacts, now_s: float, live: LiveFacts | None = None) -> Decision:
        """Decide one call. `now_s` is seconds since the epoch, UTC.

        Without (all) live facts the rules that hang on them do not match; `missing` then names the
        queues whose facts could have made an earlier rule match.
        """
        e = evaluation_of(call, now_s, live, self._zone, self.document.country)
        decision = self._decide(e)
        if e.missing:
            return Decision(
                rule=decision.rule, action=decision.action, missing=frozenset(e.missing)
            )
        return decision

    def explain(
        self,
        call: CallFacts,
        now_s: float,
        live: LiveFacts | None = None,
        *,
        unmasked: bool = False,
    ) -> Explanation:
        """The decision and why no earlier rule made it. Slow, complete, agrees with `evaluate`.

        What callers are known by (numbers, digits, names) is masked unless `unmasked`.
        """
        reading = PlainReading(self.document, self.calendars, call, now_s, live)
        return explain(reading, unmasked=unmasked)

    def explain_masked(
        self, call: CallFacts, now_s: float, live: LiveFacts | None, told: str
    ) -> Explanation:
        """Explain a decision from a masked log; `told` is the rule that the log says made it.

        It is the rule of the explanation if the facts that are left allow it.
        """
        return explain(self.read_masked(call, now_s, live), told=told)

    def read_masked(self, call: CallFacts, now_s: float, live: LiveFacts | None) -> MaskedReading:
        """The rules read with the facts of a masked log."""
        return MaskedReading(self.document, self.calendars, call, now_s, live)

    def prepare(self, now_s: float) -> None:
        """Do now (up to 0.2 s, away from the event loop) what the first calls would wait for.

        These are the public holidays around `now_s` and the facts about countries' numbers.
        """
        preload()
        for calendar in self.calendars.values():
            calendar.prepare(now_s)

    def _decide(self, e: Evaluation) -> Decision:
        asked = 0
        for position in self._index.candidates(e):
            stop = self._unfiled_before[position]
            if asked < stop:
                for holds, decision in self._unfiled[asked:stop]:
                    if holds(e):
                        return decision
                asked = stop
            holds, decision = self._rules[position]
            if holds(e):
                return decision
        for holds, decision in self._unfiled[asked:]:
            if holds(e):
                return decision
        return self._default


def queues_asked(condition: Condition) -> Iterable[str]:
    """The queues whose live facts a condition can ask for."""
    return (leaf.queue for leaf in leaves_of(condition) if isinstance(leaf, QueueCompares))


def queues_used(action: Action) -> Iterable[str]:
    """The queues an action can name, on any way through it."""
    match action:
        case Enqueue():
            yield action.queue
        case ReserveAgent() | Callback():
            yield action.queue
            yield from queues_used(action.otherwise)
        case Ask():
            yield from queues_used(action.otherwise)
        case Menu():
            for choice in (*action.choices.values(), action.otherwise):
                yield from queues_used(choice)
        case _:
            return


def _compile_rule(
    rule: Rule, calendars: dict[str, Calendar], lists: dict[str, frozenset[str]]
) -> Holds:
    scope = Scope(rule=rule.name, calendars=calendars, lists=lists)
    holds = compile_condition(rule.when, scope)
    queues = frozenset(queues_asked(rule.when))
    if not queues:
        return holds
    hopeful = Scope(rule=rule.name, calendars=calendars, lists=lists, hopeful=True)
    might_hold = compile_condition(rule.when, hopeful)

    def holds_or_misses(e: Evaluation) -> bool:
        if holds(e):
            return True
        for queue in queues:
            if queue not in e.live and queue not in e.missing and might_hold(e):
                e.missing.update(queues.difference(e.live))
                break
        return False

    return holds_or_misses


def _count_missing(filed: Iterable[int], total: int) -> list[int]:
    """For each position how many positions before it are not filed."""
    among = set(filed)
    counts, count = [], 0
    for position in range(total):
        counts.append(count)
        count += position not in among
    return counts
