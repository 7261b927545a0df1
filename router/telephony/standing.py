"""How it stands with the PBX: said by the controller in charge, for whoever asks the service."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog

from pbx.ami.client import LinkState
from pbx.controller import Controller
from router.deadline import in_s
from router.errors import CrosspointError
from router.store.pbx_states import PbxState, PbxStates

LOOK_S: Final = 1.0
SAY_S: Final = 5.0
STORE_S: Final = 2.0

_log = structlog.get_logger(__name__)


class Condition(StrEnum):
    """`TAKEN`: another installation of Crosspoint runs this Asterisk."""

    READY = "ready"
    CONNECTING = "connecting"
    LOGIN_REFUSED = "login_refused"
    TAKEN = "taken"


def condition_of(controller: Controller) -> Condition:
    """What the controller can do now."""
    if controller.is_taken:
        return Condition.TAKEN
    if controller.client.state is LinkState.LOGIN_REFUSED:
        return Condition.LOGIN_REFUSED
    return Condition.READY if controller.is_ready else Condition.CONNECTING


class Standing:
    """`run` is a task of the process."""

    def __init__(
        self, states: PbxStates, look: Callable[[], PbxState], *, tenant: str, pbx: str
    ) -> None:
        self._states = states
        self._look = look
        self._tenant = tenant
        self._pbx = pbx

    async def run(self) -> None:
        """Say how it stands: at once when the condition changes, else every SAY_S; until cancelled."""
        loop, said, again_s = asyncio.get_running_loop(), "", 0.0
        while True:
            state = self._look()
            if state.condition != said or loop.time() >= again_s:
                try:
                    await self._states.put(self._tenant, self._pbx, state, in_s(STORE_S))
                    said, again_s = state.condition, loop.time() + SAY_S
                except CrosspointError as error:
                    _log.debug("pbx_state_not_said", reason=error.code)
            await asyncio.sleep(LOOK_S)
