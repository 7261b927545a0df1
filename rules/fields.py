"""Typed fields out of a node tree, with every problem noted and none of them fatal to the next field.

How it works. A *reader* is a callable that makes a value of one type out of a `Value` (a node, its
path, and the list that problems go to) or raises UnreadableError after noting why not. `Fields` takes
a mapping apart with readers, and holds such errors back until `done()`:

    def read_http(value: Value) -> HttpSettings:
        fields = Fields(value)
        host = fields.optional("host", Text(), "127.0.0.1")
        port = fields.required("port", Integer(1, 65535))
        fields.done()           # notes unknown keys; raises if anything was wrong
        return HttpSettings(host=host, port=port)

What a field returned may be looked at only after `done()`: before, it may be missing although its
type says otherwise. Readers for single texts stand in `rules/scalars.py`; `read_all` at the end of
this file goes from bytes to the finished value.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NoReturn, TypeVar, cast

import msgspec

from rules.problems import Mark, ProblemList, shorten
from rules.reader import MappingNode, Node, ScalarNode, SequenceNode, read_tree

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S")
K = TypeVar("K")


class UnreadableError(Exception):
    """A value cannot be made; why is in the list of problems already."""


class Value(msgspec.Struct, frozen=True):
    """A node to be read, `path` being its place in words (`rules[2].when.queue`)."""

    node: Node
    path: str
    problems: ProblemList

    @property
    def mark(self) -> Mark:
        return self.node.mark

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing after the key: no text, not even an empty one in quotes."""
        node = self.node
        return isinstance(node, ScalarNode) and not node.text and not node.is_quoted

    @property
    def is_scalar(self) -> bool:
        return isinstance(self.node, ScalarNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, SequenceNode)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, MappingNode)

    def text(self, expected: str) -> str:
        """The text of a scalar that is not nothing; `expected` says what is wanted, for the problem."""
        if not isinstance(self.node, ScalarNode) or self.is_nothing:
            self.fail("wrong-type", f"this is not {expected}", expected)
        return self.node.text

    def items(self) -> list["Value"]:
        """The items of a list; nothing at all is an empty list."""
        if self.is_nothing:
            return []
        if not isinstance(self.node, SequenceNode):
            self.fail("wrong-type", "this is not a list", "a list")
        path, problems = self.path, self.problems
        return [Value(item, f"{path}[{at}]", problems) for at, item in enumerate(self.node.items)]

    def entries(self) -> list["Entry"]:
        """The entries of a mapping, in file order; nothing at all is an empty mapping."""
        if self.is_nothing:
            return []
        if not isinstance(self.node, MappingNode):
            self.fail("wrong-type", "this is not a mapping", "a mapping")
        prefix = f"{self.path}." if self.path else ""
        found = []
        for key, node in self.node.entries:
            path = prefix + shorten(key.text)
            place = Value(key, path, self.problems)
            found.append(Entry(key.text, place, Value(node, path, self.problems)))
        return found

    def note(
        self,
        code: str,
        message: str,
        expected: str | None = None,
        *,
        found: str | None = None,
        known: Collection[str] = (),
    ) -> None:
        """Add a problem at this place. `found` None: what stands here."""
        self.problems.add(
            self.mark,
            code,
            message,
            path=self.path,
            found=self.describe() if found is None else found,
            expected=expected,
            known=known,
        )

    def fail(
        self,
        code: str,
        message: str,
        expected: str | None = None,
        *,
        found: str | None = None,
        known: Collection[str] = (),
    ) -> NoReturn:
        """Add a problem at this place and give this value up."""
        self.note(code, message, expected, found=found, known=known)
        raise UnreadableError

    def describe(self) -> str:
        """What stands here, in a few words."""
        match self.node:
            case ScalarNode(text=text):
                return "nothing" if self.is_nothing else text
            case SequenceNode():
                return "a list"
            case MappingNode():
                return "a mapping"


class Entry(msgspec.Struct, frozen=True):
    """One entry of a mapping: its name, the key as a place for problems, and the value."""

    name: str
    key: Value
    value: Value


Reader = Callable[[Value], T]


