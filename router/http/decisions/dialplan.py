"""`GET /dialplan/{router_id}`: a decision as a line of text that a dialplan's CURL() can cut apart.

    dial,PJSIP/1001,30    route,department,6001    forward,+12125550177    queue,support
    menu,NAME,DIGITS,TRIES,TIMEOUT,PROMPT    voicemail,department,6001    hangup[,MESSAGE]

An answer to a menu or question comes back as `digits.NAME=…` in the next request's query.
"""

from collections.abc import Mapping
from typing import Final, assert_never

from router.decisions.dialogue import most_digits
from router.decisions.outcome import Names
from router.site.resources import AgentConfig
from rules.actions import (
    Action,
    Ask,
    Callback,
    End,
    Enqueue,
    Forward,
    Menu,
    ReserveAgent,
    Route,
    Target,
    TargetType,
    Voicemail,
)

_DIGITS: Final = "digits."
_KEYS: Final = frozenset("0123456789*#")
_MOST_FIELDS: Final = 64
_SAFE: Final = str.maketrans({"\n": " ", "\r": " ", "\x00": " "})


class DialplanDialect:
    """Answers as plain text; a reserved agent is dialled at the phone on the PBX."""

    address = "endpoint"

    def express(self, action: Action, names: Names, agent: AgentConfig | None) -> bytes | None:
        line = _line(action, names, agent)
        return None if line is None else line.translate(_SAFE).encode()


def _line(action: Action, names: Names, agent: AgentConfig | None) -> str | None:  # noqa: C901, PLR0911 - a case each
    match action:
        case Route():
            return _route(action.target)
        case Forward():
            return f"forward,{action.number}"
        case ReserveAgent():
            queue = names.queue(action.queue)
            if agent is None or agent.endpoint is None:
                return None
            return f"dial,{agent.endpoint},{queue.ring_seconds if queue else 30}"
        case Enqueue():
            return f"queue,{action.queue}"
        case Ask():
            return _question(action, action.digits)
        case Menu():
            return _question(action, most_digits(action))
        case Voicemail():
            target = action.target
            return f"voicemail,{target.type.value},{target.id or target.number or ''}"
        case Callback():
            return None
        case End():
            return "hangup" if action.message is None else f"hangup,{action.message}"
        case _:
            assert_never(action)


def _route(target: Target) -> str:
    if target.type is TargetType.PHONE:
        return f"forward,{target.number or ''}"
    return f"route,{target.type.value},{target.id or ''}"


def _question(action: Ask | Menu, digits: int) -> str:
    return f"menu,{action.name},{digits},{action.tries},{action.timeout_s},{action.prompt}"


def digits_of(query: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """What was keyed in (`digits.NAME=…`), and the names that were asked without any input."""
    keyed = {
        name.removeprefix(_DIGITS): value
        for name, value in list(query.items())[:_MOST_FIELDS]
        if name.startswith(_DIGITS)
    }
    digits = {name: keys for name, keys in keyed.items() if keys and _KEYS.issuperset(keys)}
    return digits, frozenset(keyed.keys() - digits.keys())
