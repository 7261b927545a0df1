"""Reservations that begin in the same turn of the loop and want the same: one command for all of them.

When many calls arrive at once, asking for each by itself costs the store twice as much: starting a
script and looking at the line of the idle takes as long as reserving. A command that is waiting to be
written takes in further ones; the one script answers each. Who asks alone is not delayed.
"""

from typing import Any, Final

from router.errors import CrosspointError
from router.store.link import Reply
from router.store.reserving import WORDS_EACH, Reserving
from router.store.scripts import opening_of

MOST_TOGETHER: Final = 8
"""Most of what there is to save is saved with so many; more would only wait longer for each other."""

_SPREAD_S: Final = 0.02
"""The first one's deadline counts for all: who joins loses no more than this of their own."""

_LONGEST: Final = 16 * 1024
"""Bytes that one command may come to, about."""

_FULL: Final = -1


class Together:
    """Some reservations of one wish, of any who want it; grows until it is written."""

    __slots__ = ("_is_told", "_link", "_members", "_room", "_until", "_wanted")

    def __init__(self, first: "Reserving[Any]") -> None:
        self._members = [first]
        self._link = first.link
        self._wanted = first.wanted
        self._until = first.deadline
        self._room = _LONGEST - len(first.rest)
        self._is_told = False

    def send(self) -> None:
        """Put it into the line of what is to be written."""
        self._link.send_for(self, self, self._until, self._late, _LONGEST)

    def takes(self, another: "Reserving[Any]") -> bool:
        """Take in another one, if that may be."""
        room = self._room - len(another.rest)
        if (
            room < 0
            or another.wanted is not self._wanted
            or another.link is not self._link
            or not 0 <= another.deadline - self._until <= _SPREAD_S
        ):
            return False
        members = self._members
        members.append(another)
        self._room = room
        if len(members) >= MOST_TOGETHER:
            self._room = _FULL
            self._link.flush()  # the store can begin; nobody else gets in
        return True

    # as a command that grows

    def written(self) -> bytes:
        """The whole command."""
        self._room = _FULL
        members = self._members
        words = WORDS_EACH * len(members)
        rests = [member.rest for member in members]
        return b"".join([opening_of(members[0].wanted.head, words), *rests])

    # as a receiver of the link

    def done(self) -> bool:
        """Whether it was told already."""
        return self._is_told

    def set_result(self, reply: Reply, /) -> None:
        """The store has answered: tell each."""
        self._is_told = True
        for member, told in self._each(reply):
            if member.done():
                member.late(told)
            else:
                member.set_result(told)

    def set_exception(self, error: CrosspointError, /) -> None:
        """The store has not answered, or with an error: tell each."""
        self._is_told = True
        self._room = _FULL
        for member in self._members:
            if not member.done():
                member.set_exception(error)

    # private

    def _late(self, reply: Reply) -> None:
        for member, told in self._each(reply):
            member.late(told)

    def _each(self, reply: Reply) -> "list[tuple[Reserving[Any], Reply]]":
        members = self._members
        if len(members) > 1 and isinstance(reply, list) and len(reply) == len(members):
            return list(zip(members, reply, strict=True))
        return [(member, reply) for member in members]
