"""Reads `site.yaml`: who and what there is, strictly, with all problems of all files at once.

A site may be spread over several files (a file holds at most 1 MiB); names are looked up across them.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.site.hours import OpeningHours, read_opening_hours
from router.site.resources import (
    E164,
    AgentConfig,
    Id,
    PlatformId,
    QueueConfig,
    RouterConfig,
    router_problems,
)
from router.site.typed_nodes import Hook, StructReader, Wrong, read_bounded, secret_hook
from rules.actions import Target, TargetType
from rules.problems import FileError, Mark, Problem, ProblemList
from rules.reader import MappingNode, Node, SequenceNode, read_tree

DEFAULT_TENANT: Final = "default"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's routers, queues and agents; every name in it leads somewhere."""

    tenant: str = DEFAULT_TENANT
    routers: tuple[RouterConfig, ...] = ()
    queues: tuple[QueueConfig, ...] = ()
    agents: tuple[AgentConfig, ...] = ()


class _SiteFile(msgspec.Struct, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=1, le=1)]
    tenant: Id = DEFAULT_TENANT
    routers: tuple[RouterConfig, ...] = ()
    queues: tuple[QueueConfig, ...] = ()
    agents: tuple[AgentConfig, ...] = ()


class _TargetForm(msgspec.Struct, frozen=True, kw_only=True):
    type: TargetType
    id: PlatformId | None = None
    number: E164 | None = None


class _Read(msgspec.Struct, frozen=True):
    """One file: what it says, and where."""

    tree: Node
    content: _SiteFile


def site_files(path: Path) -> list[Path]:
    """The file itself, or all `*.yaml` files of a folder; FileError when it has none.

    A folder without any is a mistake: pruning by it would remove everybody.
    """
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.yaml"))
    if not found:
        problem = Problem(
            mark=Mark(str(path), 1, 1),
            code="no-files",
            message="there are no files in this folder",
            expected="*.yaml",
        )
        raise FileError([problem])
    return found


def load_site(paths: Sequence[Path], rulesets: Collection[str] | None = None) -> Site:
    """The site in these files; `rulesets` are the names that may be used (None: not checked).

    Raises FileError with everything that is wrong.
    """
    return parse_site([(str(path), read_bounded(path)) for path in paths], rulesets)


def parse_site(files: Sequence[tuple[str, bytes]], rulesets: Collection[str] | None = None) -> Site:
    """Like `load_site`, from (name, bytes) pairs."""
    problems = ProblemList()
    hooks: dict[type[msgspec.Struct], Hook] = {
        **secret_hook(problems),
        OpeningHours: _hours_hook(problems),
        Target: _target_hook(problems),
    }
    reader = StructReader(problems, hooks=hooks)
    found: list[_Read] = []
    for name, text in files:
        tree = read_tree(text, name, problems)
        if tree is not None and (content := reader.read(tree, _SiteFile)) is not None:
            found.append(_Read(tree, content))
    if len(found) == len(files):
        _Checks(found, rulesets, problems).run()
    problems.raise_if_any()
    return Site(
        tenant=found[0].content.tenant if found else DEFAULT_TENANT,
        routers=tuple(router for read in found for router in read.content.routers),
        queues=tuple(queue for read in found for queue in read.content.queues),
        agents=tuple(agent for read in found for agent in read.content.agents),
    )


def _hours_hook(problems: ProblemList) -> Hook:
    def read(node: Node, path: str) -> object:
        hours = read_opening_hours(node, path, problems)
        return Wrong if hours is None else hours

    return read


def _target_hook(problems: ProblemList) -> Hook:
    def read(node: Node, path: str) -> object:
        form = StructReader(problems).read(node, _TargetForm, path)
        return Wrong if form is None else Target(type=form.type, id=form.id, number=form.number)

    return read


class _Checks:
    """What concerns more than one field: names that lead somewhere, ids that stand once."""

    def __init__(
        self, files: Sequence[_Read], rulesets: Collection[str] | None, problems: ProblemList
    ) -> None:
        self._files = files
        self._rulesets = rulesets
        self._problems = problems

    def run(self) -> None:
        self._one_tenant()
        for kind in ("routers", "queues", "agents"):
            self._once(kind, "id", lambda resource: [resource.id])
        self._once("agents", "user_id", lambda agent: _given(agent, "user_id"))
        self._once("agents", "number", lambda agent: _given(agent, "number"))
        self._once("queues", "call_center_id", lambda queue: _given(queue, "call_center_id"))
        self._once("routers", "phone_numbers", lambda router: list(router.phone_numbers))
        queues = frozenset(queue.id for read in self._files for queue in read.content.queues)
        for read in self._files:
            for place, agent in enumerate(read.content.agents):
                for queue in agent.queues:
                    path = ("agents", place, "queues", queue)
                    self._known(read, path, queue, queues, "queue")
            for place, router in enumerate(read.content.routers):
                self._router(read, place, router)

    def _one_tenant(self) -> None:
        for read in self._files[1:]:
            if read.content.tenant != self._files[0].content.tenant:
                message = "all files of a site are one tenant's"
                self._add(read, ("tenant",), "other-tenant", message, found=read.content.tenant)

    def _router(self, read: _Read, place: int, router: RouterConfig) -> None:
        for field, message in router_problems(router):
            self._add(read, ("routers", place, field), "wrong-router", message)
        if router.rules is not None and self._rulesets is not None:
            path = ("routers", place, "rules")
            self._known(read, path, router.rules, self._rulesets, "ruleset")

    def _known(
        self, read: _Read, path: tuple[str | int, ...], name: str, known: Collection[str], noun: str
    ) -> None:
        if name not in known:
            message = f"there is no such {noun}"
            self._add(read, path, "unknown-name", message, found=name, known=known)

    def _once(self, kind: str, field: str, keys: Callable[..., list[str]]) -> None:
        seen: dict[str, Mark] = {}
        for read in self._files:
            for place, resource in enumerate(getattr(read.content, kind)):
                for key in keys(resource):
                    mark = mark_at(read.tree, (kind, place, field))
                    first = seen.setdefault(key, mark)
                    if first is not mark:
                        message = f"this stands at {first} already"
                        self._add(read, (kind, place, field), "duplicate", message, found=key)

    def _add(
        self,
        read: _Read,
        path: tuple[str | int, ...],
        code: str,
        message: str,
        *,
        found: str | None = None,
        known: Collection[str] = (),
    ) -> None:
        mark = mark_at(read.tree, path)
        self._problems.add(mark, code, message, path=_words(path), found=found, known=known)


def _given(resource: msgspec.Struct, field: str) -> list[str]:
    value: str | None = getattr(resource, field)
    return [] if value is None else [value]


def mark_at(tree: Node, path: Sequence[str | int]) -> Mark:
    """The place of a value; of the nearest one around it that is there."""
    mark = tree.mark
    for step in path:
        child: Node | None = None
        if isinstance(tree, MappingNode):
            child = next((node for key, node in tree.entries if key.text == step), None)
        elif isinstance(tree, SequenceNode) and isinstance(step, int):
            child = tree.items[step]
        if child is None:
            return mark
        tree, mark = child, child.mark
    return mark


def _words(path: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
