"""Every version of the rules that decided calls is kept, so that the log can be explained and replayed.

A version is the rules file and its CSV lists, byte for byte, packed. It is brought to the store of
each tenant that uses it when it comes into force, kept as long as it is in force and for a while after.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from router.deadline import Deadline, in_s
from router.errors import CrosspointError
from router.store.link import Link
from router.store.rules_versions import get_version, keep_version
from rules.lists import MOST_CSV_BYTES
from rules.loader import Source, parse_source
from rules.problems import FileError
from rules.reader import LARGEST_FILE_BYTES
from rules.ruleset import Ruleset, compile_ruleset

LARGEST_PACKED: Final = 2 * 1024 * 1024
"""Bytes; a larger version would hold up the store, and is not kept."""

LOOK_EVERY_S: Final = 1.0
AGAIN_EVERY_S: Final = 3600.0
"""How often what is in force is told to be kept longer."""

STORE_S: Final = 5.0
_LARGEST_SOURCE: Final = LARGEST_FILE_BYTES + MOST_CSV_BYTES + 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Source).decode
_log = structlog.get_logger(__name__)


def pack(source: Source) -> bytes | None:
    """A version for the store; None when it is too large. Takes up to a second: for a thread."""
    packed = zlib.compress(_encode(source))
    return packed if len(packed) <= LARGEST_PACKED else None


def unpack(packed: bytes) -> Source | None:
    """What was packed; None when it cannot be read (any more)."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, _LARGEST_SOURCE)
        return _decode(text) if unpacker.eof else None
    except (zlib.error, msgspec.MsgspecError):
        return None


async def load_version(link: Link, tenant: str, digest: str, deadline: Deadline) -> Ruleset | None:
    """The version of the rules with that digest, ready to explain; None: it is not kept."""
    packed = await get_version(link, tenant, digest, deadline)
    return None if packed is None else await asyncio.to_thread(_compile, packed, digest)


def _compile(packed: bytes, digest: str) -> Ruleset | None:
    source = unpack(packed)
    if source is None:
        return None
    try:
        document = parse_source(source)
    except FileError:
        return None  # it was good once, for another release of this program
    return compile_ruleset(document) if document.digest == digest else None


class Version(NamedTuple):
    """What a version was read from, packed; None when it is too large."""

    digest: str
    packed: bytes | None


class InForce(Protocol):
    """The rules in force: `router.rulesets.in_force.Rulesets`."""

    def versions(self, name: str) -> Sequence[Version]: ...


class RulesArchive:
    """Brings versions in force to the store. `run` is a task of the process."""

    def __init__(
        self,
        rulesets: InForce,
        link_for: Callable[[str], Link],
        in_use: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        """`in_use` tells which tenant uses which ruleset."""
        self._rulesets = rulesets
        self._link_for = link_for
        self._in_use = in_use
        self._again_at: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        while True:
            with contextlib.suppress(CrosspointError):
                await self.bring()
            await asyncio.sleep(LOOK_EVERY_S)

    async def bring(self) -> None:
        """Bring what is not there yet; CrosspointError when the store cannot be told.

        Also versions that were replaced before they were brought: they have decided calls too.
        """
        now = asyncio.get_running_loop().time()
        wanted: dict[tuple[str, str], tuple[str, Version]] = {}
        in_force: set[tuple[str, str]] = set()
        for tenant, name in self._in_use():
            if self._link_for(tenant).is_open and (versions := self._rulesets.versions(name)):
                wanted |= {(tenant, version.digest): (name, version) for version in versions}
                in_force.add((tenant, versions[-1].digest))
        self._again_at = {each: at for each, at in self._again_at.items() if each in wanted}
        for key, (name, version) in wanted.items():
            again_at = self._again_at.get(key)
            if again_at is None or (key in in_force and now >= again_at):
                await self._keep(key[0], name, version)
                self._again_at[key] = now + AGAIN_EVERY_S

    async def _keep(self, tenant: str, name: str, version: Version) -> None:
        link, digest = self._link_for(tenant), version.digest
        if await keep_version(link, tenant, digest, b"", in_s(STORE_S)):
            return
        if version.packed is None:
            _log.warning("rules_too_large_to_keep", ruleset=name, digest=digest)
            return
        await keep_version(link, tenant, digest, version.packed, in_s(STORE_S))
