"""Error replies of Redis as our own error: the first word names the kind."""

from router.errors import RefusalKind, StoreRefusedError

_KINDS = {
    "READONLY": RefusalKind.READ_ONLY,
    "MASTERDOWN": RefusalKind.READ_ONLY,
    "LOADING": RefusalKind.LOADING,
    "MOVED": RefusalKind.MOVED,
    "ASK": RefusalKind.MOVED,
    "TRYAGAIN": RefusalKind.MOVED,
    "CLUSTERDOWN": RefusalKind.CLUSTER_DOWN,
    "OOM": RefusalKind.OUT_OF_MEMORY,
    "NOSCRIPT": RefusalKind.NO_SCRIPT,
    "BUSY": RefusalKind.BUSY,
    "MISCONF": RefusalKind.NOT_SAVING,
    "NOREPLICAS": RefusalKind.NOT_SAVING,
    "NOAUTH": RefusalKind.NOT_ALLOWED,
    "WRONGPASS": RefusalKind.NOT_ALLOWED,
    "NOPERM": RefusalKind.NOT_ALLOWED,
    "DENIED": RefusalKind.NOT_ALLOWED,
    "WRONGTYPE": RefusalKind.WRONG_TYPE,
}
_ECHOES = (", with args", " '")  # from here on Redis may repeat what we sent
_LONGEST = 200


def refused(text: str) -> StoreRefusedError:
    """The error for an error reply. Its message keeps Redis' words but nothing that we sent."""
    word = text.partition(" ")[0]
    kind = _KINDS.get(word)
    if kind is None and "OOM command not allowed" in text:  # wrapped: raised inside a script
        kind = RefusalKind.OUT_OF_MEMORY
    elif kind is None and "-READONLY" in text:
        kind = RefusalKind.READ_ONLY
    kept = text[:_LONGEST]
    for echo in _ECHOES:
        kept = kept.partition(echo)[0]
    return StoreRefusedError(kept.strip(), kind=kind or RefusalKind.OTHER)
