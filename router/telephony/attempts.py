"""The call that is an attempt to keep a callback, as it is before it begins."""

from collections.abc import Callable

from msgspec.structs import replace

from pbx.machine.plans import QueuePlan
from pbx.machine.state import CallState, Kind, Leg
from router.store.agents import Reserved
from router.store.callbacks import Callback
from router.telephony.queueing import leg_of
from router.telephony.setting_out import Planner, Trunk, new_leg
from rules.actions import Enqueue


class Attempts:
    """Of one PBX of one tenant."""

    def __init__(
        self, planner: Planner, trunk: Trunk, *, ring_s: int, clock: Callable[[], float]
    ) -> None:
        """Each phone rings for `ring_s`."""
        self._planner = planner
        self._trunk = trunk
        self._ring_s = ring_s
        self._clock = clock

    def endpoint_of(self, agent: str) -> str | None:
        """The agent's phone; None: there is none."""
        known = self._planner.agent(agent)
        return None if known is None else known.endpoint

    def customer_first(self, call: str, callback: Callback, queue: str) -> CallState:
        """The customer, who then waits in the callback's place."""
        about = callback.about
        action = Enqueue(
            queue=queue, priority=about.priority, skills=about.skills, relax=about.relax
        )
        return replace(self._call(call, callback, Kind.CALLBACK_CUSTOMER_FIRST), action=action)

    def agent_first(
        self, call: str, callback: Callback, queue: str, reserved: Reserved, endpoint: str
    ) -> CallState:
        """The agent who is reserved, then the customer."""
        agent = reserved.agents[0]
        state = self._call(call, callback, Kind.CALLBACK_AGENT_FIRST)
        plan = self._planner.plan(state, Enqueue(queue=queue))
        leg = Leg(id=leg_of(reserved.token, agent), endpoint=endpoint, agent=agent)
        return replace(
            state,
            agent=leg,
            token=reserved.token,
            plan=plan,
            queue=plan if isinstance(plan, QueuePlan) else None,
        )

    def _call(self, call: str, callback: Callback, kind: Kind) -> CallState:
        about = callback.about
        state = CallState(
            id=call,
            callback=about.id,
            kind=kind,
            channel=new_leg(),
            customer_endpoint=self._trunk.way_to(about.number) or "",
            caller_number=about.number,
            called_number=about.called,
            arrived_ms=int(self._clock() * 1000),
            ring_s=self._ring_s,
        )
        return replace(state, shown_number=self._planner.shown_number(state))
