"""`rules`: which version of which rules file is in force, and what was found in it.

A tenant sees the rulesets that its own call routers use, and no others.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from pathlib import PurePath

import msgspec

from router.http.envelope import Page, timestamp
from router.http.roles import Resource
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.resources import not_found, page, picture
from router.rulesets.in_force import LoadState, RulesetState
from router.rulesets.known_names import known_names
from rules.lint import KnownNames, unknown_names
from rules.problems import MOST_PROBLEMS, Problem
from rules.ruleset import Ruleset


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is wrong with the file on disk; line and column count from 1."""

    code: str
    message: str
    file: str
    line: int
    column: int
    path: str = ""
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None


class RulesetForm(msgspec.Struct, frozen=True, kw_only=True):
    """A ruleset. `stale`: the file on disk is refused for its findings, an older version is in force;
    `missing`: a router names it, and there is no such file. Findings of a `loaded` one are what
    `crosspoint rules check` finds odd, and queues, routers and skills that it names and the tenant lacks. All
    `cases` hold for what is in force.
    """

    name: str
    state: str
    file: str | None = None
    digest: str | None = None
    loaded_at: datetime | None = None
    rules: int = 0
    cases: int = 0
    findings: list[Finding] = []
    used_by: list[str] = []


async def list_rules(asked: Asked[None]) -> Page:
    return page(asked, await _forms(asked))


async def get_rules(asked: Asked[None]) -> RulesetForm:
    found = (await _forms(asked)).get(asked.id)
    if found is None:
        raise not_found(asked, "ruleset")
    return found


async def _forms(asked: Asked[None]) -> dict[str, RulesetForm]:
    users: dict[str, list[str]] = {}
    known = await picture(asked)
    for router in known.routers.values():
        if router.rules is not None:
            users.setdefault(router.rules, []).append(router.id)
    there = (known.routers.values(), known.queues.values(), known.agents.values())
    names = await asyncio.to_thread(known_names, *there)  # thousands of agents have many skills
    states = {state.name: state for state in asked.service.rulesets.states}
    return {
        name: await _form(asked, name, states.get(name), used, names)
        for name, used in users.items()
    }


async def _form(
    asked: Asked[None],
    name: str,
    state: RulesetState | None,
    used: list[str],
    names: KnownNames,
) -> RulesetForm:
    if state is None:
        return RulesetForm(name=name, state="missing", used_by=sorted(used))
    ruleset = asked.service.rulesets.get(name) if state.state is not LoadState.BROKEN else None
    unknown = () if ruleset is None else await asyncio.to_thread(_unknown, ruleset, names)
    odd = await asked.service.rulesets.findings(name) if state.state is LoadState.LOADED else ()
    return RulesetForm(
        name=name,
        state=state.state.value,
        file=PurePath(state.file).name,
        digest=state.digest,
        loaded_at=timestamp(None if state.loaded_at_s is None else state.loaded_at_s * 1000),
        rules=len(ruleset.document.rules) if ruleset else 0,
        cases=len(ruleset.document.cases) if ruleset else 0,
        findings=[_finding(problem) for problem in (*state.problems, *odd, *unknown)],
        used_by=sorted(used),
    )


def _unknown(ruleset: Ruleset, names: KnownNames) -> Iterable[Problem]:
    """For a thread: of a large file it takes up to seconds."""
    return list(islice(unknown_names(ruleset.document, names), MOST_PROBLEMS))


def _finding(problem: Problem) -> Finding:
    return Finding(
        code=problem.code,
        message=problem.message,
        file=PurePath(problem.mark.file).name,
        line=problem.mark.line,
        column=problem.mark.column,
        path=problem.path,
        found=problem.found,
        expected=problem.expected,
        nearest=problem.nearest,
    )


ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/rules",
        resource=Resource.RULES,
        summary="List the rulesets that the tenant's call routers use",
        handler=list_rules,
        answer=RulesetForm,
        is_list=True,
    ),
    Endpoint(
        method="GET",
        path="/rules/{id}",
        resource=Resource.RULES,
        summary="Get one ruleset's version and findings",
        handler=get_rules,
        answer=RulesetForm,
    ),
)
