"""Error replies of Redis and Valkey as kinds."""

import pytest

from router.errors import RefusalKind
from router.store.refusals import refused


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("READONLY You can't write against a read only replica.", RefusalKind.READ_ONLY),
        ("MASTERDOWN Link with MASTER is down", RefusalKind.READ_ONLY),
        ("LOADING Redis is loading the dataset in memory", RefusalKind.LOADING),
        ("MOVED 3999 127.0.0.1:6381", RefusalKind.MOVED),
        ("ASK 3999 127.0.0.1:6381", RefusalKind.MOVED),
        ("CLUSTERDOWN Hash slot not served", RefusalKind.CLUSTER_DOWN),
        ("OOM command not allowed when used memory > 'maxmemory'.", RefusalKind.OUT_OF_MEMORY),
        (
            "ERR Error running script: @user_script:1: -OOM command not allowed",
            RefusalKind.OUT_OF_MEMORY,
        ),
        ("NOSCRIPT No matching script.", RefusalKind.NO_SCRIPT),
        ("BUSY Redis is busy running a script.", RefusalKind.BUSY),
        ("MISCONF Redis is configured to save RDB snapshots", RefusalKind.NOT_SAVING),
        ("NOPERM this user has no permissions", RefusalKind.NOT_ALLOWED),
        ("WRONGTYPE Operation against a key", RefusalKind.WRONG_TYPE),
        ("ERR something else", RefusalKind.OTHER),
        ("", RefusalKind.OTHER),
    ],
)
def test_the_first_word_names_the_kind(text: str, kind: RefusalKind):
    assert refused(text).kind is kind


@pytest.mark.parametrize(
    "text",
    [
        "ERR unknown command 'X', with args beginning with: 'PRIVATE'",
        "ERR unknown command 'PRIVATE'",
        "ERR " + "x" * 300 + "PRIVATE",
    ],
)
def test_what_we_sent_is_not_repeated(text: str):
    assert "PRIVATE" not in str(refused(text))
