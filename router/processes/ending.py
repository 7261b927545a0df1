"""How a process learns that it should end: by a signal, or because its parent has gone."""

import asyncio
import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2) of Linux."""


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM or SIGINT, of which the second one ends the process at once, and by SIGHUP.

    That says the terminal was closed, and may come several times; `nohup` has it ignored, and so it stays.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    return stop


def end_with_parent() -> bool:
    """Have the kernel send SIGTERM when the parent is gone. False: it went before that was set."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent
