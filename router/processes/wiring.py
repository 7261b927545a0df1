"""One process of the service, put together by hand: the only place that knows everybody.

`running(settings, store_url)` builds it, starts its background work and takes it apart again. Nothing
here waits for the store: a service without one is degraded, says so, and comes right by itself.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from router import metrics
from router.deadline import in_s
from router.decisions.decide import Decider
from router.decisions.error_budget import ErrorBudget
from router.decisions.views import Views
from router.errors import CrosspointError
from router.http import health
from router.http.app import make_application
from router.http.decisions.afterwards import Afterwards
from router.http.decisions.answering import Answering
from router.http.decisions.routes import dialplan_routes
from router.http.envelope import middlewares
from router.http.events import routes as events
from router.http.events.apply import EventApplier
from router.http.v1 import routes as v1
from router.http.v1.endpoints import Management
from router.metrics import Observer, Reload
from router.platforms.dialpad.foreign import ForeignRouters
from router.processes.health_watch import HealthWatch
from router.processes.missing_secrets import MissingSecrets
from router.processes.pbx_watch import PbxWatch
from router.processes.requirements import Requirements
from router.processes.store_writes import StoreWrites
from router.processes.token_secrets import TokenSecrets
from router.processes.unapplied_site import UnappliedSite
from router.rulesets.archive import RulesArchive
from router.rulesets.in_force import LoadState, Rulesets, RulesetState
from router.rulesets.last_good import LAST_GOOD_RULES
from router.settings import Settings, secret_source
from router.site.directory import Directory
from router.site.file import Site
from router.site.keeper import DirectoryKeeper, KeeperState
from router.store.agents import Agents
from router.store.call_store import CallStore
from router.store.endpoints import parse_store_url, store_mark
from router.store.legs import Legs
from router.store.line import Line
from router.store.links import Links
from router.store.live_parts import AgentsAndQueues
from router.store.memory import CallMemory
from router.store.pbx_states import PbxStates
from router.store.phones import Phones
from router.store.resources import Resources
from router.tasks import Work, forever
from router.telephony.logging_in import Whereabouts
from router.telephony.remote import Telephony
from router.telephony.routed_callbacks import RoutedCallbacks
from router.tokens import Tokens

STORE_AT_START_S: Final = 1.0
"""How long the start waits for the store before it goes on without."""

_STORE_S: Final = 2.0


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a running process, for those who serve it."""

    settings: Settings
    store_mark: str
    links: Links
    agents: Agents
    resources: Resources
    keeper: DirectoryKeeper
    rulesets: Rulesets
    observer: Observer
    budget: ErrorBudget
    afterwards: Afterwards
    answering: Answering
    token_secrets: TokenSecrets
    missing_secrets: MissingSecrets
    site: UnappliedSite
    store_writes: StoreWrites
    whereabouts: Whereabouts
    telephony: Telephony
    pbx_watch: PbxWatch | None

    @property
    def tokens(self) -> Tokens:
        """Who may use the API."""
        return self.token_secrets.tokens

    @property
    def directory(self) -> Directory:
        """The present picture of routers, queues and agents."""
        return self.keeper.directory

    def parts(self) -> list[health.Part]:
        """What /readyz tells."""
        return [
            _store_part(self.links, self.store_writes),
            _directory_part(self.keeper),
            _rules_part(self.rulesets, self.directory),
            self.missing_secrets.part(self.token_secrets.problem),
            self.site.part(),
            *([] if self.pbx_watch is None else [self.pbx_watch.part()]),
        ]


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    store_url: str,
    *,
    metrics_in: Path | None = None,
    unapplied: Site | None = None,
    log_lines_dropped: Callable[[], int] = lambda: 0,
) -> AsyncIterator[Service]:
    """A service at work, until the block is left. `metrics_in` is the workers' common folder.

    `unapplied` is the site that could not be applied at the start. `log_lines_dropped` tells how many
    the log had no room for.
    """
    foreign = ForeignRouters(
        allowed=[ipaddress.ip_network(text) for text in settings.foreign.allow],
        answer_limit=settings.foreign.answer_limit_bytes,
    )
    site = UnappliedSite(unapplied)
    observer = Observer(shared_in=metrics_in)
    service, work = _build(settings, store_url, foreign, observer, site)
    links = service.links
    service.keeper.load_file()
    with contextlib.suppress(CrosspointError):
        await links.wait_open(in_s(STORE_AT_START_S))
        await service.keeper.refresh(in_s(STORE_AT_START_S))
    await service.rulesets.load()  # knows by now which ones routers use
    watch = HealthWatch(
        links=links,
        writes=service.store_writes,
        rulesets=service.rulesets,
        directory=lambda: service.directory,
        budget=service.budget,
        observer=observer,
        log_lines_dropped=log_lines_dropped,
    )
    archive = RulesArchive(service.rulesets, links.link_for, lambda: _rules_in_use(service))
    work = [*work, requirements_of(service).run, watch.run, archive.run]
    tasks = [asyncio.create_task(forever(each), name=each.__qualname__) for each in work]
    try:
        yield service
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await service.afterwards.close(in_s(_STORE_S))
        await foreign.close()
        await links.close()


