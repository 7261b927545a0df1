"""`crosspoint pin` against a real Redis."""

from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from router.cli.main import cli
from router.telephony.pins import is_pin

SITE = "version: 1\ntenant: acme\nagents: [{id: ada, name: Ada}]\n"


def test_a_pin_is_kept_as_a_hash_and_removed_again(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CROSSPOINT_STORE__URL", redis_url)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    (tmp_path / "site.yaml").write_text(SITE)
    assert run(cli, ["apply", "site.yaml"]).exit_code == 0
    assert run(cli, ["pin", "ada", "--tenant", "acme"], input="4711\n4711\n").exit_code == 0
    with redis.Redis.from_url(redis_url) as client:
        kept = client.hget("cp:{acme}:pins", "ada")
        assert isinstance(kept, bytes)
        assert is_pin("4711", kept.decode())
        refused = run(cli, ["pin", "ada", "--tenant", "acme"], input="12\n12\n")
        assert refused.exit_code == 2
        assert run(cli, ["pin", "ada", "--tenant", "acme", "--remove"]).exit_code == 0
        assert client.hget("cp:{acme}:pins", "ada") is None
