"""Reads `site.yaml`: who and what there is, strictly, with all problems of all files at once.

A site may be spread over several files (a file holds at most 1 MiB); names are looked up across them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.site.hours import OpeningHours, read_opening_hours
from router.site.refusals import path_in_words
from router.site.resources import (
    E164,
    AgentConfig,
    HoldQueue,
    Id,
    PlatformId,
    QueueConfig,
    RouterConfig,
    callback_key_problem,
    number_in,
    router_problems,
    target_problem,
)
from router.site.secret_refs import SecretRef
from router.site.typed_nodes import (
    Hook,
    StructReader,
    Wrong,
    mark_at,
    read_bounded,
    secret_hook,
)
from rules.actions import Target, TargetType
from rules.problems import FileError, Mark, Problem, ProblemList
from rules.reader import MappingNode, Node, ScalarNode, SequenceNode, read_tree

DEFAULT_TENANT: Final = "default"
_SUFFIXES: Final = frozenset({".yaml", ".yml"})


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


def site_files(path: Path) -> list[Path]:
    """The file itself, or all `*.yaml` and `*.yml` files of a folder; FileError when it has none.

    A folder without any is a mistake: pruning by it would remove everybody. Hidden files are an
    editor's business.
    """
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.iterdir()
        if file.suffix in _SUFFIXES and not file.name.startswith(".")
    )
    if not found:
        problem = Problem(
            mark=Mark(str(path), 1, 1),
            code="no-files",
            message="there are no files in this folder",
            expected="*.yaml or *.yml",
        )
        raise FileError([problem])
    return found


def load_site(
    paths: Sequence[Path],
    rulesets: Collection[str] | None = None,
    features: frozenset[str] = frozenset(),
) -> Site:
    """The site in these files; `rulesets` are the names that may be used (None: not checked).

    `features` are numbers at which agents log in and out: no router's. Raises FileError with everything
    that is wrong.
    """
    return parse_site([(str(path), read_bounded(path)) for path in paths], rulesets, features)


def parse_site(
    files: Sequence[tuple[str, bytes]],
    rulesets: Collection[str] | None = None,
    features: frozenset[str] = frozenset(),
) -> Site:
    """Like `load_site`, from (name, bytes) pairs."""
    problems = ProblemList()
    hooks: dict[type[msgspec.Struct], Hook] = {
        **secret_hook(problems),
        HoldQueue: _hold_hook(problems),
        OpeningHours: _hours_hook(problems),
        Target: _target_hook(problems),
    }
    reader = StructReader(problems, hooks=hooks)
    trees = [read_tree(text, name, problems) for name, text in files]
    found = [reader.read(tree, _SiteFile) for tree in trees if tree is not None]
    _Checks(trees, rulesets, features, problems).run()
    problems.raise_if_any()
    contents = [content for content in found if content is not None]
    return Site(
        tenant=contents[0].tenant if contents else DEFAULT_TENANT,
        routers=tuple(router for content in contents for router in content.routers),
        queues=tuple(queue for content in contents for queue in content.queues),
        agents=tuple(agent for content in contents for agent in content.agents),
    )


def _hours_hook(problems: ProblemList) -> Hook:
    def read(node: Node, path: str) -> object:
        hours = read_opening_hours(node, path, problems)
        return Wrong if hours is None else hours

    return read


def _hold_hook(problems: ProblemList) -> Hook:
    def read(node: Node, path: str) -> object:
        hold = StructReader(problems).read(node, HoldQueue, path)
        if hold is None:
            return Wrong
        if message := callback_key_problem(hold):
            field = "queue_callback_dtmf"
            problems.add(mark_at(node, (field,)), "same-key", message, path=f"{path}.{field}")
            return Wrong
        return hold

    return read


def _target_hook(problems: ProblemList) -> Hook:
    def read(node: Node, path: str) -> object:
        form = StructReader(problems).read(node, _TargetForm, path)
        if form is None:
            return Wrong
        target = Target(type=form.type, id=form.id, number=form.number)
        if message := target_problem(target):
            problems.add(node.mark, "wrong-router", message, path=path)
            return Wrong
        return target

    return read


class _Item(msgspec.Struct, frozen=True):
    """One resource as it stands in a file, its fields readable or not."""

    tree: Node
    place: tuple[str | int, ...]
    fields: Mapping[str, Node]

    def text(self, field: str) -> str | None:
        """The single value that stands there ("": something else does); None: nothing does."""
        node = self.fields.get(field)
        if node is None:
            return None
        return node.text if isinstance(node, ScalarNode) else ""

    def texts(self, field: str) -> list[str]:
        """The single value, those of the list, or the keys of the mapping that stand there."""
        match self.fields.get(field):
            case ScalarNode(text=text):
                return [text] if text else []
            case SequenceNode(items=items):
                return [item.text for item in items if isinstance(item, ScalarNode)]
            case MappingNode(entries=entries):
                return [key.text for key, _ in entries]
            case None:
                return []


class _Checks:
    """What concerns more than one field: names that lead somewhere, ids that stand once.

    It looks at what stands in the files, not at what could be read of it: a value of a wrong type
    somewhere does not hide what else is wrong.
    """

    def __init__(
        self,
        trees: Sequence[Node | None],
        rulesets: Collection[str] | None,
        features: frozenset[str],
        problems: ProblemList,
    ) -> None:
        """A tree None is that of a file that is no YAML."""
        self._trees = [tree for tree in trees if tree is not None]
        self._is_whole = len(self._trees) == len(trees)
        self._rulesets = rulesets
        self._features = features
        self._problems = problems

    def run(self) -> None:
        self._one_tenant()
        for kind in ("routers", "queues", "agents"):
            self._once(kind, "id")
        self._once("agents", "user_id")
        self._once("agents", "number", unnamed=number_in)
        self._once("queues", "call_center_id")
        self._once("routers", "phone_numbers")
        if self._is_whole:  # the missing file may be the one with the queues
            queues = {name for queue in self._items("queues") for name in queue.texts("id")}
            for agent in self._items("agents"):
                for name in agent.texts("queues"):
                    self._known(agent, ("queues", name), name, queues, "queue")
        for router in self._items("routers"):
            self._router(router)

    def _items(self, kind: str) -> Iterator[_Item]:
        for tree in self._trees:
            found = dict(_entries(tree)).get(kind)
            for place, item in enumerate(found.items if isinstance(found, SequenceNode) else ()):
                yield _Item(tree, (kind, place), dict(_entries(item)))

    def _one_tenant(self) -> None:
        sites = [_Item(tree, (), dict(_entries(tree))) for tree in self._trees]
        first = sites[0].text("tenant") or DEFAULT_TENANT if sites else ""
        for site in sites[1:]:
            tenant = site.text("tenant") or DEFAULT_TENANT
            if tenant != first:
                message = "all files of a site are one tenant's"
                self._add(site, ("tenant",), "other-tenant", message, found=tenant)

    def _router(self, item: _Item) -> None:
        # As far as the fields go that are looked at; what those are is not checked when it is made.
        router = RouterConfig(
            id="",
            name="",
            default_target=Target(type=TargetType.OFFICE, id="0"),
            rules=item.text("rules"),
            routing_url=item.text("routing_url"),
            secret=_ANY_SECRET if "secret" in item.fields else None,
            previous_secret=_ANY_SECRET if "previous_secret" in item.fields else None,
        )
        for field, message in router_problems(router):
            self._add(item, (field,), "wrong-router", message)
        for number in sorted(self._features & set(item.texts("phone_numbers"))):
            message = "agents log in or out at this number: its calls would never reach the router"
            self._add(item, ("phone_numbers",), "login-number", message, found=number)
        if router.rules and self._rulesets is not None:
            self._known(item, ("rules",), router.rules, self._rulesets, "ruleset in rules_dir")

    def _known(
        self, item: _Item, path: tuple[str, ...], name: str, known: Collection[str], noun: str
    ) -> None:
        if name not in known:
            message = f"there is no such {noun}"
            self._add(item, path, "unknown-name", message, found=name, known=known)

    def _once(
        self, kind: str, field: str, *, unnamed: Callable[[str], str | None] | None = None
    ) -> None:
        """`unnamed` tells from an id what it is called where the field is not there."""
        seen: dict[str, Mark] = {}
        for item in self._items(kind):
            place, texts = field, item.texts(field)
            if unnamed is not None and field not in item.fields:
                name = unnamed(item.text("id") or "")
                place, texts = "id", [] if name is None else [name]
            mark = mark_at(item.tree, (*item.place, place))
            for text in texts:
                first = seen.setdefault(text, mark)
                if first is not mark:
                    message = f"this stands at {first} already"
                    self._add(item, (place,), "duplicate", message, found=text)

    def _add(
        self,
        item: _Item,
        path: tuple[str, ...],
        code: str,
        message: str,
        *,
        found: str | None = None,
        known: Collection[str] = (),
    ) -> None:
        place = (*item.place, *path)
        mark = mark_at(item.tree, place)
        self._problems.add(mark, code, message, path=path_in_words(place), found=found, known=known)


_ANY_SECRET: Final = SecretRef(env="X")


def _entries(node: Node) -> Iterator[tuple[str, Node]]:
    if isinstance(node, MappingNode):
        for key, value in node.entries:
            yield key.text, value
