"""What `doctor` looks at in the store: the server, and what is in it."""

import contextlib
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from router.cli.findings import Finding
from router.cli.managing import views_of
from router.cli.shell import Shell, Store, soon
from router.cli.tenants import in_store, lost
from rules.problems import FileError

if TYPE_CHECKING:
    from router.settings import Settings
    from router.site.directory import TenantResources
    from router.site.resources import RouterConfig
    from router.store.link import Reply

_LEAST_MAJOR: Final = 7
_MOST_SKEW_S: Final = 1.0
_MOST_NAMED: Final = 10


def store_findings(shell: Shell) -> list[Finding]:
    """CrosspointError: it does not answer."""

    async def work(store: Store) -> list[Finding]:
        return await _look(store, shell.settings)

    return shell.with_store(work)


async def _look(store: Store, settings: "Settings") -> list[Finding]:
    from router.store import keys  # noqa: PLC0415 - start-up time

    link = store.links.link_for_key(keys.TENANTS)
    before_s = time.time()
    clock = await link.call("TIME", deadline=soon())
    half_s = (time.time() - before_s) / 2
    info = _info(await link.call("INFO", deadline=soon()))
    findings = [
        _clock(clock, before_s + half_s),
        _server(info),
        _eviction(info),
        _persistence(info),
    ]
    here = await in_store(store)
    findings += await _writes(store, here)
    for tenant, known in here.items():
        findings += _tenant(tenant, known, settings)
        living = {view.record.id for view in await views_of(store, tenant)}
        if lifeless := known.agents.keys() - living:
            found = f"agents without a state, who get no calls: {_some(lifeless)}"
            todo = "crosspoint apply --force puts those in the site right"
            findings.append(Finding(what=f"tenant {tenant}", found=found, todo=todo))
        findings += await _left_alone(store, tenant)
    for tenant in lost(here, settings):
        found = f"is in {settings.directory_file}, and the store has lost it: it goes on as it was"
        todo = (
            f"crosspoint apply its site; if it is gone for good: crosspoint tenants forget {tenant}"
        )
        findings.append(Finding(what=f"tenant {tenant}", found=found, todo=todo))
    return findings


async def _writes(store: Store, tenants: Collection[str]) -> list[Finding]:
    """What answers may refuse to write all the same: full, a replica, out of disk."""
    from router.errors import RefusalKind, StoreRefusedError  # noqa: PLC0415 - start-up time
    from router.store.writable import need_writes  # noqa: PLC0415

    todo = {
        RefusalKind.OUT_OF_MEMORY: "raise its maxmemory; nothing of ours grows without a bound",
        RefusalKind.READ_ONLY: "set store.url to the primary, or use redis+sentinel://",
        RefusalKind.NOT_SAVING: "see its log: its disk may be full, or its replicas gone",
        RefusalKind.NOT_ALLOWED: "allow its user to write keys that begin with cp:",
    }
    for tenant in tenants:
        try:
            await need_writes(store.link_for(tenant), tenant, soon())
        except StoreRefusedError as error:
            help_ = todo.get(error.kind, "see its log")
            return [Finding(what="store", found=f"refuses to write: {error}", todo=help_)]
    return []


async def _left_alone(store: Store, tenant: str) -> list[Finding]:
    """PBXs that have calls and no controller."""
    from router.store.live_calls import LiveCalls  # noqa: PLC0415 - start-up time
    from router.store.pbx_commands import PbxCommands  # noqa: PLC0415

    commands, findings = PbxCommands(store.links), list[Finding]()
    at_work = await commands.pbxs_at_work(tenant, soon())
    for pbx in (await commands.pbxs(tenant, soon())).keys() - at_work:
        calls = len(await LiveCalls(store.links).load(tenant, pbx, soon()))
        if calls:
            found = f"no controller, {calls} calls are live"
            todo = f"start crosspoint pbx for it; if it is gone for good: crosspoint calls give-up {pbx}"
            findings.append(Finding(what=f"PBX {pbx} of {tenant}", found=found, todo=todo))
    return findings


