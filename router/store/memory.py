"""The memory of calls between their routing requests: in the store, and in this process.

Digits are kept here as they were keyed in, since the next request is decided with them; they live as
long as the call's memory and go into no log.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from router.deadline import Deadline
from router.dialogue import NOTHING_KNOWN, Memory, Remembered
from router.errors import StoreRefusedError
from router.outcome import Asked, Outcome
from router.store import keys
from router.store.link import Link, Reply
from router.store.scripts import load_script, run_script

LIFETIME_S: Final = 900.0
"""How long after its last request a call is remembered."""

MOST_CALLS: Final = 20_000
"""Calls remembered in one process; the oldest go first."""

_decode = msgspec.json.Decoder(Remembered).decode
_encode = msgspec.json.Encoder().encode


class Remember(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to remember. `round` is how often the question `answer.asked` has been put."""

    tenant: str
    scope: str
    call: str
    fingerprint: str
    answer: Remembered
    round: int = 0
    digits: Mapping[str, str] = {}


def scope_of(asked: Asked) -> str:
    """Calls are told apart by router and by how they are answered."""
    return f"{asked.router.id}:{asked.dialect.address}"


def to_remember(asked: Asked, outcome: Outcome) -> Remember | None:
    """What to keep of an outcome; None for repeats and for calls without an id."""
    if outcome.is_repeat or not asked.call.call_id:
        return None
    answer = Remembered(
        body=outcome.body,
        level=outcome.level,
        at_s=asked.now_s,
        rule=outcome.rule,
        digest=outcome.digest,
        agent=outcome.agent,
        asked=outcome.asked,
        again_after_s=outcome.again_after_s,
    )
    call = outcome.call or asked.call
    return Remember(
        tenant=asked.router.tenant,
        scope=scope_of(asked),
        call=asked.call.call_id,
        fingerprint=asked.fingerprint,
        answer=answer,
        round=outcome.round,
        digits=call.digits,
    )


class CallMemory:
    """This process' own memory of calls; bounded, and good when the store is gone."""

    def __init__(self, most: int = MOST_CALLS) -> None:
        self._most = most
        self._calls: dict[tuple[str, str], Memory] = {}

    def of(self, asked: Asked) -> Memory:
        """What is remembered of the call and not older than LIFETIME_S."""
        key = (scope_of(asked), asked.call.call_id)
        memory = self._calls.get(key)
        if memory is None:
            return NOTHING_KNOWN
        if max(answer.at_s for answer in memory.answers.values()) + LIFETIME_S < asked.now_s:
            del self._calls[key]
            return NOTHING_KNOWN
        return memory

    def keep(self, item: Remember) -> None:
        """Remember it here; the store is told in a batch."""
        key = (item.scope, item.call)
        news = Memory(
            answers={item.fingerprint: item.answer},
            rounds={item.answer.asked: item.round} if item.answer.asked else {},
            digits=item.digits,
        )
        known = self._calls.pop(key, None)
        self._calls[key] = news if known is None else known.merged(news)
        if len(self._calls) > self._most:
            del self._calls[next(iter(self._calls))]

    def __len__(self) -> int:
        return len(self._calls)


async def remember(link: Link, items: Sequence[Remember], deadline: Deadline) -> None:
    """Tell the store. Repeating it does no harm."""
    script = load_script("memory_remember")
    for item in items:
        pairs = [part for pair in item.digits.items() for part in pair]
        args: list[bytes | str | int | float] = [
            int(LIFETIME_S * 1000),
            item.fingerprint,
            _encode(item.answer),
            item.answer.asked or "",
            item.round,
            *pairs,
        ]
        key = keys.call_memory(item.tenant, item.scope, item.call)
        await run_script(link, script, [key], args, deadline)


def read_memory(reply: Reply) -> Memory:
    """The memory in a reply to HGETALL; StoreRefusedError when it is none."""
    answers: dict[str, Remembered] = {}
    rounds: dict[str, int] = {}
    digits: dict[str, str] = {}
    try:
        fields = [part for part in reply if isinstance(part, bytes)] if reply else []  # type: ignore[union-attr]
        for field, value in zip(fields[::2], fields[1::2], strict=True):
            kind, _, name = field.decode().partition(":")
            if kind == "a":
                answers[name] = _decode(value)
            elif kind == "n":
                rounds[name] = int(value)
            elif kind == "d":
                digits[name] = value.decode()
    except (ValueError, TypeError) as error:
        raise StoreRefusedError("the memory of a call is unreadable") from error
    return Memory(answers=answers, rounds=rounds, digits=digits)
