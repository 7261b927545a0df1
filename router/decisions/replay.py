"""Logged decisions made again with other rules: what would change, and what cannot be told."""

from collections.abc import Awaitable, Callable
from enum import StrEnum

import msgspec

from router.decisions.log import LoggedDecision, is_repeat
from rules.actions import Action, Decision
from rules.cases import is_same_action
from rules.replay import Then, action_of, redecide
from rules.ruleset import Ruleset

Versions = Callable[[str, str], Awaitable[Ruleset | None]]
"""The version of the rules of that name and digest, if it can still be had."""


class Verdict(StrEnum):
    """`open`: what the log does not show decides whether anything changes."""

    SAME = "same"
    DIFFERENT = "different"
    OPEN = "open"


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """One decision made again. `now` are the rules that can decide now: one unless facts are `open`."""

    id: str
    call_id: str
    verdict: Verdict
    was: str
    now: tuple[str, ...]
    was_action: Action | None
    now_actions: tuple[Action, ...]
    open: tuple[str, ...] = ()


class Replay:
    """Makes decisions again with `ruleset`, comparing with what the version of then did."""

    def __init__(self, ruleset: Ruleset, versions: Versions) -> None:
        self._ruleset = ruleset
        self._versions = versions
        self._known: dict[tuple[str, str], Ruleset | None] = {}

    async def decide_again(self, logged: LoggedDecision) -> Replayed | None:
        """None: no rule made this decision (a repeat, a fallback of the router)."""
        entry = logged.entry
        if entry.rule is None or entry.rules is None or entry.digest is None or is_repeat(entry):
            return None
        then = await self._version(entry.rules, entry.digest)
        again = redecide(
            self._ruleset,
            entry.call,
            entry.at_s,
            entry.live,
            is_masked=entry.is_masked,
            then=None if then is None else Then(ruleset=then, rule=entry.rule),
        )
        was = None if then is None else action_of(then, entry.rule)
        return Replayed(
            id=logged.id,
            call_id=entry.call.call_id,
            verdict=_verdict(entry.rule, was, again.decisions),
            was=entry.rule,
            now=tuple(each.rule for each in again.decisions),
            was_action=was,
            now_actions=tuple(each.action for each in again.decisions),
            open=again.open,
        )

    async def _version(self, name: str, digest: str) -> Ruleset | None:
        if (name, digest) not in self._known:
            self._known[name, digest] = await self._versions(name, digest)
        return self._known[name, digest]


def _verdict(rule: str, was: Action | None, now: tuple[Decision, ...]) -> Verdict:
    same = [_is_same(rule, was, each) for each in now]
    if all(same):
        return Verdict.SAME
    return Verdict.OPEN if any(same) else Verdict.DIFFERENT


def _is_same(rule: str, was: Action | None, now: Decision) -> bool:
    """The same action; without the version of then, all there is to compare is the rule's name."""
    return now.rule == rule if was is None else is_same_action(was, now.action)
