"""One routing request from its facts to its answer, inside its deadline, whatever is broken.

How it works. The rules are asked without live facts first: most calls need nothing else, and are
answered without leaving this process. Only when a rule wants live facts, an agent or a question to the
caller is the store asked: call memory and live facts in one round trip, then one reserve per agent
wanted. Where the rules go straight to an agent, that reserve is the first round trip, sent as the call
is begun: it does nothing if the call is remembered, and the memory is looked up then. Mostly its reply
is all that was missing (`at_hand`). Whatever fails takes the next rung of the ladder
(`router/decisions/fallback.py`).
"""

import time
from collections.abc import Collection
from typing import Final

import msgspec

from router.deadline import Deadline
from router.decisions import dialogue, fallback
from router.decisions.dialogue import MadeBy, Memory, Remembered
from router.decisions.kept import KeptByNames
from router.decisions.needed import (
    CallsBack,
    Foreign,
    ForeignError,
    LocalMemory,
    Reserving,
    Rulesets,
    Store,
)
from router.decisions.outcome import Asked, Dialect, ErrorCode, Level, Outcome, Shared, Why
from router.decisions.rungs import Rungs, Ways, request_id_of
from router.decisions.seatbelt import Seatbelts
from router.errors import CrosspointError, RememberedError
from router.site.resources import AgentConfig
from rules.actions import Action, Ask, Callback, Decision, End, Menu, ReserveAgent
from rules.facts import LiveFacts
from rules.ruleset import Ruleset

MOST_QUEUES_ASKED: Final = 32
"""Of a ruleset that asks about more queues, only those that were missed are looked up."""

MOST_OUTCOMES: Final = 50_000
"""Outcomes that are kept ready: one for a decision by rules alone, one for each agent otherwise."""

STORE_SHARE: Final = 0.5
"""How much of the time left the store may take. It needs a millisecond or has stalled; what it leaves
is for the fallback, also on a machine so busy that everything takes long."""


class Begun(msgspec.Struct, frozen=True):
    """A decision that has to ask somebody: the store, or (without a ruleset) a foreign routing_url.

    `decision` is what the rules say without live facts; None where earlier digits may be missing.
    """

    ruleset: Ruleset | None
    decision: Decision | None
    memory: Memory


class Straight(Begun, frozen=True):
    """A decision for an agent, whatever the store may know of the call.

    `reserving` is that agent, if the store was asked for one already, as `request_id` and with `first`.
    """

    ruleset: Ruleset
    decision: Decision
    first: MadeBy | None
    request_id: str = ""
    reserving: Reserving | None = None


