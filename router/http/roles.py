"""What each role may do: the one table. `deploy/roles.md` is printed from it.

A tenant's boundary is not here: everybody is pinned to the tenant of the token, and only
`platform_admin` may name another with `?tenant_id=` (router/http/auth.py).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from router.tokens import Role


class Access(StrEnum):
    """How far an allowance goes; who is not in the row may not at all."""

    ALL = "all"
    OWN = "own"
    """Only the agent that the token's `sub` names, and the calls that agent is part of."""


class Resource(StrEnum):
    """What is guarded, as the path spells it."""

    ME = "auth/me"
    ROUTERS = "routers"
    QUEUES = "queues"
    AGENTS = "agents"
    AGENT_DUTY = "agents/duty"
    AGENT_DO_NOT_DISTURB = "agents/do_not_disturb"
    AGENT_ENABLED = "agents/enabled"
    AGENT_SKILLS = "agents/skills"
    RULES = "rules"
    DECISIONS = "decisions"
    CALLS = "calls"
    CALL_MENU = "calls/menu"
    CALL_HANGUP = "calls/hangup"
    CALL_HOLD = "calls/hold"
    CALL_RESUME = "calls/resume"
    CALL_TRANSFER = "calls/transfer"
    CALL_CONSULT = "calls/consult"
    CALL_COMPLETE = "calls/complete"
    CALL_PARTICIPANTS = "calls/participants"
    CALL_DROP = "calls/drop"
    CALL_PARK = "calls/park"
    CALL_UNPARK = "calls/unpark"
    CALL_SUPERVISE = "calls/supervise"
    CALL_RECORDING = "calls/recording"
    CALL_LABELS = "calls/labels"
    CDRS = "cdrs"
    CALLBACKS = "callbacks"
    CALLBACK_VALIDATE = "callbacks/validate"
    RECORDINGS = "recordings"
    RECORDING_AUDIO = "recordings/audio"


_PLATFORM: Final = {Role.PLATFORM_ADMIN: Access.ALL}
_ADMINS: Final = {**_PLATFORM, Role.ADMIN: Access.ALL}
_SUPERVISORS: Final = {**_ADMINS, Role.SUPERVISOR: Access.ALL}
_AGENTS_OWN: Final = {**_SUPERVISORS, Role.AGENT: Access.OWN}
_EVERYBODY: Final = {**_SUPERVISORS, Role.AGENT: Access.ALL}

ROLE_TABLE: Final[Mapping[tuple[Resource, str], Mapping[Role, Access]]] = {
    (Resource.ME, "GET"): _EVERYBODY,
    (Resource.ROUTERS, "GET"): _SUPERVISORS,
    (Resource.ROUTERS, "POST"): _ADMINS,
    (Resource.ROUTERS, "PATCH"): _ADMINS,
    (Resource.ROUTERS, "DELETE"): _ADMINS,
    (Resource.QUEUES, "GET"): _EVERYBODY,
    (Resource.QUEUES, "POST"): _ADMINS,
    (Resource.QUEUES, "PATCH"): _ADMINS,
    (Resource.QUEUES, "DELETE"): _ADMINS,
    (Resource.AGENTS, "GET"): _AGENTS_OWN,
    (Resource.AGENTS, "POST"): _ADMINS,
    (Resource.AGENTS, "PATCH"): _ADMINS,
    (Resource.AGENTS, "DELETE"): _ADMINS,
    (Resource.AGENT_DUTY, "PUT"): _AGENTS_OWN,
    (Resource.AGENT_DO_NOT_DISTURB, "PUT"): _AGENTS_OWN,
    (Resource.AGENT_ENABLED, "PUT"): _SUPERVISORS,
    (Resource.AGENT_SKILLS, "PUT"): _SUPERVISORS,
    (Resource.RULES, "GET"): _SUPERVISORS,
    (Resource.DECISIONS, "GET"): _SUPERVISORS,
    (Resource.CALLS, "GET"): _AGENTS_OWN,
    (Resource.CALLS, "POST"): _AGENTS_OWN,
    (Resource.CALL_MENU, "POST"): _SUPERVISORS,
    (Resource.CALL_HANGUP, "POST"): _AGENTS_OWN,
    (Resource.CALL_HOLD, "POST"): _AGENTS_OWN,
    (Resource.CALL_RESUME, "POST"): _AGENTS_OWN,
    (Resource.CALL_TRANSFER, "POST"): _AGENTS_OWN,
    (Resource.CALL_CONSULT, "POST"): _AGENTS_OWN,
    (Resource.CALL_COMPLETE, "POST"): _AGENTS_OWN,
    (Resource.CALL_PARTICIPANTS, "POST"): _AGENTS_OWN,
    (Resource.CALL_DROP, "POST"): _AGENTS_OWN,
    (Resource.CALL_PARK, "POST"): _AGENTS_OWN,
    (Resource.CALL_UNPARK, "POST"): _SUPERVISORS,
    (Resource.CALL_SUPERVISE, "POST"): _SUPERVISORS,
    (Resource.CALL_RECORDING, "PUT"): _AGENTS_OWN,
    (Resource.CALL_LABELS, "PUT"): _AGENTS_OWN,
    (Resource.CDRS, "GET"): _AGENTS_OWN,
    (Resource.CALLBACKS, "GET"): _SUPERVISORS,
    (Resource.CALLBACKS, "POST"): _SUPERVISORS,
    (Resource.CALLBACKS, "DELETE"): _SUPERVISORS,
    (Resource.CALLBACK_VALIDATE, "POST"): _SUPERVISORS,
    (Resource.RECORDINGS, "GET"): _SUPERVISORS,
    (Resource.RECORDINGS, "DELETE"): _ADMINS,
    (Resource.RECORDING_AUDIO, "GET"): _SUPERVISORS,
}


def access_of(role: Role, resource: Resource, method: str) -> Access | None:
    """How far `role` may do `method` on `resource`; None is not at all."""
    return ROLE_TABLE.get((resource, method), {}).get(role)


def as_markdown() -> str:
    """The table as a page, written to `deploy/roles.md`."""
    head = "| resource | method | " + " | ".join(role.value for role in Role) + " |"
    lines = [
        "# What each role may do",
        "",
        "Printed from `router/http/roles.py` by `python -m router.http.roles`; do not edit.",
        "*all*: everything of the tenant, *own*: only the agent that the token's `sub` names, and the",
        "calls that agent is part of, *no*: refused with 403. Only `platform_admin` may name another tenant with `?tenant_id=`.",
        "",
        head,
        "|" + " --- |" * (2 + len(Role)),
    ]
    for (resource, method), row in ROLE_TABLE.items():
        cells = " | ".join(row[role].value if role in row else "no" for role in Role)
        lines.append(f"| `{resource.value}` | {method} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")  # noqa: T201 - printing is what this is for
