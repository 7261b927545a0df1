"""Answers that nobody waits for wake nobody: they lie in the socket until something else comes.

Asterisk says yes to every action at once, and to most of them each yes would wake the process alone, a dozen
times a call. So the kernel is told (`SO_RCVLOWAT`) to call the socket readable only when more lies there than
those answers are long: an event, a refusal (which is longer, as it names the channel), an answer that somebody
waits for. Was it reckoned wrongly, what comes next wakes us, and nothing lies there for longer than `LONGEST_S`.
"""

import asyncio
import os
import socket
from collections.abc import Iterable

from pbx.ami.sent import Sent

LONGEST_S = 2.0


class Unheard:
    """How much may lie in the socket of one connection without waking anybody."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._socket: socket.socket | None = None
        if transport.get_extra_info("ssl_object") is None:  # else the bytes on the wire are others
            same = transport.get_extra_info("socket")
            self._socket = socket.socket(fileno=os.dup(same.fileno()))
        self._loop = asyncio.get_running_loop()
        self._least = 1
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, answers: Iterable[Sent]) -> None:
        """Wake up for anything but these answers, all that are not here yet."""
        least = 1
        for sent in answers:
            if not sent.yes:
                least = 1
                break
            least += _length_of(sent)
        self._set(least)
        if least > 1 and self._timer is None:
            self._timer = self._loop.call_later(LONGEST_S, self._hear)

    def close(self) -> None:
        """Nothing of it is left."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()

    def _hear(self) -> None:
        self._timer = None
        self._set(1)

    def _set(self, least: int) -> None:
        if self._socket is not None and least != self._least:
            self._least = least
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)


def _length_of(sent: Sent) -> int:
    """Of a yes, in bytes."""
    return (
        len(b"Response: Success\r\nActionID: \r\nMessage: \r\n\r\n") + len(sent.id) + len(sent.yes)
    )
