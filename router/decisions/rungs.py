"""What the rules decided for one call, carried out rung by rung of the ladder. Pure: decide, then act.

`next` says whom to reserve or what to answer; whoever reserves tells what came of it.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from router.decisions import dialogue, fallback
from router.decisions.dialogue import MadeBy, Memory
from router.decisions.outcome import Asked, Level, Outcome, Taken, Why
from router.errors import CrosspointError, OutcomeUnknownError
from rules.actions import Action, Ask, Callback, Decision, End, Menu, ReserveAgent
from rules.facts import LiveFacts
from rules.ruleset import Ruleset

_NO_FACTS: Final[LiveFacts] = {}


class Ways(NamedTuple):
    """What is the same for all calls.

    `most_rounds`: questions to one caller. `left_to_caller`: see Decider. `may_call_back` tells whether
    callbacks are made for the tenant.
    """

    most_rounds: int
    left_to_caller: tuple[type[Action], ...]
    may_call_back: Callable[[Asked], bool]


class Rungs:
    """One call on its way down. `asked` has the digits of earlier requests."""

    __slots__ = (
        "_at",
        "_decision",
        "_give_back",
        "_is_remembered",
        "_is_store_down",
        "_live",
        "_memory",
        "_reasons",
        "_ruleset",
        "_unsure",
        "_unsure_callback",
        "_ways",
        "asked",
        "first",
    )

    def __init__(  # noqa: PLR0917 - made for every call; by name it takes twice as long
        self,
        asked: Asked,
        ruleset: Ruleset,
        decision: Decision,
        memory: Memory,
        ways: Ways,
        first: MadeBy | None = None,
        live: LiveFacts = _NO_FACTS,
        is_store_down: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """`first`: nobody has looked yet whether the store remembers the call; as in Store.reserve."""
        self.asked = asked
        self.first = first
        self._ruleset = ruleset
        self._decision = decision
        self._memory = memory
        self._ways = ways
        self._live = live
        self._is_store_down = is_store_down
        self._at: Action | None = decision.action
        self._is_remembered = False
        self._unsure: str | None = None
        self._unsure_callback: str | None = None
        self._give_back: tuple[Taken, ...] = ()
        self._reasons: list[str] = []
        if is_store_down:
            self._reasons.append(Why.STORE_DOWN.value)
        if decision.missing:
            missing = sorted(decision.missing)
            self._reasons.extend(f"{Why.FACTS_MISSING}:{queue}" for queue in missing)

    def next(self) -> Outcome | ReserveAgent | Callback:
        """The first rung that can be expressed, or what the store has to be asked for.

        Then tell: whom to reserve, by `reserved` or `not_reserved`; what to promise, by `promised` or
        `not_promised`. Each action leads to finitely many others.
        """
        while self._at is not None:
            action = step = self._at
            match action:
                case _ if isinstance(action, self._ways.left_to_caller):
                    if outcome := self._told(action):
                        return outcome
                case ReserveAgent() | Callback():
                    why_not = self._why_not(action)
                    if why_not is None:
                        return action
                    self._say(why_not, action.queue)
                case Ask() | Menu():
                    step = self._question(action)
                    if step is action and (outcome := self._told(action)):
                        return outcome
                case _:
                    if outcome := self._told(action):
                        return outcome
            if step is not action:
                self._at = step
            else:
                self._go_down(action)
        return self._finished(fallback.router_default(self.asked, Level.DEFAULT, *self._reasons))

    def reserved(self, wanted: ReserveAgent, taken: Taken | None) -> Outcome | None:
        """Somebody was reserved, or nobody is free; None: go on with `next`."""
        if taken is None:
            self._say(Why.NO_AGENT, wanted.queue)
            self._go_down(wanted)
            return None
        if outcome := self._to_agent(wanted, taken):
            return outcome
        self._give_back += (taken,)
        # The store remembers this agent now; what comes instead it is told later.
        self.first = None
        self._say(Why.NO_ADDRESS, taken.agent)
        self._go_down(wanted)
        return None

    def _to_agent(self, wanted: ReserveAgent, taken: Taken) -> Outcome | None:
        """The answer that this agent is; None, and nothing else, when there is no way to say so."""
        agent = self.asked.names.agent(taken.agent)
        body = self.asked.dialect.express(wanted, self.asked.names, agent)
        if body is None:
            return None
        self._say(Why.RESERVED, taken.agent)
        self._is_remembered = self.first is not None
        return self._outcome(body, agent=taken.agent)

    def not_reserved(self, wanted: ReserveAgent, request_id: str, error: CrosspointError) -> None:
        """The store could not say: from now on it counts as away."""
        self._is_store_down = True
        self._say(Why.STORE_DOWN)
        self._say(Why.NO_AGENT, wanted.queue)
        if isinstance(error, OutcomeUnknownError):
            self._unsure = request_id
        self._go_down(wanted)

    def promised(self, wanted: Callback, request_id: str, said: End | None) -> Outcome | None:
        """A callback was promised and the caller is told so, or it cannot be: go on with `next`."""
        body = None if said is None else self.asked.dialect.express(said, self.asked.names, None)
        if body is None:
            self._say(Why.NO_CALLBACK, wanted.queue)
            self._go_down(wanted)
            return None
        self._say(Why.CALLBACK, wanted.queue)
        return self._outcome(body, callback=request_id)

    def not_promised(self, wanted: Callback, request_id: str, error: CrosspointError) -> None:
        """The store could not say: from now on it counts as away."""
        self._is_store_down = True
        self._say(Why.STORE_DOWN)
        self._say(Why.NO_CALLBACK, wanted.queue)
        if isinstance(error, OutcomeUnknownError):
            self._unsure_callback = request_id
        self._go_down(wanted)

    def _why_not(self, wanted: ReserveAgent | Callback) -> Why | None:
        """Why it cannot be; None: the store has to be asked."""
        if isinstance(wanted, Callback):
            is_possible = not self._is_store_down and self._ways.may_call_back(self.asked)
            return None if is_possible else Why.NO_CALLBACK
        if not self.asked.names.is_open(wanted.queue, self.asked.now_s):
            return Why.CLOSED
        return Why.NO_AGENT if self._is_store_down else None

    def _go_down(self, action: Action) -> None:
        self._at = fallback.lower_rung(action, self._ruleset.document)
        if self._at is self._ruleset.document.default:
            self._say(Why.RULESET_DEFAULT)

    def _question(self, action: Ask | Menu) -> Action:
        step, why = dialogue.next_step(
            action, self.asked.call.digits, self._memory.rounds, self._ways.most_rounds
        )
        self._say(why, action.name)
        return step

    def _told(self, action: Action) -> Outcome | None:
        body = self.asked.dialect.express(action, self.asked.names, None)
        if body is None:
            self._say(Why.NO_ADDRESS)
            return None
        if isinstance(action, Ask | Menu):
            return self._outcome(body, asked=action.name, again_after_s=float(action.timeout_s))
        return self._outcome(body)

    def _outcome(
        self,
        body: bytes,
        *,
        agent: str | None = None,
        callback: str | None = None,
        asked: str | None = None,
        again_after_s: float = 0.0,
    ) -> Outcome:
        return Outcome(
            body=body,
            level=Level.NO_STORE if self._is_store_down else Level.FULL,
            rule=self._decision.rule,
            digest=self._ruleset.digest,
            reasons=tuple(self._reasons),
            live=self._live,
            agent=agent,
            asked=asked,
            again_after_s=again_after_s,
            round=self._memory.rounds.get(asked, 0) + 1 if asked else 0,
            callback=callback,
            unsure=self._unsure,
            unsure_callback=self._unsure_callback,
            give_back=self._give_back,
            call=self.asked.call,  # with digits from earlier requests
            asks_for=self._ruleset.asked_attributes,
            is_remembered=self._is_remembered,
        )

    def _finished(self, outcome: Outcome) -> Outcome:
        """The router's default target, with what is known of the way there."""
        return msgspec.structs.replace(
            self._outcome(outcome.body), level=outcome.level, reasons=outcome.reasons
        )

    def _say(self, why: Why, subject: str | None = None) -> None:
        # Not `.value`: a member of a StrEnum is its value, and that costs a call.
        self._reasons.append(str(why) if subject is None else f"{why}:{subject}")


def request_id_of(asked: Asked, wanted: ReserveAgent | Callback) -> str:
    """The same for the same question of the same call, so that asking twice does it once."""
    if not asked.call.call_id:
        return uuid4().hex
    text = f"{asked.router.id}\n{asked.call.call_id}\n{asked.fingerprint}\n{wanted.queue}"
    if isinstance(wanted, ReserveAgent) and wanted.skills:
        text += "".join(f"\n{skill}>{least}" for skill, least in sorted(wanted.skills.items()))
    return blake2b(text.encode(), digest_size=16).hexdigest()
