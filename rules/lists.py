"""Named lists of numbers: written in the rules file, or one column of a CSV file beside it."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath, PurePosixPath
from typing import NoReturn

from rules.document import NumberList
from rules.fields import Fields, UnreadableError, Value, list_of, one_of
from rules.numbers import can_exist, is_normal, length_wanted, parse_number
from rules.parse_numbers import PhoneNumber
from rules.problems import Mark, ProblemList, shorten
from rules.scalars import Text
from rules.wording import mask_if_telling

LARGEST_CSV_BYTES = 10 * 1024 * 1024
MOST_CSV_ROWS = 1_000_000
MOST_CSV_BYTES = 2 * LARGEST_CSV_BYTES
"""For all lists of one rules file together; a file that serves two lists counts twice."""

CSV_NAME = Text(most=255, expected="the name of a CSV file beside the rules file")
COLUMN = Text(most=200, expected="a column's heading")

_OTHER_SEPARATORS: Mapping[str, str] = {";": "semicolons", "\t": "tabs", "|": "bars"}

ReadCsv = Callable[[str], bytes]
"""Bytes of a CSV file by its path relative to the rules file; OSError when it cannot be read."""


class ListReader:
    """Reads the lists of one rules file; `csv_bytes` keeps what was read, for the digest."""

    def __init__(self, file: str, number: PhoneNumber, read_csv: ReadCsv) -> None:
        self.csv_bytes: dict[str, bytes] = {}
        self._bytes_left = MOST_CSV_BYTES
        self._folder = PurePath(file).parent
        self._number = number
        self._read_csv = read_csv

    def __call__(self, value: Value) -> NumberList:
        if not value.is_mapping:
            written = list_of(self._number)(value)
            return NumberList(numbers=frozenset(written), mark=value.mark)
        fields = Fields(value)
        name = fields.required("csv", self._csv_name)
        column = fields.required("column", COLUMN)
        fields.done()
        table = _Table(str(self._folder / name), self.csv_bytes[name], value.problems)
        numbers = table.numbers(column, self._number)
        return NumberList(numbers=numbers, csv=name, mark=value.mark)

    def _csv_name(self, value: Value) -> str:
        name = CSV_NAME(value)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            expected = "a path below the folder of the rules file"
            value.fail("outside-folder", "this file is not beside the rules file", expected)
        if self._bytes_left <= 0:
            self._fail_full(value)
        if name not in self.csv_bytes:
            self.csv_bytes[name] = self._bytes(value, name)
        self._bytes_left -= len(self.csv_bytes[name])
        if self._bytes_left < 0:
            self._fail_full(value)
        return name

    def _fail_full(self, value: Value) -> NoReturn:
        expected = f"at most {MOST_CSV_BYTES} bytes in all lists"
        value.fail("too-large", "the lists are too large together", expected)

    def _bytes(self, value: Value, name: str) -> bytes:
        try:
            found = self._read_csv(name)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a file name"
            value.fail("unreadable-file", f"this file cannot be read: {why}", "a CSV file")
        if len(found) > LARGEST_CSV_BYTES:
            value.fail("too-large", "this file is too large", f"at most {LARGEST_CSV_BYTES} bytes")
        return found


class _Table:
    """One CSV file. Its problems carry its own lines, and never what a cell holds: it is private."""

    def __init__(self, file: str, content: bytes, problems: ProblemList) -> None:
        self._file = file
        self._content = content
        self._problems = problems

    def numbers(self, column: str, number: PhoneNumber) -> frozenset[str]:
        """The numbers in one column; raises UnreadableError if any cell is none."""
        before = len(self._problems)
        message = f"no phone number in column {shorten(column)!r}"
        found: set[str] = set()
        for line, cell in self._cells(column):
            if is_normal(cell):
                found.add(cell)
                if not can_exist(cell):
                    form = f"+ and {len(cell) - 1} digits"
                    self._note(line, "not-a-number", f"{message}: {form}", length_wanted(cell))
            elif (e164 := parse_number(cell, number.country)) is not None:
                found.add(e164)
            elif not number.is_country_unreadable:
                self._note(line, "not-a-number", message, "+ and digits")
        if len(self._problems) > before:
            raise UnreadableError
        return frozenset(found)

    def _cells(self, column: str) -> Iterator[tuple[int, str]]:
        rows = csv.reader(io.StringIO(self._text(), newline=""), strict=True)
        try:
            headings = [heading.strip() for heading in next(rows, [])]
            index = self._index(headings, column)
            for count, row in enumerate(rows, start=1):
                if count > MOST_CSV_ROWS:
                    expected = f"at most {MOST_CSV_ROWS} rows"
                    self._fail(rows.line_num, "too-many", "too many rows", expected)
                if any(row):  # a row of commas is what a spreadsheet leaves of an empty one
                    yield rows.line_num, row[index].strip() if index < len(row) else ""
        except csv.Error as error:
            self._fail(max(rows.line_num, 1), "syntax", f"not valid CSV: {error}")

    def _text(self) -> str:
        try:
            return self._content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self._content.count(b"\n", 0, error.start) + 1
            expected = "CSV in UTF-8, as spreadsheets call it"
            self._fail(line, "not-utf8", "this is not UTF-8", expected)

    def _index(self, headings: list[str], column: str) -> int:
        if headings.count(column) == 1:
            return headings.index(column)
        if column in headings:
            message = f"the heading {shorten(column)!r} stands more than once"
            self._fail(1, "duplicate-column", message, "a heading of its own for each column")
        for separator, name in _OTHER_SEPARATORS.items():
            if any(column in map(str.strip, heading.split(separator)) for heading in headings):
                message = f"the columns are separated by {name}"
                self._fail(1, "wrong-separator", message, "commas between the columns")
        # Somebody's number or address is no heading: the line with those is missing.
        are_shown = headings and all(mask_if_telling(heading) == heading for heading in headings)
        self._problems.add(
            Mark(self._file, 1, 1),
            "unknown-column",
            "there is no such column",
            found=column,
            expected=one_of(headings[:20]) if are_shown else "a first line with the headings",
            known=headings[:200] if are_shown else (),
        )
        raise UnreadableError

    def _note(self, line: int, code: str, message: str, expected: str | None = None) -> None:
        self._problems.add(Mark(self._file, line, 1), code, message, expected=expected)

    def _fail(self, line: int, code: str, message: str, expected: str | None = None) -> NoReturn:
        self._note(line, code, message, expected)
        raise UnreadableError
