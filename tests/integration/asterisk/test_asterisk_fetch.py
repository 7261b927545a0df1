"""Fetching Asterisk is repeatable and says clearly why it fails."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.asterisk.instance import HERE, TREE, AsteriskMissingError, Instance, free_ports

FETCH = HERE / "fetch.sh"


def fetch(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FETCH, folder],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_second_run_does_nothing_and_names_the_version(asterisk: Instance):
    before = (TREE / "packages").stat().st_mtime_ns
    done = fetch(TREE, CROSSPOINT_DEBIAN_MIRROR="http://127.0.0.1:9/debian")
    assert done.returncode == 0
    assert done.stdout.startswith("Asterisk 1:22.")
    assert (TREE / "packages").stat().st_mtime_ns == before


def test_an_unreachable_mirror_is_named_and_nothing_is_left_that_looks_complete(tmp_path: Path):
    done = fetch(tmp_path / "tree", CROSSPOINT_DEBIAN_MIRROR="http://127.0.0.1:9/debian")
    assert done.returncode == 1
    assert "fetch.sh: cannot read http://127.0.0.1:9/debian sid" in done.stderr
    assert not (tmp_path / "tree" / "packages").exists()


def test_an_instance_without_asterisk_says_what_to_run(tmp_path: Path):
    with pytest.raises(AsteriskMissingError, match=r"run deploy/asterisk/fetch\.sh"):
        Instance(folder=tmp_path, ports=free_ports(), tree=tmp_path / "none").start()
