"""Every channel that is alive, as Asterisk reports it: what commands need to know of it."""

import asyncio
from typing import Final

import msgspec

from pbx.ami.values import ChannelName, UniqueId


def endpoint_of(name: ChannelName) -> str:
    """The phone whose channel it is: `PJSIP/6001` of `PJSIP/6001-0000002a`; empty for a channel of
    Asterisk's own."""
    endpoint, _, _ = name.rpartition("-")
    return "" if name.startswith("Local/") else endpoint


MOST_UNWANTED: Final = 1_000
"""Of the latest so many is known that they are to end as soon as they appear."""


class Channel(msgspec.Struct, kw_only=True):
    """One live channel. `bridge`: the bridge it is in, empty for none (see `Channels.move`). `is_ended`: by Asterisk itself.
    `has_left`: it is not ours to command any more, nor in a bridge that we asked for: who had it hangs up.
    """

    name: ChannelName
    id: UniqueId
    is_up: bool = False
    bridge: str = ""
    is_ended: bool = False
    has_left: bool = False


class Channels:
    """All live channels by unique id (lower case: Asterisk compares them so)."""

    def __init__(self) -> None:
        self._by_id: dict[str, Channel] = {}
        self._in: dict[str, list[Channel]] = {}
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}
        self._unwanted: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def seen(self, unique_id: UniqueId, name: ChannelName) -> Channel:
        """The channel; made known when it was not."""
        key = unique_id.lower()
        known = self._by_id.get(key)
        if known is None:
            known = self._by_id[key] = Channel(name=name, id=unique_id)
        known.name = name  # a channel can be renamed (masquerade)
        return known

    def end_when_seen(self, unique_id: UniqueId, cause: int) -> None:
        """Nobody wants this channel any more, and there is none yet: one that appears is to be ended."""
        self._unwanted[unique_id.lower()] = cause
        if len(self._unwanted) > MOST_UNWANTED:
            del self._unwanted[next(iter(self._unwanted))]

    def unwanted(self, unique_id: UniqueId) -> int | None:
        """With which cause to end a channel that has appeared; None: it is not to be ended. Told once."""
        return self._unwanted.pop(unique_id.lower(), None)

    def find(self, unique_id: str) -> Channel | None:
        return self._by_id.get(unique_id.lower())

    def gone(self, unique_id: str) -> Channel | None:
        key = unique_id.lower()
        channel = self._by_id.pop(key, None)
        if channel is not None:
            self.move(channel, "")
        for waiting in self._awaited.pop(key, ()):
            _tell(waiting)
        return channel

    async def until_gone(self, unique_id: str, limit_s: float) -> None:
        """Wait until the channel is gone, at most so long."""
        key, loop = unique_id.lower(), asyncio.get_running_loop()
        if key not in self._by_id:
            return
        waiting = loop.create_future()
        self._awaited.setdefault(key, []).append(waiting)
        timer = loop.call_later(limit_s, _tell, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            others = [one for one in self._awaited.pop(key, ()) if one is not waiting]
            if others:
                self._awaited[key] = others

    def move(self, channel: Channel, bridge: str) -> None:
        """The channel is in that bridge now; empty: in none."""
        if channel.bridge == bridge:
            return
        if channel.bridge:
            left = self._in[channel.bridge]
            left.remove(channel)
            if not left:
                del self._in[channel.bridge]
        channel.bridge = bridge
        if bridge:
            self._in.setdefault(bridge, []).append(channel)

    def in_bridge(self, bridge: str) -> list[Channel]:
        return list(self._in.get(bridge, ()))

    def clear(self) -> None:
        self._by_id.clear()
        self._in.clear()
        self._unwanted.clear()
        for waiting in self._awaited.values():
            for one in waiting:
                _tell(one)
        self._awaited.clear()


def _tell(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
