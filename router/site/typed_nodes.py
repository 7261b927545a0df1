"""From the nodes of a strictly read file to our Structs: types, ranges and defaults are the Structs' own.

The settings, the site and (as JSON) the management API share one description of every field, its
annotation. Nothing is guessed: text becomes a number or a truth only where the field is one. All
problems are collected, each with its place and, for names, the nearest known one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import inspect

from router.site.optional import not_none
from router.site.secret_refs import EnvName, FileName, SecretRef
from router.site.texts import form_in_words
from rules.problems import Mark, ProblemList
from rules.reader import LARGEST_FILE_BYTES, MappingNode, Node, ScalarNode, SequenceNode

StructT = TypeVar("StructT", bound=msgspec.Struct)

Wrong: Final = object()
"""What a reading gives when the problem has been noted."""

Hook = Callable[[Node, str], object]
"""Reads one type in its own way: (node, path) to a value or `Wrong`, problems noted by itself."""

_NEVER_SHOWN = frozenset({"secret", "previous_secret", "value", "url"})
"""Fields that hold a secret, or may hold one by mistake: what was found there is not repeated."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")


class StructReader:
    """Reads Structs from nodes; relative paths in fields of type Path are taken from `folder`.

    `hooks` replace the reading of single Struct types.
    """

    def __init__(
        self,
        problems: ProblemList,
        *,
        folder: Path = Path(),
        hooks: Mapping[type[msgspec.Struct], Hook] | None = None,
    ) -> None:
        self._problems = problems
        self._folder = folder
        self._hooks = hooks or {}

    def read(self, node: Node, type_: type[StructT], path: str = "") -> StructT | None:
        """The Struct, or None when something was wrong with it (all of it is noted)."""
        value = self.value(node, type_info(type_), path)
        return value if isinstance(value, type_) else None

    def value(self, node: Node, kind: inspect.Type, path: str) -> object:
        """One value of the type, or `Wrong`."""
        match kind:
            case inspect.UnionType():
                return self.value(node, not_none(kind), path)
            case inspect.StructType():
                hook = self._hooks.get(kind.cls)
                return hook(node, path) if hook else self._struct(node, kind, path)
            case inspect.DictType():
                return self._dict(node, kind, path)
            case inspect.VarTupleType():
                return self._tuple(node, kind, path)
            case _ if isinstance(node, ScalarNode):
                return self._scalar(node, kind, path)
            case _:
                return self._wrong(node, path, "one value is wanted here", _expected(kind))

    def _scalar(self, node: ScalarNode, kind: inspect.Type, path: str) -> object:
        match kind:
            case inspect.IntType():
                return self._int(node, kind, path)
            case inspect.BoolType():
                return self._choice(node, {"true": True, "false": False}, path)
            case inspect.EnumType():
                return self._choice(node, {str(item.value): item for item in kind.cls}, path)
            case inspect.LiteralType():
                return self._choice(node, {str(value): value for value in kind.values}, path)
            case inspect.StrType():
                return self._str(node, kind, path)
            case inspect.CustomType(cls=cls) if cls is Path:
                return self._path(node, path)
            case _:
                message = f"no way to read a {kind}"
                raise AssertionError(message)

    def _struct(self, node: Node, kind: inspect.StructType, path: str) -> object:
        if not isinstance(node, MappingNode):
            return self._wrong(node, path, "keys and values are wanted here")
        fields = {field.name: field for field in kind.fields}
        values: dict[str, object] = {}
        for key, item in node.entries:
            place = f"{path}.{key.text}".removeprefix(".")
            if field := fields.get(key.text):
                values[key.text] = self.value(item, field.type, place)
            else:
                values[key.text] = Wrong
                self._problems.add(
                    key.mark,
                    "unknown-key",
                    "there is no such key",
                    path=place,
                    found=key.text,
                    expected="one of " + ", ".join(fields),
                    known=fields,
                )
        for name, field in fields.items():
            if field.required and name not in values:
                values[name] = Wrong
                message = f"the key {name} is missing"
                self._problems.add(node.mark, "missing-key", message, path=path)
        if any(value is Wrong for value in values.values()):
            return Wrong
        try:
            return kind.cls(**values)
        except ValueError as error:
            return self._wrong(node, path, str(error))

    def _dict(self, node: Node, kind: inspect.DictType, path: str) -> object:
        if not isinstance(node, MappingNode):
            return self._wrong(node, path, "keys and values are wanted here")
        if kind.max_length is not None and len(node.entries) > kind.max_length:
            return self._wrong(node, path, "too many", f"at most {kind.max_length}")
        values: dict[object, object] = {}
        for key, item in node.entries:
            place = f"{path}.{key.text}"
            name = self.value(key, kind.key_type, place)
            value = self.value(item, kind.value_type, place)
            values[Wrong if Wrong in (name, value) else name] = value
        return Wrong if Wrong in values else values

    def _tuple(self, node: Node, kind: inspect.VarTupleType, path: str) -> object:
        if not isinstance(node, SequenceNode):
            return self._wrong(node, path, "a list is wanted here", "[first, second, ...]")
        if kind.max_length is not None and len(node.items) > kind.max_length:
            return self._wrong(node, path, "too many", f"at most {kind.max_length}")
        values = tuple(
            self.value(item, kind.item_type, f"{path}[{position}]")
            for position, item in enumerate(node.items)
        )
        return Wrong if any(value is Wrong for value in values) else values

    def _int(self, node: ScalarNode, kind: inspect.IntType, path: str) -> object:
        expected = _expected(kind)
        if not _INTEGER.match(node.text):
            return self._wrong(node, path, "a whole number is wanted here", expected)
        number = int(node.text)
        if (kind.ge is not None and number < kind.ge) or (kind.le is not None and number > kind.le):
            return self._wrong(node, path, "this number is out of range", expected)
        return number

    def _str(self, node: ScalarNode, kind: inspect.StrType, path: str) -> object:
        length = len(node.text)
        if length == 0 and not node.is_quoted:
            return self._wrong(node, path, "a value is missing here")
        if length < (kind.min_length or 0):
            return self._wrong(node, path, "too short", f"at least {kind.min_length} characters")
        if kind.max_length is not None and length > kind.max_length:
            return self._wrong(node, path, "too long", f"at most {kind.max_length} characters")
        if kind.pattern is not None and not re.search(kind.pattern, node.text):
            expected = form_in_words(kind.pattern)
            return self._wrong(node, path, "this text has not the right form", expected)
        return node.text

    def _path(self, node: ScalarNode, path: str) -> object:
        if not node.text or "\0" in node.text:
            return self._wrong(node, path, "a path is wanted here")
        return self._folder / node.text

    def _choice(self, node: ScalarNode, choices: Mapping[str, object], path: str) -> object:
        if node.text in choices:
            return choices[node.text]
        expected = "one of " + ", ".join(choices)
        self._problems.add(
            node.mark,
            "unknown-value",
            "this is not one of the allowed values",
            path=path,
            found=node.text,
            expected=expected,
            known=choices,
        )
        return Wrong

    def _wrong(self, node: Node, path: str, message: str, expected: str | None = None) -> object:
        shown = isinstance(node, ScalarNode) and path.rpartition(".")[2] not in _NEVER_SHOWN
        found = node.text if isinstance(node, ScalarNode) and shown else None
        self._problems.add(
            node.mark, "wrong-type", message, path=path, found=found, expected=expected
        )
        return Wrong


