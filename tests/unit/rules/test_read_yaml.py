"""Strict YAML: what is text, what is refused, where, and at what cost."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.problems import FileError
from rules.reader import (
    DEEPEST_NESTING,
    LARGEST_FILE_BYTES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    read_yaml,
)


def plain(node: Node):
    match node:
        case ScalarNode():
            return node.text
        case SequenceNode():
            return [plain(item) for item in node.items]
        case MappingNode():
            return {key.text: plain(value) for key, value in node.entries}


def problems_of(text: str | bytes) -> list[tuple[str, int, int]]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(FileError) as caught:
        read_yaml(data, "f.yaml")
    return [(p.code, p.mark.line, p.mark.column) for p in caught.value.problems]


def test_every_scalar_is_text():
    text = "a: NO\nb: 12:30\nc: 0123\nd: ~\ne: 1e3\nf: 2026-12-01\ng: [yes, 0x1F]\n"
    assert plain(read_yaml(text.encode(), "f")) == {
        "a": "NO",
        "b": "12:30",
        "c": "0123",
        "d": "~",
        "e": "1e3",
        "f": "2026-12-01",
        "g": ["yes", "0x1F"],
    }


def test_nothing_is_told_from_an_empty_text():
    node = read_yaml(b'a:\nb: ""\n', "f")
    assert isinstance(node, MappingNode)
    assert [value for _, value in node.entries] == [
        ScalarNode(node.entries[0][1].mark, "", is_quoted=False),
        ScalarNode(node.entries[1][1].mark, "", is_quoted=True),
    ]


def test_marks_count_from_one_in_characters_not_bytes():
    node = read_yaml('é: ["ü", x]\n'.encode(), "f.yaml")
    assert isinstance(node, MappingNode)
    sequence = node.entries[0][1]
    assert isinstance(sequence, SequenceNode)
    assert str(sequence.items[1].mark) == "f.yaml:1:10"


def test_a_byte_order_mark_and_document_markers_are_harmless():
    assert plain(read_yaml(b"\xef\xbb\xbf---\na: b\n...\n", "f")) == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", [("duplicate-key", 3, 1)]),
        ('a: 1\n"a": 3\n', [("duplicate-key", 2, 1)]),
        ("a: &x 1\nb: 2\n", [("anchor", 1, 4)]),
        ("a: 1\nb: *x\n", [("alias", 2, 4)]),
        ("a: !x 1\n", [("tag", 1, 4)]),
        ("a: !!str 1\n", [("tag", 1, 4)]),
        ("a: ! 1\n", [("tag", 1, 4)]),
        ("a: !!python/object:os.system {}\n", [("tag", 1, 4)]),
        ("a: 1\n---\nb: 2\n", [("several-documents", 2, 1)]),
        ("a: 1\n...\n---\n", [("several-documents", 3, 1)]),
        ("%YAML 1.1\n---\na: 1\n", [("directive", 1, 1)]),
        ("# x\r%TAG ! tag:x\r---\ra: 1\n", [("directive", 2, 1)]),
        ("a: 1\n...\n%TAG ! x\n", [("directive", 3, 1)]),
        ("[a, b]: 1\n", [("key-not-text", 1, 1)]),
        ("? {a: b}\n: 1\n", [("key-not-text", 1, 3)]),
        ("? \n: 1\n", [("key-not-text", 1, 2)]),
        ("", [("empty", 1, 1)]),
        ("  \n# only a remark\n", [("empty", 1, 1)]),
        ("a: [1, 2\nb: 3\n", [("syntax", 2, 2)]),
        ("a: b: c\n", [("syntax", 1, 5)]),
        ("a:\n\t- b\n", [("syntax", 2, 1)]),
        ("a: @b\n", [("syntax", 1, 4)]),
        (b"a: b\nc: \xff\n", [("not-utf8", 2, 4)]),
        (b"a: \xed\xa0\x80\n", [("not-utf8", 1, 4)]),
        ("a: b\nc: \x07\n", [("control-character", 2, 4)]),
        ("a: \x00\n", [("control-character", 1, 4)]),
        ("a: \ufeffb\n", [("control-character", 1, 4)]),
        ('a: "\\0"\n', [("control-character", 1, 4)]),
        ('a: "\\e[2J"\n', [("control-character", 1, 4)]),
    ],
)
def test_what_yaml_allows_but_we_do_not_is_refused_at_its_place(
    text: str | bytes, expected: list[tuple[str, int, int]]
):
    assert problems_of(text) == expected


@pytest.mark.parametrize(
    ("text", "place", "found", "expected"),
    [
        ("é: {waiting: >10}\n", (1, 14), ">", "quotes around a text that begins so"),
        ("é: ü\nwaiting: >=10\n", (2, 10), ">", "quotes around a text that begins so"),
        ("a:\n  *: b\n", (2, 3), "*", "quotes around a text that begins so"),
        ("a:\n  %: b\n", (2, 3), "%", "quotes around a text that begins so"),
        ("a: `b`\n", (1, 4), "`", "quotes around a text that begins so"),
        ("a:\n\tb: c\n", (2, 1), "\t", "spaces, not tabs"),
        ("a: b\n\tc: d\n", (2, 1), None, "spaces, not tabs"),
        ("a: Note: b\n", (1, 8), None, "quotes around a text with a colon and a space in it, and"),
        (
            "a: 'It's b'\n",
            (1, 8),
            None,
            "keys that belong together in one column, and nothing after",
        ),
        ("a:\n  b: 1\n c: 2\n", (3, 2), None, "keys that belong together in one column"),
        ("a:\n  - b\n  c: d\n", (3, 3), None, "items that belong together in one column"),
        ("a: {b:{c: d}}\n", (1, 6), None, "a space after the colon"),
        (
            "a: {b: 1}}\n",
            (1, 10),
            None,
            "keys that belong together in one column, and nothing after",
        ),
        ('a: 1\nb: "text\nc: 2\nd: 3\n', (2, 4), None, "quotes that end the text too"),
        ("a: {b: 1\nc: 2\nd: 3\n", (2, 2), None, None),
    ],
)
def test_what_is_no_yaml_is_told_with_what_helps(
    text: str, place: tuple[int, int], found: str | None, expected: str | None
):
    with pytest.raises(FileError) as caught:
        read_yaml(text.encode(), "f")
    (problem,) = caught.value.problems
    assert (problem.code, problem.mark.line, problem.mark.column) == ("syntax", *place)
    assert problem.found == found
    assert (problem.expected or "").startswith(expected or "")
    assert (problem.expected is None) == (expected is None)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: 1\nb:\n\u00a0\u00a0- c: 1\n", "unusual-space", (3, 1)),
        ('a: {time:\u202f"09:00-17:00"}\n', "unusual-space", (1, 5)),
        ("version:\u00a01\ndefault: {end: {}}\n", "syntax", (1, 9)),
        ("a:\n  -\u00a0name: b\n    then: c\n", "syntax", (2, 4)),
    ],
)
def test_spaces_that_are_none_to_yaml_are_told(text: str, code: str, place: tuple[int, int]):
    with pytest.raises(FileError) as caught:
        read_yaml(text.encode(), "f")
    problem = next(one for one in caught.value.problems if one.code == code)
    assert (problem.mark.line, problem.mark.column) == place
    assert (problem.found or "").startswith("U+")
    assert problem.expected == "ordinary spaces"


def test_texts_may_have_any_spaces():
    assert plain(read_yaml("a: Bonjour\u00a0!\n\"b\u00a0c\": 'd\u2009e'\n".encode(), "f")) == {
        "a": "Bonjour\u00a0!",
        "b\u00a0c": "d\u2009e",
    }
    with pytest.raises(FileError) as caught:
        read_yaml("a: 'd\u2009e'\nb: @\n".encode(), "f")
    assert caught.value.problems[0].found == "@"


def test_what_is_not_closed_is_told_with_where_it_began():
    with pytest.raises(FileError) as caught:
        read_yaml(b"a: 1\nb: {c: 1\nd: 2\n", "f")
    assert "it began on line 2" in caught.value.problems[0].message


def test_utf16_is_not_read_as_yaml_would():
    assert problems_of("a: b".encode("utf-16"))[0][0] == "not-utf8"


def test_all_problems_are_found_in_one_go():
    text = "a: &x 1\na: !t *x\n"
    assert problems_of(text)[0] == ("anchor", 1, 4)
    text = "a: &x 1\nb: !t 2\nc: *x\na: 3\n[d]: 4\n"
    codes = [code for code, _, _ in problems_of(text)]
    assert codes == ["anchor", "tag", "alias", "duplicate-key", "key-not-text"]


def test_a_file_may_be_just_one_mebibyte():
    text = b"a: " + b"x" * (LARGEST_FILE_BYTES - 3)
    assert isinstance(read_yaml(text, "f"), MappingNode)
    assert problems_of(text + b"x") == [("too-large", 1, 1)]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_ends_at_its_limit(opening: str):
    closing = {"[": "]", "{a: ": "}", "- ": ""}[opening]
    just = opening * DEEPEST_NESTING + "x" + closing * DEEPEST_NESTING
    assert read_yaml(just.encode(), "f")
    deeper = opening + just + closing
    assert [code for code, _, _ in problems_of(deeper)] == ["too-deep"]


MEBIBYTE = LARGEST_FILE_BYTES

HOSTILE = {
    "open flow sequences": "[" * MEBIBYTE,
    "open flow mappings": "{" * MEBIBYTE,
    "one endless key": "a" * (MEBIBYTE - 3) + ": b",
    "one endless quoted key": '"' + "a" * (MEBIBYTE - 5) + '": b',
    "the same key again and again": "a: a\n" * (MEBIBYTE // 5),
    "different keys": "".join(f"{n}:\n" for n in range(130_000)),
    "explicit keys in each other": "? " * (MEBIBYTE // 2),
    "empty explicit keys": "?\n" * (MEBIBYTE // 2),
    "dashes in each other": "- " * (MEBIBYTE // 2),
    "a huge flow list": "[" + "a," * (MEBIBYTE // 2 - 1) + "]",
    "a huge block list": "-\n" * (MEBIBYTE // 2),
    "deep blocks": "\n".join(" " * n + "a:" for n in range(1440)),
    "anchors": "&a " * (MEBIBYTE // 3),
    "aliases": "- *a\n" * (MEBIBYTE // 5),
    "tags": "- !a b\n" * (MEBIBYTE // 7),
    "an endless tag": "!" + "%41" * (MEBIBYTE // 3),
    "tag directives": "".join(f"%TAG !a{n}! a\n" for n in range(65_000)),
    "tag directives later on": "a\n...\n" + "".join(f"%TAG !a{n}! a\n" for n in range(65_000)),
    "documents": "---\n" * (MEBIBYTE // 4),
    "an open quote": '"' + "a" * (MEBIBYTE - 1),
    "escapes": '"' + "\\n" * (MEBIBYTE // 2 - 1) + '"',
    "quotes": "'" * MEBIBYTE,
    "empty lines": "\n" * MEBIBYTE,
    "empty lines and a word": "\n" * (MEBIBYTE - 1) + "a",
    "space": " " * MEBIBYTE,
    "remarks": "#\n" * (MEBIBYTE // 2 - 1) + "a",
    "a folded block": "a: >\n" + " a\n\n" * (MEBIBYTE // 4 - 2),
    "colons": ": " * (MEBIBYTE // 2),
    "commas": "," * MEBIBYTE,
    "pairs in flow": "[" + "a: b," * (MEBIBYTE // 5 - 1) + "]",
    "mappings in sequences": "[a: b," * (MEBIBYTE // 6),
    "line separators": "a:\u2028 " * (MEBIBYTE // 7),
    "billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
    ),
}

_UNDER_LIMITS = """
import resource, sys
import rules.loader
from rules.problems import FileError
resource.setrlimit(resource.RLIMIT_AS, (600 * 1024 * 1024, 600 * 1024 * 1024))
try:
    rules.loader.parse_document("hostile", "hostile.yaml", sys.stdin.buffer.read(), None)
except FileError as error:
    print(len(error.problems))
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_an_error_in_bounded_time_and_memory(name: str):
    text = HOSTILE[name].encode()
    assert len(text) <= LARGEST_FILE_BYTES
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_LIMITS],
        input=text,
        capture_output=True,
        timeout=60,  # a guard against what never ends; the usual is a fraction of a second
        check=True,
    )
    assert 1 <= int(done.stdout) <= 200


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes):
    try:
        assert read_yaml(data, "f") is not None
    except FileError as error:
        assert error.problems  # noqa: PT017 - both outcomes are right, this one has reasons


@given(st.text("a:-[]{}?&*!|>'\"%@`#, \n\t\x85\u2028", max_size=60))
def test_any_punctuation_is_read_or_refused(text: str):
    try:
        assert read_yaml(text.encode(), "f") is not None
    except FileError as error:
        assert all(p.mark.line >= 1 and p.mark.column >= 1 for p in error.problems)  # noqa: PT017
