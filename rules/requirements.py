"""Who may take a call: members of one queue with at least these skill levels."""

from collections.abc import Iterable, Mapping

import msgspec

from rules.actions import Action, Ask, Callback, Enqueue, Menu, ReserveAgent


class Requirement(msgspec.Struct, frozen=True, order=True):
    """A queue and minimum levels (0 to 100) of named skills, sorted by skill.

    An agent without a level for a skill does not meet any requirement that names it, not even 0.
    """

    queue: str
    skills: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, queue: str, skills: Mapping[str, int]) -> "Requirement":
        return cls(queue, tuple(sorted(skills.items())) if skills else ())

    def is_met_by(self, levels: Mapping[str, int]) -> bool:
        """Whether an agent of the queue with these skill levels may take the call."""
        return all(skill in levels and levels[skill] >= least for skill, least in self.skills)


def requirements_of(action: Action) -> Iterable[Requirement]:
    """Every requirement an action can ask for, on any way through it."""
    match action:
        case ReserveAgent():
            yield Requirement.of(action.queue, action.skills)
            yield from requirements_of(action.otherwise)
        case Enqueue():
            yield Requirement.of(action.queue, action.skills)
            for step in action.relax:
                yield Requirement.of(action.queue, step.skills)
        case Callback():
            yield Requirement(action.queue)
            yield from requirements_of(action.otherwise)
        case Ask():
            yield from requirements_of(action.otherwise)
        case Menu():
            for choice in action.choices.values():
                yield from requirements_of(choice)
            yield from requirements_of(action.otherwise)
        case _:
            return