class Decider:
    """Decides calls. One per process."""

    def __init__(
        self,
        *,
        rulesets: Rulesets,
        store: Store,
        memory: LocalMemory,
        foreign: Foreign,
        most_rounds: int = dialogue.MOST_ROUNDS,
        left_to_caller: tuple[type[Action], ...] = (),
        calls_back: CallsBack | None = None,
    ) -> None:
        """`left_to_caller`: actions that who asked carries out, whatever it takes (a PBX)."""
        self._rulesets = rulesets
        self.store = store
        self._memory = memory
        self._foreign = foreign
        self._calls_back = calls_back
        self._ways = Ways(most_rounds, left_to_caller, self._may_call_back)
        self._reserves = ReserveAgent not in left_to_caller
        self._outcomes: KeptByNames[_Told] = KeptByNames(MOST_OUTCOMES)
        self._seatbelts = Seatbelts()

    async def decide(self, asked: Asked, deadline: Deadline) -> Outcome:
        """Never fails, and takes no longer than `deadline`."""
        begun = self.begin(asked, deadline)
        return begun if isinstance(begun, Outcome) else await self.finish(asked, begun, deadline)

    def begin(self, asked: Asked, deadline: Deadline) -> "Outcome | Begun":
        """The outcome if this process has all it takes, else what to `finish` with. Never fails."""
        try:
            return self._begin(asked, deadline)
        except Exception as ours:  # noqa: BLE001 - the boundary: a call is answered, whatever we did
            return _failed(asked, ErrorCode.EXCEPTION, ours)

    def at_hand(self, asked: Asked, begun: "Straight") -> Outcome | None:
        """The outcome, if the reply to `begun.reserving` says it all; None: `finish` finds it."""
        if begun.reserving is None or begun.first is None:
            return None
        try:
            taken = begun.reserving.at_hand()
            if taken is None:
                return None
            return self._told_before(asked, begun.ruleset, begun.decision, taken.agent)
        except Exception:  # noqa: BLE001 - `finish` meets it again, and answers all the same
            return None

    async def finish(self, asked: Asked, begun: "Begun", deadline: Deadline) -> Outcome:
        """The rest of a decision that has to ask somebody. Never fails, as `decide`."""
        try:
            with self._seatbelts.until(deadline):
                if begun.ruleset is None:
                    return await self._ask_foreign(asked, deadline)
                return await self._decide(asked, begun.ruleset, begun, _store_deadline(deadline))
        except ForeignError as failure:
            return _failed(asked, failure.error)
        except TimeoutError:
            return _failed(asked, ErrorCode.TIMEOUT)
        except Exception as ours:  # noqa: BLE001 - the boundary: a call is answered, whatever we did
            return _failed(asked, ErrorCode.EXCEPTION, ours)

    def _begin(self, asked: Asked, deadline: Deadline) -> "Outcome | Begun":
        if not asked.router.is_enabled:
            return fallback.router_default(asked, Level.DISABLED, Why.DISABLED.value)
        if asked.router.routing_url is not None:
            return Begun(None, None, dialogue.NOTHING_KNOWN)
        memory = self._memory.of(asked)
        if memory.answers:
            earlier = dialogue.repeated(memory, asked.fingerprint, asked.silent, asked.now_s)
            if earlier is not None and (outcome := _again(asked, earlier)):
                return outcome
        ruleset = self._rulesets.get(asked.router.rules or "")
        if ruleset is None:
            return fallback.router_default(asked, Level.DEFAULT, Why.NO_RULES.value)
        decision = None if asked.fingerprint else ruleset.evaluate(asked.call, asked.now_s)
        if decision is None or decision.missing or isinstance(decision.action, _MAY_WAIT):
            return self._reserve_first(asked, ruleset, decision, memory, deadline)
        return self._told_before(asked, ruleset, decision) or Begun(ruleset, decision, memory)

    def _reserve_first(
        self,
        asked: Asked,
        ruleset: Ruleset,
        decision: Decision | None,
        memory: Memory,
        deadline: Deadline,
    ) -> "Begun":
        """Begun, with the reservation under way where the rules go straight to an agent."""
        if (
            decision is None
            or not isinstance(decision.action, ReserveAgent)
            or decision.missing
            or not asked.names.is_open(decision.action.queue, asked.now_s)
        ):
            return Begun(ruleset, decision, memory)
        # Without an id the call has no memory.
        first = MadeBy(decision.rule, ruleset.digest) if asked.call.call_id else None
        if not self._reserves:
            return Straight(ruleset, decision, memory, first)
        request_id = request_id_of(asked, decision.action)
        try:
            reserving = self.store.reserve(
                asked, decision.action, request_id, _store_deadline(deadline), first=first
            )
        except CrosspointError:
            return Straight(ruleset, decision, memory, first)  # `finish` meets it again
        return Straight(ruleset, decision, memory, first, request_id, reserving)

    def _told_before(
        self, asked: Asked, ruleset: Ruleset, decision: Decision, agent: str | None = None
    ) -> Outcome | None:
        """The outcome of a decision that comes to the same for every call, or for every one of an agent.

        It is kept until the rules or the directory change: making it anew costs more than the rules.
        None: there is no way to say so. With `agent` it says what `Rungs.reserved` does of the first one
        asked for, of a call that is remembered with it.
        """
        names = asked.names
        config = None if agent is None else names.agent(agent)
        key = (id(decision), agent)
        kept = self._outcomes.get(asked.router.tenant, names, key)
        if kept is not None:
            known, dialect, whom, outcome = kept
            if known is decision and dialect is asked.dialect and whom is config:
                return outcome
        body = asked.dialect.express(decision.action, names, config)
        if body is None:
            return None
        outcome = Outcome(
            body=body,
            level=Level.FULL,
            rule=decision.rule,
            digest=ruleset.digest,
            reasons=() if agent is None else (f"{Why.RESERVED}:{agent}",),
            agent=agent,
            asks_for=ruleset.asked_attributes,
            is_remembered=agent is not None,
            shared=Shared(),
        )
        kept = (decision, asked.dialect, config, outcome)
        self._outcomes.put(asked.router.tenant, names, key, kept)
        return outcome

    async def _decide(
        self, asked: Asked, ruleset: Ruleset, begun: "Begun", deadline: Deadline
    ) -> Outcome:
        decision, memory = begun.decision, begun.memory
        if isinstance(begun, Straight):
            rungs = Rungs(asked, ruleset, begun.decision, memory, self._ways, begun.first)
            try:
                return await self._carry_out(rungs, deadline, begun)
            except RememberedError:
                pass  # by another process, or it would have been repeated from this one's memory
        live: LiveFacts = {}
        is_down = False
        if decision is None or decision.missing or self._wants_store(asked, decision.action):
            is_down = not self.store.is_open(asked.router.tenant)
            if not is_down:
                try:
                    queues = _queues_to_ask(ruleset, decision, asked)
                    known, live = await self.store.look_up(asked, queues, deadline)
                    memory = memory.merged(known)
                except CrosspointError:
                    is_down = True
            earlier = dialogue.repeated(memory, asked.fingerprint, asked.silent, asked.now_s)
            if earlier is not None and (outcome := _again(asked, earlier)):
                return outcome
            call = dialogue.with_earlier_digits(asked.call, asked.silent, memory)
            asked = msgspec.structs.replace(asked, call=call)
        if decision is None or live:
            decision = ruleset.evaluate(asked.call, asked.now_s, live)
        rungs = Rungs(asked, ruleset, decision, memory, self._ways, None, live, is_down)
        return await self._carry_out(rungs, deadline)

    def _may_call_back(self, asked: Asked) -> bool:
        return self._calls_back is not None and self._calls_back.is_possible(asked.router.tenant)

    def _wants_store(self, asked: Asked, action: Action) -> bool:
        return isinstance(action, _WANTS_STORE) or (
            isinstance(action, Callback) and self._may_call_back(asked)
        )

    async def _carry_out(
        self, rungs: Rungs, deadline: Deadline, begun: "Straight | None" = None
    ) -> Outcome:
        """RememberedError, if the first reservation was to be the call's first answer.

        `begun`: the first rung was begun there.
        """
        reserving = None if begun is None else begun.reserving
        request_id = "" if begun is None else begun.request_id
        while not isinstance(step := rungs.next(), Outcome):
            if reserving is None:
                request_id = request_id_of(rungs.asked, step)
            if isinstance(step, Callback):
                if outcome := await self._call_back(rungs, step, request_id, deadline):
                    return outcome
                continue
            under_way, reserving = reserving, None
            try:
                if under_way is None:
                    under_way = self.store.reserve(
                        rungs.asked, step, request_id, deadline, first=rungs.first
                    )
                taken = await under_way.taken()
            except RememberedError:
                raise
            except CrosspointError as error:
                rungs.not_reserved(step, request_id, error)
            else:
                if outcome := rungs.reserved(step, taken):
                    return outcome
        return step

    async def _call_back(
        self, rungs: Rungs, wanted: Callback, request_id: str, deadline: Deadline
    ) -> Outcome | None:
        if self._calls_back is None:
            return rungs.promised(wanted, request_id, None)
        try:
            said = await self._calls_back.promise(rungs.asked, wanted, request_id, deadline)
        except CrosspointError as error:
            rungs.not_promised(wanted, request_id, error)
            return None
        return rungs.promised(wanted, request_id, said)

    async def _ask_foreign(self, asked: Asked, deadline: Deadline) -> Outcome:
        action = await self._foreign.ask(asked, deadline)
        body = asked.dialect.express(action, asked.names, None)
        if body is None:
            raise ForeignError(ErrorCode.UNREADABLE)
        return Outcome(
            body=body,
            level=Level.FULL,
            reasons=(Why.FOREIGN.value,),
            asked=action.name if isinstance(action, Ask) else None,
            again_after_s=action.timeout_s if isinstance(action, Ask) else 0.0,
        )


