"""Work on files, done by a thread: of all who have any within a moment in one visit.

To wake a thread, and to hand the interpreter to and fro while the loop is busy, costs more than to look at a few
files. Nobody who waits for a recording is in a hurry.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

GATHER_S: Final = 0.5
T = TypeVar("T")


class Visits:
    """As many wait as there are who ask: one piece of work each at a time. There is one timer for all."""

    def __init__(self) -> None:
        # Any: whoever asks knows what comes of the work.
        self._waiting: list[tuple[float, Callable[[], Any], asyncio.Future[Any]]] = []

    async def do(self, work: Callable[[], T], *, after_s: float = 0.0) -> T:
        """Have it done within a moment, at the earliest after so long. Raises what it raises."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        if not self._waiting:
            loop.call_later(GATHER_S, self._visit)
        self._waiting.append((loop.time() + after_s, work, outcome))
        return await outcome

    def _visit(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiting = [one for one in self._waiting if not one[2].done()]
        due = [one for one in waiting if one[0] <= now]
        self._waiting = [one for one in waiting if one[0] > now]
        if self._waiting:
            loop.call_later(GATHER_S, self._visit)
        if not due:
            return
        told = [outcome for _, _, outcome in due]
        visit = loop.run_in_executor(None, _done, [work for _, work, _ in due])

        def tell(done: asyncio.Future[list[Any]]) -> None:
            if done.cancelled():  # the loop ends, and who asked with it
                return
            for outcome, result in zip(told, done.result(), strict=True):
                if outcome.done():
                    continue
                if isinstance(result, Exception):
                    outcome.set_exception(result)
                else:
                    outcome.set_result(result)

        visit.add_done_callback(tell)


def _done(wanted: list[Callable[[], Any]]) -> list[Any]:
    """What came of each, or the exception."""
    return [_outcome(work) for work in wanted]


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - handed to who asked
        return error
