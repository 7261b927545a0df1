"""Who a call is to go to, as the API takes it: an agent, a number, a queue, a message, a menu."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router.errors import InvalidInputError
from router.http.v1.endpoints import Asked
from router.http.v1.resources import picture
from router.site.resources import Id, Key
from router.site.texts import ONE_LINE, WRITTEN_NUMBER
from router.telephony.call_control import Party
from rules.actions import Action, End, Enqueue, Forward, Menu, Route, Target, TargetType

Number = Annotated[str, Meta(min_length=2, max_length=32, pattern=WRITTEN_NUMBER)]
"""A phone number in any usual spelling."""

Message = Annotated[str, Meta(min_length=1, max_length=1000, pattern=ONE_LINE)]
RingSeconds = Annotated[int, Meta(ge=5, le=120)]


class Ringing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ring exactly one: an agent's phone, or a number."""

    agent: Id | None = None
    number: Number | None = None
    ring_seconds: RingSeconds = 30


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a call goes: exactly one of an agent, a number, a queue."""

    agent: Id | None = None
    number: Number | None = None
    queue: Id | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key leads to: exactly one of an agent, a number, a queue, a message."""

    agent: Id | None = None
    number: Number | None = None
    queue: Id | None = None
    message: Message | None = None


class MenuInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question with one key as the answer. Without `otherwise` the call ends after the last try."""

    prompt: Message
    choices: Annotated[Mapping[Key, Choice], Meta(min_length=1, max_length=12)]
    otherwise: Choice | None = None
    timeout_seconds: Annotated[int, Meta(ge=1, le=30)] = 5
    tries: Annotated[int, Meta(ge=1, le=10)] = 3


async def party_of(asked: Asked[Any], ringing: Ringing) -> Party:
    """Whom to ring; InvalidInputError when it is not exactly one, or there is no such agent."""
    await _check(asked, ringing, ("agent", "number"), "")
    return Party(agent=ringing.agent, number=ringing.number)


async def action_of(asked: Asked[Any], to: Destination | Choice, place: str = "") -> Action:
    """What leads there. `place` is where in the body it stands."""
    names = to.__struct_fields__
    name = await _check(asked, to, names, place)
    match name, getattr(to, name):
        case "agent", str(agent):
            return Route(target=Target(type=TargetType.USER, id=agent))
        case "number", str(number):
            return Forward(number=number)
        case "queue", str(queue):
            return Enqueue(queue=queue)
        case _, message:
            return End(message=message)


async def menu_of(asked: Asked[Any], menu: MenuInput) -> Menu:
    choices: dict[str, Action] = {
        key: await action_of(asked, choice, f"menu.choices.{key}.")
        for key, choice in menu.choices.items()
    }
    otherwise: Action = End()
    if menu.otherwise is not None:
        otherwise = await action_of(asked, menu.otherwise, "menu.otherwise.")
    return Menu(
        name="menu",
        prompt=menu.prompt,
        choices=choices,
        otherwise=otherwise,
        timeout_s=menu.timeout_seconds,
        tries=menu.tries,
    )


async def agent_named(asked: Asked[Any], agent: str | None) -> str:
    """The agent that is named, or the one that asks."""
    wanted = agent or asked.who.sub
    if wanted not in (await picture(asked)).agents:
        raise InvalidInputError(f"There is no agent {wanted[:64]}.", field="agent")
    return wanted


async def _check(
    asked: Asked[Any], given: msgspec.Struct, names: tuple[str, ...], place: str
) -> str:
    """The one name that is given; agents and queues have to be there."""
    found = [name for name in names if getattr(given, name) is not None]
    if len(found) != 1:
        field = f"{place}{found[-1] if found else names[0]}"
        raise InvalidInputError(f"Exactly one of {', '.join(names)} is wanted.", field=field)
    name = found[0]
    if name in {"agent", "queue"}:
        known = await picture(asked)
        wanted = getattr(given, name)
        if wanted not in (known.agents if name == "agent" else known.queues):
            raise InvalidInputError(f"There is no {name} {wanted}.", field=place + name)
    return name
