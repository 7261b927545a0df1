"""What the service that answers HTTP knows of the PBX beside it: for /readyz and the metrics."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from router.deadline import in_s
from router.errors import CrosspointError
from router.http import health
from router.metrics import Observer
from router.settings import PbxSettings
from router.store.pbx_states import PbxState, PbxStates
from router.telephony.standing import Condition

LOOK_S: Final = 2.0
STORE_S: Final = 1.0
NOBODY: Final = "no controller"

_WORDS: Final[Mapping[str, str]] = {
    Condition.CONNECTING: "Asterisk is away",
    Condition.LOGIN_REFUSED: "Asterisk refuses the login",
    Condition.TAKEN: "another installation runs this Asterisk",
}
_log = structlog.get_logger(__name__)


class PbxWatch:
    """Keeps what the controller in charge said last. `run` is a task of the process."""

    def __init__(self, states: PbxStates, pbx: PbxSettings, observer: Observer) -> None:
        self._states = states
        self._pbx = pbx
        self._observer = observer
        self._state: PbxState | None = None
        self._is_known = False

    async def run(self) -> None:
        """Look again and again, until cancelled; while the store is away the last word holds."""
        while True:
            try:
                await self.look()
            except CrosspointError as error:
                _log.debug("pbx_state_not_read", reason=error.code)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Read it once. CrosspointError: the store did not say."""
        self._state = await self._states.get(self._pbx.tenant, self._pbx.id, in_s(STORE_S))
        self._is_known = True
        calls = 0 if self._state is None else self._state.calls
        self._observer.pbx(is_ready=self.part().is_well, calls=calls)

    def part(self) -> health.Part:
        """What /readyz tells."""
        if not self._is_known:
            return health.Part(name="pbx", is_well=False, detail="not known yet")
        if self._state is None:
            return health.Part(name="pbx", is_well=False, detail=NOBODY)
        if self._state.condition == Condition.READY:
            return health.Part(name="pbx", is_well=True)
        return health.Part(name="pbx", is_well=False, detail=_WORDS.get(self._state.condition))
