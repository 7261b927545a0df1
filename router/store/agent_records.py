"""An agent's hash in Redis as an `AgentRecord`.

The hash is written by Lua only; its fields of several values are lines, which Lua takes apart faster
than JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from router.acd.agents import AgentRecord, AgentState, Membership
from router.store.keys import name_of, queue_id
from router.store.link import Reply
from router.store.operations import text_of


class Place(Protocol):
    """What is written of a membership."""

    @property
    def skill_level(self) -> int: ...
    @property
    def order(self) -> int: ...


def queues_text(queues: Mapping[str, Place]) -> str:
    """An agent's queues as its hash has them."""
    places = ((queue_id(name), queues[name]) for name in sorted(queues))
    return "".join(f"{place.skill_level} {place.order} {queue}\n" for queue, place in places)


def skills_text(skills: Mapping[str, int]) -> str:
    """An agent's skills as its hash has them."""
    return "".join(f"{queue_id(skill)}>{skills[skill]}\n" for skill in sorted(skills))


def record_of(agent: str, flat: Sequence[Reply]) -> AgentRecord | None:
    """The record behind field, value, field, value...; None when there is none."""
    texts = [text_of(part) for part in flat]
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    if "reqs" not in fields:
        return None
    activity = fields.get("activity")
    return AgentRecord(
        id=agent,
        queues=_queues(fields.get("queues", ""), fields.get("dnd_queues", "").split("\n")),
        skills=_skills(fields.get("skills", "")),
        on_duty="duty" in fields,
        reason=fields.get("reason"),
        do_not_disturb="dnd" in fields,
        disabled="disabled" in fields,
        disabled_until_ms=_number(fields, "disabled_until"),
        phone_lost="phone_lost" in fields,
        unanswered=_number(fields, "unanswered") or 0,
        idle_since_ms=_number(fields, "idle_since") or 0,
        activity=AgentState(activity) if activity else None,
        activity_since_ms=_number(fields, "since"),
        until_ms=_number(fields, "until"),
        token=fields.get("token"),
        call=fields.get("call"),
        queue=name_of(fields["queue"]) if fields.get("queue") else None,
    )


def _number(fields: dict[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _queues(lines: str, disturbed: Sequence[str]) -> dict[str, Membership]:
    queues = {}
    for line in lines.splitlines():
        level, order, queue = line.split(" ", 2)
        queues[name_of(queue)] = Membership(
            skill_level=int(level), order=int(order), do_not_disturb=queue in disturbed
        )
    return queues


def _skills(lines: str) -> dict[str, int]:
    pairs = (line.split(">", 1) for line in lines.splitlines())
    return {name_of(skill): int(level) for skill, level in pairs}
