"""An explanation in words, as `rules explain` and `decisions --explain` print it."""

from typing import TYPE_CHECKING

import msgspec

from router.cli.shell import print_line

if TYPE_CHECKING:
    from rules.explain import Explanation, Reason


def print_explanation(explanation: "Explanation") -> None:
    """The decision, then every rule before it with its reason."""
    print_line(f"rule      {explanation.decision.rule}")
    print_line(f"action    {msgspec.json.encode(explanation.decision.action).decode()}")
    print_line(
        f"at        {explanation.local_time} (rules {explanation.ruleset} {explanation.digest})"
    )
    if explanation.decision.missing:
        names = ", ".join(sorted(explanation.decision.missing))
        print_line(f"unknown   live facts of {names}: they might have changed the decision")
    for skipped in explanation.skipped:
        print_line(f"before    {skipped.rule}: {_words(skipped.reason)}")


def _words(reason: "Reason") -> str:
    found = reason.found or ("none of them" if reason.parts else "nothing")
    text = f"{reason.condition} is {reason.outcome.value}: wanted {reason.wanted}, found {found}"
    if reason.parts:
        text += " [" + "; ".join(_words(part) for part in reason.parts) + "]"
    return text
