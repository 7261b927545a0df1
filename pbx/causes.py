"""From hang-up causes and SIP answers to the reasons we speak of.

Q.850 causes as Asterisk 22 reports them; where it also reports the SIP answer (TechCause), that is
more exact. Observed answers: reference of this project's Asterisk page, section 5.1.
"""

from pbx.machine.events import Gone

_SIP = {
    "486": Gone.BUSY,
    "600": Gone.BUSY,
    "603": Gone.DECLINED,
    "403": Gone.DECLINED,
    "404": Gone.UNREACHABLE,
    "410": Gone.UNREACHABLE,
    "487": Gone.CANCELLED,
    "408": Gone.NO_ANSWER,
    "500": Gone.UNREACHABLE,
    "503": Gone.UNREACHABLE,
}

NORMAL = 16
NO_ANSWER = 19

FELL_SILENT = 44
"""Asterisk ended the channel itself for want of sound (`rtp_timeout`). Whoever is joined with it afterwards
shows the same cause at the end, and so does who is joined with that one next: it takes both to tell."""

_CAUSES = {
    1: Gone.UNREACHABLE,
    3: Gone.UNREACHABLE,
    NORMAL: Gone.HUNG_UP,
    17: Gone.BUSY,
    18: Gone.NO_ANSWER,
    NO_ANSWER: Gone.NO_ANSWER,
    20: Gone.UNREACHABLE,
    21: Gone.DECLINED,
    26: Gone.CANCELLED,
    27: Gone.UNREACHABLE,
    34: Gone.UNREACHABLE,
    38: Gone.UNREACHABLE,
    41: Gone.UNREACHABLE,
    127: Gone.HUNG_UP,
}

NO_WAY_OUT = frozenset({0, 27, 34, 38, 41, 42, 102})
"""Of a leg that could not be reached: its number was never asked for. 0: there was not even a channel, as the
endpoint has no address or is known to be away (`qualify_frequency`). A peer that says nothing at all is not told
from a phone that nobody answers."""

_CAUSE_OF_SIP = {
    "404": 1,
    "410": 22,
    "480": 19,
    "486": 17,
    "500": 38,
    "503": 34,
    "600": 17,
    "603": 21,
}
"""As Asterisk 22 itself has them in `Hangup` events."""


def known_cause(cause: int, tech_cause: str, *, was_up: bool) -> int:
    """The hang-up cause (Q.850) of a leg.

    Asterisk now and then says 0 of one whose SIP answer it has, or of one that was up and has hung up.
    """
    return cause or _CAUSE_OF_SIP.get(_sip_of(tech_cause), NORMAL if was_up else 0)


def _sip_of(tech_cause: str) -> str:
    return tech_cause.removeprefix("SIP ").strip()[:3]


def why_gone(
    cause: int, tech_cause: str, *, was_up: bool, has_rung: bool, is_ended: bool = False
) -> Gone:
    """Why a leg is gone. Of a leg that was up only whether somebody hung up is of interest."""
    if was_up:
        return Gone.VANISHED if is_ended and cause == FELL_SILENT else Gone.HUNG_UP
    if cause == NO_ANSWER and not has_rung:
        # A phone that is not there, and one that answers 480 at once: nobody let it ring.
        return Gone.UNREACHABLE
    sip = _sip_of(tech_cause)
    if sip in _SIP:
        return _SIP[sip]
    # 16.x reports cause 0 for an Originate that ran into its time-out.
    return _CAUSES.get(cause, Gone.NO_ANSWER)
