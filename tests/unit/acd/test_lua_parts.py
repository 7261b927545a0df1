"""Each Lua operation names the shared parts that it needs, and says in its header what it does."""

import re
from pathlib import Path

import pytest

import router.store
from router.store.scripts import load_script

LUA = Path(router.store.__file__).parent / "lua"
DEFINED = re.compile(r"^local (?:function )?([A-Za-z_]+)", re.MULTILINE)
COMMENT = re.compile(r"--[^\n]*")
TEXT = re.compile(r"'[^'\n]*'")
PARTS = sorted(LUA.glob("_*.lua"))
OPERATIONS = sorted(path.stem for path in LUA.glob("*.lua") if not path.stem.startswith("_"))


def words(source: str) -> set[str]:
    bare = TEXT.sub("", COMMENT.sub("", source))
    return set(re.findall(r"(?<![.\w:])[A-Za-z_]+\b", bare))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_every_shared_function_it_uses(name: str):
    shared = {word for part in PARTS for word in DEFINED.findall(part.read_text())}
    source = load_script(name).source
    own = (LUA / f"{name}.lua").read_text()
    defined = set(DEFINED.findall(source)) | set(re.findall(r"local ([a-z_, ]+)", source))
    assert (words(own) & shared) - defined - words(" ".join(defined)) == set()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_with_what(name: str):
    header = (LUA / f"{name}.lua").read_text().split("\n\n")[0]
    for heading in ("KEYS", "ARGV", "Result"):
        assert heading.lower() in header.lower(), f"{name}.lua says nothing of {heading}"
