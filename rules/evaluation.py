"""What compiled conditions look at while one call is decided: its facts, worked out once, lazily."""

from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from zoneinfo import ZoneInfo

import msgspec

from rules.facts import CallFacts, Contact, LiveFacts, Scalar
from rules.numbers import is_anonymous, normalise

_NO_LIVE_FACTS: LiveFacts = {}
_NO_CONTACT = Contact()

LOTS = (1 << 61) - 1
"""How many lots there are to draw for a `percent`: a prime, see `lot_of`."""


class Evaluation(msgspec.Struct, eq=False):
    """One call at one instant. Made for one decision, used by one thread, then thrown away."""

    call: CallFacts
    now_s: float
    caller: str | None
    called: str | None
    contact: Contact
    live: LiveFacts
    missing: set[str]
    zone: ZoneInfo
    _local: datetime | None = None
    _date: str | None = None
    _lot: int | None = None

    @property
    def local(self) -> datetime:
        """The wall clock of the file's timezone."""
        if self._local is None:
            self._local = datetime.fromtimestamp(self.now_s, self.zone)
        return self._local

    @property
    def minute(self) -> int:
        """Minutes since midnight on the wall clock."""
        local = self._local or self.local
        return local.hour * 60 + local.minute

    @property
    def date(self) -> str:
        """The date on the wall clock, `YYYY-MM-DD`."""
        if self._date is None:
            self._date = self.local.date().isoformat()
        return self._date

    @property
    def lot(self) -> int | None:
        """The call's own number for `percent`; None: it has no id to draw one from."""
        if self._lot is None and self.call.call_id:
            self._lot = draw(self.call.call_id)
        return self._lot


def evaluation_of(
    call: CallFacts,
    now_s: float,
    live: LiveFacts | None,
    zone: ZoneInfo,
    country: str | None,
) -> Evaluation:
    """Begin to look at a call; `country` is that of numbers without one, `zone` of the wall clock."""
    # By position: by name, or in a constructor, it takes twice as long.
    return Evaluation(
        call,
        now_s,
        number_of(call.caller, country),
        _called_number_of(call.called, country),
        call.contact or _NO_CONTACT,
        _NO_LIVE_FACTS if live is None else live,
        set(),
        zone,
    )


def number_of(text: str | None, country: str | None) -> str | None:
    """A number in E.164; None for an anonymous caller, which makes it unknown.

    What is no phone number stays as it came: it is known, and equals no number of the file.
    """
    number = normalise(text, country)
    return text if number is None and not is_anonymous(text) else number


_called_number_of = lru_cache(1024)(number_of)
"""The numbers that are called are few."""


def text_of(value: Scalar) -> str | None:
    """An attribute's value as a rules file writes it: `true`, `5`, `1.5`; None is unknown."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def multiplier_of(rule: str) -> int:
    """What a rule's name contributes to its `percent`; 1 <= result < LOTS."""
    return draw(rule) % (LOTS - 1) + 1


def lot_of(call_lot: int, multiplier: int) -> int:
    """The lot (0 <= result < LOTS) of a call in one rule; `percent` holds for the lowest share.

    Call id and rule name are hashed once each and multiplied modulo a prime: an even spread within
    a rule and no relation between two rules, for a tenth of the price of hashing both together.
    """
    return call_lot * multiplier % LOTS


def is_drawn(share: float) -> bool:
    """Whether a share hangs on the lot: none and all hold for any."""
    return 0 < share < 100


def lots_of(share: float) -> float:
    """How many of the lots a share (0 to 100) holds for."""
    return LOTS * share / 100


def draw(text: str) -> int:
    """A number made of a text (a call id, a rule's name), spread evenly over 0 to LOTS - 1."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % LOTS