def _tenant(tenant: str, known: "TenantResources", settings: "Settings") -> list[Finding]:
    """Its routers as the store has them: those made through the API stand in no site file."""
    from router.processes.site_at_start import read_site, ruleset_names  # noqa: PLC0415
    from router.settings import secret_source  # noqa: PLC0415 - start-up time
    from router.site.directory import build  # noqa: PLC0415

    found = f"{len(known.routers)} routers, {len(known.queues)} queues, {len(known.agents)} agents"
    findings = [Finding(what=f"tenant {tenant}", found=found)]
    if known.unreadable:
        found = f"written by another version, unreadable here: {_some(known.unreadable)}"
        todo = "crosspoint apply writes anew what the site names; remove others through the API"
        findings.append(Finding(what=f"tenant {tenant}", found=found, todo=todo))
    of_site: frozenset[str] = frozenset()
    with contextlib.suppress(FileError):  # another check says so
        site = read_site(settings)
        of_site = frozenset(router.id for router in site.routers) if site else of_site
    rulesets = ruleset_names(settings.rules_dir)
    findings += _shared_numbers(known)
    for router_id, entry in build({tenant: known}, secret_source(settings)).routers.items():
        what, rules = f"router {router_id}", entry.config.rules
        if router_id in known.disabled:
            todo = f"crosspoint routers reset-errors {router_id}; crosspoint routers enable {router_id}"
            found = "is disabled: it answers its default target"
            findings.append(Finding(what=what, found=found, todo=todo))
        if entry.config.budget_ms <= settings.http.reserve_ms:
            found = f"its budget of {entry.config.budget_ms} ms leaves no time to decide"
            todo = f"raise budget_ms, or lower http.reserve_ms ({settings.http.reserve_ms})"
            findings.append(Finding(what=what, found=found, todo=todo))
        if rules is not None and rules not in rulesets:
            found = f"its rules {rules} are not in {settings.rules_dir}"
            todo = "write them there, or give the router other rules"
            findings.append(Finding(what=what, found=found, todo=todo))
        if entry.secret_problem is not None and router_id not in of_site:
            todo = "put the secret there, on every machine that serves"
            found = entry.secret_problem
            findings.append(Finding(what=f"secret of {what}", found=found, todo=todo))
    return findings


def _shared_numbers(known: "TenantResources") -> list[Finding]:
    """`apply` takes no router away that its files do not name any more: one that was renamed is there twice."""
    from router.site.resources import shared_number  # noqa: PLC0415 - start-up time

    findings, before = list[Finding](), list["RouterConfig"]()
    for router_id in sorted(known.routers):
        if shared := shared_number(known.routers[router_id], before):
            number, other = shared
            found = (
                f"its phone number {number} is that of {other.id} too: a PBX asks one of them only"
            )
            todo = "take it from one of the two, or remove the one that is not used any more"
            findings.append(Finding(what=f"router {router_id}", found=found, todo=todo))
        before.append(known.routers[router_id])
    return findings


def _some(names: Collection[str]) -> str:
    more = ", ..." if len(names) > _MOST_NAMED else ""
    return ", ".join(sorted(names)[:_MOST_NAMED]) + more


def _clock(reply: "Reply", here_s: float) -> Finding:
    seconds, micros = (
        (int(part) for part in reply if isinstance(part, bytes))
        if isinstance(reply, list)
        else (0, 0)
    )
    skew_s = seconds + micros / 1e6 - here_s
    todo = None if abs(skew_s) < _MOST_SKEW_S else "let both machines follow one NTP server"
    return Finding(what="clock", found=f"{round(skew_s * 1000):+d} ms from the store's", todo=todo)


def _server(info: dict[str, str]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    major = version.partition(".")[0]
    is_old = not major.isdigit() or int(major) < _LEAST_MAJOR
    todo = "Redis 7 or newer, or Valkey 8 or newer, is needed" if is_old else None
    return Finding(what="server", found=f"{name} {version}", todo=todo)


def _eviction(info: dict[str, str]) -> Finding:
    policy = info.get("maxmemory_policy", "?")
    todo = None
    if policy != "noeviction" and info.get("maxmemory", "0") != "0":
        todo = (
            "set maxmemory-policy noeviction: a store that forgets agents is worse than a full one"
        )
    return Finding(what="memory policy", found=policy, todo=todo)


def _persistence(info: dict[str, str]) -> Finding:
    is_on = info.get("aof_enabled") == "1"
    todo = None if is_on else "set appendonly yes: otherwise a restart may lose the last changes"
    return Finding(what="append-only file", found="on" if is_on else "off", todo=todo)


def _info(reply: "Reply") -> dict[str, str]:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}
