"""Every channel that is alive, as Asterisk reports it: what commands need to know of it."""

import msgspec

from pbx.ami.values import ChannelName, UniqueId


def endpoint_of(name: ChannelName) -> str:
    """The phone whose channel it is: `PJSIP/6001` of `PJSIP/6001-0000002a`; empty for a channel of
    Asterisk's own."""
    endpoint, _, _ = name.rpartition("-")
    return "" if name.startswith("Local/") else endpoint


class Channel(msgspec.Struct, kw_only=True):
    """One live channel. `bridge`: the bridge it is in, empty for none (see `Channels.move`). `is_ended`: by Asterisk itself.
    `has_left`: it is not ours to command any more, nor in a bridge that we asked for: who had it hangs up.
    """

    name: ChannelName
    id: UniqueId
    is_up: bool = False
    has_rung: bool = False
    bridge: str = ""
    is_ended: bool = False
    has_left: bool = False


class Channels:
    """All live channels by unique id (lower case: Asterisk compares them so)."""

    def __init__(self) -> None:
        self._by_id: dict[str, Channel] = {}
        self._in: dict[str, list[Channel]] = {}

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

    def find(self, unique_id: str) -> Channel | None:
        return self._by_id.get(unique_id.lower())

    def gone(self, unique_id: str) -> Channel | None:
        channel = self._by_id.pop(unique_id.lower(), None)
        if channel is not None:
            self.move(channel, "")
        return channel

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
