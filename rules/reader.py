"""YAML, read strictly: bytes in, a tree of nodes with marks out, and every scalar is text.

Only the parser's event stream is used; nothing is ever constructed from a tag, and what makes YAML
surprising or dangerous (anchors, aliases, tags, directives, several documents, duplicate keys) is a
problem. Types are the business of the field that is read: see `rules/fields.py`.

Work is bounded before and while parsing: size, depth and number of values are capped, and directives
are refused before the parser sees them, because libyaml compares each with all earlier ones.
"""

import re
from collections.abc import Iterator
from typing import NoReturn

import msgspec
import yaml

from rules.problems import Mark, ProblemList, shorten
from rules.yaml_errors import UNUSUAL_SPACE, in_code, syntax_problem

LARGEST_FILE_BYTES = 1024 * 1024
DEEPEST_NESTING = 32
MOST_VALUES = 200_000


class ScalarNode(msgspec.Struct, frozen=True):
    """One text. `is_quoted` tells `""` from nothing at all, and `"absent"` from `absent`."""

    mark: Mark
    text: str
    is_quoted: bool = False


class SequenceNode(msgspec.Struct, frozen=True):
    mark: Mark
    items: tuple["Node", ...]


class MappingNode(msgspec.Struct, frozen=True):
    """Keys are unique, in file order."""

    mark: Mark
    entries: tuple[tuple[ScalarNode, "Node"], ...]


Node = ScalarNode | SequenceNode | MappingNode


def read_yaml(text: bytes, file: str) -> Node:
    """The one document in `text`; `file` is what marks will say.

    Raises FileError with every problem found. For a typed reading with all problems of both kinds
    at once, use `rules.fields.read_all`.
    """
    problems = ProblemList()
    node = read_tree(text, file, problems)
    problems.raise_if_any()
    if node is None:
        raise AssertionError("no tree and no problem")
    return node


def read_tree(text: bytes, file: str, problems: ProblemList) -> Node | None:
    """Like `read_yaml`, but adds what is wrong to `problems` and goes on where that makes sense.

    None when there is no tree to go on with.
    """
    try:
        decoded = _decode(text, file, problems)
        return _TreeBuilder(file, problems).build(_events(decoded, file, problems))
    except _NoTreeError:
        return None


class _NoTreeError(Exception):
    """The reason is in the list of problems already."""


_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what libyaml counts as the end of a line
_DIRECTIVE = re.compile("(?:\\A|(?<=[\r\n\x85\u2028\u2029]))%")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_CONTENT = re.compile(r"(?:\A|[\r\n])[ \t]*[^\s#]")


def _decode(text: bytes, file: str, problems: ProblemList) -> str:
    start = Mark(file, 1, 1)
    if len(text) > LARGEST_FILE_BYTES:
        problems.add(
            start,
            "too-large",
            "the file is too large",
            found=f"{len(text)} bytes",
            expected=f"at most {LARGEST_FILE_BYTES} bytes",
        )
        raise _NoTreeError
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8", "replace")
        problems.add(_mark_at(before, len(before), file), "not-utf8", "this is not UTF-8")
        raise _NoTreeError from None
    for match in _CONTROL.finditer(decoded):
        problems.add(
            _mark_at(decoded, match.start(), file),
            "control-character",
            "a control character",
            found=in_code(match[0]),
        )
        raise _NoTreeError
    if directive := _DIRECTIVE.search(decoded):
        problems.add(
            _mark_at(decoded, directive.start(), file),
            "directive",
            "YAML directives are not allowed",
            found="%",
        )
        raise _NoTreeError
    return decoded


def _mark_at(text: str, offset: int, file: str) -> Mark:
    line, start = 1, 0
    for match in _BREAK.finditer(text, 0, offset):
        line, start = line + 1, match.end()
    return Mark(file, line, offset - start + 1)


def _events(text: str, file: str, problems: ProblemList) -> Iterator[yaml.Event]:
    if not _CONTENT.search(text):
        problems.add(Mark(file, 1, 1), "empty", "the file is empty")
        raise _NoTreeError
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        found = syntax_problem(error, text)
        problems.add(
            Mark(file, found.line + 1, found.column + 1),
            "syntax",
            f"not valid YAML: {found.message}",
            found=found.found,
            expected=found.expected,
        )
        raise _NoTreeError from None
    except yaml.YAMLError as error:
        problems.add(Mark(file, 1, 1), "syntax", f"not valid YAML: {shorten(str(error))}")
        raise _NoTreeError from None


