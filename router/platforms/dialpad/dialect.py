"""What each of our actions is on a Dialpad call router."""

from typing import assert_never

from router.decisions.dialogue import most_digits
from router.decisions.outcome import Names
from router.platforms.dialpad.wire import TARGET_TYPES, Answer, write_answer, write_to_user
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


class DialpadDialect:
    """Answers as `wire.write_answer` writes them."""

    address = "user_id"

    def express(self, action: Action, names: Names, agent: AgentConfig | None) -> bytes | None:
        if isinstance(action, ReserveAgent):
            user_id = None if agent is None else agent.user_id
            return None if user_id is None else write_to_user(user_id)
        answer = _answer(action, names)
        return None if answer is None else write_answer(answer)


def _answer(action: Action, names: Names) -> Answer | None:
    match action:
        case Route() | Voicemail():
            return _to(action.target)
        case Forward() | End() | Ask():
            return action
        case Menu():
            return Ask(
                name=action.name,
                prompt=action.prompt,
                digits=most_digits(action),
                locale=action.locale,
                otherwise=action.otherwise,
            )
        case Enqueue():
            queue = names.queue(action.queue)
            return _group(TargetType.CALLCENTER, queue.call_center_id if queue else None)
        case ReserveAgent() | Callback():  # who is reserved is `express`'s
            return None
        case _:
            assert_never(action)


def _to(target: Target) -> Answer | None:
    """A voicemail target is routed to: what stands behind it takes the message."""
    if target.type is TargetType.PHONE:
        return None if target.number is None else Forward(number=target.number)
    return Route(target=target) if target.type in TARGET_TYPES and target.id else None


def _group(kind: TargetType, target_id: str | None) -> Answer | None:
    return None if target_id is None else Route(target=Target(type=kind, id=target_id))
