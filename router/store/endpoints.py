"""Where the store is: its URL, and which server is the primary at this moment.

    redis://[user:password@]host[:port][/db]            one server (rediss:// with TLS)
    unix://[user:password@]/path/to/socket[?db=N]       one server on this machine
    redis+sentinel://[user:password@]h1:p1,h2:p2/MASTER[/db]
    redis+cluster://[user:password@]h1:p1,h2:p2

`rediss+sentinel://` and `rediss+cluster://` use TLS to every server. With TLS, `?ca_file=PATH` names
the authority that signed the servers' certificates and `?verify=no` turns checking off. Sentinels
with a password of their own take `?sentinel_username=` and `?sentinel_password=`. Special characters
in user names and passwords are percent-encoded. No message repeats any part of a URL, since what was
mistyped may be the password.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote

import msgspec
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from router.errors import InvalidInputError, StoreDownError
from router.store.link import Credentials, Endpoint
from router.store_urls import split_store_url

ASK_SENTINEL_S: Final = 0.3
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_MOST_HOSTS: Final = 64
_SCHEMES: Final = (
    "redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, "
    "rediss+sentinel:// or rediss+cluster://"
)

Arguments: TypeAlias = dict[str, Any]  # Any: redis-py types each argument on its own


class Topology(StrEnum):
    """How many servers stand behind a URL and who knows the primary."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How to check the servers' certificates."""

    ca_file: str | None = None
    verify: bool = True


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A store URL, read. Printing it shows no credentials."""

    topology: Topology
    path: str | None = None
    hosts: tuple[tuple[str, int], ...] = ()
    master: str = ""
    credentials: Credentials = Credentials()
    sentinel_credentials: Credentials = Credentials()
    tls: Tls | None = None

    def __str__(self) -> str:
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.topology} {where}{' ' + self.master if self.master else ''}"


def store_mark(url: str) -> str:
    """A few letters that tell stores apart and nothing about them; credentials and options are left out."""
    parts = split_store_url(url)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return hashlib.sha256(where.encode()).hexdigest()[:12]


def parse_store_url(url: str) -> StoreUrl:
    """Read a store URL; `InvalidInputError` says what is wrong with it."""
    try:
        parts = split_store_url(url)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong("it is not a URL; percent-encode special characters") from None
    options = _Options({name: values[-1] for name, values in query.items()})
    secure, kind = _scheme(parts.scheme)
    userinfo, _, netloc = parts.netloc.rpartition("@")
    if parts.fragment or ("@" in parts.path and kind != "unix"):
        raise _wrong("percent-encode special characters in user name and password")
    tls = Tls(ca_file=options.take("ca_file"), verify=options.yes("verify")) if secure else None
    read = _READERS[kind](netloc, unquote(parts.path), userinfo, options)
    options.end()
    return msgspec.structs.replace(read, tls=tls)


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """The TLS settings of a connection; `InvalidInputError` if the CA file cannot be read."""
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError):
        raise _wrong("its ca_file cannot be read as PEM certificates") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def resolver(url: StoreUrl) -> Callable[[], Awaitable[Endpoint]]:
    """How a single or Sentinel-watched store finds its primary; asked before each connection."""
    tls = tls_context(url.tls)

    async def fixed() -> Endpoint:
        host, port = url.hosts[0] if url.hosts else ("", 0)
        return Endpoint(path=url.path, host=host, port=port, tls=tls)

    async def by_sentinel() -> Endpoint:
        host, port = await _ask_sentinels(url)
        return Endpoint(host=host, port=port, tls=tls)

    return by_sentinel if url.topology is Topology.SENTINEL else fixed


def no_retry() -> Retry:
    """redis-py repeats commands ten times by default, those that change things as well."""
    return Retry(NoBackoff(), 0)


def tls_arguments(tls: Tls | None) -> Arguments:
    """The same TLS settings in redis-py's words."""
    if tls is None:
        return {}
    if not tls.verify:
        return {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return {"ssl_ca_certs": tls.ca_file, "ssl_check_hostname": True}


def sentinel_arguments(url: StoreUrl) -> Arguments:
    """How to talk to the Sentinels themselves."""
    return {
        "socket_timeout": ASK_SENTINEL_S,
        "socket_connect_timeout": ASK_SENTINEL_S,
        "retry": no_retry(),
        "username": url.sentinel_credentials.username,
        "password": url.sentinel_credentials.password,
        **({"ssl": True, **tls_arguments(url.tls)} if url.tls else {}),
    }


async def _ask_sentinels(url: StoreUrl) -> tuple[str, int]:
    """Ask all at once, take the first answer: one that hangs must not use up the time."""
    asked = [asyncio.ensure_future(_ask_sentinel(url, host)) for host in url.hosts]
    try:
        for answer in asyncio.as_completed(asked):
            if (found := await answer) is not None:
                return found
    finally:
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    raise StoreDownError(f"no Sentinel knows a primary of {url.master}")


async def _ask_sentinel(url: StoreUrl, host: tuple[str, int]) -> tuple[str, int] | None:
    sentinel = Sentinel([host], sentinel_kwargs=sentinel_arguments(url))  # type: ignore[no-untyped-call]  # redis-py
    try:
        found, port = await sentinel.discover_master(url.master)
    except (RedisError, OSError, TimeoutError):
        return None
    else:
        return str(found), int(port)
    finally:
        await sentinel.aclose()


class _Options:
    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def take(self, name: str) -> str | None:
        return self._values.pop(name, None)

    def yes(self, name: str) -> bool:
        value = self.take(name) or "yes"
        if value not in {"yes", "no"}:
            raise _wrong(f"the option {name} is yes or no")
        return value == "yes"

    def end(self) -> None:
        if self._values:
            raise _wrong("it has an option that is not known here")


def _scheme(scheme: str) -> tuple[bool, str]:
    kind, _, topology = scheme.partition("+")
    known = {"": Topology.SINGLE, "sentinel": Topology.SENTINEL, "cluster": Topology.CLUSTER}
    if scheme == "unix":
        return False, "unix"
    if kind not in {"redis", "rediss"} or topology not in known:
        raise _wrong(f"it has to begin with {_SCHEMES}")
    return kind == "rediss", known[topology]


def _unix(netloc: str, path: str, userinfo: str, options: _Options) -> StoreUrl:
    if netloc or not path.startswith("/"):
        raise _wrong("the path of the socket has to be absolute: unix:///path")
    credentials = _credentials(userinfo, options.take("db") or "0")
    return StoreUrl(topology=Topology.SINGLE, path=path, credentials=credentials)


def _single(netloc: str, path: str, userinfo: str, _options: _Options) -> StoreUrl:
    hosts = _hosts(netloc, _PORT)
    if len(hosts) > 1:
        raise _wrong("several hosts need redis+sentinel:// or redis+cluster://")
    credentials = _credentials(userinfo, path.strip("/") or "0")
    return StoreUrl(topology=Topology.SINGLE, hosts=hosts, credentials=credentials)


def _sentinel(netloc: str, path: str, userinfo: str, options: _Options) -> StoreUrl:
    master, _, db = path.strip("/").partition("/")
    if not master:
        raise _wrong("the name of the Sentinel master is missing: …/MASTER")
    return StoreUrl(
        topology=Topology.SENTINEL,
        hosts=_hosts(netloc, _SENTINEL_PORT),
        master=master,
        credentials=_credentials(userinfo, db or "0"),
        sentinel_credentials=Credentials(
            username=options.take("sentinel_username"), password=options.take("sentinel_password")
        ),
    )


def _cluster(netloc: str, path: str, userinfo: str, _options: _Options) -> StoreUrl:
    if path.strip("/"):
        raise _wrong("a cluster has only database 0; end the URL after the hosts")
    credentials = _credentials(userinfo, "0")
    return StoreUrl(topology=Topology.CLUSTER, hosts=_hosts(netloc, _PORT), credentials=credentials)


_READERS: Final = {
    "unix": _unix,
    Topology.SINGLE: _single,
    Topology.SENTINEL: _sentinel,
    Topology.CLUSTER: _cluster,
}


def _hosts(netloc: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = tuple(_host(one, port) for one in netloc.split(","))
    if len(hosts) > _MOST_HOSTS:
        raise _wrong(f"it has more than {_MOST_HOSTS} hosts")
    return hosts


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise _wrong("a host is missing")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _wrong("a port has to be a number from 1 to 65535")
    return host, int(port)


def _credentials(userinfo: str, db: str) -> Credentials:
    if not (db.isascii() and db.isdigit() and len(db) < 6):
        raise _wrong("the database has to be a number")
    username, _, password = userinfo.partition(":")
    return Credentials(
        username=unquote(username) or None, password=unquote(password) or None, db=int(db)
    )


def _wrong(why: str) -> InvalidInputError:
    return InvalidInputError(f"the store's URL is not valid: {why}", field="store.url")
