"""How it stands with a PBX, as the controller in charge of it says every few seconds."""

from typing import Final

import msgspec

from router.deadline import Deadline
from router.errors import StoreRefusedError
from router.store import keys
from router.store.operations import Operations

LASTS_MS: Final = 20_000
"""What was said longer ago is nobody's word any more."""


class PbxState(msgspec.Struct, frozen=True, kw_only=True):
    """`condition` is one of `router.telephony.standing.Condition`; `calls` are going on."""

    condition: str
    calls: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PbxState).decode


class PbxStates(Operations):
    """Of all PBXs."""

    async def put(self, tenant: str, pbx: str, state: PbxState, deadline: Deadline) -> None:
        """Say how it stands, for a while."""
        key, link = keys.pbx_state(tenant, pbx), self._links.link_for(tenant)
        await link.call("SET", key, _encode(state), "PX", LASTS_MS, deadline=deadline)

    async def get(self, tenant: str, pbx: str, deadline: Deadline) -> PbxState | None:
        """What was said last; None: nobody is in charge."""
        link = self._links.link_for(tenant)
        found = await link.call("GET", keys.pbx_state(tenant, pbx), deadline=deadline)
        if found is None:
            return None
        try:
            return _decode(found if isinstance(found, bytes) else b"")
        except msgspec.MsgspecError as error:
            raise StoreRefusedError("a reply of the store is unreadable") from error
