"""The memory of calls between their routing requests: in the store, and in this process.

Digits are kept here as they were keyed in, since the next request is decided with them; they live as
long as the call's memory and go into no log.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from router.deadline import Deadline
from router.decisions.dialogue import NOTHING_KNOWN, MadeBy, Memory, Remembered
from router.decisions.outcome import Asked, Level, Outcome
from router.errors import StoreRefusedError
from router.store import keys
from router.store.link import Link, Reply
from router.store.scripts import load_script, run_script
from router.store.wire import Word

LIFETIME_S: Final = 900.0
"""How long after its last request a call is remembered."""

MOST_CALLS: Final = 20_000
"""Calls remembered in one process; the oldest go first."""

_PER_SCRIPT: Final = 128
_decode = msgspec.json.Decoder(Remembered).decode
_encode = msgspec.json.Encoder().encode


class Remember(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to remember. `round` is how often the question `answer.asked` has been put."""

    scope: str
    call: str
    fingerprint: str
    answer: Remembered
    round: int = 0
    digits: Mapping[str, str] = {}


class Remembering(msgspec.Struct, frozen=True, gc=False):
    """What a reservation leaves in the memory of its call: whose memory, and the answer in two pieces,
    between which the agent's id belongs."""

    scope: bytes
    before: bytes
    after: bytes


_AGENT: Final = b'"agent":"'
_AT: Final = b'"at_s":'


def remembering(asked: Asked, made_by: MadeBy, queue: str) -> Remembering:
    """What to remember of a call to which an agent of `queue` is the answer, whoever that will be."""
    scope, before, since, after = _form(scope_of(asked), made_by, queue)
    return Remembering(scope, b"%b%b%b" % (before, _encode(asked.now_s), since), after)


@functools.lru_cache(maxsize=4096)
def _form(scope: str, made_by: MadeBy, queue: str) -> tuple[bytes, bytes, bytes, bytes]:
    """The scope, and such an answer written down, with gaps where instant and agent belong."""
    answer = Remembered(
        body=b"",
        level=Level.FULL,
        at_s=0.0,
        rule=made_by.rule,
        digest=made_by.digest,
        agent="",
        queue=queue,
    )
    before, found, after = _encode(answer).partition(_AGENT)
    before, at, since = before.partition(_AT)
    return scope.encode(), before + at, since.removeprefix(b"0.0") + found, after


def scope_of(asked: Asked) -> str:
    """Calls are told apart by router and by how they are answered."""
    return f"{asked.router.id}:{asked.dialect.address}"


def is_memorable(asked: Asked, outcome: Outcome) -> bool:
    """Whether a repeat has to get this answer again: a decision that rules, or somebody else, made.

    What stood in for one (disabled, failed, unreadable) is not held against the next request.
    """
    if outcome.is_repeat or not asked.call.call_id or outcome.error is not None:
        return False
    return outcome.rule is not None or asked.router.routing_url is not None


def to_remember(asked: Asked, outcome: Outcome) -> Remember | None:
    """What to keep of an outcome; None when it is not memorable."""
    if not is_memorable(asked, outcome):
        return None
    call = outcome.call or asked.call
    return Remember(
        scope=scope_of(asked),
        call=asked.call.call_id,
        fingerprint=asked.fingerprint,
        answer=_remembered(asked, outcome),
        round=outcome.round,
        digits=call.digits,
    )


class CallMemory:
    """This process' own memory of calls; bounded, and good when the store is gone.

    How it works. Most calls ask once, and the caller is asked for nothing: of those only a flat tuple
    is kept, which costs the garbage collector nothing, and unpacked only when the call comes again.
    There are two generations: when the younger one is full it becomes the older one, and what the
    older one held is forgotten; a call that comes again moves to the younger one.
    """

    def __init__(self, most: int = MOST_CALLS) -> None:
        self._most_young = max(1, most // 2)
        self._young: dict[_Call, _Kept] = {}
        self._old: dict[_Call, _Kept] = {}

    def of(self, asked: Asked) -> Memory:
        """What is remembered of the call and not older than LIFETIME_S."""
        key = (asked.router.id, asked.dialect.address, asked.call.call_id)
        kept = self._young.get(key) or self._old.get(key)
        return NOTHING_KNOWN if kept is None else self._fresh(kept, asked.now_s)

    @staticmethod
    def _fresh(kept: "_Kept", now_s: float) -> Memory:
        memory = kept if isinstance(kept, Memory) else _unpacked(*kept)
        latest_s = max((answer.at_s for answer in memory.answers.values()), default=0.0)
        return memory if latest_s + LIFETIME_S >= now_s else NOTHING_KNOWN

    def keep(self, asked: Asked, outcome: Outcome) -> None:
        """Remember it here; the store is told in a batch."""
        if not is_memorable(asked, outcome):
            return
        call = asked.call
        key = (asked.router.id, asked.dialect.address, call.call_id)
        has_more = bool(asked.fingerprint or outcome.asked or (outcome.call or call).digits)
        kept: _Kept = (
            outcome.body,
            outcome.level,
            asked.now_s,
            outcome.rule,
            outcome.digest,
            outcome.agent,
        )
        if has_more or key in self._young or key in self._old:
            known = self.of(asked)
            if has_more or known.answers:
                kept = known.merged(_memory_of(asked, outcome))
        if len(self._young) >= self._most_young:
            self._old, self._young = self._young, {}
        self._young[key] = kept

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


_Call = tuple[str, str, str]
_Flat = tuple[bytes, Level, float, str | None, str | None, str | None]
_Kept = _Flat | Memory


def _unpacked(  # noqa: PLR0917 - in the order of _Flat
    body: bytes, level: Level, at_s: float, rule: str | None, digest: str | None, agent: str | None
) -> Memory:
    answer = Remembered(body=body, level=level, at_s=at_s, rule=rule, digest=digest, agent=agent)
    return Memory(answers={"": answer})


def _memory_of(asked: Asked, outcome: Outcome) -> Memory:
    return Memory(
        answers={asked.fingerprint: _remembered(asked, outcome)},
        rounds={outcome.asked: outcome.round} if outcome.asked else {},
        digits=(outcome.call or asked.call).digits,
    )


def _remembered(asked: Asked, outcome: Outcome) -> Remembered:
    return Remembered(
        body=outcome.body,
        level=outcome.level,
        at_s=asked.now_s,
        rule=outcome.rule,
        digest=outcome.digest,
        agent=outcome.agent,
        asked=outcome.asked,
        again_after_s=outcome.again_after_s,
    )


async def remember(link: Link, tenant: str, items: Sequence[Remember], deadline: Deadline) -> None:
    """Tell the store, many per operation. Repeating it does no harm."""
    script = load_script("memory_remember")
    for at in range(0, len(items), _PER_SCRIPT):
        part = items[at : at + _PER_SCRIPT]
        key_names = [keys.call_memory(tenant, item.scope, item.call) for item in part]
        words: list[Word] = [int(LIFETIME_S * 1000)]
        for item in part:
            answer = item.answer
            words += (item.fingerprint, _encode(answer), answer.asked or "", item.round)
            words.append(len(item.digits))
            for pair in item.digits.items():
                words += pair
        await run_script(link, script, key_names, words, deadline)


def read_memory(reply: Reply, first: Reply) -> Memory:
    """The memory in a reply to HGETALL, and the answer that went with a reservation, which was the first.

    StoreRefusedError when they are none.
    """
    answers: dict[str, Remembered] = {}
    rounds: dict[str, int] = {}
    digits: dict[str, str] = {}
    try:
        if isinstance(first, bytes):
            answers[""] = _decode(first)
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