@cache
def type_info(type_: type[msgspec.Struct]) -> inspect.Type:
    """What msgspec knows of the type: fields, ranges, defaults."""
    return inspect.type_info(type_)


def mark_at(tree: Node, path: Sequence[str | int]) -> Mark:
    """The place of a value; of the nearest one around it that is there."""
    mark = tree.mark
    for step in path:
        child: Node | None = None
        if isinstance(tree, MappingNode):
            child = next((node for key, node in tree.entries if key.text == step), None)
        elif isinstance(tree, SequenceNode) and isinstance(step, int):
            child = tree.items[step]
        if child is None:
            return mark
        tree, mark = child, child.mark
    return mark


def _expected(kind: inspect.Type) -> str | None:
    if isinstance(kind, inspect.IntType) and kind.ge is not None and kind.le is not None:
        return f"{kind.ge} to {kind.le}"
    if isinstance(kind, inspect.EnumType):
        return "one of " + ", ".join(str(item.value) for item in kind.cls)
    return None


def read_bounded(path: Path) -> bytes:
    """The bytes of a file, no more than the strict loader takes; FileError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        problems = ProblemList()
        reason = error.strerror or type(error).__name__
        problems.add(Mark(str(path), 1, 1), "unreadable", f"the file cannot be read: {reason}")
        problems.raise_if_any()
        raise AssertionError from error


class _Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as files name it: where it is, never what it is."""

    env: EnvName | None = None
    file: FileName | None = None


def secret_hook(problems: ProblemList) -> Mapping[type[msgspec.Struct], Hook]:
    """Reads secrets in files: `{env: NAME}` or `{file: PATH}`, and no literal ones."""

    def read(node: Node, path: str) -> object:
        if not isinstance(node, MappingNode) or any(key.text == "value" for key, _ in node.entries):
            message = "a secret does not stand in a file that is shown around"
            expected = "{env: NAME} or {file: PATH}"
            problems.add(node.mark, "literal-secret", message, path=path, expected=expected)
            return Wrong
        found = StructReader(problems).read(node, _Reference, path)
        if found is None:
            return Wrong
        if (found.env is None) == (found.file is None):
            message = "exactly one of env and file is wanted"
            problems.add(node.mark, "wrong-type", message, path=path)
            return Wrong
        return SecretRef(env=found.env, file=found.file)

    return {SecretRef: read}