_Told = tuple[Decision, Dialect, AgentConfig | None, Outcome]

_NOBODY: Final = End()
"""Stands in for what an action that was carried out would have led to otherwise."""

_WANTS_STORE: Final = (ReserveAgent, Ask, Menu)
_MAY_WAIT: Final = (*_WANTS_STORE, Callback)


def _store_deadline(deadline: Deadline) -> Deadline:
    now_s = time.monotonic()  # the loop's own clock, without the system call that finds the loop
    return Deadline(now_s + STORE_SHARE * (deadline - now_s))


def _again(asked: Asked, earlier: Remembered) -> Outcome | None:
    """The earlier answer; None when it was an agent who is not here any more."""
    body: bytes | None = earlier.body
    if not body and earlier.agent is not None:  # remembered by the store as it reserved
        agent = asked.names.agent(earlier.agent)
        reserved = ReserveAgent(queue=earlier.queue or "", otherwise=_NOBODY)
        body = None if agent is None else asked.dialect.express(reserved, asked.names, agent)
    if body is None:
        return None
    return Outcome(
        body=body,
        level=earlier.level,
        rule=earlier.rule,
        digest=earlier.digest,
        reasons=(Why.REPEATED.value,),
        agent=earlier.agent,
        asked=earlier.asked,
        again_after_s=earlier.again_after_s,
        is_repeat=True,
    )


def _failed(asked: Asked, error: ErrorCode, cause: Exception | None = None) -> Outcome:
    """The default target; `cause` is logged once the answer is out."""
    reason = f"{Why.FAILED.value}:{error.value}"
    outcome = fallback.router_default(asked, Level.DEFAULT, reason, error=error)
    return outcome if cause is None else msgspec.structs.replace(outcome, cause=cause)


def _queues_to_ask(ruleset: Ruleset, decision: Decision | None, asked: Asked) -> Collection[str]:
    """Whose live facts to fetch: none when a first look at the rules has missed none."""
    if decision is not None and not decision.missing:
        return ()
    if len(ruleset.asked_queues) <= MOST_QUEUES_ASKED:
        return ruleset.asked_queues
    if decision is None:
        decision = ruleset.evaluate(asked.call, asked.now_s)
    return decision.missing
