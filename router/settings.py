"""The settings of the service: one frozen tree, read once, handed down in pieces.

`crosspoint.yaml` is read by the same strict loader as rules files. Every key can be overridden by an
environment variable: `http.port` by `CROSSPOINT_HTTP__PORT`. This is the only reader of the
environment; relative paths are taken from the folder of the settings file.
"""

import errno
import ipaddress
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, inspect

from pbx.ami.values import is_folder
from router.site import texts
from router.site.optional import not_none
from router.site.secret_refs import SecretRef, resolve_secret
from router.site.secrets import SecretSource
from router.site.typed_nodes import (
    StructReader,
    mark_at,
    read_bounded,
    secret_hook,
    type_info,
)
from router.store_urls import split_store_url
from rules.problems import Mark, ProblemList
from rules.reader import MappingNode, Node, ScalarNode, read_tree

FILE_NAME: Final = "crosspoint.yaml"

PREFIX: Final = "CROSSPOINT_"
"""What the environment variables that override a setting begin with."""

KEEP_RECORDS_DAYS: Final = 90
"""How long records of calls are kept where nothing is said of it."""

_LONGEST_SECRET_FILE: Final = 4096
_MISTYPED: Final = "(store.url is no URL)"
_HOST: Final = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?"
_HOSTS: Final = re.compile(rf"({_HOST}(,{_HOST})*)?")


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen. `workers` processes share one port.

    `reserve_ms` of every router's budget are kept for writing the answer. `drain_seconds` is how long
    requests may go on after SIGTERM.
    """

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    reserve_ms: Annotated[int, Meta(ge=1, le=1000)] = 15
    drain_seconds: Annotated[int, Meta(ge=0, le=300)] = 10


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The store: a URL, or none for the embedded one under the data folder.

    The URL (see `router/store/endpoints.py`: Sentinel, cluster, TLS) may carry a password: it is
    hidden in the repr.
    """

    url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None

    def __repr__(self) -> str:
        return f"StoreSettings({self.public_url()})"

    def public_url(self) -> str:
        """The URL without its password; nothing of one that is mistyped, for that may be the password."""
        if self.url is None:
            return "embedded"
        try:
            parts = split_store_url(self.url)
        except ValueError:
            return _MISTYPED
        where = parts.netloc.rpartition("@")[2]
        is_odd = "@" in parts.path and parts.scheme != "unix"
        if is_odd or parts.fragment or not _HOSTS.fullmatch(where):
            return _MISTYPED
        return f"{parts.scheme}://{where}{parts.path}"


class TokenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use the management API: tokens signed with `secret` (HS256) or a key of `jwks_file`.

    `previous_secret` stays valid during a rotation.
    """

    secret: SecretRef = SecretRef(file="secrets/tokens")
    previous_secret: SecretRef | None = None
    jwks_file: Path | None = None
    issuer: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    audience: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the decision log holds calls as they came; otherwise what tells of people is masked."""

    log_full_numbers: bool = False


class ForeignSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Asking somebody else's `routing_url`: private networks that may be asked (CIDR), answer limit."""

    allow: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    answer_limit_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 65_536


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Offering calls: a reservation that nobody confirms holds for `lease_ms`."""

    lease_ms: Annotated[int, Meta(ge=500, le=120_000)] = 10_000


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds: `decisions_kept` per tenant in the log, `ask_rounds` of questions to one caller."""

    decisions_kept: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    ask_rounds: Annotated[int, Meta(ge=1, le=100)] = 10


class CallbackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Calling back: `tries` calls to the customer, `retry_seconds` apart, each ringing `ring_seconds`.

    `agent_first` rings an agent before the customer, else the customer before an agent is looked for.
    A callback that nobody got round to is given up when its queue was open for `longest_wait_seconds`.
    """

    agent_first: bool = True
    tries: Annotated[int, Meta(ge=1, le=20)] = 3
    retry_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    ring_seconds: Annotated[int, Meta(ge=5, le=120)] = 30
    longest_wait_seconds: Annotated[int, Meta(ge=60, le=604_800)] = 86_400


class PbxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One Asterisk and what may be done with it: `crosspoint pbx` and `crosspoint up` take its calls.

    `id` is the same for the controller that works and the one that waits; calls belong to `tenant`.
    A call to a number that no router of the tenant has goes to `default_router`. Agents log in and out
    by calling `login_number` and `logout_number`, written as they are dialled. Numbers without `+`
    are of `country`; `{number}` in `trunk_endpoint` is where an E.164 number is dialled, and only
    numbers of `dial_countries` (none: of `country`) are ever dialled, never premium-rate ones.
    `caller_id` is shown to whom we call. `spool_dir` is where Asterisk records. Prompts are
    recorded ones of `sounds_dir`, words of Asterisk's `core_sounds_dir`, or made of text once by
    `speech_command` or `speech_url` and kept in `speech_dir`; Asterisk reads all three. `keep_place_seconds`: a caller whose line dropped gets the place back so long;
    `store_patience_seconds`: so long callers wait for a store that is away. After `unanswered_limit`
    unanswered offers in a row an agent is left alone for `unanswered_pause_seconds`; an agent whose
    hang-up was never reported is free again after `longest_call_seconds`.
    """

    id: Annotated[str, Meta(pattern=texts.ID)] = "pbx"
    tenant: Annotated[str, Meta(pattern=texts.ID)] = "default"
    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 5038
    username: Annotated[str, Meta(min_length=1, max_length=100)] = "crosspoint"
    secret: SecretRef = SecretRef(file="secrets/ami")
    tls_ca_file: Path | None = None
    default_router: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    login_number: Annotated[str, Meta(pattern=texts.FEATURE_NUMBER)] | None = None
    logout_number: Annotated[str, Meta(pattern=texts.FEATURE_NUMBER)] | None = None
    country: Annotated[str, Meta(pattern=texts.COUNTRY)] | None = None
    trunk_endpoint: Annotated[str, Meta(pattern=texts.TRUNK_ENDPOINT)] | None = None
    dial_countries: Annotated[tuple[str, ...], Meta(max_length=250)] = ()
    caller_id: Annotated[str, Meta(pattern=texts.E164)] | None = None
    language: Annotated[str, Meta(pattern=texts.LANGUAGE)] = "en"
    spool_dir: Path = Path("/var/spool/asterisk/monitor")
    sounds_dir: Path | None = None
    core_sounds_dir: Path | None = None
    speech_dir: Path = Path("/var/lib/crosspoint/speech")
    speech_command: Annotated[tuple[str, ...], Meta(max_length=50)] = ()
    speech_url: Annotated[str, Meta(min_length=8, max_length=2048)] | None = None
    stereo: bool = False
    most_calls: Annotated[int, Meta(ge=1, le=20_000)] = 2_000
    keep_place_seconds: Annotated[int, Meta(ge=0, le=3600)] = 120
    store_patience_seconds: Annotated[int, Meta(ge=1, le=600)] = 30
    unanswered_limit: Annotated[int, Meta(ge=1, le=100)] = 3
    unanswered_pause_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    longest_call_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 14_400
    message_seconds: Annotated[int, Meta(ge=5, le=3600)] = 180
    lease_seconds: Annotated[int, Meta(ge=2, le=300)] = 10
    keep_records_days: Annotated[int, Meta(ge=1, le=3650)] = KEEP_RECORDS_DAYS
    keep_recordings_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    callbacks: CallbackSettings = CallbackSettings()


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The log on stderr."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.JSON


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `recordings_dir` None is `recordings` under the data folder."""

    http: HttpSettings = HttpSettings()
    store: StoreSettings = StoreSettings()
    data_dir: Path = Path("data")
    rules_dir: Path = Path("rules")
    site: Path | None = None
    recordings_dir: Path | None = None
    tokens: TokenSettings = TokenSettings()
    privacy: PrivacySettings = PrivacySettings()
    foreign: ForeignSettings = ForeignSettings()
    agents: AgentSettings = AgentSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    pbx: PbxSettings | None = None

    @property
    def directory_file(self) -> Path:
        """Where the last known routers, queues and agents are kept."""
        return self.data_dir / "directory.json"

    @property
    def store_dir(self) -> Path:
        """Where the embedded store keeps its data."""
        return self.data_dir / "store"


def secret_source(settings: Settings, env: Mapping[str, str] = os.environ) -> SecretSource:
    """Read secrets from the environment, and from files below (or beside) the data folder.

    This touches the disk: never on the way of a routing request.
    """

    def read(path: str) -> str:
        wanted = settings.data_dir / path
        if not wanted.parent.is_dir():  # a folder that is not mounted says nothing of its files
            raise NotADirectoryError(errno.ENOTDIR, "its folder is not there")
        with wanted.open(encoding="utf-8") as file:
            return file.read(_LONGEST_SECRET_FILE)

    return lambda reference: resolve_secret(reference, env, read)


def load_settings(path: Path | None, env: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the file (None: all defaults) with the environment's overrides.

    Raises FileError with everything that is wrong in both.
    """
    text = b"{}" if path is None else read_bounded(path)
    file = "settings" if path is None else str(path)
    folder = (Path.cwd() if path is None else path.parent).absolute()
    return parse_settings(text, file, folder, env)


