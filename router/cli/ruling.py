"""`crosspoint rules`: check, explain and describe rules files, without a store; replay needs one."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from router.cli.explaining import print_explanation
from router.cli.replaying import replay
from router.cli.shell import (
    UNUSABLE,
    WRONG,
    Boundary,
    Shell,
    ended,
    json_option,
    print_json,
    to_json,
)
from rules.problems import FileError, Problem

if TYPE_CHECKING:
    from rules.facts import CallFacts, QueueFacts
    from rules.lint import KnownNames
    from rules.reader import Node

_FILE = click.Path(path_type=Path)


@click.group(cls=Boundary)
def rules() -> None:
    """Check, explain, replay and describe rules files."""


@rules.command(
    epilog="""\b
Exit codes: 0 clean, 1 findings, 2 a file that cannot be read.
\b
Example:
  crosspoint rules check rules/*.yaml"""
)
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option(
    "--site",
    type=_FILE,
    help="Queues, routers and skills that are named must stand there; for files of the rules_dir in the"
    " settings the default is their site.",
)
@json_option
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], site: Path | None, as_json: bool) -> None:
    """Load each FILE, look for oddities and run its cases."""
    names = _Names(ctx.obj, site)
    results = [checked(file, names.known_to(file)) for file in files]
    if as_json:
        print_json([_result_form(result) for result in results])
    else:
        for result in results:
            _print_result(result)
    ctx.exit(max(result.exit_code for result in results))


class Result(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    problems: tuple[Problem, ...]
    left_out: int = 0
    is_loaded: bool = True
    rules: int = 0
    cases: int = 0

    @property
    def exit_code(self) -> int:
        if not self.is_loaded:
            return UNUSABLE
        return WRONG if self.problems else 0


class _Names:
    """The queues, routers and skills that rules files may name."""

    def __init__(self, shell: Shell, site: Path | None) -> None:
        self._shell = shell
        self._given = None if site is None else names_of_site(site)

    def known_to(self, file: Path) -> "KnownNames | None":
        """Those of the site given, else of the settings' site for a file of its rules; None: not known."""
        if self._given is not None:
            return self._given
        try:
            settings = self._shell.settings
            if settings.site is None or file.resolve().parent != settings.rules_dir.resolve():
                return None
            return names_of_site(settings.site)
        except (FileError, OSError):
            return None  # `doctor` says what is wrong with those


def names_of_site(site: Path) -> "KnownNames":
    """The queues, routers and skills of a site; FileError."""
    from router.rulesets.known_names import known_names  # noqa: PLC0415 - start-up time
    from router.site.file import load_site, site_files  # noqa: PLC0415

    found = load_site(site_files(site))
    return known_names(found.routers, found.queues, found.agents)


def checked(file: Path, known: "KnownNames | None" = None) -> Result:
    from rules.cases import run_cases  # noqa: PLC0415 - start-up time
    from rules.lint import lint  # noqa: PLC0415
    from rules.loader import load_document  # noqa: PLC0415
    from rules.ruleset import compile_ruleset  # noqa: PLC0415

    try:
        document = load_document(file)
    except FileError as error:
        problems = tuple(error.problems)
        return Result(file=str(file), problems=problems, left_out=error.left_out, is_loaded=False)
    ruleset = compile_ruleset(document)
    return Result(
        file=str(file),
        problems=(*lint(ruleset, known), *run_cases(ruleset)),
        rules=len(document.rules),
        cases=len(document.cases),
    )


def _result_form(result: Result) -> dict[str, object]:
    verdict = {0: "clean", WRONG: "findings", UNUSABLE: "unreadable"}[result.exit_code]
    return {
        "file": result.file,
        "verdict": verdict,
        "rules": result.rules,
        "cases": result.cases,
        "left_out": result.left_out,
        "problems": [to_json(problem) for problem in result.problems],
    }


def _print_result(result: Result) -> None:
    for problem in result.problems:
        click.echo(str(problem))
    if result.left_out:
        click.echo(f"... and {result.left_out} more")
    if not result.problems:
        click.echo(f"{result.file}: clean; {result.rules} rules, {result.cases} cases passed")


@rules.command(
    epilog="""\b
The call is JSON (or YAML) as in a rules file's cases; `-` is stdin:
  {"caller": "+12125550142", "digits": {"language": "2"}}
Queues likewise: {"support": {"agents_idle": 1, "waiting": 0}}
\b
Examples:
  crosspoint rules explain main.yaml --call call.json --at 2026-12-01T10:00:00-05:00
  echo '{"caller": "+12125550142"}' | crosspoint rules explain main.yaml --call -"""
)
@click.argument("file", type=_FILE)
@click.option("--call", "call_file", required=True, type=_FILE, help="The call; `-` is stdin.")
@click.option("--at", help="When, as 2026-12-01T10:00:00-05:00; default: now.")
@click.option("--queues", "queues_file", type=_FILE, help="Live facts of queues.")
@json_option
def explain(
    file: Path, call_file: Path, at: str | None, queues_file: Path | None, as_json: bool
) -> None:
    """Say which rule of FILE decides a call, and what kept each rule before it from deciding."""
    from rules.loader import load_document  # noqa: PLC0415 - start-up time
    from rules.ruleset import compile_ruleset  # noqa: PLC0415

    call, queues = _read_call(call_file), _read_queues(queues_file)
    now_s = time.time() if at is None else _instant(at)
    # The call is one that its asker gave: there is nobody to hide it from.
    explanation = compile_ruleset(load_document(file)).explain(call, now_s, queues, unmasked=True)
    if as_json:
        print_json(to_json(explanation))
    else:
        print_explanation(explanation)


@rules.command(
    epilog="""\b
Example, for an editor that knows the YAML language server:
  crosspoint rules schema > rules.schema.json"""
)
def schema() -> None:
    """Print a JSON Schema of rules files, so that an editor completes and checks while you type."""
    from rules.json_schema import json_schema  # noqa: PLC0415 - start-up time

    print_json(json_schema())


rules.add_command(replay)


def _read_call(path: Path) -> "CallFacts":
    from rules.fields import read_node  # noqa: PLC0415 - start-up time
    from rules.parse_cases import read_call  # noqa: PLC0415
    from rules.problems import ProblemList  # noqa: PLC0415
    from rules.reader import read_tree  # noqa: PLC0415

    problems = ProblemList()
    tree = read_tree(_bytes(path), _name(path), problems)
    if tree is None:
        problems.raise_if_any()
        raise AssertionError
    return read_node(_without_nulls(tree), problems, read_call)


def _without_nulls(tree: "Node") -> "Node":
    """A call as the decision log prints it: what it has not is `null` there, and not there here."""
    from rules.reader import MappingNode, ScalarNode  # noqa: PLC0415 - start-up time

    if not isinstance(tree, MappingNode):
        return tree
    kept = (
        (key, _without_nulls(node))
        for key, node in tree.entries
        if not (isinstance(node, ScalarNode) and node.text == "null" and not node.is_quoted)
    )
    return MappingNode(tree.mark, tuple(kept))


def _read_queues(path: Path | None) -> "dict[str, QueueFacts] | None":
    from rules.fields import read_all  # noqa: PLC0415 - start-up time
    from rules.parse_cases import read_queues  # noqa: PLC0415

    return None if path is None else dict(read_all(_bytes(path), _name(path), read_queues))


def _bytes(path: Path) -> bytes:
    from router.site.typed_nodes import read_bounded  # noqa: PLC0415 - start-up time
    from rules.reader import LARGEST_FILE_BYTES  # noqa: PLC0415

    if str(path) == "-":
        return sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1)
    return read_bounded(path)


def _name(path: Path) -> str:
    return "stdin" if str(path) == "-" else str(path)


def _instant(text: str) -> float:
    from rules.fields import read_all  # noqa: PLC0415 - start-up time
    from rules.parse_times import Instant  # noqa: PLC0415

    try:
        return read_all(f'"{text}"'.encode(), "--at", Instant())
    except FileError as error:
        raise ended(str(error.problems[0]), UNUSABLE) from None
