"""What a rule may refer to in its file: calendars, lists, targets, and what `otherwise` falls to."""

from collections.abc import Mapping

import msgspec

from rules.actions import Action, Target
from rules.parse_numbers import PhoneNumber


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Names are those that stand in the file, readable or not: a name that stands there is known.

    A target that could not be read is None; its problem has been noted. `default` is None only
    while the default itself is read.
    """

    number: PhoneNumber
    calendars: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    targets: Mapping[str, Target | None] = {}
    default: Action | None = None
