"""What can be wrong with a file: one problem, a sorted list of them, and the error that carries it."""

import difflib
from collections.abc import Collection, Iterable, Sequence

import msgspec

MOST_PROBLEMS = 200
"""More problems than this are counted, not listed: a hostile file must not fill the screen."""

_LONGEST_FOUND = 60
_MOST_KEPT = 5 * MOST_PROBLEMS  # they come nearly, but not quite, in file order
_MOST_COMPARISONS = 20_000_000  # pairs of characters: comparing names is what costs time
_LONGEST_COMPARED = 100
_MOST_NAMES = 1000


class Mark(msgspec.Struct, frozen=True):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong (or, in lint, odd) at one place of a file.

    `code` is stable and machine-readable (`unknown-key`, `wrong-type`, ...), `path` names the field
    (`rules[2].when.queue`), `found` is the offending text cut to 60 characters, `expected` says what
    is allowed, `nearest` the known name that is most like `found`.
    """

    mark: Mark
    code: str
    message: str
    path: str = ""
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        text = f"{self.mark}: {self.message}"
        if self.path:
            text += f" (at {self.path})"
        if self.found is not None:
            text += f"; found {self.found!r}"
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.nearest is not None:
            text += f"; did you mean {self.nearest!r}?"
        return text


class FileError(Exception):
    """A file cannot be used; `problems` holds everything that is wrong with it, in file order.

    `left_out` says how many more there were; `uncounted` adds to it what was never listed.
    """

    def __init__(self, problems: Iterable[Problem], *, uncounted: int = 0) -> None:
        ordered = sorted(problems, key=lambda p: (p.mark.file, p.mark.line, p.mark.column))
        self.problems: Sequence[Problem] = ordered[:MOST_PROBLEMS]
        self.left_out = max(0, len(ordered) - MOST_PROBLEMS) + uncounted
        lines = [str(problem) for problem in self.problems]
        if self.left_out:
            lines.append(f"... and {self.left_out} more")
        super().__init__("\n".join(lines))


class ProblemList:
    """Gathers the problems of one reading. Bounded in memory and work, whatever the file holds."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._uncounted = 0
        self._nearest = NearestNames()

    def add(
        self,
        mark: Mark,
        code: str,
        message: str,
        *,
        path: str = "",
        found: str | None = None,
        expected: str | None = None,
        known: Collection[str] = (),
    ) -> None:
        """Note a problem; the name in `known` that is most like `found` becomes its `nearest`."""
        if len(self._problems) >= _MOST_KEPT:
            self._uncounted += 1
            return
        nearest = None if found is None else self._nearest.to(found, known)
        self._problems.append(
            Problem(
                mark=mark,
                code=code,
                message=message,
                path=path,
                found=None if found is None else shorten(found),
                expected=expected,
                nearest=nearest,
            )
        )

    def __len__(self) -> int:
        return len(self._problems) + self._uncounted

    def raise_if_any(self) -> None:
        """Raise FileError with everything that was noted."""
        if self._problems:
            raise FileError(self._problems, uncounted=self._uncounted)


class NearestNames:
    """Looks for names that are like others, with a bounded amount of work over its life."""

    def __init__(self) -> None:
        self._comparisons_left = _MOST_COMPARISONS

    def to(self, found: str, known: Collection[str]) -> str | None:
        """`nearest_name`, or None when that would cost more than is left."""
        if len(known) > _MOST_NAMES:
            return None
        cost = len(found) * sum(map(len, known))
        if cost > self._comparisons_left:
            return None
        self._comparisons_left -= cost
        return nearest_name(found, known)


def shorten(found: str) -> str:
    """Cut what was found so that it fits a message."""
    return found if len(found) <= _LONGEST_FOUND else found[: _LONGEST_FOUND - 1] + "…"


def nearest_name(found: str, known: Collection[str]) -> str | None:
    """The known name most like `found`, small and capital letters aside; None when nothing is close.

    Bounded: names longer than 100 characters and lists longer than 1,000 are not compared.
    """
    if len(found) > _LONGEST_COMPARED or len(known) > _MOST_NAMES:
        return None
    names = {name.lower(): str(name) for name in sorted(known)}  # an enum's member says more
    close = difflib.get_close_matches(found.lower(), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None