def _mark_of(event: yaml.Event, file: str) -> Mark:
    place = event.start_mark
    return Mark(file, 1, 1) if place is None else Mark(file, place.line + 1, place.column + 1)


class _Open:
    """A collection whose end has not been seen."""

    __slots__ = ("entries", "first_lines", "is_mapping", "items", "key", "mark")

    def __init__(self, mark: Mark, *, is_mapping: bool) -> None:
        self.mark = mark
        self.is_mapping = is_mapping
        self.items: list[Node] = []
        self.entries: list[tuple[ScalarNode, Node]] = []
        self.first_lines: dict[str, int] = {}
        self.key: ScalarNode | None = None


class _TreeBuilder:
    """How it works: a stack of open collections; every finished node is put into the topmost one."""

    def __init__(self, file: str, problems: ProblemList) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._values = 0

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        for event in events:
            mark = _mark_of(event, self._file)
            match event:
                case yaml.DocumentStartEvent() if self._root is not None:
                    self._problem(mark, "several-documents", "a file holds one document")
                    break
                case yaml.ScalarEvent():
                    self._check_node(event, mark)
                    self._put(self._scalar(event, mark))
                case yaml.AliasEvent():
                    self._problem(mark, "alias", "aliases are not allowed", f"*{event.anchor}")
                    self._put(ScalarNode(mark, ""))
                case yaml.CollectionStartEvent():
                    self._check_node(event, mark)
                    self._open(mark, is_mapping=isinstance(event, yaml.MappingStartEvent))
                case yaml.CollectionEndEvent():
                    self._close()
                case _:
                    pass  # starts and ends of the stream and of its document
        return self._root

    def _check_node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, mark: Mark) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            self._give_up(mark, "too-many-values", f"more than {MOST_VALUES} values")
        if event.anchor is not None:
            self._problem(mark, "anchor", "anchors are not allowed", f"&{event.anchor}")
        tag: str | None = event.tag
        if tag is not None:
            self._problem(mark, "tag", "tags are not allowed", tag)

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> ScalarNode:
        text: str = event.value
        if control := _CONTROL.search(text):
            self._problem(mark, "control-character", "a control character", in_code(control[0]))
        return ScalarNode(mark, text, bool(event.style))

    def _open(self, mark: Mark, *, is_mapping: bool) -> None:
        if len(self._stack) >= DEEPEST_NESTING:
            self._give_up(mark, "too-deep", f"nested deeper than {DEEPEST_NESTING}")
        self._stack.append(_Open(mark, is_mapping=is_mapping))

    def _close(self) -> None:
        done = self._stack.pop()
        self._put(
            MappingNode(done.mark, tuple(done.entries))
            if done.is_mapping
            else SequenceNode(done.mark, tuple(done.items))
        )

    def _put(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        if not top.is_mapping:
            top.items.append(node)
        elif top.key is None:
            top.key = self._key(node)
        else:
            key, top.key = top.key, None
            self._put_entry(top, key, node)

    def _key(self, node: Node) -> ScalarNode:
        if isinstance(node, ScalarNode) and (node.text or node.is_quoted):
            unusual = None if node.is_quoted else UNUSUAL_SPACE.search(node.text)
            if unusual is None:
                return node
            message, sign = "a key with a space of another kind", in_code(unusual[0])
            self._problem(node.mark, "unusual-space", message, sign, "ordinary spaces")
            return ScalarNode(node.mark, "")
        found = None if isinstance(node, ScalarNode) else "a collection"
        self._problem(node.mark, "key-not-text", "a key has to be text", found)
        return ScalarNode(node.mark, "")

    def _put_entry(self, top: _Open, key: ScalarNode, node: Node) -> None:
        if not key.text and not key.is_quoted:
            return  # reported by _key
        first_line = top.first_lines.get(key.text)
        if first_line is not None:
            message = f"this key stands on line {first_line} already"
            self._problem(key.mark, "duplicate-key", message, key.text)
            return
        top.first_lines[key.text] = key.mark.line
        top.entries.append((key, node))

    def _problem(
        self,
        mark: Mark,
        code: str,
        message: str,
        found: str | None = None,
        expected: str | None = None,
    ) -> None:
        self._problems.add(mark, code, message, found=found, expected=expected)

    def _give_up(self, mark: Mark, code: str, message: str) -> NoReturn:
        self._problem(mark, code, message)
        raise _NoTreeError
