"""Which installation of Crosspoint runs an Asterisk: at most one, or each would end the other's calls.

How it works. Controllers that share a store take turns by the store's lease, and are one owner here. Its
mark stands in a global variable of Asterisk's own and changes with every ping. Whoever finds the mark of
another owner watches whether it still changes: if so, somebody else is at work and nothing may be touched.
The mark ends with Asterisk.
"""

import asyncio
import itertools
import secrets
from typing import Final

from pbx.ami.actions import Action, Setvar
from pbx.ami.client import Client

VARIABLE: Final = "CROSSPOINT_CONTROLLER"
ASK_S: Final = 5.0
PINGS: Final = 2.5
"""Who has not renewed the mark for so many pings is gone."""


class Claim:
    """The claim of one controller. `owner` is the same for all that share its store."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._mine = f"{owner}.{secrets.token_hex(4)}"
        self._beats = itertools.count()

    def renewed(self) -> Action:
        """What to send instead of a ping."""
        return Setvar(variable=VARIABLE, value=f"{self._mine}.{next(self._beats)}")

    async def take(self, client: Client) -> bool:
        """Put our mark there; False: somebody else is at work. Raises as `Client.send`."""
        found = await self._mark(client)
        if found.partition(".")[0] not in {"", self._owner}:
            await asyncio.sleep(client.settings.ping_every_s * PINGS)
            if await self._mark(client) != found:
                return False
        await client.send(self.renewed(), asyncio.get_running_loop().time() + ASK_S)
        return True

    async def _mark(self, client: Client) -> str:
        by_s = asyncio.get_running_loop().time() + ASK_S
        return await client.variable(None, VARIABLE, by_s)
