"""redis-py for what is not on the fast path: lists, streams, settings.

Its defaults wait for many seconds and repeat every command ten times, changes too. Here nothing is
repeated, connecting and each reply are bounded, the pool waits a bounded time, and `Admin.ask` puts
one deadline around it all, because a socket time-out alone does not bound a call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Self, TypeVar

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    Redis,
    RedisCluster,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import (
    AuthenticationError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from router.deadline import Deadline
from router.errors import CrosspointError, OutcomeUnknownError, StoreDownError
from router.store.endpoints import (
    Arguments,
    StoreUrl,
    Topology,
    no_retry,
    sentinel_arguments,
    tls_arguments,
)
from router.store.refusals import refused

SOCKET_S: Final = 1.0
_CONNECT_S: Final = 0.5
_WAIT_FOR_CONNECTION_S: Final = 0.5
_MOST_CONNECTIONS: Final = 16

T = TypeVar("T")
AdminClient = Redis | RedisCluster


class Admin:
    """The management client; replies are bytes. Made on a running loop, closed with `close`."""

    def __init__(self, url: StoreUrl) -> None:
        self._sentinel: Sentinel | None = None
        if url.topology is Topology.CLUSTER:
            self.client: AdminClient = _cluster(url)
        elif url.topology is Topology.SENTINEL:
            self._sentinel = Sentinel(list(url.hosts), sentinel_kwargs=sentinel_arguments(url))  # type: ignore[no-untyped-call]  # redis-py
            self.client = self._sentinel.master_for(
                url.master, max_connections=_MOST_CONNECTIONS, **_arguments(url)
            )
        else:
            self.client = _single(url)

    async def ask(
        self,
        operation: Callable[[AdminClient], Awaitable[T]],
        deadline: Deadline,
        *,
        changes: bool = False,
    ) -> T:
        """Run `operation(client)` within the deadline; redis-py's errors become ours.

        With `changes`, a lost answer is `OutcomeUnknownError` instead of `StoreDownError`.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await operation(self.client)
        except AuthenticationError:
            raise StoreDownError("the store refused the user name or password") from None
        except (TimeoutError, OSError, RedisTimeoutError, RedisConnectionError) as error:
            lost: type[CrosspointError] = OutcomeUnknownError if changes else StoreDownError
            raise lost("the store did not answer in time") from error
        except ResponseError as error:
            raise refused(str(error)) from error

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _arguments(url: StoreUrl) -> Arguments:
    ssl: Arguments = {"ssl": True, **tls_arguments(url.tls)} if url.tls else {}
    return {**_common(url), **ssl}


def _common(url: StoreUrl) -> Arguments:
    return {
        "username": url.credentials.username,
        "password": url.credentials.password,
        "db": url.credentials.db,
        "socket_timeout": SOCKET_S,
        "socket_connect_timeout": _CONNECT_S,
        "retry": no_retry(),
        "protocol": 2,
        "client_name": "crosspoint-admin",
    }


def _single(url: StoreUrl) -> Redis:
    if url.path is not None:
        kind: type = UnixDomainSocketConnection
        where: Arguments = {"path": url.path}
    else:
        kind = SSLConnection if url.tls else Connection
        host, port = url.hosts[0]
        where = {"host": host, "port": port, **tls_arguments(url.tls)}
    pool = BlockingConnectionPool(
        max_connections=_MOST_CONNECTIONS,
        timeout=_WAIT_FOR_CONNECTION_S,
        connection_class=kind,
        **where,
        **_common(url),
    )
    return Redis.from_pool(pool)


def _cluster(url: StoreUrl) -> RedisCluster:
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in url.hosts],
        max_connections=_MOST_CONNECTIONS,
        **_arguments(url),
    )
