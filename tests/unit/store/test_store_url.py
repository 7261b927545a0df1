"""Store URLs: every form, and clear refusals that never repeat what was typed."""

import pytest

from router.errors import InvalidInputError
from router.settings import StoreSettings
from router.store.endpoints import StoreUrl, Topology, parse_store_url, tls_context
from router.store.link import Credentials


def read(url: str) -> StoreUrl:
    return parse_store_url(url)


def test_one_server_has_default_port_and_database():
    url = read("redis://localhost")
    assert (url.topology, url.hosts, url.credentials.db) == (
        Topology.SINGLE,
        (("localhost", 6379),),
        0,
    )
    assert url.tls is None


def test_user_password_and_database_are_read_and_decoded():
    url = read("redis://us%40er:p%2Fa%23ss@10.0.0.1:7000/3")
    assert url.hosts == (("10.0.0.1", 7000),)
    assert url.credentials == Credentials(username="us@er", password="p/a#ss", db=3)


def test_a_password_without_a_user_is_the_default_users():
    assert read("redis://:secret@h").credentials == Credentials(password="secret")


def test_tls_verifies_by_default():
    url = read("rediss://h?ca_file=/etc/ca.pem")
    assert url.tls is not None
    assert (url.tls.ca_file, url.tls.verify) == ("/etc/ca.pem", True)


def test_tls_checking_can_be_turned_off_only_in_words():
    url = read("rediss://h?verify=no")
    assert url.tls is not None
    assert not url.tls.verify


def test_a_unix_socket_has_a_path_and_maybe_a_database():
    url = read("unix://:pw@/run/a%20b/s.sock?db=2")
    assert (url.path, url.credentials.db, url.credentials.password) == ("/run/a b/s.sock", 2, "pw")


def test_sentinels_have_their_own_port_a_master_and_a_database():
    url = read("redis+sentinel://u:p@s1,s2:5000,[::1]:5001/main/4?sentinel_password=sp")
    assert url.topology is Topology.SENTINEL
    assert url.hosts == (("s1", 26379), ("s2", 5000), ("::1", 5001))
    assert (url.master, url.credentials.db) == ("main", 4)
    assert url.sentinel_credentials.password == "sp"


@pytest.mark.parametrize(
    "hosts",
    ["[::1]:5001", "[::1]", "s1,[::1]", "[::1],s1:7", "[::1]:1,[fe80::2]:2"],
)
def test_addresses_of_ipv6_may_stand_anywhere_among_the_hosts(hosts: str):
    url = read(f"redis+sentinel://:pw@{hosts}/main")
    assert len(url.hosts) == len(hosts.split(","))
    assert any(host == "::1" for host, _ in url.hosts)
    assert StoreSettings(url=f"redis+sentinel://:pw@{hosts}/main").public_url() == (
        f"redis+sentinel://{hosts}/main"
    )


def test_a_cluster_has_many_hosts():
    url = read("rediss+cluster://a:1,b:2")
    assert (url.topology, url.hosts) == (Topology.CLUSTER, (("a", 1), ("b", 2)))
    assert url.tls is not None


def test_an_ipv6_host_needs_no_port():
    assert read("redis://[::1]").hosts == (("::1", 6379),)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begin with"),
        ("http://TOPSECRET@h", "begin with"),
        ("redis+ring://:TOPSECRET@h", "begin with"),
        ("redis://:TOPSECRET@", "a host is missing"),
        ("redis://:TOPSECRET@h:99999", "1 to 65535"),
        ("redis://:TOPSECRET@h:0", "1 to 65535"),
        ("redis://:TOPSECRET@h:x", "1 to 65535"),
        ("redis://:TOP/SECRET@h", "percent-encode"),
        ("redis://:TOP#SECRET@h", "percent-encode"),
        ("redis://:TOP?SECRET@h", "percent-encode"),
        ("redis://:TOP[SECRET@h", "not a URL"),
        ("redis://:TOP[SEC]RET@h", "not a URL"),
        ("redis://:TOPSECRET@h\n.example", "not a URL"),
        ("redis://:TOPSECRET@h/x", "database has to be a number"),
        ("redis://:TOPSECRET@h/-1", "database has to be a number"),
        ("redis://:TOPSECRET@a,b", "several hosts"),
        ("redis://:TOPSECRET@h?timeout=5", "option that is not known"),
        ("redis://:TOPSECRET@h?verify=no", "option that is not known"),
        ("rediss://:TOPSECRET@h?verify=maybe", "yes or no"),
        ("unix://:TOPSECRET@relative/path", "absolute"),
        ("redis+sentinel://:TOPSECRET@h:1", "name of the Sentinel master"),
        ("redis+cluster://:TOPSECRET@h:1/3", "only database 0"),
        ("redis+cluster://:TOPSECRET@" + ",".join(["h"] * 65), "more than 64 hosts"),
    ],
)
def test_a_wrong_url_is_explained_and_never_repeated(url: str, why: str):
    with pytest.raises(InvalidInputError, match=why) as error:
        read(url)
    assert error.value.field == "store.url"
    for part in ("TOP", "SECRET"):
        assert part not in str(error.value)
    assert error.value.__cause__ is None


def test_printing_a_url_shows_no_credentials():
    url = read("redis+sentinel://user:TOPSECRET@h:1/main?sentinel_password=TOPSECRET")
    assert "TOPSECRET" not in f"{url} {url!r}"
    assert "user" not in f"{url} {url!r}"


def test_a_missing_ca_file_is_said_so():
    with pytest.raises(InvalidInputError, match="ca_file cannot be read"):
        tls_context(read("rediss://h?ca_file=/nowhere.pem").tls)
