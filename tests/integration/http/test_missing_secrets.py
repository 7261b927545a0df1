"""A signed router whose secret is not to be had: it is told wherever one looks, and mends itself."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from structlog.typing import EventDict

from router.platforms.dialpad.signature import sign
from router.site import keeper
from router.site.resources import RouterConfig, SecretRef
from rules.actions import Target, TargetType
from tests.integration.http.conftest import Running, Start, apply, until

SECRET = "partners-secret-0123456789abcdef0123456789"
TOKENS = "tokens-secret-0123456789abcdef0123456789abcdef"
PARTNERS = RouterConfig(
    id="partners",
    name="Partners",
    default_target=Target(type=TargetType.OFFICE, id="1"),
    rules="acme",
    secret=SecretRef(file="secrets/partners"),
)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "SECRETS_EVERY_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the secret should be; the one for tokens is there."""
    folder = tmp_path / "data/secrets"
    folder.mkdir(parents=True)
    (folder / "tokens").write_text(TOKENS)
    return folder / "partners"


def write(file: Path, text: str | None) -> None:
    """None: the file goes away."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


async def call(at_work: Running) -> int:
    body = msgspec.json.encode({"call_id": 17, "external_number": "+12125550142"})
    return (await at_work.post("partners", sign(body, SECRET.encode()))).status


async def secrets_part(at_work: Running) -> dict[str, Any]:
    async with at_work.session.get(f"{at_work.url}/readyz") as got:
        (part,) = [one for one in (await got.json())["data"]["parts"] if one["name"] == "secrets"]
        return dict(part)


async def metrics(at_work: Running) -> str:
    async with at_work.session.get(f"{at_work.url}/metrics") as got:
        return await got.text()


def told(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


async def test_a_router_without_its_secret_is_told_by_health_log_metrics_and_api(
    start: Start, redis_url: str, file: Path
) -> None:
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        assert (await secrets_part(at_work))["is_well"]
        await apply(at_work.service, PARTNERS)
        assert await call(at_work) == 401
        assert await secrets_part(at_work) == {
            "name": "secrets",
            "is_well": False,
            "detail": "1 missing",
        }
        (line,) = told(lines, "router_secret_missing")
        assert (line["log_level"], line["router"]) == ("error", "partners")
        text = await metrics(at_work)
        assert "crosspoint_routers_refusing_all 1.0" in text
        assert 'crosspoint_unsigned_requests_total{router="partners"} 1.0' in text
        token = at_work.service.tokens.make(
            {"sub": "ops", "tenant_id": "acme", "role": "admin"}, ttl_s=60
        )
        headers = {"Authorization": f"Bearer {token}"}
        async with at_work.session.get(
            f"{at_work.url}/api/v1/routers/partners", headers=headers
        ) as got:
            assert "secrets/partners" in (await got.json())["data"]["secret_problem"]

        write(file, SECRET + "\n")
        await until(lambda: told(lines, "router_secret_found"))
        assert await call(at_work) == 200
        assert (await secrets_part(at_work))["is_well"]
        assert "crosspoint_routers_refusing_all 0.0" in await metrics(at_work)
    assert SECRET not in str(lines)


@pytest.mark.parametrize("broken", ["", "short", None])
async def test_a_secret_whose_file_breaks_stays_in_use_and_that_is_told(
    start: Start, redis_url: str, file: Path, broken: str | None
) -> None:
    write(file, SECRET)
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        await apply(at_work.service, PARTNERS)
        assert await call(at_work) == 200
        write(file, broken)
        await until(lambda: told(lines, "router_secret_missing"))
        assert await call(at_work) == 200
        assert (await secrets_part(at_work))["detail"] == "1 unreadable"
        (line,) = told(lines, "router_secret_missing")
        assert (line["log_level"], line["refuses_all"]) == ("warning", False)
        assert "crosspoint_routers_secret_unreadable 1.0" in await metrics(at_work)
        write(file, "another-" + SECRET)  # what is exchanged is exchanged
        await until(lambda: told(lines, "router_secret_found"))
        assert await call(at_work) == 401


async def test_an_api_that_can_verify_no_token_is_told(start: Start, redis_url: str) -> None:
    assert (await secrets_part(await start(redis_url)))["detail"] == "tokens missing"
