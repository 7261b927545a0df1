"""What the tests of decisions stand on: rulesets made by hand, a store and names under control."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from router.deadline import Deadline
from router.decisions.dialogue import NOTHING_KNOWN, MadeBy, Memory, fingerprint
from router.decisions.outcome import Asked, Outcome, RouterView, Taken
from router.errors import CrosspointError, RememberedError
from router.platforms.dialpad.dialect import DialpadDialect
from router.site.resources import AgentConfig, QueueConfig
from rules.actions import Action, Ask, End, Menu, ReserveAgent, Route, Target, TargetType
from rules.conditions import AllOf, Comparison, Condition, DigitsAre, QueueCompares, QueueFact
from rules.document import Document, Rule
from rules.facts import CallFacts, LiveFacts, QueueFacts
from rules.problems import Mark
from rules.ruleset import Ruleset, compile_ruleset

MARK = Mark("t.yaml", 1, 1)
ALWAYS = AllOf(conditions=())
NOW_S = 1_770_000_000.0


def route(target_id: str, kind: TargetType = TargetType.DEPARTMENT) -> Route:
    return Route(target=Target(type=kind, id=target_id))


ROUTER_DEFAULT = Target(type=TargetType.OFFICE, id="1")
RULESET_DEFAULT = route("2")


def rule(name: str, then: Action, when: Condition = ALWAYS) -> Rule:
    return Rule(name=name, when=when, then=then, mark=MARK)


def ruleset(*rules: Rule, default: Action = RULESET_DEFAULT) -> Ruleset:
    return compile_ruleset(
        Document(
            name="t",
            file="t.yaml",
            digest="d1",
            timezone="UTC",
            rules=rules,
            default=default,
            mark=MARK,
        )
    )


def keyed(name: str, *values: str) -> Condition:
    return DigitsAre(name=name, values=frozenset(values), mark=MARK)


def busy(queue: str) -> Condition:
    return QueueCompares(
        queue=queue, fact=QueueFact.WAITING, comparisons=(Comparison(">", 5),), mark=MARK
    )


def ask(name: str, *, tries: int = 3, otherwise: Action | None = None) -> Ask:
    return Ask(
        name=name, prompt="Your number?", digits=4, tries=tries, otherwise=otherwise or End()
    )


def menu(name: str, choices: Mapping[str, Action], *, tries: int = 3) -> Menu:
    return Menu(
        name=name, prompt="Choose.", choices=choices, tries=tries, otherwise=route("menu-otherwise")
    )


def agent(queue: str = "support", otherwise: Action | None = None) -> ReserveAgent:
    return ReserveAgent(queue=queue, otherwise=otherwise or route("nobody"))


class FakeNames:
    def __init__(self, *agents: AgentConfig, queues: Sequence[QueueConfig] = ()) -> None:
        self.agents = {each.id: each for each in agents}
        self.queues = {each.id: each for each in queues}
        self.closed: set[str] = set()

    def queue(self, queue_id: str) -> QueueConfig | None:
        return self.queues.get(queue_id)

    def agent(self, agent_id: str) -> AgentConfig | None:
        return self.agents.get(agent_id)

    def is_open(self, queue_id: str, now_s: float) -> bool:
        return queue_id not in self.closed

    def unreachable(self, queue_id: str, address: str) -> tuple[str, ...]:
        return ()


NAMES = FakeNames(
    AgentConfig(id="ada", name="Ada", user_id="3001", endpoint="PJSIP/1001"),
    AgentConfig(id="bob", name="Bob", endpoint="PJSIP/1002"),
    queues=[
        QueueConfig(id="support", name="Support", call_center_id="8001", ring_seconds=21),
        QueueConfig(id="inner", name="Inner"),
    ],
)


class FakeStore:
    """Answers what it was given; an error in its place is raised."""

    def __init__(self) -> None:
        self.open = True
        self.memory: Memory | CrosspointError = NOTHING_KNOWN
        self.facts: dict[str, QueueFacts] = {}
        self.free: list[str | CrosspointError] = []
        self.looked_up: list[tuple[str, ...]] = []
        self.wanted: list[tuple[str, str]] = []
        self.by_request: dict[str, Taken] = {}

    def is_open(self, tenant: str) -> bool:
        return self.open

    async def look_up(
        self, asked: Asked, queues: Collection[str], deadline: Deadline
    ) -> tuple[Memory, LiveFacts]:
        self.looked_up.append(tuple(sorted(queues)))
        if isinstance(self.memory, CrosspointError):
            raise self.memory
        return self.memory, {name: self.facts[name] for name in queues if name in self.facts}

    def reserve(
        self,
        asked: Asked,
        wanted: ReserveAgent,
        request_id: str,
        deadline: Deadline,
        /,
        *,
        first: MadeBy | None,
    ) -> "FakeReserving":
        try:
            return FakeReserving(self._taken(wanted, request_id, first))
        except CrosspointError as error:
            return FakeReserving(error)

    def _taken(self, wanted: ReserveAgent, request_id: str, first: MadeBy | None) -> Taken | None:
        if first is not None:
            if isinstance(self.memory, CrosspointError):
                raise self.memory
            if self.memory.answers or self.memory.rounds or self.memory.digits:
                raise RememberedError
        self.wanted.append((wanted.queue, request_id))
        if request_id in self.by_request:
            return self.by_request[request_id]
        if not self.free:
            return None
        who = self.free.pop(0)
        if isinstance(who, CrosspointError):
            raise who
        self.by_request[request_id] = Taken(who, f"token-{who}")
        return self.by_request[request_id]


class FakeReserving:
    """The store has answered by the time anybody asks."""

    def __init__(self, answer: Taken | CrosspointError | None) -> None:
        self._answer = answer

    def then(self, do: Callable[[object], None]) -> None:
        asyncio.get_running_loop().call_soon(do, self)

    def at_hand(self) -> Taken | None:
        return self._answer if isinstance(self._answer, Taken) else None

    async def taken(self) -> Taken | None:
        if isinstance(self._answer, CrosspointError):
            raise self._answer
        return self._answer


class NeverReserving:
    """The store never answers, not even at its deadline."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()

    def then(self, do: Callable[[object], None]) -> None:
        pass

    def at_hand(self) -> Taken | None:
        return None

    async def taken(self) -> Taken | None:
        self.entered.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("it never answers")


def hanging(*_: object, **__: object) -> NeverReserving:
    """In place of a store's `reserve`."""
    return NeverReserving()


class FakeRulesets:
    def __init__(self, present: Ruleset | None) -> None:
        self.present = present

    def get(self, name: str) -> Ruleset | None:
        return self.present if name == "t" else None


def router(**changes: object) -> RouterView:
    view = RouterView(id="main", tenant="acme", default_target=ROUTER_DEFAULT, rules="t")
    return msgspec.structs.replace(view, **changes)


def asked(
    digits: Mapping[str, str] | None = None,
    *,
    call_id: str = "c1",
    silent: frozenset[str] = frozenset(),
    now_s: float = NOW_S,
    **router_changes: object,
) -> Asked:
    digits = digits or {}
    return Asked(
        router=router(**router_changes),
        call=CallFacts(call_id=call_id, caller="+12125550142", router="main", digits=digits),
        silent=silent,
        fingerprint=fingerprint(digits, silent),
        dialect=DialpadDialect(),
        names=NAMES,
        now_s=now_s,
    )


def wire(outcome: Outcome) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(outcome.body)
    return found
