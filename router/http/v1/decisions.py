"""`decisions`: the decision log, newest first, and why each was made."""

import asyncio
from datetime import datetime
from typing import Final

import msgspec

from router.decisions.log import (
    NOTE_MASKED,
    NOTE_REPEAT,
    Entry,
    Filters,
    LoggedDecision,
    explain_entry,
    is_repeat,
)
from router.decisions.outcome import Level
from router.errors import InvalidInputError
from router.http.envelope import Page, moment, timestamp
from router.http.roles import Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.rulesets.archive import load_version
from router.store.decisions import (
    MOST_LISTED,
    count_decisions,
    get_decision,
    list_decisions,
)
from rules.cases import describe
from rules.explain import Explanation, Reason
from rules.facts import CallFacts, QueueFacts

OFFSET_MOST: Final = 5_000
"""Further back `before` (an id) is the way: a stream cannot be counted off cheaply."""

LOOKS_MOST: Final = 40
"""Listings of the log that one request may cost."""


class DecisionForm(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. Numbers in `call` are masked unless the settings say otherwise."""

    id: str
    at: datetime | None
    router: str
    level: Level
    rules: str | None
    digest: str | None
    rule: str | None
    reasons: tuple[str, ...]
    agent: str | None
    error: str | None
    duration_us: int
    answer: str
    call: CallFacts
    live: dict[str, QueueFacts]
    is_masked: bool


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was passed over: its first condition that did not hold, in words.

    `found` is null where there was nothing to look at; of an `any` it says what was found for each
    alternative.
    """

    rule: str
    line: int
    outcome: str
    condition: str
    wanted: str
    found: str | None
    wants: list[str]


class ExplanationForm(msgspec.Struct, frozen=True, kw_only=True):
    """How the rules come to the decision. `agrees`: they come to the same rule as was logged."""

    rule: str
    agrees: bool
    local_time: str
    skipped: list[Passed]


class ExplainedForm(DecisionForm, frozen=True, kw_only=True):
    """A decision with its explanation; `note` says why there is none, or what it is made from."""

    explanation: ExplanationForm | None
    note: str | None


async def list_logged(asked: Asked[None]) -> Page:
    """Without filters there is a `total`, with filters only once the end of the log was reached."""
    if asked.offset > OFFSET_MOST:
        raise InvalidInputError(
            f"offset is at most {OFFSET_MOST} here; use before with an id.", field="offset"
        )
    filters = _filters(asked)
    wanted = asked.offset + asked.limit
    found: list[LoggedDecision] = []
    is_more = True
    for _ in range(LOOKS_MOST):
        some = await list_decisions(
            asked.link,
            asked.tenant,
            filters,
            limit=min(wanted - len(found), MOST_LISTED),
            deadline=asked.deadline,
        )
        found.extend(some.decisions)
        is_more = some.next_before is not None
        if not is_more or len(found) >= wanted:
            break
        filters = msgspec.structs.replace(filters, before=some.next_before)
    total: int | None = len(found)
    if is_more:
        is_all = _filters(asked) == Filters()
        total = await count_decisions(asked.link, asked.tenant, asked.deadline) if is_all else None
    items: list[object] = [_form(decision) for decision in found[asked.offset :]]
    return Page(items=items, total=total, limit=asked.limit, offset=asked.offset)


async def get_logged(asked: Asked[None]) -> ExplainedForm:
    decision = await get_decision(asked.link, asked.tenant, asked.id, asked.deadline)
    explanation, note = await _explain(asked, decision.entry)
    return ExplainedForm(
        **msgspec.structs.asdict(_form(decision)), explanation=explanation, note=note
    )


async def _explain(asked: Asked[None], entry: Entry) -> tuple[ExplanationForm | None, str | None]:
    if entry.rule is None or entry.rules is None or entry.digest is None:
        return None, "No rule was asked for this answer."
    if is_repeat(entry):
        return None, NOTE_REPEAT
    ruleset = asked.service.rulesets.get(entry.rules)
    if ruleset is None or ruleset.digest != entry.digest:
        ruleset = await load_version(asked.link, asked.tenant, entry.digest, asked.deadline)
    if ruleset is None:
        return None, "This version of the rules is not kept (any more)."
    # Of a large file this takes tenths of a second, which calls would wait for.
    explained = await asyncio.to_thread(explain_entry, ruleset, entry)
    return _explanation(explained, entry.rule), NOTE_MASKED if entry.is_masked else None


def _explanation(explained: Explanation, logged_rule: str) -> ExplanationForm:
    def passed(rule: str, line: int, reason: Reason, wants: tuple[str, ...]) -> Passed:
        return Passed(
            rule=rule,
            line=line,
            outcome=reason.outcome.value,
            condition=reason.condition,
            wanted=reason.wanted,
            found=describe(reason) if reason.parts else reason.found,
            wants=list(wants),
        )

    return ExplanationForm(
        rule=explained.decision.rule,
        agrees=explained.decision.rule == logged_rule,
        local_time=explained.local_time,
        skipped=[
            passed(skipped.rule, skipped.mark.line, skipped.reason, skipped.wants)
            for skipped in explained.skipped
        ],
    )


def _filters(asked: Asked[None]) -> Filters:
    query = asked.query
    level = query.get("level")
    if level is not None and level not in set(Level):
        known = ", ".join(Level)
        raise InvalidInputError(f"level is one of {known}.", field="level")
    since, until = moment(query, "from"), moment(query, "to")
    return Filters(
        router=query.get("router"),
        rule=query.get("rule"),
        level=None if level is None else Level(level),
        call_id=query.get("call_id"),
        since_s=None if since is None else since.timestamp(),
        until_s=None if until is None else until.timestamp(),
        before=query.get("before"),
    )


def _form(decision: LoggedDecision) -> DecisionForm:
    entry = decision.entry
    return DecisionForm(
        id=decision.id,
        at=timestamp(entry.at_s * 1000),
        router=entry.router,
        level=entry.level,
        rules=entry.rules,
        digest=entry.digest,
        rule=entry.rule,
        reasons=entry.reasons,
        agent=entry.agent,
        error=entry.error,
        duration_us=entry.duration_us,
        answer=entry.answer,
        call=entry.call,
        live=dict(entry.live),
        is_masked=entry.is_masked,
    )


ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/decisions",
        resource=Resource.DECISIONS,
        summary="List decisions, newest first",
        handler=list_logged,
        answer=DecisionForm,
        is_list=True,
        filters={
            "from": "decided at this moment (RFC 3339) or later",
            "to": "decided at this moment (RFC 3339) or earlier",
            "router": "of this call router",
            "rule": "made by this rule",
            "level": "what the answer could use",
            "call_id": "of this call",
            "before": "older than the decision of this id",
        },
    ),
    Endpoint(
        method="GET",
        path="/decisions/{id}",
        resource=Resource.DECISIONS,
        summary="Get one decision with its explanation",
        handler=get_logged,
        answer=ExplainedForm,
    ),
)
