"""What msgspec refuses, in our words, and which field it is about, the key of a mapping included."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from router.site.optional import not_none
from router.site.texts import form_wanted_by
from rules.fields import one_of

_STEP: Final = re.compile(r"[^.\[\]]+|\[([0-9]+|\.\.\.)\]")
_LONGEST_KEY: Final = 60

Step = str | int | None
"""A field or key, a place in a list; None: some key of a mapping."""


def refusal(error: msgspec.ValidationError, document: object, type_: type) -> tuple[str, str]:
    """Why `document` is no `type_`, and the field to blame ("" for the whole).

    msgspec ends its message in the place (" - at `$.hold_queue.max_hold_count`"), but does not say
    which key of a mapping (`$.skills[...]`): that is found by leaving keys out.
    """
    message, _, place = str(error).partition(" - at `")
    path = place.removeprefix("key` in `").rstrip("`").removeprefix("$")
    steps: list[Step] = [_step(match) for match in _STEP.finditer(path)]
    if place.startswith("key` in `"):
        steps.append(None)

    def is_refused(changed: object) -> bool:
        try:
            msgspec.convert(changed, type_)
        except msgspec.ValidationError as other:
            return str(other) == str(error)
        return False

    try:
        for at, step in enumerate(steps):
            if step is None:
                steps[at] = _first_wrong_key(document, steps[:at], is_refused)
    except (LookupError, TypeError, AttributeError):  # a message that quotes something like a place
        steps = []
    for words in ("unknown field `", "missing required field `"):
        if words in message:
            steps.append(message.rpartition(words)[2].rstrip("`"))
    form = form_wanted_by(message)
    if form is None and "enum value" in message:
        form = _words_allowed(msgspec.inspect.type_info(type_), steps)
    return message if form is None else f"Expected {form}", path_in_words(steps)


def _words_allowed(type_: msgspec.inspect.Type, steps: Sequence[Step]) -> str | None:
    """`one of a, b`, for the field that the steps lead to; None: they lead to no such field."""
    type_ = not_none(type_)
    for step in steps:
        match type_:
            case msgspec.inspect.StructType():
                types = {field.encode_name: field.type for field in type_.fields}
                type_ = not_none(types.get(str(step), type_))
            case msgspec.inspect.DictType():
                type_ = not_none(type_.value_type)
            case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
                type_ = not_none(type_.item_type)
            case _:
                return None
    match type_:
        case msgspec.inspect.EnumType():
            return one_of([str(member.value) for member in type_.cls])
        case msgspec.inspect.LiteralType():
            return one_of([str(value) for value in type_.values])
        case _:
            return None


def path_in_words(steps: Sequence[Step]) -> str:
    """`hold_queue.max_hold_count`, `agents[0].queues.support`."""
    words = (f"[{step}]" if isinstance(step, int) else f".{step}"[:_LONGEST_KEY] for step in steps)
    return "".join(words).removeprefix(".")


def _step(match: re.Match[str]) -> Step:
    if match[1] is None:
        return match[0]
    return None if match[1] == "..." else int(match[1])


def _first_wrong_key(
    document: object, steps: Sequence[Step], is_refused: Callable[[object], bool]
) -> str:
    """Keys are looked at in their order: the fewest first ones that are refused end in the wrong one."""
    mapping: Any = document  # Any: decoded JSON, which the error's own path leads through
    for step in steps:
        mapping = mapping[step]
    keys = list(mapping)
    low, high = 1, len(keys)
    while low < high:
        middle = (low + high) // 2
        fewer = {key: mapping[key] for key in keys[:middle]}
        if is_refused(_with(document, steps, fewer)):
            high = middle
        else:
            low = middle + 1
    return str(keys[low - 1])


def _with(document: Any, steps: Sequence[Step], value: object) -> object:  # Any: as above
    """The document with another value at a place."""
    if not steps:
        return value
    changed = document.copy()
    changed[steps[0]] = _with(document[steps[0]], steps[1:], value)
    return changed