class Fields:
    """The fields of one mapping; see the module's text. Every key is asked for once."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self._entries = {entry.name: entry for entry in value.entries()}
        self._known: list[str] = []
        self.has_failed = False
        """Whether anything was wrong so far: until then, what was returned is what it says."""

    @property
    def mark(self) -> Mark:
        return self._value.mark

    def has(self, key: str) -> bool:
        """Whether the key is there, whatever it holds."""
        return key in self._entries

    def mark_of(self, key: str) -> Mark | None:
        """Where the value of a key stands; None when the key is absent."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value.mark

    def names_in(self, key: str) -> list[str]:
        """The keys of the mapping that stands under `key`, readable or not."""
        entry = self._entries.get(key)
        if entry is None or not entry.value.is_mapping:
            return []
        return [name.name for name in entry.value.entries()]

    def required(self, key: str, read: Reader[T]) -> T:
        """The value of a key that has to be there."""
        self._known.append(key)
        if key in self._entries:
            return self._read(key, read)
        self.has_failed = True
        self._value.problems.add(
            self._value.mark,
            "missing-key",
            f"the key {key!r} is missing",
            path=self._value.path,
            expected=key,
        )
        return cast("T", None)  # done() raises before anybody can look at it

    def optional(self, key: str, read: Reader[T], default: D = None) -> T | D:  # type: ignore[assignment]  # D is None then
        """The value of a key, or `default` where the key is absent."""
        self._known.append(key)
        return self._read(key, read) if key in self._entries else default

    def fail(
        self,
        key: str,
        code: str,
        message: str,
        expected: str | None = None,
        *,
        known: Collection[str] = (),
    ) -> None:
        """Note a problem about a field that was readable; `done` will raise."""
        self.has_failed = True
        self._entries[key].value.note(code, message, expected, known=known)

    def done(self) -> None:
        """Note unknown keys; raise UnreadableError if anything at all was wrong."""
        known = set(self._known)
        for name, entry in self._entries.items():
            if name not in known:
                self.has_failed = True
                entry.key.note("unknown-key", "unknown key", one_of(self._known), known=known)
        if self.has_failed:
            raise UnreadableError

    def _read(self, key: str, read: Reader[T]) -> T:
        try:
            return read(self._entries[key].value)
        except UnreadableError:
            self.has_failed = True
            return cast("T", None)  # done() raises before anybody can look at it


def one_of(names: Collection[str]) -> str:
    """`one of a, b, c`, for a problem; long lists are cut."""
    shown = list(names)[:40]
    more = ", ..." if len(names) > len(shown) else ""
    return f"one of {', '.join(shown)}{more}" if shown else "no key at all"


def each(sources: Collection[S], read: Callable[[S], T]) -> tuple[T, ...]:
    """All of them (values or entries) read; raises UnreadableError only after the last."""
    result: list[T] = []
    for source in sources:
        try:
            result.append(read(source))
        except UnreadableError:
            continue
    if len(result) < len(sources):
        raise UnreadableError
    return tuple(result)


def list_of(read: Reader[T], *, most: int | None = None) -> Reader[tuple[T, ...]]:
    """A list, each item read by `read`; at most `most` items."""

    def read_list(value: Value) -> tuple[T, ...]:
        values = value.items()
        _check_count(value, len(values), most, "items")
        return each(values, read)

    return read_list


def _check_count(value: Value, count: int, most: int | None, noun: str) -> None:
    if most is not None and count > most:
        expected = f"at most {most} {noun}"
        value.fail("too-many", f"too many {noun}", expected, found=f"{count} {noun}")


def one_or_more(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Either one value or a list of at least one."""

    def read_some(value: Value) -> tuple[T, ...]:
        if not value.is_list:
            return (read(value),)
        values = value.items()
        if not values:
            value.fail("empty-list", "this list is empty", "one or more values", found="[]")
        return each(values, read)

    return read_some


def both(entry: Entry, read_key: Reader[K], read: Reader[T]) -> tuple[K, T]:
    """Key and value; what is wrong with one of them does not hide what is wrong with the other."""
    try:
        key = read_key(entry.key)
    except UnreadableError:
        read(entry.value)
        raise
    return key, read(entry.value)


def mapping_of(
    read_key: Reader[K], read: Reader[T], *, most: int | None = None
) -> Reader[Mapping[K, T]]:
    """A mapping with keys of the file's own choosing, both sides read; at most `most` entries."""

    def read_mapping(value: Value) -> Mapping[K, T]:
        entries = value.entries()
        _check_count(value, len(entries), most, "entries")
        return dict(each(entries, lambda entry: both(entry, read_key, read)))

    return read_mapping


def exactly_one(readers: Mapping[str, Reader[T]], noun: str) -> Reader[T]:
    """A mapping with exactly one key, which chooses the reader of its value."""

    def read_one(value: Value) -> T:
        expected = f"exactly {one_of(readers)}"
        if not value.is_mapping:
            value.fail("wrong-type", f"this is no {noun}", expected)
        entries = value.entries()
        unknown = [entry for entry in entries if entry.name not in readers]
        for entry in unknown:
            entry.key.note("unknown-key", "unknown key", one_of(readers), known=readers)
        if len(entries) != 1:
            found = ", ".join(entry.name for entry in entries[:10]) or "no key"
            value.fail("not-one-key", f"this has to be one {noun}", expected, found=found)
        if unknown:
            raise UnreadableError
        return readers[entries[0].name](entries[0].value)

    return read_one


def read_node(node: Node, problems: ProblemList, read: Reader[T]) -> T:
    """A finished value from a tree, e.g. one put together from several sources.

    Raises FileError with everything in `problems`, what was in there before included.
    """
    try:
        result = read(Value(node, "", problems))
    except UnreadableError:
        problems.raise_if_any()
        raise
    problems.raise_if_any()
    return result


def read_all(text: bytes, file: str, read: Reader[T]) -> T:
    """A finished value from the bytes of a file; FileError carries all problems of all kinds."""
    problems = ProblemList()
    node = read_tree(text, file, problems)
    if node is None:
        problems.raise_if_any()
        raise AssertionError("no tree and no problem")
    return read_node(node, problems, read)
