"""What is asked of and told to the outside: rules, the line, agents, promises. One after the other."""

from collections.abc import Awaitable, Callable

from ivr.steps import AskStanding, Checked, CheckNumber, CheckPin, StandingUnknown
from pbx.carriers.call import Call, Handlers
from pbx.machine.commands import (
    AskRules,
    ConfirmAgent,
    LeaveLine,
    MakePlan,
    NoteUnanswered,
    PromiseCallback,
    ReleaseAgent,
    StandInLine,
    WrapUp,
)
from pbx.machine.events import CallbackPromised, Confirmed, Planned
from pbx.machine.plans import LoginPlan, QueuePlan
from pbx.machine.state import CallState


class OutsideCarrier:
    """Every answer comes back as an event."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._stands_again = False
        self.handlers: Handlers = {
            AskRules: self._ask_rules,
            AskStanding: self._ask_standing,
            CheckNumber: self._check_number,
            CheckPin: self._check_pin,
            ConfirmAgent: self._confirm,
            LeaveLine: self._leave_line,
            MakePlan: self._make_plan,
            NoteUnanswered: self._unanswered,
            PromiseCallback: self._promise,
            ReleaseAgent: self._release,
            StandInLine: self._stand_in_line,
            WrapUp: self._wrap_up,
        }

    def wake(self) -> None:
        """An agent may be free for this call: ask again, if it still waits. Once at a time."""
        state = self._call.state
        if _looks_for_an_agent(state) and state.queue is not None:
            self._stand(state.queue)

    def _later(self, work: Callable[[], Awaitable[object]]) -> None:
        self._call.lanes.store.add(work)

    async def _ask_rules(self, _: AskRules) -> None:
        call = self._call

        async def work() -> None:
            call.post(await call.outside.deciding.decide(call.state))

        self._later(work)

    async def _make_plan(self, command: MakePlan) -> None:
        call = self._call

        async def work() -> None:
            call.post(Planned(await call.outside.deciding.plan(call.state, command.action)))

        self._later(work)

    async def _stand_in_line(self, command: StandInLine) -> None:
        self._stand(command.plan)

    def _stand(self, plan: QueuePlan) -> None:
        if self._stands_again:
            return  # whoever asks next is answered by the question that waits its turn

        call = self._call

        async def work() -> None:
            self._stands_again = False
            # It may have left, or have got an agent, while this work waited its turn: to ask then
            # would put a call that talks into the line.
            if _looks_for_an_agent(call.state):
                plan_now = call.state.queue or plan
                call.post(await call.outside.queueing.stand_in_line(call.state, plan_now))

        self._stands_again = call.lanes.store.add(work)

    async def _leave_line(self, command: LeaveLine) -> None:
        call, state = self._call, self._call.state
        self._later(lambda: call.outside.queueing.leave_line(state, keep=command.keep))

    async def _ask_standing(self, _: AskStanding) -> None:
        call = self._call

        async def work() -> None:
            standing = await call.outside.queueing.standing(call.state)
            call.post(standing or StandingUnknown())

        self._later(work)

    async def _confirm(self, command: ConfirmAgent) -> None:
        call = self._call

        async def work() -> None:
            ok = await call.outside.queueing.confirm(call.state, command.agent, command.token)
            # Unknown: both are on the line, and the lease keeps others away meanwhile. Go on.
            call.post(Confirmed(agent=command.agent, ok=ok is not False))

        self._later(work)

    async def _unanswered(self, command: NoteUnanswered) -> None:
        call, state = self._call, self._call.state
        agent, token = command.agent, command.token
        self._later(lambda: call.outside.queueing.unanswered(state, agent, token, command.why))

    async def _release(self, command: ReleaseAgent) -> None:
        queueing = self._call.outside.queueing
        self._later(lambda: queueing.release(command.agent, command.token))

    async def _wrap_up(self, command: WrapUp) -> None:
        queueing = self._call.outside.queueing
        self._later(lambda: queueing.wrap_up(command.agent, has_vanished=command.has_vanished))

    async def _check_number(self, command: CheckNumber) -> None:
        call = self._call

        async def work() -> None:
            ok = await call.outside.promises.may_call_back(call.state, command.digits)
            call.post(Checked(ok))

        self._later(work)

    async def _check_pin(self, command: CheckPin) -> None:
        """A good pair logs in or out at once, so that nothing is confirmed that was not done."""
        call, state = self._call, self._call.state
        on = isinstance(state.plan, LoginPlan) and state.plan.on

        async def work() -> None:
            promises = call.outside.promises
            ok = await promises.log_in(state, command.agent, command.pin, on=on)
            call.post(Checked(ok))

        self._later(work)

    async def _promise(self, command: PromiseCallback) -> None:
        call = self._call

        async def work() -> None:
            promises = call.outside.promises
            ok = await promises.promise_callback(call.state, command.queue, command.number)
            call.post(CallbackPromised(ok=ok))

        self._later(work)


def _looks_for_an_agent(state: CallState) -> bool:
    """Whether the call waits for one: no phone rings for it, and nobody has answered."""
    return state.in_line and not state.offers and state.agent is None