def parse_settings(text: bytes, file: str, folder: Path, env: Mapping[str, str]) -> Settings:
    """Like `load_settings`, from bytes; relative paths are taken from `folder`."""
    problems = ProblemList()
    tree = read_tree(text, file, problems)
    if tree is not None:
        for name in sorted(env):
            tree = _override(tree, name, env[name], problems)
        reader = StructReader(problems, folder=folder, hooks=secret_hook(problems))
        settings = reader.read(tree, Settings)
        if settings is not None:
            _check_networks(settings, tree, problems)
            _check_features(settings, tree, problems)
            _check_folders(settings, tree, folder, problems)
            problems.raise_if_any()
            return _with_absolute_paths(settings, folder)
    problems.raise_if_any()
    raise AssertionError("no settings and no problem")


def find_settings(given: str | None = None, env: Mapping[str, str] = os.environ) -> Path | None:
    """The settings file: the one given, CROSSPOINT_CONFIG's, or one in the current folder."""
    if chosen := given or env.get(PREFIX + "CONFIG"):
        return Path(chosen)
    here = Path(FILE_NAME)
    return here if here.exists() else None


def _override(tree: Node, name: str, text: str, problems: ProblemList) -> Node:
    """The tree with one environment variable put in.

    A variable that names no setting is a problem when it has the `__` of a section; others are left
    alone, since orchestrators invent variables like CROSSPOINT_PORT for a service of this name.
    """
    if not name.startswith(PREFIX):
        return tree
    keys = name.removeprefix(PREFIX).lower().split("__")
    mark = Mark(f"environment variable {name}", 1, 1)
    kind: inspect.Type = type_info(Settings)
    for key in keys:
        fields = (
            {field.name: field.type for field in kind.fields}
            if isinstance(kind, inspect.StructType)
            else {}
        )
        if key not in fields:
            if len(keys) > 1:
                problems.add(
                    mark, "unknown-key", "there is no such setting", found=key, known=fields
                )
            return tree
        kind = not_none(fields[key])
    if isinstance(kind, inspect.StructType) and len(keys) == 1:
        return tree  # CROSSPOINT_STORE=... may be somebody else's; sections are set by their keys
    node: Node | None = ScalarNode(mark, text, is_quoted=True)
    if isinstance(kind, inspect.StructType | inspect.VarTupleType):
        node = read_tree(text.encode(), mark.file, problems)
    return tree if node is None else _put(tree, keys, node, mark)


def _put(tree: Node, keys: list[str], node: Node, mark: Mark) -> Node:
    if not keys:
        return node
    if not isinstance(tree, MappingNode):
        return tree  # the reader reports it
    inner = next((item for key, item in tree.entries if key.text == keys[0]), MappingNode(mark, ()))
    others = tuple(entry for entry in tree.entries if entry[0].text != keys[0])
    key = ScalarNode(mark, keys[0])
    return MappingNode(tree.mark, (*others, (key, _put(inner, keys[1:], node, mark))))


def _check_networks(settings: Settings, tree: Node, problems: ProblemList) -> None:
    for place, network in enumerate(settings.foreign.allow):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            message = "this is no network"
            expected = "an address range like 10.0.0.0/8"
            problems.add(
                mark_at(tree, ("foreign", "allow", place)),
                "wrong-type",
                message,
                path=f"foreign.allow[{place}]",
                found=network,
                expected=expected,
            )


def _check_features(settings: Settings, tree: Node, problems: ProblemList) -> None:
    pbx = settings.pbx
    if pbx is not None and pbx.login_number is not None and pbx.login_number == pbx.logout_number:
        problems.add(
            mark_at(tree, ("pbx", "logout_number")),
            "duplicate",
            "agents log in at this number: nobody could log out",
            path="pbx.logout_number",
            found=pbx.logout_number,
        )


def _check_folders(settings: Settings, tree: Node, folder: Path, problems: ProblemList) -> None:
    """Whatever Asterisk reads or writes has to be spoken of in its commands."""
    for name in ("spool_dir", "sounds_dir", "core_sounds_dir", "speech_dir"):
        given = None if settings.pbx is None else getattr(settings.pbx, name)
        if given is not None and not is_folder(str(folder / given)):
            problems.add(
                mark_at(tree, ("pbx", name)),
                "unknown-value",
                "Asterisk cannot be told of this folder",
                path=f"pbx.{name}",
                found=str(folder / given),
                expected="letters, digits and ._-/ only, at most 250 of them",
            )


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Defaults are relative too; the reader has made the file's own paths absolute."""
    data_dir = folder / settings.data_dir
    return msgspec.structs.replace(
        settings,
        data_dir=data_dir,
        rules_dir=folder / settings.rules_dir,
        recordings_dir=settings.recordings_dir or data_dir / "recordings",
    )
