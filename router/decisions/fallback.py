"""The ladder of answers when something is late or broken: pure, without await, always an answer."""

from router.decisions.outcome import Asked, ErrorCode, Level, Outcome, Why
from rules.actions import Action, Route
from rules.document import Document


def router_default(
    asked: Asked, level: Level, *reasons: str, error: ErrorCode | None = None
) -> Outcome:
    """The last rung: the router's default target, which needs nothing but this process."""
    body = asked.dialect.express(Route(target=asked.router.default_target), asked.names, None)
    if body is None:
        raise AssertionError("a dialect must be able to express every route")
    return Outcome(
        body=body, level=level, reasons=(*reasons, Why.ROUTER_DEFAULT.value), error=error
    )


def lower_rung(action: Action, document: Document) -> Action | None:
    """What to try when `action` cannot be carried out; None means the router's default target."""
    otherwise: Action | None = getattr(action, "otherwise", None)
    if otherwise is not None:
        return otherwise
    return None if action is document.default else document.default
