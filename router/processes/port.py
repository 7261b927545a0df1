"""The port: shared among the workers and processes of one store, and otherwise nobody else's.

How it works. SO_REUSEPORT lets every process of the same user listen beside others, and the kernel
then spreads the connections over all of them, whichever store they stand on. So a service with a store
of its own (`crosspoint up`) first proves that it is alone: it takes a name in the kernel (an abstract
Unix socket, gone with its process, of the same network namespace as the port) that only one such
service can have, and listens for a moment without SO_REUSEPORT, which fails if anybody listens there.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator
from typing import Final

from router.errors import InvalidInputError

PREDECESSOR_S: Final = 2.0
"""How long a port may still be in use, since one that was killed has workers who end just now."""

_LOOK_AGAIN_S: Final = 0.05

_Place = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


def hold_port(host: str, port: int, *, is_shared: bool = True) -> socket.socket:
    """A socket bound to the address, not listening. `is_shared`: others may hold it beside us.

    InvalidInputError: there is no such address, or it is in use.
    """
    family, where = _place(host, port)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot(host, port, error) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)  # noqa: FBT003 - the library's way
        sock.bind(where)
    except OSError as error:
        sock.close()
        raise _cannot(host, port, error) from error
    return sock


@contextlib.asynccontextmanager
async def alone_on(host: str, port: int) -> AsyncIterator[None]:
    """Nobody listens there as the block begins, and no other service alone may begin to until it ends.

    InvalidInputError when somebody does, and goes on for longer than a predecessor that is ending.
    """
    if port == 0:  # any free one
        yield
        return
    with await _awaited_name(host, port):
        yield


async def _awaited_name(host: str, port: int) -> socket.socket:
    clock = asyncio.get_running_loop().time
    gives_up_s = clock() + PREDECESSOR_S
    while True:
        try:
            return _take_name(host, port)
        except InvalidInputError:
            if clock() > gives_up_s:
                raise
        await asyncio.sleep(_LOOK_AGAIN_S)


def _take_name(host: str, port: int) -> socket.socket:
    """What holds the name; closed, it is free again."""
    _, where = _place(host, port)
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0crosspoint-{os.getuid()}-{where[0]}-{port}")
        with hold_port(host, port, is_shared=False) as probe:
            probe.listen(1)
    except OSError as error:
        name.close()
        raise _cannot(host, port, error) from error
    except InvalidInputError:
        name.close()
        raise
    return name


def _place(host: str, port: int) -> _Place:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot(host, port, error) from error
    family, _, _, _, where = found[0]
    return family, where  # type: ignore[return-value]  # (int, bytes) is for Python without IPv6


def _cannot(host: str, port: int, error: OSError) -> InvalidInputError:
    reason = error.strerror
    if error.errno == errno.EADDRINUSE:
        reason = "it is in use; end the other program, or set another http.port"
    message = f"cannot listen on {host} port {port}: {reason}"
    return InvalidInputError(message, field="http.port")
