"""Tables at the end of a run. Tests write their rows; they may run in several processes."""

from collections.abc import Iterator

import pytest

_ROW = "row of a table"


def write(node: pytest.Item, title: str, row: str) -> None:
    """Add a row; at the latest in the teardown of the test."""
    node.user_properties.append((_ROW, (title, row)))


def of(reporter: pytest.TerminalReporter) -> dict[str, list[str]]:
    """All rows by title."""
    found: dict[str, list[str]] = {}
    for title, row in _rows(reporter):
        found.setdefault(title, []).append(row)
    return found


def _rows(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, str]]:
    for reports in reporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                for name, value in report.user_properties:
                    if name == _ROW:
                        title, row = value
                        yield title, row
