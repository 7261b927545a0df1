"""Lua operations: loaded from the package once, called by digest.

`lua/NAME.lua` is one operation. `lua/_common.lua` is put before it, and where it says
`-- Shared: _agent _pick` the text of those files. Redis makes every function of a script anew at each
run, hence only what is needed, and only where it is needed.
"""

import asyncio
import functools
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from weakref import WeakKeyDictionary

import msgspec

from router.deadline import Deadline
from router.errors import RefusalKind, StoreRefusedError
from router.store.link import Link, OnLate, Reply
from router.store.wire import Word, packed

_SHARED = re.compile(r"^-- Shared: (.+)$", re.MULTILINE)


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A Lua operation: its name, its whole source and the digest Redis knows it by."""

    name: str
    source: str
    sha: str


@functools.cache
def load_script(name: str) -> Script:
    """The operation in `router/store/lua/NAME.lua`; `FileNotFoundError` if there is none."""
    folder = resources.files("router.store") / "lua"
    own = (folder / f"{name}.lua").read_text("utf-8")
    common = (folder / "_common.lua").read_text("utf-8")

    def shared(named: re.Match[str]) -> str:
        return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in named[1].split())

    return make_script(name, f"{common}\n{_SHARED.sub(shared, own)}")


def make_script(name: str, source: str) -> Script:
    """A script of that source."""
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(name=name, source=source, sha=sha)


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a script, but for its last words, as the protocol writes it down: see `prepare`.

    `words` is how many stand in `head`: the number of keys, keys, arguments.
    """

    script: Script
    by_digest: bytes
    head: bytes
    words: int


def prepare(script: Script, keys: Sequence[str], args: Sequence[Word]) -> Prepared:
    """Write down what is the same in every call of a script."""
    words = (len(keys), *keys, *args)
    return Prepared(
        script=script,
        by_digest=_written("EVALSHA", script.sha),
        head=_written(*words),
        words=len(words),
    )


async def run_script(  # noqa: PLR0917 - the order of EVALSHA, known by heart
    link: Link,
    script: Script,
    keys: Sequence[str],
    args: Sequence[Word],
    deadline: Deadline,
    on_late: OnLate | None = None,
) -> Reply:
    """Run it within the deadline; errors as `Link.call` has them.

    A server that does not know the script (restarted, flushed, failed over) is sent the source once,
    whoever and however many ask meanwhile; asking again is safe since nothing ran.
    """
    return await run_prepared(link, prepare(script, keys, args), 0, b"", deadline, on_late)


async def run_prepared(  # noqa: PLR0917 - as run_script
    link: Link,
    prepared: Prepared,
    words: int,
    rest: bytes,
    deadline: Deadline,
    on_late: OnLate | None = None,
) -> Reply:
    """As `run_script`, with `words` further arguments that are written down in `rest`."""
    script = prepared.script
    for _ in range(2):
        try:
            return await link.send(opening_of(prepared, words) + rest, deadline, on_late)
        except StoreRefusedError as error:
            if error.kind is not RefusalKind.NO_SCRIPT:
                raise
        await _teach(link, script, deadline)
    # Forgotten again at once: send it along.
    by_source = msgspec.structs.replace(prepared, by_digest=_written("EVAL", script.source))
    return await link.send(opening_of(by_source, words) + rest, deadline, on_late)


def opening_of(prepared: Prepared, words: int) -> bytes:
    """The whole command, but for the last `words` arguments."""
    return b"*%d\r\n%b%b" % (2 + prepared.words + words, prepared.by_digest, prepared.head)


def _written(*words: Word) -> bytes:
    """Words as the protocol writes them down, without their number."""
    return packed(words).partition(b"\r\n")[2]


_under_way: WeakKeyDictionary[Link, dict[str, asyncio.Future[Reply]]] = WeakKeyDictionary()


async def _teach(link: Link, script: Script, deadline: Deadline) -> None:
    """Have the server learn the script: one sending for all who find it missing at the same time."""
    loading = _under_way.setdefault(link, {})
    sent = loading.get(script.sha)
    if sent is None:
        sent = loading[script.sha] = link.call("SCRIPT", "LOAD", script.source, deadline=deadline)
        sent.add_done_callback(lambda _: loading.pop(script.sha, None))
    await asyncio.shield(sent)  # who gives up must not take it from the others
