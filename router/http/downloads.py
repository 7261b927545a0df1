"""Answers that are not JSON: tables as CSV, and files with range requests."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import hdrs, web

_FORMULA: Final = re.compile(r"[=+\-@\t\r\n]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,6})?")
_SAFE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MOST_TYPES: Final = 20


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of text under column names; `name` is what the file is called."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is there and may be given away, to be saved as `name`."""

    path: Path
    name: str
    content_type: str


def answer_table(table: Table) -> web.Response:
    """RFC 4180, UTF-8; no cell is a formula to a spreadsheet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerows(tuple(safe_cell(cell) for cell in row) for row in table.rows)
    return web.Response(
        body=text.getvalue().encode(),
        content_type="text/csv",
        charset="utf-8",
        headers={**_SAFE, hdrs.CONTENT_DISPOSITION: _attachment(table.name)},
    )


def answer_file(file: File) -> web.FileResponse:
    """The file, or the part of it that a Range header asks for."""
    return web.FileResponse(
        file.path,
        headers={
            **_SAFE,
            hdrs.CONTENT_TYPE: file.content_type,
            hdrs.CONTENT_DISPOSITION: _attachment(file.name),
        },
    )


def safe_cell(text: str) -> str:
    """What a spreadsheet would take for a formula gets an apostrophe before it; numbers do not."""
    if _FORMULA.match(text.lstrip(" ")) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def prefers(accept: Iterable[str], wanted: str, usual: str) -> bool:
    """Whether Accept headers rank `wanted` above `usual`; a tie goes to what is named first."""
    ranks: dict[str, tuple[float, int]] = {}
    parts = [part for header in accept for part in header.split(",")][:_MOST_TYPES]
    for place, part in enumerate(parts):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        ranks.setdefault(media, (_quality(parameters), -place))
    of_wanted = ranks.get(wanted, (0.0, 0))
    return of_wanted[0] > 0 and of_wanted > ranks.get(usual, (0.0, -_MOST_TYPES))


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _attachment(name: str) -> str:
    """Names are ours: letters, digits, dots, dashes."""
    return f'attachment; filename="{re.sub(r"[^A-Za-z0-9._-]", "_", name)}"'