def _build(
    settings: Settings,
    store_url: str,
    foreign: ForeignRouters,
    observer: Observer,
    site: UnappliedSite,
) -> tuple[Service, list[Work]]:
    links = Links(parse_store_url(store_url)).start()
    agents = Agents(links)
    resources = Resources(links, AgentsAndQueues(agents))
    keeper = DirectoryKeeper(
        resources,
        secret_source(settings),
        settings.directory_file,
        connects=lambda: links.connects,
    )
    rulesets = Rulesets(
        settings.rules_dir,
        time.time,
        _reload_observer(observer),
        in_use=lambda: keeper.directory.rulesets_in_use(),  # noqa: PLW0108 - of the picture then
        last_good=settings.data_dir / LAST_GOOD_RULES,
    )
    budget, calls = ErrorBudget(f"{secrets.token_hex(4)}-"), CallMemory()
    store = CallStore(links, agents, lease_ms=settings.agents.lease_ms)
    telephony = Telephony(
        links,
        lambda: keeper.directory,
        settings=settings.pbx,
        recordings_dir=settings.recordings_dir or settings.data_dir / "recordings",
        shows_numbers=settings.privacy.log_full_numbers,
    )
    decider = Decider(
        rulesets=rulesets,
        store=store,
        memory=calls,
        foreign=foreign,
        most_rounds=settings.limits.ask_rounds,
        calls_back=None if settings.pbx is None else RoutedCallbacks(telephony, settings.pbx),
    )
    afterwards = Afterwards(
        links=links,
        clears_up=store,
        calls=calls,
        budget=budget,
        observer=observer,
        clock=time.time,
        kept=settings.limits.decisions_kept,
        with_full_numbers=settings.privacy.log_full_numbers,
    )
    whereabouts = Whereabouts(Phones(links), lambda: _with_logins(keeper.directory))
    views = Views(lambda: keeper.directory, budget, whereabouts.of)
    pbx = settings.pbx
    pbx_watch = None if pbx is None else PbxWatch(PbxStates(links), pbx, observer)
    missing_secrets = MissingSecrets(observer)
    token_secrets = TokenSecrets(settings.tokens, secret_source(settings))
    keeper.on_change(missing_secrets.look)
    keeper.on_change(lambda directory: budget.forget_others(directory.routers))
    keeper.on_change(site.look)
    service = Service(
        settings=settings,
        store_mark=store_mark(store_url),
        links=links,
        agents=agents,
        resources=resources,
        keeper=keeper,
        rulesets=rulesets,
        observer=observer,
        budget=budget,
        afterwards=afterwards,
        answering=Answering(views.find, decider, afterwards, settings.http.reserve_ms / 1000),
        token_secrets=token_secrets,
        missing_secrets=missing_secrets,
        site=site,
        store_writes=StoreWrites(links, observer),
        whereabouts=whereabouts,
        telephony=telephony,
        pbx_watch=pbx_watch,
    )
    return service, [
        keeper.run,
        rulesets.watch,
        observer.run,
        afterwards.run,
        whereabouts.run,
        token_secrets.run,
        *([] if pbx_watch is None else [pbx_watch.run]),
    ]


def application(service: Service) -> web.Application:
    """Everything that is served but `/route/`."""
    return make_application(
        [
            *health.routes(service.parts, service.store_mark),
            *metrics.routes(service.observer),
            *dialplan_routes(service.answering, service.tokens),
            *events.routes(
                events.EventDoor(
                    directory=lambda: service.directory,
                    applier=EventApplier(service.agents, Line(service.links), Legs(service.links)),
                    observer=service.observer,
                )
            ),
            *v1.routes(
                Management(
                    tokens=service.tokens,
                    directory=lambda: service.directory,
                    resources=service.resources,
                    agents=service.agents,
                    links=service.links,
                    rulesets=service.rulesets,
                    telephony=service.telephony,
                )
            ),
        ],
        middlewares(),
    )


def requirements_of(service: Service) -> Requirements:
    """What has the store know them, for this service."""
    return Requirements(service.links, service.agents, service.rulesets, lambda: service.directory)


def _with_logins(directory: Directory) -> Iterable[str]:
    """Tenants with agents who can log in by phone."""
    return (name for name, tenant in directory.tenants.items() if tenant.agents_by_number)


def _rules_in_use(service: Service) -> Iterable[tuple[str, str]]:
    for entry in service.directory.routers.values():
        if entry.config.rules is not None:
            yield entry.tenant, entry.config.rules


def _reload_observer(observer: Observer) -> Callable[[RulesetState], None]:
    def on_change(state: RulesetState) -> None:
        if state.state is LoadState.GONE:
            observer.ruleset_removed(state.name)
            return
        outcome = Reload.LOADED if state.state is LoadState.LOADED else Reload.REFUSED
        observer.rules_reload(outcome, state.name, state.loaded_at_s)
        observer.rules_in_force(state.name, state.rules)

    return on_change


def _store_part(links: Links, writes: StoreWrites) -> health.Part:
    detail = writes.detail if links.is_open else "reconnecting"
    return health.Part(name="store", is_well=detail is None, detail=detail)


def _directory_part(keeper: DirectoryKeeper) -> health.Part:
    state, unreadable = keeper.state, keeper.unreadable
    return health.Part(
        name="directory",
        is_well=state is KeeperState.FRESH and not unreadable,
        is_needed=state is KeeperState.EMPTY,
        detail=f"{state.value}, {unreadable} unreadable" if unreadable else state.value,
    )


def _rules_part(rulesets: Rulesets, directory: Directory) -> health.Part:
    """Of rules that no router uses the log tells; they harm no call."""
    used = directory.rulesets_in_use()
    states = [state for state in rulesets.states if state.name in used]
    counts = {
        "refused": sum(state.state is not LoadState.LOADED for state in states),
        "ignored": sum(
            state.state is LoadState.LOADED and bool(state.problems) for state in states
        ),
        "missing": len(rulesets.missing(used)),
        "left out": rulesets.left_out,
    }
    detail = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return health.Part(name="rules", is_well=not detail, detail=detail or None)
