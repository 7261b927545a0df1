"""Decisions counted by rule: a series for each rule in force, and never more than so many.

A series of a rule that is no longer in force is taken away. Where several workers share their values
in files that cannot be done: there it is only left out of what is shown (`is_shown`), and still counts
as one.
"""

from typing import Final

from prometheus_client import Counter

RULE_HITS: Final = "crosspoint_rule_hits"
OTHER: Final = ("other", "other")
"""Stands for the rules without a series of their own."""

Key = tuple[str, str]
"""A ruleset and a rule."""


class RuleHits:
    """Tallies hits, and brings them to `counter` when told to. `most` is how many series there may be."""

    def __init__(self, counter: Counter, *, most: int, is_shared: bool) -> None:
        self._counter = counter
        self._most = most
        self._is_shared = is_shared
        self._new: dict[Key, int] = {}
        self._series: set[Key] = set()
        self._in_force: dict[str, frozenset[str]] = {}

    def add(self, key: Key) -> None:
        """One decision. The hot one."""
        new = self._new
        if key in new:
            new[key] += 1
        elif len(new) < self._most:
            new[key] = 1

    def flush(self) -> None:
        """Hand the tallies to the counter."""
        new, self._new = self._new, {}
        for key, count in new.items():
            has_series = key in self._series or len(self._series) < self._most
            if has_series and self.is_shown(key):
                self._series.add(key)
                self._counter.labels(*key).inc(count)
            else:
                self._counter.labels(*OTHER).inc(count)

    def in_force(self, ruleset: str, rules: frozenset[str]) -> None:
        """These are the rules now; none: the ruleset is gone."""
        self.flush()
        self._in_force[ruleset] = rules
        if not rules:
            del self._in_force[ruleset]
        if self._is_shared:
            return
        for key in [key for key in self._series if key[0] == ruleset and key[1] not in rules]:
            self._series.remove(key)
            self._counter.remove(*key)

    def is_shown(self, key: Key) -> bool:
        """Whether the rule is in force, as far as is known."""
        rules = self._in_force.get(key[0])
        return rules is None or key[1] in rules or key == OTHER
