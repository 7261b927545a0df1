"""The site of the settings that could not be applied at the start: /readyz tells until it is there."""

import structlog

from router.http import health
from router.site.difference import plan
from router.site.directory import Directory, TenantResources
from router.site.file import Site

_log = structlog.get_logger(__name__)


class UnappliedSite:
    """Looks at every new directory; `site` None: it was applied, or there is none."""

    def __init__(self, site: Site | None) -> None:
        self._site = site

    def look(self, directory: Directory) -> None:
        """Take the new picture: has somebody applied the site meanwhile?"""
        if self._site is None:
            return
        tenant = directory.tenants.get(self._site.tenant)
        if not plan(self._site, tenant.resources if tenant else TenantResources()).steps:
            self._site = None
            _log.info("site_is_there")

    def part(self) -> health.Part:
        """What /readyz tells."""
        is_well = self._site is None
        return health.Part(name="site", is_well=is_well, detail=None if is_well else "not applied")
