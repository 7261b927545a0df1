"""The actions of a file: one reader for each, in one table that the JSON Schema is made from too."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from itertools import pairwise

import msgspec

from rules.actions import (
    Action,
    Ask,
    Callback,
    End,
    Enqueue,
    Forward,
    Menu,
    Relax,
    ReserveAgent,
    Route,
    Strategy,
    Target,
    TargetType,
    Voicemail,
)
from rules.fields import (
    Fields,
    Reader,
    UnreadableError,
    Value,
    exactly_one,
    list_of,
    mapping_of,
    one_of,
)
from rules.parse_numbers import PhoneNumber
from rules.scalars import Duration, Integer, NameOf, OneOf, Text, name
from rules.scope import Scope


class ActionName(StrEnum):
    ROUTE = "route"
    FORWARD = "forward"
    AGENT = "agent"
    QUEUE = "queue"
    ASK = "ask"
    MENU = "menu"
    VOICEMAIL = "voicemail"
    CALLBACK = "callback"
    END = "end"


DEFAULT_ACTIONS = (ActionName.ROUTE, ActionName.FORWARD, ActionName.VOICEMAIL, ActionName.END)
"""What `default` may do: answerable when nothing but this process works."""

MOST_SKILLS = 32
MOST_RELAXATIONS = 16
MOST_CHOICES = 100

LEVEL = Integer(0, 100)
PRIORITY = Integer(0, 100)
STICKY = Duration(1, 366 * 86400)
AFTER = Duration(1, 86400)
TIMEOUT = Duration(1, 60)
DIGITS = Integer(1, 20)
TRIES = Integer(1, 10)
PROMPT = Text(most=2000)
LOCALE = Text(
    most=35, pattern="[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}", expected="a locale such as en-us"
)
CHOICE = Text(most=4, pattern="[0-9*#]{1,4}", expected="1 to 4 keys of 0-9 * #")
TARGET_ID = Text(most=100, pattern=r"\S+", expected="an id without spaces")
QUEUE = name("the name of a queue")
NAME = name()
SKILL = name("the name of a skill")
STRATEGY = OneOf(Strategy)
TARGET_TYPE = OneOf(TargetType)

read_skills = mapping_of(SKILL, LEVEL, most=MOST_SKILLS)


class ActionReader(msgspec.Struct, frozen=True):
    """Reads one action, whichever it is."""

    scope: Scope

    def __call__(self, value: Value) -> Action:
        return exactly_one(self._readers(ActionName), "action")(value)

    def read_default(self, value: Value) -> Action:
        """Reads `default`, which may not need agents, queues or the caller's keys."""
        entries = value.entries() if value.is_mapping else []
        if len(entries) == 1 and entries[0].name in set(ActionName) - set(DEFAULT_ACTIONS):
            message = "the default has to be possible when nothing else works"
            entries[0].key.fail("not-for-default", message, one_of(DEFAULT_ACTIONS))
        return exactly_one(self._readers(DEFAULT_ACTIONS), "action")(value)

    def _readers(self, names: Iterable[ActionName]) -> Mapping[str, Reader[Action]]:
        return {each: partial(_READERS[each], self.scope) for each in names}


class TargetReader(msgspec.Struct, frozen=True):
    """`{type, id}`, or for a phone `{type: phone, number}`; `name` is the file's name for it."""

    number: PhoneNumber
    name: str | None = None

    def __call__(self, value: Value) -> Target:
        fields = Fields(value)
        kind = fields.required("type", TARGET_TYPE)
        if fields.has_failed:  # what goes with the type is anybody's guess
            fields.optional("number", self.number)
            fields.optional("id", TARGET_ID)
            fields.done()
        if kind is TargetType.PHONE:
            number = fields.required("number", self.number)
            fields.done()
            return Target(type=kind, number=number, name=self.name)
        identity = fields.required("id", TARGET_ID)
        fields.done()
        return Target(type=kind, id=identity, name=self.name)


def _target(scope: Scope, value: Value) -> Target:
    if value.is_mapping:
        return TargetReader(scope.number)(value)
    target = scope.targets[NameOf(scope.targets, "target")(value)]
    if target is None:
        raise UnreadableError
    return target


def _route(scope: Scope, value: Value) -> Action:
    return Route(target=_target(scope, value))


def _voicemail(scope: Scope, value: Value) -> Action:
    return Voicemail(target=_target(scope, value))


def _forward(scope: Scope, value: Value) -> Action:
    return Forward(number=scope.number(value))


