"""Asking somebody else's routing_url, as the platform would: signed, bounded, and only where allowed.

Which address is connected to is checked on the socket's own address, after every name was resolved
and right before connecting, so a name that changes its mind (DNS rebinding) or a number written in a
funny way gains nothing.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import AddrInfoType
from yarl import URL

from router.deadline import Deadline, left_s
from router.decisions.needed import ForeignError
from router.decisions.outcome import Asked, ErrorCode
from router.platforms.dialpad.signature import sign
from router.platforms.dialpad.wire import UnreadableError, read_answer, write_request
from rules.actions import Action

ANSWER_LIMIT: Final = 64 * 1024
"""Bytes of an answer; a longer one is invalid."""

MOST_CONNECTIONS: Final = 100
_DNS_S: Final = 30
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "crosspoint"}

_TUNNELS: Final = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "2002::/16", "2001::/32")
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RefusedAddressError(OSError):
    """The address is private, loopback, link-local or otherwise not for the outside."""


class ForeignRouters:
    """One client session for all of them; make it on a running loop, `close` it."""

    def __init__(
        self, *, allowed: Sequence[Network] = (), answer_limit: int = ANSWER_LIMIT
    ) -> None:
        """`allowed` are private networks that may be asked all the same."""
        self._allowed = tuple(allowed)
        self._answer_limit = answer_limit
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, asked: Asked, deadline: Deadline) -> Action:
        """The answer as an action; ForeignError says what counts against the router.

        Without the secret that it is to be signed with nobody is asked.
        """
        if asked.router.signs and not asked.router.secrets:
            raise ForeignError(ErrorCode.CONNECT)
        try:
            async with asyncio.timeout_at(deadline):
                return read_answer(await self._post(asked, deadline))
        except TimeoutError:
            raise ForeignError(ErrorCode.TIMEOUT) from None
        except UnreadableError as error:
            raise ForeignError(ErrorCode.UNREADABLE) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise ForeignError(ErrorCode.UNREADABLE) from error
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise ForeignError(ErrorCode.CONNECT) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, asked: Asked, deadline: Deadline) -> bytes:
        body = write_request(asked.call, int(asked.now_s * 1000))
        kind = "application/json"
        if asked.router.secrets:
            body, kind = sign(body, asked.router.secrets[0]), "application/jwt"
        async with self._open().post(
            URL(asked.router.routing_url or ""),
            data=body,
            headers={**_HEADERS, "Content-Type": kind},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=max(0.001, left_s(deadline))),
        ) as response:
            if not 200 <= response.status < 300:
                raise ForeignError(ErrorCode.STATUS)
            return await self._read(response)

    async def _read(self, response: ClientResponse) -> bytes:
        if (response.content_length or 0) > self._answer_limit:
            raise UnreadableError
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._answer_limit:
                response.close()
                raise UnreadableError
        return bytes(body)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=MOST_CONNECTIONS,
                ttl_dns_cache=_DNS_S,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, address: AddrInfoType) -> socket.socket:
        """The only place where a connection begins: check where it would go."""
        family, kind, protocol, _, where = address
        self._check(str(where[0]))
        return socket.socket(family, kind, protocol)

    def _check(self, text: str) -> None:
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._allowed):
            return
        if not address.is_global or address.is_multicast or _is_tunnel(address):
            raise RefusedAddressError


def _is_tunnel(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an IPv6 address carries an IPv4 address that somebody else unpacks."""
    return any(address in network for network in _TUNNELS)
