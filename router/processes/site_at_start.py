"""What happens before the first call can be answered: missing secrets are made, the site is applied."""

import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from router.deadline import in_s
from router.private_files import make_private
from router.rulesets.last_good import LAST_GOOD_RULES, kept_names
from router.settings import Settings
from router.site.difference import Change, Plan, carry_out, need_free_names, plan
from router.site.file import Site, load_site, site_files
from router.site.secret_refs import SecretRef
from router.store.resources import Resources
from rules.numbers import normalise

LOAD_S = 10.0
_BYTES = 32


def read_site(settings: Settings, *, last_good_suffices: bool = True) -> Site | None:
    """The site in the settings, checked against the rules that are there; FileError. None: no site.

    `last_good_suffices`: rules whose file is gone count while their last good version can answer.
    """
    if settings.site is None:
        return None
    rulesets = ruleset_names(settings.rules_dir)
    if last_good_suffices:
        rulesets |= kept_names(settings.data_dir / LAST_GOOD_RULES)
    return load_site(site_files(settings.site), rulesets, feature_numbers(settings))


def ruleset_names(folder: Path) -> frozenset[str]:
    """The names of the rulesets in a folder, readable or not."""
    return frozenset(
        path.stem for path in folder.glob("*.y*ml") if path.suffix in {".yaml", ".yml"}
    )


def feature_numbers(settings: Settings) -> frozenset[str]:
    """The numbers (E.164) at which agents log in and out; others are nobody's but the PBX's own."""
    pbx = settings.pbx
    if pbx is None:
        return frozenset()
    spelled = (normalise(number, pbx.country) for number in (pbx.login_number, pbx.logout_number))
    return frozenset(number for number in spelled if number is not None)


def make_missing_secrets(settings: Settings, site: Site | None) -> list[Path]:
    """Make a random secret for every file below the data folder that is referred to and not there.

    Returns the files made (mode 0600). What is there is never touched, and nothing is made elsewhere.
    """
    made = []
    for reference in _references(settings, site):
        if reference.file is None:
            continue
        path = settings.data_dir / reference.file
        if path.exists() or not path.resolve().is_relative_to(settings.data_dir.resolve()):
            continue
        make_private(path.parent)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue  # another process was faster
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
        made.append(path)
    return made


async def apply_site(
    settings: Settings, resources: Resources, on_step: Callable[[Change], None] | None = None
) -> Plan | None:
    """Apply the site in the settings; FileError, or the store's errors. None: there is no site."""
    site = read_site(settings)
    if site is None:
        return None
    current = await resources.load(site.tenant, deadline=in_s(LOAD_S))
    made = plan(site, current)
    need_free_names(made, current)
    await carry_out(made, resources, on_step=on_step)
    return made


def _references(settings: Settings, site: Site | None) -> Iterable[SecretRef]:
    yield settings.tokens.secret
    for router in site.routers if site is not None else ():
        if router.secret is not None:
            yield router.secret
