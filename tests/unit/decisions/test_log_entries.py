"""An entry of the log is written in two halves, and read as one."""

import msgspec

from router.decisions import log
from router.decisions.log import Entry, read, written
from router.decisions.outcome import Asked, ErrorCode, Level, Outcome, RouterView, Shared
from router.platforms.dialpad.dialect import DialpadDialect
from rules.actions import Target, TargetType
from rules.facts import CallFacts, QueueFacts

ROUTER = RouterView(
    id="main", tenant="t", default_target=Target(type=TargetType.USER, id="1"), rules="main"
)


def asked(call_id: str) -> Asked:
    return Asked(
        router=ROUTER,
        call=CallFacts(call_id=call_id, caller="+12125550142"),
        silent=frozenset(),
        fingerprint="",
        dialect=DialpadDialect(),
        names=None,  # type: ignore[arg-type]  # not asked
        now_s=7.5,
    )


def test_the_halves_have_the_fields_of_an_entry_between_them() -> None:
    halves = (*log._OfCall.__struct_fields__, *log._OfOutcome.__struct_fields__)
    assert sorted(halves) == sorted(Entry.__struct_fields__)


def test_all_of_an_outcome_is_written() -> None:
    outcome = Outcome(
        body=b'{"a":"\xc3\xa9"}',
        level=Level.NO_STORE,
        rule="first",
        digest="d1",
        reasons=("store_down", "no_agent:support"),
        live={"support": QueueFacts(waiting=3)},
        agent="ada",
        error=ErrorCode.TIMEOUT,
    )
    assert read(written(asked("c1"), outcome, 12, with_full_numbers=True)) == Entry(
        at_s=7.5,
        router="main",
        level=Level.NO_STORE,
        call=asked("c1").call,
        answer='{"a":"é"}',
        duration_us=12,
        rules="main",
        rule="first",
        digest="d1",
        reasons=("store_down", "no_agent:support"),
        live={"support": QueueFacts(waiting=3)},
        agent="ada",
        error="timeout",
    )


def test_calls_that_share_an_outcome_are_logged_as_if_each_had_its_own() -> None:
    alone = Outcome(body=b"{}", level=Level.FULL, rule="first", digest="d1", agent="ada")
    shared = msgspec.structs.replace(alone, shared=Shared())
    for number, call_id in enumerate(("c1", "c2", "c3")):
        texts = [
            written(asked(call_id), each, number, with_full_numbers=False)
            for each in (alone, shared)
        ]
        assert texts[0] == texts[1]
        assert read(texts[1]).call.call_id == call_id
