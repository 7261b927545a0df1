"""Whether calls may go on: not while nobody knows what Asterisk does."""

import asyncio


class Gate:
    """Open while what Asterisk does is known; shut from the loss of the connection until after the
    comparison with the live channels. `era` counts how often it was shut."""

    def __init__(self) -> None:
        self.era = 0
        self._open = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        self._open.set()

    def shut(self) -> None:
        if self.is_open:
            self.era += 1
        self._open.clear()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._open.wait()
