"""Actions on their way to Asterisk, and who hears of the answer."""

import asyncio
from collections.abc import Callable
from typing import Any


class Told:
    """Stands for the future of an action of whose answer nobody wants to hear but that it failed."""

    __slots__ = ("_failed", "_is_done", "over")

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._is_done = False
        self.over: Callable[[], None] = lambda: None

    def done(self) -> bool:
        return self._is_done

    def set_result(self, _: object) -> None:
        self._is_done = True
        self.over()

    def set_exception(self, error: Exception) -> None:
        self._is_done = True
        self.over()
        self._failed(error)

    def exception(self) -> None:
        """As a future's: it was heard of."""


class Sent:
    """An action on its way. `future` gets its answer and the rows of a list, as they came, or its refusal.

    `is_begun_only`: a "yes" says no more than that it was begun; its owner ends `future`, also when the
    connection is lost. `yes`: what Asterisk says then, where nobody waits to hear it; else empty.
    """

    __slots__ = ("future", "id", "is_begun_only", "is_list", "name", "parts", "yes")

    def __init__(
        self,
        name: str,
        future: asyncio.Future[Any] | Told,  # Any: what came, or what else its owner ends it with
        *,
        is_list: bool = False,
        is_begun_only: bool = False,
        yes: str = "",
    ) -> None:
        self.name = name
        self.future = future
        self.is_list = is_list
        self.is_begun_only = is_begun_only
        self.yes = yes
        self.id = b""
        self.parts: list[bytes] = []
