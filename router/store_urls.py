"""The parts of a store's URL, which may name several hosts."""

from urllib.parse import SplitResult, urlsplit


def split_store_url(url: str) -> SplitResult:
    """As `urlsplit`; ValueError for what is none.

    With its security mends (Debian's Python 3.11.2 has them) that takes an IPv6 address only as the
    first and one host of a URL: `redis+sentinel://s1:26379,[::2]:26379/main` is none for it. So the
    hosts are not shown to it.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return urlsplit(url)
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    hosts = rest[:end]
    if not hosts.isprintable() or set(hosts.rpartition("@")[0]) & set("[]"):
        raise ValueError
    return urlsplit(f"{scheme}://{rest[end:]}")._replace(netloc=hosts)
