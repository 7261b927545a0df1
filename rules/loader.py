"""From a rules file on disk to a Document: the only place that knows the order of things in a file.

Names are gathered before anything refers to them, and `default` is read before the rules, because
it stands in wherever an action leaves `otherwise` out. Everything that is wrong is reported at once.
"""

import hashlib
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from rules.actions import DEFAULT_RULE, Target
from rules.conditions import AllOf
from rules.document import Document, Rule
from rules.fields import Entry, Fields, Reader, T, Value, each, list_of, mapping_of, read_all
from rules.lists import LARGEST_CSV_BYTES, ListReader, ReadCsv
from rules.parse_actions import NAME, ActionReader, TargetReader
from rules.parse_calendars import calendar_reader
from rules.parse_cases import CaseReader
from rules.parse_conditions import ConditionReader
from rules.parse_numbers import Country, PhoneNumber
from rules.parse_times import TimeZone
from rules.problems import FileError, Mark, Problem
from rules.reader import LARGEST_FILE_BYTES
from rules.scalars import Integer, Text
from rules.scope import Scope

MOST_RULES = 10_000
MOST_CASES = 10_000
MOST_NAMES = 10_000
VERSION = Integer(1, 1)
DESCRIPTION = Text(least=0, most=2000)

_DIGEST_CHARACTERS = 16


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A rules file and the CSV lists it names, byte for byte: all that a Document is made from."""

    name: str
    file: str
    text: bytes
    csv: Mapping[str, bytes] = {}


def load_document(path: Path) -> Document:
    """Read a rules file and the CSV lists beside it; its stem is the ruleset's name.

    Raises FileError with all problems, one of them if the file itself cannot be read.
    """
    return load_source(path)[0]


def load_source(path: Path, on_csv: Callable[[str], None] | None = None) -> tuple[Document, Source]:
    """Like `load_document`, with what it was read from.

    `on_csv` hears the name of every CSV list before it is read, of those that cannot be read too.
    """
    try:
        text = _read_file(path, LARGEST_FILE_BYTES)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise FileError(
            [
                Problem(
                    mark=Mark(str(path), 1, 1),
                    code="unreadable-file",
                    message=f"this file cannot be read: {why}",
                )
            ]
        ) from error
    csv: dict[str, bytes] = {}
    beside = _csv_beside(path)

    def read_csv(name: str) -> bytes:
        if on_csv is not None:
            on_csv(name)
        csv[name] = beside(name)
        return csv[name]

    document = parse_document(path.stem, str(path), text, read_csv)
    return document, Source(name=path.stem, file=path.name, text=text, csv=csv)


def parse_source(source: Source) -> Document:
    """The document again, from what it was read from. Raises FileError."""

    def read_csv(name: str) -> bytes:
        if name not in source.csv:
            raise OSError(None, "it was not kept")
        return source.csv[name]

    return parse_document(source.name, source.file, source.text, read_csv)


def parse_document(name: str, file: str, text: bytes, read_csv: ReadCsv) -> Document:
    """Parse a rules file from its bytes; `file` is what marks say.

    `read_csv` gives the bytes of a CSV file by its path relative to the rules file, or raises
    OSError. Raises FileError with all problems.
    """
    return read_all(text, file, _DocumentReader(name, file, text, read_csv))


def _read_file(path: Path, most: int) -> bytes:
    """At most one byte more than `most`, so that the reader can tell; never waits on a pipe."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(None, "it is not a regular file")
    with path.open("rb") as file:
        return file.read(most + 1)


def _csv_beside(path: Path) -> ReadCsv:
    folder = path.parent.resolve()

    def read_csv(name: str) -> bytes:
        found = (folder / name).resolve()
        if not found.is_relative_to(folder):
            raise OSError(None, "it is outside the folder of the rules file")
        return _read_file(found, LARGEST_CSV_BYTES)

    return read_csv


class _DocumentReader:
    """Reads the one mapping a rules file is."""

    def __init__(self, name: str, file: str, text: bytes, read_csv: ReadCsv) -> None:
        self._name = name
        self._file = file
        self._text = text
        self._read_csv = read_csv

    def __call__(self, value: Value) -> Document:
        fields = Fields(value)
        fields.required("version", VERSION)
        description = fields.optional("description", DESCRIPTION)
        timezone = fields.optional("timezone", TimeZone(), "UTC")
        country = fields.optional("country", Country())
        number = PhoneNumber(country, fields.has("country") and country is None)

        calendars = fields.optional("calendars", _named(calendar_reader(timezone)), {})
        lists_reader = ListReader(self._file, number, self._read_csv)
        lists = fields.optional("lists", _named(lists_reader), {})
        targets: dict[str, Target | None] = dict.fromkeys(fields.names_in("targets"))
        target_marks: dict[str, Mark] = {}
        fields.optional("targets", partial(_read_targets, number, targets, target_marks))
        scope = Scope(
            number=number,
            calendars=frozenset(fields.names_in("calendars")),
            lists=frozenset(fields.names_in("lists")),
            targets=targets,
        )

        default = fields.required("default", ActionReader(scope).read_default)
        scope = msgspec.structs.replace(scope, default=default)
        read_rule = _RuleReader(scope)
        rules = fields.optional("rules", list_of(read_rule, most=MOST_RULES), ())
        read_case = CaseReader(scope, read_rule.first_marks.keys())
        cases = fields.optional("cases", list_of(read_case, most=MOST_CASES), ())
        fields.done()
        return Document(
            name=self._name,
            file=self._file,
            digest=_digest(self._text, lists_reader.csv_bytes),
            timezone=timezone,
            rules=rules,
            default=default,
            mark=value.mark,
            description=description,
            country=country,
            calendars=calendars,
            lists=lists,
            targets={name: target for name, target in targets.items() if target is not None},
            cases=cases,
            default_mark=fields.mark_of("default"),
            target_marks=target_marks,
        )


class _RuleReader:
    """Reads one rule after the other; `first_marks` has every name seen and its place."""

    def __init__(self, scope: Scope) -> None:
        self.first_marks: dict[str, Mark] = {}
        self._read_condition = ConditionReader(scope)
        self._read_action = ActionReader(scope)

    def __call__(self, value: Value) -> Rule:
        fields = Fields(value)
        name = fields.required("name", self._read_name)
        when = fields.optional("when", self._read_condition, AllOf(conditions=()))
        then = fields.required("then", self._read_action)
        fields.done()
        return Rule(name=name, when=when, then=then, mark=value.mark)

    def _read_name(self, value: Value) -> str:
        name = NAME(value)
        if name == DEFAULT_RULE:
            value.fail("reserved-name", "no rule may be called this", "any other name")
        first = self.first_marks.setdefault(name, value.mark)
        if first is not value.mark:
            message = f"the rule on line {first.line} has this name already"
            value.fail("duplicate-name", message, "a name of its own")
        return name


def _named(read: Reader[T]) -> Reader[Mapping[str, T]]:
    return mapping_of(NAME, read, most=MOST_NAMES)


def _read_targets(
    number: PhoneNumber, targets: dict[str, Target | None], marks: dict[str, Mark], value: Value
) -> None:
    """Fill in the targets that can be read, and where they stand."""

    def read_target(entry: Entry) -> None:
        name = NAME(entry.key)
        marks[name] = entry.key.mark
        targets[name] = TargetReader(number, name)(entry.value)

    each(value.entries(), read_target)


def _digest(text: bytes, csv_bytes: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(text)
    for name, content in sorted(csv_bytes.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:_DIGEST_CHARACTERS]