def _agent(scope: Scope, value: Value) -> Action:
    fields = Fields(value)
    queue = fields.required("queue", QUEUE)
    skills = fields.optional("skills", read_skills, {})
    strategy = fields.optional("strategy", STRATEGY)
    sticky_s = fields.optional("sticky", STICKY)
    otherwise = _otherwise(scope, fields)
    fields.done()
    return ReserveAgent(
        queue=queue, skills=skills, strategy=strategy, sticky_s=sticky_s, otherwise=otherwise
    )


def _queue(scope: Scope, value: Value) -> Action:
    del scope  # a queue needs nothing of the file
    if not value.is_mapping:
        return Enqueue(queue=QUEUE(value))
    fields = Fields(value)
    queue = fields.required("name", QUEUE)
    priority = fields.optional("priority", PRIORITY, 0)
    skills = fields.optional("skills", read_skills, {})
    relax = fields.optional("relax", _relaxations, ())
    fields.done()
    return Enqueue(queue=queue, priority=priority, skills=skills, relax=relax)


def _relaxations(value: Value) -> tuple[Relax, ...]:
    steps = list_of(_relaxation, most=MOST_RELAXATIONS)(value)
    if any(later.after_s <= sooner.after_s for sooner, later in pairwise(steps)):
        value.fail(
            "not-in-order", "each step has to come after the one before it", "rising `after`"
        )
    return steps


def _relaxation(value: Value) -> Relax:
    fields = Fields(value)
    after_s = fields.required("after", AFTER)
    skills = fields.required("skills", read_skills)
    fields.done()
    return Relax(after_s=after_s, skills=skills)


def _ask(scope: Scope, value: Value) -> Action:
    fields = Fields(value)
    name = fields.required("name", NAME)
    prompt = fields.required("prompt", PROMPT)
    digits = fields.optional("digits", DIGITS, 1)
    locale = fields.optional("locale", LOCALE)
    timeout_s = fields.optional("timeout", TIMEOUT, 5)
    tries = fields.optional("tries", TRIES, 3)
    otherwise = _otherwise(scope, fields)
    fields.done()
    return Ask(
        name=name,
        prompt=prompt,
        digits=digits,
        locale=locale,
        timeout_s=timeout_s,
        tries=tries,
        otherwise=otherwise,
    )


def _menu(scope: Scope, value: Value) -> Action:
    fields = Fields(value)
    name = fields.required("name", NAME)
    prompt = fields.required("prompt", PROMPT)
    choices = fields.required("choices", partial(_choices, scope))
    locale = fields.optional("locale", LOCALE)
    timeout_s = fields.optional("timeout", TIMEOUT, 5)
    tries = fields.optional("tries", TRIES, 3)
    otherwise = _otherwise(scope, fields)
    fields.done()
    return Menu(
        name=name,
        prompt=prompt,
        choices=choices,
        locale=locale,
        timeout_s=timeout_s,
        tries=tries,
        otherwise=otherwise,
    )


def _choices(scope: Scope, value: Value) -> Mapping[str, Action]:
    if not value.entries():
        value.fail("empty", "a menu needs choices", "keys, each with an action")
    return mapping_of(CHOICE, ActionReader(scope), most=MOST_CHOICES)(value)


def _callback(scope: Scope, value: Value) -> Action:
    fields = Fields(value)
    queue = fields.required("queue", QUEUE)
    otherwise = _otherwise(scope, fields)
    fields.done()
    return Callback(queue=queue, otherwise=otherwise)


def _end(scope: Scope, value: Value) -> Action:
    del scope  # an end needs nothing of the file
    fields = Fields(value)
    message = fields.optional("message", PROMPT)
    locale = fields.optional("locale", LOCALE)
    fields.done()
    return End(message=message, locale=locale)


def _otherwise(scope: Scope, fields: Fields) -> Action:
    """What stands there, else the file's default."""
    written = fields.optional("otherwise", ActionReader(scope))
    if written is not None:
        return written
    # Without a readable default there is no document: nobody will see what stands in for it.
    return scope.default or End()


_READERS: Mapping[ActionName, Callable[[Scope, Value], Action]] = {
    ActionName.ROUTE: _route,
    ActionName.FORWARD: _forward,
    ActionName.AGENT: _agent,
    ActionName.QUEUE: _queue,
    ActionName.ASK: _ask,
    ActionName.MENU: _menu,
    ActionName.VOICEMAIL: _voicemail,
    ActionName.CALLBACK: _callback,
    ActionName.END: _end,
}
