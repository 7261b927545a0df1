"""Types of fields that may be null."""

from msgspec import inspect


def not_none(kind: inspect.Type) -> inspect.Type:
    """Of something or null what it is: there are no other unions in what is taken."""
    if isinstance(kind, inspect.UnionType):
        return next(part for part in kind.types if not isinstance(part, inspect.NoneType))
    return kind
